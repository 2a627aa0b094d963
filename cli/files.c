/*
 * files.c - trees of files, files in memory
 */
#define _XOPEN_SOURCE 700
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static _Thread_local unsigned long long total;

static int add_size(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path, (void)at;
    if (type == FTW_F)
        total += (unsigned long long)st->st_blocks * 512;
    return 0;
}

unsigned long long disk_usage(const char *path)
{
    total = 0;
    nftw(path, add_size, 16, FTW_PHYS);
    return total;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    remove(path);
    return 0;
}

void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    int n = 0;

    if (!d)
        return false;
    while ((e = readdir(d)))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n == 0;
}

int move_into_place(const char *from, const char *to)
{
    char parent[PATH_MAX];
    int fd, rc;

    if (rename(from, to) < 0)
        return -1;
    snprintf(parent, sizeof(parent), "%s", to);
    fd = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

int memory_file(const char *text, char path[32])
{
    int fd = memfd_create("calf", MFD_CLOEXEC);
    size_t size = strlen(text);

    if (fd < 0 || write(fd, text, size) != (ssize_t)size) {
        refuse("there is no memory for a list: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

char *file_text(int fd)
{
    struct stat st;
    char *text = fstat(fd, &st) == 0 ? calloc(1, (size_t)st.st_size + 1) : NULL;

    if (text && pread(fd, text, (size_t)st.st_size, 0) < 0)
        *text = '\0';
    return text;
}

/*
 * copy.c - copying and removing trees of files, and a data directory as the copy of another
 *
 * The rule that matters: while a copy of a data directory is made there is a file COPYING in it,
 * and global/pg_control, without which no server starts, comes last.  A directory with that file
 * is not opened; the next copy into it removes what is there and starts over.
 */
#include "runtime.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPYING "calf.copying"
#define CONTROL "global/pg_control"

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int directory_empty(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    int empty = d ? 1 : -1;

    while (d && (e = readdir(d)))
        if (!is_dots(e->d_name))
            empty = 0;
    if (d)
        closedir(d);
    return empty;
}

/* ---- trees ------------------------------------------------------------------------- */

int write_all(int fd, const void *data, size_t size)
{
    ssize_t n;

    for (const char *at = data; size > 0; at += n, size -= n)
        if ((n = write(fd, at, size)) < 0)
            return -1;
    return 0;
}

static int copy_bytes(int from, int to)
{
    static const size_t most = 1 << 30;
    char buf[16 << 10]; /* a host's thread may have a small stack */
    ssize_t n;

    if (ioctl(to, FICLONE, from) == 0) /* shares the blocks until one of both is changed */
        return 0;
    while ((n = copy_file_range(from, NULL, to, NULL, most, 0)) > 0)
        ;
    if (n == 0)
        return 0;
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
        return -1;
    while ((n = read(from, buf, sizeof(buf))) > 0)
        if (write_all(to, buf, n) < 0)
            return -1;
    return n < 0 ? -1 : 0;
}

int copy_file(int from_dir, int to_dir, const char *name)
{
    int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
    int to = from < 0 ? -1 : openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = to < 0 ? -1 : copy_bytes(from, to), why = errno;

    if (from >= 0)
        close(from);
    if (to >= 0 && close(to) < 0 && rc == 0) {
        rc = -1;
        why = errno;
    }
    errno = why;
    return rc;
}

int write_file(int dir, const char *name, const void *data, size_t size)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -1 : write_all(fd, data, size);

    if (fd >= 0 && close(fd) < 0)
        rc = -1;
    return rc;
}

static int copy_tree(int from_dir, int to_dir, bool (*skip)(int dir, const char *path), char *path);

static int copy_entry(int from_dir, int to_dir, const char *name,
                      bool (*skip)(int dir, const char *path), char *path)
{
    static const int how = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    struct stat st;

    if (fstatat(from_dir, name, &st, 0) < 0)
        return -1;
    if (S_ISREG(st.st_mode))
        return copy_file(from_dir, to_dir, name);
    if (!S_ISDIR(st.st_mode)) /* nobody answers on the copy of a socket */
        return 0;
    if (mkdirat(to_dir, name, 0700) < 0)
        return -1;
    return copy_tree(openat(from_dir, name, how), openat(to_dir, name, how), skip, path);
}

/*
 * Copies what is in `from_dir` into the empty `to_dir`, and takes both.  skip, if not NULL, says
 * what is left out, with its directory and its path below the top.  path: room for PATH_MAX
 * bytes, empty; after a failure what could not be copied.  -1 and errno.
 */
static int copy_tree(int from_dir, int to_dir, bool (*skip)(int dir, const char *path), char *path)
{
    DIR *d = from_dir < 0 || to_dir < 0 ? NULL : fdopendir(from_dir);
    size_t base = strlen(path);
    int rc = d ? 0 : -1, why = errno;

    while (rc == 0) {
        struct dirent *e;

        errno = 0;
        e = readdir(d);
        why = errno;
        if (!e) {
            rc = why ? -1 : 0;
            break;
        }
        if (is_dots(e->d_name))
            continue;
        if (snprintf(path + base, PATH_MAX - base, "%s%s", base ? "/" : "", e->d_name) >=
            (int)(PATH_MAX - base)) {
            rc = -1;
            why = ENAMETOOLONG;
        } else if (!skip || !skip(from_dir, path)) {
            rc = copy_entry(from_dir, to_dir, e->d_name, skip, path);
            why = errno;
            if (rc < 0 && why == ENOENT) /* a running server removed it */
                rc = 0;
        }
        if (rc == 0)
            path[base] = '\0';
    }
    if (d)
        closedir(d);
    else if (from_dir >= 0)
        close(from_dir);
    if (to_dir >= 0)
        close(to_dir);
    errno = why;
    return rc;
}

/* Takes the descriptor. */
static void remove_entries(int dir, const char *but)
{
    DIR *d = dir < 0 ? NULL : fdopendir(dir);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        if (is_dots(e->d_name) || (but && strcmp(e->d_name, but) == 0))
            continue;
        if (unlinkat(dir, e->d_name, 0) < 0 && errno == EISDIR) {
            remove_entries(openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                           NULL);
            unlinkat(dir, e->d_name, AT_REMOVEDIR);
        }
    }
    if (d)
        closedir(d);
    else if (dir >= 0)
        close(dir);
}

void remove_contents(const char *dir, const char *last)
{
    char path[PATH_MAX + 300];

    remove_entries(open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), last);
    if (last) {
        snprintf(path, sizeof(path), "%s/%s", dir, last);
        unlink(path);
    }
}

/* ---- data directories ------------------------------------------------------------------ */

bool copy_unfinished(const char *dir)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/" COPYING, dir);
    return access(path, F_OK) == 0;
}

int copy_begin(struct copy *c, const char *from, const char *to, struct calf_error *err)
{
    size_t n;
    pid_t stale;
    int mark;

    *c = (struct copy){.from = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .to = -1};
    if (c->from < 0)
        return fail(err, CALF_ACCESS, "cannot open the data directory %s: %s", from,
                    strerror(errno));
    c->made = mkdir(to, 0700) == 0;
    if ((!c->made && errno != EEXIST) || !realpath(to, c->path)) {
        fail(err, CALF_ACCESS, "cannot create the directory %s: %s", to, strerror(errno));
        goto failed;
    }
    n = strlen(from);
    if (strncmp(c->path, from, n) == 0 && (c->path[n] == '/' || !c->path[n])) {
        fail(err, CALF_MISUSE, "the copy %s would be inside of %s", to, from);
        goto failed;
    }
    c->to = lock_directory(c->path, &stale, err);
    if (c->to < 0)
        goto failed;
    if (copy_unfinished(c->path))
        remove_contents(c->path, COPYING);
    if (directory_empty(c->path) != 1) {
        fail(err, CALF_FOREIGN, "%s is not empty; name a new or an empty directory", to);
        goto failed;
    }
    mark = openat(c->to, COPYING, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (mark < 0 || fchmod(c->to, 0700) < 0) { /* as PostgreSQL wants it */
        fail(err, CALF_ACCESS, "cannot write to the directory %s: %s", to, strerror(errno));
        if (mark >= 0)
            close(mark);
        goto failed;
    }
    close(mark);
    return 0;
failed:
    copy_end(c, false, err);
    return -1;
}

/*
 * A directory that another server uses as well would be the end of both; PostgreSQL's own
 * programs can give the copy's tablespaces other places.
 */
int copy_refuses_tablespaces(const struct copy *c, struct calf_error *err)
{
    int fd = openat(c->from, "pg_tblspc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    int rc = 0;

    while (d && rc == 0 && (e = readdir(d))) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(fd, e->d_name, target, sizeof(target));

        if (n > 0)
            rc = fail(err, CALF_MISUSE,
                      "the database has a tablespace outside of its directory (%.*s), which is not "
                      "copied; pg_basebackup --tablespace-mapping can do that",
                      (int)n, target);
    }
    if (d)
        closedir(d);
    return rc;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool copy_leaves_out(int dir, const char *path)
{
    /* what basebackup.c leaves out (excludeDirContents, excludeFiles), or a server makes anew */
    static const char *const contents[] = {"pg_dynshmem/", "pg_notify/",    "pg_replslot/",
                                           "pg_serial/",   "pg_snapshots/", "pg_stat_tmp/",
                                           "pg_subtrans/"};
    static const char *const files[] = {CONTROL, "postmaster.pid", "postmaster.opts",
                                        "postgresql.auto.conf.tmp", "current_logfiles.tmp"};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    (void)dir;
    for (size_t i = 0; i < sizeof(contents) / sizeof(contents[0]); i++)
        if (begins(path, contents[i]))
            return true;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (strcmp(path, files[i]) == 0)
            return true;
    if (begins(path, ".s.PGSQL.") || begins(name, "pgsql_tmp") || begins(name, "pg_internal.init"))
        return true;
    return (begins(path, "base/") || begins(path, "pg_tblspc/")) && name[0] == 't' &&
           isdigit((unsigned char)name[1]); /* a temporary table */
}

int copy_files(struct copy *c, bool (*skip)(int dir, const char *path), struct calf_error *err)
{
    char path[PATH_MAX] = "";

    if (copy_tree(dup(c->from), dup(c->to), skip, path) < 0)
        return fail(err, errno == ENOSPC || errno == EDQUOT ? CALF_SYSTEM : CALF_ACCESS,
                    "cannot copy %s into %s: %s", *path ? path : "the data directory", c->path,
                    strerror(errno));
    return 0;
}

/* A server may be writing it: it was read whole when its checksum is right. */
int copy_control(struct copy *c, struct calf_error *err)
{
    for (int tries = 0; tries < 1000; tries++) {
        int fd = openat(c->from, CONTROL, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, c->control, sizeof(c->control));

        if (fd < 0)
            return fail(err, CALF_ACCESS, "cannot read " CONTROL ": %s", strerror(errno));
        close(fd);
        if (n == (ssize_t)sizeof(c->control) && control_checksum(c->control))
            return 0;
        usleep(1000);
    }
    return fail(err, CALF_FAILED, CONTROL " is damaged: its checksum is wrong");
}

static int finish(const struct copy *c)
{
    int rc = write_file(c->to, CONTROL, c->control, sizeof(c->control));

    if (rc < 0 || syncfs(c->to) < 0 || unlinkat(c->to, COPYING, 0) < 0 || fsync(c->to) < 0)
        return -1;
    if (c->made) {
        char path[PATH_MAX];
        int parent;

        strcpy(path, c->path);
        parent = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = parent < 0 ? -1 : fsync(parent);
        if (parent >= 0)
            close(parent);
    }
    return rc;
}

int copy_end(struct copy *c, bool keep, struct calf_error *err)
{
    int rc = keep ? finish(c) : -1;

    if (keep && rc < 0)
        fail(err, CALF_SYSTEM, "cannot finish the copy %s: %s", c->path, strerror(errno));
    if (rc < 0 && c->to >= 0 && (keep || copy_unfinished(c->path)))
        remove_contents(c->path, COPYING);
    if (rc < 0 && c->made)
        rmdir(c->path);
    if (c->from >= 0)
        close(c->from);
    unlock_directory(c->to);
    return rc;
}

/*
 * shim.c - a system in which something is missing or slow: preloaded, told by variables
 *
 *   SHIM_FAIL=memfd_create|epoll_create1|eventfd|proc    that does not work
 *   SHIM_TYPE=0x6969    the kind of all file systems    SHIM_FREE=1000, SHIM_FILES=5: room on them
 *   SHIM_SHM=1000       room in /dev/shm                SHIM_OVERCOMMIT=2
 *   SHIM_LATE=2000      microseconds that fstat() takes
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define REAL(name) ((typeof(name) *)dlsym(RTLD_NEXT, #name))

static int fails(const char *what)
{
    const char *list = getenv("SHIM_FAIL");

    errno = EPERM;
    return list && strcmp(list, what) == 0;
}

int memfd_create(const char *name, unsigned flags)
{
    return fails("memfd_create") ? -1 : REAL(memfd_create)(name, flags);
}

int epoll_create1(int flags)
{
    return fails("epoll_create1") ? -1 : ((int (*)(int))dlsym(RTLD_NEXT, "epoll_create1"))(flags);
}

int eventfd(unsigned value, int flags)
{
    return fails("eventfd") ? -1
                            : ((int (*)(unsigned, int))dlsym(RTLD_NEXT, "eventfd"))(value, flags);
}

int access(const char *path, int mode)
{
    if (strcmp(path, "/proc/self/exe") == 0 && fails("proc"))
        return -1;
    return ((int (*)(const char *, int))dlsym(RTLD_NEXT, "access"))(path, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    char *value = getenv("SHIM_OVERCOMMIT");

    if (value && strcmp(path, "/proc/sys/vm/overcommit_memory") == 0)
        return fmemopen(value, strlen(value), "r");
    return REAL(fopen)(path, mode);
}

int fstat(int fd, struct stat *out)
{
    const char *late = getenv("SHIM_LATE");

    if (late)
        usleep(strtoul(late, NULL, 10));
    return REAL(fstat)(fd, out);
}

int statfs(const char *path, struct statfs *out)
{
    const char *type = getenv("SHIM_TYPE"), *shm = getenv("SHIM_SHM");
    int rc = REAL(statfs)(path, out);

    if (rc == 0 && type)
        out->f_type = strtol(type, NULL, 0);
    if (rc == 0 && shm && strcmp(path, "/dev/shm") == 0)
        out->f_bavail = strtoull(shm, NULL, 0) / out->f_bsize;
    return rc;
}

int statvfs(const char *path, struct statvfs *out)
{
    int in_memory = strcmp(path, "/dev/shm") == 0;
    const char *room = getenv(in_memory ? "SHIM_SHM" : "SHIM_FREE");
    const char *files = getenv("SHIM_FILES");
    int rc = REAL(statvfs)(path, out);

    if (rc == 0 && room)
        out->f_bavail = strtoull(room, NULL, 0) / out->f_frsize;
    if (rc == 0 && files && !in_memory) {
        out->f_files = 100000;
        out->f_favail = strtoull(files, NULL, 0);
    }
    return rc;
}

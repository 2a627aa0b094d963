/*
 * log.c - PostgreSQL's messages when nobody named a file for them: kept for the error of a start
 *
 * A log in memory cannot grow, so that what a long session logs costs nothing: PostgreSQL's writes
 * beyond its end just fail.
 */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int log_memory(struct calf_error *err)
{
    int fd = memfd_create("calf-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && ftruncate(fd, LOG_SIZE) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0)
        return fd;
    fail(err, CALF_SYSTEM, "cannot make a log in memory: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

size_t log_text(int fd, char *text, size_t size)
{
    char *log = mmap(NULL, LOG_SIZE, PROT_READ, MAP_SHARED, fd, 0); /* too much for a small stack */
    size_t used, n = 0;

    if (log != MAP_FAILED) {
        used = strnlen(log, LOG_SIZE);
        n = used < size ? used : size - 1;
        memcpy(text, log + used - n, n);
        munmap(log, LOG_SIZE);
    }
    text[n] = '\0';
    return n;
}

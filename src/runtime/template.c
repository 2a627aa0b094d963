/*
 * template.c - a new cluster as a copy of one that initdb made when calf was built
 *
 * initdb takes half a second, a copy some milliseconds.  What must differ from
 * cluster to cluster is made new: the system identifier (pg_control and the first
 * page of the WAL), the nonce of mock authentication, the time zone.
 *
 * The rule that matters: while a copy is made there is a file CREATING in the
 * directory.  Who finds it, under the directory's lock, may remove everything:
 * it is what was left of a copy that did not end.
 */
#include "runtime.h"

#include "../kernel/archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#define CREATING "calf.creating"
#define NONCE_SIZE 32          /* MOCK_AUTH_NONCE_LEN, right before the checksum (pg_control.h) */
#define WAL_SYSID_AT 24        /* xlp_sysid in the long header of a segment's first page */
#define WAL_SEGMENT (16 << 20) /* initdb's default */

/* ---- copying -------------------------------------------------------------------- */

struct target {
    int dir;
    bool durable;
};

/* A segment of the WAL is in the template without the zeros behind what was written. */
static int fill_segment(const struct target *t, int fd)
{
    if (!t->durable)
        return ftruncate(fd, WAL_SEGMENT);
    errno = posix_fallocate(fd, 0, WAL_SEGMENT); /* so that its blocks are there later */
    return errno ? -1 : 0;
}

/* For archive_walk(); -1 and errno. */
static int write_entry(void *ctx, const char *name, mode_t mode, const void *data, size_t size)
{
    const struct target *t = ctx;
    int fd, rc, why;

    if (S_ISDIR(mode))
        return mkdirat(t->dir, name, 0700);
    fd = openat(t->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    rc = write_all(fd, data, size);
    if (rc == 0 && strncmp(name, "pg_wal/", 7) == 0)
        rc = fill_segment(t, fd);
    why = errno;
    if (close(fd) < 0 && rc == 0)
        return -1;
    errno = why;
    return rc;
}

/* ---- what differs from cluster to cluster ------------------------------------------- */

/* CRC-32C as in pg_crc32c.h, without its last inversion. */
static uint32_t crc32c(uint32_t crc, unsigned char byte)
{
    crc ^= byte;
    for (int i = 0; i < 8; i++)
        crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    return crc;
}

/* So the structure, which differs between major versions, need not be known. */
size_t control_checksum(const unsigned char *control)
{
    uint32_t crc = 0xffffffff, stored;

    for (size_t at = 0; at + sizeof(stored) <= CONTROL_SIZE; at++) {
        memcpy(&stored, control + at, sizeof(stored));
        if (at % sizeof(stored) == 0 && at > NONCE_SIZE && stored == ~crc)
            return at;
        crc = crc32c(crc, control[at]);
    }
    return 0;
}

static int change_file(int dir, const char *name, void *buf, size_t size, off_t at, bool write_it)
{
    int fd = openat(dir, name, O_RDWR | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write_it ? pwrite(fd, buf, size, at) : pread(fd, buf, size, at);

    if (fd >= 0)
        close(fd);
    return n == (ssize_t)size ? 0 : -1;
}

/* A system identifier is made as BootStrapXLOG() in xlog.c does. */
static int make_unique(int dir)
{
    unsigned char control[CONTROL_SIZE];
    struct timeval now;
    struct dirent *e;
    uint32_t crc = 0xffffffff;
    uint64_t id;
    size_t end;
    int rc, wal;
    DIR *d;

    if (change_file(dir, "global/pg_control", control, sizeof(control), 0, false) < 0 ||
        !(end = control_checksum(control)))
        return -1;
    gettimeofday(&now, NULL);
    id = (uint64_t)now.tv_sec << 32 | (uint64_t)now.tv_usec << 12 | (getpid() & 0xfff);
    memcpy(control, &id, sizeof(id));
    if (getrandom(control + end - NONCE_SIZE, NONCE_SIZE, 0) != NONCE_SIZE)
        return -1;
    for (size_t i = 0; i < end; i++)
        crc = crc32c(crc, control[i]);
    crc = ~crc;
    memcpy(control + end, &crc, sizeof(crc));
    rc = change_file(dir, "global/pg_control", control, sizeof(control), 0, true);
    wal = openat(dir, "pg_wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = wal < 0 ? NULL : fdopendir(wal);
    while (d && rc == 0 && (e = readdir(d)))
        if (e->d_type == DT_REG)
            rc = change_file(wal, e->d_name, &id, sizeof(id), WAL_SYSID_AT, true);
    if (d)
        closedir(d);
    return d ? rc : -1;
}

/* The host's time zone, as initdb finds it: TZ, else what /etc/localtime is a link to. */
static void host_timezone(char *out, size_t size)
{
    const char *tz = getenv("TZ"), *name;
    char target[PATH_MAX];
    ssize_t n = readlink("/etc/localtime", target, sizeof(target) - 1);

    target[n > 0 ? n : 0] = '\0';
    name = strstr(target, "zoneinfo/");
    if (tz && *tz && *tz != ':' &&
        strspn(tz, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                   "0123456789_+-/") == strlen(tz))
        snprintf(out, size, "%s", tz);
    else
        snprintf(out, size, "%s", name ? name + strlen("zoneinfo/") : "Etc/UTC");
}

/* Settings that follow initdb's own win over them. */
static int set_timezone(int dir)
{
    int fd = openat(dir, "postgresql.conf", O_WRONLY | O_APPEND | O_CLOEXEC), rc;
    char zone[256];

    host_timezone(zone, sizeof(zone));
    rc = fd < 0 ? -1 : dprintf(fd, "\ntimezone = '%s'\nlog_timezone = '%s'\n", zone, zone);
    if (fd >= 0)
        close(fd);
    return rc < 0 ? -1 : 0;
}

/* ---- the interface --------------------------------------------------------------------- */

bool template_unfinished(const char *dir)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/" CREATING, dir);
    return access(path, F_OK) == 0;
}

void template_sweep(const char *dir)
{
    if (template_unfinished(dir))
        remove_contents(dir, CREATING); /* the mark goes last: this can be interrupted as well */
}

void template_undo(const char *dir)
{
    char path[PATH_MAX + 32];
    int mark;

    snprintf(path, sizeof(path), "%s/" CREATING, dir);
    mark = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (mark >= 0)
        close(mark);
    template_sweep(dir);
}

int template_copy(const struct install *in, const char *dir, bool durable, struct calf_error *err)
{
    int to = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int mark = to < 0 ? -1 : openat(to, CREATING, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int rc = mark < 0 || fchmod(to, 0700) < 0 ? -1 : 0; /* as PostgreSQL wants it */

    if (rc == 0)
        rc = archive_walk(in->template, write_entry, &(struct target){to, durable});
    if (rc == -ENOMEM)
        errno = ENOMEM;
    if (rc == 0)
        rc = make_unique(to);
    if (rc == 0)
        rc = set_timezone(to);
    if (rc == 0 && durable)
        rc = syncfs(to);
    if (rc == 0)
        rc = unlinkat(to, CREATING, 0);
    if (rc == 0 && durable)
        rc = fsync(to);
    if (rc == -EBADMSG)
        fail(err, CALF_INSTALL, "the template cluster in %s is damaged (sha256); install it again",
             in->root);
    else if (rc < 0)
        fail(err, CALF_FAILED, "cannot create the cluster in %s: %s", dir, strerror(errno));
    if (rc < 0 && mark >= 0)
        template_sweep(dir);
    if (mark >= 0)
        close(mark);
    if (to >= 0)
        close(to);
    return rc < 0 ? -1 : 0;
}

/*
 * lock.c - one server per data directory
 *
 * calf's lock is flock() on the directory itself: nothing is written, nothing
 * is left, and it dies with the host.  Virtual pids and virtual shared memory
 * make PostgreSQL's own interlock (postmaster.pid, miscinit.c) blind between
 * calf processes, so this comes first.
 *
 * A stock server does not take this lock, but its postmaster.pid names a live
 * process; ours names the host, so that a stock server sees us.  A pid in a
 * postmaster.pid that the lock proves dead may live again as something else
 * (pid 1 in a container): it is reported as stale, and the kernel's kill() then
 * says that it does not exist.
 *
 * A lock ends by LOCK_UN: to close the descriptor is not enough where another thread of the host
 * has just forked, and its child has not yet closed what it got (kernel/owned.c).
 *
 * Who only asks takes LOCK_SH for a moment.  Who wants the lock and can have LOCK_SH has met
 * somebody who asks, and tries again.
 */
#include "runtime.h"

#include "../kernel/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct pidfile {
    pid_t pid;
    int shmid; /* -1: none */
    struct holder holder;
};

/* Its lines are in miscadmin.h (LOCK_FILE_LINE_...). */
static bool read_pidfile(const char *dir, struct pidfile *out)
{
    char path[PATH_MAX + 32], line[PATH_MAX];
    unsigned long key;
    FILE *f;

    *out = (struct pidfile){.shmid = -1};
    snprintf(path, sizeof(path), "%s/postmaster.pid", dir);
    f = fopen(path, "re");
    if (!f)
        return false;
    for (int n = 1; fgets(line, sizeof(line), f); n++) {
        line[strcspn(line, "\n")] = '\0';
        if (n == 1 && sscanf(line, "%d", &out->pid) != 1)
            break;
        if (n == 3)
            out->holder.since = strtoll(line, NULL, 10);
        if (n == 4)
            out->holder.port = atoi(line);
        if (n == 5)
            strcpy(out->holder.socket_dir, line);
        if (n == 6)
            out->holder.on_tcp = *line;
        if (n == 7 && sscanf(line, "%lu %d", &key, &out->shmid) != 2)
            out->shmid = -1;
    }
    fclose(f);
    out->pid = abs(out->pid); /* negative: of the single-user mode */
    out->holder.pid = out->pid;
    return out->pid > 0;
}

/*
 * A stock server, or what a crashed one left running, has its segment attached;
 * where that cannot be seen, the server has its name.
 */
static bool is_stock_server(const struct pidfile *pf)
{
    char path[64], name[64] = "";
    struct shmid_ds st;
    FILE *f;

    if (pf->shmid >= 0 && shmctl(pf->shmid, IPC_STAT, &st) == 0 && st.shm_nattch > 0 &&
        st.shm_cpid == pf->pid)
        return true;
    if (kill(pf->pid, 0) < 0 && errno != EPERM)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/comm", pf->pid);
    f = fopen(path, "re");
    if (f && fgets(name, sizeof(name), f))
        name[strcspn(name, "\n")] = '\0';
    if (f)
        fclose(f);
    return strcmp(name, "postgres") == 0 || strcmp(name, "postmaster") == 0;
}

bool process_is_dying(pid_t pid)
{
    char path[64], state = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    if (f)
        fclose(f);
    return state == 'Z' || state == 'X';
}

/* LOCK_EX; 0 or -errno.  Waits for who only asks, and for who is ending. */
static int lock_exclusive(int fd, const char *dir)
{
    for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        struct timespec ms = {0, 1000000};
        struct pidfile pf;
        int why = errno;
        bool asked = why == EWOULDBLOCK && flock(fd, LOCK_SH | LOCK_NB) == 0;

        if (asked)
            flock(fd, LOCK_UN);
        if (why != EWOULDBLOCK || tries == 10000 ||
            (!asked && !(read_pidfile(dir, &pf) && process_is_dying(pf.pid))))
            return -why;
        nanosleep(&ms, NULL);
    }
    return 0;
}

int lock_holder(const char *dir, struct holder *out, struct calf_error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct timespec ms = {0, 1000000};
    struct pidfile pf;
    bool held;

    *out = (struct holder){0};
    if (fd < 0)
        return fail(err, CALF_ACCESS, "cannot open the data directory %s: %s", dir,
                    strerror(errno));
    for (int tries = 0;; tries++) {
        held = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
        if (!held || tries == 10000 || !read_pidfile(dir, &pf) || !process_is_dying(pf.pid))
            break;
        nanosleep(&ms, NULL);
    }
    flock(fd, LOCK_UN);
    close(fd);
    if (read_pidfile(dir, &pf) && (held || is_stock_server(&pf))) {
        *out = pf.holder;
        out->stock = !held || ((out->on_tcp || out->socket_dir[0]) &&
                               strcmp(out->socket_dir, "@" INBOX_DIR) != 0);
        return 1;
    }
    return held;
}

/*
 * A postmaster.pid that says nothing, of which PostgreSQL would not know what to do: an empty one
 * was just being made when its maker was killed (or is, by a stock server: it gets time to go on)
 * and is removed; anything else is the user's.  The directory is locked.
 */
static int take_away_empty(const char *dir, struct calf_error *err)
{
    struct timespec step = {0, 10000000};
    char path[PATH_MAX + 32];
    struct stat st;

    snprintf(path, sizeof(path), "%s/postmaster.pid", dir);
    for (int tries = 0; lstat(path, &st) == 0; tries++) {
        if (!S_ISREG(st.st_mode) || st.st_size > 0)
            return fail(err, CALF_ACCESS,
                        "%s is in the place of PostgreSQL's lock file; move it away", path);
        if (tries == 50)
            return unlink(path) == 0 ? 0
                                     : fail(err, CALF_ACCESS, "cannot remove the empty %s: %s",
                                            path, strerror(errno));
        nanosleep(&step, NULL);
    }
    return 0;
}

int lock_directory(const char *dir, pid_t *stale, struct calf_error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), why;
    struct pidfile pf;

    *stale = 0;
    if (fd < 0)
        return fail(err, CALF_ACCESS, "cannot open the data directory %s: %s", dir,
                    strerror(errno));
    why = -lock_exclusive(fd, dir);
    if (why) {
        close(fd);
        if (why != EWOULDBLOCK)
            return fail(err, CALF_ACCESS, "cannot lock the data directory %s: %s", dir,
                        strerror(why));
        if (read_pidfile(dir, &pf))
            return fail(err, CALF_HELD,
                        "the data directory %s is in use by process %d; stop it first, or "
                        "connect to it",
                        dir, pf.pid);
        return fail(err, CALF_HELD,
                    "the data directory %s is in use by a process that is just starting; try "
                    "again",
                    dir);
    }
    if (!read_pidfile(dir, &pf)) {
        if (take_away_empty(dir, err) == 0)
            return owned_note(fd);
        unlock_directory(fd);
        return -1;
    }
    if (pf.pid != getpid() && is_stock_server(&pf)) {
        unlock_directory(fd);
        return fail(err, CALF_HELD,
                    "the data directory %s is in use by a PostgreSQL server, process %d; stop "
                    "it first, or connect to it",
                    dir, pf.pid);
    }
    *stale = pf.pid;
    return owned_note(fd);
}

void unlock_directory(int fd)
{
    if (fd >= 0)
        flock(fd, LOCK_UN);
    owned_close(fd);
}

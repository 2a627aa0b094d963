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
 */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/shm.h>
#include <unistd.h>

struct pidfile {
    pid_t pid;
    int shmid; /* -1: none */
};

static bool read_pidfile(const char *dir, struct pidfile *out)
{
    char path[PATH_MAX + 32], line[PATH_MAX];
    unsigned long key;
    FILE *f;

    *out = (struct pidfile){0, -1};
    snprintf(path, sizeof(path), "%s/postmaster.pid", dir);
    f = fopen(path, "re");
    if (!f)
        return false;
    for (int n = 1; fgets(line, sizeof(line), f); n++) {
        if (n == 1 && sscanf(line, "%d", &out->pid) != 1)
            break;
        if (n == 7 && sscanf(line, "%lu %d", &key, &out->shmid) != 2)
            out->shmid = -1;
    }
    fclose(f);
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

int lock_directory(const char *dir, pid_t *stale, struct calf_error *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct pidfile pf;

    *stale = 0;
    if (fd < 0)
        return fail(err, CALF_ACCESS, "cannot open the data directory %s: %s", dir,
                    strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int why = errno;

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
    if (!read_pidfile(dir, &pf))
        return fd;
    if (pf.pid != getpid() && is_stock_server(&pf)) {
        close(fd);
        return fail(err, CALF_HELD,
                    "the data directory %s is in use by a PostgreSQL server, process %d; stop "
                    "it first, or connect to it",
                    dir, pf.pid);
    }
    *stale = pf.pid;
    return fd;
}

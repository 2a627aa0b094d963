/*
 * doctor_system.c - `calf doctor`: what calf needs of the system
 */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Does a call work?  Its descriptor is closed. */
static void check_call(struct doctor *d, const char *name, int fd, const char *use)
{
    if (fd < 0)
        report(d, LEVEL_PROBLEM, "kernel",
               "%s does not work here (%s), and calf needs it for %s; allow it in the container's "
               "or sandbox's rules",
               name, strerror(errno), use);
    else
        close(fd);
}

static int sealed_memory(void)
{
    int fd = memfd_create("doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void check_kernel(struct doctor *d)
{
    int before = d->count[LEVEL_PROBLEM];

    check_call(d, "memfd_create()", sealed_memory(), "PostgreSQL's programs and shared memory");
    check_call(d, "epoll_create1()", epoll_create1(EPOLL_CLOEXEC), "waiting");
    check_call(d, "eventfd()", eventfd(0, EFD_CLOEXEC), "waking threads");
    if (access("/proc/self/exe", R_OK) < 0)
        report(d, LEVEL_PROBLEM, "kernel",
               "/proc is not mounted (%s), so calf does not find its own file; mount it",
               strerror(errno));
    if (d->count[LEVEL_PROBLEM] == before)
        report(d, LEVEL_OK, "kernel", "memfd_create, epoll, eventfd and /proc are there");
}

static void check_signal(struct doctor *d)
{
    for (int sig = SIGRTMAX - 1; sig > SIGRTMIN; sig--) {
        struct sigaction sa;

        if (sigaction(sig, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL) {
            report(d, LEVEL_OK, "signal", "real-time signal %d is free", sig);
            return;
        }
    }
    report(d, LEVEL_PROBLEM, "signal",
           "no real-time signal is free; start calf without a wrapper that ignores them all");
}

static void check_limits(struct doctor *d)
{
    struct rlimit files, space;
    int overcommit = 0;
    FILE *f = fopen("/proc/sys/vm/overcommit_memory", "re");

    if (f && fscanf(f, "%d", &overcommit) != 1)
        overcommit = 0;
    if (f)
        fclose(f);
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_AS, &space);
    if (files.rlim_cur < 256)
        report(d, LEVEL_PROBLEM, "descriptors",
               "only %llu open files are allowed, too few for more than some sessions; \"ulimit -n "
               "1024\" or more",
               (unsigned long long)files.rlim_cur);
    else if (files.rlim_cur < 1024)
        report(d, LEVEL_WARNING, "descriptors",
               "%llu open files are allowed, which is enough for about %llu sessions; \"ulimit -n "
               "1024\" is for a hundred",
               (unsigned long long)files.rlim_cur, (unsigned long long)files.rlim_cur / 10);
    else
        report(d, LEVEL_OK, "descriptors", "%llu open files are allowed",
               (unsigned long long)files.rlim_cur);
    if (space.rlim_cur != RLIM_INFINITY)
        report(d, LEVEL_WARNING, "address space",
               "it is limited to %s, and calf reserves much more than it uses; \"ulimit -v "
               "unlimited\"",
               human_size(space.rlim_cur));
    else if (overcommit == 2)
        report(d, LEVEL_WARNING, "address space",
               "vm.overcommit_memory is 2, so that the kernel may refuse memory that is only "
               "reserved; watch CommitLimit in /proc/meminfo, or set it to 0");
    else
        report(d, LEVEL_OK, "address space", "it is not limited");
}

static void check_memory_files(struct doctor *d)
{
    struct statvfs fs;
    unsigned long long left;

    if (statvfs("/dev/shm", &fs) < 0 || access("/dev/shm", W_OK | X_OK) < 0) {
        report(d, LEVEL_WARNING, "/dev/shm",
               "it cannot be used (%s), so that temporary databases are on disk, in $TMPDIR or "
               "/tmp; mount a tmpfs there",
               strerror(errno));
        return;
    }
    left = (unsigned long long)fs.f_bavail * fs.f_frsize;
    if (left <= 256ull << 20)
        report(d, LEVEL_WARNING, "/dev/shm",
               "only %s are free, so that temporary databases are on disk, in $TMPDIR or /tmp; "
               "give it more (docker: --shm-size)",
               human_size(left));
    else
        report(d, LEVEL_OK, "/dev/shm", "%s are free for temporary databases", human_size(left));
}

void check_system(struct doctor *d)
{
    char text[4096];

    check_kernel(d);
    check_signal(d);
    check_limits(d);
    check_memory_files(d);
    if (output_of((char *[]){"postgres", "--version", NULL}, text, sizeof(text)) != 0)
        report(d, LEVEL_PROBLEM, "programs",
               "PostgreSQL's programs do not run: %s; install calf "
               "again",
               text);
    else
        report(d, LEVEL_OK, "programs", "calf %s runs them", calf_version());
}

/* ---- starting ---------------------------------------------------------------------------------
 */

/* The lines of the log that say what is wrong, for the thread that reads them. */
struct complaint {
    char text[1024], where[1024], last[1024];
    bool of_file; /* about a line of a file, with which PostgreSQL may start all the same */
};

static void hear(void *context, const char *line)
{
    struct complaint *c = context;
    const char *log = strstr(line, "LOG:  "), *at = strstr(line, "CONTEXT:  line ");
    const char *fatal = strstr(line, "FATAL:  ");

    if (log)
        snprintf(c->last, sizeof(c->last), "%s", log + strlen("LOG:  "));
    if (at && !c->text[0]) {
        strcpy(c->text, c->last);
        snprintf(c->where, sizeof(c->where), " (%s)", at + strlen("CONTEXT:  "));
        c->of_file = true;
    }
    if (log && strstr(log, " at end of line ") && !c->text[0]) { /* PostgreSQL 15, pg_ident.conf */
        strcpy(c->text, c->last);
        c->of_file = true;
    }
    if (fatal && !c->text[0])
        snprintf(c->text, sizeof(c->text), "%s", fatal + strlen("FATAL:  "));
}

void check_start(struct doctor *d)
{
    char hba[PATH_MAX + 16], ident[PATH_MAX + 16], preload[1100];
    const char *settings[4] = {NULL};
    struct complaint heard = {.of_file = false};
    struct calf_options o = {
        .size = sizeof(o), .settings = settings, .log = hear, .log_context = &heard};
    struct calf_error err;
    calf_db *db;
    int n = 0;

    if (d->hba[0]) {
        snprintf(hba, sizeof(hba), "hba_file=%s", d->hba);
        snprintf(ident, sizeof(ident), "ident_file=%s", d->ident);
        snprintf(preload, sizeof(preload), "shared_preload_libraries=%s", d->preload);
        settings[n++] = hba;
        settings[n++] = ident;
        settings[n++] = preload;
    }
    if (calf_open(NULL, &o, &db, &err) == CALF_OK) {
        calf_close(db, CALF_FAST, NULL);
        if (heard.of_file) /* PostgreSQL starts without the user names of pg_ident.conf */
            report(d, LEVEL_PROBLEM, "access", "%s%s; correct it there", heard.text, heard.where);
        report(d, LEVEL_OK, "start", "a temporary database opens%s",
               n ? ", with this one's access rules and libraries" : "");
    } else if (n && heard.text[0]) {
        report(d, LEVEL_PROBLEM, "access", "%s%s; correct it there, or in postgresql.conf",
               heard.text, heard.where);
    } else {
        err.text[strcspn(err.text, "\n")] = '\0';
        report(d, LEVEL_PROBLEM, "start", "a temporary database does not open: %s",
               heard.text[0] ? heard.text : err.text);
    }
}

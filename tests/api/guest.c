/*
 * guest.c - what the host had before calf_open() it has while sessions run and after calf_close()
 *
 * Working directory, umask, environment, locale, signal dispositions and masks, descriptors,
 * limits, timers, threads, the position and buffers of its streams; its children inherit nothing,
 * its own handlers of the signals that PostgreSQL uses are called.
 *
 * usage: guest DIR            ("guest DIR leave" is its helper)
 */
#include "api_test.h"

#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

static volatile sig_atomic_t alarms, usr1s, urgs;

static void count(int sig)
{
    if (sig == SIGALRM)
        alarms++;
    else if (sig == SIGUSR1)
        usr1s++;
    else
        urgs++;
}

/* calf's own, named in calf.h: one real-time signal and those of faults and abort() */
static bool is_calfs(int sig)
{
    return sig >= SIGRTMIN || sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL ||
           sig == SIGABRT;
}

#define RESTORER 0x04000000 /* glibc adds it to what it sets (kernel's SA_RESTORER) */

struct state {
    char cwd[4096], locale[256], *environment;
    mode_t umask;
    sigset_t mask;
    struct sigaction actions[65];
    struct rlimit limits[RLIM_NLIMITS];
    struct itimerval timer;
    int fds, threads;
    off_t position;
};

static void look(struct state *s, int fd)
{
    extern char **environ;
    size_t size = 1;

    memset(s, 0, sizeof(*s));
    CHECK(getcwd(s->cwd, sizeof(s->cwd)));
    snprintf(s->locale, sizeof(s->locale), "%s", setlocale(LC_ALL, NULL));
    s->umask = umask(0);
    umask(s->umask);
    for (char **e = environ; *e; e++)
        size += strlen(*e) + 1;
    CHECK((s->environment = calloc(1, size)));
    for (char **e = environ; *e; e++)
        strcat(strcat(s->environment, *e), "\n");
    pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
    for (int sig = 1; sig <= 64; sig++)
        sigaction(sig, NULL, &s->actions[sig]);
    for (int i = 0; i < (int)RLIM_NLIMITS; i++)
        getrlimit(i, &s->limits[i]);
    getitimer(ITIMER_REAL, &s->timer);
    s->timer.it_value.tv_sec = s->timer.it_value.tv_usec = 0;
    s->fds = entries("/proc/self/fd");
    s->threads = entries("/proc/self/task");
    s->position = lseek(fd, 0, SEEK_CUR);
}

static int changed_actions(const struct state *a, const struct state *b, bool closed)
{
    int n = 0, real_time = 0;

    for (int sig = 1; sig <= 64; sig++) {
        if (a->actions[sig].sa_handler == b->actions[sig].sa_handler &&
            ((a->actions[sig].sa_flags ^ b->actions[sig].sa_flags) & ~RESTORER) == 0)
            continue;
        if (closed || !is_calfs(sig) || (sig >= SIGRTMIN && real_time++))
            n++;
    }
    return n;
}

static void same(const struct state *a, const struct state *b, bool closed)
{
    CHECK(strcmp(a->cwd, b->cwd) == 0 && a->umask == b->umask);
    CHECK(strcmp(a->locale, b->locale) == 0);
    CHECK(strcmp(a->environment, b->environment) == 0);
    CHECK(memcmp(&a->mask, &b->mask, sizeof(a->mask)) == 0);
    CHECK(changed_actions(a, b, closed) == 0);
    CHECK(memcmp(a->limits, b->limits, sizeof(a->limits)) == 0);
    CHECK(memcmp(&a->timer, &b->timer, sizeof(a->timer)) == 0);
    CHECK(a->position == b->position);
    if (closed) {
        CHECK(a->fds == b->fds);
        CHECK(a->threads == b->threads);
    }
    free(b->environment);
}

static void work(const char *dsn)
{
    PGconn *conn = connect_to(dsn);

    CHECK(says(conn, "create table if not exists t (n int)", ""));
    CHECK(says(conn, "insert into t select generate_series(1, 1000)", ""));
    CHECK(says(conn, "set statement_timeout = 50", "")); /* a timer of the session's own */
    CHECK(strstr(ask(conn, "select pg_sleep(100)"), "statement timeout"));
    CHECK(says(conn, "set lc_numeric = 'C.UTF-8'", "") &&
          says(conn, "set timezone = 'Asia/Tokyo'", ""));
    CHECK(says(conn, "copy (select 1) to program 'cat >/dev/null; umask 0; cd /'", ""));
    PQfinish(conn);
}

static _Noreturn void leave(const char *dir)
{
    char path[4096];
    calf_db *db;

    snprintf(path, sizeof(path), "%s/data", dir);
    CHECK(calf_open(path, NULL, &db, &err) == CALF_OK);
    PGconn *conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "create table left_behind as select 1 as n", ""));
    exit(5);
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = count, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 20000}, {0, 20000}};
    struct state before, now;
    char path[4096], line[256];
    calf_db *db;
    FILE *stream;
    int fd, status;
    pid_t child;

    if (argc == 3)
        leave(argv[1]);
    CHECK(argc == 2 && chdir(argv[1]) == 0);
    setlocale(LC_ALL, "C.UTF-8");
    umask(027);
    setenv("PGHOST", "elsewhere.invalid", 1); /* the host's own business */
    setenv("TZ", "Europe/Vienna", 1);
    sigaction(SIGALRM, &sa, NULL);
    sigaction(SIGUSR1, &sa, NULL);
    sigaction(SIGURG, &sa, NULL);
    CHECK((stream = fopen("stream", "w+")));
    fd = fileno(stream);
    fprintf(stream, "written before; ");
    setitimer(ITIMER_REAL, &timer, NULL);
    look(&before, fd);

    for (int round = 0; round < 3; round++) {
        snprintf(path, sizeof(path), "%s/data", argv[1]);
        CHECK(calf_open(path, NULL, &db, &err) == CALF_OK);
        work(calf_dsn(db));
        look(&now, fd);
        same(&before, &now, false);

        /* a child inherits no descriptor; its end is the host's to wait for, and only that */
        child = fork();
        if (child == 0) {
            execl("/bin/sh", "sh", "-c",
                  "for f in /proc/self/fd/*; do readlink $f; done | "
                  "grep -q /data && exit 3; exit 0",
                  NULL);
            _exit(9);
        }
        CHECK(waitpid(-1, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
        CHECK(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD);
        CHECK(raise(SIGUSR1) == 0 && usr1s == round + 1);
        fflush(NULL);
        before.position = lseek(fd, 0, SEEK_CUR);
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
        if (round == 0) /* what libraries open once for ever (ICU's data) is there now */
            before.fds = entries("/proc/self/fd");
    }
    look(&now, fd);
    same(&before, &now, true);
    CHECK(urgs == 0 && alarms > 0); /* latches and timeouts of sessions never reached the host */
    rewind(stream);
    CHECK(fgets(line, sizeof(line), stream) && strcmp(line, "written before; ") == 0);

    /* exit() with a session open loses nothing that was acknowledged */
    child = fork();
    if (child == 0) {
        execl("/proc/self/exe", argv[0], argv[1], "leave", NULL);
        _exit(9);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 5);
    CHECK(calf_open(path, NULL, &db, &err) == CALF_OK);
    PGconn *conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "select n from left_behind", "1"));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    return 0;
}

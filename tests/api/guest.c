/*
 * guest.c - what the host had before calf_open() it has while sessions run and after calf_close()
 *
 * Working directory, umask, environment, locale, signal dispositions and masks, descriptors,
 * limits, timers, threads, mappings, the position and buffers of its streams; its children inherit
 * nothing, its own handlers of the signals that PostgreSQL uses are called, and those of atexit()
 * in their order.
 *
 * usage: guest DIR            ("guest DIR leave" and "guest DIR descriptors" are its helpers)
 */
#include "api_test.h"

#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>

static volatile sig_atomic_t alarms, usr1s, urgs, chlds;

static void count(int sig)
{
    if (sig == SIGALRM)
        alarms++;
    else if (sig == SIGUSR1)
        usr1s++;
    else if (sig == SIGCHLD)
        chlds++;
    else
        urgs++;
}

/* calf's own, named in calf.h: one real-time signal, SIGSTKFLT, and those of faults and abort() */
static bool is_calfs(int sig)
{
    return sig >= SIGRTMIN || sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL ||
           sig == SIGABRT || sig == SIGSTKFLT;
}

#define RESTORER 0x04000000 /* glibc adds it to what it sets (kernel's SA_RESTORER) */

struct state {
    char cwd[4096], locale[256], *environment;
    mode_t umask;
    sigset_t mask;
    struct sigaction actions[65];
    struct rlimit limits[RLIM_NLIMITS];
    struct itimerval timers[3];
    char posix_timers[256]; /* those of timer_create() */
    int fds, threads;
    struct mapped {
        size_t files, memory; /* bytes */
    } mapped;
    off_t position;
};

/* What a file of /proc says. */
static void contents(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, size - 1) : 0;

    text[got > 0 ? got : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

/* The lines cannot be compared: Linux joins mappings that happen to be neighbours. */
static struct mapped mapped(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    struct mapped sum = {0};
    size_t from, to;
    char line[4352];

    CHECK(maps);
    while (fgets(line, sizeof(line), maps)) {
        CHECK(sscanf(line, "%zx-%zx", &from, &to) == 2);
        if (strchr(line, '/'))
            sum.files += to - from;
        else if (!strstr(line, "[heap]")) /* malloc's, which grows */
            sum.memory += to - from;
    }
    fclose(maps);
    return sum;
}

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
    for (int i = 0; i < 3; i++) { /* how they repeat; the rest goes on */
        getitimer(i, &s->timers[i]);
        s->timers[i].it_value = (struct timeval){0};
    }
    contents("/proc/self/timers", s->posix_timers, sizeof(s->posix_timers));
    s->fds = entries("/proc/self/fd");
    s->threads = entries("/proc/self/task");
    s->mapped = mapped();
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
    CHECK(memcmp(&a->timers, &b->timers, sizeof(a->timers)) == 0);
    CHECK(strcmp(a->posix_timers, b->posix_timers) == 0);
    CHECK(a->position == b->position);
    if (closed) {
        CHECK(a->fds == b->fds);
        CHECK(a->threads == b->threads);
        CHECK(a->mapped.files == b->mapped.files);
        /* malloc and the threads library keep a little; a process's stack has 8 MB */
        CHECK(b->mapped.memory < a->mapped.memory + (2 << 20));
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
    CHECK(says(conn, "reset statement_timeout", ""));
    CHECK(says(conn, "set lc_numeric = 'C.UTF-8'", "") &&
          says(conn, "set timezone = 'Asia/Tokyo'", ""));
    CHECK(says(conn, "copy (select 1) to program 'cat >/dev/null; umask 0; cd /'", ""));
    PQfinish(conn);
}

static void run_psql(calf_db *db)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), code;
    char *psql[] = {"psql",   "-Xc", "\\! cd /; umask 0", "-c",
                    "\\cd /", "-c",  "\\setenv TZ UTC",   NULL};

    CHECK(calf_run(db, psql, (int[]){null, null, null}, &code, &err) == CALF_OK && code == 0);
    close(null);
}

static void registered_first(void)
{
    CHECK(write(1, "first", 5) == 5);
}

static void registered_last(void)
{
    CHECK(write(1, "last, ", 6) == 6);
}

/* One database is open then, with a session; another lingers, for which calf is at exit() too. */
static _Noreturn void leave(const char *dir)
{
    struct calf_options o = {.size = sizeof(o), .linger_ms = 600000};
    char path[4096];
    calf_db *db;

    atexit(registered_first);
    snprintf(path, sizeof(path), "%s/lingers", dir);
    CHECK(calf_open(path, &o, &db, &err) == CALF_OK && calf_close(db, CALF_FAST, &err) == CALF_OK);
    snprintf(path, sizeof(path), "%s/data", dir);
    CHECK(calf_open(path, NULL, &db, &err) == CALF_OK);
    PGconn *conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "create table left_behind as select 1 as n", ""));
    atexit(registered_last);
    fputs("buffered, ", stdout);
    fflush(NULL);
    exit(5);
}

/* How many descriptors a child gets. */
static int inherited(const char *self, const char *dir)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        execl("/proc/self/exe", self, dir, "descriptors", NULL);
        _exit(0);
    }
    CHECK(waitpid(-1, &status, 0) == child && WIFEXITED(status)); /* calf's are not the host's */
    CHECK(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD);
    return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = count, .sa_flags = SA_RESTART};
    struct itimerval timer = {{0, 20000}, {0, 20000}};
    struct state before, now;
    char path[4096], line[256];
    calf_db *db;
    FILE *stream;
    int fd, status, descriptors, out[2];
    pid_t child;

    if (argc == 3 && strcmp(argv[2], "descriptors") == 0)
        return entries("/proc/self/fd");
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
    sigaction(SIGCHLD, &sa, NULL);
    CHECK((stream = fopen("stream", "w+")));
    fd = fileno(stream);
    fprintf(stream, "written before; ");
    setitimer(ITIMER_REAL, &timer, NULL);
    descriptors = inherited(argv[0], argv[1]);
    look(&before, fd);

    for (int round = 0; round < 3; round++) {
        snprintf(path, sizeof(path), "%s/data", argv[1]);
        CHECK(calf_open(path, NULL, &db, &err) == CALF_OK);
        work(calf_dsn(db));
        run_psql(db);
        look(&now, fd);
        same(&before, &now, false);
        CHECK(inherited(argv[0], argv[1]) == descriptors); /* nothing of calf's */
        CHECK(chlds == round + 2); /* one for each child of ours, none for PostgreSQL's commands */
        CHECK(raise(SIGUSR1) == 0 && usr1s == round + 1);
        fflush(NULL);
        before.position = lseek(fd, 0, SEEK_CUR);
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
        if (round == 0) { /* what stays for the next time (images, ICU's data) is there now */
            before.fds = entries("/proc/self/fd");
            before.mapped = mapped();
        }
    }
    look(&now, fd);
    same(&before, &now, true);
    CHECK(urgs == 0 && alarms > 0); /* latches and timeouts of sessions never reached the host */
    rewind(stream);
    CHECK(fgets(line, sizeof(line), stream) && strcmp(line, "written before; ") == 0);

    /* exit() with a session open loses nothing that was acknowledged */
    CHECK(pipe2(out, O_CLOEXEC) == 0);
    child = fork();
    if (child == 0) {
        dup2(out[1], 1);
        execl("/proc/self/exe", argv[0], argv[1], "leave", NULL);
        _exit(9);
    }
    close(out[1]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 5);
    memset(line, 0, sizeof(line));
    CHECK(read(out[0], line, sizeof(line) - 1) > 0);
    close(out[0]);
    CHECK(strcmp(line, "buffered, last, first") == 0);
    CHECK(calf_open(path, NULL, &db, &err) == CALF_OK);
    PGconn *conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "select n from left_behind", "1"));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    return 0;
}

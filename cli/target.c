/*
 * target.c - the directory that a command is about, whoever has it open
 *
 * A directory that nobody has open is opened in this process, and meanwhile listens on a socket in
 * itself, so that the next calf finds it.  One that another process serves is used through the
 * address that it listens on.
 *
 * The rule that matters: signals are blocked in every thread and taken by sigwait() here, so
 * that no handler is needed.
 */
#include "cli.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static sigset_t ours;

void block_signals(void)
{
    static const int list[] = {SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP, SIGWINCH};

    sigemptyset(&ours);
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        sigaddset(&ours, list[i]);
    for (int i = 0; i < 4;
         i++) /* what is ignored never comes; a script's background jobs begin so */
        signal(list[i], SIG_DFL);
    pthread_sigmask(SIG_BLOCK, &ours, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit of a file's size is an error of the one who writes */
}

/* ---- which directory -------------------------------------------------------------------- */

int target_name(struct target *t, const char *word)
{
    const char *data = getenv("CALF_DATA");
    struct calf_error err;

    if (!word && data && *data)
        word = data;
    if (word && snprintf(t->dir, sizeof(t->dir), "%s", word) >= (int)sizeof(t->dir))
        return refuse("the path of the data directory is too long");
    if (word && !*word)
        return refuse("the name of the data directory is empty");
    if (word)
        return 0;
    if (calf_data_dir(NULL, NULL, "calf", t->dir, sizeof(t->dir), &err) != CALF_OK)
        return refuse("%s; name the data directory", err.text);
    /* calf_open() makes the last directory only */
    for (char *slash = strchr(t->dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(t->dir, 0700) < 0 && errno != EEXIST)
            return refuse("cannot create %s: %s", t->dir, strerror(errno));
        *slash = '/';
    }
    return 0;
}

/* ---- a thread works, this one takes the signals -----------------------------------------------
 */

struct worker {
    int (*work)(void *arg);
    void *arg;
    pthread_t thread, main;
    int code;
    _Atomic bool done;
};

static void *work(void *arg)
{
    struct worker *w = arg;

    w->code = w->work(w->arg);
    w->done = true;
    pthread_kill(w->main, SIGUSR2); /* who waits for signals goes on */
    return NULL;
}

static bool begin(struct worker *w)
{
    w->main = pthread_self();
    if (pthread_create(&w->thread, NULL, work, w) == 0)
        return true;
    refuse("there is no thread for the work");
    return false;
}

/* ---- opening ------------------------------------------------------------------------------- */

struct opening {
    const char *dir;
    const struct calf_options *options;
    calf_db **db;
    struct calf_error *err;
};

static int open_database(void *arg)
{
    struct opening *o = arg;

    return calf_open(o->dir, o->options, o->db, o->err);
}

int open_watched(const char *dir, const struct calf_options *options, calf_db **db, int *stopped,
                 struct calf_error *err)
{
    struct opening o = {dir, options, db, err};
    struct worker w = {.work = open_database, .arg = &o};
    int sig;

    *stopped = 0;
    if (!begin(&w))
        return calf_open(dir, options, db, err);
    while (!w.done) {
        if (sigwait(&ours, &sig) != 0 || sig == SIGWINCH || sig == SIGUSR2)
            continue;
        if (*stopped && *stopped != SIGHUP) {
            refuse("stopped at once; the database recovers when it is opened");
            _exit(128 + sig);
        }
        if (sig != SIGHUP)
            fprintf(stderr, "calf: %s is still being opened; the same once more stops at once\n",
                    dir);
        *stopped = sig;
    }
    pthread_join(w.thread, NULL);
    return w.code;
}

void forget_places(void)
{
    static const char *const stay[] = {"user",
                                       "password",
                                       "passfile",
                                       "options",
                                       "client_encoding",
                                       "connect_timeout",
                                       "application_name"};
    PQconninfoOption *list = PQconndefaults();

    for (PQconninfoOption *o = list; o && o->keyword; o++) {
        bool stays = !o->envvar;

        for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
            stays |= strcmp(o->keyword, stay[i]) == 0;
        if (!stays)
            unsetenv(o->envvar);
    }
    unsetenv("PGREQUIRESSL"); /* an old PGSSLMODE, which is not in libpq's table */
    PQconninfoFree(list);
}

/* PGHOST and its kin lead to the address, as libpq reads it. */
static int set_environment(const char *uri)
{
    PQconninfoOption *list = PQconninfoParse(uri, NULL);

    if (!list)
        return refuse("cannot read the connection string %s", uri);
    for (PQconninfoOption *o = list; o->keyword; o++)
        if (o->envvar && o->val)
            setenv(o->envvar, o->val, 1);
    PQconninfoFree(list);
    return 0;
}

/* 0, -1 when somebody else was faster, or an exit code after a message. */
static int open_here(struct target *t, const struct call *c)
{
    struct calf_options o = {
        .size = sizeof(o), .settings = c->settings, .log_file = c->value[OPTION_LOG]};
    struct calf_error err, ignored;
    int stopped, rc = open_watched(t->dir, &o, &t->db, &stopped, &err);

    if (rc == CALF_OK && stopped)
        return calf_close(t->db, CALF_FAST, NULL), 128 + stopped;
    if (rc == CALF_HELD)
        return -1;
    if (rc != CALF_OK)
        return refuse_error(&err);
    snprintf(t->uri, sizeof(t->uri), "%s", calf_dsn(t->db));
    calf_listen(t->db, calf_directory(t->db), &ignored); /* unless its path is too long */
    return 0;
}

void find_entry(struct calf_status *st)
{
    PGconn *conn;

    if (st->socket_uri[0])
        strcpy(st->uri, st->socket_uri);
    if (!st->stock || !st->uri[0] || getenv("PGUSER"))
        return;
    conn = PQconnectdb(st->uri);
    if (PQstatus(conn) != CONNECTION_OK)
        setenv("PGUSER", "postgres", 1);
    PQfinish(conn);
}

int target_open(struct target *t, const struct call *c, bool create)
{
    struct calf_status st;
    struct calf_error err;
    int tries = 0, rc;

    for (;;) {
        struct timespec step = {0, 20000000};

        if (calf_look(t->dir, &st, &err) != CALF_OK)
            return refuse_error(&err);
        if (st.state == CALF_ABSENT && !create)
            return refuse("there is no database in %s; \"calf psql %s\" makes one", t->dir, t->dir);
        if (st.state == CALF_OPEN && st.uri[0]) {
            find_entry(&st);
            strcpy(t->uri, st.uri);
            return set_environment(t->uri);
        }
        rc = st.state == CALF_OPEN ? -1 : open_here(t, c);
        if (rc >= 0)
            return rc;
        /* who has only begun will soon listen, or have gone */
        if (tries++ == 500 || (st.pid && tries > 25 && st.since + 2 < time(NULL)))
            return refuse("%s is in use by process %ld, which lets nobody in; end it first, or let "
                          "it call calf_listen()",
                          t->dir, st.pid);
        nanosleep(&step, NULL);
    }
}

PGconn *target_connect_to(struct target *t, const char *database)
{
    const char *const keys[] = {"dbname", database ? "dbname" : NULL, NULL};
    const char *const values[] = {t->uri, database, NULL};
    PGconn *conn = PQconnectdbParams(keys, values, 1);

    if (PQstatus(conn) == CONNECTION_OK)
        return conn;
    refuse("cannot connect to %s: %s", t->dir, PQerrorMessage(conn));
    PQfinish(conn);
    return NULL;
}

PGconn *target_connect(struct target *t)
{
    return target_connect_to(t, NULL);
}

/* ---- running programs --------------------------------------------------------------------- */

struct program {
    struct target *target;
    char *const *argv;
    const int *fds;
};

static int run_program(void *arg)
{
    struct program *p = arg;

    return target_program(p->target, p->argv, p->fds);
}

int target_run(struct target *t, char *const argv[], const int fds[3])
{
    struct program p = {t, argv, fds};
    struct worker w = {.work = run_program, .arg = &p};
    int sig, stops = 0;

    if (!begin(&w))
        return 1;
    while (sigwait(&ours, &sig) == 0 && !w.done) {
        if (sig == SIGUSR2) /* an earlier worker's */
            continue;
        calf_run_signal(t->db, sig, NULL);
        if (sig != SIGINT && sig != SIGWINCH && stops++) {
            refuse("stopped at once; the database recovers when it is opened");
            _exit(128 + sig);
        }
    }
    pthread_join(w.thread, NULL);
    return w.code;
}

int target_work(struct target *t, int (*function)(void *arg), void *arg)
{
    struct worker w = {.work = function, .arg = arg};
    struct timespec step = {0, 200000000};
    int signal = SIGINT; /* programs cancel their queries by it; who does not end gets SIGTERM */

    if (!begin(&w))
        return 1;
    for (;;) {
        /* again and again, for programs that had only been about to begin */
        int sig = t->stopped ? sigtimedwait(&ours, NULL, &step) : sigwaitinfo(&ours, NULL);

        if (w.done)
            break;
        if (!t->stopped && sig > 0 && sig != SIGWINCH && sig != SIGUSR2)
            t->stopped = sig;
        if (t->stopped) {
            calf_run_signal(t->db, signal, NULL);
            calf_run_signal(NULL, signal, NULL);
            signal = SIGTERM;
        }
    }
    pthread_join(w.thread, NULL);
    return t->stopped ? 128 + t->stopped : w.code;
}

int target_program(struct target *t, char *const argv[], const int fds[3])
{
    struct calf_error err;
    int code;

    if (t->stopped)
        return 128 + t->stopped;
    return calf_run(t->db, argv, fds, &code, &err) == CALF_OK ? code : refuse_error(&err);
}

/* ---- closing ----------------------------------------------------------------------------- */

struct closing {
    calf_db *db;
    enum calf_close_mode mode;
    struct calf_error *err;
};

static int close_database(void *arg)
{
    struct closing *c = arg;

    return calf_close(c->db, c->mode, c->err) == CALF_OK ? 0 : 1;
}

void close_hurried(calf_db *db, enum calf_close_mode mode, const sigset_t *signals,
                   struct calf_error *err)
{
    struct closing c[3];
    struct worker w[3]; /* each returns when it is closed */
    sigset_t set = *signals;
    int n = 0, sig;

    sigaddset(&set, SIGUSR2);
    do {
        c[n] = (struct closing){db, mode, n == 0 ? err : NULL};
        w[n] = (struct worker){.work = close_database, .arg = &c[n]};
        if (!begin(&w[n])) {
            calf_close(db, CALF_IMMEDIATE, n == 0 ? err : NULL);
            break;
        }
        n++;
        do
            sigwait(&set, &sig);
        while (!w[0].done && (sig == SIGUSR2 || n == 3));
        mode = mode == CALF_SMART && sig != SIGQUIT ? CALF_FAST : CALF_IMMEDIATE;
    } while (!w[0].done);
    while (n > 0)
        pthread_join(w[--n].thread, NULL);
}

/* Sessions of other processes, which came through our socket: how many, and their programs in
 * `who`.  One of ours may not have ended yet. */
static int other_sessions(struct target *t, char *who, size_t size)
{
    struct timespec step = {0, 20000000};
    PGconn *conn = PQconnectdb(t->uri);
    int n = 1;

    for (int tries = 0; n > 0 && tries < 15; tries++) {
        PGresult *res;

        if (tries)
            nanosleep(&step, NULL);
        res = PQexec(conn, "select count(*), string_agg(distinct coalesce(nullif(application_name, "
                           "''), 'a program without a name'), ', ') from pg_stat_activity where "
                           "backend_type = 'client backend' and pid <> pg_backend_pid()");
        n = PQresultStatus(res) == PGRES_TUPLES_OK ? atoi(PQgetvalue(res, 0, 0)) : 0;
        if (n > 0)
            snprintf(who, size, "%s", PQgetvalue(res, 0, 1));
        PQclear(res);
    }
    PQfinish(conn);
    return n;
}

void target_close(struct target *t)
{
    char who[512];
    sigset_t signals;
    int others;

    if (!t->db)
        return;
    others = other_sessions(t, who, sizeof(who));
    if (others == 0) {
        calf_close(t->db, CALF_FAST, NULL);
        return;
    }
    fprintf(stderr, "calf: waiting for %d other session%s on %s to end (%s); Ctrl-C ends %s\n",
            others, others == 1 ? "" : "s", t->dir, who, others == 1 ? "it" : "them");
    signals = ours;
    sigdelset(&signals, SIGWINCH);
    sigdelset(&signals, SIGUSR1);
    close_hurried(t->db, CALF_SMART, &signals, NULL);
}

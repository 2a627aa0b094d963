/*
 * database.c - the databases that this process has open, and the handles for them
 *
 * A directory is open once per process: calf_open() and `host=calf:` connections share it.  The
 * handles decide: when the last one is closed the database closes, connections or not.  One
 * that connections opened on demand closes with the last of them.  One that is to linger closes
 * some time after the last of both is gone, by a thread that is there while one lingers.
 *
 * The rule that matters: `databases_lock` guards the list and the counts and is not held while a
 * server starts or stops.  A database that is doing so is in the list as `busy`, and whoever wants
 * its directory waits for `changed`.
 */
#include "api.h"

#include "../kernel/kernel.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <sys/wait.h>

struct database {
    struct database *next;
    struct server *server;
    unsigned long number; /* never used again */
    dev_t dev;
    ino_t ino;
    int handles, connections; /* references */
    int users;                /* threads that work with `server` right now; stop() waits for them */
    struct run *runs;         /* programs of calf_run() */
    struct listener *listeners; /* listen.c */
    bool busy;                  /* starting or stopping */
    calf_db *closing;           /* the handle that calf_close() stops it for */
    bool on_demand;             /* temporary for `host=calf:` */
    bool temporary;
    int linger_ms;
    int64_t close_at; /* nobody uses it: when it closes, in now_ms(); 0: it is in use */
    int log_fd;
    struct pump *pump; /* log.c; NULL: none */
    char superuser[SUPERUSER_SIZE];
    char dir[PATH_MAX];
    char dsn[HOST_SIZE + (PATH_MAX + SUPERUSER_SIZE) * 2 + 64];
};

struct run {
    struct run *next;
    struct server *server;
    pid_t pid;
};

pthread_mutex_t databases_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct database *databases;
static struct run *runs_without; /* programs of calf_run() without a database */
static int nruns_without;        /* and those that just begin or end */
static unsigned long last_number;
static bool reaping; /* the thread that closes what lingers runs */
static bool closes_at_exit;

struct calf_error *error_room(struct calf_error *err, struct calf_error *own)
{
    if (!err)
        err = own;
    *err = (struct calf_error){CALF_OK, ""};
    return err;
}

/* ---- handles ---------------------------------------------------------------------------- */

bool databases_any(void)
{
    return databases || nruns_without;
}

/* A forked child has only its text, and is nobody whom stop() could wait for. */
struct database *database_use(calf_db *db)
{
    struct database *d;

    pthread_mutex_lock(&databases_lock);
    d = handle_object(db, HANDLE_DATABASE);
    if (d && d->busy) /* closing */
        d = NULL;
    if (d && !forked())
        d->users++;
    pthread_mutex_unlock(&databases_lock);
    return d;
}

struct database *database_work(calf_db *db, struct calf_error *err)
{
    struct database *d = refuse_forked(err) < 0 ? NULL : database_use(db);

    if (!d && err->code == CALF_OK)
        closed_handle(err);
    return d;
}

void database_unuse(struct database *d)
{
    if (forked())
        return;
    pthread_mutex_lock(&databases_lock);
    d->users--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&databases_lock);
}

int closed_handle(struct calf_error *err)
{
    fail(err, CALF_MISUSE, "the database handle is not open: it is NULL or was closed");
    return CALF_MISUSE;
}

/* ---- temporary directories --------------------------------------------------------------- */

static void remove_tree(const char *dir)
{
    remove_contents(dir, NULL);
    rmdir(dir);
}

static const char *memory_dir(void)
{
    struct statfs fs;
    const char *tmp = getenv("TMPDIR");

    if (statfs("/dev/shm", &fs) == 0 && access("/dev/shm", W_OK | X_OK) == 0 &&
        fs.f_bavail * (uint64_t)fs.f_bsize > (256UL << 20))
        return "/dev/shm";
    return tmp && *tmp ? tmp : "/tmp";
}

/* What killed processes of this user left: nobody holds the lock of such a directory. */
static void sweep(const char *base)
{
    DIR *d = opendir(base);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        char path[PATH_MAX + 300];
        struct stat st;
        int fd;

        if (strncmp(e->d_name, "calf-temp.", 10) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", base, e->d_name);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && time(NULL) - st.st_ctime > 60 &&
            flock(fd, LOCK_EX | LOCK_NB) == 0)
            remove_tree(path);
        close(fd);
    }
    if (d)
        closedir(d);
}

static int make_temporary(char *out, struct calf_error *err)
{
    const char *base = memory_dir();

    if (snprintf(out, PATH_MAX, "%s/calf-temp.XXXXXX", base) >= PATH_MAX || !mkdtemp(out)) {
        fail(err, CALF_ACCESS, "cannot make a temporary directory in %s: %s", base,
             strerror(errno));
        return -1;
    }
    return 0;
}

/* ---- starting and stopping ------------------------------------------------------------------ */

/* Where PostgreSQL's messages go: d->log_fd, by way of d->pump if there is one. */
static int open_log(struct database *d, const struct calf_options *o, struct calf_error *err)
{
    if (o->log_fd > 0) {
        d->log_fd = owned_note(fcntl(o->log_fd, F_DUPFD_CLOEXEC, 3));
        return d->log_fd < 0 ? fail(err, CALF_MISUSE,
                                    "calf_options.log_fd %d is no open descriptor", o->log_fd)
                             : 0;
    }
    if (!o->log_file) {
        d->log_fd = owned_note(log_memory(err));
        if (d->log_fd >= 0 && o->log)
            d->pump = pump_start(o->log, o->log_context, d->log_fd, err);
        return d->log_fd < 0 || (o->log && !d->pump) ? -1 : 0;
    }
    d->log_fd = owned_note(open(o->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (d->log_fd < 0)
        return fail(err, CALF_ACCESS, "cannot open the log file %s: %s", o->log_file,
                    strerror(errno));
    return 0;
}

/* PostgreSQL's last words belong to the error. */
static void quote_log(int fd, struct calf_error *err)
{
    size_t used = strlen(err->text), left = sizeof(err->text) - used;

    if (err->code == CALF_FAILED && left > 2 && log_text(fd, err->text + used + 1, left - 1) > 0)
        err->text[used] = '\n';
}

/* Appends a value to a conninfo string of libpq's. */
static char *quote(char *to, const char *value)
{
    *to++ = '\'';
    for (const char *s = value; *s; s++) {
        if (*s == '\'' || *s == '\\')
            *to++ = '\\';
        *to++ = *s;
    }
    return strcpy(to, "'") + 1;
}

static void make_dsn(struct database *d)
{
    char host[HOST_SIZE];

    host_of_path(host, d->dir);
    quote(stpcpy(quote(stpcpy(d->dsn, "user="), d->superuser), " dbname=postgres host="), host);
}

static void end_pump(struct database *d)
{
    if (d->pump)
        pump_end(d->pump);
    d->pump = NULL;
}

/* Where it does not work because somebody serves the directory already, that is the reason. */
static int check_addresses(struct database *d, const struct calf_options *o, struct calf_error *err)
{
    for (int i = 0; o->listen && o->listen[i]; i++) {
        struct calf_error held = {CALF_OK, ""};
        pid_t stale;
        int fd;

        if (listen_possible(o->listen[i], err) == 0)
            continue;
        fd = lock_directory(d->dir, &stale, &held);
        unlock_directory(fd);
        if (held.code == CALF_HELD)
            *err = held;
        return -1;
    }
    return 0;
}

/* Before PostgreSQL says that it is ready, who reads so can connect (pg_ctl -w). */
struct preparing {
    struct database *d;
    const char *const *listen;
};

static int prepare(void *context, struct server *server, struct calf_error *err)
{
    struct preparing *p = context;

    p->d->server = server;
    snprintf(p->d->dir, sizeof(p->d->dir), "%s", server_directory(server));
    for (int i = 0; p->listen && p->listen[i]; i++)
        if (listen_begin(p->d, p->listen[i], err) < 0)
            return -1;
    return 0;
}

static void unprepare(void *context)
{
    struct preparing *p = context;

    listeners_close(p->d, NULL);
    p->d->server = NULL;
}

static int start(struct database *d, const struct calf_options *o, struct calf_error *err)
{
    static const char *const none[] = {"synchronous_commit=off", "fsync=off",
                                       "full_page_writes=off"};
    const char *settings[SERVER_SETTINGS_MAX + 2]; /* one too many is refused by server_start() */
    struct server_options so = {.dir = d->dir,
                                .settings = settings,
                                .encoding = o->encoding,
                                .locale = o->locale,
                                .icu_locale = o->icu_locale,
                                .extension_path = o->extension_path,
                                .superuser = d->superuser,
                                .no_checksums = o->no_checksums,
                                .volatile_data = d->temporary,
                                .prepare = prepare,
                                .unprepare = unprepare,
                                .context = &(struct preparing){d, o->listen}};
    struct install in;
    int n = 0;

    for (int i = 0; i < (d->temporary || o->durability == CALF_NONE ? 3 : (int)o->durability); i++)
        settings[n++] = none[i];
    for (int i = 0; o->settings && o->settings[i] && n <= SERVER_SETTINGS_MAX; i++) {
        if (!strchr(o->settings[i], '='))
            return fail(err, CALF_MISUSE, "the setting \"%s\" is not name=value", o->settings[i]);
        settings[n++] = o->settings[i];
    }
    settings[n] = NULL;
    if (check_addresses(d, o, err) < 0)
        return -1;
    if (install_find(&in, err) < 0 || open_log(d, o, err) < 0)
        return -1;
    so.log_fd = d->pump ? pump_fd(d->pump) : d->log_fd;
    if (server_start(&in, &so, &d->server, err) < 0) {
        end_pump(d);
        if (!o->log_file && o->log_fd <= 0)
            quote_log(d->log_fd, err);
        return -1;
    }
    make_dsn(d);
    return 0;
}

/* Without `databases_lock`, because a temporary directory is removed. */
static void clean_up(struct database *d)
{
    end_pump(d);
    owned_close(d->log_fd);
    if (d->temporary)
        remove_tree(d->dir);
}

static void unlink_database(struct database *d)
{
    struct database **at = &databases;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    pthread_cond_broadcast(&changed);
}

/* `databases_lock` held. */
static void tell_to_stop(struct database *d, enum stop_mode mode)
{
    for (struct run *r = d->runs; r && mode != STOP_SMART; r = r->next)
        server_run_kill(d->server, r->pid, mode == STOP_FAST ? SIGTERM : SIGKILL);
    server_signal_stop(d->server, mode);
}

static void say_how_it_ended(int status, struct calf_error *err)
{
    if (WIFSIGNALED(status))
        snprintf(err->text, sizeof(err->text), "PostgreSQL ended by itself, by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(err->text, sizeof(err->text), "PostgreSQL ended by itself, with exit code %d",
                 WEXITSTATUS(status));
}

/* `databases_lock` held; released meanwhile.  Afterwards `d` is gone.  How it ended, if by itself,
 * is in err->text. */
static void stop(struct database *d, enum stop_mode mode, struct calf_error *err)
{
    struct server *server = d->server;
    bool ended = !server_is_alive(server);
    int status;

    d->busy = true;
    tell_to_stop(d, mode);
    while (d->users > 0)
        pthread_cond_wait(&changed, &databases_lock);
    pthread_mutex_unlock(&databases_lock);
    listeners_close(d, NULL);
    status = server_wait(server);
    if (ended && err)
        say_how_it_ended(status, err);
    pthread_mutex_lock(&databases_lock);
    d->server = NULL; /* nobody hurries it any more */
    pthread_mutex_unlock(&databases_lock);
    server_release(server);
    clean_up(d);
    pthread_mutex_lock(&databases_lock);
    unlink_database(d);
    free(d);
}

/* ---- lingering: `databases_lock` held ------------------------------------------------- */

/* The one that closes first, or NULL. */
static struct database *next_lingering(void)
{
    struct database *next = NULL;

    for (struct database *d = databases; d; d = d->next)
        if (d->close_at && !d->busy && (!next || d->close_at < next->close_at))
            next = d;
    return next;
}

static void *reap(void *arg)
{
    struct database *d;

    pthread_mutex_lock(&databases_lock);
    while ((d = next_lingering())) {
        struct timespec at = {d->close_at / 1000, d->close_at % 1000 * 1000000};

        if (d->close_at <= now_ms())
            stop(d, STOP_FAST, NULL);
        else
            pthread_cond_clockwait(&changed, &databases_lock, CLOCK_MONOTONIC, &at);
    }
    reaping = false;
    pthread_mutex_unlock(&databases_lock);
    return arg;
}

/* At exit(): what lingers would have to recover, and a temporary directory would be left. */
static void close_lingering(void)
{
    struct database *d;

    if (forked())
        return;
    pthread_mutex_lock(&databases_lock);
    d = databases;
    while (d) {
        if (!d->close_at) {
            d = d->next;
            continue;
        }
        if (d->busy)
            pthread_cond_wait(&changed, &databases_lock);
        else
            stop(d, STOP_FAST, NULL);
        d = databases;
    }
    pthread_mutex_unlock(&databases_lock);
}

/* Nobody uses the database any more. */
static void let_go(struct database *d)
{
    struct calf_error ignored;
    pthread_t thread;

    if (d->linger_ms > 0 && !closes_at_exit)
        closes_at_exit = atexit(close_lingering) == 0;
    if (d->linger_ms > 0 && !reaping && thread_start(&thread, reap, NULL, &ignored) == 0) {
        pthread_detach(thread);
        reaping = true;
    }
    if (d->linger_ms == 0 || !reaping) {
        stop(d, STOP_FAST, NULL);
    } else {
        d->close_at = now_ms() + d->linger_ms;
        pthread_cond_broadcast(&changed);
    }
}

/* Somebody uses it again. */
static void take_up(struct database *d)
{
    if (d->close_at)
        pthread_cond_broadcast(&changed);
    d->close_at = 0;
}

/* ---- finding and starting ------------------------------------------------------------------ */

/* The open database in directory `path`, once nobody starts or stops it.  `databases_lock` held. */
static struct database *find(const char *path, bool on_demand)
{
    struct database *d;
    struct stat st;

again:
    if (path && stat(path, &st) < 0)
        return NULL;
    for (d = databases; d; d = d->next) {
        if (path ? d->dev != st.st_dev || d->ino != st.st_ino : !on_demand || !d->on_demand)
            continue;
        if (d->busy)
            pthread_cond_wait(&changed, &databases_lock);
        else if (d->close_at && !server_is_alive(d->server))
            stop(d, STOP_FAST, NULL); /* it ended while it lingered */
        else
            return d;
        goto again;
    }
    return NULL;
}

/* Finds or starts; `databases_lock` held at the beginning and the end.  NULL and err. */
static struct database *obtain(const char *path, bool on_demand, const struct calf_options *o,
                               struct calf_error *err)
{
    struct database *d = path || on_demand ? find(path, on_demand) : NULL;
    bool made = false;
    struct stat st;
    int rc;

    if (d) {
        take_up(d);
        return d;
    }
    d = calloc(1, sizeof(*d));
    if (!d) {
        fail(err, CALF_SYSTEM, "out of memory");
        return NULL;
    }
    d->log_fd = -1;
    d->number = ++last_number;
    d->temporary = !path;
    d->on_demand = !path && on_demand;
    d->linger_ms = path || on_demand ? o->linger_ms : 0; /* else nobody finds it again */
    strcpy(d->superuser, o->superuser ? o->superuser : SUPERUSER);
    d->busy = true;
    rc = path ? snprintf(d->dir, sizeof(d->dir), "%s", path) < PATH_MAX
                    ? 0
                    : fail(err, CALF_ACCESS, "the path of the data directory is too long")
              : make_temporary(d->dir, err);
    /* an absent directory is made here, so that others who want it wait for us */
    if (rc == 0 && path && !(made = mkdir(path, 0700) == 0) && errno != EEXIST)
        rc = fail(err, CALF_ACCESS, "cannot create the data directory %s: %s", path,
                  strerror(errno));
    if (rc == 0 && stat(d->dir, &st) < 0)
        rc = fail(err, CALF_ACCESS, "cannot open the data directory %s: %s", d->dir,
                  strerror(errno));
    if (rc < 0) {
        free(d);
        return NULL;
    }
    d->dev = st.st_dev;
    d->ino = st.st_ino;
    d->next = databases;
    databases = d;
    pthread_mutex_unlock(&databases_lock);
    if (d->temporary)
        sweep(memory_dir());
    rc = start(d, o, err);
    if (rc < 0) {
        if (made)
            rmdir(path);
        clean_up(d);
    }
    pthread_mutex_lock(&databases_lock);
    d->busy = false;
    pthread_cond_broadcast(&changed);
    if (rc == 0)
        return d;
    unlink_database(d);
    free(d);
    return NULL;
}

/* ---- for libpq.c --------------------------------------------------------------------------- */

/* CALF_LINGER, or -1 and err. */
static int environment_linger(struct calf_error *err)
{
    const char *text = getenv("CALF_LINGER");
    char *end = NULL;
    long ms = text ? strtol(text, &end, 10) : 0;

    if (text && (end == text || *end || ms < 0 || ms > INT_MAX))
        return fail(err, CALF_MISUSE, "CALF_LINGER=%s is no number of milliseconds", text);
    return (int)ms;
}

unsigned long database_for_host(const char *path, struct calf_error *err)
{
    struct calf_options o = {.size = sizeof(o), .linger_ms = environment_linger(err)};
    unsigned long number = 0;
    struct database *d;

    if (o.linger_ms < 0 || refuse_forked(err) < 0)
        return 0;
    pthread_mutex_lock(&databases_lock);
    d = obtain(*path ? path : NULL, true, &o, err);
    if (d) {
        d->connections++;
        number = d->number;
    }
    pthread_mutex_unlock(&databases_lock);
    return number;
}

/* The running database of that number.  `databases_lock` held. */
static struct database *numbered(unsigned long number)
{
    struct database *d = databases;

    while (d && (d->number != number || d->busy))
        d = d->next;
    return d;
}

int database_connect(unsigned long number)
{
    struct database *d;
    int fd;

    if (forked())
        return -ECONNREFUSED;
    pthread_mutex_lock(&databases_lock);
    d = numbered(number);
    fd = d ? server_connect(d->server) : -ECONNREFUSED;
    if (fd >= 0) {
        take_up(d);
        d->connections++;
    }
    pthread_mutex_unlock(&databases_lock);
    return fd;
}

void database_disconnect(unsigned long number)
{
    struct database *d;

    if (forked()) /* they are the parent's */
        return;
    pthread_mutex_lock(&databases_lock);
    d = numbered(number);
    if (d && --d->connections == 0 && d->handles == 0)
        let_go(d);
    pthread_mutex_unlock(&databases_lock);
}

struct server *database_server(struct database *d)
{
    return d->server;
}

unsigned long database_number(struct database *d)
{
    return d->number;
}

const char *database_superuser(struct database *d)
{
    return d->superuser;
}

const char *database_directory(struct database *d)
{
    return d->dir;
}

struct listener **database_listeners(struct database *d)
{
    return &d->listeners;
}

/* ---- calf.h ---------------------------------------------------------------------------------- */

int calf_open(const char *path, const struct calf_options *options, calf_db **db,
              struct calf_error *err)
{
    struct calf_options o = {.size = sizeof(o)};
    struct calf_error own;
    struct database *d;

    err = error_room(err, &own);
    if (!db)
        return fail(err, CALF_MISUSE, "calf_open() needs a place for the handle"), CALF_MISUSE;
    *db = NULL;
    if (options && (options->size == 0 || options->size > sizeof(o)))
        return fail(err, CALF_MISUSE, "calf_options.size is not sizeof(struct calf_options)"),
               CALF_MISUSE;
    if (options)
        memcpy(&o, options, options->size);
    if (o.durability > CALF_NONE)
        return fail(err, CALF_MISUSE, "there is no durability %d", o.durability), CALF_MISUSE;
    if (path && !*path)
        return fail(err, CALF_MISUSE, "the path of the data directory is empty"), CALF_MISUSE;
    if (o.superuser && (!*o.superuser || strlen(o.superuser) >= SUPERUSER_SIZE))
        return fail(err, CALF_MISUSE, "the superuser's name is empty or has more than %d bytes",
                    SUPERUSER_SIZE - 1),
               CALF_MISUSE;
    if ((o.log != NULL) + (o.log_file != NULL) + (o.log_fd > 0) > 1)
        return fail(err, CALF_MISUSE, "calf_options has more than one of log_file, log and log_fd"),
               CALF_MISUSE;
    if (o.linger_ms < 0)
        return fail(err, CALF_MISUSE, "calf_options.linger_ms is negative"), CALF_MISUSE;
    if (refuse_forked(err) < 0)
        return err->code;
    pthread_mutex_lock(&databases_lock);
    d = obtain(path, false, &o, err);
    if (d && (*db = handle_new(HANDLE_DATABASE, d, err)))
        d->handles++;
    else if (d && d->handles == 0 && d->connections == 0)
        let_go(d);
    pthread_mutex_unlock(&databases_lock);
    return *db ? CALF_OK : (int)err->code;
}

int calf_close(calf_db *db, enum calf_close_mode mode, struct calf_error *err)
{
    static const enum stop_mode modes[] = {STOP_FAST, STOP_SMART, STOP_IMMEDIATE};
    struct calf_error own;
    struct database *d;

    err = error_room(err, &own);
    if (!db)
        return CALF_OK;
    if (mode > CALF_IMMEDIATE)
        return fail(err, CALF_MISUSE, "there is no mode %d of closing", mode), CALF_MISUSE;
    pthread_mutex_lock(&databases_lock);
    d = handle_object(db, HANDLE_DATABASE);
    if (!d) {
        pthread_mutex_unlock(&databases_lock);
        return closed_handle(err);
    }
    if (forked()) { /* it is the parent's to close */
        handle_end(db);
    } else if (d->closing == db) { /* another thread closes it already: hurry it */
        if (d->server)
            tell_to_stop(d, modes[mode]);
        while (handle_object(db, HANDLE_DATABASE))
            pthread_cond_wait(&changed, &databases_lock);
    } else if (d->handles == 1 && (d->linger_ms == 0 || mode != CALF_FAST)) {
        d->handles = 0;
        d->closing = db;
        stop(d, modes[mode], err);
        handle_end(db);
        pthread_cond_broadcast(&changed);
    } else {
        handle_end(db);
        if (--d->handles == 0 && d->connections == 0)
            let_go(d);
    }
    pthread_mutex_unlock(&databases_lock);
    return CALF_OK;
}

int calf_healthy(calf_db *db)
{
    struct database *d = forked() ? NULL : database_use(db);
    bool alive;

    if (!d)
        return 0;
    alive = server_is_alive(d->server);
    database_unuse(d);
    return alive;
}

/* The text at `offset` of the handle's database, or NULL. */
static const char *text_of(calf_db *db, size_t offset)
{
    struct database *d;

    pthread_mutex_lock(&databases_lock);
    d = handle_object(db, HANDLE_DATABASE);
    pthread_mutex_unlock(&databases_lock);
    return d ? (const char *)d + offset : NULL;
}

const char *calf_dsn(calf_db *db)
{
    return text_of(db, offsetof(struct database, dsn));
}

const char *calf_directory(calf_db *db)
{
    return text_of(db, offsetof(struct database, dir));
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
const char *calf_version(void)
{
    return CALF_VERSION " (PostgreSQL " TEXT(CALF_PG_MAJOR) ")";
}

static void count_run_without(int more)
{
    pthread_mutex_lock(&databases_lock);
    nruns_without += more;
    pthread_mutex_unlock(&databases_lock);
}

int calf_run(calf_db *db, char *const argv[], const int fds[3], int *exit_code,
             struct calf_error *err)
{
    static const int host[3] = {0, 1, 2};
    struct calf_error own;
    struct database *d = NULL;
    struct run run = {0}, **list, **at;
    struct install in;
    int status;

    err = error_room(err, &own);
    if (!argv || !argv[0])
        return fail(err, CALF_MISUSE, "calf_run() needs the name of a program"), CALF_MISUSE;
    if (db ? !(d = database_work(db, err)) : refuse_forked(err) < 0)
        return err->code;
    if (!d)
        count_run_without(1);
    run.server = d ? d->server : install_find(&in, err) < 0 ? NULL : server_none(&in, err);
    if (!run.server)
        return count_run_without(-1), err->code;
    list = d ? &d->runs : &runs_without;
    pthread_mutex_lock(&databases_lock);
    run.pid = server_run(run.server, argv, fds ? fds : host, err);
    run.next = *list;
    if (run.pid > 0)
        *list = &run;
    pthread_mutex_unlock(&databases_lock);
    if (run.pid > 0) {
        status = server_run_wait(run.server, run.pid);
        pthread_mutex_lock(&databases_lock);
        for (at = list; *at != &run; at = &(*at)->next)
            ;
        *at = run.next;
        pthread_mutex_unlock(&databases_lock);
        if (exit_code)
            *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    if (d) {
        database_unuse(d);
    } else {
        server_release(run.server);
        count_run_without(-1);
    }
    return run.pid > 0 ? CALF_OK : (int)err->code;
}

int calf_run_signal(calf_db *db, int signal, struct calf_error *err)
{
    struct calf_error own;
    struct database *d = NULL;

    err = error_room(err, &own);
    if (signal < 1 || signal >= SIGRTMIN)
        return fail(err, CALF_MISUSE, "there is no signal %d", signal), CALF_MISUSE;
    if (refuse_forked(err) < 0)
        return err->code;
    pthread_mutex_lock(&databases_lock);
    if (db)
        d = handle_object(db, HANDLE_DATABASE);
    for (struct run *r = d ? d->runs : db ? NULL : runs_without; r; r = r->next)
        server_run_kill(r->server, r->pid, signal);
    pthread_mutex_unlock(&databases_lock);
    return d || !db ? CALF_OK : closed_handle(err);
}

int calf_signal(calf_db *db, int signal, struct calf_error *err)
{
    struct calf_error own;
    struct database *d;

    err = error_room(err, &own);
    if (signal != SIGHUP && signal != SIGUSR1)
        return fail(err, CALF_MISUSE, "calf_signal() gives SIGHUP and SIGUSR1, not %d", signal),
               CALF_MISUSE;
    d = database_work(db, err);
    if (!d)
        return err->code;
    server_signal(d->server, signal);
    database_unuse(d);
    return CALF_OK;
}

int calf_data_dir(const char *qualifier, const char *organisation, const char *application,
                  char *buf, size_t size, struct calf_error *err)
{
    const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    bool absolute = xdg && *xdg == '/'; /* the specification ignores relative ones */
    struct calf_error own;
    int n;

    err = error_room(err, &own);
    if (!application || !*application || !buf || strchr(application, '/') ||
        (organisation && strchr(organisation, '/')) || (qualifier && strchr(qualifier, '/')))
        return fail(err, CALF_MISUSE, "calf_data_dir() needs names without '/' and a buffer"),
               CALF_MISUSE;
    if (!absolute && (!home || *home != '/'))
        return fail(err, CALF_ACCESS, "neither XDG_DATA_HOME nor HOME names a directory"),
               CALF_ACCESS;
    n = snprintf(buf, size, "%s%s/%s%s%s", absolute ? xdg : home, absolute ? "" : "/.local/share",
                 organisation ? organisation : "", organisation ? "/" : "", application);
    if (n < 0 || (size_t)n >= size)
        return fail(err, CALF_MISUSE, "the buffer for the data directory is too small"),
               CALF_MISUSE;
    return CALF_OK;
}

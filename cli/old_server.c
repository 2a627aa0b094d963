/*
 * old_server.c - a server of an older PostgreSQL on a directory, as long as `calf upgrade` reads it
 *
 * It is a process of its own: the postgres that is installed for that version, or another calf.
 * The rule that matters: it listens only in a directory that nobody else can look into, does
 * nothing of its own accord (no autovacuum, no archiving, no replication, no jobs of modules), and
 * ends with us, in order, also when we are killed.
 *
 * A stock server refuses root.  Started by root it runs as the user who owns the directory; where
 * that is root, in a user namespace in which root has another number.
 */
#include "upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- finding its programs ----------------------------------------------------------------------
 */

/* The last number that `program --version` begins: "postgres (PostgreSQL) 15.18", "calf 0.1.0
 * (PostgreSQL 15)"; 0: it is not there, or none of these. */
static int version_of(const char *program)
{
    char line[256] = "", *at;
    int ends[2], status;
    ssize_t n;
    pid_t pid;

    if (access(program, X_OK) < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return 0;
    pid = fork();
    if (pid == 0) {
        dup2(ends[1], 1);
        execl(program, program, "--version", NULL);
        _exit(127);
    }
    close(ends[1]);
    n = pid < 0 ? -1 : read(ends[0], line, sizeof(line) - 1);
    line[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    if (pid > 0)
        waitpid(pid, &status, 0);
    at = strstr(line, "PostgreSQL");
    return at ? atoi(at + strcspn(at, "0123456789")) : 0;
}

static bool fits(struct old_server *o, bool is_calf, const char *fmt, const char *dir)
{
    o->is_calf = is_calf;
    snprintf(o->program, sizeof(o->program), fmt, dir, o->major);
    return version_of(o->program) == o->major;
}

static bool look_in_path(struct old_server *o, bool is_calf, const char *fmt)
{
    char *path = strdup(getenv("PATH") ? getenv("PATH") : ""), *rest = path, *dir;
    bool found = false;

    while (!found && (dir = strsep(&rest, ":")))
        found = *dir && fits(o, is_calf, fmt, dir);
    free(path);
    return found;
}

static bool look_around(struct old_server *o)
{
    char self[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[n > 0 ? n : 0] = '\0';
    return fits(o, true, "%s/calf%d", dirname(self)) || look_in_path(o, true, "%s/calf%d") ||
           look_in_path(o, true, "%s/calf") ||
           fits(o, false, "%s/%d/bin/postgres", "/usr/lib/postgresql") ||
           fits(o, false, "%s-%d/bin/postgres", "/usr/pgsql") ||
           look_in_path(o, false, "%s/postgres");
}

int old_find(struct old_server *o, struct call *c, const char *dir)
{
    const char *bin = c->value[OPTION_OLD_BIN], *calf = c->value[OPTION_OLD_CALF];

    if (bin && calf)
        return misuse(c, "--old-bin and --old-calf exclude each other");
    if ((bin && fits(o, false, "%s/postgres", bin)) || (calf && fits(o, true, "%s", calf)))
        return 0;
    if (bin || calf)
        return refuse("%s is no %s of PostgreSQL %d, by which %s was made", o->program,
                      bin ? "postgres" : "calf", o->major, dir);
    if (look_around(o))
        return 0;
    return refuse("there are no programs of PostgreSQL %d here to read %s with; install them "
                  "(apt-get install postgresql-%d), or say where they are: --old-bin DIR, or "
                  "--old-calf FILE for a calf of that version",
                  o->major, dir, o->major);
}

/* ---- starting -------------------------------------------------------------------------------- */

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bool wrote = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return wrote ? 0 : refuse("cannot write %s: %s", path, strerror(errno));
}

/* In $TMPDIR, unless that is long: the path of a socket has at most 107 bytes. */
static int make_private(struct old_server *o, uid_t owner)
{
    const char *tmp = getenv("TMPDIR");
    char conf[96];

    snprintf(o->private, sizeof(o->private), "%s/calf-upgrade.XXXXXX",
             tmp && *tmp == '/' && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(o->private)) {
        refuse("cannot make the directory %s: %s", o->private, strerror(errno));
        o->private[0] = '\0';
        return 1;
    }
    snprintf(o->hba, sizeof(o->hba), "%s/hba", o->private);
    snprintf(conf, sizeof(conf), "%s/conf", o->private);
    if (write_text(o->hba, "local all all trust\n") != 0 || write_text(conf, "") != 0)
        return 1;
    if (owner != geteuid() && chown(o->private, owner, (gid_t)-1) < 0)
        return refuse("cannot give %s to user %u: %s", o->private, owner, strerror(errno));
    return 0;
}

static bool write_map(const char *path, const char *fmt, unsigned inside, unsigned outside)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool wrote = fd >= 0 && dprintf(fd, fmt, inside, outside) > 0;

    if (fd >= 0)
        close(fd);
    return wrote;
}

/* In the child of root: another user, or root under another number. */
static bool become_ordinary(const struct stat *st)
{
    gid_t group = getegid(); /* in a new name space it has none */

    if (st->st_uid != 0)
        return setgroups(0, NULL) == 0 && setgid(st->st_gid) == 0 && setuid(st->st_uid) == 0;
    return unshare(CLONE_NEWUSER) == 0 && write_map("/proc/self/setgroups", "deny", 0, 0) &&
           write_map("/proc/self/uid_map", "%u %u 1", 1, 0) &&
           write_map("/proc/self/gid_map", "%u %u 1", 1, group);
}

static void run_in_child(const struct old_server *o, char *const argv[], const struct stat *st)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;

    dup2(null, 0);
    dup2(null, 1);
    dup2(o->log, 2);
    setpgid(0, 0); /* Ctrl-C is for us, who then end it */
    if (geteuid() == 0 && !o->is_calf && !become_ordinary(st)) {
        dprintf(2, "a stock postgres refuses root, who owns the directory, and this system lets "
                   "root take no other number; use a calf of that version (--old-calf), or give "
                   "the directory to another user (chown -R)");
        _exit(1);
    }
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGINT); /* a fast shutdown */
    execv(argv[0], argv);
    dprintf(2, "cannot run %s: %s", argv[0], strerror(errno));
    _exit(1);
}

static int spawn(struct old_server *o, const char *dir, const struct stat *st)
{
    static const char *const quiet[] = {"default_transaction_read_only=on",
                                        "autovacuum=off",
                                        "archive_mode=off",
                                        "max_wal_senders=0",
                                        "shared_preload_libraries=",
                                        "max_logical_replication_workers=0",
                                        "logging_collector=off",
                                        "log_destination=stderr",
                                        "log_min_messages=warning",
                                        "ssl=off",
                                        "external_pid_file=",
                                        "log_statement=none"};
    char *argv[64] = {o->program}, data[PATH_MAX + 32], hba[96], conf[PATH_MAX + 32];
    int n = 1;

    if (o->is_calf) {
        argv[n++] = "serve";
        argv[n++] = "--socket";
        argv[n++] = o->private;
    } else {
        argv[n++] = "-D";
        argv[n++] = (char *)dir;
        argv[n++] = "-h";
        argv[n++] = "";
        argv[n++] = "-p";
        argv[n++] = "5432";
        argv[n++] = "-k";
        argv[n++] = o->private;
    }
    for (size_t i = 0; i < sizeof(quiet) / sizeof(quiet[0]); i++) {
        argv[n++] = "-c";
        argv[n++] = (char *)quiet[i];
    }
    snprintf(data, sizeof(data), "data_directory=%s", dir);
    snprintf(hba, sizeof(hba), "hba_file=%s", o->hba);
    argv[n++] = "-c";
    argv[n++] = data;
    argv[n++] = "-c";
    argv[n++] = hba;
    if (o->major >= 17) { /* those of logins */
        argv[n++] = "-c";
        argv[n++] = "event_triggers=off";
    }
    snprintf(conf, sizeof(conf), "%s/postgresql.conf", dir);
    if (access(conf, F_OK) < 0) { /* Debian has it in /etc */
        snprintf(conf, sizeof(conf), "config_file=%s/conf", o->private);
        argv[n++] = "-c";
        argv[n++] = conf;
    }
    if (o->is_calf)
        argv[n++] = (char *)dir;
    argv[n] = NULL;
    o->log = memfd_create("log", MFD_CLOEXEC);
    o->pid = fork();
    if (o->pid < 0)
        return refuse("cannot start a process: %s", strerror(errno));
    if (o->pid == 0)
        run_in_child(o, argv, st);
    return 0;
}

/* It ended, or nobody can be it: what it said. */
static int did_not_serve(const struct old_server *o, const char *dir)
{
    char *text = file_text(o->log);
    size_t n = text ? strlen(text) : 0;
    int rc = refuse("%s does not serve %s:\n%s", o->program, dir,
                    n > 2000 ? text + n - 2000
                    : text   ? text
                             : "");

    free(text);
    return rc;
}

char *old_conninfo(const struct old_server *o, const char *database)
{
    /* libpq's quoting: backslashes */
    char *text = malloc(2 * (strlen(database) + strlen(o->superuser)) + 256), *to = text;
    const char *const values[] = {o->superuser, database};

    to += sprintf(to, "host=%s port=5432", o->private);
    for (int i = 0; text && i < 2; i++) {
        to += sprintf(to, i ? " dbname='" : " user='");
        for (const char *s = values[i]; *s; s++) {
            if (*s == '\'' || *s == '\\')
                *to++ = '\\';
            *to++ = *s;
        }
        to = stpcpy(to, "'");
    }
    return text;
}

/* 1: it is the superuser `name`; 0: there is none of that name; -1: the server does not answer. */
static int try_superuser(struct old_server *o, const char *name)
{
    char *info;
    PGconn *conn;
    int rc = -1;

    snprintf(o->superuser, sizeof(o->superuser), "%s", name);
    info = old_conninfo(o, "template1");
    conn = PQconnectdb(info);
    if (PQstatus(conn) == CONNECTION_OK)
        rc = strcmp(PQparameterStatus(conn, "is_superuser"), "on") == 0;
    else if (strstr(PQerrorMessage(conn), "does not exist") ||
             strstr(PQerrorMessage(conn), "not permitted to log in"))
        rc = strstr(PQerrorMessage(conn), "role \"") ? 0 : -1;
    PQfinish(conn);
    free(info);
    return rc;
}

int old_start(struct old_server *o, const char *dir, const struct stat *st, _Atomic int *stopped)
{
    struct timespec step = {0, 50000000};
    struct passwd *owner = getpwuid(st->st_uid);
    const char *const names[] = {"postgres", owner ? owner->pw_name : "root", getenv("USER")};
    bool stock = !o->is_calf && geteuid() == 0;
    int rc = make_private(o, stock ? st->st_uid : geteuid()), answer;

    if (rc == 0)
        rc = spawn(o, dir, st);
    while (rc == 0 && !*stopped) {
        if (waitpid(o->pid, NULL, WNOHANG) == o->pid) {
            o->pid = 0;
            return did_not_serve(o, dir);
        }
        answer = -1;
        for (size_t i = 0; i < 3 && answer <= 0; i++)
            if (names[i] && (answer = try_superuser(o, names[i])) < 0)
                break;
        if (answer > 0)
            return 0;
        if (answer == 0)
            return refuse("%s has no superuser postgres or %s; make one (create role postgres "
                          "superuser login) with the old version",
                          dir, names[1]);
        nanosleep(&step, NULL);
    }
    return rc;
}

int old_stop(struct old_server *o)
{
    struct timespec step = {0, 20000000};
    int status = 0;

    for (int tries = 0; o->pid > 0 && waitpid(o->pid, &status, WNOHANG) == 0; tries++) {
        if (tries == 0 || tries == 3000)
            kill(o->pid, tries ? SIGQUIT : SIGINT);
        nanosleep(&step, NULL);
    }
    o->pid = 0;
    if (o->private[0])
        remove_tree(o->private);
    o->private[0] = '\0';
    return status;
}

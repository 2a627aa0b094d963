/*
 * upgrade.c - `calf upgrade`: a data directory of an older PostgreSQL becomes one of this version's
 *
 * As PostgreSQL's manual advises: a new cluster is made, and this version's pg_dumpall and pg_dump
 * read the old one from a server of its own version (old_server.c).
 *
 * The rule that matters: DIR is a whole cluster at every moment, of the old version until the new
 * one is complete and on disk.  That is made in DIR.upgrade/data and changes places with DIR in one
 * step, when the old server has been shut down in order (it would write its last checkpoint to
 * where DIR was); nobody else may have come in since.  Whatever is killed, the next `calf upgrade
 * DIR` sees by the versions what DIR.upgrade has: the old directory, which only wants its name, or
 * a part of a new one.
 *
 * Not done: pg_upgrade, whose servers would have to be programs of the file system.
 */
#include "upgrade.h"
#include "doctor.h" /* output_of() */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define MARK "calf.upgrade" /* in DIR.upgrade: it is ours */
#define ROOM (256ULL << 20) /* of WAL and catalogs, besides the databases */
#define OLDEST 11           /* whose catalogs are as is asked here */

struct upgrade {
    struct target target; /* of the new cluster, while it is filled; its dir is DIR */
    char *parent;
    char work[PATH_MAX + 16], fresh[PATH_MAX + 32], aside[PATH_MAX + 32], keep[PATH_MAX + 16];
    int lock; /* of `work` */
    int hold; /* DIR, locked as calf does it */
    struct stat st;
    struct old_server old;
    PGconn *from;   /* a session of the old one's template1 */
    PGresult *list; /* the databases */
    bool check;
    int null, errors; /* /dev/null, the programs' standard error */
    struct progress progress;
};

static int major_of(const char *dir)
{
    char path[PATH_MAX + 64], text[32] = "";
    FILE *f;

    snprintf(path, sizeof(path), "%s/PG_VERSION", dir);
    f = fopen(path, "re");
    if (f && !fgets(text, sizeof(text), f))
        text[0] = '\0';
    if (f)
        fclose(f);
    return atoi(text);
}

/* ---- before anything begins -------------------------------------------------------------------
 */

static int take_names(struct upgrade *u, struct call *c)
{
    const char *keep = c->value[OPTION_KEEP_OLD];
    char *dir = u->target.dir, full[PATH_MAX];
    size_t n;

    if (!realpath(dir, full)) {
        int why = errno;

        for (n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
            dir[n - 1] = '\0';
        /* killed between the two renames of change_places() */
        snprintf(u->fresh, sizeof(u->fresh), "%s.upgrade/data", dir);
        snprintf(u->aside, sizeof(u->aside), "%s.upgrade/old", dir);
        if (why != ENOENT || major_of(u->aside) == 0 || rename(u->fresh, dir) < 0 ||
            !realpath(dir, full))
            return refuse("cannot open the data directory %s: %s", dir, strerror(why));
    }
    strcpy(dir, full);
    u->parent = dirname(strdup(dir));
    snprintf(u->work, sizeof(u->work), "%s.upgrade", dir);
    if (snprintf(u->fresh, sizeof(u->fresh), "%s/data", u->work) >= PATH_MAX - 32)
        return refuse("the name %s is too long", dir);
    snprintf(u->aside, sizeof(u->aside), "%s/old", u->work);
    if (stat(dir, &u->st) < 0)
        return refuse("cannot open the data directory %s: %s", dir, strerror(errno));
    u->old.major = major_of(dir);
    if (keep && *keep == '/')
        snprintf(u->keep, sizeof(u->keep), "%s", keep);
    else if (keep && *keep) {
        if (!getcwd(full, sizeof(full)))
            return refuse("cannot find the working directory: %s", strerror(errno));
        if (snprintf(u->keep, sizeof(u->keep), "%s/%s", full, keep) >= (int)sizeof(u->keep))
            return refuse("the name %s is too long", keep);
    }
    for (n = strlen(u->keep); n > 1 && u->keep[n - 1] == '/'; n--)
        u->keep[n - 1] = '\0';
    return 0;
}

/* Moves the old directory, which is in `from`, to the name that it is to have. */
static int give_name(struct upgrade *u, const char *from)
{
    if (!u->keep[0])
        snprintf(u->keep, sizeof(u->keep), "%s.pg%d", u->target.dir, major_of(from));
    if (renameat2(AT_FDCWD, from, AT_FDCWD, u->keep, RENAME_NOREPLACE) < 0 &&
        (access(u->keep, F_OK) == 0 || move_into_place(from, u->keep) < 0)) {
        refuse("cannot name the old directory %s: %s; it is %s", u->keep,
               errno ? strerror(errno) : "it is there", from);
        return 1;
    }
    return 0;
}

/* What an upgrade left that did not end.  With the lock of `work`. */
static int sweep(struct upgrade *u)
{
    char mark[PATH_MAX + 48];
    int here = major_of(u->target.dir), data = major_of(u->fresh), rc = 0;
    const char *old = access(u->aside, F_OK) == 0 ? u->aside
                      : data && here > data       ? u->fresh
                                                  : NULL;

    if (old) {
        rc = give_name(u, old);
        if (rc != 0)
            return rc;
        printf("calf: an upgrade of %s had not ended; the old directory is %s\n", u->target.dir,
               u->keep);
        u->keep[0] = '\0';
    }
    remove_tree(u->fresh);
    snprintf(mark, sizeof(mark), "%s/" MARK, u->work);
    unlink(mark);
    rmdir(u->work);
    return 0;
}

/* DIR.upgrade, new and locked. */
static int take_work(struct upgrade *u)
{
    char mark[PATH_MAX + 48];
    int rc, fd;

    snprintf(mark, sizeof(mark), "%s/" MARK, u->work);
    for (;;) {
        bool made = mkdir(u->work, 0700) == 0;

        if (!made && errno != EEXIST)
            return refuse("cannot create %s: %s", u->work, strerror(errno));
        u->lock = open(u->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (u->lock < 0 || flock(u->lock, LOCK_EX | LOCK_NB) < 0)
            return refuse("%s is in the way or in use: another upgrade of %s may be at work",
                          u->work, u->target.dir);
        if (access(mark, F_OK) != 0 && !is_empty(u->work))
            return refuse("%s is in the way; move it away", u->work);
        if (is_empty(u->work))
            break;
        rc = sweep(u);
        close(u->lock);
        u->lock = -1;
        if (rc != 0)
            return rc;
    }
    fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return refuse("cannot write %s: %s", mark, strerror(errno));
    close(fd);
    return 0;
}

/* All that can be known from outside. */
static int look_at_directory(struct upgrade *u)
{
    static const char *const signals[] = {"standby.signal", "recovery.signal"};
    const char *dir = u->target.dir;
    char path[PATH_MAX + 64];
    struct statx info = {0};
    struct calf_status st;
    struct calf_error err;

    if (calf_look(dir, &st, &err) == CALF_OK && st.state == CALF_OPEN)
        return refuse("%s is open, by %sprocess %ld; end that first (calf stop %s)", dir,
                      st.stock ? "a PostgreSQL server, " : "", st.pid, dir);
    if (err.code != CALF_OK && err.code != CALF_MAJOR)
        return refuse_error(&err);
    if (st.state == CALF_ABSENT && err.code == CALF_OK)
        return refuse("there is no database in %s", dir);
    if (u->old.major > CALF_PG_MAJOR)
        return refuse(
            "%s was made by PostgreSQL %d, and this calf has PostgreSQL %d; upgrades lead "
            "to newer versions only",
            dir, u->old.major, CALF_PG_MAJOR);
    if (u->old.major < OLDEST)
        return refuse("%s was made by PostgreSQL %d; this reads %d and newer, so upgrade it to one "
                      "of these first",
                      dir, u->old.major, OLDEST);
    if (geteuid() != 0 && u->st.st_uid != geteuid())
        return refuse("%s belongs to user %u, and you are user %u; be that user, or root", dir,
                      u->st.st_uid, geteuid());
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, signals[i]);
        if (access(path, F_OK) == 0)
            return refuse("%s is a standby or is to be recovered from an archive (%s); let the old "
                          "version end that, or upgrade its primary",
                          dir, signals[i]);
    }
    snprintf(path, sizeof(path), "%s/pg_tblspc", dir);
    if (!is_empty(path))
        return refuse("%s has tablespaces (in %s), which would belong to both versions; move their "
                      "tables and databases to pg_default, and drop them",
                      dir, path);
    if (statx(AT_FDCWD, dir, 0, STATX_TYPE, &info) == 0 &&
        info.stx_attributes & STATX_ATTR_MOUNT_ROOT)
        return refuse("something is mounted on %s, so that it cannot be renamed; move what is in "
                      "it into a directory there, and upgrade that one",
                      dir);
    return 0;
}

static int look_for_room(struct upgrade *u)
{
    char path[PATH_MAX + 16];
    struct statvfs fs;
    unsigned long long need, room;

    snprintf(path, sizeof(path), "%s/base", u->target.dir);
    u->progress.all = disk_usage(path);
    need = u->progress.all + ROOM;
    if (statvfs(u->parent, &fs) < 0)
        return refuse("cannot look at %s: %s", u->parent, strerror(errno));
    room = fs.f_bavail * fs.f_frsize;
    if (room < need) {
        char has[32];

        strcpy(has, human_size(room));
        return refuse("a new directory beside %s may need %s, and there are %s; make room",
                      u->target.dir, human_size(need), has);
    }
    return 0;
}

/* ---- what is in the old one -------------------------------------------------------------------
 */

static PGresult *ask(PGconn *conn, const char *sql)
{
    PGresult *res = PQexec(conn, sql);

    if (PQresultStatus(res) == PGRES_TUPLES_OK)
        return res;
    refuse("cannot ask \"%s\": %s", sql, PQerrorMessage(conn));
    PQclear(res);
    return NULL;
}

/* Refuses with `fmt`, which has a %s for the list, when the query gives one. */
static int refuse_when(PGconn *conn, const char *sql, const char *fmt)
{
    PGresult *res = ask(conn, sql);
    int rc = res ? 0 : 1;

    if (res && PQntuples(res) == 1 && !PQgetisnull(res, 0, 0)) {
        char *text = NULL;

        if (asprintf(&text, fmt, PQgetvalue(res, 0, 0)) > 0)
            rc = refuse("%s", text);
        free(text);
    }
    PQclear(res);
    return rc;
}

/* Both versions' superuser of initdb's. */
static int find_owner(struct upgrade *u)
{
    PGresult *res = ask(u->from, "select rolname, rolcanlogin from pg_authid where oid = 10");
    int rc = res ? 0 : 1;

    if (res && *PQgetvalue(res, 0, 1) != 't')
        rc = refuse("the superuser %s, whom initdb made, may not log in; let it (alter role ... "
                    "login) with the old version",
                    PQgetvalue(res, 0, 0));
    else if (res)
        snprintf(u->old.superuser, sizeof(u->old.superuser), "%s", PQgetvalue(res, 0, 0));
    PQclear(res);
    return rc;
}

static PGconn *connect_old(struct upgrade *u, const char *database)
{
    char *info = old_conninfo(&u->old, database);
    PGconn *conn = PQconnectdb(info);

    free(info);
    if (PQstatus(conn) == CONNECTION_OK)
        return conn;
    refuse("cannot connect to the database %s of the old version: %s", database,
           PQerrorMessage(conn));
    PQfinish(conn);
    return NULL;
}

/* No calf can open DIR any more.  A calf that reads it has to let go first. */
static int hold(struct upgrade *u)
{
    if (flock(u->hold, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return refuse("%s was opened by another process meanwhile; end that first", u->target.dir);
}

static int start_old(struct upgrade *u)
{
    int rc;

    u->hold = open(u->target.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = u->old.is_calf ? 0 : hold(u);
    if (rc == 0)
        rc = old_start(&u->old, u->target.dir, &u->st, &u->target.stopped);
    if (rc != 0 || u->target.stopped)
        return 1;
    u->from = connect_old(u, "template1");
    if (!u->from || find_owner(u) != 0)
        return 1;
    rc = refuse_when(u->from, "select string_agg(gid, ', ') from pg_prepared_xacts",
                     "there are prepared transactions (%s), which are not dumped; commit or roll "
                     "them back with the old version");
    if (rc != 0)
        return rc;
    rc = refuse_when(u->from,
                     "select string_agg(datname, ', ') from pg_database where datconnlimit = -2",
                     "the database %s was not dropped completely; drop it with the old version");
    if (rc != 0)
        return rc;
    rc =
        refuse_when(u->from,
                    "select string_agg(datname, ', ') from pg_database where not datallowconn and "
                    "datname <> 'template0'",
                    "the database %s allows no connections, so that it cannot be dumped; let it "
                    "(alter database ... allow_connections true) with the old version, or drop it");
    if (rc != 0)
        return rc;
    u->list = ask(u->from, "select datname from pg_database where datname <> 'template0' order by "
                           "datname <> 'template1', datname <> 'postgres', datname");
    return u->list ? 0 : 1;
}

/* ---- the new one --------------------------------------------------------------------------------
 */

/* What databases get there that are made later is what they would have got. */
static int make_cluster(struct upgrade *u)
{
    static const char sql[] =
        "select pg_encoding_to_char(encoding), datcollate, datctype, coalesce(to_jsonb(d) ->> "
        "'datlocprovider', 'c'), coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> "
        "'daticulocale'), to_jsonb(d) ->> 'daticurules', current_setting('data_checksums'), "
        "(select setting::bigint / 1048576 from pg_settings where name = 'wal_segment_size') from "
        "pg_database d where datname in ('template0', 'template1') order by datname limit 1";
    PGresult *res = ask(u->from, sql);
    char args[8][512], said[8192], *argv[24] = {"initdb", "--no-sync", "--no-instructions"};
    int n = 3, rc;

    if (!res)
        return 1;
    snprintf(args[0], 512, "--encoding=%s", PQgetvalue(res, 0, 0));
    snprintf(args[1], 512, "--locale=%s", PQgetvalue(res, 0, 1));
    snprintf(args[2], 512, "--lc-ctype=%s", PQgetvalue(res, 0, 2));
    snprintf(args[3], 512, "--wal-segsize=%s", PQgetvalue(res, 0, 7));
    for (int i = 0; i < 4; i++)
        argv[n++] = args[i];
    if (strcmp(PQgetvalue(res, 0, 6), "on") == 0)
        argv[n++] = "--data-checksums";
    else if (CALF_PG_MAJOR >= 18)
        argv[n++] = "--no-data-checksums";
    if (*PQgetvalue(res, 0, 3) != 'c') {
        bool icu = *PQgetvalue(res, 0, 3) == 'i';

        argv[n++] = icu ? "--locale-provider=icu" : "--locale-provider=builtin";
        snprintf(args[4], 512, "--%s-locale=%s", icu ? "icu" : "builtin", PQgetvalue(res, 0, 4));
        argv[n++] = args[4];
        if (!PQgetisnull(res, 0, 5)) {
            snprintf(args[5], 512, "--icu-rules=%s", PQgetvalue(res, 0, 5));
            argv[n++] = args[5];
        }
    }
    PQclear(res);
    if (u->st.st_mode & 0070)
        argv[n++] = "--allow-group-access";
    argv[n++] = "-U";
    argv[n++] = u->old.superuser;
    argv[n++] = "-D";
    argv[n++] = u->fresh;
    argv[n] = NULL;
    rc = output_of(argv, said, sizeof(said));
    if (u->target.stopped)
        return 1;
    if (rc != 0)
        return refuse("initdb could not create the new cluster:\n%s", said);
    return carry_configuration(u->target.dir, u->fresh);
}

static int open_cluster(struct upgrade *u, const char *const settings[])
{
    struct calf_options o = {
        .size = sizeof(o), .settings = settings, .superuser = u->old.superuser};
    struct calf_error err;

    if (calf_open(u->fresh, &o, &u->target.db, &err) != CALF_OK)
        return refuse("the new cluster does not start: %s", err.text);
    snprintf(u->target.uri, sizeof(u->target.uri), "%s", calf_dsn(u->target.db));
    return 0;
}

static void close_cluster(struct upgrade *u)
{
    calf_close(u->target.db, CALF_FAST, NULL);
    u->target.db = NULL;
}

/* It starts with the configuration that was carried over. */
static int try_configuration(struct upgrade *u)
{
    char data[PATH_MAX + 64];
    const char *const settings[] = {data,
                                    "archive_mode=off",
                                    "autovacuum=off",
                                    "max_worker_processes=0",
                                    "max_logical_replication_workers=0",
                                    "logging_collector=off",
                                    "external_pid_file=",
                                    NULL};
    PGconn *conn;
    int rc;

    snprintf(data, sizeof(data), "data_directory=%s", u->fresh);
    rc = open_cluster(u, settings);
    if (rc != 0)
        return rc;
    conn = PQconnectdb(u->target.uri);
    if (PQstatus(conn) != CONNECTION_OK)
        printf("calf: pg_hba.conf of the old version does not let %s in here: %s", u->old.superuser,
               PQerrorMessage(conn));
    PQfinish(conn);
    close_cluster(u);
    return 0;
}

/* For the filling: quick, because nothing of it counts until it is on disk as a whole, and quiet.
 */
static int open_to_fill(struct upgrade *u)
{
    char data[PATH_MAX + 64], hba[128];
    const char *const settings[] = {
        data,
        hba,
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "wal_level=minimal",
        "max_wal_senders=0",
        "max_wal_size=128MB",
        "archive_mode=off",
        "autovacuum=off",
        "max_logical_replication_workers=0",
        "logging_collector=off",
        "external_pid_file=",
        "log_statement=none",
        "ssl=off",
        "log_min_messages=error",
#if CALF_PG_MAJOR >= 17
        "event_triggers=off", /* those of logins */
#endif
        NULL
    };

    snprintf(data, sizeof(data), "data_directory=%s", u->fresh);
    snprintf(hba, sizeof(hba), "hba_file=%s", u->old.hba);
    return open_cluster(u, settings);
}

/* The extensions of one database that this version does not have, behind those of others. */
static int add_missing(struct upgrade *u, PGconn *to, const char *database, char **missing)
{
    PGconn *conn = connect_old(u, database);
    PGresult *res = conn ? ask(conn, "select extname from pg_extension order by 1") : NULL;
    int rc = res ? 0 : 1;

    for (int i = 0; rc == 0 && i < PQntuples(res); i++) {
        const char *name = PQgetvalue(res, i, 0);
        PGresult *there = PQexecParams(to, "select from pg_available_extensions where name = $1", 1,
                                       NULL, &name, NULL, NULL, 0);
        char *more;

        if (PQntuples(there) == 0 && asprintf(&more, "%s%s%s (in the database %s)", *missing,
                                              **missing ? ", " : "", name, database) > 0) {
            free(*missing);
            *missing = more;
        }
        PQclear(there);
    }
    PQclear(res);
    PQfinish(conn);
    return rc;
}

static int check_extensions(struct upgrade *u)
{
    PGconn *to = target_connect(&u->target);
    char *missing = strdup("");
    int rc = to ? 0 : 1;

    for (int i = 0; rc == 0 && i < PQntuples(u->list); i++)
        rc = add_missing(u, to, PQgetvalue(u->list, i, 0), &missing);
    PQfinish(to);
    if (rc == 0 && *missing)
        rc =
            refuse("PostgreSQL %d here does not have the extension%s %s; name the directories that "
                   "have it (--extension-path), or drop it with the old version",
                   CALF_PG_MAJOR, strchr(missing, ',') ? "s" : "", missing);
    free(missing);
    return rc;
}

/* ---- from one to the other ---------------------------------------------------------------------
 */

static void ignore_line(struct progress *p, const char *line)
{
    (void)p, (void)line;
}

/* Of this version's programs, beside the old server. */
static int run_beside(struct upgrade *u, const char *const argv[], int out)
{
    struct target none = {.stopped = u->target.stopped};

    return target_program(&none, (char *const *)argv, (int[]){u->null, out, u->errors});
}

/* The script without the role that is there. */
static int without_owner(struct upgrade *u, int script)
{
    char *text = file_text(script), *quoted, *lines[2], *rest = text, *line;
    PGconn *conn = u->from;
    int out = memfd_create("roles", MFD_CLOEXEC);
    FILE *f = out < 0 ? NULL : fdopen(dup(out), "w");

    quoted = PQescapeIdentifier(conn, u->old.superuser, strlen(u->old.superuser));
    if (asprintf(&lines[0], "CREATE ROLE %s;", u->old.superuser) < 0 ||
        asprintf(&lines[1], "CREATE ROLE %s;", quoted) < 0 || !f)
        return refuse("there is no memory for the roles"), -1;
    while ((line = strsep(&rest, "\n")))
        if (strcmp(line, lines[0]) != 0 && strcmp(line, lines[1]) != 0)
            fprintf(f, "%s\n", line);
    fclose(f);
    PQfreemem(quoted);
    free(lines[0]);
    free(lines[1]);
    free(text);
    lseek(out, 0, SEEK_SET);
    return out;
}

static int copy_roles(struct upgrade *u)
{
    static const char *const psql[] = {"psql", "-X",        "-q", "-v", "ON_ERROR_STOP=1",
                                       "-o",   "/dev/null", NULL};
    char *info = old_conninfo(&u->old, "template1");
    const char *const dump[] = {"pg_dumpall", "--globals-only", "--dbname", info, NULL};
    int script = memfd_create("roles", MFD_CLOEXEC), filtered;
    int rc = run_beside(u, dump, script);

    free(info);
    if (rc == 0) {
        filtered = without_owner(u, script);
        rc = filtered < 0 ? 1
                          : target_program(&u->target, (char *const *)psql,
                                           (int[]){filtered, u->null, u->errors});
        close(filtered);
    }
    close(script);
    return rc;
}

struct dump {
    struct upgrade *upgrade;
    const char *database;
    int to, code;
};

static void *dump_database(void *arg)
{
    struct dump *d = arg;
    char *info = old_conninfo(&d->upgrade->old, d->database);
    const char *const argv[] = {"pg_dump", "--format=custom", "--compress=0", "--dbname", info,
                                NULL};

    d->code = run_beside(d->upgrade, argv, d->to);
    close(d->to);
    free(info);
    return NULL;
}

/* Through a pipe.  Those that initdb made are replaced, so that they get their settings as well. */
static int copy_database(struct upgrade *u, const char *database)
{
    bool replaced = strcmp(database, "template1") == 0 || strcmp(database, "postgres") == 0;
    const char *argv[] = {"pg_restore",
                          "--create",
                          "--exit-on-error",
                          "--dbname",
                          strcmp(database, "postgres") == 0 ? "template1" : "postgres",
                          replaced ? "--clean" : NULL,
                          replaced ? "--if-exists" : NULL,
                          NULL};
    struct dump d = {.upgrade = u, .database = database};
    pthread_t thread;
    int ends[2], code;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return refuse("cannot make a pipe: %s", strerror(errno));
    d.to = ends[1];
    if (pthread_create(&thread, NULL, dump_database, &d) != 0)
        return refuse("there is no thread to dump with");
    code = target_program(&u->target, (char *const *)argv, (int[]){ends[0], u->null, u->errors});
    close(ends[0]); /* pg_dump ends, too */
    pthread_join(thread, NULL);
    return code == 0 && d.code == 0 ? 0 : 1;
}

static void measure(struct progress *p)
{
    struct upgrade *u = p->owner;
    char base[PATH_MAX + 48];

    snprintf(base, sizeof(base), "%s/base", u->fresh);
    p->bytes = p->done = disk_usage(base);
}

/* The statistics are made anew.  Autovacuum makes what this cannot: of foreign tables, say. */
static void analyze(struct upgrade *u, const char *database)
{
    const char *const argv[] = {"vacuumdb", "--analyze-only", "--quiet",
                                "--dbname", database,         NULL};

    if (target_program(&u->target, (char *const *)argv, (int[]){u->null, u->null, u->errors}) !=
            0 &&
        !u->target.stopped)
        printf("calf: some statistics of the database %s were not made; ANALYZE makes them\n",
               database);
}

static int fill(struct upgrade *u)
{
    int rc;

    u->errors = progress_messages(&u->progress, ignore_line);
    u->progress.items = (unsigned)PQntuples(u->list);
    rc = copy_roles(u);
    for (int i = 0; rc == 0 && i < PQntuples(u->list); i++) {
        const char *database = PQgetvalue(u->list, i, 0);

        u->progress.item++;
        rc = copy_database(u, database);
        if (rc == 0)
            analyze(u, database);
        else if (!u->target.stopped)
            refuse("the database %s could not be copied", database);
    }
    return rc;
}

/* ---- the switch --------------------------------------------------------------------------------
 */

static struct stat owner;

static int give_to_owner(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)type, (void)at;
    return st->st_uid == owner.st_uid && st->st_gid == owner.st_gid
               ? 0
               : lchown(path, owner.st_uid, owner.st_gid);
}

/*
 * Where the file system cannot exchange two names there is a moment without DIR; who is killed in
 * it finds the new one there at the next `calf upgrade DIR` (take_names()).
 */
static int change_places(struct upgrade *u)
{
    const char *dir = u->target.dir;
    int parent, rc;

    owner = u->st;
    if (geteuid() == 0 && nftw(u->fresh, give_to_owner, 16, FTW_PHYS) != 0)
        return refuse("cannot give the new directory to user %u: %s", owner.st_uid,
                      strerror(errno));
    parent = open(u->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 || syncfs(u->lock) < 0)
        return refuse("cannot write to the disk: %s", strerror(errno));
    rc = renameat2(AT_FDCWD, u->fresh, AT_FDCWD, dir, RENAME_EXCHANGE);
    if (rc < 0 && (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)) {
        rc = rename(dir, u->aside);
        if (rc == 0 && (rc = rename(u->fresh, dir)) < 0)
            rename(u->aside, dir);
    }
    if (rc < 0)
        refuse("cannot put the new directory into the place of %s: %s", dir, strerror(errno));
    else
        fsync(u->lock), fsync(parent);
    close(parent);
    return rc < 0 ? 1 : 0;
}

/* ---- the command -------------------------------------------------------------------------------
 */

static void print_notes(struct upgrade *u)
{
    PGresult *res = ask(u->from, "select (select count(*) from pg_replication_slots where not "
                                 "temporary), (select count(*) from pg_subscription)");

    if (res && strcmp(PQgetvalue(res, 0, 0), "0") != 0)
        printf("calf: replication slots were not taken along (%s); make them again\n",
               PQgetvalue(res, 0, 0));
    if (res && strcmp(PQgetvalue(res, 0, 1), "0") != 0)
        printf("calf: subscriptions are disabled (%s); look at their publishers, then enable "
               "them\n",
               PQgetvalue(res, 0, 1));
    PQclear(res);
}

/* The old server's end, after which nobody was there. */
static int leave_old(struct upgrade *u)
{
    char pidfile[PATH_MAX + 32];

    PQfinish(u->from);
    u->from = NULL;
    if (old_stop(&u->old) != 0)
        return refuse("the old server did not shut down in order");
    snprintf(pidfile, sizeof(pidfile), "%s/postmaster.pid", u->target.dir);
    if (access(pidfile, F_OK) == 0)
        return refuse("%s was opened by another server meanwhile; stop that first", u->target.dir);
    return hold(u);
}

/* All before anything of it counts.  0, or an exit code. */
static int prepare(struct upgrade *u)
{
    int rc = start_old(u);

    if (rc == 0 && !u->target.stopped)
        rc = make_cluster(u);
    if (rc == 0 && !u->target.stopped)
        rc = try_configuration(u);
    if (rc == 0 && !u->target.stopped)
        rc = open_to_fill(u);
    if (rc == 0 && !u->target.stopped)
        rc = check_extensions(u);
    return rc;
}

static int work(void *arg)
{
    struct upgrade *u = arg;
    struct timespec begin, end;
    bool changed = false;
    int rc;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    u->progress.doing = "upgrading";
    u->progress.noun = "database";
    u->progress.measure = measure;
    u->progress.owner = u;
    progress_begin(&u->progress);
    rc = prepare(u);
    if (rc == 0 && !u->check && !u->target.stopped)
        rc = fill(u);
    close_cluster(u);
    progress_end(&u->progress);
    if (rc == 0 && !u->check && !u->target.stopped) {
        print_notes(u);
        rc = leave_old(u);
        if (rc == 0)
            rc = change_places(u);
        changed = rc == 0;
    }
    PQfinish(u->from);
    old_stop(&u->old);
    if (rc == 0 && u->check && !u->target.stopped)
        printf("calf: %s can be upgraded from PostgreSQL %d to %d: %d databases, read by %s\n",
               u->target.dir, u->old.major, CALF_PG_MAJOR, PQntuples(u->list), u->old.program);
    PQclear(u->list);
    if (!changed)
        return u->check || rc == 0 ? rc
                                   : refuse("%s was not upgraded; it is as it was", u->target.dir);
    rc = give_name(u, access(u->aside, F_OK) == 0 ? u->aside : u->fresh);
    if (rc != 0)
        return rc;
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("calf: %s is PostgreSQL %d now (%s, %.1f s); the old one is %s, remove it when all is "
           "well\n",
           u->target.dir, CALF_PG_MAJOR, human_size(disk_usage(u->target.dir)),
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9,
           u->keep);
    return 0;
}

/* Somebody's settings of libpq's are not for these servers. */
static void clear_environment(void)
{
    char name[256];

    for (char **e = environ; *e;) {
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
        if (strncmp(name, "PG", 2) == 0)
            unsetenv(name);
        else
            e++;
    }
    unsetenv("CALF_DATA");
    setenv("PGOPTIONS", "-c default_transaction_read_only=off", 1); /* a database's own setting */
}

int command_upgrade(struct call *c)
{
    static struct upgrade u = {.lock = -1, .hold = -1, .old.log = -1};
    int rc;

    u.check = c->value[OPTION_CHECK];
    if (c->nwords != 1)
        return misuse(c, "say which directory to upgrade");
    rc = target_name(&u.target, c->words[0]);
    if (rc == 0)
        rc = take_names(&u, c);
    if (rc != 0)
        return rc;
    clear_environment();
    block_signals();
    if (u.old.major == CALF_PG_MAJOR) {
        if (access(u.work, F_OK) == 0) {
            rc = take_work(&u);
            if (rc != 0)
                return rc;
            sweep(&u);
        }
        return printf("calf: %s is PostgreSQL %d\n", u.target.dir, CALF_PG_MAJOR), 0;
    }
    rc = look_at_directory(&u);
    if (rc == 0)
        rc = old_find(&u.old, c, u.target.dir);
    if (rc == 0)
        rc = take_work(&u);
    if (rc != 0)
        return rc;
    rc = look_for_room(&u);
    if (!u.keep[0])
        snprintf(u.keep, sizeof(u.keep), "%s.pg%d", u.target.dir, u.old.major);
    if (rc == 0 && access(u.keep, F_OK) == 0)
        rc = refuse("%s, which the old directory is to be called, is there; name another one by "
                    "--keep-old",
                    u.keep);
    u.null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (rc == 0)
        rc = target_work(&u.target, work, &u);
    sweep(&u);
    return rc;
}

/*
 * options.c - calf_options beyond the simple ones: superuser, extension_path, icu_locale, log,
 * linger_ms; features
 *
 * usage: options DIR            ("options DIR exits" is its helper)
 */
#include "api_test.h"

#include <pg_config.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

static const char *scratch;

static const char *in_scratch(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s", scratch, name);
    return path;
}

static bool is_open(const char *name) /* its server wrote that file */
{
    char path[4200];

    snprintf(path, sizeof(path), "%s/postmaster.pid", in_scratch(name));
    return access(path, F_OK) == 0;
}

static int threads(void)
{
    return entries("/proc/self/task") - 2;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- extension_path ------------------------------------------------------------------------- */

static void write_text(const char *dir, const char *name, const char *text)
{
    char path[4200];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "we");
    CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* A flat directory, and an unpacked Debian package with a module. */
static void extension_path(void)
{
    static const char usr[] = "usr/share/postgresql/" PG_MAJORVERSION "/extension";
    char flat[4096], package[4096], dir[4200], path[8300], text[32800];
    struct calf_options o = {.size = sizeof(o), .extension_path = path};
    calf_db *db;
    PGconn *conn;

    snprintf(flat, sizeof(flat), "%s", in_scratch("flat"));
    snprintf(package, sizeof(package), "%s", in_scratch("package"));
    CHECK(mkdir(flat, 0700) == 0);
    write_text(flat, "calf_one.control", "default_version = '1'\n");
    write_text(flat, "calf_one--1.sql", "create function one() returns int return 1;\n");
    snprintf(dir, sizeof(dir), "%s/%s", package, usr);
    snprintf(text, sizeof(text),
             "mkdir -p %s %s/usr/lib/postgresql/" PG_MAJORVERSION "/lib &&"
             " cp build/pg" PG_MAJORVERSION
             "/pgsql/lib/autoinc.so %s/usr/lib/postgresql/" PG_MAJORVERSION "/lib/calf_two.so",
             dir, package, package);
    CHECK(system(text) == 0);
    write_text(dir, "calf_two.control", "default_version = '1'\n");
    write_text(dir, "calf_two--1.sql",
               "create function two() returns trigger language c"
               " as '$libdir/calf_two', 'autoinc';\n");

    snprintf(path, sizeof(path), "%s:%s", flat, package);
    CHECK(calf_open(NULL, &o, &db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "select count(*) from pg_available_extensions where name ~ '^calf_'", "2"));
    CHECK(says(conn, "select count(*) > 40 from pg_available_extensions", "t"));
    PQclear(PQexec(conn, "create extension calf_one; create extension calf_two"));
    CHECK(says(conn, "select one()", "1"));
    CHECK(says(conn, "select prosrc from pg_proc where proname = 'two'", "autoinc"));
    PQclear(PQexec(conn, "create extension hstore")); /* its own are there as well */
    CHECK(says(conn, "select 'a=>1'::hstore->'a'", "1"));

    /* what is nowhere: all places are named, and only for what was looked for there */
    ask(conn, "set client_min_messages = error");
    snprintf(text, sizeof(text), "looked also in %s, %s, %s", flat, package, dir);
    CHECK(PG_MAJORVERSION_NUM >= 18 || /* which names no files there */
          strstr(ask(conn, "create extension calf_none"), text));
    snprintf(text, sizeof(text),
             "looked also in %s, %s, %s/usr/lib, %s/usr/lib/postgresql,"
             " %s/usr/lib/postgresql/" PG_MAJORVERSION "/lib",
             flat, package, package, package, package);
    CHECK(strstr(ask(conn, "load 'calf_none'"), text));
    CHECK(strstr(
        ask(conn, "create function absent() returns int language c as '$libdir/calf_none'"), text));
    CHECK(strstr(ask(conn, "select pg_read_file('calf_none')"), "No such file or directory"));
    CHECK(!strstr(ask(conn, "select pg_read_file('calf_none')"), "looked"));
    CHECK(!strstr(ask(conn, "load 'none/calf_none'"), "looked"));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);

    snprintf(path, sizeof(path), "%s:%s/absent", flat, package);
    CHECK(calf_open(NULL, &o, &db, &err) == CALF_MISUSE);
    CHECK(strstr(err.text, "/absent"));
}

/* ---- superuser ------------------------------------------------------------------------------ */

static void superuser(void)
{
    static const char name[] = "Anna @ home/1:%20";
    struct calf_options o = {.size = sizeof(o), .superuser = name};
    int out = memfd_create("out", MFD_CLOEXEC), null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char text[4200] = "", copy[4096];
    calf_db *db;
    PGconn *conn;
    int code;

    CHECK(calf_open(in_scratch("anna"), &o, &db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "select current_user", name));
    CHECK(
        says(conn, "select rolsuper from pg_roles where oid = 10 and rolname = current_user", "t"));
    CHECK(says(conn, "select count(*) from pg_roles where rolname = 'postgres'", "0"));
    PQfinish(conn);
    CHECK(calf_listen(db, in_scratch("sockets"), &err) == CALF_OK);
    conn = connect_to(calf_uri(db));
    CHECK(says(conn, "select session_user", name));
    PQfinish(conn);
    CHECK(calf_run(db, (char *[]){"psql", "-XAtc", "select current_user", NULL},
                   (int[]){null, out, out}, &code, &err) == CALF_OK);
    CHECK(pread(out, text, sizeof(text) - 1, 0) > 0 && code == 0);
    text[strcspn(text, "\n")] = '\0';
    CHECK(strcmp(text, name) == 0);
    snprintf(copy, sizeof(copy), "%s", in_scratch("copied"));
    CHECK(calf_snapshot(db, copy, &err) == CALF_OK);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);

    /* who does not say it is told by PostgreSQL */
    snprintf(text, sizeof(text), "host=calf:%s", in_scratch("anna"));
    conn = PQconnectdb(text);
    CHECK(PQstatus(conn) == CONNECTION_BAD);
    CHECK(strstr(PQerrorMessage(conn), "role \"postgres\" does not exist"));
    PQfinish(conn);
    CHECK(!is_open("anna"));
    snprintf(text, sizeof(text), "host=calf:%s dbname=postgres user='Anna @ home/1:%%20'", copy);
    conn = connect_to(text);
    CHECK(says(conn, "select current_user", name));
    PQfinish(conn);

    o.superuser = "";
    CHECK(calf_open(in_scratch("bad"), &o, &db, &err) == CALF_MISUSE && !db);
    o.superuser = "a234567890123456789012345678901234567890123456789012345678901234"; /* 64 */
    CHECK(calf_open(in_scratch("bad"), &o, &db, &err) == CALF_MISUSE && !db);
    o.superuser = "pg_reserved";
    CHECK(calf_open(in_scratch("bad"), &o, &db, &err) == CALF_FAILED && !db);
    CHECK(strstr(err.text, "pg_") && access(in_scratch("bad"), F_OK) < 0);
    close(out);
    close(null);
}

/* ---- icu_locale, features -------------------------------------------------------------------- */

static void icu(void)
{
    struct calf_options o = {.size = sizeof(o), .icu_locale = "sv"};
    const char *const *features = calf_features();
    bool has = false, sorted = true;
    calf_db *db;
    PGconn *conn;

    for (int i = 0; features[i]; i++) {
        has = has || strcmp(features[i], "icu") == 0;
        sorted = sorted && (i == 0 || strcmp(features[i - 1], features[i]) < 0);
    }
    CHECK(sorted && features[0]);
    CHECK(calf_open(NULL, NULL, &db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(db));
    /* PostgreSQL has ICU's collations just when it was built with it */
    CHECK(says(conn, "select count(*) > 1 from pg_collation where collprovider = 'i'",
               has ? "t" : "f"));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    if (!has)
        return;
    CHECK(calf_open(in_scratch("swedish"), &o, &db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "select datlocprovider from pg_database where datname = 'postgres'", "i"));
    CHECK(says(conn, "select string_agg(c, '' order by c) from unnest('{z,ä,a,å,ö}'::text[]) c",
               "azåäö"));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    o.icu_locale = "no-such-language-as-this";
    if (PG_MAJORVERSION_NUM >= 16) /* 15 takes what ICU takes, which is anything */
        CHECK(calf_open(in_scratch("bad"), &o, &db, &err) == CALF_FAILED && !db && *err.text);
}

/* ---- log ------------------------------------------------------------------------------------- */

struct seen {
    pthread_t thread;
    _Atomic int calls, inside, hello, longest;
    bool same_thread, alone, whole;
};

static void look(void *context, const char *line)
{
    struct seen *s = context;
    int length = (int)strlen(line);

    if (s->inside++ > 0)
        s->alone = false;
    if (s->calls++ == 0)
        s->thread = pthread_self();
    if (!pthread_equal(s->thread, pthread_self()))
        s->same_thread = false;
    if (strchr(line, '\n'))
        s->whole = false;
    if (strstr(line, "LOG:  hello from a session"))
        s->hello++;
    if (length > s->longest)
        s->longest = length;
    s->inside--;
}

static void log_lines(void)
{
    struct seen s = {.same_thread = true, .alone = true, .whole = true}, failed = s;
    struct calf_options o = {.size = sizeof(o), .log = look, .log_context = &s};
    PGconn *conns[4];
    calf_db *db;
    int before = threads(), fds, calls;
    double begin;

    CHECK(calf_open(in_scratch("logged"), &o, &db, &err) == CALF_OK);
    for (int i = 0; i < 4; i++)
        conns[i] = connect_to(calf_dsn(db));
    for (int round = 0; round < 25; round++)
        for (int i = 0; i < 4; i++)
            CHECK(PQsendQuery(conns[i], "do $$ begin raise log 'hello from a session'; end $$") &&
                  (PQclear(PQgetResult(conns[i])), !PQgetResult(conns[i])));
    ask(conns[0], "do $$ begin raise log '%', repeat('long', 50000); end $$");
    /* a command that outlives the database keeps its standard error, and closing does not wait */
    CHECK(says(conns[0], "copy (select 1) to program 'sleep 20 >/dev/null </dev/null &'", ""));
    for (int i = 0; i < 4; i++)
        PQfinish(conns[i]);
    begin = now();
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK && now() - begin < 10);
    calls = s.calls;
    CHECK(s.hello == 100 && s.same_thread && s.alone && s.whole);
    CHECK(s.longest == 64 << 10 && threads() == before);
    CHECK(!pthread_equal(s.thread, pthread_self()));

    /* an opening that fails: both the callback and the error have the words */
    o.log_context = &failed;
    o.settings = (const char *const[]){"no_such_setting=1", NULL};
    fds = entries("/proc/self/fd");
    CHECK(calf_open(in_scratch("logged"), &o, &db, &err) == CALF_FAILED);
    CHECK(strstr(err.text, "no_such_setting") && failed.calls > 0);
    CHECK(entries("/proc/self/fd") == fds && threads() == before);
    o.log_file = "/dev/null";
    CHECK(calf_open(in_scratch("logged"), &o, &db, &err) == CALF_MISUSE && strstr(err.text, "log"));
    CHECK(s.calls == calls);
}

/* ---- linger ------------------------------------------------------------------------------------
 */

static void until_closed(const char *name)
{
    while (is_open(name))
        usleep(1000);
    while (threads() > 1)
        usleep(1000);
}

static void linger(void)
{
    struct calf_options o = {.size = sizeof(o), .linger_ms = 600000};
    char dsn[4200], started[64];
    double begin;
    calf_db *db;
    PGconn *conn;

    o.linger_ms = -1;
    CHECK(calf_open(in_scratch("l"), &o, &db, &err) == CALF_MISUSE && !db);
    o.linger_ms = 600000;

    /* it is found open again, and CALF_IMMEDIATE closes it at once */
    CHECK(calf_open(in_scratch("l"), &o, &db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(db));
    snprintf(started, sizeof(started), "%s", ask(conn, "select pg_postmaster_start_time()"));
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK && !calf_dsn(db));
    CHECK(says(conn, "select 1", "1")); /* a connection keeps it as well */
    PQfinish(conn);
    CHECK(is_open("l"));
    for (int i = 0; i < 3; i++) {
        CHECK(calf_open(in_scratch("l"), i == 2 ? NULL : &o, &db, &err) == CALF_OK);
        conn = connect_to(calf_dsn(db));
        CHECK(says(conn, "select pg_postmaster_start_time()", started));
        PQfinish(conn);
        CHECK(calf_close(db, i == 2 ? CALF_IMMEDIATE : CALF_FAST, &err) == CALF_OK);
        CHECK(is_open("l") || i == 2);
    }
    conn = NULL;
    CHECK(threads() <= 2); /* at most the one that waits for what lingers, which is about to end */
    until_closed("m");

    /* it closes when its time is over, not earlier */
    o.linger_ms = 300;
    CHECK(calf_open(in_scratch("m"), &o, &db, &err) == CALF_OK);
    begin = now();
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK && is_open("m"));
    until_closed("m");
    CHECK(now() - begin >= 0.3);

    /* on demand, by the environment */
    setenv("CALF_LINGER", "soon", 1);
    snprintf(dsn, sizeof(dsn), "host=calf:%s", in_scratch("n"));
    conn = PQconnectdb(dsn);
    CHECK(PQstatus(conn) == CONNECTION_BAD && strstr(PQerrorMessage(conn), "CALF_LINGER=soon"));
    PQfinish(conn);
    setenv("CALF_LINGER", "400", 1);
    conn = connect_to(dsn);
    snprintf(started, sizeof(started), "%s", ask(conn, "select pg_postmaster_start_time()"));
    PQfinish(conn);
    CHECK(is_open("n"));
    conn = connect_to(dsn);
    CHECK(says(conn, "select pg_postmaster_start_time()", started));
    usleep(600000); /* longer than it lingers, but in use */
    CHECK(says(conn, "select 1", "1"));
    begin = now();
    PQfinish(conn);
    until_closed("n");
    CHECK(now() - begin >= 0.4);
    unsetenv("CALF_LINGER");
}

/* exit() closes what lingers: nothing to recover, nothing temporary is left. */
static int exits(void)
{
    struct calf_options o = {.size = sizeof(o), .linger_ms = 600000};
    PGconn *conn;
    calf_db *db;
    pid_t child;

    setenv("CALF_LINGER", "600000", 1);
    CHECK(calf_open(in_scratch("e"), &o, &db, &err) == CALF_OK);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK && is_open("e"));
    conn = connect_to("host=calf:");
    printf("%s\n", ask(conn, "show data_directory"));
    PQfinish(conn);
    fflush(stdout);
    child = fork();
    if (child == 0)
        exit(0); /* not a child's to close */
    waitpid(child, NULL, 0);
    CHECK(is_open("e"));
    return 7;
}

static void at_exit(const char *self)
{
    char dir[4096], line[4096] = "";
    int out[2], status;
    calf_db *db;
    pid_t child;
    struct calf_options o = {.size = sizeof(o)};
    FILE *f;

    CHECK(pipe(out) == 0);
    child = fork();
    if (child == 0) {
        dup2(out[1], 1);
        execl(self, self, scratch, "exits", NULL);
        _exit(1);
    }
    close(out[1]);
    CHECK((f = fdopen(out[0], "r")) && fgets(dir, sizeof(dir), f));
    dir[strcspn(dir, "\n")] = '\0';
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    fclose(f);
    CHECK(strstr(dir, "calf-temp.") && access(dir, F_OK) < 0);
    CHECK(!is_open("e"));
    o.log_file = in_scratch("e.log");
    snprintf(dir, sizeof(dir), "%s", o.log_file);
    o.log_file = dir;
    CHECK(calf_open(in_scratch("e"), &o, &db, &err) == CALF_OK);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    CHECK((f = fopen(dir, "r")));
    while (fgets(line, sizeof(line), f))
        CHECK(!strstr(line, "not properly shut down"));
    fclose(f);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    scratch = argv[1];
    if (argc == 3)
        return exits();
    superuser();
    extension_path();
    icu();
    log_lines();
    linger();
    at_exit(argv[0]);
    return 0;
}

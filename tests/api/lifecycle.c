/*
 * lifecycle.c - open, share, close, reopen; temporary databases; who holds what; wrong use
 *
 * usage: lifecycle DIR            (DIR is empty; "lifecycle hold DIR" is its helper)
 */
#include "api_test.h"

#include <signal.h>

static void wrong_use(const char *dir)
{
    struct calf_options o = {.size = sizeof(o)};
    char path[4096];
    char *many[100] = {"psql"};
    calf_db *db = NULL, *closed;
    int code;

    for (int i = 1; i < 99; i++)
        many[i] = "-q";
    CHECK(calf_open(dir, NULL, NULL, &err) == CALF_MISUSE && *err.text);
    CHECK(calf_open("", NULL, &db, &err) == CALF_MISUSE && !db);
    CHECK(calf_open("/proc/nothing/here", NULL, &db, &err) == CALF_ACCESS && !db);
    CHECK(strstr(err.text, "/proc/nothing/here"));
    CHECK(calf_open("/etc", NULL, &db, &err) == CALF_FOREIGN && !db && strstr(err.text, "/etc"));
    CHECK(calf_open("/etc/passwd", NULL, &db, &err) == CALF_ACCESS && !db);
    o.size = 0;
    CHECK(calf_open(dir, &o, &db, &err) == CALF_MISUSE && !db);
    o.size = sizeof(o) + 1; /* of a later calf.h */
    CHECK(calf_open(dir, &o, &db, &err) == CALF_MISUSE && !db && strstr(err.text, "size"));
    o = (struct calf_options){.size = sizeof(o), .durability = 9};
    CHECK(calf_open(dir, &o, &db, &err) == CALF_MISUSE && !db);
    o = (struct calf_options){.size = sizeof(o),
                              .settings = (const char *const[]){"no_equals_sign", NULL}};
    snprintf(path, sizeof(path), "%s/unmade", dir);
    CHECK(calf_open(path, &o, &db, &err) == CALF_MISUSE && strstr(err.text, "no_equals_sign"));
    CHECK(access(path, F_OK) < 0); /* nothing is left of what was not made */
    o.settings = (const char *const[]){"no_such_setting=1", NULL};
    CHECK(calf_open(path, &o, &db, &err) == CALF_FAILED && strstr(err.text, "no_such_setting"));
    CHECK(access(path, F_OK) < 0); /* the cluster neither */
    CHECK(mkdir(path, 0700) == 0);
    CHECK(calf_open(path, &o, &db, &err) == CALF_FAILED && rmdir(path) == 0); /* it was ours */
    o = (struct calf_options){.size = sizeof(o), .encoding = "no such encoding"};
    CHECK(calf_open(path, &o, &db, &err) == CALF_FAILED && strstr(err.text, "no such encoding"));
    o = (struct calf_options){.size = sizeof(o), .locale = "xx_XX"};
    snprintf(path, sizeof(path), "%s/unmade2", dir);
    CHECK(calf_open(path, &o, &db, &err) == CALF_FAILED && strstr(err.text, "xx_XX"));
    CHECK(access(path, F_OK) < 0);
    o = (struct calf_options){.size = sizeof(o), .log_file = "/nonexistent/log"};
    CHECK(calf_open(path, &o, &db, &err) == CALF_ACCESS && access(path, F_OK) < 0);

    CHECK(calf_close(NULL, CALF_FAST, &err) == CALF_OK);
    CHECK(calf_close((calf_db *)0x123456789, CALF_FAST, &err) == CALF_MISUSE && *err.text);
    CHECK(calf_healthy(NULL) == 0 && !calf_dsn(NULL) && !calf_uri(NULL) && !calf_directory(NULL));
    CHECK(calf_listen(NULL, dir, &err) == CALF_MISUSE);
    CHECK(calf_unlisten(NULL, NULL, &err) == CALF_MISUSE);
    CHECK(calf_run((calf_db *)dir, (char *[]){"psql", NULL}, NULL, &code, &err) == CALF_MISUSE);
    CHECK(calf_run(NULL, NULL, NULL, &code, &err) == CALF_MISUSE);
    CHECK(calf_open(NULL, NULL, &db, NULL) == CALF_OK); /* err may be NULL */
    CHECK(calf_close(db, 7, &err) == CALF_MISUSE && calf_healthy(db));
    CHECK(calf_run(db, NULL, NULL, NULL, &err) == CALF_MISUSE);
    CHECK(calf_run(db, (char *[]){NULL}, NULL, NULL, &err) == CALF_MISUSE);
    CHECK(calf_run(db, (char *[]){"no_such", NULL}, NULL, NULL, &err) == CALF_INSTALL);
    CHECK(calf_run(db, (char *[]){"/bin/sh", NULL}, NULL, NULL, &err) == CALF_INSTALL);
    CHECK(calf_run(db, many, NULL, NULL, &err) == CALF_MISUSE && strstr(err.text, "62"));
    CHECK(calf_run(db, (char *[]){"psql", "-V", NULL}, (int[]){-1, -1, -1}, &code, &err) ==
          CALF_OK); /* as a shell's psql -V <&- >&- 2>&- */
    CHECK(code == 0);
    CHECK(calf_listen(db, NULL, &err) == CALF_MISUSE && calf_listen(db, "", &err) == CALF_MISUSE);
    CHECK(calf_listen(db, "relative", &err) == CALF_MISUSE && strstr(err.text, "relative"));
    CHECK(calf_listen(db, "tcp:99999", &err) == CALF_MISUSE);
    CHECK(calf_listen(db, "tcp:nowhere:1", &err) == CALF_MISUSE);
    CHECK(calf_listen(db, "/proc/x/y", &err) == CALF_ACCESS);
    CHECK(calf_unlisten(db, "tcp:1", &err) == CALF_MISUSE);
    closed = db;
    CHECK(calf_close(db, CALF_FAST, NULL) == CALF_OK);
    CHECK(calf_close(closed, CALF_FAST, &err) == CALF_MISUSE && !calf_dsn(closed));
    CHECK(!calf_uri(closed) && !calf_directory(closed) && !calf_healthy(closed));
    CHECK(calf_listen(closed, "tcp:0", &err) == CALF_MISUSE && *err.text);
    CHECK(calf_unlisten(closed, NULL, &err) == CALF_MISUSE && *err.text);
    CHECK(calf_run(closed, (char *[]){"psql", NULL}, NULL, &code, &err) == CALF_MISUSE);
    CHECK(calf_run_signal(closed, SIGINT, &err) == CALF_MISUSE && *err.text);
    CHECK(calf_open(NULL, NULL, &db, &err) == CALF_OK && db != closed);
    CHECK(calf_close(closed, CALF_FAST, &err) == CALF_MISUSE); /* still not this one */
    CHECK(calf_close(db, CALF_IMMEDIATE, &err) == CALF_OK);
    CHECK(calf_data_dir(NULL, NULL, "a/b", path, sizeof(path), &err) == CALF_MISUSE);
    CHECK(calf_data_dir(NULL, "a/b", "app", path, sizeof(path), &err) == CALF_MISUSE);
    CHECK(calf_data_dir("a/b", "org", "app", path, sizeof(path), &err) == CALF_MISUSE);
    CHECK(calf_data_dir(NULL, NULL, NULL, path, sizeof(path), &err) == CALF_MISUSE);
    CHECK(calf_data_dir(NULL, NULL, "", path, sizeof(path), &err) == CALF_MISUSE);
    CHECK(calf_data_dir(NULL, NULL, "app", NULL, 0, NULL) == CALF_MISUSE);
    CHECK(calf_data_dir(NULL, NULL, "app", path, 3, &err) == CALF_MISUSE);
    setenv("XDG_DATA_HOME", "/xdg", 1);
    CHECK(calf_data_dir("com", "org", "app", path, sizeof(path), &err) == CALF_OK);
    CHECK(strcmp(path, "/xdg/org/app") == 0);
}

static void shared(const char *dir)
{
    char path[4096], other[4200];
    calf_db *a, *b, *c;
    PGconn *conn;

    snprintf(path, sizeof(path), "%s/it's a \\ name",
             dir); /* a string of conninfo's must escape it */
    snprintf(other, sizeof(other), "%s/../it's a \\ name", path);
    CHECK(calf_open(path, NULL, &a, &err) == CALF_OK);
    CHECK(calf_open(other, NULL, &b, &err) == CALF_OK && a != b);
    CHECK(strcmp(calf_directory(a), calf_directory(b)) == 0);
    conn = connect_to(calf_dsn(a));
    CHECK(says(conn, "create table t as select 42 as n", ""));
    CHECK(says(conn, "show data_checksums", "on"));
    CHECK(calf_close(a, CALF_FAST, &err) == CALF_OK);
    CHECK(says(conn, "select n from t", "42")); /* b holds it */
    CHECK(calf_healthy(b) && !calf_healthy(a));
    CHECK(calf_open(NULL, NULL, &c, &err) == CALF_OK); /* and a second cluster beside it */
    CHECK(calf_close(b, CALF_FAST, &err) == CALF_OK);
    CHECK(strncmp(ask(conn, "select n from t"), "error", 5) ==
          0); /* the last handle ends sessions */
    PQfinish(conn);
    CHECK(calf_healthy(c) && calf_close(c, CALF_FAST, &err) == CALF_OK);

    /* without any handle: the connections hold it, and it is durable */
    snprintf(other, sizeof(other), "postgresql:///?host=calf:%s/demand", dir);
    conn = connect_to(other);
    CHECK(says(conn, "select current_user || ' ' || current_database()", "postgres postgres"));
    CHECK(says(conn, "create table kept as select 1 as n", ""));
    snprintf(path, sizeof(path), "%s/demand/postmaster.pid", dir);
    CHECK(access(path, F_OK) == 0);
    PQreset(conn);
    CHECK(says(conn, "select n from kept", "1"));
    PQfinish(conn);
    CHECK(access(path, F_OK) < 0); /* closed with its last connection */
    conn = connect_to(other);
    CHECK(says(conn, "select n from kept", "1"));
    PQfinish(conn);
}

static void temporary(void)
{
    PGconn *one = connect_to("host=calf:"), *two = connect_to("host=calf: application_name=two");
    char dir[4096];
    calf_db *db;
    struct stat st;

    CHECK(says(one, "create table t as select 7 as n", ""));
    CHECK(says(two, "select n from t", "7")); /* one for all such connections of the process */
    snprintf(dir, sizeof(dir), "%s", ask(one, "show data_directory"));
    PQfinish(one);
    CHECK(stat(dir, &st) == 0 && says(two, "select n from t", "7"));
    PQfinish(two);
    CHECK(stat(dir, &st) < 0);
    CHECK(calf_open(NULL, NULL, &db, &err) == CALF_OK);
    snprintf(dir, sizeof(dir), "%s", calf_directory(db));
    CHECK(stat(dir, &st) == 0 && (st.st_mode & 0777) == 0700);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK && stat(dir, &st) < 0);
}

static void held(const char *self, const char *dir)
{
    char path[4096], ready = 0, pid[32];
    int to[2], from[2];
    calf_db *db;
    pid_t child;

    snprintf(path, sizeof(path), "%s/held", dir);
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    child = fork();
    if (child == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]);
        execl(self, self, "hold", path, NULL);
        _exit(1);
    }
    CHECK(read(from[0], &ready, 1) == 1 && ready == 'r');
    CHECK(calf_open(path, NULL, &db, &err) == CALF_HELD && !db);
    snprintf(pid, sizeof(pid), "process %d", child);
    CHECK(strstr(err.text, pid) && strstr(err.text, path));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    CHECK(calf_open(path, NULL, &db, &err) == CALF_OK); /* recovered */
    PGconn *conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "select n from acknowledged", "1"));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
}

static int hold(const char *path)
{
    calf_db *db;
    PGconn *conn;
    char byte;

    CHECK(calf_open(path, NULL, &db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "create table acknowledged as select 1 as n", ""));
    CHECK(write(1, "r", 1) == 1);
    return (int)read(0, &byte, 1);
}

static void run(const char *dir)
{
    char path[4096], text[256] = "";
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
    int fds[3] = {null, out, out}, code = -1;
    calf_db *db;

    snprintf(path, sizeof(path), "%s/held", dir);
    CHECK(calf_open(path, NULL, &db, &err) == CALF_OK);
    CHECK(calf_run(db, (char *[]){"psql", "-XAtc", "select 6 * 7", NULL}, fds, &code, &err) == 0);
    CHECK(code == 0 && pread(out, text, sizeof(text) - 1, 0) == 3 && strcmp(text, "42\n") == 0);
    CHECK(calf_run(db, (char *[]){"psql", "-Xc", "select 1/0", NULL}, fds, &code, &err) == 0);
    CHECK(code == 1);
    CHECK(calf_run(db, (char *[]){"pg_dump", "-f", "/dev/null", NULL}, fds, &code, &err) == 0);
    CHECK(code == 0);
    close(null);
    close(out);
    CHECK(calf_close(db, CALF_SMART, &err) == CALF_OK);
}

static void durability(const char *dir)
{
    static const char *const fsyncs[] = {"on", "on", "off"}, *const syncs[] = {"on", "off", "off"};
    char path[4096];

    snprintf(path, sizeof(path), "%s/held", dir);
    for (int d = CALF_DURABLE; d <= CALF_NONE; d++) {
        struct calf_options o = {.size = sizeof(o),
                                 .durability = d,
                                 .settings = (const char *const[]){"work_mem=9MB", NULL}};
        calf_db *db;
        PGconn *conn;

        CHECK(calf_open(path, &o, &db, &err) == CALF_OK);
        conn = connect_to(calf_dsn(db));
        CHECK(says(conn, "show fsync", fsyncs[d]) && says(conn, "show work_mem", "9MB"));
        CHECK(says(conn, "show synchronous_commit", syncs[d]));
        PQfinish(conn);
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    }
}

/* New clusters are copies of one, but each is itself; an interrupted copy is made again. */
static void created(const char *dir)
{
    static const char *const own = "select system_identifier::text from pg_control_system()";
    char path[4096], file[4200], first[64];
    struct calf_options o = {
        .size = sizeof(o), .no_checksums = 1, .locale = "C", .encoding = "LATIN1"};
    calf_db *db;
    PGconn *conn;
    FILE *f;

    snprintf(path, sizeof(path), "host=calf:%s/one", dir);
    setenv("TZ", "Europe/Vienna", 1);
    conn = connect_to(path);
    unsetenv("TZ");
    snprintf(first, sizeof(first), "%s", ask(conn, own));
    CHECK(says(conn, "show timezone", "Europe/Vienna"));
    PQfinish(conn);

    snprintf(path, sizeof(path), "%s/two", dir);
    CHECK(mkdir(path, 0755) == 0);
    snprintf(file, sizeof(file), "%s/base", path);
    CHECK(mkdir(file, 0700) == 0);
    snprintf(file, sizeof(file), "%s/base/left", path);
    CHECK((f = fopen(file, "w")) && fclose(f) == 0);
    CHECK(calf_open(path, NULL, &db, &err) == CALF_FOREIGN && access(file, F_OK) == 0);
    snprintf(file, sizeof(file), "%s/calf.creating", path);
    CHECK((f = fopen(file, "w")) && fclose(f) == 0);
    CHECK(calf_open(path, NULL, &db, &err) == CALF_OK && access(file, F_OK) < 0);
    conn = connect_to(calf_dsn(db));
    CHECK(strcmp(ask(conn, own), first) != 0);
    CHECK(says(conn, "show data_checksums", "on"));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);

    snprintf(path, sizeof(path), "%s/three", dir); /* by initdb */
    CHECK(calf_open(path, &o, &db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "show server_encoding", "LATIN1") && says(conn, "show data_checksums", "off"));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "hold") == 0)
        return hold(argv[2]);
    CHECK(argc == 2 && strstr(calf_version(), "PostgreSQL"));
    wrong_use(argv[1]);
    shared(argv[1]);
    temporary();
    held(argv[0], argv[1]);
    run(argv[1]);
    durability(argv[1]);
    created(argv[1]);
    return 0;
}

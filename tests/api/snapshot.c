/*
 * snapshot.c - calf_snapshot() and calf_clone(): what is in a copy, what is not, what is left of a
 * copy that failed; wrong use
 *
 * usage: snapshot DIR
 */
#include "api_test.h"

#include <pg_config.h>
#include <pthread.h>

#define WRITERS 4

static const char *scratch;

static const char *in_scratch(const char *name)
{
    static char paths[16][4096];
    static int n;
    char *path = paths[n++ % 16];

    snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
    return path;
}

static void touch(const char *dir, const char *name)
{
    char path[4200];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    CHECK((f = fopen(path, "w")) && fputs("x", f) >= 0 && fclose(f) == 0);
}

static bool exists(const char *dir, const char *name)
{
    char path[4200];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void discard(const char *path)
{
    char command[4300];

    snprintf(command, sizeof(command), "rm -r '%s'", path);
    CHECK(system(command) == 0);
}

/* ---- under writers ----------------------------------------------------------------------- */

static char dsn[8192];
static _Atomic long acknowledged[WRITERS];
static _Atomic bool stopping;

/* Moves money from account to account: their sum is 0 at all times, and `done` only grows. */
static void *writer(void *arg)
{
    long me = (long)arg;
    PGconn *conn = connect_to(dsn);
    char sql[512];

    for (long n = 1; !stopping; n++) {
        snprintf(sql, sizeof(sql),
                 "begin; update account set sum = sum - %ld where id = %ld;"
                 "update account set sum = sum + %ld where id = %ld;"
                 "update done set n = %ld where writer = %ld;"
                 "insert into history select %ld, %ld, repeat('h', 500); commit",
                 n, 1 + n % 1000, n, 1 + (n * 7 + me) % 1000, n, me, me, n);
        if (strncmp(ask(conn, sql), "error: ", 7) != 0)
            acknowledged[me] = n;
        else /* two that wait for each other */
            CHECK(says(conn, "rollback", ""));
        if (n % 50 == 0) { /* files come and go meanwhile */
            snprintf(sql, sizeof(sql), "create table t%ld as select 1; drop table t%ld", me, me);
            CHECK(says(conn, sql, ""));
        }
        if (me == 0 && n % 10 == 0) /* so that the last one is not where a copy begins */
            CHECK(says(conn, "checkpoint", ""));
    }
    PQfinish(conn);
    return NULL;
}

static void holds(const char *path, const long least[WRITERS])
{
    char sql[128];
    calf_db *db;
    PGconn *conn;

    CHECK(!exists(path, "postmaster.pid") && !exists(path, "calf.copying"));
    CHECK(calf_open(path, NULL, &db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "select sum(sum) from account", "0"));
    CHECK(says(conn, "select count(*) from account", "1000"));
    for (int i = 0; i < WRITERS; i++) {
        snprintf(sql, sizeof(sql), "select n >= %ld from done where writer = %d", least[i], i);
        CHECK(says(conn, sql, "t"));
        snprintf(sql, sizeof(sql),
                 "select max(n) = (select n from done where writer = %d) and count(*) <= max(n)"
                 " from history where writer = %d",
                 i, i);
        CHECK(says(conn, sql, "t"));
    }
    CHECK(says(conn, "set enable_seqscan = off", ""));
    CHECK(says(conn, "select count(*) from account where id > 0", "1000")); /* the index too */
    CHECK(says(conn, "reset enable_seqscan", ""));
    CHECK(says(conn, "select count(*) from unlogged", "0"));
    CHECK(says(conn, "select count(*) from pg_replication_slots", "0"));
    CHECK(says(conn, "select count(*) from pg_database where datname = 'other'", "1"));
    CHECK(says(conn, "insert into account values (1001, 0)", ""));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
}

/*
 * The same program as a process of its own is a stock server; it refuses root.  What it opens is a
 * clone of the copy, so that one which nobody recovered yet is cloned as well.
 */
static void stock_opens(const char *copy)
{
    static const char command[] =
        "cd \"$dir\" && if [ $(id -u) = 0 ]; then chown -R 65534:65534 data;"
        " as='setpriv --reuid=65534 --regid=65534 --clear-groups'; fi;"
        " echo 'select sum(sum), count(*) from account' | LD_LIBRARY_PATH=\"$pg/lib\" "
        " $as \"$pg/bin/postgres\" --single -D data postgres >out 2>log; cat out log >&2;"
        " grep -q 'sum = \"0\"' out && grep -q 'count = \"1000\"' out &&"
        " grep -q 'starting backup recovery' log";
    const char *tmp = getenv("TMPDIR"), *pg = getenv("CALF_PG");
    char dir[4096], to[4200], root[4096];

    snprintf(dir, sizeof(dir), "%s/calf-stock.XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(dir) && chmod(dir, 0711) == 0);
    snprintf(to, sizeof(to), "%s/data", dir);
    CHECK(calf_clone(copy, to, &err) == CALF_OK && exists(to, "backup_label"));
    CHECK(realpath(pg ? pg : "build/pg" PG_MAJORVERSION "/pgsql", root));
    setenv("dir", dir, 1);
    setenv("pg", root, 1);
    CHECK(system(command) == 0);
    discard(dir);
    unsetenv("dir");
    unsetenv("pg");
}

static void under_writers(enum calf_durability durability)
{
    struct calf_options o = {.size = sizeof(o), .durability = durability};
    pthread_t threads[WRITERS];
    char path[4096], copy[4200];
    long least[2][WRITERS];
    calf_db *db;
    PGconn *conn;

    snprintf(path, sizeof(path), "%s/written%d", scratch, durability);
    CHECK(calf_open(path, &o, &db, &err) == CALF_OK);
    snprintf(dsn, sizeof(dsn), "%s", calf_dsn(db));
    conn = connect_to(dsn);
    CHECK(says(conn,
               "create table account as select g as id, 0::bigint as sum"
               " from generate_series(1, 1000) g",
               ""));
    CHECK(says(conn, "alter table account add primary key (id)", ""));
    CHECK(says(conn,
               "create table done as select g as writer, 0::bigint as n"
               " from generate_series(0, 3) g",
               ""));
    CHECK(says(conn, "create table history (writer int, n bigint, text text)", ""));
    CHECK(says(conn, "create unlogged table unlogged as select generate_series(1, 1000)", ""));
    CHECK(says(conn, "create database other", ""));
    CHECK(says(conn, "select slot_name from pg_create_physical_replication_slot('mine')", "mine"));
    stopping = false;
    for (long i = 0; i < WRITERS; i++) {
        acknowledged[i] = 0;
        CHECK(pthread_create(&threads[i], NULL, writer, (void *)i) == 0);
    }
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < WRITERS; i++)
            while ((least[round][i] = acknowledged[i]) < 100 * (round + 1))
                usleep(1000);
        snprintf(copy, sizeof(copy), "%s-%d", path, round);
        CHECK(calf_snapshot(db, copy, &err) == CALF_OK);
    }
    stopping = true;
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    stock_opens(copy);
    CHECK(says(conn, "select string_agg(slot_name, ',') from pg_replication_slots", "mine"));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    for (int round = 0; round < 2; round++) {
        snprintf(copy, sizeof(copy), "%s-%d", path, round);
        holds(copy, least[round]);
        discard(copy);
    }
}

/* ---- refusals and failures --------------------------------------------------------------- */

static void wrong_use(void)
{
    struct calf_options o = {
        .size = sizeof(o),
        .settings = (const char *const[]){"wal_level=minimal", "max_wal_senders=0", NULL}};
    char source[4096], to[4096], inner[4200], sql[4300];
    calf_db *db, *closed;
    PGconn *conn;
    struct stat st;

    snprintf(source, sizeof(source), "%s/source", scratch);
    snprintf(to, sizeof(to), "%s/to", scratch);
    CHECK(calf_snapshot(NULL, to, &err) == CALF_MISUSE && *err.text);
    CHECK(calf_open(source, NULL, &db, &err) == CALF_OK);
    CHECK(calf_snapshot(db, NULL, &err) == CALF_MISUSE && *err.text);
    CHECK(calf_snapshot(db, "", &err) == CALF_MISUSE);
    CHECK(calf_snapshot(db, "/proc/nothing/here", &err) == CALF_ACCESS);
    CHECK(strstr(err.text, "/proc/nothing/here"));
    CHECK(calf_snapshot(db, "/etc/passwd", &err) == CALF_ACCESS);
    CHECK(calf_snapshot(db, source, &err) == CALF_MISUSE && strstr(err.text, "inside"));
    snprintf(inner, sizeof(inner), "%s/base/inner", source);
    CHECK(calf_snapshot(db, inner, &err) == CALF_MISUSE && stat(inner, &st) < 0);
    CHECK(mkdir(to, 0755) == 0);
    touch(to, "mine");
    CHECK(calf_snapshot(db, to, &err) == CALF_FOREIGN && exists(to, "mine"));
    CHECK(calf_clone(source, to, &err) == CALF_HELD && strstr(err.text, "calf_snapshot()"));
    snprintf(inner, sizeof(inner), "%s/mine", to);
    CHECK(unlink(inner) == 0);
    CHECK(calf_snapshot(db, to, &err) == CALF_OK && stat(to, &st) == 0); /* into an empty one */
    CHECK((st.st_mode & 0777) == 0700);
    closed = db;
    CHECK(calf_open(to, NULL, &db, &err) == CALF_OK); /* and what is open is not written over */
    CHECK(calf_snapshot(closed, to, &err) == CALF_HELD);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    CHECK(calf_close(closed, CALF_FAST, &err) == CALF_OK);
    CHECK(calf_snapshot(closed, to, &err) == CALF_MISUSE);

    CHECK(calf_clone(NULL, to, &err) == CALF_MISUSE && calf_clone(to, "", &err) == CALF_MISUSE);
    CHECK(calf_clone(in_scratch("absent"), to, &err) == CALF_ACCESS && strstr(err.text, "absent"));
    CHECK(calf_clone("/etc", in_scratch("etc"), &err) == CALF_FOREIGN && strstr(err.text, "/etc"));
    CHECK(!exists(scratch, "etc"));
    CHECK(calf_clone(source, to, &err) == CALF_FOREIGN && strstr(err.text, "not empty"));
    CHECK(calf_clone(source, source, &err) == CALF_MISUSE);

    /* a copy that does not get to its end leaves nothing */
    snprintf(inner, sizeof(inner), "%s/base/loop", source);
    CHECK(symlink("loop", inner) == 0);
    CHECK(calf_clone(source, in_scratch("half"), &err) == CALF_ACCESS);
    CHECK(strstr(err.text, "base/loop") && !exists(scratch, "half"));
    CHECK(calf_open(source, NULL, &db, &err) == CALF_OK);
    CHECK(mkdir(in_scratch("half"), 0700) == 0);
    CHECK(calf_snapshot(db, in_scratch("half"), &err) == CALF_ACCESS);
    CHECK(strstr(err.text, "base/loop") && rmdir(in_scratch("half")) == 0); /* it was there */
    conn = connect_to(calf_dsn(db));
    CHECK(says(conn, "select count(*) from pg_replication_slots", "0"));
    CHECK(unlink(inner) == 0);

    /* tablespaces */
    snprintf(inner, sizeof(inner), "%s/space", scratch);
    CHECK(mkdir(inner, 0700) == 0);
    snprintf(sql, sizeof(sql), "create tablespace space location '%s'", inner);
    CHECK(says(conn, sql, ""));
    CHECK(calf_snapshot(db, in_scratch("half"), &err) == CALF_MISUSE && strstr(err.text, inner));
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    CHECK(calf_clone(source, in_scratch("half"), &err) == CALF_MISUSE && strstr(err.text, inner));
    CHECK(!exists(scratch, "half"));

    /* where PostgreSQL cannot */
    CHECK(calf_open(to, &o, &db, &err) == CALF_OK);
    CHECK(calf_snapshot(db, in_scratch("half"), &err) == CALF_FAILED);
    CHECK(strstr(err.text, "wal_level") && !exists(scratch, "half"));
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
}

static void interrupted(void)
{
    const char *left = in_scratch("left");
    calf_db *db, *temporary;

    CHECK(mkdir(left, 0700) == 0);
    touch(left, "calf.copying");
    touch(left, "PG_VERSION");
    CHECK(calf_open(left, NULL, &db, &err) == CALF_FOREIGN && strstr(err.text, left));
    CHECK(calf_clone(left, in_scratch("more"), &err) == CALF_FOREIGN && !exists(scratch, "more"));
    CHECK(calf_open(NULL, NULL, &temporary, &err) == CALF_OK);
    CHECK(calf_snapshot(temporary, left, &err) == CALF_OK && !exists(left, "calf.copying"));
    CHECK(calf_close(temporary, CALF_FAST, &err) == CALF_OK);
    CHECK(calf_open(left, NULL, &db, &err) == CALF_OK);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
}

static _Atomic int done;

/* The database is closed while it is copied: an error or a whole copy, and an end. */
static void *copies(void *db)
{
    struct calf_error own;
    int rc = CALF_OK;

    for (int i = 0; rc == CALF_OK; i++) {
        char path[4096];
        calf_db *copy;

        snprintf(path, sizeof(path), "%s/closing%d", scratch, i);
        rc = calf_snapshot(db, path, &own);
        if (rc == CALF_OK) {
            CHECK(calf_open(path, NULL, &copy, &own) == CALF_OK);
            CHECK(calf_close(copy, CALF_FAST, &own) == CALF_OK);
            discard(path);
            done++;
        } else {
            CHECK(*own.text && access(path, F_OK) < 0);
        }
    }
    return NULL;
}

static void closed_meanwhile(void)
{
    pthread_t thread;
    calf_db *db;

    CHECK(calf_open(NULL, NULL, &db, &err) == CALF_OK);
    CHECK(pthread_create(&thread, NULL, copies, db) == 0);
    while (done < 2)
        usleep(1000);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    pthread_join(thread, NULL);
}

static void clones(void)
{
    static const char own[] = "select system_identifier::text from pg_control_system()";
    char from[4096], to[4096], id[64];

    snprintf(from, sizeof(from), "%s/from", scratch);
    for (int mode = CALF_FAST; mode <= CALF_IMMEDIATE; mode += CALF_IMMEDIATE) {
        calf_db *db;
        PGconn *conn;

        CHECK(calf_open(from, NULL, &db, &err) == CALF_OK);
        conn = connect_to(calf_dsn(db));
        CHECK(says(conn, "create table if not exists t (n int)", ""));
        CHECK(says(conn, "insert into t values (1)", ""));
        CHECK(says(conn, "create unlogged table if not exists u as select 1 as n", ""));
        snprintf(id, sizeof(id), "%s", ask(conn, own));
        PQfinish(conn);
        CHECK(calf_close(db, mode, &err) == CALF_OK);
        snprintf(to, sizeof(to), "%s/clone%d", scratch, mode);
        CHECK(calf_clone(from, to, &err) == CALF_OK);
        for (int i = 0; i < 2; i++) { /* both go on, each for itself */
            CHECK(calf_open(i ? from : to, NULL, &db, &err) == CALF_OK);
            conn = connect_to(calf_dsn(db));
            CHECK(says(conn, "select count(*) from t", mode == CALF_FAST ? "1" : "2"));
            CHECK(says(conn, "select count(*) from u", mode == CALF_FAST ? "1" : "0"));
            CHECK(says(conn, own, id));
            if (!i)
                CHECK(says(conn, "insert into t values (2)", ""));
            PQfinish(conn);
            CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
        }
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    scratch = argv[1];
    wrong_use();
    interrupted();
    under_writers(CALF_DURABLE);
    under_writers(CALF_NONE);
    closed_meanwhile();
    clones();
    return 0;
}

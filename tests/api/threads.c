/*
 * threads.c - many threads open, query, cancel, listen, copy and close the same and different
 * databases
 *
 * Every thread does things at random for SECONDS (or $CALF_THREADS_SECONDS, or 5).  The seed is
 * printed: with it every thread does the same things again, not at the same time.
 *
 * usage: threads DIR [SECONDS [SEED]]
 */
#include "api_test.h"

#include <pthread.h>
#include <time.h>

#define THREADS 32
#define DIRS 4

static char dirs[DIRS][4096];
static unsigned seed;

static time_t end;
static _Atomic int did;

static void query(calf_db *db)
{
    PGconn *conn = connect_to(calf_dsn(db));

    CHECK(says(conn, "select count(*) from pg_class where relname = 'pg_class'", "1"));
    PQfinish(conn);
}

/* Another thread's last handle may end such a connection at any time. */
static void on_demand(const char *dir)
{
    char dsn[4200];
    PGconn *conn;

    snprintf(dsn, sizeof(dsn), "host=calf:%s", dir);
    conn = PQconnectdb(dsn);
    if (PQstatus(conn) == CONNECTION_OK)
        PQclear(PQexec(conn, "select 6 * 7"));
    PQfinish(conn);
}

/* A cancel from this thread of what the session does. */
static void cancel(calf_db *db)
{
    PGconn *conn = connect_to(calf_dsn(db));
    PGcancel *request = PQgetCancel(conn);
    char text[256];
    PGresult *res;

    CHECK(PQsendQuery(conn, "select pg_sleep(100)"));
    while (PQconsumeInput(conn) && PQisBusy(conn)) { /* until it is heard */
        CHECK(PQcancel(request, text, sizeof(text)));
        usleep(2000);
    }
    res = PQgetResult(conn);
    CHECK(strstr(PQresultErrorMessage(res), "canceling statement"));
    PQclear(res);
    PQfreeCancel(request);
    PQfinish(conn);
}

static void listen_at(calf_db *db, const char *dir, size_t me)
{
    struct calf_error own;
    char socket_dir[4200];

    snprintf(socket_dir, sizeof(socket_dir), "%s-s%zu", dir, me);
    CHECK(calf_listen(db, socket_dir, &own) == CALF_OK);
    CHECK(calf_healthy(db) && calf_uri(db));
    CHECK(calf_unlisten(db, socket_dir, &own) == CALF_OK);
}

static void wire(calf_db *db)
{
    static const char startup[] = "\0\0\0\x29\0\3\0\0user\0postgres\0database\0postgres\0";
    struct calf_error own;
    char buf[4096] = "";
    size_t in = sizeof(startup), out = 0, n;
    calf_wire *w;

    CHECK(calf_wire_open(db, &w, &own) == CALF_OK);
    CHECK(calf_wire_exchange(w, startup, &in, NULL, NULL, -1, &own) == CALF_OK);
    CHECK(in == sizeof(startup));
    do {
        n = sizeof(buf) - out;
        CHECK(calf_wire_exchange(w, NULL, NULL, buf + out, &n, -1, &own) == CALF_OK);
        out += n;
    } while (out < 6 || memcmp(buf + out - 6, "Z\0\0\0\5I", 6) != 0);
    CHECK(calf_wire_close(w, &own) == CALF_OK);
}

static void copy(calf_db *db, const char *dir, size_t me)
{
    struct calf_error own;
    char path[4200], rm[4300];
    int rc;

    snprintf(path, sizeof(path), "%s-c%zu", dir, me);
    rc = db ? calf_snapshot(db, path, &own) : calf_clone(dir, path, &own);
    if (!db && rc == CALF_HELD)
        return;
    CHECK(rc == CALF_OK);
    snprintf(rm, sizeof(rm), "rm -r '%s'", path);
    CHECK(system(rm) == 0);
}

static void *worker(void *arg)
{
    size_t me = (size_t)arg;
    unsigned state = seed + (unsigned)me * 7919;
    struct calf_error own;

    while (time(NULL) < end) {
        struct calf_options o = {.size = sizeof(o), .durability = rand_r(&state) % 3};
        const char *dir = dirs[rand_r(&state) % DIRS];
        int what = rand_r(&state) % 40;
        calf_db *db = NULL;

        o.linger_ms = rand_r(&state) % 4 ? 0 : rand_r(&state) % 30;
        if (what == 0) {
            on_demand("");
        } else if (what < 8) {
            on_demand(dir);
        } else if (what == 8) {
            copy(NULL, dir, me);
        } else {
            enum calf_close_mode mode = rand_r(&state) % 8 ? CALF_FAST : CALF_IMMEDIATE;
            int rc;

            /* a clone has the lock while it is made */
            while ((rc = calf_open(what == 9 ? NULL : dir, &o, &db, &own)) == CALF_HELD)
                usleep(1000);
            if (rc != CALF_OK)
                err = own; /* for CHECK */
            CHECK(rc == CALF_OK);
            if (what < 18)
                query(db);
            else if (what < 24)
                cancel(db);
            else if (what < 30)
                listen_at(db, dir, me);
            else if (what < 39)
                wire(db);
            else
                copy(db, dir, me);
            CHECK(calf_close(db, mode, &own) == CALF_OK);
        }
        did++;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *seconds = getenv("CALF_THREADS_SECONDS");
    pthread_t threads[THREADS];
    int fds, tasks;

    CHECK(argc >= 2);
    seconds = argc > 2 ? argv[2] : seconds ? seconds : "5";
    seed = argc > 3 ? (unsigned)atoi(argv[3]) : (unsigned)time(NULL);
    for (int i = 0; i < DIRS; i++) {
        calf_db *db;

        snprintf(dirs[i], sizeof(dirs[i]), "%s/d%d", argv[1], i);
        CHECK(calf_open(dirs[i], NULL, &db, &err) == CALF_OK);
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    }
    fds = entries("/proc/self/fd");
    tasks = entries("/proc/self/task"); /* a sanitizer has one of its own */
    end = time(NULL) + atoi(seconds);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    fprintf(stderr, "seed %u: %d things in %s s\n", seed, did, seconds);
    CHECK(did > THREADS);
    while (entries("/proc/self/task") > tasks) /* until nothing lingers */
        usleep(1000);
    CHECK(entries("/proc/self/fd") == fds);
    return 0;
}

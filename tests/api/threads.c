/*
 * threads.c - many threads open, query, cancel, listen and close the same and different databases
 *
 * The seed is printed; "threads DIR SEED" repeats a run.  Every thread does ROUNDS things at
 * random.
 */
#include "api_test.h"

#include <pthread.h>
#include <time.h>

#define THREADS 16
#define ROUNDS 12
#define DIRS 3

static char dirs[DIRS][4096];
static unsigned seed;

static void *worker(void *arg)
{
    unsigned state = seed + (unsigned)(size_t)arg * 7919, dir;
    char dsn[4200], socket_dir[4200];

    for (int i = 0; i < ROUNDS; i++) {
        calf_db *db = NULL;
        PGconn *conn;

        dir = rand_r(&state) % DIRS;
        switch (rand_r(&state) % 4) {
        case 0: /* a handle, a query, and the connection is closed first */
            CHECK(calf_open(dirs[dir], NULL, &db, &err) == CALF_OK);
            conn = connect_to(calf_dsn(db));
            CHECK(says(conn, "select count(*) from pg_class where relname = 'pg_class'", "1"));
            PQfinish(conn);
            CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
            break;
        case 1: /* on demand */
            snprintf(dsn, sizeof(dsn), "host=calf:%s", dirs[dir]);
            conn = PQconnectdb(dsn); /* another thread's last handle may end it at any time */
            if (PQstatus(conn) == CONNECTION_OK)
                PQclear(PQexec(conn, "select 6 * 7"));
            PQfinish(conn);
            break;
        case 2: /* a cancel from this thread of what the session does */
            CHECK(calf_open(dirs[dir], NULL, &db, &err) == CALF_OK);
            conn = connect_to(calf_dsn(db));
            CHECK(PQsendQuery(conn, "select pg_sleep(100)"));
            PGcancel *cancel = PQgetCancel(conn);
            char text[256];
            PGresult *res = NULL;
            while (PQconsumeInput(conn) && PQisBusy(conn)) { /* until it is heard */
                CHECK(PQcancel(cancel, text, sizeof(text)));
                usleep(2000);
            }
            res = PQgetResult(conn);
            CHECK(strstr(PQresultErrorMessage(res), "canceling statement"));
            PQclear(res);
            PQfreeCancel(cancel);
            PQfinish(conn);
            CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
            break;
        case 3:
            CHECK(calf_open(dirs[dir], NULL, &db, &err) == CALF_OK);
            snprintf(socket_dir, sizeof(socket_dir), "%s-s%zu", dirs[dir], (size_t)arg);
            CHECK(calf_listen(db, socket_dir, &err) == CALF_OK);
            CHECK(calf_healthy(db) && calf_uri(db));
            CHECK(calf_unlisten(db, socket_dir, &err) == CALF_OK);
            CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
            break;
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    int fds;

    CHECK(argc >= 2);
    seed = argc > 2 ? (unsigned)atoi(argv[2]) : (unsigned)time(NULL);
    fprintf(stderr, "seed %u\n", seed);
    for (int i = 0; i < DIRS; i++) {
        calf_db *db;

        snprintf(dirs[i], sizeof(dirs[i]), "%s/d%d", argv[1], i);
        CHECK(calf_open(dirs[i], NULL, &db, &err) == CALF_OK);
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    }
    fds = entries("/proc/self/fd");
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, worker, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(entries("/proc/self/fd") == fds);
    CHECK(entries("/proc/self/task") == 3); /* ".", ".." and us */
    return 0;
}

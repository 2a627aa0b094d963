/* notify.c - LISTEN in one thread, NOTIFY in another: sessions of one database in one process */
#include <calf.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>

static calf_db *db;

static void *sender(void *arg)
{
    PGconn *conn = PQconnectdb(calf_dsn(db));

    for (int i = 1; i <= 3; i++) {
        char sql[64];

        snprintf(sql, sizeof(sql), "notify news, 'message %d'", i);
        PQclear(PQexec(conn, sql));
    }
    PQfinish(conn);
    return arg;
}

int main(int argc, char **argv)
{
    struct calf_error err;
    pthread_t thread;
    PGnotify *n;
    int seen = 0;

    if (calf_open(argc > 1 ? argv[1] : NULL, NULL, &db, &err) != CALF_OK)
        return fprintf(stderr, "%s\n", err.text), 1;
    PGconn *conn = PQconnectdb(calf_dsn(db));
    PQclear(PQexec(conn, "listen news"));
    if (pthread_create(&thread, NULL, sender, NULL) != 0)
        return 1;
    while (seen < 3) {
        struct pollfd fd = {PQsocket(conn), POLLIN, 0};

        if (poll(&fd, 1, 10000) <= 0 || !PQconsumeInput(conn))
            return fprintf(stderr, "no message came: %s\n", PQerrorMessage(conn)), 1;
        for (; (n = PQnotifies(conn)); seen++) {
            printf("%s: %s\n", n->relname, n->extra);
            PQfreemem(n);
        }
    }
    pthread_join(thread, NULL);
    PQfinish(conn);
    return calf_close(db, CALF_FAST, &err);
}

/*
 * listen.c - an open database behind sockets: who gets in, who stays, what is left
 *
 * usage: listen DIR
 */
#include "api_test.h"

#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
    char dir[4096], other[4096], path[4200], uri[8192], text[8300];
    calf_db *db;
    PGconn *in, *a, *b;
    struct stat st;
    FILE *f;

    CHECK(argc == 2 && calf_open(NULL, NULL, &db, &err) == CALF_OK);
    in = connect_to(calf_dsn(db));
    CHECK(!calf_uri(db));
    snprintf(dir, sizeof(dir), "%s/s 1", argv[1]); /* created */
    CHECK(calf_listen(db, dir, &err) == CALF_OK);
    CHECK(stat(dir, &st) == 0 && (st.st_mode & 0777) == 0700);
    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", dir);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    a = connect_to(calf_uri(db));
    CHECK(says(a, "select count(*) from pg_stat_activity where backend_type = 'client backend'",
               "2"));
    CHECK(calf_listen(db, dir, &err) == CALF_ACCESS && strstr(err.text, path)); /* taken */

    /* TCP: loopback, and only with a password */
    CHECK(calf_listen(db, "tcp:0", &err) == CALF_OK);
    snprintf(uri, sizeof(uri), "%s", calf_uri(db));
    CHECK(strncmp(uri, "postgresql://postgres@127.0.0.1:", 32) == 0);
    b = PQconnectdb(uri);
    CHECK(PQstatus(b) == CONNECTION_BAD && strstr(PQerrorMessage(b), "no password"));
    PQfinish(b);
    CHECK(says(in, "alter role postgres password 'secret'", ""));
    snprintf(text, sizeof(text), "%s?password=secret", uri);
    b = connect_to(text);
    CHECK(says(b, "select host(inet_client_addr())", "127.0.0.1"));
    snprintf(text, sizeof(text), "%s?password=wrong", uri);
    PGconn *c = PQconnectdb(text);
    CHECK(PQstatus(c) == CONNECTION_BAD && strstr(PQerrorMessage(c), "authentication failed"));
    PQfinish(c);

    /* NOTIFY from one to the other, and a cancel request through the socket */
    CHECK(says(a, "listen news", "") && says(b, "notify news, 'x'", ""));
    CHECK(says(a, "select 1", "1"));
    PGnotify *n = PQnotifies(a);
    CHECK(n && strcmp(n->extra, "x") == 0);
    PQfreemem(n);
    CHECK(PQsendQuery(b, "select pg_sleep(1000)"));
    for (int tries = 0; strcmp(ask(in, "select count(*) from pg_stat_activity where wait_event = "
                                       "'PgSleep'"),
                               "1") != 0;
         tries++)
        CHECK(tries < 1000 && usleep(10000) == 0);
    PGcancel *cancel = PQgetCancel(b);
    CHECK(PQcancel(cancel, text, 256));
    PQfreeCancel(cancel);
    PGresult *res = PQgetResult(b);
    CHECK(strstr(PQresultErrorMessage(res), "canceling statement"));
    PQclear(res);
    CHECK(!PQgetResult(b));

    /* who is in stays in */
    CHECK(calf_unlisten(db, "tcp:0", &err) == CALF_OK);
    snprintf(text, sizeof(text), "%s?password=secret", uri);
    c = PQconnectdb(text);
    CHECK(PQstatus(c) == CONNECTION_BAD);
    PQfinish(c);
    CHECK(says(b, "select 2", "2") && strstr(calf_uri(db), "host="));
    CHECK(calf_unlisten(db, NULL, &err) == CALF_OK && !calf_uri(db));
    CHECK(stat(path, &st) < 0 && says(a, "select 3", "3"));

    /* a dead server's socket is replaced, somebody's file is not */
    snprintf(other, sizeof(other), "%s/s2", argv[1]);
    CHECK(mkdir(other, 0700) == 0);
    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", other);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    CHECK(strlen(path) < sizeof(un.sun_path));
    memcpy(un.sun_path, path, strlen(path) + 1);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(dead, (struct sockaddr *)&un, sizeof(un)) == 0);
    close(dead);
    CHECK(calf_listen(db, other, &err) == CALF_OK);
    PQfinish(connect_to(calf_uri(db)));
    CHECK(calf_unlisten(db, other, &err) == CALF_OK);
    CHECK((f = fopen(path, "w")) && fputs("mine", f) >= 0 && fclose(f) == 0);
    CHECK(calf_listen(db, other, &err) == CALF_ACCESS && strstr(err.text, path));
    CHECK(stat(path, &st) == 0 && st.st_size == 4);

    /* closing ends what listens */
    CHECK(calf_listen(db, dir, &err) == CALF_OK &&
          calf_listen(db, "tcp:127.0.0.1:0", &err) == CALF_OK);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", dir);
    CHECK(stat(path, &st) < 0);
    PQfinish(in);
    PQfinish(a);
    PQfinish(b);
    return 0;
}

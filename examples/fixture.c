/* fixture.c - a hundred databases for a hundred tests: made from a template, used, dropped */
#include <calf.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void run(PGconn *conn, const char *sql)
{
    PGresult *res = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(res);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(conn));
        exit(1);
    }
    PQclear(res);
}

int main(void)
{
    struct timespec from, to;
    struct calf_error err;
    char text[256];
    calf_db *db;

    clock_gettime(CLOCK_MONOTONIC, &from);
    if (calf_open(NULL, NULL, &db, &err) != CALF_OK)
        return fprintf(stderr, "%s\n", err.text), 1;
    PGconn *admin = PQconnectdb(calf_dsn(db));
    run(admin, "create database prepared");
    snprintf(text, sizeof(text), "%s dbname=prepared", calf_dsn(db));
    PGconn *conn = PQconnectdb(text);
    run(conn, "create table t (id int primary key, name text)");
    run(conn, "insert into t select i, 'row ' || i from generate_series(1, 100) i");
    PQfinish(conn);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "create database test%d template prepared strategy file_copy",
                 i);
        run(admin, text);
        snprintf(text, sizeof(text), "%s dbname=test%d", calf_dsn(db), i);
        conn = PQconnectdb(text);
        run(conn, "delete from t where id > 50"); /* the test */
        PQfinish(conn);
        snprintf(text, sizeof(text), "drop database test%d with (force)", i);
        run(admin, text);
    }
    PQfinish(admin);
    calf_close(db, CALF_FAST, &err);
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("100 databases in %.2f s\n",
           to.tv_sec - from.tv_sec + (to.tv_nsec - from.tv_nsec) / 1e9);
    return 0;
}

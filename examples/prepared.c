/* prepared.c - a transaction with a prepared statement and binary parameters */
#include <arpa/inet.h>
#include <calf.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static PGresult *run(PGconn *conn, PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s", PQerrorMessage(conn));
        exit(1);
    }
    return res;
}

int main(int argc, char **argv)
{
    static const int lengths[1] = {sizeof(uint32_t)}, binary[1] = {1};
    struct calf_error err;
    calf_db *db;

    if (calf_open(argc > 1 ? argv[1] : NULL, NULL, &db, &err) != CALF_OK)
        return fprintf(stderr, "%s\n", err.text), 1;
    PGconn *conn = PQconnectdb(calf_dsn(db));
    PQclear(run(conn, PQexec(conn, "create table squares (n int primary key, square int)")));
    PQclear(run(conn, PQprepare(conn, "add", "insert into squares values ($1, $1::int * $1::int)",
                                1, NULL)));
    PQclear(run(conn, PQexec(conn, "begin")));
    for (uint32_t i = 1; i <= 1000; i++) {
        uint32_t wire = htonl(i);
        const char *values[1] = {(const char *)&wire};

        PQclear(run(conn, PQexecPrepared(conn, "add", 1, values, lengths, binary, 0)));
    }
    PQclear(run(conn, PQexec(conn, "commit")));
    PGresult *res = run(conn, PQexec(conn, "select sum(square) from squares"));
    printf("the first 1000 squares add up to %s\n", PQgetvalue(res, 0, 0));
    PQclear(res);
    PQfinish(conn);
    return calf_close(db, CALF_FAST, &err);
}

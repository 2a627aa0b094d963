/* hello.c - a database in ten lines: cc hello.c -lcalf && ./a.out */
#include <calf.h>
#include <libpq-fe.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct calf_error err;
    calf_db *db;

    if (calf_open(argc > 1 ? argv[1] : NULL, NULL, &db, &err) != CALF_OK)
        return fprintf(stderr, "%s\n", err.text), 1;
    PGconn *conn = PQconnectdb(calf_dsn(db));
    PGresult *res = PQexec(conn, "select 'hello from ' || split_part(version(), ' on ', 1)");
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        return fprintf(stderr, "%s", PQerrorMessage(conn)), 1;
    puts(PQgetvalue(res, 0, 0));
    PQclear(res);
    PQfinish(conn);
    return calf_close(db, CALF_FAST, &err);
}

/* copy_csv.c - load a CSV with COPY, a line at a time: copy_csv DIR <file.csv (id,name) */
#include <calf.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct calf_error err;
    char line[4096];
    calf_db *db;

    if (calf_open(argc > 1 ? argv[1] : NULL, NULL, &db, &err) != CALF_OK)
        return fprintf(stderr, "%s\n", err.text), 1;
    PGconn *conn = PQconnectdb(calf_dsn(db));
    PQclear(PQexec(conn, "create table if not exists people (id int, name text)"));
    PGresult *res = PQexec(conn, "copy people from stdin (format csv)");
    if (PQresultStatus(res) != PGRES_COPY_IN)
        return fprintf(stderr, "%s", PQerrorMessage(conn)), 1;
    PQclear(res);
    while (fgets(line, sizeof(line), stdin))
        PQputCopyData(conn, line, (int)strlen(line));
    PQputCopyEnd(conn, NULL);
    res = PQgetResult(conn); /* says whether all lines were good: all are in, or none */
    if (PQresultStatus(res) != PGRES_COMMAND_OK)
        return fprintf(stderr, "%s", PQerrorMessage(conn)), 1;
    printf("%s lines\n", PQcmdTuples(res));
    PQclear(res);
    PQfinish(conn);
    return calf_close(db, CALF_FAST, &err);
}

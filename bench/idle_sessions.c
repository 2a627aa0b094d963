/*
 * idle_sessions.c - sessions that have worked and now wait, for measuring their memory
 *
 *   idle_sessions N
 *
 * Opens N sessions to the server of $PGHOST, lets each run a query and one that
 * reads most catalogs, prints "ready", and keeps them until its input ends.
 */
#include <libpq-fe.h>

#include <stdio.h>
#include <stdlib.h>

static const char *const work[] = {
    "select abalance from pgbench_accounts where aid = 1",
    "select count(*) from information_schema.columns",
    "select count(*) from pg_class c join pg_attribute a on a.attrelid = c.oid"
    " join pg_type t on t.oid = a.atttypid left join pg_index i on i.indexrelid = c.oid"
    " where pg_table_is_visible(c.oid)",
};

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 1;

    for (int i = 0; i < n; i++) {
        PGconn *c = PQconnectdb("");

        for (size_t w = 0; w < sizeof(work) / sizeof(work[0]); w++) {
            PGresult *r = PQexec(c, work[w]);

            if (PQresultStatus(r) != PGRES_TUPLES_OK)
                return fputs(PQerrorMessage(c), stderr), 1;
            PQclear(r);
        }
    }
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}

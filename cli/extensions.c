/*
 * extensions.c - `calf extensions`: what CREATE EXTENSION can find
 */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The widest value of a column, or `least`. */
static int width_of(PGresult *res, int column, int least)
{
    for (int i = 0; i < PQntuples(res); i++)
        if (PQgetlength(res, i, column) > least)
            least = PQgetlength(res, i, column);
    return least;
}

static void print_table(PGresult *res, bool installed)
{
    int name = width_of(res, 0, 4), version = width_of(res, 1, 7), indent;

    indent = printf("%-*s  %-*s  ", name, "name", version, "version");
    if (installed)
        indent += printf("%-9s  ", "installed");
    puts("what it is");
    for (int i = 0; i < PQntuples(res); i++) {
        printf("%-*s  %-*s  ", name, PQgetvalue(res, i, 0), version, PQgetvalue(res, i, 1));
        if (installed)
            printf("%-9s  ", PQgetvalue(res, i, 2));
        if (PQgetlength(res, i, 3))
            print_text(PQgetvalue(res, i, 3), indent, 80);
        else
            putchar('\n');
    }
}

static void print_value(PGresult *res, int row, int column, const char *name)
{
    printf("%s\"%s\": ", column ? ", " : "", name);
    if (PQgetisnull(res, row, column))
        printf("null");
    else
        print_json(PQgetvalue(res, row, column));
}

static void print_list(PGresult *res)
{
    static const char *const names[] = {"name", "version", "installed", "comment"};

    putchar('[');
    for (int i = 0; i < PQntuples(res); i++) {
        printf("%s{", i ? ",\n " : "");
        for (int column = 0; column < 4; column++)
            print_value(res, i, column, names[column]);
        putchar('}');
    }
    puts("]");
}

int command_extensions(struct call *c)
{
    const char *data = getenv("CALF_DATA");
    bool named = c->nwords > 0 || (data && *data);
    struct target t = {.db = NULL};
    struct calf_error err;
    PGresult *res = NULL;
    PGconn *conn;
    int rc = named ? target_name(&t, c->nwords ? c->words[0] : NULL) : 0;

    block_signals();
    if (rc == 0 && named)
        rc = target_open(&t, c, false);
    else if (rc == 0 && calf_open(NULL, NULL, &t.db, &err) != CALF_OK)
        rc = refuse_error(&err);
    else if (rc == 0)
        snprintf(t.uri, sizeof(t.uri), "%s", calf_dsn(t.db));
    if (rc != 0)
        return rc;
    conn = target_connect(&t);
    if (conn)
        res = PQexec(conn, "select name, default_version, installed_version, comment from "
                           "pg_available_extensions order by 1");
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        rc = conn ? refuse("cannot read the extensions: %s", PQerrorMessage(conn)) : 1;
    else if (c->value[OPTION_JSON])
        print_list(res);
    else
        print_table(res, named);
    PQclear(res);
    PQfinish(conn);
    target_close(&t);
    return rc;
}

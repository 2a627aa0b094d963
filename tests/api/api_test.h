/* api_test.h - what the tests of calf.h share */
#include <calf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #x, err.text);                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static struct calf_error err;

static inline PGconn *connect_to(const char *dsn)
{
    PGconn *conn = PQconnectdb(dsn);

    if (PQstatus(conn) != CONNECTION_OK) {
        fprintf(stderr, "%s: %s\n", dsn, PQerrorMessage(conn));
        exit(1);
    }
    return conn;
}

/* The one value of a query; static memory, one per thread. */
static inline const char *ask(PGconn *conn, const char *sql)
{
    static __thread char text[8192];
    PGresult *res = PQexec(conn, sql);

    if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1)
        snprintf(text, sizeof(text), "%s", PQgetvalue(res, 0, 0));
    else if (PQresultStatus(res) == PGRES_COMMAND_OK)
        text[0] = '\0';
    else
        snprintf(text, sizeof(text), "error: %s", PQerrorMessage(conn));
    PQclear(res);
    return text;
}

static inline bool says(PGconn *conn, const char *sql, const char *answer)
{
    const char *got = ask(conn, sql);

    if (strcmp(got, answer) != 0)
        fprintf(stderr, "%s\n  gave: %s\n  not:  %s\n", sql, got, answer);
    return strcmp(got, answer) == 0;
}

static inline int entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

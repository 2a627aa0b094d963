/*
 * libpq.c URI - a program that was built against Debian's libpq, which is two versions older
 *
 * What libpq has beyond "send a query, get rows": binary parameters, pipelines, rows one by
 * one, COPY without blocking, cancelling, notifications, large objects.
 */
#include <libpq-fe.h>
#include <libpq/libpq-fs.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 200000
#define SOON_MS 10000

static PGconn *conn;

#define CHECK(x)                                                                                   \
    ((x) ? (void)0                                                                                 \
         : (fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, PQerrorMessage(conn)),      \
            exit(1)))

static PGresult *query(const char *text, ExecStatusType status)
{
    PGresult *res = PQexec(conn, text);

    CHECK(PQresultStatus(res) == status);
    return res;
}

static void command(const char *text)
{
    PQclear(query(text, PGRES_COMMAND_OK));
}

/* Until the socket can be read, or written if `writing`; then whatever came is taken in. */
static void wait_socket(bool writing)
{
    struct pollfd p = {.fd = PQsocket(conn), .events = POLLIN | (writing ? POLLOUT : 0)};

    CHECK(poll(&p, 1, SOON_MS) == 1);
    if (p.revents & POLLIN)
        CHECK(PQconsumeInput(conn));
}

static void binary_parameters(void)
{
    uint32_t n = htonl(41);
    const char bytes[] = {0, 1, (char)0xff};
    const char *values[] = {(char *)&n, bytes, NULL};
    PGresult *res;

    PQclear(PQprepare(conn, "p", "select $1::int + 1, $2::bytea, $3::text", 0, NULL));
    for (int i = 0; i < 3; i++) {
        res =
            PQexecPrepared(conn, "p", 3, values, (int[]){4, sizeof(bytes), 0}, (int[]){1, 1, 0}, 1);
        CHECK(PQresultStatus(res) == PGRES_TUPLES_OK);
        CHECK(ntohl(*(uint32_t *)PQgetvalue(res, 0, 0)) == 42);
        CHECK(PQgetlength(res, 0, 1) == sizeof(bytes));
        CHECK(memcmp(PQgetvalue(res, 0, 1), bytes, sizeof(bytes)) == 0 && PQgetisnull(res, 0, 2));
        PQclear(res);
    }
}

static void pipeline(void)
{
    int sum = 0;

    CHECK(PQenterPipelineMode(conn) == 1);
    for (int i = 0; i < 1000; i++) {
        char text[12];
        const char *value = text;

        snprintf(text, sizeof(text), "%d", i);
        CHECK(PQsendQueryParams(conn, i == 500 ? "select 1 / ($1::int - 500)" : "select $1::int", 1,
                                NULL, &value, NULL, NULL, 0));
        if (i % 100 == 99)
            CHECK(PQpipelineSync(conn) == 1);
    }
    for (int i = 0; i < 1000; i++) {
        PGresult *res = PQgetResult(conn);
        /* an error skips what is left until the next synchronisation */
        ExecStatusType want = i == 500             ? PGRES_FATAL_ERROR
                              : i > 500 && i < 600 ? PGRES_PIPELINE_ABORTED
                                                   : PGRES_TUPLES_OK;

        CHECK(PQresultStatus(res) == want);
        if (want == PGRES_TUPLES_OK)
            sum += atoi(PQgetvalue(res, 0, 0));
        PQclear(res);
        CHECK(PQgetResult(conn) == NULL);
        if (i % 100 == 99) {
            res = PQgetResult(conn);
            CHECK(PQresultStatus(res) == PGRES_PIPELINE_SYNC);
            PQclear(res);
        }
    }
    CHECK(PQexitPipelineMode(conn) == 1);
    CHECK(sum == 999 * 1000 / 2 - (500 + 599) * 100 / 2);
}

static void row_by_row(void)
{
    PGresult *res;
    int64_t sum = 0;

    CHECK(PQsendQuery(conn, "select i, repeat('x', 100) from generate_series(1, 200000) i"));
    CHECK(PQsetSingleRowMode(conn) == 1);
    while ((res = PQgetResult(conn))) {
        if (PQresultStatus(res) == PGRES_SINGLE_TUPLE)
            sum += atoi(PQgetvalue(res, 0, 0));
        else
            CHECK(PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 0);
        PQclear(res);
    }
    CHECK(sum == (int64_t)ROWS * (ROWS + 1) / 2);
}

static void copy_without_blocking(void)
{
    PGresult *res;
    char *line;
    int64_t sum = 0, n;

    command("create temp table c (id int, v text)");
    PQclear(query("copy c from stdin", PGRES_COPY_IN));
    CHECK(PQsetnonblocking(conn, 1) == 0);
    for (int i = 1; i <= ROWS; i++) {
        char row[160];
        int size = snprintf(row, sizeof(row), "%d\t%0120d\n", i, i), rc;

        while ((rc = PQputCopyData(conn, row, size)) == 0)
            wait_socket(true);
        CHECK(rc == 1);
    }
    while ((n = PQputCopyEnd(conn, NULL)) == 0)
        wait_socket(true);
    CHECK(n == 1);
    while ((n = PQflush(conn)) == 1)
        wait_socket(true);
    CHECK(n == 0);
    CHECK(PQsetnonblocking(conn, 0) == 0);
    res = PQgetResult(conn);
    CHECK(PQresultStatus(res) == PGRES_COMMAND_OK && atoi(PQcmdTuples(res)) == ROWS);
    PQclear(res);
    CHECK(PQgetResult(conn) == NULL);

    PQclear(query("copy (select id from c where v = lpad(id::text, 120, '0')) to stdout",
                  PGRES_COPY_OUT));
    while ((n = PQgetCopyData(conn, &line, 1)) >= 0) {
        if (n == 0) {
            wait_socket(false);
            continue;
        }
        sum += atoi(line);
        PQfreemem(line);
    }
    CHECK(n == -1 && sum == (int64_t)ROWS * (ROWS + 1) / 2);
    PQclear(PQgetResult(conn));
    CHECK(PQgetResult(conn) == NULL);

    PQclear(query("copy c from stdin", PGRES_COPY_IN)); /* and one that the client takes back */
    CHECK(PQputCopyData(conn, "1\tno\n", 5) == 1 && PQputCopyEnd(conn, "never mind") == 1);
    res = PQgetResult(conn);
    CHECK(PQresultStatus(res) == PGRES_FATAL_ERROR &&
          strstr(PQresultErrorMessage(res), "never mind"));
    PQclear(res);
    CHECK(PQgetResult(conn) == NULL);
}

static bool begun;

static void on_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
    begun = true;
}

static void cancel(void)
{
    PGcancel *c = PQgetCancel(conn);
    char why[256];
    PGresult *res;

    PQsetNoticeReceiver(conn, on_notice, NULL);
    for (int i = 0; i < 10; i++) {
        CHECK(
            PQsendQuery(conn, "do $$ begin raise notice 'begun'; perform pg_sleep(1000); end $$"));
        for (begun = false; !begun; CHECK(PQisBusy(conn)))
            wait_socket(false);
        CHECK(PQcancel(c, why, sizeof(why)));
        res = PQgetResult(conn);
        CHECK(strcmp(PQresultErrorField(res, PG_DIAG_SQLSTATE), "57014") == 0);
        PQclear(res);
        CHECK(PQgetResult(conn) == NULL);
    }
    PQfreeCancel(c);
}

static void notifications(const char *uri)
{
    PGconn *other = PQconnectdb(uri);
    PGnotify *note;

    command("listen news");
    PQclear(PQexec(other, "select pg_notify('news', repeat('n', 7999))"));
    while (!(note = PQnotifies(conn)))
        wait_socket(false);
    CHECK(strcmp(note->relname, "news") == 0 && strlen(note->extra) == 7999);
    CHECK(note->be_pid == PQbackendPID(other) && note->be_pid != PQbackendPID(conn));
    PQfreemem(note);
    PQfinish(other);
}

static void large_object(void)
{
    char in[100000], out[sizeof(in)];
    size_t got = 0;
    Oid oid;
    int fd, n;

    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (char)(i * 7);
    command("begin");
    oid = lo_creat(conn, INV_READ | INV_WRITE);
    CHECK(oid && (fd = lo_open(conn, oid, INV_READ | INV_WRITE)) >= 0);
    CHECK(lo_write(conn, fd, in, sizeof(in)) == sizeof(in));
    CHECK(lo_lseek64(conn, fd, 0, SEEK_SET) == 0);
    while ((n = lo_read(conn, fd, out + got, sizeof(out) - got)) > 0)
        got += (size_t)n;
    CHECK(got == sizeof(in) && memcmp(in, out, sizeof(in)) == 0);
    CHECK(lo_close(conn, fd) == 0 && lo_unlink(conn, oid) == 1);
    command("commit");
}

int main(int argc, char **argv)
{
    const char *uri = argc == 2 ? argv[1] : "";

    conn = PQconnectdb(uri);
    CHECK(PQstatus(conn) == CONNECTION_OK);
    CHECK(PQsslInUse(conn) && PQserverVersion(conn) / 10000 > PQlibVersion() / 10000);
    binary_parameters();
    pipeline();
    row_by_row();
    copy_without_blocking();
    cancel();
    notifications(uri);
    large_object();
    PQfinish(conn);
    return 0;
}

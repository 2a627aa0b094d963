/*
 * wire.c - the protocol by hand: startup, queries, COPY; small buffers, both directions full, the
 * session's end, the database's end; wrong use
 *
 * usage: wire DIR
 */
#include "api_test.h"

#include <arpa/inet.h>
#include <pthread.h>

static char *answer; /* what came since the last request */
static size_t answer_size;

static bool ready(void) /* does it end with ReadyForQuery, idle? */
{
    return answer_size >= 6 && memcmp(answer + answer_size - 6, "Z\0\0\0\5I", 6) == 0;
}

/* How many messages of that type came; *first is the content of the first one. */
static int messages(char type, const char **first)
{
    int n = 0;
    uint32_t len;

    for (size_t at = 0; at + 5 <= answer_size; at += 1 + ntohl(len)) {
        memcpy(&len, answer + at + 1, 4);
        if (answer[at] == type && n++ == 0 && first)
            *first = answer + at + 5;
    }
    return n;
}

/* Sends all and receives until ReadyForQuery, at most `room` bytes at once; CALF_OK or the end. */
static int talk(calf_wire *w, const char *in, size_t size, size_t room)
{
    size_t at = 0;

    answer_size = 0;
    while (at < size || !ready()) {
        size_t more = size - at, got = room;
        int rc;

        answer = realloc(answer, answer_size + room);
        CHECK(answer);
        rc = calf_wire_exchange(w, in + at, &more, answer + answer_size, &got, 30000, &err);
        if (rc != CALF_OK)
            return rc;
        CHECK(more || got); /* else it was the timeout */
        at += more;
        answer_size += got;
    }
    return CALF_OK;
}

static size_t put(char *to, char type, const char *text, size_t len)
{
    uint32_t size = htonl((uint32_t)len + 4);

    to[0] = type;
    memcpy(to + 1, &size, 4);
    memcpy(to + 5, text, len);
    return len + 5;
}

static int query(calf_wire *w, const char *sql, size_t room)
{
    char buf[1024];

    return talk(w, buf, put(buf, 'Q', sql, strlen(sql) + 1), room);
}

static calf_wire *begin(calf_db *db)
{
    static const char startup[] = "\0\0\0\x29\0\3\0\0user\0postgres\0database\0postgres\0";
    const char *content = NULL;
    calf_wire *w;

    _Static_assert(sizeof(startup) == 0x29, "the packet's length is in it");
    CHECK(calf_wire_open(db, &w, &err) == CALF_OK && w);
    CHECK(talk(w, startup, sizeof(startup), 4096) == CALF_OK);
    CHECK(messages('R', &content) == 1 && memcmp(content, "\0\0\0\0", 4) == 0); /* trust */
    CHECK(messages('K', NULL) == 1 && messages('S', NULL) > 5);
    return w;
}

/* The value of a query with one row of one column. */
static const char *value(void)
{
    static char text[256];
    const char *row = NULL;
    uint32_t len;

    CHECK(messages('D', &row) == 1);
    memcpy(&len, row + 2, 4);
    snprintf(text, sizeof(text), "%.*s", (int)ntohl(len), row + 6);
    return text;
}

static void wrong_use(calf_db *db, calf_wire *w)
{
    calf_wire *out = w;
    char buf[8];
    size_t n = sizeof(buf), m = 3;

    CHECK(calf_wire_open(NULL, &out, &err) == CALF_MISUSE && !out && *err.text);
    CHECK(calf_wire_open(db, NULL, &err) == CALF_MISUSE && *err.text);
    CHECK(calf_wire_open((calf_db *)w, &out, &err) == CALF_MISUSE); /* not that kind of a handle */
    CHECK(calf_wire_exchange(NULL, NULL, NULL, buf, &n, 0, &err) == CALF_MISUSE && n == 0);
    n = sizeof(buf);
    CHECK(calf_wire_exchange((calf_wire *)db, NULL, NULL, buf, &n, 0, &err) == CALF_MISUSE);
    CHECK(calf_wire_exchange(w, NULL, &m, NULL, NULL, 0, &err) == CALF_MISUSE && m == 0);
    n = 1;
    CHECK(calf_wire_exchange(w, NULL, NULL, NULL, &n, 0, NULL) == CALF_MISUSE && n == 0);
    CHECK(calf_wire_exchange(w, NULL, NULL, NULL, NULL, -1, &err) == CALF_OK); /* nothing to do */
    n = sizeof(buf);
    CHECK(calf_wire_exchange(w, NULL, NULL, buf, &n, 20, &err) == CALF_OK && n == 0); /* time out */
    CHECK(calf_wire_close(NULL, &err) == CALF_OK);
    CHECK(calf_wire_close((calf_wire *)0x123456789, &err) == CALF_MISUSE && *err.text);
}

static void *waits(void *wire)
{
    struct calf_error own;
    char buf[8];
    size_t n;
    int rc;

    do { /* the other thread may be in it just now */
        n = sizeof(buf);
        rc = calf_wire_exchange(wire, NULL, NULL, buf, &n, -1, &own);
    } while (rc == CALF_MISUSE);
    CHECK(rc == CALF_OK && n > 0);
    return NULL;
}

/* While one thread waits on a wire, others are told so. */
static void one_at_a_time(calf_db *db)
{
    calf_wire *w = begin(db);
    char sleep[64], buf[8];
    size_t n = put(sleep, 'Q', "select pg_sleep(1)", 19), none;
    pthread_t thread;
    int rc;

    CHECK(calf_wire_exchange(w, sleep, &n, NULL, NULL, -1, &err) == CALF_OK);
    CHECK(pthread_create(&thread, NULL, waits, w) == 0);
    do {
        none = 0;
        rc = calf_wire_exchange(w, NULL, NULL, buf, &none, 0, &err);
    } while (rc == CALF_OK); /* until the thread is there */
    CHECK(rc == CALF_MISUSE && strstr(err.text, "another thread"));
    CHECK(calf_wire_close(w, &err) == CALF_MISUSE);
    pthread_join(thread, NULL);
    CHECK(calf_wire_close(w, &err) == CALF_OK);
    CHECK(calf_wire_close(w, &err) == CALF_MISUSE);
}

/* Far more than the socket holds in both directions at once, through a small buffer. */
static void both_full(calf_wire *w)
{
    enum { N = 20000 };
    static const char sql[] = "select repeat('x', 300)";
    char *in = malloc(N * (sizeof(sql) + 5));
    size_t size = 0;

    for (int i = 0; i < N; i++)
        size += put(in + size, 'Q', sql, sizeof(sql));
    answer_size = 0;
    for (size_t at = 0, got = 0; at < size || got < (size_t)N;) {
        size_t more = size - at, n = 1000;
        char buf[1000];

        CHECK(calf_wire_exchange(w, in + at, &more, buf, &n, 30000, &err) == CALF_OK);
        CHECK(more || n);
        at += more;
        for (size_t i = 0; i < n; i++) /* the byte of a ReadyForQuery that occurs nowhere else */
            got += buf[i] == 'I';
    }
    free(in);
    CHECK(query(w, "select 1", 4096) == CALF_OK && strcmp(value(), "1") == 0);
}

static void copies(calf_wire *w)
{
    char *in = malloc(8 << 20);
    const char *content;
    size_t size;

    CHECK(query(w, "create temp table t (n int, x text)", 64) == CALF_OK);
    size = put(in, 'Q', "copy t from stdin", 18);
    for (int i = 0; i < 50000; i++) {
        char row[128];

        size += put(in + size, 'd', row, sprintf(row, "%d\t%060d\n", i, i));
    }
    size += put(in + size, 'c', "", 0);
    CHECK(talk(w, in, size, 16) == CALF_OK && messages('G', NULL) == 1);
    CHECK(messages('C', &content) == 1 && strcmp(content, "COPY 50000") == 0);
    CHECK(query(w, "copy t to stdout", 777) == CALF_OK && messages('d', NULL) == 50000);
    CHECK(query(w, "select sum(n) from t", 1) == CALF_OK && strcmp(value(), "1249975000") == 0);
    CHECK(query(w, "select repeat('y', 30000000)", 5000) == CALF_OK && answer_size > 30000000);
    free(in);
}

int main(int argc, char **argv)
{
    char sql[128], buf[64];
    calf_wire *w, *other, *open_one;
    calf_db *db;
    size_t n;
    int fds, rc;

    CHECK(argc == 2 && calf_open(argv[1], NULL, &db, &err) == CALF_OK);
    w = begin(db);
    wrong_use(db, w);
    CHECK(query(w, "select 6 * 7", 4096) == CALF_OK && strcmp(value(), "42") == 0);
    CHECK(query(w, "select 1/0", 3) == CALF_OK && messages('E', NULL) == 1);
    copies(w);
    both_full(w);
    one_at_a_time(db);

    /* a session that is ended says why, then that it ended, as often as asked */
    other = begin(db);
    CHECK(query(other, "select pg_backend_pid()", 4096) == CALF_OK);
    snprintf(sql, sizeof(sql), "select pg_terminate_backend(%s, 10000)", value());
    CHECK(query(w, sql, 4096) == CALF_OK && strcmp(value(), "t") == 0);
    rc = query(other, "select 1", 4096);
    CHECK(rc == CALF_ENDED && strstr(err.text, "ended"));
    CHECK(messages('E', NULL) == 1 && memmem(answer, answer_size, "C57P01", 7));
    n = sizeof(buf);
    CHECK(calf_wire_exchange(other, NULL, NULL, buf, &n, -1, &err) == CALF_ENDED && n == 0);
    n = 1;
    CHECK(calf_wire_exchange(other, "X", &n, NULL, NULL, -1, &err) == CALF_ENDED && n == 0);
    CHECK(calf_wire_close(other, &err) == CALF_OK);

    /* closing a wire ends its session */
    other = begin(db);
    CHECK(query(other, "select pg_backend_pid()", 4096) == CALF_OK);
    snprintf(sql, sizeof(sql), "select count(*) from pg_stat_activity where pid = %s", value());
    CHECK(calf_wire_close(other, &err) == CALF_OK);
    do
        CHECK(query(w, sql, 4096) == CALF_OK);
    while (strcmp(value(), "0") != 0);

    /* closing the database ends the sessions of wires, not the wires */
    open_one = begin(db);
    CHECK(calf_wire_close(w, &err) == CALF_OK);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    CHECK(query(open_one, "select 1", 4096) == CALF_ENDED);
    CHECK(messages('E', NULL) == 1 && memmem(answer, answer_size, "C57P01", 7));
    CHECK(calf_wire_open(db, &other, &err) == CALF_MISUSE && !other);
    CHECK(calf_wire_close(open_one, &err) == CALF_OK);

    fds = entries("/proc/self/fd");
    CHECK(calf_open(argv[1], NULL, &db, &err) == CALF_OK);
    open_one = begin(db);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    CHECK(calf_wire_close(open_one, &err) == CALF_OK);
    CHECK(entries("/proc/self/fd") == fds);
    free(answer);
    return 0;
}

/*
 * fork.c - a forked child of a process with a database open is refused in a sentence, waits for
 * nothing, harms nothing, and keeps nothing
 *
 * Children that close, exit, query, open; while threads of the parent are anywhere inside calf; and
 * one that lives on when the parent is killed: the directory, the ports and the clients are free.
 *
 * usage: fork DIR            ("fork DIR parent" is the process that is killed)
 */
#include "api_test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

static char dir[3000];

static const char *in_dir(const char *name)
{
    static __thread char path[4096];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

/* Ended by itself, with 0. */
static bool went_well(pid_t child)
{
    int status;

    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool refused(int code)
{
    bool is = code == CALF_MISUSE && err.code == CALF_MISUSE && strstr(err.text, "forked");

    err = (struct calf_error){CALF_OK, ""};
    return is;
}

static bool connection_is_refused(const char *dsn)
{
    PGconn *conn = PQconnectdb(dsn);
    bool is = PQstatus(conn) == CONNECTION_BAD && strstr(PQerrorMessage(conn), "was forked from");

    if (!is)
        fprintf(stderr, "%s: %s\n", dsn, PQerrorMessage(conn));
    PQfinish(conn);
    return is;
}

/* ---- what a child gets ------------------------------------------------------------------- */

static void asks_everything(calf_db *db, calf_wire *wire, const char *data)
{
    int code;
    size_t none = 0;
    struct calf_status st;
    calf_wire *w;
    calf_db *other;

    CHECK(refused(calf_open(data, NULL, &other, &err)) && !other);
    CHECK(refused(calf_open(NULL, NULL, &other, &err)) && !other);
    CHECK(refused(calf_open(in_dir("another"), NULL, &other, &err)) && !other);
    CHECK(access(in_dir("another"), F_OK) < 0);
    CHECK(calf_healthy(db) == 0);
    CHECK(refused(calf_listen(db, "tcp:0", &err)) && refused(calf_unlisten(db, NULL, &err)));
    CHECK(refused(calf_run(db, (char *[]){"psql", NULL}, NULL, &code, &err)));
    CHECK(refused(calf_run(NULL, (char *[]){"psql", NULL}, NULL, &code, &err)));
    CHECK(refused(calf_run_signal(db, SIGINT, &err)) && refused(calf_signal(db, SIGHUP, &err)));
    CHECK(refused(calf_snapshot(db, in_dir("another"), &err)));
    CHECK(refused(calf_wire_open(db, &w, &err)) && !w);
    CHECK(refused(calf_wire_exchange(wire, NULL, &none, NULL, &none, -1, &err)));
    CHECK(connection_is_refused(calf_dsn(db)) && connection_is_refused("host=calf:"));
    PGconn *conn = PQconnectStart(calf_dsn(db));
    while (PQstatus(conn) != CONNECTION_BAD)
        PQconnectPoll(conn);
    PQfinish(conn);

    /* what needs no PostgreSQL, and the way to it */
    CHECK(strcmp(calf_directory(db), data) == 0 && calf_version() && calf_features());
    CHECK(calf_look(data, &st, &err) == CALF_OK && st.state == CALF_OPEN && st.pid == getppid());
    conn = PQconnectdb(calf_uri(db));
    CHECK(PQstatus(conn) == CONNECTION_OK && says(conn, "select count(*) from t", "1"));
    PQfinish(conn);

    CHECK(calf_wire_close(wire, &err) == CALF_OK && calf_close(db, CALF_FAST, &err) == CALF_OK);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_MISUSE);
}

/* Descriptors are the host's only; none of a child's leads to the directory. */
static void holds_nothing(const char *data)
{
    char link[64], name[4096];

    for (int fd = 0; fd < 1024; fd++) {
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, name, sizeof(name) - 1);
        name[n > 0 ? n : 0] = '\0';
        CHECK(strncmp(name, data, strlen(data)) != 0);
    }
}

static void children(void)
{
    char data[4096];
    calf_wire *wire;
    calf_db *db;
    pid_t child;
    int status;

    snprintf(data, sizeof(data), "%s", in_dir("data"));
    CHECK(calf_open(data, NULL, &db, &err) == CALF_OK);
    CHECK(calf_listen(db, in_dir("s"), &err) == CALF_OK);
    CHECK(calf_wire_open(db, &wire, &err) == CALF_OK);
    PGconn *conn = connect_to(calf_dsn(db)), *given_away = connect_to(calf_dsn(db));
    CHECK(says(conn, "create table t as select 1 as n", ""));
    for (int round = 0; round < 3; round++) {
        child = fork();
        if (child == 0) {
            if (round == 0) {
                asks_everything(db, wire, data);
            } else if (round == 1) {
                holds_nothing(data);
                child = fork();
                if (child == 0) /* a child's child is one too */
                    exit(refused(calf_open(data, NULL, &db, &err)) ? 0 : 1);
                CHECK(went_well(child));
            } else {
                PQfinish(given_away); /* as with any libpq: that session ends, nothing else */
            }
            exit(0);
        }
        CHECK(went_well(child));
        CHECK(calf_healthy(db) == 1 && says(conn, "select count(*) from t", "1"));
    }
    child = fork();
    if (child == 0)
        abort();
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
          WTERMSIG(status) == SIGABRT);
    CHECK(calf_healthy(db) == 1 && says(conn, "select count(*) from t", "1"));
    PQfinish(given_away);
    PQfinish(conn);
    CHECK(calf_wire_close(wire, &err) == CALF_OK);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);

    child = fork(); /* of a process that has none open any more */
    if (child == 0) {
        CHECK(calf_open(data, NULL, &db, &err) == CALF_OK);
        conn = connect_to(calf_dsn(db));
        CHECK(says(conn, "select count(*) from t", "1"));
        PQfinish(conn);
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
        exit(0);
    }
    CHECK(went_well(child));
}

/* The last `host=calf:` connection of the parent closes the directory, also after children. */
static void on_demand(void)
{
    char dsn[4200];
    struct calf_status st;
    pid_t child;

    snprintf(dsn, sizeof(dsn), "host=calf:%s", in_dir("data"));
    PGconn *conn = connect_to(dsn);
    child = fork();
    if (child == 0) {
        CHECK(connection_is_refused(dsn));
        PQfinish(conn);
        exit(0);
    }
    CHECK(went_well(child));
    CHECK(calf_look(in_dir("data"), &st, &err) == CALF_OK && st.state == CALF_OPEN);
    PQfinish(conn);
    CHECK(calf_look(in_dir("data"), &st, &err) == CALF_OK && st.state == CALF_CLOSED);
}

/* ---- while other threads are inside ------------------------------------------------------ */

static _Atomic bool enough;

static void *busy(void *arg)
{
    char dsn[4200];
    calf_db *db;

    snprintf(dsn, sizeof(dsn), "host=calf:%s", in_dir(arg));
    while (!enough) {
        PGconn *conn = connect_to(dsn);

        CHECK(says(conn, "select 6 * 7", "42"));
        PQfinish(conn);
        PQfinish(PQconnectdb("host=/nonexistent"));
        if (calf_open(in_dir(arg), NULL, &db, &err) == CALF_OK)
            calf_close(db, CALF_FAST, NULL);
    }
    return NULL;
}

static void while_busy(void)
{
    pthread_t threads[3];
    calf_db *db;

    CHECK(calf_open(in_dir("data"), NULL, &db, &err) == CALF_OK);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, busy, i ? "data" : "opened") == 0);
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();

        if (child == 0) {
            calf_db *other;

            CHECK(refused(calf_open(in_dir("opened"), NULL, &other, &err)));
            CHECK(connection_is_refused(calf_dsn(db)) && !calf_healthy(db));
            CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
            exit(0);
        }
        CHECK(went_well(child));
    }
    enough = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
}

/* ---- a child that outlives its parent ---------------------------------------------------- */

static int parent(void)
{
    calf_db *db;
    pid_t child;

    CHECK(calf_open(in_dir("data"), NULL, &db, &err) == CALF_OK);
    CHECK(calf_listen(db, "tcp:0", &err) == CALF_OK);
    printf("%s\n", calf_uri(db));
    fflush(stdout);
    getchar(); /* a client is there */
    child = fork();
    if (child != 0) {
        printf("%d\n", child);
        fflush(stdout);
    }
    pause();
    return 0;
}

static void outlived(void)
{
    int in[2], out[2], port, status, one = 1;
    char uri[4096], line[64], byte;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    pid_t host, child;
    calf_db *db;
    FILE *f;

    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    host = fork();
    if (host == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl("/proc/self/exe", "fork", dir, "parent", NULL);
        _exit(127);
    }
    CHECK((f = fdopen(out[0], "r")) && fgets(uri, sizeof(uri), f));
    port = atoi(strrchr(uri, ':') + 1);
    a.sin_port = htons(port);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(client, (struct sockaddr *)&a, sizeof(a)) == 0);
    CHECK(send(client, "\0\0\0\10\4\322\26\57", 8, MSG_NOSIGNAL) == 8); /* SSLRequest */
    CHECK(recv(client, &byte, 1, 0) == 1);                              /* a session has it */
    CHECK(write(in[1], "\n", 1) == 1 && fgets(line, sizeof(line), f));
    child = atoi(line);
    kill(host, SIGKILL);
    CHECK(waitpid(host, &status, 0) == host);
    CHECK(kill(child, 0) == 0);
    CHECK(recv(client, &byte, 1, 0) <= 0); /* it hears of the end */
    close(client);
    int again = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(setsockopt(again, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
    CHECK(bind(again, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(again, 1) == 0);
    close(again);
    CHECK(calf_open(in_dir("data"), NULL, &db, &err) == CALF_OK);
    CHECK(kill(child, 0) == 0);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    kill(child, SIGKILL);
    fclose(f);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    snprintf(dir, sizeof(dir), "%s", argv[1]);
    if (argc == 3)
        return parent();
    children();
    on_demand();
    while_busy();
    outlived();
    return 0;
}

/*
 * look.c - who has a directory open, as another process sees it; programs without a database;
 * signals for programs; a closing that is hurried
 *
 * usage: look DIR; look hold DIR ADDRESS: open it until the standard input ends
 */
#include "api_test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

struct holder {
    pid_t pid;
    FILE *out; /* what it says */
    int in;    /* it ends when this closes */
};

static int hold(const char *dir, const char *address)
{
    struct calf_options o = {.size = sizeof(o),
                             .listen = (const char *const[]){*address ? address : NULL, NULL}};
    calf_db *db;
    char byte;

    CHECK(calf_open(dir, &o, &db, &err) == CALF_OK);
    printf("ready\n");
    fflush(stdout);
    if (read(0, &byte, 1) == 0)
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    return 0;
}

static struct holder start_holder(const char *dir, const char *address)
{
    struct holder h;
    int in[2], out[2];
    char line[64];

    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    h.pid = fork();
    if (h.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execl("/proc/self/exe", "look", "hold", dir, address, NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    h.in = in[1];
    h.out = fdopen(out[0], "r");
    CHECK(fgets(line, sizeof(line), h.out) && strcmp(line, "ready\n") == 0);
    return h;
}

static void end_holder(struct holder *h, int sig)
{
    int status;

    if (sig)
        kill(h->pid, sig);
    close(h->in);
    CHECK(waitpid(h->pid, &status, 0) == h->pid);
    CHECK(sig ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fclose(h->out);
}

static void states(const char *top)
{
    struct calf_status st;
    struct holder h;
    char dir[4096], path[4200];
    calf_db *db;
    FILE *f;

    snprintf(dir, sizeof(dir), "%s/data", top);
    CHECK(calf_look(NULL, &st, &err) == CALF_MISUSE && calf_look(dir, NULL, &err) == CALF_MISUSE);
    CHECK(calf_look("", &st, NULL) == CALF_MISUSE);
    memset(&st, 9, sizeof(st));
    CHECK(calf_look("/etc/passwd/data", &st, &err) == CALF_ACCESS && *err.text);
    CHECK(memcmp(&st, &(struct calf_status){0}, sizeof(st)) == 0);
    CHECK(calf_look(dir, &st, &err) == CALF_OK && st.state == CALF_ABSENT);
    h = start_holder(dir, dir);
    CHECK(calf_look(dir, &st, &err) == CALF_OK && st.state == CALF_OPEN && st.pid == h.pid);
    CHECK(!st.stock && st.since <= time(NULL) && st.since > time(NULL) - 600);
    PQfinish(connect_to(st.uri));
    CHECK(calf_open(dir, NULL, &db, &err) == CALF_HELD);
    end_holder(&h, 0);
    CHECK(calf_look(dir, &st, &err) == CALF_OK && st.state == CALF_CLOSED && !st.uri[0]);
    snprintf(path, sizeof(path), "%s/pg_stat_tmp/calf.listen", dir);
    CHECK(access(path, F_OK) < 0);

    h = start_holder(dir, dir);
    end_holder(&h, SIGKILL);
    CHECK(calf_look(dir, &st, &err) == CALF_OK && st.state == CALF_CRASHED && !st.pid &&
          !st.uri[0]);
    h = start_holder(dir, ""); /* inside of a program, and what the killed one left says nothing */
    CHECK(calf_look(dir, &st, &err) == CALF_OK && st.state == CALF_OPEN && !st.uri[0]);
    end_holder(&h, 0);

    CHECK(calf_open(dir, NULL, &db, &err) == CALF_OK); /* this process */
    CHECK(calf_listen(db, "tcp:0", &err) == CALF_OK);
    CHECK(calf_look(dir, &st, &err) == CALF_OK && st.pid == getpid() && !st.socket_uri[0]);
    CHECK(calf_unlisten(db, NULL, &err) == CALF_OK && calf_listen(db, dir, &err) == CALF_OK);
    CHECK(calf_listen(db, "tcp:0", &err) == CALF_OK);
    CHECK(calf_look(dir, &st, &err) == CALF_OK && strcmp(st.uri, calf_uri(db)) == 0);
    CHECK(strstr(st.uri, "@127.0.0.1:") && strstr(st.socket_uri, "?host="));
    PQfinish(connect_to(st.socket_uri));
    CHECK(calf_unlisten(db, NULL, &err) == CALF_OK);
    CHECK(calf_look(dir, &st, &err) == CALF_OK && !st.uri[0]);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);

    CHECK(calf_look(top, &st, &err) == CALF_FOREIGN && strstr(err.text, top));
    snprintf(path, sizeof(path), "%s/PG_VERSION", dir);
    CHECK((f = fopen(path, "w")) && fputs("9.6\n", f) >= 0 && fclose(f) == 0);
    CHECK(calf_look(dir, &st, &err) == CALF_MAJOR && strstr(err.text, "9.6"));
}

/* Looking is in nobody's way: others open and close while many look. */
static void *look_often(void *arg)
{
    struct calf_status st;

    for (int i = 0; i < 20000; i++)
        CHECK(calf_look(arg, &st, &err) == CALF_OK);
    return NULL;
}

static void looking_and_opening(const char *top)
{
    char dir[4096];
    pthread_t threads[2];
    calf_db *db;

    snprintf(dir, sizeof(dir), "%s/watched", top);
    CHECK(calf_open(dir, NULL, &db, &err) == CALF_OK && calf_close(db, CALF_FAST, &err) == CALF_OK);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, look_often, dir) == 0);
    for (int i = 0; i < 10; i++) {
        CHECK(calf_open(dir, NULL, &db, &err) == CALF_OK);
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    }
    for (int i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void addresses(const char *top)
{
    struct calf_options o = {.size = sizeof(o)};
    union {
        struct sockaddr any;
        struct sockaddr_in in;
    } a = {.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(a.in);
    char address[64], fd_address[32], dir[4096], taken[4096];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    calf_db *db;
    PGconn *conn;

    CHECK(bind(fd, &a.any, size) == 0 && listen(fd, 5) == 0 && getsockname(fd, &a.any, &size) == 0);
    snprintf(address, sizeof(address), "tcp:%d", ntohs(a.in.sin_port));
    snprintf(fd_address, sizeof(fd_address), "fd:%d", fd);
    o.listen = (const char *const[]){address, NULL};
    CHECK(calf_open(NULL, &o, &db, &err) == CALF_ACCESS && strstr(err.text, address)); /* taken */
    o.listen = (const char *const[]){fd_address, NULL};
    CHECK(calf_open(NULL, &o, &db, &err) == CALF_OK);
    CHECK(strstr(calf_uri(db), "127.0.0.1:"));
    conn = PQconnectdb(calf_uri(db));
    CHECK(strstr(PQerrorMessage(conn), "no password"));
    PQfinish(conn);
    CHECK(calf_listen(db, "fd:987", &err) == CALF_MISUSE && strstr(err.text, "987"));
    CHECK(calf_listen(db, "fd:0", &err) == CALF_MISUSE);
    CHECK(calf_listen(db, "fd:x", &err) == CALF_MISUSE &&
          calf_listen(db, "fd:-1", &err) == CALF_MISUSE);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    CHECK(fcntl(fd, F_GETFD) >= 0); /* still ours */

    /* where one of them cannot be, nothing is there afterwards, not even a new cluster */
    snprintf(dir, sizeof(dir), "%s/unheard", top);
    snprintf(taken, sizeof(taken), "%s/sockets", top);
    for (int i = 0; i < 7; i++) {
        const char *bad[] = {"nowhere", "", "tcp:x", "fd:987", "fd:x", address, taken};

        o.listen = (const char *const[]){taken, bad[i], NULL};
        CHECK(calf_open(dir, &o, &db, &err) == (i < 5 ? CALF_MISUSE : CALF_ACCESS) && !db);
        CHECK(*err.text && access(dir, F_OK) < 0);
    }
    o.listen = (const char *const[]){taken, NULL};
    CHECK(mkdir(dir, 0700) == 0 && calf_open(dir, &o, &db, &err) == CALF_OK);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    close(fd);
}

/* ---- programs -------------------------------------------------------------------------- */

struct program {
    calf_db *db;
    int code;
};

static void *sleep_in_psql(void *arg)
{
    struct program *p = arg;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    CHECK(calf_run(p->db, (char *[]){"psql", "-XqAtc", "select pg_sleep(1000)", NULL},
                   (int[]){null, null, null}, &p->code, &err) == CALF_OK);
    close(null);
    return NULL;
}

static void wait_for_sleeper(PGconn *conn)
{
    for (int tries = 0; strcmp(ask(conn, "select count(*) from pg_stat_activity where wait_event = "
                                         "'PgSleep'"),
                               "1") != 0;
         tries++)
        CHECK(tries < 1000 && usleep(10000) == 0);
}

static void *close_smart(void *db)
{
    CHECK(calf_close(db, CALF_SMART, &err) == CALF_OK);
    return NULL;
}

static void programs(const char *top)
{
    struct program p = {.code = -1};
    int out = memfd_create("out", MFD_CLOEXEC), code;
    char dir[4096], text[8192] = "";
    pthread_t thread;
    PGconn *conn;

    snprintf(dir, sizeof(dir), "%s/programs", top);
    CHECK(calf_open(dir, NULL, &p.db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(p.db));

    /* SIGINT cancels psql's query, as Ctrl-C does in a terminal: -c has failed then */
    CHECK(pthread_create(&thread, NULL, sleep_in_psql, &p) == 0);
    wait_for_sleeper(conn);
    CHECK(calf_run_signal(p.db, 0, &err) == CALF_MISUSE);
    CHECK(calf_run_signal(p.db, 64, &err) == CALF_MISUSE);
    CHECK(calf_run_signal(NULL, SIGINT, &err) == CALF_OK); /* nobody's */
    CHECK(calf_run_signal(p.db, SIGINT, &err) == CALF_OK);
    CHECK(pthread_join(thread, NULL) == 0 && p.code == 1);

    /* a smart closing waits for the session; a fast one ends it */
    CHECK(pthread_create(&thread, NULL, close_smart, p.db) == 0);
    for (int tries = 0; calf_run(p.db, (char *[]){"psql", "-V", NULL}, (int[]){0, out, out}, &code,
                                 &err) == CALF_OK;
         tries++)
        CHECK(tries < 1000 && usleep(10000) == 0);
    CHECK(says(conn, "select 'still here'", "still here"));
    CHECK(calf_close(p.db, CALF_FAST, &err) == CALF_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(strstr(ask(conn, "select 1"), "error"));
    CHECK(calf_close(p.db, CALF_FAST, &err) == CALF_MISUSE);
    PQfinish(conn);

    /* no database is needed to read the files of one */
    CHECK(ftruncate(out, 0) == 0 && lseek(out, 0, SEEK_SET) == 0);
    CHECK(calf_run(NULL, (char *[]){"pg_controldata", dir, NULL}, (int[]){0, out, 2}, &code,
                   &err) == CALF_OK);
    CHECK(code == 0 && pread(out, text, sizeof(text) - 1, 0) > 0 && strstr(text, "shut down"));
    CHECK(calf_run(NULL, (char *[]){"no_such", NULL}, NULL, &code, &err) == CALF_INSTALL);
    close(out);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "hold") == 0)
        return hold(argv[2], argv[3]);
    CHECK(argc == 2);
    states(argv[1]);
    looking_and_opening(argv[1]);
    addresses(argv[1]);
    programs(argv[1]);
    return 0;
}

/*
 * faults.c - the n-th allocation, thread, mapping or descriptor that calf itself asks for fails
 *
 * A run is a child that creates, opens, asks, listens, runs programs, copies, closes and opens
 * again; in it one call of one kind fails, once.  It may go unnoticed, or something answers with a
 * sentence and works the next time, or PostgreSQL recovers; what was committed is there.  A
 * host that dies or hangs (CALF_FAULTS_SECONDS, 150) fails the test.
 *
 * The rule that matters: only calls from libcalf's own text count, which includes libpq and zstd.
 * The functions are defined here, in the program, whose symbols go before those of libraries.
 *
 * Usage: faults SCRATCH all | SCRATCH NUMBER SEED (so many points) | SCRATCH KIND N (one)
 */
#include <calf.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROWS 3
#define PATH_SIZE 512
#define POINTS_MAX 50000

/* ---- what can fail -------------------------------------------------------------------- */

/* Name, its error, result type, what it returns then, parameters, arguments. */
#define KINDS(X)                                                                                   \
    X(strdup, ENOMEM, char *, NULL, (const char *s), (s))                                          \
    X(posix_memalign, ENOMEM, int, ENOMEM, (void **p, size_t align, size_t size),                  \
      (p, align, size))                                                                            \
    X(mmap, ENOMEM, void *, MAP_FAILED,                                                            \
      (void *addr, size_t size, int prot, int flags, int fd, off_t at),                            \
      (addr, size, prot, flags, fd, at))                                                           \
    X(mprotect, ENOMEM, int, -1, (void *addr, size_t size, int prot), (addr, size, prot))          \
    X(pthread_create, EAGAIN, int, EAGAIN,                                                         \
      (pthread_t * thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg),           \
      (thread, attr, run, arg))                                                                    \
    X(memfd_create, EMFILE, int, -1, (const char *name, unsigned flags), (name, flags))            \
    X(socketpair, EMFILE, int, -1, (int domain, int type, int protocol, int fds[2]),               \
      (domain, type, protocol, fds))                                                               \
    X(socket, EMFILE, int, -1, (int domain, int type, int protocol), (domain, type, protocol))     \
    X(pipe2, EMFILE, int, -1, (int fds[2], int flags), (fds, flags))                               \
    X(eventfd, EMFILE, int, -1, (unsigned value, int flags), (value, flags))                       \
    X(epoll_create1, EMFILE, int, -1, (int flags), (flags))                                        \
    X(epoll_ctl, ENOSPC, int, -1, (int set, int op, int fd, struct epoll_event *event),            \
      (set, op, fd, event))                                                                        \
    X(dup3, EMFILE, int, -1, (int fd, int to, int flags), (fd, to, flags))                         \
    X(ftruncate, ENOSPC, int, -1, (int fd, off_t size), (fd, size))                                \
    X(fallocate, ENOSPC, int, -1, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))  \
    X(pwrite, ENOSPC, ssize_t, -1, (int fd, const void *buf, size_t size, off_t at),               \
      (fd, buf, size, at))                                                                         \
    X(mkdir, ENOSPC, int, -1, (const char *path, mode_t mode), (path, mode))                       \
    X(fopen, ENOMEM, FILE *, NULL, (const char *path, const char *mode), (path, mode))             \
    X(fdopendir, ENOMEM, DIR *, NULL, (int fd), (fd))                                              \
    X(open_memstream, ENOMEM, FILE *, NULL, (char **text, size_t *size), (text, size))             \
    X(dlopen, ENOMEM, void *, NULL, (const char *name, int mode), (name, mode))
/* These are written out below. */
#define OTHERS(X) X(malloc) X(calloc) X(realloc) X(open) X(openat) X(fcntl) X(asprintf)

enum kind {
#define X(name, ...) KIND_##name,
    KINDS(X) OTHERS(X)
#undef X
        NKINDS
};
static const char *const names[] = {
#define X(name, ...) #name,
    KINDS(X) OTHERS(X)
#undef X
};

static uintptr_t text_lo, text_hi; /* libcalf's */
static enum kind fault_kind = NKINDS;
static unsigned fault_n;
static _Atomic unsigned counts[NKINDS];
static _Atomic bool hit;

/* Does this call of `kind` fail? */
static bool fails(enum kind kind, void *caller)
{
    if ((uintptr_t)caller < text_lo || (uintptr_t)caller >= text_hi ||
        atomic_fetch_add(&counts[kind], 1) + 1 != fault_n || kind != fault_kind)
        return false;
    atomic_store(&hit, true);
    return true;
}

#define FAILS(name) fails(KIND_##name, __builtin_return_address(0))
#define NEXT(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))
#define X(name, error, type, answer, parameters, arguments)                                        \
    type name parameters                                                                           \
    {                                                                                              \
        static __typeof__(name) *next;                                                             \
                                                                                                   \
        if (!next)                                                                                 \
            next = NEXT(name);                                                                     \
        if (!FAILS(name))                                                                          \
            return next arguments;                                                                 \
        errno = error;                                                                             \
        return answer;                                                                             \
    }
KINDS(X)
#undef X

void *__libc_malloc(size_t size); /* dlsym() allocates itself */
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t size)
{
    return FAILS(malloc) ? no_memory() : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return FAILS(calloc) ? no_memory() : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return FAILS(realloc) ? no_memory() : __libc_realloc(p, size);
}

/* The last argument of a variadic call, which the callee only looks at when it is there. */
#define LAST(after, type)                                                                          \
    ({                                                                                             \
        va_list ap_;                                                                               \
        type last_;                                                                                \
                                                                                                   \
        va_start(ap_, after);                                                                      \
        last_ = va_arg(ap_, type);                                                                 \
        va_end(ap_);                                                                               \
        last_;                                                                                     \
    })

int open(const char *path, int flags, ...)
{
    mode_t mode = LAST(flags, int);

    if (!FAILS(open))
        return NEXT(open)(path, flags, mode);
    errno = EMFILE;
    return -1;
}

int openat(int dir, const char *path, int flags, ...)
{
    mode_t mode = LAST(flags, int);

    if (!FAILS(openat))
        return NEXT(openat)(dir, path, flags, mode);
    errno = EMFILE;
    return -1;
}

int fcntl(int fd, int command, ...)
{
    long arg = LAST(command, long);

    if (command != F_DUPFD_CLOEXEC || !FAILS(fcntl))
        return NEXT(fcntl)(fd, command, arg);
    errno = EMFILE;
    return -1;
}

int asprintf(char **out, const char *format, ...)
{
    va_list ap;
    int n = -1;

    if (!FAILS(asprintf)) {
        va_start(ap, format);
        n = vasprintf(out, format, ap);
        va_end(ap);
    }
    return n;
}

static int find_text(struct dl_phdr_info *info, size_t size, void *of)
{
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + ph->p_vaddr, hi = lo + ph->p_memsz;

        if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X) || (uintptr_t)of < lo ||
            (uintptr_t)of >= hi)
            continue;
        text_lo = lo;
        text_hi = hi;
        return 1;
    }
    return 0;
}

/* ---- the child: what a host does ------------------------------------------------------------ */

enum result { UNTOUCHED = 0, CLEAN = 10, RECOVERED = 11, LOST = 20, NO_SENTENCE = 21, BROKEN = 22 };
static const char *const texts[] = {"lost a commit", "an error without a sentence",
                                    "did not work afterwards"};

static _Atomic bool recovered;
static bool noticed; /* something answered with an error */
static struct calf_error err;
static int out; /* for programs */

static void on_log(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
    if (strstr(line, "reinitializing"))
        atomic_store(&recovered, true);
}

_Noreturn static void end(enum result result, const char *step)
{
    fprintf(stderr, "%s: %s\n", step, texts[result - LOST]);
    _exit(result);
}

/* An error, which only one may make. */
static void failed(const char *step, const char *sentence)
{
    fprintf(stderr, "%s: %s\n", step, sentence ? sentence : "");
    /* libpq says nothing where socket() fails: it takes that for one of several addresses */
    if (fault_kind != KIND_socket && (!sentence || strlen(sentence) < 8))
        end(NO_SENTENCE, step);
    if (!atomic_load(&hit))
        end(BROKEN, step);
    noticed = true;
}

/* Another try, three at most, or for a minute while PostgreSQL recovers. */
static void again(const char *step, const char *sentence, int tries)
{
    struct timespec pause = {0, 50000000};

    failed(step, sentence);
    if (tries == (atomic_load(&recovered) ? 1200 : 3))
        end(BROKEN, step);
    if (tries > 1)
        nanosleep(&pause, NULL);
}

#define TRY(step, call)                                                                            \
    for (int tries_ = 0; err.text[0] = '\0', (call) != CALF_OK;)                                   \
    again(step, err.text, ++tries_)

static PGconn *connected(const char *dsn)
{
    for (int tries = 0;;) {
        PGconn *conn = PQconnectdb(dsn);

        if (conn && PQstatus(conn) == CONNECTION_OK)
            return conn;
        again("connect", conn ? PQerrorMessage(conn) : "out of memory", ++tries);
        PQfinish(conn);
    }
}

/* Until it works.  The value, if there is one: static memory. */
static const char *ask(PGconn **conn, const char *dsn, const char *sql)
{
    static char value[64];

    for (int tries = 0;;) {
        PGresult *res = PQexec(*conn, sql);
        ExecStatusType status = PQresultStatus(res);

        snprintf(value, sizeof(value), "%s",
                 status == PGRES_TUPLES_OK && PQntuples(res) ? PQgetvalue(res, 0, 0) : "");
        PQclear(res);
        if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
            return value;
        again(sql, PQerrorMessage(*conn), ++tries);
        if (PQstatus(*conn) == CONNECTION_OK && tries == 1)
            continue;
        PQfinish(*conn);
        *conn = connected(dsn);
    }
}

static int run_psql(calf_db *db)
{
    int fds[] = {out, out, out}, code = 0;
    char *argv[] = {"psql", "-X", "-c", "select 1", NULL};
    int rc = calf_run(db, argv, fds, &code, &err);

    if (rc == CALF_OK && code != 0) { /* it has said why */
        char text[512] = "";
        ssize_t n = pread(out, text, sizeof(text) - 1, 0);

        snprintf(err.text, sizeof(err.text), "psql: %s", n > 0 ? text : "");
        rc = CALF_FAILED;
    }
    lseek(out, 0, SEEK_SET);
    return rc;
}

static void child(const char *dir)
{
    struct calf_options o = {.size = sizeof(o), .log = on_log};
    char data[PATH_SIZE], copy[PATH_SIZE], sock[PATH_SIZE], sql[128];
    const char *dsn;
    PGconn *conn, *other;
    calf_db *db;

    snprintf(data, sizeof(data), "%s/data", dir);
    snprintf(copy, sizeof(copy), "%s/copy", dir);
    snprintf(sock, sizeof(sock), "%s/s", dir);
    TRY("open", calf_open(data, &o, &db, &err));
    dsn = calf_dsn(db);
    conn = connected(dsn);
    ask(&conn, dsn, "create table if not exists t (i int primary key, x text)");
    for (int i = 0; i < ROWS; i++) {
        snprintf(sql, sizeof(sql), "insert into t values (%d, 'x') on conflict do nothing", i);
        ask(&conn, dsn, sql);
    }
    ask(&conn, dsn, "create extension if not exists hstore");
    ask(&conn, dsn, "select 'a=>1'::hstore -> 'a'");
    ask(&conn, dsn, "select upper('x' collate \"en-x-icu\")");
    ask(&conn, dsn, "copy t to program 'cat >/dev/null; true'");
    ask(&conn, dsn, "select count(*) from generate_series(1, 300000) g group by g % 3");
    TRY("listen", calf_listen(db, sock, &err));
    other = connected(calf_uri(db));
    PQfinish(other);
    TRY("unlisten", calf_unlisten(db, NULL, &err));
    TRY("psql", run_psql(db));
    TRY("snapshot", calf_snapshot(db, copy, &err));
    PQfinish(conn);
    TRY("close", calf_close(db, CALF_FAST, &err));
    TRY("open again", calf_open(data, &o, &db, &err));
    dsn = calf_dsn(db);
    conn = connected(dsn);
    if (atoi(ask(&conn, dsn, "select count(*) from t")) != ROWS)
        end(LOST, "open again");
    PQfinish(conn);
    TRY("close again", calf_close(db, CALF_FAST, &err));
}

static enum kind kind_of(const char *name)
{
    int kind = 0;

    while (kind < NKINDS && strcmp(names[kind], name) != 0)
        kind++;
    return kind;
}

static int run_child(const char *dir, const char *kind, unsigned n)
{
    char path[PATH_SIZE];
    FILE *f;

    signal(SIGXFSZ, SIG_IGN); /* as a host that has such a limit must */
    out = memfd_create("psql", MFD_CLOEXEC);
    dl_iterate_phdr(find_text, dlsym(dlopen("libcalf.so.0", RTLD_NOW | RTLD_NOLOAD), "calf_open"));
    fault_kind = kind_of(kind);
    fault_n = n;
    child(dir);
    snprintf(path, sizeof(path), "%s/counts", dir);
    f = fopen(path, "we");
    for (int i = 0; i < NKINDS; i++)
        fprintf(f, "%u\n", counts[i]);
    fclose(f);
    return recovered ? RECOVERED : noticed ? CLEAN : UNTOUCHED;
}

/* ---- the parent --------------------------------------------------------------------------- */

#define JOBS 2

struct point {
    enum kind kind;
    unsigned n;
};
struct job {
    struct point point;
    pid_t pid; /* 0: none */
    time_t until;
    char dir[PATH_SIZE];
};

static const char *scratch;
static int seconds = 150;
static int untouched, clean, recoveries, bad;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void start(struct job *j, struct point p)
{
    static int number;
    char n[16], log[PATH_SIZE + 8];
    int fd;

    j->point = p;
    snprintf(j->dir, sizeof(j->dir), "%s/%d", scratch, number++);
    snprintf(log, sizeof(log), "%s/log", j->dir);
    snprintf(n, sizeof(n), "%u", p.n);
    mkdir(j->dir, 0700);
    j->until = time(NULL) + seconds;
    j->pid = fork();
    if (j->pid != 0)
        return;
    fd = open(log, O_WRONLY | O_CREAT, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execl("/proc/self/exe", "faults", "--child", j->dir, p.kind < NKINDS ? names[p.kind] : "none",
          n, NULL);
    _exit(99);
}

/* What it said last, for a failure. */
static void show_log(const struct job *j)
{
    char command[PATH_SIZE + 64];

    snprintf(command, sizeof(command), "tail -n 12 '%s/log' | sed 's/^/    /'", j->dir);
    if (system(command) != 0)
        printf("    (no log)\n");
}

static void judge(struct job *j, int status, bool hangs)
{
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

    untouched += code == UNTOUCHED;
    clean += code == CLEAN;
    recoveries += code == RECOVERED;
    if (code != UNTOUCHED && code != CLEAN && code != RECOVERED) {
        bad++;
        printf("FAILED %s %u: ", names[j->point.kind], j->point.n);
        if (hangs)
            printf("hangs\n");
        else if (code >= LOST && code <= BROKEN)
            printf("%s\n", texts[code - LOST]);
        else if (code >= 0)
            printf("the host ended with exit code %d\n", code);
        else
            printf("the host died by signal %d\n", WTERMSIG(status));
        show_log(j);
        fflush(stdout);
    }
    nftw(j->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    j->pid = 0;
}

/* Waits for nothing: a child that ended is judged, one that hangs is killed. */
static void look(struct job *j)
{
    bool hangs = j->pid && time(NULL) > j->until;
    int status;

    if (hangs)
        kill(j->pid, SIGKILL);
    if (j->pid && waitpid(j->pid, &status, hangs ? 0 : WNOHANG) == j->pid)
        judge(j, status, hangs);
}

static void run_points(const struct point *points, int n)
{
    struct job jobs[JOBS] = {0};
    struct timespec pause = {0, 5000000};

    for (int next = 0, busy = 1; busy;) {
        busy = next < n;
        for (int i = 0; i < JOBS; i++) {
            look(&jobs[i]);
            if (!jobs[i].pid && next < n)
                start(&jobs[i], points[next++]);
            busy |= jobs[i].pid != 0;
        }
        nanosleep(&pause, NULL);
    }
}

/* How often each kind is called when nothing fails; false: that does not work. */
static bool count(unsigned calls[NKINDS])
{
    struct job j = {0};
    char path[PATH_SIZE + 16];
    int status;
    FILE *f;

    start(&j, (struct point){NKINDS, 0});
    waitpid(j.pid, &status, 0);
    snprintf(path, sizeof(path), "%s/counts", j.dir);
    f = fopen(path, "re");
    for (int i = 0; f && i < NKINDS; i++)
        if (fscanf(f, "%u", &calls[i]) != 1)
            return false;
    if (f)
        fclose(f);
    if (!f || status != 0)
        show_log(&j);
    nftw(j.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return f && status == 0;
}

/* `some` points: two of each kind, the others of all; they come first. */
static int sample(struct point *points, int n, int some)
{
    int taken = 0, of_kind[NKINDS] = {0};

    for (int i = n - 1; i > 0; i--) {
        int k = random() % (i + 1);
        struct point p = points[i];

        points[i] = points[k];
        points[k] = p;
    }
    for (int i = 0; i < n; i++) {
        struct point p = points[i];

        if (of_kind[p.kind]++ >= 2)
            continue;
        points[i] = points[taken];
        points[taken++] = p;
    }
    return taken > some ? taken : some < n ? some : n;
}

int main(int argc, char **argv)
{
    static struct point points[POINTS_MAX];
    unsigned calls[NKINDS];
    int n = 0;

    if (argc == 5 && strcmp(argv[1], "--child") == 0)
        return run_child(argv[2], argv[3], atoi(argv[4]));
    if (argc < 3)
        return fprintf(stderr, "usage: see faults.c\n"), 2;
    scratch = argv[1];
    if (getenv("CALF_FAULTS_SECONDS"))
        seconds = atoi(getenv("CALF_FAULTS_SECONDS"));
    if (argc == 4 && kind_of(argv[2]) < NKINDS) {
        points[n++] = (struct point){kind_of(argv[2]), atoi(argv[3])};
    } else {
        if (!count(calls)) {
            printf("FAILED without a fault\n0 passed, 1 failed\n");
            return 1;
        }
        for (int kind = 0; kind < NKINDS; kind++)
            for (unsigned i = 1; i <= calls[kind] && n < POINTS_MAX; i++)
                points[n++] = (struct point){kind, i};
        printf("%d calls can fail\n", n);
        if (argc == 4) {
            srandom(atoi(argv[3]));
            n = sample(points, n, atoi(argv[2]));
            printf("%d of them, seed %s\n", n, argv[3]);
        }
    }
    run_points(points, n);
    printf("unnoticed %d, an error %d, PostgreSQL recovered %d\n", untouched, clean, recoveries);
    printf("%d passed, %d failed\n", untouched + clean + recoveries, bad);
    return bad > 0;
}

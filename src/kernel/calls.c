/*
 * calls.c - calls.def made code: gates, the table that binds images, tracing
 *
 * The rule that matters: only a gate turns -errno into -1 and errno, and only
 * the end of a gate delivers signals.  Everything here is made from calls.def.
 */
#include "kernel.h"

#include <dlfcn.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <termios.h>
#include <utime.h>

struct semaphore;

/* ---- tracing: CALF_TRACE=file ------------------------------------------------------- */

static FILE *trace_file;

void calls_trace_init(void)
{
    const char *name = getenv("CALF_TRACE");

    if (name && *name && !trace_file)
        trace_file = fopen(name, "ae");
}

static void trace(const char *call, const char *names, long rc, int n, const long *args)
{
    char line[1024];
    int at = snprintf(line, sizeof(line), "%d %s(", self()->pid, call);

    for (int i = 0; i < n && at < (int)sizeof(line) - 64; i++) {
        int len = (int)strcspn(names, ",");

        if (strncmp(names, "path", 4) == 0 && args[i])
            at += snprintf(line + at, 300, "%s\"%.200s\"", i ? ", " : "", (const char *)args[i]);
        else
            at += snprintf(line + at, 64, "%s%.*s=%#lx", i ? ", " : "", len, names, args[i]);
        names += len + (names[len] == ',');
    }
    snprintf(line + at, sizeof(line) - at, ") = %ld\n", rc);
    fputs(line, trace_file);
    fflush(trace_file);
}

#define ARGS_0()
#define ARGS_1(a) (long)(a)
#define ARGS_2(a, ...) (long)(a), ARGS_1(__VA_ARGS__)
#define ARGS_3(a, ...) (long)(a), ARGS_2(__VA_ARGS__)
#define ARGS_4(a, ...) (long)(a), ARGS_3(__VA_ARGS__)
#define ARGS_5(a, ...) (long)(a), ARGS_4(__VA_ARGS__)
#define ARGS_6(a, ...) (long)(a), ARGS_5(__VA_ARGS__)
#define PICK(_0, _1, _2, _3, _4, _5, _6, name, ...) name
#define ARGS(...)                                                                                  \
    PICK(_0 __VA_OPT__(, ) __VA_ARGS__, ARGS_6, ARGS_5, ARGS_4, ARGS_3, ARGS_2, ARGS_1, ARGS_0)    \
    (__VA_ARGS__)
#define TRACE(name, names, rc, args)                                                               \
    do {                                                                                           \
        if (__builtin_expect(trace_file != NULL, 0)) {                                             \
            long list_[] = {0, ARGS args};                                                         \
            trace(#name, names, (long)(rc), sizeof(list_) / sizeof(long) - 1, list_ + 1);          \
        }                                                                                          \
    } while (0)

/* ---- gates ---------------------------------------------------------------------------- */

#define GATE(type, name, params, args, names, level, why)                                          \
    type sys_##name params;                                                                        \
    type gate_##name params;                                                                       \
    type gate_##name params                                                                        \
    {                                                                                              \
        for (;;) {                                                                                 \
            struct proc *p = gate_enter();                                                         \
            type rc = sys_##name args;                                                             \
            bool again;                                                                            \
                                                                                                   \
            TRACE(name, names, rc, args);                                                          \
            again = gate_leave(p);                                                                 \
            if (rc >= 0)                                                                           \
                return rc;                                                                         \
            if (rc == -ERESTART && again)                                                          \
                continue;                                                                          \
            errno = rc == -ERESTART ? EINTR : (int)-rc;                                            \
            return -1;                                                                             \
        }                                                                                          \
    }
#define VALUE(type, name, params, args, names, level, why)                                         \
    type sys_##name params;                                                                        \
    static type gate_##name params                                                                 \
    {                                                                                              \
        struct proc *p = gate_enter();                                                             \
        type rc = sys_##name args;                                                                 \
                                                                                                   \
        TRACE(name, names, rc, args);                                                              \
        gate_leave(p);                                                                             \
        return rc;                                                                                 \
    }
#define DIRECT(name, function, level, why) extern void function##_(void) __asm__(#function);
#define HOST(name)
#define DATA(name, field)
#include "calls.def"
#undef GATE
#undef VALUE
#undef DIRECT
#undef HOST
#undef DATA

/* ---- the table --------------------------------------------------------------------------- */

struct row {
    const char *name;
    void *addr;  /* NULL: the host's, looked up when first wanted */
    size_t data; /* offset in struct procdata + 1, 0: not a variable */
};

static struct row rows[] = {
#define GATE(type, name, params, args, names, level, why) {#name, (void *)gate_##name, 0},
#define VALUE(type, name, params, args, names, level, why) {#name, (void *)gate_##name, 0},
#define DIRECT(name, function, level, why) {#name, (void *)function##_, 0},
#define HOST(name) {#name, NULL, 0},
#define DATA(name, field) {#name, NULL, offsetof(struct procdata, field) + 1},
#include "calls.def"
};

#define NROWS (sizeof(rows) / sizeof(rows[0]))
#define BUCKETS 2048
_Static_assert(NROWS < BUCKETS / 2, "room in the hash table");

static uint16_t buckets[BUCKETS]; /* row + 1 */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static unsigned hash(const char *s)
{
    unsigned h = 2166136261u;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h % BUCKETS;
}

static void fill(void)
{
    for (size_t i = 0; i < NROWS; i++) {
        unsigned at = hash(rows[i].name);

        while (buckets[at])
            at = (at + 1) % BUCKETS;
        buckets[at] = (uint16_t)(i + 1);
    }
}

static struct row *row_of(const char *name)
{
    pthread_once(&once, fill);
    for (unsigned at = hash(name); buckets[at]; at = (at + 1) % BUCKETS)
        if (strcmp(rows[buckets[at] - 1].name, name) == 0)
            return &rows[buckets[at] - 1];
    return NULL;
}

int calls_resolve(struct program *g, const char *name, void *copy, void **addr, bool *per_process)
{
    struct row *r = row_of(name);

    *per_process = false;
    if (!r)
        return 0;
    if (r->data) {
        *addr = (char *)&g->data + r->data - 1;
        *per_process = true;
        if (copy && strstr(name, "environ"))
            env_set_slot(g, copy);
        else if (copy)
            misc_set_var(g, name, copy);
        return 1;
    }
    if (!r->addr)
        r->addr = dlsym(RTLD_DEFAULT, name);
    *addr = r->addr;
    return r->addr != NULL;
}

/*
 * Libraries that are instances: PostgreSQL's own; readline, which owns the
 * terminal, signals and standard streams of the program that uses it; zlib, whose
 * gzopen() and gzdopen() read and write descriptors of the program.
 */
bool calls_library_is_inside(const char *soname)
{
    static const char *const inside[] = {"libpq.so",      "libecpg.so",     "libecpg_compat.so",
                                         "libpgtypes.so", "libreadline.so", "libhistory.so",
                                         "libedit.so",    "libz.so"};

    for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
        if (strncmp(soname, inside[i], strlen(inside[i])) == 0)
            return true;
    return false;
}

/*
 * heap_test.c - src/kernel/heap.c alone, with a stub of self()
 *
 * with: heap
 * usage: heap [SEED]        random stress; prints the seed, then 'N passed, N failed'
 *        heap bench         a comparison with the host's malloc
 */
#include "../../src/kernel/kernel.h"
#undef CHECK

#include <malloc.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/mman.h>
#include <sys/wait.h>

void *sys_malloc(size_t size);
void *sys_calloc(size_t n, size_t size);
void *sys_realloc(void *p, size_t size);
void sys_free(void *p);
int sys_posix_memalign(void **out, size_t align, size_t size);
size_t sys_malloc_usable_size(void *p);
char *sys_strdup(const char *s);
char *sys_strndup(const char *s, size_t n);
void heap_set_threaded(struct heap *h);
void heap_trim(struct heap *h, size_t keep);
size_t heap_idle(struct heap *h);
size_t heap_mapped(struct heap *h);
ssize_t sys_write(int fd, const void *buf, size_t size);
_Noreturn void sys_abort(void);

static int passed, failed;
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (x)                                                                                     \
            passed++;                                                                              \
        else {                                                                                     \
            failed++;                                                                              \
            printf("not ok: %s (line %d)\n", #x, __LINE__);                                        \
        }                                                                                          \
    } while (0)

static struct program program;
static struct proc process = {.prog = &program};
static struct proc *current = &process;
static jmp_buf aborted;

struct proc *self(void)
{
    return current;
}

ssize_t sys_write(int fd, const void *buf, size_t size)
{
    (void)fd;
    (void)buf;
    return size;
}

void sys_abort(void)
{
    longjmp(aborted, 1);
}

static uint64_t rng_state;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 0x2545F4914F6CDD1DUL;
}

static size_t random_size(void)
{
    switch (rng() % 16) {
    case 0: return 8192UL << (rng() % 11); /* the blocks of an AllocSet */
    case 1: return rng() % (3 << 20);
    case 2:
    case 3: return rng() % 100000;
    case 4:
    case 5:
    case 6: return rng() % 9000;
    default: return rng() % 300;
    }
}

static void fill(unsigned char *p, size_t size, unsigned char tag)
{
    /* The ends and some of the middle are enough, and quick. */
    size_t edge = size < 512 ? size : 256;

    memset(p, tag, edge);
    memset(p + size - edge, tag, edge);
    for (size_t i = edge; i + edge < size; i += 4096)
        p[i] = tag;
}

static bool filled(const unsigned char *p, size_t size, unsigned char tag)
{
    size_t edge = size < 512 ? size : 256;

    for (size_t i = 0; i < edge; i++)
        if (p[i] != tag || p[size - 1 - i] != tag)
            return false;
    for (size_t i = edge; i + edge < size; i += 4096)
        if (p[i] != tag)
            return false;
    return true;
}

#define SLOTS 1500

static void stress(int rounds)
{
    static struct slot {
        unsigned char *p;
        size_t size;
        unsigned char tag;
    } slots[SLOTS];
    size_t live = 0;
    bool content = true, aligned = true, zero = true, owned = true, usable = true;

    for (int i = 0; i < rounds; i++) {
        struct slot *s = &slots[rng() % SLOTS];
        size_t size = random_size();
        unsigned what = rng() % 16;

        if (live > (200UL << 20))
            what = 15;
        if (s->p && !filled(s->p, s->size, s->tag))
            content = false;
        if (s->p && what < 5) {
            unsigned char *q = sys_realloc(s->p, size ? size : 1);

            size = size ? size : 1;
            if (!filled(q, size < s->size ? (size < 256 ? size : 256) : s->size, s->tag))
                content = false;
            live += size - s->size;
            s->p = q;
        } else {
            if (s->p) {
                sys_free(s->p);
                live -= s->size;
                s->p = NULL;
            }
            if (what == 15)
                continue;
            live += size;
            if (what == 14) {
                size_t align = 8UL << (rng() % 15);
                void *out;

                CHECK(sys_posix_memalign(&out, align, size) == 0);
                aligned &= (uintptr_t)out % align == 0;
                s->p = out;
            } else if (what >= 11) {
                s->p = sys_calloc(1, size);
                for (size_t b = 0; b < size; b++)
                    if (s->p[b]) {
                        zero = false;
                        break;
                    }
            } else
                s->p = sys_malloc(size);
        }
        aligned &= (uintptr_t)s->p % 16 == 0;
        owned &= heap_owns(program.heap, s->p);
        usable &= sys_malloc_usable_size(s->p) >= size;
        s->size = size;
        s->tag = rng();
        fill(s->p, size, s->tag);
    }
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i].p)
            content &= filled(slots[i].p, slots[i].size, slots[i].tag);
        sys_free(slots[i].p);
        slots[i].p = NULL;
    }
    CHECK(content);
    CHECK(aligned);
    CHECK(zero);
    CHECK(owned);
    CHECK(usable);
    CHECK(heap_idle(program.heap) <= 16UL << 20);
}

/* Of `n` pieces of memory that were freed, the bytes that are still there, a page for each.  Not
 * what /proc says of the process, most of which is the sanitizer's. */
static size_t resident(char *const *p, int n)
{
    size_t bytes = 0;
    unsigned char in = 0;

    for (int i = 0; i < n; i++)
        if (mincore((void *)((uintptr_t)p[i] & ~4095UL), 4096, &in) == 0 && in & 1)
            bytes += 8192;
    return bytes;
}

/* Bytes of address space that the process has. */
static size_t mapped(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%ld", &pages) != 1)
        abort();
    fclose(f);
    return pages * 4096UL;
}

static long faults(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return u.ru_minflt;
}

static void *thread(void *arg)
{
    char *p[100] = {0};
    uint64_t x = (uintptr_t)arg;

    for (int i = 0; i < 200000; i++) {
        unsigned k = (x = x * 6364136223846793005UL + 1442695040888963407UL) >> 33;

        sys_free(p[k % 100]);
        p[k % 100] = sys_malloc(k % 5000);
        p[k % 100][0] = 1;
    }
    for (int i = 0; i < 100; i++)
        sys_free(p[i]);
    return NULL;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void bench_one(const char *name, size_t lo, size_t hi, int live, bool touch)
{
    for (int ours = 0; ours < 2; ours++) {
        void *(*get)(size_t) = ours ? sys_malloc : malloc;
        void (*put)(void *) = ours ? sys_free : free;
        char **p = calloc(live, sizeof(*p));
        int n = 2000000 / (1 + (touch ? hi / 65536 : 0));
        double begin = seconds();

        rng_state = 42;
        for (int i = 0; i < n; i++) {
            int k = live == 1 ? 0 : (int)(rng() % live);

            put(p[k]);
            p[k] = get(lo == hi ? lo : lo + rng() % (hi - lo));
            p[k][0] = 1;
            if (touch)
                for (size_t at = 0; at < lo; at += 4096)
                    p[k][at] = 1;
        }
        printf("%-28s %-5s %7.1f ns\n", name, ours ? "heap" : "host",
               (seconds() - begin) / n * 1e9);
        for (int i = 0; i < live; i++)
            put(p[i]);
        free(p);
    }
}

static void bench(void)
{
    bench_one("24, one", 24, 24, 1, false);
    bench_one("8-200, 1000 live", 8, 200, 1000, false);
    bench_one("8-200, 100000 live", 8, 200, 100000, false);
    bench_one("8192, one", 8192, 8192, 1, false);
    bench_one("1-64K, 200 live", 1000, 65536, 200, false);
    bench_one("1 MB touched, one", 1 << 20, 1 << 20, 1, true);
    bench_one("8 MB touched, one", 8 << 20, 8 << 20, 1, true);
    bench_one("1-3 MB touched, 4 live", 1 << 20, 3 << 20, 4, true);

    double begin = seconds();
    for (int i = 0; i < 10000; i++) {
        struct heap *h = heap_create();

        *(char *)heap_alloc(h, 100) = 1;
        heap_destroy(h);
    }
    printf("%-34s %7.1f ns\n", "create, use, destroy", (seconds() - begin) / 1e4 * 1e9);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);

    program.heap = heap_create();
    CHECK(program.heap != NULL);
    if (argc > 1 && strcmp(argv[1], "bench") == 0) {
        bench();
        return 0;
    }
    printf("seed %lu\n", (unsigned long)seed);
    rng_state = seed * 2 + 1;

    /* A fresh heap touches next to nothing. */
    {
        unsigned char in[256];
        int touched = 0;

        CHECK(heap_mapped(program.heap) == 1 << 20);
        CHECK(mincore((void *)((uintptr_t)program.heap & ~4095UL), 1 << 20, in) == 0);
        for (int i = 0; i < 256; i++)
            touched += in[i] & 1;
        CHECK(touched <= 4);
    }

    /* Memory of the host is the host's, whichever way it comes back. */
    {
        void *host[1000];

        for (int i = 0; i < 1000; i++) {
            host[i] = malloc(rng() % 300000);
            CHECK(!heap_owns(program.heap, host[i]));
        }
        for (int i = 0; i < 1000; i++)
            sys_free(i % 2 ? host[i] : sys_realloc(host[i], 1 + rng() % 300000));
        current = NULL;
        sys_free(sys_realloc(sys_malloc(10), 100));
        sys_free(sys_calloc(3, 4));
        current = &process;
    }

    /* malloc's small print */
    {
        char *s = sys_strdup("hello");
        volatile size_t huge = SIZE_MAX / 2 + 10;
        void *out = &seed;

        CHECK(strcmp(s, "hello") == 0);
        sys_free(s);
        s = sys_strndup("hello", 3);
        CHECK(strcmp(s, "hel") == 0);
        sys_free(s);
        errno = 0;
        CHECK(sys_malloc(huge) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(sys_calloc(huge, 2) == NULL && errno == ENOMEM);
        s = sys_malloc(10);
        errno = 0;
        CHECK(sys_realloc(s, huge) == NULL && errno == ENOMEM);
        sys_free(s);
        CHECK(sys_posix_memalign(&out, 24, 10) == EINVAL && out == &seed);
        CHECK(sys_posix_memalign(&out, 1 << 22, 5 << 20) == 0 && (uintptr_t)out % (1 << 22) == 0);
        memset(out, 1, 5 << 20);
        CHECK(heap_owns(program.heap, out));
        sys_free(out);
        s = sys_malloc(0);
        CHECK(s != NULL && sys_malloc_usable_size(s) >= 24);
        sys_free(s);
    }

    /* A loop over one big block keeps its pages. */
    for (size_t size = 8192; size <= 8 << 20; size *= 2) {
        long before;

        memset(sys_realloc(sys_malloc(1), 1), 1, 1);
        for (int i = 0; i < 3; i++) {
            char *p = sys_malloc(size);

            memset(p, 1, size);
            sys_free(p);
        }
        before = faults();
        for (int i = 0; i < 20; i++) {
            char *p = sys_malloc(size);

            memset(p, 1, size);
            sys_free(p);
        }
        CHECK(faults() - before < 10);
    }

    /* realloc() that grows step by step keeps the content, and the big ones do not copy. */
    {
        unsigned char *p = NULL;
        bool ok = true;

        for (size_t size = 1; size < 20 << 20; size += 1 + size / 3) {
            p = sys_realloc(p, size);
            for (size_t i = size > 5000 ? 5000 : size; i-- > 0;)
                p[size - 1 - i] = (unsigned char)(size - 1 - i);
            for (size_t i = 0; i < size; i += 1 + size / 100)
                if (i + 1 == size)
                    ok &= p[i] == (unsigned char)i;
        }
        CHECK(ok);
        for (size_t size = 20 << 20; size > 0; size /= 2) {
            p = sys_realloc(p, size);
            ok &= p[0] == 0;
        }
        CHECK(ok);
        sys_free(p);
    }

    stress(300000);

    /* Freed memory goes back: little stays resident, and nothing after a trim. */
    {
        static char *p[30000];

        heap_trim(program.heap, 0);
        for (int i = 0; i < 30000; i++) {
            p[i] = sys_malloc(8192);
            memset(p[i], 1, 8192);
        }
        CHECK(resident(p, 30000) == 30000 * 8192UL);
        for (int i = 0; i < 30000; i++)
            sys_free(p[i]);
        CHECK(resident(p, 30000) < 18UL << 20);
        CHECK(heap_idle(program.heap) <= 16UL << 20);
        heap_trim(program.heap, 0);
        CHECK(resident(p, 30000) < 1UL << 20);
        CHECK(heap_idle(program.heap) == 0);
        /* What was given back reads as zeros, as calloc() believes. */
        for (int i = 0; i < 200; i++) {
            size_t size = 70000 + rng() % 900000;
            unsigned char *z = sys_calloc(1, size);
            bool zero = true;

            for (size_t b = 0; b < size; b++)
                zero &= z[b] == 0;
            CHECK(zero);
            memset(z, 7, size);
            if (i % 3 == 0)
                heap_trim(program.heap, 0);
            sys_free(z);
            if (i % 5 == 0)
                heap_trim(program.heap, 0);
        }
    }

    /* The guest's mistakes end the guest, and are found before they spread. */
    {
        char *volatile p = sys_malloc(100);
        char *volatile q = sys_malloc(100);
        char *volatile big = sys_malloc(3 << 20);
        volatile int caught = 0;

        sys_free(p);
        if (setjmp(aborted) == 0)
            sys_free(p);
        else
            caught++;
        CHECK(caught == 1);
        if (setjmp(aborted) == 0)
            sys_free(q + 16);
        else
            caught++;
        CHECK(caught == 2);
        if (setjmp(aborted) == 0)
            sys_free(q + 1);
        else
            caught++;
        CHECK(caught == 3);
        sys_free(big);
        if (setjmp(aborted) == 0)
            sys_free(big);
        else
            caught++;
        CHECK(caught == 4);
        p = sys_malloc(40);
        q = sys_malloc(40);
        memset(p, 0x41, 64); /* into the next head */
        if (setjmp(aborted) == 0)
            sys_free(p);
        else
            caught++;
        CHECK(caught == 5);
    }
    heap_destroy(program.heap);

    /* Several threads */
    {
        pthread_t t[4];

        program.heap = heap_create();
        heap_set_threaded(program.heap);
        for (uintptr_t i = 0; i < 4; i++)
            pthread_create(&t[i], NULL, thread, (void *)(i + 1));
        for (int i = 0; i < 4; i++)
            pthread_join(t[i], NULL);
        stress(20000);
        heap_destroy(program.heap);
    }

    /* Heaps come and go without a trace. */
    {
        size_t before = mapped();

        for (int i = 0; i < 300; i++) {
            program.heap = heap_create();
            for (int k = 0; k < 300; k++)
                memset(sys_malloc(10000), 1, 10000);
            memset(sys_malloc(5 << 20), 1, 5 << 20);
            sys_free(sys_malloc(5 << 20));
            heap_destroy(program.heap);
        }
        CHECK(mapped() < before + (2UL << 20));
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

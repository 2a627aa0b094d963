/*
 * heap.c - the memory of one process
 *
 * malloc() and its family for one program.  Requests of up to 1 MB come from
 * segments by two-level segregated fit with boundary tags: every operation is
 * O(1) and neighbours merge at once.  Bigger requests have a mapping of their
 * own; a few freed ones are kept so that a query which takes and gives back an
 * 8 MB block in a loop does not fault its pages every time.
 *
 * The rule that matters: memory of the host's malloc is never claimed.  A
 * library of the host hands such memory to PostgreSQL (realpath, strdup, ICU,
 * libxml2), and free() of it must reach the host's free().  So every pointer is
 * looked up in the table of segments, then in that of the big blocks.
 *
 * At most CHUNK_IDLE_MAX + BIG_IDLE_MAX bytes of touched but free memory are
 * kept (holes below LARGE_CHUNK are not counted); the rest goes back to the
 * system.  Two budgets, because with one a heap full of small holes would throw
 * away the very 8 MB block that a loop is about to ask for again.
 *
 * Not done: arenas per thread.  Only pgbench has threads; it shares one lock.
 */
#include "kernel.h"

#include <malloc.h>
#include <sys/mman.h>

ssize_t sys_write(int fd, const void *buf, size_t size);
_Noreturn void sys_abort(void);
void heap_set_threaded(struct heap *h);
bool heap_threaded(struct heap *h);
void heap_trim(struct heap *h, size_t keep);
size_t heap_idle(struct heap *h);
size_t heap_mapped(struct heap *h);

#define ALIGN 16
#define PAGE 4096UL  /* only for rounding; a host with larger pages wastes less than it could */
#define SLOT_BITS 22 /* a segment begins at a multiple of 4 MB: the key of its table */
#define SLOT_SIZE (1UL << SLOT_BITS)
#define SEGMENT_SMALL (1UL << 20)
#define SEGMENT_BIG SLOT_SIZE
#define SMALL_SEGMENTS 4           /* the first segments are small */
#define NO_HUGE_BELOW (16UL << 20) /* a small process must not get pages of 2 MB */
#define BIG_MIN ((1UL << 20) + 1)  /* from here on a mapping of its own */
#define BIG_GRAIN (64UL << 10)     /* big mappings are multiples of this */
#define LARGE_CHUNK (64UL << 10)   /* free chunks from here on know their touched part */
#define CHUNK_IDLE_MAX (6UL << 20)
#define CHUNK_IDLE_PURGED (4UL << 20) /* what a purge leaves: it does not run for every free() */
#define BIG_IDLE_MAX (10UL << 20)     /* the largest block of an AllocSet, 8 MB, fits */
#define QUICK_MAX 1024UL              /* chunks up to here are kept unmerged for the next taker */
#define QUICK_COUNT 16                /* so many of each size */
#define CHUNK_MIN 32UL
#define HEAD_SIZE offsetof(struct chunk, next)

#define FREE 1UL /* this chunk is free */
#define PREV_FREE                                                                                  \
    2UL           /* the chunk before it is free, its size stands in the word before this head */
#define QUICK 4UL /* freed, on a quick list; to its neighbours it is in use */
#define SIZE_MASK 0xfffffff0UL

/*
 * A chunk.  `head` has the size and flags in the low half and a check value made
 * of the address in the upper half.  The caller's memory begins after `head` and
 * reaches to the next chunk's; all else here is only valid in a free chunk, whose
 * last word repeats the size.
 */
struct chunk {
    uint64_t head;
    struct chunk *next, *prev;
    /*
     * Only if the size is >= LARGE_CHUNK: outside of [lo, hi), of this struct and
     * of the last word, all bytes are zero and probably never touched.
     */
    uintptr_t lo, hi;
};

struct segment {
    size_t size;
    uint64_t pad;
};

struct big {
    size_t map;                /* bytes mapped from here on */
    char *user;                /* what the caller got */
    bool cached;               /* freed and kept */
    struct big *newer, *older; /* among the cached */
    uint64_t pad[3];
};
_Static_assert(sizeof(struct big) % 64 == 0, "a big block's memory begins on a cache line");

/* Open addressing; key 0 is free.  Grows at half load. */
struct table {
    struct entry {
        uintptr_t key;
        void *value;
    } * entries;
    unsigned bits, used;
    struct entry first[16];
};

#define SL 32 /* lists per power of two */
#define FL 15 /* sizes below 512, then one for each power of two up to 2^22 */

struct heap {
    pthread_mutex_t lock; /* guards all below, once threaded */
    _Atomic bool threaded;
    uint32_t secret;
    size_t idle;     /* touched bytes in free chunks >= LARGE_CHUNK */
    size_t big_idle; /* bytes of cached big blocks */
    size_t mapped;   /* bytes of address space */
    unsigned nsegments;
    struct big *newest, *oldest; /* cached */
    struct table segments;       /* address >> SLOT_BITS -> struct segment */
    struct table bigs;           /* page of the caller's pointer -> struct big */
    struct {
        struct chunk *first;
        unsigned count;
    } quick[QUICK_MAX / ALIGN + 1]; /* by size / ALIGN, last in first out */
    uint32_t fl_map;
    uint32_t sl_map[FL];
    struct chunk *lists[FL][SL];
};

static inline void heap_lock(struct heap *h)
{
    if (atomic_load_explicit(&h->threaded, memory_order_relaxed))
        pthread_mutex_lock(&h->lock);
}

static inline void heap_unlock(struct heap *h)
{
    if (atomic_load_explicit(&h->threaded, memory_order_relaxed))
        pthread_mutex_unlock(&h->lock);
}

/* The guest's mistake ends the guest, as in glibc. */
static _Noreturn void corrupt(struct heap *h, const char *what)
{
    heap_unlock(h);
    if (sys_write(2, what, strlen(what)) < 0) {
        /* nobody to tell */
    }
    sys_abort();
}

/* ---- tables --------------------------------------------------------------- */

static inline size_t table_slot(const struct table *t, uintptr_t key)
{
    return (key * 0x9E3779B97F4A7C15UL) >> (64 - t->bits);
}

static inline void *table_get(const struct table *t, uintptr_t key)
{
    size_t mask = (1UL << t->bits) - 1;

    for (size_t i = table_slot(t, key);; i = (i + 1) & mask) {
        if (t->entries[i].key == key)
            return t->entries[i].value;
        if (t->entries[i].key == 0)
            return NULL;
    }
}

static void table_init(struct table *t)
{
    t->entries = t->first;
    t->bits = 4;
}

static void table_put(struct table *t, uintptr_t key, void *value)
{
    size_t mask = (1UL << t->bits) - 1;
    size_t i = table_slot(t, key);

    while (t->entries[i].key)
        i = (i + 1) & mask;
    t->entries[i] = (struct entry){key, value};
    t->used++;
}

static void table_release(struct table *t)
{
    if (t->entries != t->first)
        munmap(t->entries, sizeof(struct entry) << t->bits);
}

/* Room for one more entry; false: no memory. */
static bool table_reserve(struct table *t)
{
    struct table bigger = {.bits = t->bits + 2};

    if (t->used < 1UL << (t->bits - 1))
        return true;
    bigger.entries = mmap(NULL, sizeof(struct entry) << bigger.bits, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bigger.entries == MAP_FAILED)
        return false;
    for (size_t i = 0; i < 1UL << t->bits; i++)
        if (t->entries[i].key)
            table_put(&bigger, t->entries[i].key, t->entries[i].value);
    table_release(t);
    t->entries = bigger.entries;
    t->bits = bigger.bits;
    return true;
}

static void table_remove(struct table *t, uintptr_t key)
{
    size_t mask = (1UL << t->bits) - 1;
    size_t hole = table_slot(t, key);

    while (t->entries[hole].key != key)
        hole = (hole + 1) & mask;
    t->used--;
    /* Entries that were pushed past the hole move back into it. */
    for (size_t i = (hole + 1) & mask; t->entries[i].key; i = (i + 1) & mask) {
        size_t home = table_slot(t, t->entries[i].key);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->entries[hole] = t->entries[i];
            hole = i;
        }
    }
    t->entries[hole].key = 0;
}

/* ---- chunks --------------------------------------------------------------- */

static inline uint64_t check_value(struct heap *h, struct chunk *c)
{
    return (uint64_t)((uint32_t)((uintptr_t)c >> 3) ^ h->secret) << 32;
}

static inline size_t chunk_size(const struct chunk *c)
{
    return c->head & SIZE_MASK;
}

static inline struct chunk *chunk_at(struct chunk *c, size_t offset)
{
    return (struct chunk *)((char *)c + offset);
}

static inline void set_head(struct heap *h, struct chunk *c, size_t size_and_flags)
{
    c->head = check_value(h, c) | size_and_flags;
}

static inline bool head_ok(struct heap *h, struct chunk *c)
{
    return (c->head & ~0xffffffffUL) == check_value(h, c);
}

static inline void *chunk_user(struct chunk *c)
{
    return &c->next;
}

static inline struct chunk *user_chunk(const void *p)
{
    return (struct chunk *)((uintptr_t)p - HEAD_SIZE);
}

/* The list a free chunk of this size belongs to. */
static inline void list_of(size_t size, unsigned *fl, unsigned *sl)
{
    if (size < 512) {
        *fl = 0;
        *sl = size >> 4;
    } else {
        unsigned log = 63 - __builtin_clzl(size);

        *fl = log - 8;
        *sl = (size >> (log - 5)) - SL;
    }
}

/* Make [c, c + size) one free chunk and list it.  Its neighbours are in use. */
static void list_add(struct heap *h, struct chunk *c, size_t size, uintptr_t lo, uintptr_t hi)
{
    unsigned fl, sl;
    struct chunk *first;

    list_of(size, &fl, &sl);
    first = h->lists[fl][sl];
    set_head(h, c, size | FREE);
    *(uint64_t *)((char *)c + size - 8) = size;
    c->prev = NULL;
    c->next = first;
    if (first)
        first->prev = c;
    else {
        h->sl_map[fl] |= 1U << sl;
        h->fl_map |= 1U << fl;
    }
    h->lists[fl][sl] = c;
    if (size >= LARGE_CHUNK) {
        uintptr_t begin = (uintptr_t)c, end = begin + size;

        c->lo = lo < begin ? begin : lo;
        c->hi = hi > end ? end : hi;
        if (c->lo >= c->hi)
            c->lo = c->hi = begin;
        h->idle += c->hi - c->lo;
    }
}

/* Take a free chunk off its list and say which part of it was touched. */
static void list_remove(struct heap *h, struct chunk *c, uintptr_t *lo, uintptr_t *hi)
{
    size_t size = chunk_size(c);
    unsigned fl, sl;

    if (!head_ok(h, c))
        corrupt(h, "calf: heap corrupted: overwritten chunk\n");
    list_of(size, &fl, &sl);
    if (c->prev ? c->prev->next != c : h->lists[fl][sl] != c)
        corrupt(h, "calf: heap corrupted: overwritten free chunk\n");
    if (c->next) {
        if (c->next->prev != c)
            corrupt(h, "calf: heap corrupted: overwritten free chunk\n");
        c->next->prev = c->prev;
    }
    if (c->prev)
        c->prev->next = c->next;
    else {
        h->lists[fl][sl] = c->next;
        if (!c->next && !(h->sl_map[fl] &= ~(1U << sl)))
            h->fl_map &= ~(1U << fl);
    }
    if (size >= LARGE_CHUNK) {
        *lo = c->lo;
        *hi = c->hi;
        h->idle -= c->hi - c->lo;
    } else {
        *lo = (uintptr_t)c;
        *hi = (uintptr_t)c + size;
    }
}

/* A free chunk of at least `size` bytes, still listed, or NULL. */
static struct chunk *list_find(struct heap *h, size_t size)
{
    unsigned fl, sl, tries = 0;
    uint32_t map;

    list_of(size, &fl, &sl);
    /*
     * The list of this very size may hold smaller ones too.  Looking at a few of
     * them is what gives a block back to the next request of the same size.
     */
    for (struct chunk *c = h->lists[fl][sl]; c && tries < 4; c = c->next, tries++)
        if (chunk_size(c) >= size)
            return c;
    map = h->sl_map[fl] & (~1U << sl);
    if (!map) {
        map = h->fl_map & (~1U << fl);
        if (!map)
            return NULL;
        fl = __builtin_ctz(map);
        map = h->sl_map[fl];
    }
    return h->lists[fl][__builtin_ctz(map)];
}

static inline void extend(uintptr_t *lo, uintptr_t *hi, uintptr_t from, uintptr_t to)
{
    if (from >= to)
        return;
    if (*lo >= *hi) {
        *lo = from;
        *hi = to;
        return;
    }
    if (from < *lo)
        *lo = from;
    if (to > *hi)
        *hi = to;
}

/* Give back [c, c + size), of which [lo, hi) was touched; the head says whether prev is free. */
static void chunk_release(struct heap *h, struct chunk *c, size_t size, uintptr_t lo, uintptr_t hi)
{
    struct chunk *next = chunk_at(c, size);
    uintptr_t lo2, hi2;

    /* What stays behind of this head after a merge tells a second free() that it is one. */
    c->head |= FREE;
    if (c->head & PREV_FREE) {
        uint64_t before = *((uint64_t *)c - 1);
        struct chunk *prev = chunk_at(c, -before);

        if (before >= SLOT_SIZE || !head_ok(h, prev) || chunk_size(prev) != before)
            corrupt(h, "calf: heap corrupted: size before a chunk\n");
        list_remove(h, prev, &lo2, &hi2);
        extend(&lo, &hi, lo2, hi2);
        extend(&lo, &hi, (uintptr_t)c - 8, (uintptr_t)c + sizeof(*c));
        size += before;
        c = prev;
    }
    if (next->head & FREE) {
        size_t after = chunk_size(next);

        list_remove(h, next, &lo2, &hi2);
        extend(&lo, &hi, lo2, hi2);
        extend(&lo, &hi, (uintptr_t)next - 8, (uintptr_t)next + sizeof(*next));
        next = chunk_at(next, after);
        size += after;
    }
    next->head |= PREV_FREE;
    list_add(h, c, size, lo, hi);
}

/* Cut the used chunk `c` down to `size` bytes; it may have been free before, touched in [lo, hi).
 */
static inline void chunk_cut(struct heap *h, struct chunk *c, size_t size, uintptr_t lo,
                             uintptr_t hi)
{
    size_t whole = chunk_size(c);
    struct chunk *rest = chunk_at(c, size);

    if (whole - size < CHUNK_MIN)
        return;
    set_head(h, c, size | (c->head & PREV_FREE));
    set_head(h, rest, whole - size);
    if (lo < (uintptr_t)rest)
        lo = (uintptr_t)rest;
    chunk_release(h, rest, whole - size, lo, hi);
}

/* ---- segments ------------------------------------------------------------- */

/* Anonymous memory that begins at a multiple of SLOT_SIZE. */
static char *map_slot(size_t size)
{
    char *raw = mmap(NULL, size + SLOT_SIZE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *slot;

    if (raw == MAP_FAILED)
        return NULL;
    slot = (char *)(((uintptr_t)raw + SLOT_SIZE - 1) & ~(SLOT_SIZE - 1));
    if (slot > raw)
        munmap(raw, slot - raw);
    munmap(slot + size, raw + SLOT_SIZE - slot);
    return slot;
}

/* Where the first chunk of a segment is, `skip` bytes after the segment's own head. */
static inline struct chunk *segment_first(struct segment *s, size_t skip)
{
    return (struct chunk *)((((uintptr_t)(s + 1) + skip + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1)) +
                            ALIGN - HEAD_SIZE);
}

static void segment_fill(struct heap *h, struct segment *s, size_t skip)
{
    struct chunk *first = segment_first(s, skip);
    struct chunk *end = (struct chunk *)((char *)s + s->size - HEAD_SIZE);

    /* Behind the last chunk stands a head that is never free. */
    set_head(h, end, PREV_FREE);
    list_add(h, first, (char *)end - (char *)first, 0, 0);
    h->mapped += s->size;
    h->nsegments++;
}

static bool segment_add(struct heap *h, size_t need)
{
    size_t size =
        h->nsegments < SMALL_SEGMENTS && need < SEGMENT_SMALL / 2 ? SEGMENT_SMALL : SEGMENT_BIG;
    struct segment *s;

    if (!table_reserve(&h->segments) || !(s = (struct segment *)map_slot(size))) {
        errno = ENOMEM;
        return false;
    }
    if (size == SEGMENT_BIG && h->mapped < NO_HUGE_BELOW)
        madvise(s, size, MADV_NOHUGEPAGE);
    s->size = size;
    table_put(&h->segments, (uintptr_t)s >> SLOT_BITS, s);
    segment_fill(h, s, 0);
    return true;
}

/* The segment that `p` points into, or NULL. */
static inline struct segment *segment_of(struct heap *h, const void *p)
{
    struct segment *s = table_get(&h->segments, (uintptr_t)p >> SLOT_BITS);

    return s && (uintptr_t)p - (uintptr_t)s < s->size ? s : NULL;
}

/* ---- big blocks ----------------------------------------------------------- */

static inline struct big *big_of(struct heap *h, const void *p)
{
    struct big *b = table_get(&h->bigs, (uintptr_t)p / PAGE);

    return b && b->user == p ? b : NULL;
}

static void cache_remove(struct heap *h, struct big *b)
{
    *(b->newer ? &b->newer->older : &h->newest) = b->older;
    *(b->older ? &b->older->newer : &h->oldest) = b->newer;
    b->cached = false;
    h->big_idle -= b->map;
}

static void big_unmap(struct heap *h, struct big *b)
{
    table_remove(&h->bigs, (uintptr_t)b->user / PAGE);
    h->mapped -= b->map;
    munmap(b, b->map);
}

/*
 * The cached block that serves best: the smallest that is large enough and not
 * wasteful, else the largest that is worth growing for the pages it has.
 */
static struct big *cache_find(struct heap *h, size_t map)
{
    struct big *fits = NULL, *grows = NULL;

    for (struct big *b = h->newest; b; b = b->older)
        if (b->map >= map) {
            if (b->map / 2 <= map && (!fits || b->map < fits->map))
                fits = b;
        } else if (b->map >= map / 2 && (!grows || b->map > grows->map))
            grows = b;
    return fits ? fits : grows;
}

static void *big_alloc(struct heap *h, size_t align, size_t size, bool *zeroed)
{
    size_t head = align > sizeof(struct big) ? align + sizeof(struct big) : sizeof(struct big);
    size_t map;
    struct big *b = NULL;

    if (size > PTRDIFF_MAX - (1UL << 30) || align > 1UL << 30) {
        errno = ENOMEM;
        return NULL;
    }
    map = (size + head + BIG_GRAIN - 1) & ~(BIG_GRAIN - 1);
    *zeroed = false;
    if (align <= sizeof(struct big))
        b = cache_find(h, map);
    if (b) {
        cache_remove(h, b);
        /* A block that was cached may have begun later in its mapping. */
        table_remove(&h->bigs, (uintptr_t)b->user / PAGE);
        if (b->map < map) {
            struct big *moved = mremap(b, b->map, map, MREMAP_MAYMOVE);

            if (moved == MAP_FAILED) {
                h->mapped -= b->map;
                munmap(b, b->map);
                errno = ENOMEM;
                return NULL;
            }
            b = moved;
            h->mapped += map - b->map;
            b->map = map;
        }
    } else {
        if (!table_reserve(&h->bigs)) {
            errno = ENOMEM;
            return NULL;
        }
        b = mmap(NULL, map, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b == MAP_FAILED) {
            errno = ENOMEM;
            return NULL;
        }
        b->map = map;
        h->mapped += map;
        *zeroed = true;
    }
    b->user = (char *)(b + 1);
    if (align > sizeof(struct big))
        b->user = (char *)(((uintptr_t)b->user + align - 1) & ~(align - 1));
    table_put(&h->bigs, (uintptr_t)b->user / PAGE, b);
    return b->user;
}

/* Keep at most `keep` bytes of freed big blocks. */
static void big_evict(struct heap *h, size_t keep)
{
    while (h->big_idle > keep) {
        struct big *b = h->oldest;

        cache_remove(h, b);
        big_unmap(h, b);
    }
}

static void big_free(struct heap *h, struct big *b)
{
    if (b->cached)
        corrupt(h, "calf: free(): double free of a big block\n");
    if (b->map > BIG_IDLE_MAX) {
        big_unmap(h, b);
        return;
    }
    b->cached = true;
    b->newer = NULL;
    b->older = h->newest;
    *(h->newest ? &h->newest->newer : &h->oldest) = b;
    h->newest = b;
    h->big_idle += b->map;
    big_evict(h, BIG_IDLE_MAX);
}

static inline size_t big_size(const struct big *b)
{
    return (char *)b + b->map - b->user;
}

/* The block's new place, or NULL: the caller copies. */
static void *big_resize(struct heap *h, struct big *b, size_t size)
{
    size_t offset = b->user - (char *)b;
    size_t map = (size + offset + BIG_GRAIN - 1) & ~(BIG_GRAIN - 1);
    struct big *moved;

    /* A block that shrinks a little keeps its pages: it often grows again. */
    if (map <= b->map && map > b->map / 2)
        return b->user;
    moved = mremap(b, b->map, map, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED)
        return NULL;
    h->mapped += map - moved->map;
    moved->map = map;
    if (moved != b) {
        table_remove(&h->bigs, (uintptr_t)moved->user / PAGE);
        moved->user = (char *)moved + offset;
        table_put(&h->bigs, (uintptr_t)moved->user / PAGE, moved);
    }
    return moved->user;
}

/* ---- idle memory ---------------------------------------------------------- */

/* Give the touched pages of the free chunk back and leave it all zero. */
static void chunk_purge(struct heap *h, struct chunk *c)
{
    uintptr_t lo = c->lo, hi = c->hi;
    uintptr_t begin = (uintptr_t)(c + 1), end = (uintptr_t)c + chunk_size(c) - 8;
    uintptr_t first, last;

    h->idle -= hi - lo;
    c->lo = c->hi = (uintptr_t)c;
    lo = lo < begin ? begin : lo;
    hi = hi > end ? end : hi;
    if (lo >= hi)
        return;
    first = (lo + PAGE - 1) & ~(PAGE - 1);
    last = hi & ~(PAGE - 1);
    if (first >= last || madvise((void *)first, last - first, MADV_DONTNEED) < 0)
        first = last = hi; /* locked memory, say: then it is cleared the slow way */
    memset((void *)lo, 0, first - lo);
    memset((void *)last, 0, hi - last);
}

/* Keep at most `keep` bytes of idle memory in chunks. */
static void purge(struct heap *h, size_t keep)
{
    int saved = errno;
    uintptr_t lo, hi;

    for (int fl = FL - 1; fl >= 8 && h->idle > keep; fl--)
        for (int sl = SL - 1; sl >= 0 && h->idle > keep; sl--)
            for (struct chunk *c = h->lists[fl][sl], *next; c && h->idle > keep; c = next) {
                struct segment *s = segment_of(h, c);

                next = c->next;
                if (c == segment_first(s, 0) && chunk_size(chunk_at(c, chunk_size(c))) == 0) {
                    list_remove(h, c, &lo, &hi);
                    table_remove(&h->segments, (uintptr_t)s >> SLOT_BITS);
                    h->mapped -= s->size;
                    h->nsegments--;
                    munmap(s, s->size);
                } else if (c->lo < c->hi)
                    chunk_purge(h, c);
            }
    errno = saved;
}
_Static_assert(LARGE_CHUNK == 1UL << (8 + 8), "purge() looks at the lists from fl 8 on");

/* Give idle memory above `keep` bytes back: for a session that waits for its client. */
void heap_trim(struct heap *h, size_t keep)
{
    heap_lock(h);
    for (size_t i = 0; i <= QUICK_MAX / ALIGN; i++)
        for (struct chunk *c; (c = h->quick[i].first);) {
            h->quick[i].first = c->next;
            h->quick[i].count--;
            c->head &= ~QUICK;
            chunk_release(h, c, chunk_size(c), (uintptr_t)c, (uintptr_t)c + chunk_size(c));
        }
    big_evict(h, keep);
    purge(h, keep - h->big_idle);
    heap_unlock(h);
}

size_t heap_idle(struct heap *h)
{
    return h->idle + h->big_idle;
}

size_t heap_mapped(struct heap *h)
{
    return h->mapped;
}

/* ---- the heap ------------------------------------------------------------- */

struct heap *heap_create(void)
{
    struct segment *s = (struct segment *)map_slot(SEGMENT_SMALL);
    struct heap *h = (struct heap *)(s + 1);
    struct timespec now;

    if (!s)
        return NULL;
    s->size = SEGMENT_SMALL;
    clock_gettime(CLOCK_MONOTONIC, &now);
    h->secret = ((uint64_t)now.tv_nsec * 0x9E3779B97F4A7C15UL ^ (uintptr_t)h) >> 20;
    pthread_mutex_init(&h->lock, NULL);
    table_init(&h->segments);
    table_init(&h->bigs);
    table_put(&h->segments, (uintptr_t)s >> SLOT_BITS, s);
    segment_fill(h, s, sizeof(*h));
    return h;
}

void heap_destroy(struct heap *h)
{
    struct segment *own;

    if (!h)
        return;
    own = (struct segment *)h - 1;
    for (size_t i = 0; i < 1UL << h->bigs.bits; i++)
        if (h->bigs.entries[i].key) {
            struct big *b = h->bigs.entries[i].value;

            munmap(b, b->map);
        }
    for (size_t i = 0; i < 1UL << h->segments.bits; i++)
        if (h->segments.entries[i].key && h->segments.entries[i].value != own) {
            struct segment *s = h->segments.entries[i].value;

            munmap(s, s->size);
        }
    table_release(&h->bigs);
    table_release(&h->segments);
    munmap(own, own->size);
}

/* From here on several threads use the heap.  Called before the second one exists. */
void heap_set_threaded(struct heap *h)
{
    atomic_store(&h->threaded, true);
}

bool heap_threaded(struct heap *h)
{
    return atomic_load_explicit(&h->threaded, memory_order_relaxed);
}

bool heap_owns(struct heap *h, const void *p)
{
    bool owns;

    heap_lock(h);
    owns = segment_of(h, p) || big_of(h, p);
    heap_unlock(h);
    return owns;
}

/* A used chunk of at least `need` bytes; touched in [*lo, *hi), in its head and its last word. */
static inline struct chunk *chunk_alloc(struct heap *h, size_t need, uintptr_t *lo, uintptr_t *hi)
{
    struct chunk *c;
    size_t size;

    if (need <= QUICK_MAX && (c = h->quick[need / ALIGN].first)) {
        if ((c->head & ~PREV_FREE) != (check_value(h, c) | need | QUICK))
            corrupt(h, "calf: heap corrupted: overwritten free chunk\n");
        h->quick[need / ALIGN].first = c->next;
        h->quick[need / ALIGN].count--;
        c->head &= ~QUICK;
        *lo = (uintptr_t)c;
        *hi = *lo + need;
        return c;
    }
    c = list_find(h, need);
    if (__builtin_expect(!c, 0)) {
        if (!segment_add(h, need))
            return NULL;
        c = list_find(h, need);
    }
    list_remove(h, c, lo, hi);
    size = chunk_size(c);
    if (size - need >= CHUNK_MIN) {
        struct chunk *rest = chunk_at(c, need);

        list_add(h, rest, size - need, *lo, *hi);
        size = need;
    } else
        chunk_at(c, size)->head &= ~PREV_FREE;
    set_head(h, c, size);
    return c;
}

static inline size_t chunk_need(size_t size)
{
    return size <= CHUNK_MIN - HEAD_SIZE ? CHUNK_MIN
                                         : (size + HEAD_SIZE + ALIGN - 1) & ~(ALIGN - 1UL);
}

static inline void *alloc_locked(struct heap *h, size_t size)
{
    uintptr_t lo, hi;
    struct chunk *c;
    bool zeroed;

    if (size >= BIG_MIN)
        return big_alloc(h, ALIGN, size, &zeroed);
    c = chunk_alloc(h, chunk_need(size), &lo, &hi);
    return c ? chunk_user(c) : NULL;
}

void *heap_alloc(struct heap *h, size_t size)
{
    void *p;

    heap_lock(h);
    p = alloc_locked(h, size);
    heap_unlock(h);
    return p;
}

static void *heap_alloc_zero(struct heap *h, size_t size)
{
    uintptr_t lo, hi, begin, end;
    struct chunk *c;
    bool zeroed;
    void *p;

    heap_lock(h);
    if (size >= BIG_MIN) {
        p = big_alloc(h, ALIGN, size, &zeroed);
        heap_unlock(h);
        return p && !zeroed ? memset(p, 0, size) : p;
    }
    c = chunk_alloc(h, chunk_need(size), &lo, &hi);
    heap_unlock(h);
    if (!c)
        return NULL;
    p = chunk_user(c);
    begin = (uintptr_t)p;
    end = (uintptr_t)c + chunk_size(c);
    if (end - begin < LARGE_CHUNK)
        return memset(p, 0, end - begin);
    memset(p, 0, sizeof(*c) - HEAD_SIZE);
    memset((void *)(end - 8), 0, 8);
    lo = lo < begin ? begin : lo;
    hi = hi > end ? end : hi;
    if (lo < hi)
        memset((void *)lo, 0, hi - lo);
    return p;
}

/* `align` is a power of two. */
void *heap_aligned(struct heap *h, size_t align, size_t size)
{
    struct chunk *c, *at;
    size_t need, gap;
    uintptr_t lo, hi;
    void *p = NULL;
    bool zeroed;

    if (align <= ALIGN)
        return heap_alloc(h, size);
    heap_lock(h);
    if (size >= BIG_MIN || align >= BIG_MIN || size + align + 2 * CHUNK_MIN >= BIG_MIN) {
        p = big_alloc(h, align, size, &zeroed);
        goto out;
    }
    need = chunk_need(size);
    c = chunk_alloc(h, need + align + CHUNK_MIN, &lo, &hi);
    if (!c)
        goto out;
    /* The chunk begins where the caller's memory is aligned and the gap can be a chunk. */
    at = user_chunk((void *)(((uintptr_t)chunk_user(c) + align - 1) & ~(align - 1)));
    gap = (char *)at - (char *)c;
    if (gap && gap < CHUNK_MIN) {
        at = chunk_at(at, align);
        gap += align;
    }
    if (gap) {
        set_head(h, at, chunk_size(c) - gap);
        set_head(h, c, gap);
        chunk_release(h, c, gap, (uintptr_t)c, (uintptr_t)at);
    }
    chunk_cut(h, at, need, (uintptr_t)at, (uintptr_t)chunk_at(at, chunk_size(at)));
    p = chunk_user(at);
out:
    heap_unlock(h);
    return p;
}

/* The chunk of a pointer into a segment, checked. */
static inline struct chunk *checked_chunk(struct heap *h, const void *p, const char *twice,
                                          const char *invalid)
{
    struct chunk *c = user_chunk(p);

    if ((uintptr_t)p % ALIGN || !head_ok(h, c))
        corrupt(h, invalid);
    if (c->head & (FREE | QUICK))
        corrupt(h, twice);
    if (!head_ok(h, chunk_at(c, chunk_size(c))))
        corrupt(h, "calf: heap corrupted: overwritten chunk\n");
    return c;
}

/* false: not ours */
static inline bool free_locked(struct heap *h, void *p)
{
    if (__builtin_expect(segment_of(h, p) != NULL, 1)) {
        struct chunk *c =
            checked_chunk(h, p, "calf: free(): double free\n", "calf: free(): invalid pointer\n");
        size_t size = chunk_size(c);

        if (size <= QUICK_MAX && h->quick[size / ALIGN].count < QUICK_COUNT) {
            c->head |= QUICK;
            c->next = h->quick[size / ALIGN].first;
            h->quick[size / ALIGN].first = c;
            h->quick[size / ALIGN].count++;
            return true;
        }
        chunk_release(h, c, size, (uintptr_t)c, (uintptr_t)c + size);
    } else {
        struct big *b = big_of(h, p);

        if (!b)
            return false;
        big_free(h, b);
    }
    if (__builtin_expect(h->idle > CHUNK_IDLE_MAX, 0))
        purge(h, CHUNK_IDLE_PURGED);
    return true;
}

static bool heap_try_free(struct heap *h, void *p)
{
    bool ours;

    heap_lock(h);
    ours = free_locked(h, p);
    heap_unlock(h);
    return ours;
}

void heap_free(struct heap *h, void *p)
{
    if (p && !heap_try_free(h, p))
        corrupt(h, "calf: free(): not memory of this process\n");
}

/* Bytes that the caller may use, or 0 for memory that is not ours. */
size_t heap_size(struct heap *h, const void *p)
{
    size_t size = 0;
    struct big *b;

    heap_lock(h);
    if (segment_of(h, p))
        size = chunk_size(user_chunk(p)) - HEAD_SIZE;
    else if ((b = big_of(h, p)))
        size = big_size(b);
    heap_unlock(h);
    return size;
}

/* Resize a chunk where it is; false: does not fit. */
static bool chunk_resize(struct heap *h, struct chunk *c, size_t need)
{
    size_t size = chunk_size(c);
    struct chunk *next = chunk_at(c, size);
    uintptr_t lo = (uintptr_t)c, hi = (uintptr_t)next;

    if (need > size) {
        uintptr_t lo2, hi2;
        size_t after = chunk_size(next);

        if (!(next->head & FREE) || size + after < need)
            return false;
        list_remove(h, next, &lo2, &hi2);
        set_head(h, c, (size + after) | (c->head & PREV_FREE));
        chunk_at(next, after)->head &= ~PREV_FREE;
        lo = lo2;
        hi = hi2;
        extend(&lo, &hi, (uintptr_t)next, (uintptr_t)next + sizeof(*next));
    }
    chunk_cut(h, c, need, lo, hi);
    return true;
}

/* NULL with errno, or NULL with *foreign: not ours, nothing done. */
static void *realloc_locked(struct heap *h, void *p, size_t size, bool *foreign)
{
    size_t had;
    void *q;

    *foreign = false;
    if (size > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    if (segment_of(h, p)) {
        struct chunk *c = checked_chunk(h, p, "calf: realloc(): already free\n",
                                        "calf: realloc(): invalid pointer\n");

        had = chunk_size(c) - HEAD_SIZE;
        if (size < BIG_MIN && chunk_resize(h, c, chunk_need(size)))
            return p;
    } else {
        struct big *b = big_of(h, p);

        if (!b) {
            *foreign = true;
            return NULL;
        }
        if (b->cached)
            corrupt(h, "calf: realloc(): already free\n");
        had = big_size(b);
        if (size >= BIG_MIN && (q = big_resize(h, b, size)))
            return q;
    }
    q = alloc_locked(h, size);
    if (!q)
        return NULL;
    memcpy(q, p, had < size ? had : size);
    free_locked(h, p);
    return q;
}

static void *heap_try_realloc(struct heap *h, void *p, size_t size, bool *foreign)
{
    void *q;

    heap_lock(h);
    q = realloc_locked(h, p, size, foreign);
    heap_unlock(h);
    return q;
}

void *heap_realloc(struct heap *h, void *p, size_t size)
{
    bool foreign;
    void *q;

    if (!p)
        return heap_alloc(h, size);
    q = heap_try_realloc(h, p, size, &foreign);
    if (foreign)
        corrupt(h, "calf: realloc(): not memory of this process\n");
    return q;
}

/* ---- malloc and its family ------------------------------------------------ */

/* NULL in a thread that a library of the host made: it uses the host's malloc. */
static inline struct heap *my_heap(void)
{
    struct proc *p = self();

    return p && p->prog ? p->prog->heap : NULL;
}

void *sys_malloc(size_t size);
void *sys_calloc(size_t n, size_t size);
void *sys_realloc(void *p, size_t size);
void *sys_reallocarray(void *p, size_t n, size_t size);
void sys_free(void *p);
int sys_posix_memalign(void **out, size_t align, size_t size);
void *sys_aligned_alloc(size_t align, size_t size);
void *sys_memalign(size_t align, size_t size);
size_t sys_malloc_usable_size(void *p);
char *sys_strdup(const char *s);
char *sys_strndup(const char *s, size_t n);

void *sys_malloc(size_t size)
{
    struct heap *h = my_heap();

    return h ? heap_alloc(h, size) : malloc(size);
}

void *sys_calloc(size_t n, size_t size)
{
    struct heap *h = my_heap();
    size_t all;

    if (!h)
        return calloc(n, size);
    if (__builtin_mul_overflow(n, size, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    return heap_alloc_zero(h, all);
}

void sys_free(void *p)
{
    struct heap *h;

    if (!p)
        return;
    h = my_heap();
    if (!h || !heap_try_free(h, p))
        free(p);
}

void *sys_realloc(void *p, size_t size)
{
    struct heap *h = my_heap();
    bool foreign;
    void *q;

    if (!h)
        return realloc(p, size);
    if (!p)
        return heap_alloc(h, size);
    if (size == 0) { /* as glibc */
        sys_free(p);
        return NULL;
    }
    q = heap_try_realloc(h, p, size, &foreign);
    return foreign ? realloc(p, size) : q;
}

void *sys_reallocarray(void *p, size_t n, size_t size)
{
    size_t all;

    if (__builtin_mul_overflow(n, size, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    return sys_realloc(p, all);
}

void *sys_memalign(size_t align, size_t size)
{
    struct heap *h = my_heap();

    if (!h)
        return memalign(align, size);
    if (align > 1UL << 30) {
        errno = EINVAL;
        return NULL;
    }
    if (align & (align - 1))
        align = 1UL << (64 - __builtin_clzl(align));
    return heap_aligned(h, align, size);
}

int sys_posix_memalign(void **out, size_t align, size_t size)
{
    int saved = errno;
    void *p;

    if (align % sizeof(void *) || align == 0 || (align & (align - 1)))
        return EINVAL;
    p = sys_memalign(align, size);
    errno = saved;
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

void *sys_aligned_alloc(size_t align, size_t size)
{
    return sys_memalign(align, size);
}

size_t sys_malloc_usable_size(void *p)
{
    struct heap *h = my_heap();
    size_t size = h && p ? heap_size(h, p) : 0;

    return size ? size : malloc_usable_size(p);
}

char *sys_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *copy = sys_malloc(size);

    return copy ? memcpy(copy, s, size) : NULL;
}

char *sys_strndup(const char *s, size_t n)
{
    size_t size = strnlen(s, n);
    char *copy = sys_malloc(size + 1);

    if (!copy)
        return NULL;
    copy[size] = '\0';
    return memcpy(copy, s, size);
}

void *proc_malloc(size_t size)
{
    return sys_malloc(size);
}

void *proc_realloc(void *p, size_t size)
{
    return sys_realloc(p, size);
}

void proc_free(void *p)
{
    sys_free(p);
}

char *proc_strdup(const char *s)
{
    return sys_strdup(s);
}

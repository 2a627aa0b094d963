/*
 * rest.c - what a cluster gives back while nothing happens
 *
 * The timekeeper looks at the processes once a second, as long as any of them gets on.  One that
 * is still in the wait of the last look is kicked, and gives back its free memory and the stack
 * below where it stands: half of what a session holds was for one query.  Programs that were kept
 * for reuse since before that look go as well, and what reading the archive took.
 *
 * The rule that matters: a session pays for this with two stores and a load for each wait, and a
 * cluster that is quiet wakes nobody: who begins to wait while nobody looks has that begun.
 *
 * Only poll(), epoll_wait() and their kin are such waits: they go on after a kick, where a sleep
 * would end.
 */
#include "kernel.h"

#include <sys/mman.h>

#define LOOK_NS 1000000000LL
#define KEEP_STACK (16UL << 10) /* below where the process stands */

void heap_trim(struct heap *h, size_t keep);

void rest_watch(struct kernel *k)
{
    int64_t none = 0;

    if (atomic_compare_exchange_strong(&k->look_at_ns, &none, now_ns() + LOOK_NS))
        timekeeper_nudge(k);
}

void rest(struct proc *p)
{
    struct program *g = p->prog;
    uintptr_t stack = (uintptr_t)g->stack, end = ((uintptr_t)&g - KEEP_STACK) & ~4095UL;

    atomic_store(&p->rest, false);
    heap_trim(g->heap, 0);
    if (end > stack && end < stack + STACK_SIZE)
        madvise(g->stack, end - stack, MADV_DONTNEED);
}

/* Did any process get on since the last look? */
static bool look(struct kernel *k)
{
    bool busy = false;

    pthread_mutex_lock(&k->lock);
    for (struct proc *p = k->procs; p; p = p->next) {
        unsigned waits = atomic_load(&p->waits);

        if (waits != p->seen) {
            p->seen = waits;
            p->rested = false;
            busy = true;
        } else if (waits % 2 && !p->rested) {
            p->rested = true;
            atomic_store(&p->rest, true);
            kick(p);
        }
    }
    pthread_mutex_unlock(&k->lock);
    return busy;
}

int64_t rest_look(struct kernel *k)
{
    int64_t at = atomic_load(&k->look_at_ns), none = 0;
    bool busy;

    if (!at || at > now_ns())
        return at;
    atomic_store(&k->look_at_ns, 0); /* before the look: who waits from here on has another begun */
    busy = look(k);
    busy = programs_expire(k) || busy;
    archive_rest();
    if (busy)
        atomic_compare_exchange_strong(&k->look_at_ns, &none, now_ns() + LOOK_NS);
    return atomic_load(&k->look_at_ns);
}

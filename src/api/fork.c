/*
 * fork.c - what a forked child of the host may do with calf
 *
 * fork() copies the memory and the descriptors, but of the threads only the one that called it:
 * PostgreSQL does not run in the child.  A child of a process that had a database open, or a
 * program of calf_run(), is refused whatever needs PostgreSQL.
 *
 * The rule that matters: in such a child nothing waits.  The locks of src/api are free there,
 * because fork() takes them before; those of the runtime and the kernel may be held for ever, so
 * forked() is asked before any of them is taken, and before the condition of database.c.
 */
#include "api.h"

#include "../kernel/kernel.h"

static bool is_forked;

bool forked(void)
{
    return is_forked;
}

int refuse_forked(struct calf_error *err)
{
    if (!is_forked)
        return 0;
    return fail(err, CALF_MISUSE,
                "this process was forked from one that had a database open, which does not run "
                "here: open databases after fork(), execute a program, or connect to what "
                "calf_listen() began in the parent");
}

/* In the order in which they are taken. */
static pthread_mutex_t *const locks[] = {&databases_lock, &lists_lock, &wires_lock, &links_lock,
                                         &handles_lock};
#define LOCKS ((int)(sizeof(locks) / sizeof(locks[0])))

static void lock_all(void)
{
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_lock(locks[i]);
}

static void unlock_all(void)
{
    for (int i = LOCKS; i-- > 0;)
        pthread_mutex_unlock(locks[i]);
}

static void in_child(void)
{
    unlock_all();
    if (!databases_any())
        return;
    is_forked = true;
    owned_close_all();
}

static void __attribute__((constructor)) watch_forks(void)
{
    pthread_atfork(lock_all, unlock_all, in_child);
}

/*
 * thread.c - further threads of one process (pgbench has them)
 *
 * A thread made by an image's pthread_create() shares its process.  Signals go
 * to the main thread only.  When the process ends while it runs, the thread is
 * kicked until it is met inside an image or in a wait, and leaves from there.
 */
#include "kernel.h"

#include <sys/syscall.h>

struct thread {
    struct thread *next;
    struct proc *proc;
    void *(*start)(void *);
    void *arg, *result;
    void *leave_sp;
    pid_t tid;
};

static __thread struct thread *mine __attribute__((tls_model("initial-exec")));
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* guards proc.threads of all */

static void enter(void *arg)
{
    struct thread *t = arg;

    t->result = t->start(t->arg);
    context_return(t->leave_sp);
}

static void *run(void *arg)
{
    struct thread *t = arg;
    struct proc *p = t->proc;
    void *result, *stack = __builtin_frame_address(0);

    set_secondary();
    set_self(p);
    mine = t;
    t->tid = (pid_t)syscall(SYS_gettid);
    locale_attach(p);
    context_call(&t->leave_sp, (char *)stack - 4096, enter, t);
    result = t->result;
    pthread_mutex_lock(&list_lock);
    for (struct thread **at = &p->threads; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            break;
        }
    pthread_mutex_unlock(&list_lock);
    mine = NULL;
    set_self(NULL);
    free(t);
    return result;
}

int sys_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*start)(void *),
                       void *arg)
{
    struct proc *p = self();
    struct thread *t = calloc(1, sizeof(*t));
    int rc;

    if (!t)
        return ENOMEM;
    t->proc = p;
    t->start = start;
    t->arg = arg;
    heap_set_threaded(p->prog->heap);
    pthread_mutex_lock(&list_lock);
    t->next = p->threads;
    p->threads = t;
    rc = pthread_create(out, attr, run, t); /* inherits the carrier's mask */
    if (rc != 0) {
        p->threads = t->next;
        free(t);
    }
    pthread_mutex_unlock(&list_lock);
    return rc;
}

/* Called where nothing is held: at a gate's end, or by a kick inside an image. */
void thread_leave_if_dying(struct proc *p)
{
    if (mine && atomic_load(&p->dying))
        context_return(mine->leave_sp);
}

/* Ends the further threads of a process.  False: some hang in the host's code. */
bool threads_end(struct proc *p)
{
    struct timespec ms = {0, 1000000};

    atomic_store(&p->dying, true);
    for (int tries = 0; tries < 2000; tries++) {
        bool any = false;

        pthread_mutex_lock(&list_lock);
        for (struct thread *t = p->threads; t; t = t->next) {
            any = true;
            if (t->tid)
                syscall(SYS_tgkill, getpid(), t->tid, kick_signal);
        }
        pthread_mutex_unlock(&list_lock);
        if (!any)
            return true;
        nanosleep(&ms, NULL);
    }
    return false;
}

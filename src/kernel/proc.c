/*
 * proc.c - processes: fork, exec, exit, wait, and the carriers they run on
 *
 * A carrier is a thread of the host with a small stack of its own.  It loads a
 * program, leaves its stack for the program's (context_call) and comes back
 * when the program exits or execs.  A process's pid is its carrier's thread id;
 * only the process that shows_host_pid (the postmaster) has the host's.
 *
 * fork() is a vfork without a second process: the child runs at once, on the
 * parent's stack and memory, while the parent is suspended.  execv() hands the
 * child to its own carrier, which was parked since the fork; then the parent's
 * stack and the data of its images are put back as they were and fork returns
 * a second time.  The heap is not put back.  A child that neither execs nor
 * exits keeps its parent suspended: fork without exec is not possible here.
 *
 * Lock order: kernel.lock before everything.  A zombie is announced as the very
 * last act of its carrier, so whoever reaps it can join the thread.
 */
#include "kernel.h"

#include <execinfo.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CARRIER_STACK (256UL << 10)
#define LOAD_BELOW (16UL << 10) /* of run()'s frame, for fault_die() and not_loaded() */
#define FAULT_STACK (32UL << 10)
#define IDLE_PROGRAMS 4         /* kept for reuse by a kernel, until it is quiet (rest.c) */
#define IDLE_STACK (64UL << 10) /* of their stacks */
#define GO_RUN 1
#define GO_LEAVE 2

/* What the parent gets back when the child is gone from its stack. */
struct forksave {
    char *frame, *stack; /* where sys_fork's frame is, and the copy from there up */
    size_t stack_size;
    pid_t child;
    struct exitfn *exitfns; /* exit() in the child must not use up the parent's */
};

/* ---- the process table ------------------------------------------------------- */

struct proc *proc_find(struct kernel *k, pid_t pid)
{
    struct proc *p = k->procs;

    /* an orphan's zombie is gone for everybody but bury() */
    while (p && (p->pid != pid || (p->orphan && atomic_load(&p->state) == PROC_ZOMBIE)))
        p = p->next;
    return p;
}

static void proc_dispose(struct proc *p)
{
    pthread_mutex_destroy(&p->fd_lock);
    free(p);
}

/* Out of the table; the caller joins the thread and frees. */
static void unlink_locked(struct proc *p)
{
    struct proc **at = &p->kernel->procs;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->kernel->nprocs--;
}

/* Processes that nobody waits for: joined by whoever comes by. */
static void bury(struct kernel *k)
{
    pthread_mutex_lock(&k->lock);
    for (struct proc *p = k->procs, *next; p; p = next) {
        next = p->next;
        if (!p->orphan || atomic_load(&p->state) != PROC_ZOMBIE)
            continue;
        unlink_locked(p);
        pthread_mutex_unlock(&k->lock);
        pthread_join(p->thread, NULL);
        proc_dispose(p);
        pthread_mutex_lock(&k->lock);
        next = k->procs;
    }
    pthread_mutex_unlock(&k->lock);
}

/* ---- the end of a process ------------------------------------------------------ */

void *carrier_stack(void)
{
    struct proc *p = self();

    while (p->forked_from)
        p = p->forked_from;
    return p->carrier_sp ? (char *)p->carrier_sp - 4096 : NULL;
}

/* Gives everything back but the entry in the table. */
static void release(struct proc *p)
{
    shm_exit(p);
    fds_close_all(p);
    if (p->lock_fd >= 0)
        close(p->lock_fd);
    cwd_put(p->cwd);
    cwd_put(p->first_cwd);
    p->cwd = p->first_cwd = NULL;
    localeset_destroy(p->localeset);
    p->localeset = NULL;
}

/* The last act: from here on the parent may free `p`. */
static void announce(struct proc *p)
{
    struct kernel *k = p->kernel;

    pthread_mutex_lock(&k->lock);
    pthread_mutex_lock(&k->timer_lock);
    p->alarm_at_ns = 0;
    pthread_mutex_unlock(&k->timer_lock);
    for (struct proc *c = k->procs; c; c = c->next) {
        if (c->parent != p)
            continue;
        c->parent = NULL;
        c->orphan = true;
        if (c->pdeathsig)
            signal_post(c, c->pdeathsig);
    }
    if (k->inbox_owner == p)
        inbox_close(k);
    atomic_store(&p->tid, 0);
    atomic_store(&p->state, PROC_ZOMBIE);
    if (p->parent) {
        struct proc *parent = p->parent;
        struct vsigaction *act = &parent->act[SIGCHLD];

        if (act->handler == SIG_IGN || act->flags & SA_NOCLDWAIT) {
            p->parent = NULL;
            p->orphan = true;
        }
        atomic_fetch_add(&parent->wait_seq, 1);
        futex_wake(&parent->wait_seq, INT_MAX);
        signal_post(parent, SIGCHLD);
    }
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

static void exitfns_free(struct exitfn *e)
{
    while (e) {
        struct exitfn *next = e->next;

        free(e);
        e = next;
    }
}

/* 0 or -ENOMEM, and what was copied. */
static int exitfns_copy(const struct exitfn *e, struct exitfn **at)
{
    for (; e; e = e->next, at = &(*at)->next) {
        if (!(*at = malloc(sizeof(*e))))
            return -ENOMEM;
        **at = *e;
        (*at)->next = NULL;
    }
    return 0;
}

/* memcpy() that writes no zeros where there are some: what was never touched stays so. */
static void copy_pages(char *to, const char *from, size_t size)
{
    for (size_t at = 0, n; at < size; at += n) {
        n = size - at < 4096 ? size - at : 4096;
        if (from[at] != 0 || memcmp(from + at, from + at + 1, n - 1) != 0)
            memcpy(to + at, from + at, n);
        else if (to[at] != 0 || memcmp(to + at, to + at + 1, n - 1) != 0)
            memset(to + at, 0, n);
    }
}

/* The child has left the parent's stack (by exec or exit): the parent goes on. */
static _Noreturn void resume_parent(struct proc *parent)
{
    struct forksave *s = parent->forksave;

    set_self(parent);
    exitfns_free(parent->prog->exitfns);
    parent->prog->exitfns = s->exitfns;
    for (int i = 0; i < parent->prog->ninstances; i++) {
        size_t size;
        char *data = instance_data(parent->prog->list[i], &size);

        copy_pages(data, parent->prog->saved[i], size);
    }
    lazy_objects(NULL);
    fork_return(carrier_stack(), s->frame, s->stack, s->stack_size);
}

static void wake_carrier(struct proc *p, unsigned what)
{
    atomic_store(&p->go, what);
    futex_wake(&p->go, 1);
}

_Noreturn void proc_exit(int wait_status)
{
    struct proc *p = self(), *parent = p->forked_from;

    atomic_store(&p->blocked, ~0ULL);
    p->wait_status = wait_status;
    if (!parent)
        context_return(p->carrier_sp);
    wake_carrier(p, GO_LEAVE);
    resume_parent(parent);
}

/* ---- carriers -------------------------------------------------------------------- */

/* What a run leaves behind, but for the instances and the stack. */
static void program_clean(struct program *g)
{
    mappings_release(g);
    modules_release(g);
    stdio_destroy(g->stdio);
    misc_destroy(g->misc);
    dirs_close(g);
    heap_destroy(g->heap);
    exitfns_free(g->exitfns);
    g->stdio = NULL;
    g->misc = NULL;
    g->heap = NULL;
    g->exitfns = NULL;
    g->dlerror_set = false;
    g->strtok_save = NULL;
}

static void program_free(struct program *g)
{
    if (!g)
        return;
    program_clean(g);
    program_unload(g, 0);
    if (g->stack)
        munmap(g->stack - 4096, STACK_SIZE + 4096);
    free(g->exe);
    free(g);
}

/*
 * Most of what a new process costs is page faults on its image and stack, and in a process
 * with many threads every munmap() interrupts the other processors.  So a program that ended
 * in order is kept for the next one of its kind; program_load() makes its data new.
 */
static void program_retire(struct kernel *k, struct program *g)
{
    int n = 0;

    if (g->trapped && program_set_trap(g, false) < 0) {
        program_free(g);
        return;
    }
    program_clean(g);
    program_unload(g, g->nown);
    madvise(g->stack, STACK_SIZE - IDLE_STACK, MADV_DONTNEED);
    pthread_mutex_lock(&k->lock);
    for (struct program *i = k->idle_programs; i; i = i->next_idle)
        n++;
    if (n < IDLE_PROGRAMS) {
        g->old = false;
        g->next_idle = k->idle_programs;
        k->idle_programs = g;
        g = NULL;
    }
    pthread_mutex_unlock(&k->lock);
    program_free(g);
}

bool programs_expire(struct kernel *k)
{
    struct program *gone = NULL, *g, **at = &k->idle_programs;
    bool others;

    pthread_mutex_lock(&k->lock);
    while ((g = *at)) {
        if (!g->old) {
            g->old = true;
            at = &g->next_idle;
            continue;
        }
        *at = g->next_idle;
        g->next_idle = gone;
        gone = g;
    }
    others = k->idle_programs;
    pthread_mutex_unlock(&k->lock);
    while ((g = gone)) {
        gone = g->next_idle;
        program_free(g);
    }
    return others;
}

/* A program for the image at `path`: an idle one, or an empty one.  NULL: no memory. */
static struct program *program_new(struct kernel *k, const char *path)
{
    struct program *g, **at;

    pthread_mutex_lock(&k->lock);
    for (at = &k->idle_programs; (g = *at); at = &g->next_idle)
        if (strcmp(g->exe, path) == 0) {
            *at = g->next_idle;
            break;
        }
    pthread_mutex_unlock(&k->lock);
    if (g && program_is_current(g))
        return g;
    program_free(g);
    g = calloc(1, sizeof(*g));
    if (g && !(g->exe = strdup(path))) {
        free(g);
        g = NULL;
    }
    return g;
}

/* On the program's stack. */
static void enter_program(void *arg)
{
    struct proc *p = arg;
    struct program *g = p->prog;

    context_enter(g->start, g->main->base + g->main->image->ehdr.e_entry);
}

struct loading {
    struct proc *proc;
    int rc; /* 1: not done */
    char err[1024];
};

/* Below what run() needs of the carrier's stack, so that a fault here has where to end. */
static void load_program(void *arg)
{
    struct loading *l = arg;
    struct proc *p = l->proc;

    localeset_destroy(p->localeset);
    p->localeset = localeset_create();
    p->locale = NULL;
    l->rc = -ENOMEM;
    if (p->localeset) {
        locale_attach(p);
        l->rc = 1;
        l->rc = program_load(p, p->prog, l->err, sizeof(l->err));
    }
    context_return(p->carrier_sp);
}

static bool is_shortage(int rc)
{
    return rc == -ENOMEM || rc == -EAGAIN || rc == -EMFILE || rc == -ENFILE || rc == -ENOSPC;
}

static void note_shortage(struct kernel *k, const char *what)
{
    pthread_mutex_lock(&k->lock);
    snprintf(k->shortage, sizeof(k->shortage), "%s", what);
    pthread_mutex_unlock(&k->lock);
}

/*
 * The end of a process whose program could not be loaded.  Where something was short it is 1, by
 * which the postmaster knows that a session failed that has not touched anything.
 */
static void not_loaded(struct proc *p, const struct loading *l)
{
    char line[1100];
    int n;

    if (l->rc > 0) { /* a fault, whose signal is the status */
        n = snprintf(line, sizeof(line), "calf: a fault while %s was loaded\n", p->prog->exe);
    } else {
        n = snprintf(line, sizeof(line), "calf: %s\n", l->err);
        p->wait_status = (is_shortage(l->rc) ? 1 : 127) << 8;
        if (is_shortage(l->rc))
            note_shortage(p->kernel, l->err);
    }
    sys_write(2, line, n);
}

/* Runs programs until the process ends.  Its own frame is the end of what it and `carrier` need. */
static __attribute__((noinline)) void run(struct proc *p)
{
    while (p->next_prog) {
        struct program *g = p->next_prog;
        struct loading l = {.proc = p, .rc = 1};
        char name[16];

        p->next_prog = NULL;
        p->prog = g;
        atomic_store(&p->in_gate, 1); /* loading is not a place for handlers */
        snprintf(l.err, sizeof(l.err), "no memory to load %s", g->exe);
        context_call(&p->carrier_sp, (char *)__builtin_frame_address(0) - LOAD_BELOW, load_program,
                     &l);
        p->carrier_sp = NULL;
        if (l.rc != 0) {
            not_loaded(p, &l);
            p->prog = NULL;
            program_free(g);
            return;
        }
        snprintf(name, sizeof(name), "%s", g->data.progname_);
        prctl(PR_SET_NAME, name);
        atomic_store(&p->in_gate, 0);
        context_call(&p->carrier_sp, g->start, enter_program, p);
        p->carrier_sp = NULL;
        /* back on the carrier's stack: the program exited or called exec */
        if (p->threads && !threads_end(p))
            return; /* rather leak than unmap what a thread may return to */
        p->prog = NULL;
        if (g->main && (WIFEXITED(p->wait_status) || WTERMSIG(p->wait_status) == SIGTERM))
            program_retire(p->kernel, g);
        else
            program_free(g);
    }
}

static void *carrier(void *arg)
{
    struct proc *p = arg;
    char fault_stack[FAULT_STACK];
    stack_t alt = {.ss_sp = fault_stack, .ss_size = sizeof(fault_stack)},
            off = {.ss_flags = SS_DISABLE};

    sigaltstack(&alt, NULL);
    atomic_store(&p->carrier_tid, syscall(SYS_gettid));
    futex_wake(&p->carrier_tid, 1);
    while (atomic_load(&p->go) == 0)
        syscall(SYS_futex, &p->go, 0 | 128, 0, NULL, NULL, 0);
    if (p->go == GO_RUN)
        atomic_store(&p->tid, p->carrier_tid);
    set_self(p); /* after `tid`, see kick() */
    if (p->go == GO_RUN) {
        if (atomic_load(&p->host_pid))
            outside_wait(p);
        else
            run(p);
    }
    atomic_store(&p->blocked, ~0ULL);
    atomic_store(&p->in_gate, 1);
    release(p);
    set_self(NULL);
    uselocale(LC_GLOBAL_LOCALE);
    sigaltstack(&off, NULL);
    announce(p);
    return NULL;
}

/* A new process in the table with a parked carrier, or NULL and errno. */
static struct proc *proc_new(struct kernel *k, struct proc *parent, bool shows_host_pid)
{
    struct proc *p = calloc(1, sizeof(*p));
    pthread_attr_t attr;
    sigset_t mask;
    int rc;

    bury(k);
    if (!p)
        return NULL;
    p->kernel = k;
    p->parent = parent;
    p->lock_fd = -1;
    pthread_mutex_init(&p->fd_lock, NULL);
    carrier_sigmask(&mask);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, CARRIER_STACK);
    pthread_attr_setsigmask_np(&attr, &mask);
    rc = pthread_create(&p->thread, &attr, carrier, p);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        free(p);
        errno = rc;
        return NULL;
    }
    while (atomic_load(&p->carrier_tid) == 0)
        syscall(SYS_futex, &p->carrier_tid, 0 | 128, 0, NULL, NULL, 0);
    p->pid = shows_host_pid ? getpid() : p->carrier_tid;
    p->pgid = parent ? parent->pgid : p->pid;
    p->sid = parent ? parent->sid : p->pid;
    p->own_session = parent && parent->own_session;
    pthread_mutex_lock(&k->lock);
    p->next = k->procs;
    k->procs = p;
    k->nprocs++;
    pthread_mutex_unlock(&k->lock);
    return p;
}

/* ---- fork --------------------------------------------------------------------------- */

pid_t fork_child(struct proc **out)
{
    struct proc *parent = self(), *p = proc_new(parent->kernel, parent, false);
    int rc;

    if (!p)
        return -errno;
    atomic_store(&p->blocked, atomic_load(&parent->blocked));
    memcpy(p->act, parent->act, sizeof(p->act));
    p->umask = parent->umask;
    p->cwd = cwd_ref(parent->cwd);
    p->first_cwd = cwd_ref(parent->cwd);
    rc = fds_inherit(p, parent);
    if (rc == 0)
        rc = shm_inherit(p, parent);
    if (rc < 0) {
        proc_drop(p);
        return rc;
    }
    *out = p;
    return p->pid;
}

static void forksave_free(struct forksave *s)
{
    free(s->stack);
    free(s);
}

/* The running process as it is now; NULL: no memory. */
static struct forksave *forksave_new(struct program *g, char *frame)
{
    struct forksave *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->frame = frame;
    s->stack_size = g->stack + STACK_SIZE - frame;
    s->stack = malloc(s->stack_size);
    if (!s->stack)
        goto failed;
    memcpy(s->stack, frame, s->stack_size);
    for (int i = 0; i < g->ninstances; i++) {
        size_t size;
        char *data = instance_data(g->list[i], &size);

        if (!g->saved[i]) { /* kept: a postmaster forks all its life */
            char *map =
                mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

            if (map == MAP_FAILED)
                goto failed;
            g->saved[i] = map;
        }
        copy_pages(g->saved[i], data, size);
    }
    if (exitfns_copy(g->exitfns, &s->exitfns) == 0)
        return s;
failed:
    exitfns_free(s->exitfns);
    forksave_free(s);
    return NULL;
}

/* Called by sys_fork; what it returns, fork returns in the child (or an error). */
long fork_begin(void *frame)
{
    struct proc *parent = gate_enter(), *p;
    struct program *g = parent->prog;
    struct forksave *s;
    pid_t pid;

    CHECK(on_main_thread());
    pid = fork_child(&p);
    s = pid < 0 ? NULL : forksave_new(g, frame);
    if (!s) {
        if (pid > 0) {
            proc_drop(p);
            pid = -ENOMEM;
        }
        note_shortage(parent->kernel, strerror(-pid));
        gate_leave(parent);
        errno = -pid;
        return -1;
    }
    s->child = pid;
    parent->forksave = s;
    p->prog = g;
    p->forked_from = parent;
    atomic_store(&p->tid, parent->tid);
    atomic_store(&p->state, PROC_RUNNING);
    set_self(p);
    return 0;
}

long fork_after(void)
{
    struct proc *p = self();
    struct forksave *s = p->forksave;
    pid_t pid = s->child;

    p->forksave = NULL;
    forksave_free(s);
    gate_leave(p);
    return pid;
}

/*
 * A child that waits for others before it execs would wait for ever: its parent, who is
 * suspended, may be the one to wake it.  Parallel pg_dump and pg_restore do so.
 */
void fork_window_refuse_wait(struct proc *p)
{
    char text[512];
    int n;

    if (!p->forked_from)
        return;
    n = snprintf(text, sizeof(text),
                 "calf: %s forked a worker that does not exec, which cannot run inside calf; use "
                 "a single job (no -j), or -X fetch for pg_basebackup\n",
                 p->prog->data.progname_);
    sys_write(2, text, n);
    proc_exit(1 << 8);
}

/* ---- exec --------------------------------------------------------------------------- */

/* argc, argv, envp and an empty auxv as the kernel lays them out at the top of a stack. */
static int build_stack(struct program *g, char *const argv[], char *const envp[])
{
    size_t strings = 0;
    int argc = 0, envc = 0, at = 0;
    char *s;
    char **slots;

    if (!g->stack) {
        char *map = mmap(NULL, STACK_SIZE + 4096, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

        if (map == MAP_FAILED)
            return -ENOMEM;
        if (mprotect(map, 4096, PROT_NONE) < 0) {
            munmap(map, STACK_SIZE + 4096);
            return -ENOMEM;
        }
        g->stack = map + 4096;
    }
    for (; argv[argc]; argc++)
        strings += strlen(argv[argc]) + 1;
    for (; envp && envp[envc]; envc++)
        strings += strlen(envp[envc]) + 1;
    if (strings + (argc + envc) * sizeof(char *) > STACK_SIZE / 4)
        return -E2BIG;
    s = g->stack + STACK_SIZE - 64 - strings;
    slots = (char **)(((uintptr_t)s - (argc + envc + 8) * sizeof(char *)) & ~15UL);
    g->start = (char *)slots;
    *(long *)&slots[at++] = argc;
    g->argc = argc;
    g->argv = &slots[at];
    for (int i = 0; i < argc; i++) {
        slots[at++] = s;
        s = stpcpy(s, argv[i]) + 1;
    }
    slots[at++] = NULL;
    g->envp = &slots[at];
    for (int i = 0; i < envc; i++) {
        slots[at++] = s;
        s = stpcpy(s, envp[i]) + 1;
    }
    slots[at++] = NULL;
    slots[at++] = NULL; /* AT_NULL */
    slots[at++] = NULL;
    return 0;
}

/* What exec keeps and what it resets (execve(2)). */
static void exec_reset(struct proc *p)
{
    fds_close_exec(p);
    shm_exit(p);
    for (int sig = 1; sig < NSIG_; sig++)
        if (p->act[sig].handler != SIG_IGN)
            p->act[sig] = (struct vsigaction){.handler = SIG_DFL};
}

/* Makes `p`, which must be the running process, ready to run the program at `path`. */
int proc_prepare(struct proc *p, const char *path, char *const argv[], char *const envp[])
{
    char inside[PATH_MAX], abs[PATH_MAX * 2];
    struct program *g;
    void *memory;
    int rc;

    path_absolute(abs, sizeof(abs), path);
    snprintf(inside, sizeof(inside), "%s", path);
    rc = shell_inside(p->kernel, inside, &argv, &memory); /* which needs no shell to be there */
    if (rc == 0) {
        rc = sys_access(abs, X_OK);
        if (rc == 0 && !command_is_inside(p->kernel, abs, inside)) {
            rc = spawn_outside(p, abs, argv, envp);
            if (rc == 0)
                exec_reset(p);
            goto out;
        }
    }
    if (rc < 0)
        goto out;
    g = program_new(p->kernel, inside);
    rc = g ? build_stack(g, argv, envp) : -ENOMEM;
    if (rc < 0) {
        program_free(g);
        goto out;
    }
    exec_reset(p);
    p->next_prog = g;
out:
    free(memory);
    return rc;
}

void proc_start(struct proc *p)
{
    atomic_store(&p->state, PROC_RUNNING);
    wake_carrier(p, GO_RUN);
}

void proc_drop(struct proc *p)
{
    pthread_mutex_lock(&p->kernel->lock);
    p->parent = NULL;
    p->orphan = true;
    pthread_mutex_unlock(&p->kernel->lock);
    wake_carrier(p, GO_LEAVE);
}

/*
 * Ends a child for which there is no memory, as Linux does once exec has begun.  PostgreSQL's would
 * call exit() (internal_forkexec()), which runs what the postmaster has registered for its own end
 * and takes the shared memory away.
 */
static _Noreturn void exec_short(struct proc *p, const char *path, int rc)
{
    char text[PATH_MAX + 128];
    int n = snprintf(text, sizeof(text), "calf: cannot start %s: %s\n", path, strerror(-rc));

    note_shortage(p->kernel, strerror(-rc));
    sys_write(2, text, n);
    proc_exit(1 << 8);
}

int sys_execve(const char *path, char *const argv[], char *const envp[])
{
    struct proc *p = self(), *parent = p->forked_from;
    int rc = proc_prepare(p, path, argv, envp);

    if (rc < 0 && parent && is_shortage(rc))
        exec_short(p, path, rc);
    if (rc < 0)
        return rc;
    if (!parent) {
        if (atomic_load(&p->host_pid)) { /* the carrier waits for it */
            outside_wait(p);
            atomic_store(&p->host_pid, 0);
        }
        context_return(p->carrier_sp);
    }
    p->forked_from = NULL;
    p->prog = NULL;
    atomic_store(&p->in_gate, 0);
    proc_start(p);
    resume_parent(parent);
}

int sys_execv(const char *path, char *const argv[])
{
    return sys_execve(path, argv, env_of(self()));
}

#define EXECL_MAX 64

static int collect(char **argv, const char *first, va_list ap)
{
    int n = 0;

    argv[n++] = (char *)first;
    while (n < EXECL_MAX && (argv[n++] = va_arg(ap, char *)))
        ;
    return n == EXECL_MAX && argv[n - 1] ? -E2BIG : 0;
}

int sys_execl(const char *path, const char *first, ...)
{
    char *argv[EXECL_MAX];
    va_list ap;
    int rc;

    va_start(ap, first);
    rc = collect(argv, first, ap);
    va_end(ap);
    if (rc == 0)
        rc = sys_execv(path, argv);
    errno = -rc;
    return -1;
}

/* ---- exit --------------------------------------------------------------------------- */

int sys___cxa_atexit(void (*fn)(void *), void *arg, void *dso)
{
    struct program *g = self()->prog;
    struct exitfn *e = malloc(sizeof(*e));

    if (!e)
        return -1;
    *e = (struct exitfn){fn, arg, dso, g->exitfns};
    g->exitfns = e;
    return 0;
}

/* The functions of one module, when it is unloaded; of all for NULL. */
void sys___cxa_finalize(void *dso)
{
    struct program *g = self()->prog;
    struct exitfn **at = &g->exitfns;

    while (*at) {
        struct exitfn *e = *at;

        if (dso && e->dso != dso) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        e->fn(e->arg);
        free(e);
        at = &g->exitfns; /* it may have registered more */
    }
}

_Noreturn void sys__exit(int code)
{
    proc_exit((code & 0xff) << 8);
}

_Noreturn void sys_exit(int code)
{
    struct program *g = self()->prog;

    sys___cxa_finalize(NULL);
    for (int i = 0; i < g->ninstances; i++) {
        struct instance *in = g->list[i];

        for (size_t n = in->nfini; n > 0; n--)
            in->fini_array[n - 1]();
        if (in->fini)
            in->fini();
    }
    stdio_flush(g->stdio);
    sys__exit(code);
}

/* What the compiler and libc's macros call when a program went wrong: it ends, not the host. */
_Noreturn static void give_up(const char *text)
{
    sys_write(2, text, strlen(text));
    sys_abort();
}

_Noreturn void sys___assert_fail(const char *what, const char *file, unsigned line,
                                 const char *function)
{
    char text[1024];

    snprintf(text, sizeof(text), "%s: %s:%u: %s: Assertion `%s' failed.\n",
             self()->prog->data.progname_, file, line, function, what);
    give_up(text);
}

_Noreturn void sys___stack_chk_fail(void)
{
    give_up("*** stack smashing detected ***: terminated\n");
}

_Noreturn void sys___chk_fail(void)
{
    give_up("*** buffer overflow detected ***: terminated\n");
}

long sys___fdelt_chk(long fd)
{
    if (fd < 0 || fd >= FD_SETSIZE)
        sys___chk_fail();
    return fd / NFDBITS;
}

void sys_backtrace_symbols_fd(void *const *addresses, int n, int fd)
{
    backtrace_symbols_fd(addresses, n, fd_host(fd));
}

int sys___libc_start_main(int (*main)(int, char **, char **), int argc, char **argv,
                          void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                          void *stack_end)
{
    struct program *g = self()->prog;

    (void)init, (void)fini, (void)rtld_fini, (void)stack_end;
    program_init(g);
    gate_leave(gate_enter()); /* what came while the program was loaded */
    sys_exit(main(argc, argv, g->envp));
}

/* ---- wait --------------------------------------------------------------------------- */

static void reap(struct proc *p)
{
    pthread_join(p->thread, NULL);
    proc_dispose(p);
}

pid_t sys_waitpid(pid_t pid, int *status, int options)
{
    struct proc *me = self();
    struct kernel *k = me->kernel;

    for (;;) {
        unsigned seq = atomic_load(&me->wait_seq);
        struct proc *found = NULL;
        bool any = false;
        pid_t result;

        pthread_mutex_lock(&k->lock);
        for (struct proc *p = k->procs; p; p = p->next) {
            if (p->parent != me || (pid > 0 && p->pid != pid) ||
                (pid == 0 && p->pgid != me->pgid) || (pid < -1 && p->pgid != -pid))
                continue;
            any = true;
            if (atomic_load(&p->state) == PROC_ZOMBIE)
                found = p; /* the oldest: new ones come first */
        }
        if (found)
            unlink_locked(found);
        pthread_mutex_unlock(&k->lock);
        if (found) {
            result = found->pid;
            if (status)
                *status = found->wait_status;
            reap(found);
            return result;
        }
        if (!any)
            return -ECHILD;
        if (options & WNOHANG)
            return 0;
        if (block_futex(&me->wait_seq, seq, 0) == -EINTR)
            return -ERESTART;
    }
}

pid_t sys_wait(int *status)
{
    return sys_waitpid(-1, status, 0);
}

/* ---- identity ------------------------------------------------------------------------ */

pid_t sys_getpid(void)
{
    return self()->pid;
}

pid_t sys_getppid(void)
{
    struct proc *p = self();
    pid_t pid;

    pthread_mutex_lock(&p->kernel->lock);
    pid = p->parent ? p->parent->pid : 1;
    pthread_mutex_unlock(&p->kernel->lock);
    return pid;
}

pid_t sys_setsid(void)
{
    struct proc *p = self();

    if (p->pgid == p->pid)
        return -EPERM;
    pthread_mutex_lock(&p->kernel->lock);
    p->sid = p->pgid = p->pid;
    p->own_session = true;
    pthread_mutex_unlock(&p->kernel->lock);
    return p->pid;
}

int sys_setpgid(pid_t pid, pid_t pgid)
{
    struct proc *me = self(), *p;
    struct kernel *k = me->kernel;

    pthread_mutex_lock(&k->lock);
    p = pid == 0 ? me : proc_find(k, pid);
    if (p)
        p->pgid = pgid ? pgid : p->pid;
    pthread_mutex_unlock(&k->lock);
    return p ? 0 : -ESRCH;
}

pid_t sys_getpgid(pid_t pid)
{
    struct proc *me = self(), *p;
    pid_t pgid;

    pthread_mutex_lock(&me->kernel->lock);
    p = pid == 0 ? me : proc_find(me->kernel, pid);
    pgid = p ? p->pgid : -ESRCH;
    pthread_mutex_unlock(&me->kernel->lock);
    return pgid;
}

pid_t sys_getpgrp(void)
{
    return self()->pgid;
}

uid_t sys_getuid(void)
{
    return self()->kernel->uid;
}

gid_t sys_getgid(void)
{
    return self()->kernel->gid;
}

int sys_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    struct proc *p = self();

    (void)b, (void)c, (void)d;
    switch (option) {
    case PR_SET_PDEATHSIG: p->pdeathsig = (int)a; return 0;
    case PR_SET_NAME: return prctl(PR_SET_NAME, a) < 0 ? -errno : 0;
    default: return -EINVAL;
    }
}

int sys_getrlimit(int which, struct rlimit *out)
{
    if (getrlimit(which, out) < 0)
        return -errno;
    if (which == RLIMIT_STACK)
        out->rlim_cur = out->rlim_max = STACK_SIZE;
    if (which == RLIMIT_NOFILE && out->rlim_cur > FD_LIMIT)
        out->rlim_cur = FD_LIMIT;
    return 0;
}

/* Limits are the host's: a process may ask for what it has. */
int sys_setrlimit(int which, const struct rlimit *wanted)
{
    struct rlimit now;

    if (sys_getrlimit(which, &now) < 0)
        return -EINVAL;
    return wanted->rlim_cur <= now.rlim_cur ? 0 : -EPERM;
}

/* ---- the host's side -------------------------------------------------------------------- */

static mode_t host_umask(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    unsigned mask = 022;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "Umask: %o", &mask) == 1)
            break;
    if (f)
        fclose(f);
    return mask;
}

struct kernel *kernel_create(const char *image_dir, const char *lib_dir)
{
    struct kernel *k = calloc(1, sizeof(*k));
    int rc;

    if (!k)
        return NULL;
    signals_hold();
    calls_trace_init();
    pthread_mutex_init(&k->lock, NULL);
    pthread_mutex_init(&k->timer_lock, NULL);
    pthread_cond_init(&k->changed, NULL);
    if (!realpath(image_dir, k->image_dir))
        snprintf(k->image_dir, sizeof(k->image_dir), "%s", image_dir);
    if (!realpath(lib_dir, k->lib_dir))
        snprintf(k->lib_dir, sizeof(k->lib_dir), "%s", lib_dir);
    k->real_uid = geteuid();
    k->uid = k->real_uid ? k->real_uid : PSEUDO_UID;
    k->gid = getegid();
    k->host_umask = host_umask();
    k->inbox[0] = k->inbox[1] = -1;
    k->shm = shm_create();
    k->hostfiles = hostfiles_create();
    rc = k->shm && k->hostfiles ? timekeeper_start(k) : -ENOMEM;
    if (rc == 0)
        return k;
    shm_destroy(k->shm);
    hostfiles_destroy(k->hostfiles);
    signals_release();
    free(k);
    errno = -rc;
    return NULL;
}

pid_t kernel_spawn(struct kernel *k, const struct spawn *s)
{
    struct proc *p = proc_new(k, NULL, s->shows_host_pid);
    int rc = 0;

    if (!p)
        return -errno;
    p->umask = k->host_umask;
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = fd_put_host(p, i, s->fds[i]);
    if (rc == 0 && !(p->cwd = cwd_open(s->cwd ? s->cwd : ".")))
        rc = -errno;
    if (rc == 0) {
        set_self(p);
        rc = proc_prepare(p, s->path, s->argv, s->envp);
        set_self(NULL);
    }
    if (rc == 0) {
        proc_start(p);
        return p->pid;
    }
    proc_drop(p);
    return rc;
}

bool kernel_shortage(struct kernel *k, char *out, size_t size)
{
    pthread_mutex_lock(&k->lock);
    snprintf(out, size, "%s", k->shortage);
    pthread_mutex_unlock(&k->lock);
    return *out;
}

#define STILL_SECONDS 3

/* How often two processes, which must be all, have begun and ended waits; 0: one does not wait. */
static uint64_t two_waits(const struct kernel *k)
{
    uint64_t sum = 0;

    for (struct proc *p = k->procs; p; p = p->next) {
        unsigned waits = atomic_load(&p->waits);

        if (k->nprocs != 2 || waits % 2 == 0)
            return 0;
        sum += waits;
    }
    return sum;
}

int kernel_wait_moving(struct kernel *k, pid_t pid)
{
    uint64_t before = 0, now;
    struct timespec at;
    struct proc *p;
    int still = 0;

    pthread_mutex_lock(&k->lock);
    while ((p = proc_find(k, pid)) && atomic_load(&p->state) != PROC_ZOMBIE &&
           still < STILL_SECONDS) {
        clock_gettime(CLOCK_REALTIME, &at);
        at.tv_sec++;
        if (pthread_cond_timedwait(&k->changed, &k->lock, &at) != ETIMEDOUT)
            continue;
        now = two_waits(k);
        still = now && now == before ? still + 1 : 0;
        before = now;
    }
    pthread_mutex_unlock(&k->lock);
    return still < STILL_SECONDS ? kernel_wait(k, pid) : -ETIMEDOUT;
}

int kernel_wait(struct kernel *k, pid_t pid)
{
    struct proc *p;
    int status;

    pthread_mutex_lock(&k->lock);
    while ((p = proc_find(k, pid)) && atomic_load(&p->state) != PROC_ZOMBIE)
        pthread_cond_wait(&k->changed, &k->lock);
    if (p)
        unlink_locked(p);
    pthread_mutex_unlock(&k->lock);
    if (!p)
        return -ECHILD;
    status = p->wait_status;
    reap(p);
    return status;
}

bool kernel_is_zombie(struct kernel *k, pid_t pid)
{
    struct proc *p;
    bool zombie;

    pthread_mutex_lock(&k->lock);
    p = proc_find(k, pid);
    zombie = !p || atomic_load(&p->state) == PROC_ZOMBIE;
    pthread_mutex_unlock(&k->lock);
    return zombie;
}

int kernel_kill(struct kernel *k, pid_t pid, int sig)
{
    struct proc *p;
    int rc;

    pthread_mutex_lock(&k->lock);
    p = proc_find(k, pid);
    rc = p ? signal_post(p, sig) : -ESRCH;
    pthread_mutex_unlock(&k->lock);
    return rc;
}

void kernel_destroy(struct kernel *k)
{
    if (!k)
        return;
    for (bool busy = true; busy;) {
        bool zombies = false;

        bury(k);
        pthread_mutex_lock(&k->lock);
        for (struct proc *p = k->procs; p; p = p->next) {
            p->parent = NULL;
            p->orphan = true;
            zombies = zombies || atomic_load(&p->state) == PROC_ZOMBIE;
            signal_post(p, SIGKILL);
        }
        busy = k->nprocs > 0;
        if (busy && !zombies)
            pthread_cond_wait(&k->changed, &k->lock);
        pthread_mutex_unlock(&k->lock);
    }
    binds_free(k);
    while (k->idle_programs) {
        struct program *g = k->idle_programs;

        k->idle_programs = g->next_idle;
        program_free(g);
    }
    timekeeper_stop(k);
    shm_destroy(k->shm);
    hostfiles_destroy(k->hostfiles);
    signals_release();
    free(k);
}

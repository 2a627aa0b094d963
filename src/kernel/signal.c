/*
 * signal.c - virtual signals: dispositions, masks, delivery, faults
 *
 * A signal is a bit in proc.pending.  Whoever sets it kicks the carrier with a
 * real-time signal, and with SIGSTKFLT where the system has no more room to queue
 * that one.  What happens then:
 *  - the carrier waits in intr_syscall(): the call ends with -EINTR, and the
 *    gate that made it delivers on its way out;
 *  - it computes inside an image: the handler runs right there, on its stack;
 *  - it is anywhere else in a gate: the gate's end delivers;
 *  - it is in a library of the host (malloc in ICU, say): running a handler
 *    there could leave the host's locks held for ever.  So the text of its images
 *    loses the right to be executed: where the host's code returns to it, it
 *    faults, and the fault kicks again.
 *
 * The rule that matters: a process has at most one kick under way (proc.kicked), and no kick is
 * heard in the handler of another but where a virtual handler runs, whose mask bounds how deep
 * that goes.  Real-time signals are queued, and each one queued is a frame on the stack: who may
 * send signals as fast as he likes would end the server by them.
 *
 * Faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, and the SIGABRT of a library's abort())
 * of a carrier are signals of its process; those of other threads go to whoever
 * handled them before.
 *
 * Not done: stopping and continuing (job control), queued siginfo.
 */
#include "kernel.h"

#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <ucontext.h>

int kick_signal;

static __thread struct proc *current __attribute__((tls_model("initial-exec")));
static __thread bool secondary __attribute__((tls_model("initial-exec")));
static struct sigaction before[NSIG_];
static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER; /* the host's dispositions */
static int users;                                             /* kernels */
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

struct proc *self(void)
{
    __asm__ volatile("");
    return current;
}

/* A kick that met this thread while it ran another process, or none, is not under way any more. */
void set_self(struct proc *p)
{
    current = p;
    __asm__ volatile("" ::: "memory");
    if (p)
        atomic_store(&p->kicked, false);
}

bool on_main_thread(void)
{
    __asm__ volatile("");
    return !secondary;
}

void set_secondary(void)
{
    secondary = true;
}

_Noreturn void check_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "calf: internal error: %s:%d: CHECK(%s) failed\n", file, line, what);
    set_self(NULL); /* ends the host: what we know of our processes is wrong */
    abort();
}

/* ---- posting -------------------------------------------------------------- */

static bool ignored_by_default(int sig)
{
    switch (sig) { /* stopping does nothing: there is no job control inside */
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
    case SIGCONT:
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU: return true;
    default: return false;
    }
}

static bool ignored(struct proc *p, int sig)
{
    void (*handler)(int) = p->act[sig].handler;

    return handler == SIG_IGN || (handler == SIG_DFL && ignored_by_default(sig));
}

/* `tid` is read after the flag is set, and set_self() clears it after `tid` was set: no kick that
 * went to a thread which ran the process before leaves the flag behind. */
void kick(struct proc *p)
{
    int tid, saved = errno;

    if (atomic_exchange(&p->kicked, true))
        return;
    tid = atomic_load(&p->tid);
    if (tid > 0 && syscall(SYS_tgkill, getpid(), tid, kick_signal) < 0 && errno == EAGAIN)
        syscall(SYS_tgkill, getpid(), tid, SIGSTKFLT); /* not queued, so there is always room */
    errno = saved;
}

/* Returns 0; a signal to a zombie is accepted and forgotten, as on Linux. */
int signal_post(struct proc *p, int sig)
{
    uint64_t bit;
    pid_t host_pid = atomic_load(&p->host_pid);

    if (sig == 0 || atomic_load(&p->state) == PROC_ZOMBIE)
        return 0;
    if (host_pid)
        return kill(host_pid, sig) < 0 ? -errno : 0;
    bit = SIGBIT(sig);
    if (!(atomic_load(&p->blocked) & bit) && ignored(p, sig) && sig != SIGKILL)
        return 0;
    atomic_fetch_or(&p->pending, bit);
    if ((~atomic_load(&p->blocked) | atomic_load(&p->waited)) & bit && p != self())
        kick(p);
    return 0;
}

/* ---- delivery ------------------------------------------------------------- */

static void gate_open(struct proc *p)
{
    atomic_store_explicit(&p->in_gate, p->in_gate - 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

static void gate_shut(struct proc *p)
{
    atomic_store_explicit(&p->in_gate, p->in_gate + 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

static void run_handler(struct proc *p, int sig)
{
    struct vsigaction act = p->act[sig];
    uint64_t mask = atomic_load(&p->blocked);

    if (act.flags & SA_RESETHAND)
        p->act[sig].handler = SIG_DFL;
    atomic_store(&p->blocked,
                 (mask | act.mask | (act.flags & SA_NODEFER ? 0 : SIGBIT(sig))) & ~SIGBIT(SIGKILL));
    gate_open(p);
    if (act.flags & SA_SIGINFO) {
        siginfo_t info = {.si_signo = sig, .si_code = SI_USER};

        act.action(sig, &info, NULL);
    } else {
        act.handler(sig);
    }
    p = self();
    gate_shut(p);
    atomic_store(&p->blocked, mask);
}

/*
 * The end of a gate: runs what is pending and open, and leaves the gate open.  Until then kicks
 * that come find it shut, but for while a handler runs.  Returns true when no handler ran without
 * SA_RESTART.
 */
static bool deliver(struct proc *p)
{
    bool restart = true;

    for (;;) {
        uint64_t open = atomic_load(&p->pending) & ~atomic_load(&p->blocked);
        int sig = open & SIGBIT(SIGKILL) ? SIGKILL : open ? __builtin_ctzll(open) + 1 : 0;

        if (!sig) {
            gate_open(p);
            if (!deliverable(p))
                return restart;
            gate_shut(p); /* it came between the look and the opening */
            continue;
        }
        atomic_fetch_and(&p->pending, ~SIGBIT(sig));
        if (ignored(p, sig))
            continue;
        if (p->act[sig].handler == SIG_DFL) {
            gate_open(p);
            proc_exit(sig);
        }
        if (!(p->act[sig].flags & SA_RESTART))
            restart = false;
        run_handler(p, sig);
        p = self();
    }
}

bool gate_leave(struct proc *p)
{
    if (!on_main_thread()) {
        thread_leave_if_dying(p);
        return true;
    }
    gate_open(p);
    if (!deliverable(p) || p->in_gate > 0)
        return true;
    gate_shut(p);
    return deliver(p);
}

/* In the kick's handler, which ends here as far as Linux is concerned: what runs now may be kicked,
 * may wait, and may jump away. */
static void deliver_here(struct proc *p)
{
    sigset_t kicks;

    gate_shut(p);
    sigemptyset(&kicks);
    sigaddset(&kicks, kick_signal);
    sigaddset(&kicks, SIGSTKFLT);
    pthread_sigmask(SIG_UNBLOCK, &kicks, NULL);
    deliver(p);
}

/* To the handler that was there before, under its own mask: the kernel put on ours. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
    const struct sigaction *to = &before[sig];
    bool sent = info->si_code <= 0; /* by kill() or the like; a fault comes again by itself */
    sigset_t mask = to->sa_mask;

    if (to->sa_handler == SIG_IGN && sent)
        return;
    if (to->sa_handler == SIG_DFL || to->sa_handler == SIG_IGN) {
        sigaction(sig, to, NULL);
        if (sent)
            raise(sig);
        return;
    }
    if (!(to->sa_flags & SA_NODEFER))
        sigaddset(&mask, sig);
    pthread_sigmask(SIG_BLOCK, &mask, NULL); /* until on_fault() returns */
    if (to->sa_flags & SA_SIGINFO)
        to->sa_sigaction(sig, info, context);
    else
        to->sa_handler(sig);
}

static void on_kick(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *pc = &uc->uc_mcontext.gregs[REG_RIP];
    struct proc *p = self();
    int saved = errno;

    if (!p) {
        if (sig == SIGSTKFLT)
            pass_on(sig, info, context);
        return;
    }
    if (on_main_thread())
        atomic_store(&p->kicked, false); /* before the look at what is pending */
    if (*pc >= (greg_t)intr_window_start && *pc < (greg_t)intr_window_end) {
        *pc = (greg_t)intr_aborted;
        return;
    }
    if (!on_main_thread()) {
        if (p->prog && program_has_text(p->prog, *pc))
            thread_leave_if_dying(p);
        return;
    }
    if (!deliverable(p) || atomic_load(&p->in_gate) > 0)
        return;
    if (!p->prog || p->forked_from) /* its start, or the end of the fork window, delivers */
        return;
    if (program_has_text(p->prog, *pc))
        deliver_here(p);
    else if (!p->threads) /* the trap would be for all its threads; so the next gate delivers */
        program_set_trap(p->prog, true); /* so it does where there can be no trap */
    errno = saved;
}

/* ---- faults --------------------------------------------------------------- */

/* A handler for a fault runs outside the host's handler, so that it may jump away. */
static void fault_deliver(int sig)
{
    struct proc *p = self();
    struct vsigaction act = p->act[sig];

    atomic_store(&p->in_gate, 0);
    atomic_fetch_or(&p->blocked, act.mask | (act.flags & SA_NODEFER ? 0 : SIGBIT(sig)));
    if (act.flags & SA_SIGINFO) {
        siginfo_t info = {.si_signo = sig};

        act.action(sig, &info, NULL);
    } else {
        act.handler(sig);
    }
    proc_exit(sig); /* returning would only fault again */
}

static void fault_die(int sig)
{
    proc_exit(sig);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *regs = uc->uc_mcontext.gregs;
    struct proc *p = self();

    if (sig == SIGSEGV && p && p->prog && info->si_code == SEGV_ACCERR &&
        info->si_addr == (void *)regs[REG_RIP] && program_has_text(p->prog, regs[REG_RIP]) &&
        program_set_trap(p->prog, false) == 0) {
        kick(p); /* heard when this handler has returned */
        return;
    }
    if (p && on_main_thread() && (info->si_code > 0 || sig == SIGABRT) && carrier_stack()) {
        void (*handler)(int) = p->act[sig].handler;
        bool catch =
            handler != SIG_DFL && handler != SIG_IGN && !(atomic_load(&p->blocked) & SIGBIT(sig));
        uintptr_t sp = catch ? (uintptr_t)regs[REG_RSP] - 128 : (uintptr_t)carrier_stack();

        regs[REG_RSP] = (greg_t)((sp & ~15UL) - 8);
        regs[REG_RDI] = sig;
        regs[REG_RIP] = (greg_t)(catch ? fault_deliver : fault_die);
        return;
    }
    pass_on(sig, info, context);
}

/* Our handlers are there while a kernel is. */
void signals_hold(void)
{
    struct sigaction sa = {.sa_sigaction = on_kick, .sa_flags = SA_SIGINFO};

    pthread_mutex_lock(&host_lock);
    if (users++ > 0)
        goto out;
    for (kick_signal = SIGRTMAX - 1; kick_signal > SIGRTMIN; kick_signal--) {
        struct sigaction old;

        if (sigaction(kick_signal, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            break;
    }
    sigemptyset(&sa.sa_mask);
    sigaddset(&sa.sa_mask, kick_signal);
    sigaddset(&sa.sa_mask, SIGSTKFLT);
    sigaction(kick_signal, &sa, &before[kick_signal]); /* none may be free */
    sigaction(SIGSTKFLT, &sa, &before[SIGSTKFLT]);
    sa.sa_sigaction = on_fault;
    sa.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        sigaction(faults[i], &sa, &before[faults[i]]);
out:
    pthread_mutex_unlock(&host_lock);
}

static void give_back(int sig)
{
    struct sigaction now;

    if (sigaction(sig, NULL, &now) == 0 &&
        (now.sa_sigaction == on_kick || now.sa_sigaction == on_fault))
        sigaction(sig, &before[sig], NULL); /* else the host has set its own since */
}

void signals_release(void)
{
    pthread_mutex_lock(&host_lock);
    if (--users == 0) {
        give_back(kick_signal);
        give_back(SIGSTKFLT);
        for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
            give_back(faults[i]);
    }
    pthread_mutex_unlock(&host_lock);
}

/* The mask of every carrier: only kicks and real faults come through. */
void carrier_sigmask(sigset_t *set)
{
    sigfillset(set);
    sigdelset(set, kick_signal);
    sigdelset(set, SIGSTKFLT);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        sigdelset(set, faults[i]);
}

/* ---- waiting -------------------------------------------------------------- */

long block(long nr, long a, long b, long c, long d, long e, long f)
{
    struct proc *p = self();
    static _Atomic uint64_t never;

    if (!on_main_thread())
        return intr_syscall(nr, a, b, c, d, e, f, &never, 0);
    return intr_syscall(nr, a, b, c, d, e, f, &p->pending,
                        ~atomic_load(&p->blocked) | atomic_load(&p->waited));
}

int block_futex(_Atomic unsigned *word, unsigned value, int64_t deadline_ns)
{
    struct timespec ts = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    long rc = block(SYS_futex, (long)word, 9 /* FUTEX_WAIT_BITSET, absolute */ | 128 /* PRIVATE */,
                    value, deadline_ns ? (long)&ts : 0, 0, ~0U);

    return rc == -EAGAIN ? 0 : (int)rc;
}

void futex_wake(void *word, int n)
{
    syscall(SYS_futex, word, 1 | 128, n, NULL, NULL, 0);
}

/* ---- calls ---------------------------------------------------------------- */

static uint64_t get_set(const sigset_t *set)
{
    uint64_t v;

    memcpy(&v, set, sizeof(v));
    return v;
}

static void put_set(sigset_t *set, uint64_t v)
{
    memset(set, 0, sizeof(*set));
    memcpy(set, &v, sizeof(v));
}

int sys_sigaction(int sig, const struct sigaction *new, struct sigaction *old)
{
    struct proc *p = self();
    struct vsigaction was;

    if (sig < 1 || sig >= NSIG_ || (new && (sig == SIGKILL || sig == SIGSTOP)))
        return -EINVAL;
    was = p->act[sig];
    if (new) {
        p->act[sig] = (struct vsigaction){.handler = new->sa_handler,
                                          .flags = new->sa_flags,
                                          .mask = get_set(&new->sa_mask) & ~SIGBIT(SIGKILL)};
        if (ignored(p, sig))
            atomic_fetch_and(&p->pending, ~SIGBIT(sig));
    }
    if (old) {
        memset(old, 0, sizeof(*old));
        old->sa_handler = was.handler;
        old->sa_flags = was.flags;
        put_set(&old->sa_mask, was.mask);
    }
    return 0;
}

void (*sys_signal(int sig, void (*handler)(int)))(int)
{
    struct sigaction new = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;

    if (sys_sigaction(sig, &new, &old) < 0) {
        errno = EINVAL;
        return SIG_ERR;
    }
    return old.sa_handler;
}

int sys_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    struct proc *p = self();
    uint64_t was = atomic_load(&p->blocked), v;

    if (set) {
        v = get_set(set);
        v = how == SIG_BLOCK     ? was | v
            : how == SIG_UNBLOCK ? was & ~v
            : how == SIG_SETMASK ? v
                                 : ~0ULL;
        if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
            return -EINVAL;
        if (on_main_thread()) /* signals of a process go to its main thread */
            atomic_store(&p->blocked, v & ~(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP)));
    }
    if (old)
        put_set(old, was);
    return 0;
}

int sys_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    return -sys_sigprocmask(how, set, old);
}

int sys_sigpending(sigset_t *set)
{
    struct proc *p = self();

    put_set(set, atomic_load(&p->pending) & atomic_load(&p->blocked));
    return 0;
}

/* Deliveries happen under the temporary mask, so not at the gate's end but here. */
int sys_sigsuspend(const sigset_t *set)
{
    struct proc *p = self();
    uint64_t was = atomic_load(&p->blocked);

    atomic_store(&p->blocked, get_set(set) & ~(SIGBIT(SIGKILL) | SIGBIT(SIGSTOP)));
    while (!deliverable(p))
        block(SYS_pause, 0, 0, 0, 0, 0, 0);
    deliver(p);
    gate_shut(self());
    atomic_store(&p->blocked, was);
    return -EINTR;
}

int sys_pause(void)
{
    while (!deliverable(self()))
        block(SYS_pause, 0, 0, 0, 0, 0, 0);
    return -EINTR;
}

/* Returns 0 or an error number, as sigwait(3). */
int sys_sigwait(const sigset_t *set, int *sig)
{
    struct proc *p = self();
    uint64_t wanted = get_set(set), have;

    atomic_store(&p->waited, wanted);
    while (!(have = atomic_load(&p->pending) & wanted)) {
        block(SYS_pause, 0, 0, 0, 0, 0, 0);
        if (deliverable(p)) {
            atomic_store(&p->waited, 0);
            return EINTR;
        }
    }
    atomic_store(&p->waited, 0);
    *sig = __builtin_ctzll(have) + 1;
    atomic_fetch_and(&p->pending, ~SIGBIT(*sig));
    return 0;
}

/* The host and its threads must never be hit by a stray pid; that the host lives may be asked. */
static int kill_host(struct kernel *k, pid_t pid, int sig)
{
    if (pid == k->stale_pid)
        return -ESRCH;
    if (syscall(SYS_tgkill, getpid(), pid, 0) == 0)
        return pid == getpid() && sig == 0 ? 0 : -ESRCH;
    return kill(pid, sig) < 0 ? -errno : 0;
}

int sys_kill(pid_t pid, int sig)
{
    struct proc *p = self(), *q;
    struct kernel *k = p->kernel;
    pid_t group = pid == 0 ? p->pgid : -pid;
    int rc = -ESRCH;

    if (sig < 0 || sig >= NSIG_)
        return -EINVAL;
    pthread_mutex_lock(&k->lock);
    if (pid > 0) {
        q = proc_find(k, pid);
        rc = q ? signal_post(q, sig) : kill_host(k, pid, sig);
    } else if (pid != -1) {
        for (q = k->procs; q; q = q->next)
            if (q->pgid == group && atomic_load(&q->state) != PROC_ZOMBIE)
                rc = signal_post(q, sig);
    }
    pthread_mutex_unlock(&k->lock);
    return rc;
}

int sys_raise(int sig)
{
    if (sig < 1 || sig >= NSIG_)
        return -EINVAL;
    return signal_post(self(), sig);
}

_Noreturn void sys_abort(void)
{
    struct proc *p = self();

    if (p->act[SIGABRT].handler != SIG_DFL && p->act[SIGABRT].handler != SIG_IGN)
        p->act[SIGABRT].handler(SIGABRT);
    proc_exit(SIGABRT);
}

/* ---- sigsetjmp: the half that C can say ------------------------------------ */

struct jump {
    uint64_t regs[8];
    int has_mask;
    uint64_t mask;
};
_Static_assert(sizeof(struct jump) <= sizeof(jmp_buf), "fits glibc's jmp_buf");

int sigjmp_save(struct jump *j)
{
    j->has_mask = 1;
    j->mask = atomic_load(&self()->blocked);
    return 0;
}

_Noreturn void sys_siglongjmp(struct jump *j, int value)
{
    if (j->has_mask) {
        struct proc *p = gate_enter();

        atomic_store(&p->blocked, j->mask);
        gate_leave(p);
    }
    context_jump(j, value);
}

/*
 * timer.c - the timekeeper of a kernel: setitimer() and sleeping
 *
 * One thread per kernel sleeps until the nearest alarm of any process, or the
 * next look at what may rest (rest.c).  Timers are deadlines in the process, not
 * timers of the host, so they do not care which thread carries it.
 */
#include "kernel.h"

#include <sys/syscall.h>

int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

void timekeeper_nudge(struct kernel *k)
{
    atomic_fetch_add(&k->timer_seq, 1);
    futex_wake(&k->timer_seq, 1);
}

/* Fires what is due; returns the next deadline, 0 for none. */
static int64_t fire_due(struct kernel *k)
{
    int64_t now = now_ns(), next = 0;

    pthread_mutex_lock(&k->lock);
    pthread_mutex_lock(&k->timer_lock);
    for (struct proc *p = k->procs; p; p = p->next) {
        if (atomic_load(&p->state) == PROC_ZOMBIE)
            continue;
        if (!p->alarm_at_ns)
            continue;
        if (p->alarm_at_ns <= now) {
            p->alarm_at_ns = p->alarm_interval_ns ? now + p->alarm_interval_ns : 0;
            signal_post(p, SIGALRM);
        }
        if (p->alarm_at_ns && (!next || p->alarm_at_ns < next))
            next = p->alarm_at_ns;
    }
    k->timer_next_ns = next;
    pthread_mutex_unlock(&k->timer_lock);
    pthread_mutex_unlock(&k->lock);
    return next;
}

static void *timekeeper(void *arg)
{
    struct kernel *k = arg;

    pthread_setname_np(pthread_self(), "calf-timer");
    for (;;) {
        unsigned seq = atomic_load(&k->timer_seq);
        int64_t next, look;
        struct timespec ts;

        pthread_mutex_lock(&k->timer_lock);
        bool stop = k->timer_stop;
        pthread_mutex_unlock(&k->timer_lock);
        if (stop)
            return NULL;
        look = rest_look(k);
        next = fire_due(k);
        if (look && (!next || look < next))
            next = look;
        ts = (struct timespec){next / 1000000000, next % 1000000000};
        syscall(SYS_futex, &k->timer_seq, 9 | 128, seq, next ? &ts : NULL, NULL, ~0U);
    }
}

int timekeeper_start(struct kernel *k)
{
    pthread_attr_t attr;
    sigset_t all;
    int rc;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setsigmask_np(&attr, &all);
    rc = -pthread_create(&k->timekeeper, &attr, timekeeper, k);
    pthread_attr_destroy(&attr);
    return rc;
}

void timekeeper_stop(struct kernel *k)
{
    pthread_mutex_lock(&k->timer_lock);
    k->timer_stop = true;
    pthread_mutex_unlock(&k->timer_lock);
    timekeeper_nudge(k);
    pthread_join(k->timekeeper, NULL);
}

static int64_t from_timeval(struct timeval tv)
{
    return tv.tv_sec * 1000000000LL + tv.tv_usec * 1000LL;
}

static struct timeval to_timeval(int64_t ns)
{
    ns = (ns + 999) / 1000;
    return (struct timeval){ns / 1000000, ns % 1000000};
}

static void read_timer(struct proc *p, struct itimerval *out)
{
    int64_t left = p->alarm_at_ns ? p->alarm_at_ns - now_ns() : 0;

    out->it_interval = to_timeval(p->alarm_interval_ns);
    out->it_value = to_timeval(p->alarm_at_ns && left <= 0 ? 1000 : left);
}

int sys_setitimer(int which, const struct itimerval *new, struct itimerval *old)
{
    struct proc *p = self();
    struct kernel *k = p->kernel;
    int64_t value = from_timeval(new->it_value);
    bool sooner;

    if (which != ITIMER_REAL)
        return -EINVAL;
    pthread_mutex_lock(&k->timer_lock);
    if (old)
        read_timer(p, old);
    p->alarm_at_ns = value ? now_ns() + value : 0;
    p->alarm_interval_ns = from_timeval(new->it_interval);
    sooner = value && (!k->timer_next_ns || p->alarm_at_ns < k->timer_next_ns);
    pthread_mutex_unlock(&k->timer_lock);
    if (sooner) /* else the timekeeper wakes early enough and finds it */
        timekeeper_nudge(k);
    return 0;
}

int sys_getitimer(int which, struct itimerval *out)
{
    struct proc *p = self();

    if (which != ITIMER_REAL)
        return -EINVAL;
    pthread_mutex_lock(&p->kernel->timer_lock);
    read_timer(p, out);
    pthread_mutex_unlock(&p->kernel->timer_lock);
    return 0;
}

unsigned sys_alarm(unsigned seconds)
{
    struct itimerval new = {.it_value.tv_sec = seconds}, old;

    sys_setitimer(ITIMER_REAL, &new, &old);
    return old.it_value.tv_sec + (old.it_value.tv_usec > 0);
}

/* ---- sleeping --------------------------------------------------------------- */

int sys_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    return (int)block(SYS_nanosleep, (long)wanted, (long)left, 0, 0, 0, 0);
}

int sys_clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted,
                        struct timespec *left)
{
    return (int)-block(SYS_clock_nanosleep, clock, flags, (long)wanted, (long)left, 0, 0);
}

int sys_usleep(useconds_t us)
{
    struct timespec ts = {us / 1000000, us % 1000000 * 1000L};

    return sys_nanosleep(&ts, NULL);
}

unsigned sys_sleep(unsigned seconds)
{
    struct timespec ts = {seconds, 0}, left = {0};

    return sys_nanosleep(&ts, &left) == -EINTR ? left.tv_sec + (left.tv_nsec > 0) : 0;
}

/*
 * poll.c - waiting for descriptors: poll, select, epoll, signalfd, eventfd
 *
 * A wait is the host's ppoll() or epoll_wait() on the host's descriptors, which a
 * kick ends.  A signalfd has no descriptor of the host: it is readable while a
 * signal of its set is pending, and while somebody waits for it those signals
 * kick although they are blocked.  So PostgreSQL's latch (latch.c: epoll on a
 * signalfd for the blocked SIGURG, on the client's socket and on the pipe that
 * tells of the postmaster's death) wakes without a descriptor of its own.
 *
 * An epoll set is the host's, because all sessions watch that one pipe: a ppoll()
 * would queue on it anew for every wait, and they would fight for its lock.  It is made
 * when it is needed: every backend has a set for its latch and that pipe alone, which most
 * never wait for, and a hundred sessions are to fit into 1,024 descriptors.
 */
#include "kernel.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

#define POLL_MAX 4096
#define FEW 16          /* waited for without allocating */
#define SIGNALFDS_MAX 4 /* in one epoll set; PostgreSQL has one */

/* What of an epoll set is not in the host's set, whose descriptor is the file's `host`. */
struct epoll_set {
    pthread_mutex_t lock; /* guards all below, and that `host` is made once */
    struct watch {
        int fd;
        struct file *file; /* as registered: another one under this number is not meant */
        struct epoll_event event;
    } list[SIGNALFDS_MAX]; /* the signalfds */
    int n;
    struct watch pipe; /* a pipe that came first, while there is no host's set; file NULL: none */
};

void epoll_set_free(struct epoll_set *set)
{
    free(set);
}

/* The host's set of the file, or -errno. */
static int host_set(struct file *f)
{
    struct epoll_set *set = f->epoll;
    int rc = 0;

    if (f->host >= 0)
        return f->host;
    pthread_mutex_lock(&set->lock);
    if (f->host < 0) {
        int host = owned_note(epoll_create1(EPOLL_CLOEXEC));

        rc = host < 0 ? -errno : 0;
        if (rc == 0 && set->pipe.file && fd_get(set->pipe.fd) == set->pipe.file &&
            epoll_ctl(host, EPOLL_CTL_ADD, set->pipe.file->host, &set->pipe.event) < 0) {
            rc = -errno;
            owned_close(host);
        }
        if (rc == 0)
            f->host = host;
    }
    rc = rc < 0 ? rc : f->host;
    pthread_mutex_unlock(&set->lock);
    return rc;
}

static bool signal_ready(const struct proc *p, const struct file *f)
{
    return f && f->kind == FILE_SIGNALFD && atomic_load(&p->pending) & f->sigmask;
}

static int wait_in_host(struct pollfd *fds, struct file **files, int n, int64_t timeout_ns)
{
    struct proc *p = self();
    int64_t deadline = timeout_ns > 0 ? now_ns() + timeout_ns : 0;
    uint64_t wanted = 0;
    int rc;

    for (int i = 0; i < n; i++) {
        bool is_signal = files[i] && files[i]->kind == FILE_SIGNALFD;

        if (files[i] && files[i]->kind == FILE_EPOLL && (rc = host_set(files[i])) < 0)
            return rc;
        fds[i].fd = !files[i] || is_signal ? -1 : files[i]->host;
        fds[i].revents = 0;
        if (is_signal && fds[i].events & POLLIN)
            wanted |= files[i]->sigmask;
    }
    for (;;) {
        bool now = timeout_ns == 0 || atomic_load(&p->pending) & wanted;
        int64_t left = now ? 0 : deadline ? deadline - now_ns() : -1;
        struct timespec ts = {left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
        int signals = 0;

        if (p->forked_from && !now && n > 0 && poll(fds, n, 0) == 0)
            fork_window_refuse_wait(p);
        atomic_store(&p->waited, now ? 0 : wanted);
        rc = (int)block(SYS_ppoll, (long)fds, n, left >= 0 || deadline ? (long)&ts : 0, 0, 8, 0);
        atomic_store(&p->waited, 0);
        if (rc == -EINTR && deliverable(p))
            return -EINTR;
        if (rc < 0 && rc != -EINTR)
            return rc;
        if (atomic_load(&p->rest))
            rest(p);
        for (int i = 0; i < n; i++) {
            if (!signal_ready(p, files[i]) || !(fds[i].events & POLLIN))
                continue;
            fds[i].revents = POLLIN;
            signals++;
        }
        if (rc == -EINTR && !(now && signals))
            continue; /* with what is ready now and the time that is left */
        return (rc > 0 ? rc : 0) + signals;
    }
}

/*
 * Waits until one of `n` files is ready; fds[i] has the events, files[i] (NULL: none) the
 * file.  timeout_ns < 0: for ever.  Returns how many have revents, or -EINTR when a signal
 * is to be delivered.
 */
static int wait_files(struct pollfd *fds, struct file **files, int n, int64_t timeout_ns)
{
    struct proc *p = self();
    int rc;

    wait_begins(p);
    rc = wait_in_host(fds, files, n, timeout_ns);
    wait_ends(p);
    return rc;
}

static int64_t to_ns(const struct timespec *ts)
{
    return ts ? ts->tv_sec * 1000000000LL + ts->tv_nsec : -1;
}

int sys_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    struct proc *p = self();
    uint64_t was = atomic_load(&p->blocked), temporary;
    struct pollfd few[FEW], *host = few;
    struct file *few_files[FEW], **files = few_files;
    int rc, bad = 0;

    if (n > POLL_MAX)
        return -EINVAL;
    if (n > FEW) {
        host = malloc(n * sizeof(*host));
        files = malloc(n * sizeof(*files));
        if (!host || !files) {
            free(host);
            free(files);
            return -ENOMEM;
        }
    }
    for (nfds_t i = 0; i < n; i++) {
        host[i].events = fds[i].events;
        files[i] = fds[i].fd < 0 ? NULL : fd_get(fds[i].fd);
        if (fds[i].fd >= 0 && !files[i])
            bad++;
    }
    if (mask) {
        memcpy(&temporary, mask, sizeof(temporary));
        atomic_store(&p->blocked, temporary & ~SIGBIT(SIGKILL));
    }
    rc = wait_files(host, files, n, bad ? 0 : to_ns(timeout));
    if (mask) {
        if (rc == -EINTR) { /* deliver under the temporary mask, then restore */
            atomic_fetch_sub(&p->in_gate, 1);
            gate_leave(gate_enter());
            atomic_fetch_add(&p->in_gate, 1);
        }
        atomic_store(&p->blocked, was);
    }
    for (nfds_t i = 0; rc >= 0 && i < n; i++)
        fds[i].revents = fds[i].fd >= 0 && !files[i] ? POLLNVAL : host[i].revents;
    if (n > FEW) {
        free(host);
        free(files);
    }
    return rc < 0 ? rc : rc + bad;
}

int sys_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    struct timespec ts = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

    return sys_ppoll(fds, n, timeout_ms < 0 ? NULL : &ts, NULL);
}

int sys_pselect(int n, fd_set *in, fd_set *out, fd_set *ex, const struct timespec *timeout,
                const sigset_t *mask)
{
    struct pollfd fds[FD_SETSIZE];
    int count = 0, ready = 0, rc;

    if (n < 0 || n > FD_SETSIZE)
        return -EINVAL;
    for (int fd = 0; fd < n; fd++) {
        short events = (in && FD_ISSET(fd, in) ? POLLIN : 0) |
                       (out && FD_ISSET(fd, out) ? POLLOUT : 0) |
                       (ex && FD_ISSET(fd, ex) ? POLLPRI : 0);

        if (!events)
            continue;
        if (!fd_get(fd))
            return -EBADF;
        fds[count++] = (struct pollfd){fd, events, 0};
    }
    rc = sys_ppoll(fds, count, timeout, mask);
    if (rc < 0)
        return rc;
    for (int i = 0; i < count; i++) {
        short got = fds[i].revents;
        bool r = fds[i].events & POLLIN && got & (POLLIN | POLLHUP | POLLERR);
        bool w = fds[i].events & POLLOUT && got & (POLLOUT | POLLERR);
        bool x = fds[i].events & POLLPRI && got & POLLPRI;

        if (in && !r)
            FD_CLR(fds[i].fd, in);
        if (out && !w)
            FD_CLR(fds[i].fd, out);
        if (ex && !x)
            FD_CLR(fds[i].fd, ex);
        ready += r + w + x;
    }
    return ready;
}

int sys_select(int n, fd_set *in, fd_set *out, fd_set *ex, struct timeval *timeout)
{
    struct timespec ts;

    if (timeout)
        ts = (struct timespec){timeout->tv_sec + timeout->tv_usec / 1000000,
                               timeout->tv_usec % 1000000 * 1000};
    return sys_pselect(n, in, out, ex, timeout ? &ts : NULL, NULL);
}

/* ---- epoll ----------------------------------------------------------------------------- */

int sys_epoll_create1(int flags)
{
    struct file *f = file_new(FILE_EPOLL, -1, flags & EPOLL_CLOEXEC ? O_CLOEXEC : 0);

    if (!f || !(f->epoll = calloc(1, sizeof(*f->epoll)))) {
        file_put(f);
        return -ENOMEM;
    }
    pthread_mutex_init(&f->epoll->lock, NULL);
    return fd_install(f, 0, (flags & EPOLL_CLOEXEC) != 0);
}

/* Keeps the first pipe of a set for later; false: it is something else. */
static bool keep_pipe(struct file *f, int fd, struct file *file, const struct epoll_event *event)
{
    struct epoll_set *set = f->epoll;
    struct stat st;
    bool kept;

    if (file->kind != FILE_HOST || fstat(file->host, &st) < 0 || !S_ISFIFO(st.st_mode))
        return false;
    pthread_mutex_lock(&set->lock);
    kept = f->host < 0 && !set->pipe.file;
    if (kept)
        set->pipe = (struct watch){fd, file, *event};
    pthread_mutex_unlock(&set->lock);
    return kept;
}

int sys_epoll_create(int size)
{
    return size > 0 ? sys_epoll_create1(0) : -EINVAL;
}

static int watch_signals(struct epoll_set *set, int op, int fd, struct file *file,
                         const struct epoll_event *event)
{
    struct watch *w, *end;
    int rc = 0;

    pthread_mutex_lock(&set->lock);
    end = set->list + set->n;
    for (w = set->list; w < end && w->file != file; w++)
        ;
    if (op == EPOLL_CTL_ADD && w == end && set->n < SIGNALFDS_MAX)
        set->list[set->n++] = (struct watch){fd, file, *event};
    else if (op == EPOLL_CTL_ADD)
        rc = w < end ? -EEXIST : -ENOSPC;
    else if (w == end)
        rc = -ENOENT;
    else if (op == EPOLL_CTL_MOD)
        w->event = *event;
    else if (op == EPOLL_CTL_DEL)
        *w = set->list[--set->n];
    else
        rc = -EINVAL;
    pthread_mutex_unlock(&set->lock);
    return rc;
}

int sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    struct file *f = fd_get(epfd), *file = fd_get(fd);
    int host;

    if (!f || !file)
        return -EBADF;
    if (f->kind != FILE_EPOLL)
        return -EINVAL;
    if (file->kind == FILE_SIGNALFD)
        return watch_signals(f->epoll, op, fd, file, event);
    if (op == EPOLL_CTL_ADD && keep_pipe(f, fd, file, event))
        return 0;
    host = host_set(f);
    if (host < 0)
        return host;
    return epoll_ctl(host, op, file->host, event) < 0 ? -errno : 0;
}

/* Puts the set's signalfds with a pending signal into `events`; *wanted: the signals they watch. */
static int ready_signals(struct proc *p, struct epoll_set *set, struct epoll_event *events, int max,
                         uint64_t *wanted)
{
    int n = 0;

    *wanted = 0;
    pthread_mutex_lock(&set->lock);
    for (int i = 0; i < set->n; i++) {
        struct watch *w = &set->list[i];

        if (fd_get(w->fd) != w->file) { /* closed since */
            *w = set->list[--set->n];
            i--;
            continue;
        }
        if (!(w->event.events & EPOLLIN))
            continue;
        *wanted |= w->file->sigmask;
        if (signal_ready(p, w->file) && n < max)
            events[n++] = (struct epoll_event){EPOLLIN, w->event.data};
    }
    pthread_mutex_unlock(&set->lock);
    return n;
}

static int wait_epoll(struct proc *p, struct file *f, struct epoll_event *events, int max,
                      int timeout_ms)
{
    int64_t deadline = timeout_ms > 0 ? now_ns() + timeout_ms * 1000000LL : 0;
    int host = host_set(f);

    if (host < 0)
        return host;
    for (;;) {
        uint64_t wanted;
        int rc, n = ready_signals(p, f->epoll, events, max, &wanted);

        if (n == max)
            return n;
        if (p->forked_from && n == 0 && timeout_ms != 0 &&
            poll(&(struct pollfd){host, POLLIN, 0}, 1, 0) == 0)
            fork_window_refuse_wait(p);
        atomic_store(&p->waited, n ? 0 : wanted);
        rc =
            (int)block(SYS_epoll_wait, host, (long)(events + n), max - n, n ? 0 : timeout_ms, 0, 0);
        atomic_store(&p->waited, 0);
        if (rc == -EINTR && deliverable(p))
            return -EINTR;
        if (rc >= 0 || rc != -EINTR)
            return rc < 0 && n == 0 ? rc : n + (rc > 0 ? rc : 0);
        if (atomic_load(&p->rest))
            rest(p);
        if (deadline) { /* with what is ready now and the time that is left */
            int64_t left = deadline - now_ns();

            timeout_ms = left > 0 ? (int)((left + 999999) / 1000000) : 0;
        }
    }
}

int sys_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    struct proc *p = self();
    struct file *f = fd_get(epfd);
    int rc;

    if (!f)
        return -EBADF;
    if (f->kind != FILE_EPOLL || max <= 0)
        return -EINVAL;
    wait_begins(p);
    rc = wait_epoll(p, f, events, max, timeout_ms);
    wait_ends(p);
    return rc;
}

/* ---- signalfd ------------------------------------------------------------------------- */

int sys_signalfd(int fd, const sigset_t *mask, int flags)
{
    struct file *f;
    uint64_t set;

    memcpy(&set, mask, sizeof(set));
    if (fd >= 0) {
        f = fd_get(fd);
        if (!f || f->kind != FILE_SIGNALFD)
            return f ? -EINVAL : -EBADF;
        f->sigmask = set;
        return fd;
    }
    f = file_new(FILE_SIGNALFD, -1, flags & SFD_NONBLOCK ? O_NONBLOCK : 0);
    if (f)
        f->sigmask = set;
    return fd_install(f, 0, (flags & SFD_CLOEXEC) != 0);
}

ssize_t signalfd_read(struct file *f, void *buf, size_t size)
{
    struct proc *p = self();
    struct signalfd_siginfo *out = buf;
    size_t n = 0;
    uint64_t have;

    if (size < sizeof(*out))
        return -EINVAL;
    while (!signal_ready(p, f)) {
        struct pollfd fd = {.events = POLLIN};

        if (f->flags & O_NONBLOCK)
            return -EAGAIN;
        if (wait_files(&fd, &f, 1, -1) == -EINTR)
            return -ERESTART;
    }
    while ((have = atomic_load(&p->pending) & f->sigmask) && (n + 1) * sizeof(*out) <= size) {
        int sig = __builtin_ctzll(have) + 1;

        atomic_fetch_and(&p->pending, ~SIGBIT(sig));
        memset(&out[n], 0, sizeof(*out));
        out[n++].ssi_signo = sig;
    }
    return n * sizeof(*out);
}

int sys_eventfd(unsigned value, int flags)
{
    return fd_adopt(FILE_HOST, eventfd(value, flags | EFD_CLOEXEC),
                    O_RDWR | (flags & EFD_CLOEXEC ? O_CLOEXEC : 0));
}

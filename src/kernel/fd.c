/*
 * fd.c - descriptors: calf's own numbers, per process, on the host's descriptors
 *
 * A slot points to an open file description (`struct file`), which dup() and
 * fork() share.  Regular files keep their position here and are read and
 * written with pread and pwrite, so that everybody who has the same file open
 * with the same flags can use one descriptor of the host (`struct hostfile`):
 * a hundred sessions fit into the usual limit of 1,024.
 *
 * The rule that matters: a process is single-threaded where it opens and
 * closes one descriptor, so a file that fd_get() returned stays valid until the
 * process itself closes it.  The table never moves.
 *
 * O_APPEND files, pipes, terminals and sockets are not shared: the host keeps
 * their state.  Not done: record locks and leases (PostgreSQL uses neither).
 */
#include "kernel.h"

#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>

#define BUCKETS 512
#define WHOLE_LOCKS 16

struct hostfile {
    struct hostfile *next;
    _Atomic int refs; /* also read without the lock */
    int fd, flags;
    dev_t dev;
    ino_t ino;
};

struct hostfiles {
    pthread_mutex_t lock; /* guards all below and the refs */
    struct hostfile *bucket[BUCKETS];
    /*
     * By inode: a read() sees all of a write() or nothing, as POSIX wants it and Linux does not do.
     * Started processes read pg_control while another writes it (EXEC_BACKEND, ReadControlFile() in
     * xlog.c), and a torn one ends them.  pread() and pwrite() are left alone: their callers lock.
     */
    pthread_rwlock_t whole[WHOLE_LOCKS];
};

struct hostfiles *hostfiles_create(void)
{
    struct hostfiles *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    pthread_mutex_init(&h->lock, NULL);
    for (int i = 0; i < WHOLE_LOCKS; i++)
        pthread_rwlock_init(&h->whole[i], NULL);
    return h;
}

void hostfiles_destroy(struct hostfiles *h)
{
    for (int i = 0; h && i < BUCKETS; i++)
        CHECK(h->bucket[i] == NULL);
    free(h);
}

static size_t bucket_of(const struct stat *st)
{
    return (st->st_ino * 31 + st->st_dev) % BUCKETS;
}

/* The shared descriptor of the file that `host` has open; closes `host` if there is one already. */
static struct hostfile *share(struct hostfiles *h, int host, int flags, const struct stat *st)
{
    struct hostfile **bucket = &h->bucket[bucket_of(st)], *f;
    int kind = flags & (O_ACCMODE | O_SYNC | O_DSYNC | O_DIRECT);

    pthread_mutex_lock(&h->lock);
    for (f = *bucket; f; f = f->next)
        if (f->ino == st->st_ino && f->dev == st->st_dev && f->flags == kind)
            break;
    if (f) {
        f->refs++;
        owned_close(host);
    } else if ((f = malloc(sizeof(*f)))) {
        *f = (struct hostfile){*bucket, 1, host, kind, st->st_dev, st->st_ino};
        *bucket = f;
    }
    pthread_mutex_unlock(&h->lock);
    return f;
}

static void release(struct hostfiles *h, struct hostfile *f)
{
    struct stat st = {.st_ino = f->ino, .st_dev = f->dev};
    struct hostfile **at = &h->bucket[bucket_of(&st)];

    pthread_mutex_lock(&h->lock);
    if (--f->refs == 0) {
        while (*at != f)
            at = &(*at)->next;
        *at = f->next;
        owned_close(f->fd);
        free(f);
    }
    pthread_mutex_unlock(&h->lock);
}

/* ---- open file descriptions ------------------------------------------------ */

struct file *file_new(enum file_kind kind, int host, int flags)
{
    struct file *f = calloc(1, sizeof(*f));

    if (!f) {
        owned_close(host); /* a connection that was handed in is noted already */
        return NULL;
    }
    atomic_store(&f->refs, 1);
    pthread_mutex_init(&f->pos_lock, NULL);
    f->kind = kind;
    f->host = owned_note(host);
    f->flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC);
    return f;
}

struct file *file_ref(struct file *f)
{
    atomic_fetch_add(&f->refs, 1);
    return f;
}

void file_put(struct file *f)
{
    if (!f || atomic_fetch_sub(&f->refs, 1) > 1)
        return;
    if (f->shared)
        release(f->files, f->shared);
    else
        owned_close(f->host);
    epoll_set_free(f->epoll);
    free(f->bound);
    free(f);
}

/* ---- the table ------------------------------------------------------------- */

/* Puts `f` into slot `fd` < FD_LIMIT; fd_lock held.  -ENOMEM: `f` is still the caller's. */
static int set_slot(struct proc *p, int fd, struct file *f, bool cloexec)
{
    for (int chunk = p->nfds / FD_CHUNK; chunk <= fd / FD_CHUNK; chunk++)
        if (!p->fds[chunk] && !(p->fds[chunk] = calloc(FD_CHUNK, sizeof(struct fdslot))))
            return -ENOMEM;
    *fd_slot(p, fd) = (struct fdslot){f, cloexec};
    if (fd >= p->nfds)
        p->nfds = fd + 1;
    return 0;
}

struct file *fd_get(int fd)
{
    struct proc *p = self();

    return fd >= 0 && fd < p->nfds ? fd_slot(p, fd)->file : NULL;
}

int fd_host(int fd)
{
    struct file *f = fd_get(fd);

    return f ? f->host : -EBADF;
}

int fd_install(struct file *f, int lowest, bool cloexec)
{
    struct proc *p = self();
    int fd, rc = -EMFILE;

    if (!f)
        return -ENOMEM;
    pthread_mutex_lock(&p->fd_lock);
    /* PostgreSQL finds out how many there can be by taking a thousand (count_usable_fds(), fd.c) */
    fd = lowest > p->fd_low ? lowest : p->fd_low;
    while (fd < p->nfds && fd_slot(p, fd)->file)
        fd++;
    if (fd < FD_LIMIT)
        rc = set_slot(p, fd, f, cloexec);
    if (rc == 0 && lowest <= p->fd_low)
        p->fd_low = fd;
    pthread_mutex_unlock(&p->fd_lock);
    if (rc == 0)
        return fd;
    file_put(f);
    return rc;
}

int fd_adopt(enum file_kind kind, int host, int flags)
{
    if (host < 0)
        return -errno;
    return fd_install(file_new(kind, host, flags), 0, (flags & O_CLOEXEC) != 0);
}

/* Takes what slot `fd` held out of the table. */
static struct file *fd_take(struct proc *p, int fd)
{
    struct file *f = NULL;

    pthread_mutex_lock(&p->fd_lock);
    if (fd >= 0 && fd < p->nfds) {
        f = fd_slot(p, fd)->file;
        fd_slot(p, fd)->file = NULL;
        if (fd < p->fd_low)
            p->fd_low = fd;
    }
    pthread_mutex_unlock(&p->fd_lock);
    return f;
}

int fds_inherit(struct proc *child, struct proc *parent)
{
    int rc = 0;

    pthread_mutex_lock(&parent->fd_lock);
    for (int i = 0; rc == 0 && i < parent->nfds; i++) {
        struct fdslot *slot = fd_slot(parent, i);

        if (slot->file && (rc = set_slot(child, i, slot->file, slot->cloexec)) == 0)
            file_ref(slot->file);
    }
    pthread_mutex_unlock(&parent->fd_lock);
    return rc;
}

void fds_close_exec(struct proc *p)
{
    for (int i = 0; i < p->nfds; i++)
        if (fd_slot(p, i)->file && fd_slot(p, i)->cloexec)
            file_put(fd_take(p, i));
}

void fds_close_all(struct proc *p)
{
    for (int i = 0; i < p->nfds; i++)
        file_put(fd_take(p, i));
    p->nfds = 0;
    for (int chunk = 0; chunk < FD_LIMIT / FD_CHUNK; chunk++) {
        free(p->fds[chunk]);
        p->fds[chunk] = NULL;
    }
}

int fd_put_host(struct proc *p, int at, int host)
{
    int copy = fcntl(host, F_DUPFD_CLOEXEC, 3), rc;
    struct file *f;

    if (copy < 0) /* if the host has no such descriptor, neither has the process */
        return errno == EBADF ? 0 : -errno;
    f = file_new(FILE_HOST, copy, fcntl(copy, F_GETFL));
    rc = f ? set_slot(p, at, f, false) : -ENOMEM;
    if (rc < 0)
        file_put(f);
    return rc;
}

/* ---- opening and closing ---------------------------------------------------- */

/* open() under the process's umask, also where the host's own takes more away. */
static int open_host(int dir, const char *path, int flags, mode_t mode)
{
    struct proc *p = self();
    int extra = O_CLOEXEC | O_NOCTTY, fd;

    mode &= ~p->umask;
    if (!(flags & O_CREAT) || !(mode & p->kernel->host_umask)) {
        fd = openat(dir, path, flags | extra, mode);
        return fd < 0 ? -errno : fd;
    }
    do {
        fd = flags & O_EXCL ? -1 : openat(dir, path, (flags & ~O_CREAT) | extra);
        if (fd >= 0 || (!(flags & O_EXCL) && errno != ENOENT))
            break;
        fd = openat(dir, path, flags | O_EXCL | extra, mode);
        if (fd >= 0)
            fchmod(fd, mode);
    } while (fd < 0 && errno == EEXIST && !(flags & O_EXCL));
    return fd < 0 ? -errno : fd;
}

/* PostgreSQL's lock file is opened under this name, in the data directory (CreateLockFile()). */
static int lock_file_opens(struct proc *p, const char *path, int flags)
{
    bool makes = (flags & O_EXCL) != 0;
    int rc;

    if (!p->kernel->lock_file || (flags & O_ACCMODE) != O_RDWR ||
        strcmp(path, "postmaster.pid") != 0 || makes == (p->lock_fd >= 0))
        return 0;
    rc = p->kernel->lock_file(p->kernel, here(), makes);
    if (makes && rc >= 0)
        p->lock_fd = rc;
    return rc < 0 ? rc : 0;
}

int sys_open(const char *path, int flags, mode_t mode)
{
    struct kernel *k = self()->kernel;
    struct place at;
    struct file *f;
    struct stat st;
    int host = lock_file_opens(self(), path, flags);

    if (host == 0)
        host = path_locate(path, &at);
    if (host == 0 && at.entry)
        host = flags & O_ACCMODE ? -EROFS : archive_open(at.entry);
    else if (host == 0)
        host = open_host(at.dir, at.path, flags, mode);
    if (host < 0)
        return host;
    if (flags & O_APPEND || flags & O_PATH || fstat(host, &st) < 0 || !S_ISREG(st.st_mode))
        return fd_adopt(FILE_HOST, host, flags);
    f = file_new(FILE_REGULAR, host, flags);
    if (f && !(f->shared = share(k->hostfiles, host, flags, &st))) {
        file_put(f);
        f = NULL;
    }
    if (f) {
        f->files = k->hostfiles;
        f->host = f->shared->fd;
    }
    return fd_install(f, 0, (flags & O_CLOEXEC) != 0);
}

int sys_close(int fd)
{
    struct file *f = fd_take(self(), fd);

    if (!f)
        return -EBADF;
    file_put(f);
    return 0;
}

int sys_dup(int fd)
{
    struct file *f = fd_get(fd);

    return f ? fd_install(file_ref(f), 0, false) : -EBADF;
}

int sys_dup3(int fd, int to, int flags)
{
    struct proc *p = self();
    struct file *f = fd_get(fd);
    int rc;

    if (!f || to < 0 || to >= FD_LIMIT)
        return -EBADF;
    if (fd == to)
        return -EINVAL;
    file_ref(f);
    file_put(fd_take(p, to));
    pthread_mutex_lock(&p->fd_lock);
    rc = set_slot(p, to, f, (flags & O_CLOEXEC) != 0); /* fails only where nothing was open */
    pthread_mutex_unlock(&p->fd_lock);
    if (rc == 0)
        return to;
    file_put(f);
    return rc;
}

int sys_dup2(int fd, int to)
{
    if (fd == to)
        return fd_get(fd) ? to : -EBADF;
    return sys_dup3(fd, to, 0);
}

int sys_fcntl(int fd, int command, long arg)
{
    struct proc *p = self();
    struct file *f = fd_get(fd);
    int rc;

    if (!f)
        return -EBADF;
    switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        if (arg < 0 || arg >= FD_LIMIT)
            return -EINVAL;
        return fd_install(file_ref(f), arg, command == F_DUPFD_CLOEXEC);
    case F_GETFD: return fd_slot(p, fd)->cloexec ? FD_CLOEXEC : 0;
    case F_SETFD: fd_slot(p, fd)->cloexec = (arg & FD_CLOEXEC) != 0; return 0;
    case F_GETFL:
        if (f->kind == FILE_REGULAR)
            return f->flags;
        break;
    case F_SETFL:
        if (f->kind == FILE_REGULAR) { /* O_NONBLOCK means nothing for a file */
            f->flags = (f->flags & ~(O_NONBLOCK | O_APPEND)) | (arg & (O_NONBLOCK | O_APPEND));
            return 0;
        }
        break;
    default: break;
    }
    rc = fcntl(f->host, command, arg);
    return rc < 0 ? -errno : rc;
}

int sys_pipe2(int fds[2], int flags)
{
    int host[2];

    if (pipe2(host, flags | O_CLOEXEC) < 0)
        return -errno;
    fds[0] = fd_adopt(FILE_HOST, host[0], O_RDONLY | flags);
    fds[1] = fd_adopt(FILE_HOST, host[1], O_WRONLY | flags);
    if (fds[0] >= 0 && fds[1] >= 0)
        return 0;
    if (fds[0] >= 0)
        sys_close(fds[0]);
    if (fds[1] >= 0)
        sys_close(fds[1]);
    return fds[0] < 0 ? fds[0] : fds[1];
}

int sys_pipe(int fds[2])
{
    return sys_pipe2(fds, 0);
}

/* ---- reading and writing ---------------------------------------------------- */

#define RET(call)                                                                                  \
    ({                                                                                             \
        __auto_type rc_ = (call);                                                                  \
        rc_ < 0 ? (__typeof__(rc_))-errno : rc_;                                                   \
    })

static pthread_rwlock_t *whole_lock(struct file *f)
{
    return &f->files->whole[f->shared->ino % WHOLE_LOCKS];
}

ssize_t sys_readv(int fd, const struct iovec *iov, int n)
{
    struct file *f = fd_get(fd);
    ssize_t rc;

    if (!f)
        return -EBADF;
    if (f->kind != FILE_REGULAR && self()->forked_from &&
        poll(&(struct pollfd){f->host, POLLIN, 0}, 1, 0) == 0 &&
        !(fcntl(f->host, F_GETFL) & O_NONBLOCK))
        fork_window_refuse_wait(self());
    if (f->kind != FILE_REGULAR)
        return restartable(block(SYS_readv, f->host, (long)iov, n, 0, 0, 0));
    pthread_mutex_lock(&f->pos_lock);
    pthread_rwlock_rdlock(whole_lock(f));
    rc = RET(preadv(f->host, iov, n, f->pos));
    pthread_rwlock_unlock(whole_lock(f));
    if (rc > 0)
        f->pos += rc;
    pthread_mutex_unlock(&f->pos_lock);
    return rc;
}

ssize_t sys_writev(int fd, const struct iovec *iov, int n)
{
    struct file *f = fd_get(fd);
    struct stat st;
    ssize_t rc;

    if (!f)
        return -EBADF;
    if (f->kind != FILE_REGULAR) {
        rc = block(SYS_writev, f->host, (long)iov, n, 0, 0, 0);
        if (rc == -EPIPE)
            signal_post(self(), SIGPIPE);
        return restartable(rc);
    }
    pthread_mutex_lock(&f->pos_lock);
    if (f->flags & O_APPEND) { /* set by fcntl(): the shared descriptor does not have it */
        rc = RET(pwritev2(f->host, iov, n, 0, RWF_APPEND));
        if (fstat(f->host, &st) == 0)
            f->pos = st.st_size;
    } else {
        pthread_rwlock_wrlock(whole_lock(f));
        rc = RET(pwritev(f->host, iov, n, f->pos));
        pthread_rwlock_unlock(whole_lock(f));
        if (rc > 0)
            f->pos += rc;
    }
    pthread_mutex_unlock(&f->pos_lock);
    return rc;
}

ssize_t sys_read(int fd, void *buf, size_t size)
{
    struct file *f = fd_get(fd);

    if (f && f->kind == FILE_SIGNALFD)
        return signalfd_read(f, buf, size);
    return sys_readv(fd, &(struct iovec){buf, size}, 1);
}

ssize_t sys_write(int fd, const void *buf, size_t size)
{
    return sys_writev(fd, &(struct iovec){(void *)buf, size}, 1);
}

ssize_t sys_pread(int fd, void *buf, size_t size, off_t at)
{
    return RET(pread(fd_host(fd), buf, size, at));
}

ssize_t sys_pwrite(int fd, const void *buf, size_t size, off_t at)
{
    return RET(pwrite(fd_host(fd), buf, size, at));
}

ssize_t sys_preadv(int fd, const struct iovec *iov, int n, off_t at)
{
    return RET(preadv(fd_host(fd), iov, n, at));
}

ssize_t sys_pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    return RET(pwritev(fd_host(fd), iov, n, at));
}

/*
 * The end of a regular file.  lseek() takes half as long as fstat(), but would make all who share
 * the descriptor queue for its position.
 */
static off_t end_of(struct file *f)
{
    struct stat st;

    if (atomic_load_explicit(&f->shared->refs, memory_order_relaxed) == 1)
        return RET(lseek(f->host, 0, SEEK_END));
    return fstat(f->host, &st) < 0 ? -errno : st.st_size;
}

off_t sys_lseek(int fd, off_t offset, int whence)
{
    struct file *f = fd_get(fd);
    off_t rc;

    if (!f)
        return -EBADF;
    if (f->kind != FILE_REGULAR)
        return RET(lseek(f->host, offset, whence));
    pthread_mutex_lock(&f->pos_lock);
    if (whence == SEEK_SET)
        rc = offset;
    else if (whence == SEEK_CUR)
        rc = f->pos + offset;
    else if (whence != SEEK_END)
        rc = RET(lseek(f->host, offset, whence)); /* SEEK_DATA: moves only what nobody looks at */
    else if ((rc = end_of(f)) >= 0)
        rc += offset;
    if (rc < 0 && (whence == SEEK_SET || whence == SEEK_CUR))
        rc = -EINVAL;
    if (rc >= 0)
        f->pos = rc;
    pthread_mutex_unlock(&f->pos_lock);
    return rc;
}

ssize_t sys_copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size,
                            unsigned flags)
{
    struct file *in = fd_get(from), *out = fd_get(to);
    off_t in_at = from_at ? *from_at
                  : in    ? in->pos
                          : 0,
          out_at = to_at ? *to_at
                   : out ? out->pos
                         : 0;
    ssize_t rc;

    if (!in || !out || in->kind != FILE_REGULAR || out->kind != FILE_REGULAR)
        return in && out ? -EINVAL : -EBADF;
    rc = RET(copy_file_range(in->host, &in_at, out->host, &out_at, size, flags));
    if (rc < 0)
        return rc;
    *(from_at ? from_at : &in->pos) = in_at;
    *(to_at ? to_at : &out->pos) = out_at;
    return rc;
}

/* ---- what only needs the host's number --------------------------------------- */

int sys_fsync(int fd)
{
    return RET(fsync(fd_host(fd)));
}

int sys_fdatasync(int fd)
{
    return RET(fdatasync(fd_host(fd)));
}

int sys_syncfs(int fd)
{
    return RET(syncfs(fd_host(fd)));
}

int sys_sync_file_range(int fd, off_t at, off_t size, unsigned flags)
{
    return RET(sync_file_range(fd_host(fd), at, size, flags));
}

int sys_ftruncate(int fd, off_t size)
{
    return RET(ftruncate(fd_host(fd), size));
}

int sys_posix_fallocate(int fd, off_t at, off_t size)
{
    int rc;

    do {
        rc = posix_fallocate(fd_host(fd), at, size);
    } while (rc == EINTR && !deliverable(self()));
    return rc;
}

int sys_posix_fadvise(int fd, off_t at, off_t size, int advice)
{
    return posix_fadvise(fd_host(fd), at, size, advice);
}

int sys_fchmod(int fd, mode_t mode)
{
    return RET(fchmod(fd_host(fd), mode));
}

int sys_fstat(int fd, struct stat *st)
{
    int rc = RET(fstat(fd_host(fd), st));

    if (rc == 0)
        stat_for_process(st);
    return rc;
}

int sys_isatty(int fd)
{
    return isatty(fd_host(fd));
}

int sys_tcgetattr(int fd, struct termios *t)
{
    return RET(tcgetattr(fd_host(fd), t));
}

int sys_tcsetattr(int fd, int when, const struct termios *t)
{
    return RET(tcsetattr(fd_host(fd), when, t));
}

int sys_tcflow(int fd, int action)
{
    return RET(tcflow(fd_host(fd), action));
}

int sys_ioctl(int fd, unsigned long request, void *arg)
{
    return RET(ioctl(fd_host(fd), request, arg));
}

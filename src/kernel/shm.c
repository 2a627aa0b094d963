/*
 * shm.c - shared memory and semaphores
 *
 * All processes of a kernel live in one address space, so a System V segment is
 * plain memory at one address: shmat() answers the same address to everybody,
 * as PostgreSQL's EXEC_BACKEND reattach (sysv_shmem.c) demands.  POSIX segments
 * are memfds known by name to this kernel only: nothing is left in /dev/shm.
 *
 * A process-shared semaphore is a futex word in whatever memory PostgreSQL
 * placed it.  sem_wait() waits in intr_syscall() like everything else.
 *
 * Not done: shmat() at another address, partial munmap() bookkeeping.
 */
#include "kernel.h"

#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

struct segment {
    struct segment *next;
    int id;
    key_t key;
    size_t size; /* as asked for; the memory is whole pages */
    char *mem;
    int nattach;
    bool removed; /* IPC_RMID seen: goes with the last detach */
    pid_t creator, last;
    mode_t mode;
};

struct shm_attach {
    struct shm_attach *next;
    struct segment *segment;
};

struct named {
    struct named *next;
    char *name;
    int fd;
};

struct shm_table {
    pthread_mutex_t lock; /* guards all below */
    struct segment *segments;
    struct named *named;
    int next_id;
};

struct shm_table *shm_create(void)
{
    struct shm_table *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    t->next_id = 1;
    return t;
}

static void segment_free(struct shm_table *t, struct segment *s)
{
    struct segment **at = &t->segments;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    munmap(s->mem, s->size);
    free(s);
}

void shm_destroy(struct shm_table *t)
{
    if (!t)
        return;
    while (t->segments)
        segment_free(t, t->segments);
    while (t->named) {
        struct named *n = t->named;

        t->named = n->next;
        owned_close(n->fd);
        free(n->name);
        free(n);
    }
    free(t);
}

static struct segment *by_id(struct shm_table *t, int id)
{
    struct segment *s = t->segments;

    while (s && s->id != id)
        s = s->next;
    return s;
}

int sys_shmget(key_t key, size_t size, int flags)
{
    struct proc *p = self();
    struct shm_table *t = p->kernel->shm;
    struct segment *s = NULL;
    int rc;

    pthread_mutex_lock(&t->lock);
    if (key != IPC_PRIVATE)
        for (s = t->segments; s && (s->key != key || s->removed); s = s->next)
            ;
    if (s) {
        rc = flags & IPC_CREAT && flags & IPC_EXCL ? -EEXIST : size > s->size ? -EINVAL : s->id;
        goto out;
    }
    rc = -ENOENT;
    if (key != IPC_PRIVATE && !(flags & IPC_CREAT))
        goto out;
    rc = -EINVAL;
    if (!size)
        goto out;
    rc = -ENOMEM;
    s = calloc(1, sizeof(*s));
    if (!s)
        goto out;
    s->size = size;
    s->mem = mmap(NULL, s->size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->mem == MAP_FAILED) {
        free(s);
        goto out;
    }
    s->key = key;
    s->id = t->next_id++;
    s->creator = p->pid;
    s->mode = flags & 0777;
    s->next = t->segments;
    t->segments = s;
    rc = s->id;
out:
    pthread_mutex_unlock(&t->lock);
    return rc;
}

static int attach_locked(struct proc *p, struct segment *s)
{
    struct shm_attach *a = malloc(sizeof(*a));

    if (!a)
        return -ENOMEM;
    *a = (struct shm_attach){p->attached, s};
    p->attached = a;
    s->nattach++;
    s->last = p->pid;
    return 0;
}

void *sys_shmat(int id, const void *addr, int flags)
{
    struct proc *p = self();
    struct shm_table *t = p->kernel->shm;
    struct segment *s;
    int rc = -EINVAL;

    (void)flags;
    pthread_mutex_lock(&t->lock);
    s = by_id(t, id);
    if (s && (!addr || addr == s->mem))
        rc = attach_locked(p, s);
    pthread_mutex_unlock(&t->lock);
    if (rc == 0)
        return s->mem;
    errno = -rc;
    return (void *)-1;
}

static void detach_locked(struct shm_table *t, struct shm_attach **at)
{
    struct shm_attach *a = *at;
    struct segment *s = a->segment;

    *at = a->next;
    free(a);
    if (--s->nattach == 0 && s->removed)
        segment_free(t, s);
}

int sys_shmdt(const void *addr)
{
    struct proc *p = self();
    struct shm_table *t = p->kernel->shm;
    struct shm_attach **at = &p->attached;
    int rc = -EINVAL;

    pthread_mutex_lock(&t->lock);
    while (*at && (*at)->segment->mem != addr)
        at = &(*at)->next;
    if (*at) {
        detach_locked(t, at);
        rc = 0;
    }
    pthread_mutex_unlock(&t->lock);
    return rc;
}

int sys_shmctl(int id, int command, struct shmid_ds *out)
{
    struct proc *p = self();
    struct shm_table *t = p->kernel->shm;
    struct segment *s;
    int rc = 0;

    pthread_mutex_lock(&t->lock);
    s = by_id(t, id);
    if (!s) {
        rc = -EINVAL;
    } else if (command == IPC_STAT) {
        memset(out, 0, sizeof(*out));
        out->shm_perm.__key = s->key;
        out->shm_perm.uid = out->shm_perm.cuid = p->kernel->uid;
        out->shm_perm.mode = s->mode | (s->removed ? SHM_DEST : 0);
        out->shm_segsz = s->size;
        out->shm_nattch = s->nattach;
        out->shm_cpid = s->creator;
        out->shm_lpid = s->last;
    } else if (command == IPC_RMID) {
        s->removed = true;
        if (s->nattach == 0)
            segment_free(t, s);
    } else {
        rc = -EINVAL;
    }
    pthread_mutex_unlock(&t->lock);
    return rc;
}

int shm_inherit(struct proc *child, struct proc *parent)
{
    struct shm_table *t = parent->kernel->shm;
    int rc = 0;

    pthread_mutex_lock(&t->lock);
    for (struct shm_attach *a = parent->attached; a && rc == 0; a = a->next)
        rc = attach_locked(child, a->segment);
    pthread_mutex_unlock(&t->lock);
    return rc;
}

/* exec and exit detach everything. */
void shm_exit(struct proc *p)
{
    struct shm_table *t = p->kernel->shm;

    pthread_mutex_lock(&t->lock);
    while (p->attached)
        detach_locked(t, &p->attached);
    pthread_mutex_unlock(&t->lock);
}

/* ---- POSIX shared memory ------------------------------------------------------ */

int sys_shm_open(const char *name, int flags, mode_t mode)
{
    struct shm_table *t = self()->kernel->shm;
    struct named *n;
    int host = -1, rc = 0;

    (void)mode;
    pthread_mutex_lock(&t->lock);
    for (n = t->named; n && strcmp(n->name, name) != 0; n = n->next)
        ;
    if (n && flags & O_CREAT && flags & O_EXCL) {
        rc = -EEXIST;
    } else if (!n && !(flags & O_CREAT)) {
        rc = -ENOENT;
    } else if (!n) {
        n = calloc(1, sizeof(*n));
        if (!n || !(n->name = strdup(name)))
            rc = -ENOMEM;
        else if ((n->fd = owned_note(memfd_create(name, MFD_CLOEXEC))) < 0)
            rc = -errno;
        if (rc < 0) {
            free(n ? n->name : NULL);
            free(n);
        } else {
            n->next = t->named;
            t->named = n;
        }
    } else if (flags & O_TRUNC) {
        rc = ftruncate(n->fd, 0) < 0 ? -errno : 0;
    }
    if (rc == 0 && (host = fcntl(n->fd, F_DUPFD_CLOEXEC, 3)) < 0)
        rc = -errno;
    pthread_mutex_unlock(&t->lock);
    return rc < 0 ? rc : fd_adopt(FILE_HOST, host, flags | O_CLOEXEC);
}

int sys_shm_unlink(const char *name)
{
    struct shm_table *t = self()->kernel->shm;
    struct named **at = &t->named, *n;

    pthread_mutex_lock(&t->lock);
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    n = *at;
    if (n) {
        *at = n->next;
        owned_close(n->fd);
        free(n->name);
        free(n);
    }
    pthread_mutex_unlock(&t->lock);
    return n ? 0 : -ENOENT;
}

/* ---- mappings: forgotten at exec and exit -------------------------------------- */

void *sys_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t at)
{
    struct program *g = self()->prog;
    struct mapping *m = malloc(sizeof(*m));
    void *mem = MAP_FAILED;

    if (m)
        mem = mmap(addr, size, prot, flags, flags & MAP_ANONYMOUS ? -1 : fd_host(fd), at);
    if (mem == MAP_FAILED) {
        free(m);
        return mem;
    }
    *m = (struct mapping){mem, size, g->mappings};
    g->mappings = m;
    return mem;
}

int sys_munmap(void *addr, size_t size)
{
    struct program *g = self()->prog;

    for (struct mapping **at = &g->mappings; *at; at = &(*at)->next) {
        struct mapping *m = *at;

        if (m->addr != addr)
            continue;
        *at = m->next;
        free(m);
        break;
    }
    return munmap(addr, size) < 0 ? -errno : 0;
}

void mappings_release(struct program *g)
{
    while (g->mappings) {
        struct mapping *m = g->mappings;

        g->mappings = m->next;
        munmap(m->addr, m->size);
        free(m);
    }
}

/* ---- semaphores ------------------------------------------------------------------ */

struct semaphore {
    _Atomic unsigned value, waiters;
};
_Static_assert(sizeof(struct semaphore) <= sizeof(sem_t), "fits libc's sem_t");

int sys_sem_init(struct semaphore *s, int shared, unsigned value)
{
    (void)shared;
    atomic_store(&s->value, value);
    atomic_store(&s->waiters, 0);
    return 0;
}

int sys_sem_destroy(struct semaphore *s)
{
    (void)s;
    return 0;
}

int sys_sem_trywait(struct semaphore *s)
{
    unsigned v = atomic_load(&s->value);

    while (v > 0)
        if (atomic_compare_exchange_weak(&s->value, &v, v - 1))
            return 0;
    return -EAGAIN;
}

int sys_sem_wait(struct semaphore *s)
{
    int rc;

    while ((rc = sys_sem_trywait(s)) == -EAGAIN) {
        atomic_fetch_add(&s->waiters, 1);
        rc = block_futex(&s->value, 0, 0);
        atomic_fetch_sub(&s->waiters, 1);
        if (rc == -EINTR)
            return -ERESTART;
    }
    return rc;
}

int sys_sem_post(struct semaphore *s)
{
    atomic_fetch_add(&s->value, 1);
    if (atomic_load(&s->waiters) > 0)
        futex_wake(&s->value, 1);
    return 0;
}

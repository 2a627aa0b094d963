/*
 * socket.c - sockets: the host's, with the process's descriptors
 *
 * The rule that matters: a relative path in a Unix address is relative to the
 * process's directory, which the host's bind() and connect() do not know; it
 * is made absolute, or, where that would not fit, goes through
 * /proc/self/fd/<directory>.
 */
#include "kernel.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define RET(call)                                                                                  \
    ({                                                                                             \
        __auto_type rc_ = (call);                                                                  \
        rc_ < 0 ? (__typeof__(rc_))-errno : rc_;                                                   \
    })

static int type_flags(int type)
{
    return O_RDWR | (type & SOCK_CLOEXEC ? O_CLOEXEC : 0);
}

int sys_socket(int domain, int type, int protocol)
{
    return fd_adopt(FILE_SOCKET, socket(domain, type | SOCK_CLOEXEC, protocol), type_flags(type));
}

int sys_socketpair(int domain, int type, int protocol, int fds[2])
{
    int host[2];

    if (socketpair(domain, type | SOCK_CLOEXEC, protocol, host) < 0)
        return -errno;
    fds[0] = fd_adopt(FILE_SOCKET, host[0], type_flags(type));
    fds[1] = fd_adopt(FILE_SOCKET, host[1], type_flags(type));
    return fds[0] < 0 || fds[1] < 0 ? -EMFILE : 0;
}

/* The address as the host must see it: `addr` itself or *un. */
static const struct sockaddr *translate(const struct sockaddr *addr, socklen_t *len,
                                        struct sockaddr_un *un)
{
    const struct sockaddr_un *from = (const struct sockaddr_un *)addr;
    char abs[PATH_MAX * 2];

    if (*len <= offsetof(struct sockaddr_un, sun_path) || addr->sa_family != AF_UNIX ||
        from->sun_path[0] == '/' || from->sun_path[0] == '\0')
        return addr;
    path_absolute(abs, sizeof(abs), from->sun_path);
    if (strlen(abs) >= sizeof(un->sun_path))
        snprintf(abs, sizeof(abs), "/proc/self/fd/%d/%s", here(), from->sun_path);
    if (strlen(abs) >= sizeof(un->sun_path))
        return addr; /* too long in any way: the host says so */
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(un->sun_path, abs);
    *len = sizeof(*un);
    return (struct sockaddr *)un;
}

/* ---- the inbox ------------------------------------------------------------------- */

static bool is_inbox(const struct sockaddr *addr, socklen_t len)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)addr;

    return len >= offsetof(struct sockaddr_un, sun_path) + 1 + strlen(INBOX) &&
           un->sun_family == AF_UNIX && un->sun_path[0] == '\0' &&
           memcmp(un->sun_path + 1, INBOX, strlen(INBOX)) == 0;
}

static int inbox_bind(struct proc *p, struct file *f)
{
    struct kernel *k = p->kernel;
    int rc = 0, host;

    if (!f || f->kind != FILE_SOCKET)
        return -ENOTSOCK;
    pthread_mutex_lock(&k->lock);
    if (k->inbox_owner)
        rc = -EADDRINUSE;
    else if (k->inbox[0] < 0 && pipe2(k->inbox, O_CLOEXEC) < 0)
        rc = -errno;
    if (rc == 0) {
        owned_note(k->inbox[0]);
        owned_note(k->inbox[1]);
        host = dup3(k->inbox[0], f->host, O_CLOEXEC);
        rc = host < 0 ? -errno : 0;
    }
    if (rc == 0) {
        f->kind = FILE_INBOX;
        k->inbox_owner = p;
    }
    pthread_mutex_unlock(&k->lock);
    return rc;
}

void inbox_close(struct kernel *k)
{
    int fd;

    k->inbox_owner = NULL;
    if (k->inbox[0] < 0)
        return;
    owned_close(k->inbox[1]);
    while (read(k->inbox[0], &fd, sizeof(fd)) == sizeof(fd))
        owned_close(fd);
    owned_close(k->inbox[0]);
    k->inbox[0] = k->inbox[1] = -1;
}

int kernel_handed_in(struct kernel *k)
{
    int bytes = 0;

    pthread_mutex_lock(&k->lock);
    if (k->inbox_owner && ioctl(k->inbox[0], FIONREAD, &bytes) < 0)
        bytes = 0;
    pthread_mutex_unlock(&k->lock);
    return bytes / (int)sizeof(int);
}

int kernel_hand_in(struct kernel *k, int fd)
{
    int rc = -ECONNREFUSED;

    pthread_mutex_lock(&k->lock);
    owned_note(fd);     /* before the server has it, which may close it */
    if (k->inbox_owner) /* never blocks: a pipe has room for more than there are descriptors */
        rc = write(k->inbox[1], &fd, sizeof(fd)) == sizeof(fd) ? 0 : -errno;
    pthread_mutex_unlock(&k->lock);
    if (rc < 0)
        owned_close(fd);
    return rc;
}

int kernel_connect(struct kernel *k)
{
    int ends[2], rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    rc = kernel_hand_in(k, ends[1]);
    if (rc < 0)
        close(ends[0]);
    return rc < 0 ? rc : ends[0];
}

static int inbox_connect(struct proc *p, int fd)
{
    int flags = fcntl(fd_host(fd), F_GETFL), end = kernel_connect(p->kernel), rc;

    if (end < 0)
        return end;
    rc = RET(dup3(end, fd_host(fd), O_CLOEXEC));
    close(end);
    return rc < 0 ? rc : RET(fcntl(fd_host(fd), F_SETFL, flags));
}

/* ---- calls ------------------------------------------------------------------------ */

int sys_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct proc *p = self();
    struct sockaddr_un un;
    const struct sockaddr *host = translate(addr, &len, &un);
    struct file *f = fd_get(fd);
    int rc;

    if (is_inbox(addr, len))
        return inbox_bind(p, f);
    rc = RET(bind(fd_host(fd), host, len));
    if (rc == 0 && host != addr && (f->bound = malloc(sizeof(un))))
        *f->bound = *(const struct sockaddr_un *)addr;
    if (rc == 0 && host->sa_family == AF_UNIX && ((struct sockaddr_un *)host)->sun_path[0] == '/')
        chmod(((struct sockaddr_un *)host)->sun_path, 0777 & ~p->umask);
    return rc;
}

int sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct sockaddr_un un;
    const struct sockaddr *host = translate(addr, &len, &un);

    if (is_inbox(addr, len))
        return inbox_connect(self(), fd);
    return (int)block(SYS_connect, fd_host(fd), (long)host, len, 0, 0, 0);
}

int sys_listen(int fd, int backlog)
{
    struct file *f = fd_get(fd);

    return f && f->kind == FILE_INBOX ? 0 : RET(listen(fd_host(fd), backlog));
}

int sys_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    struct file *f = fd_get(fd);
    int rc, host;

    if (!f || f->kind != FILE_INBOX) {
        rc =
            (int)block(SYS_accept4, fd_host(fd), (long)addr, (long)len, flags | SOCK_CLOEXEC, 0, 0);
    } else {
        rc = (int)block(SYS_read, f->host, (long)&host, sizeof(host), 0, 0, 0);
        rc = rc == sizeof(host) ? host : rc < 0 ? rc : -EINVAL;
        if (rc >= 0 && addr)
            getpeername(host, addr, len);
    }
    if (rc < 0)
        return (int)restartable(rc);
    return fd_adopt(FILE_SOCKET, rc, type_flags(flags));
}

int sys_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    return sys_accept4(fd, addr, len, 0);
}

ssize_t sys_sendto(int fd, const void *buf, size_t size, int flags, const struct sockaddr *to,
                   socklen_t len)
{
    struct sockaddr_un un;
    const struct sockaddr *host = to ? translate(to, &len, &un) : NULL;
    ssize_t rc =
        block(SYS_sendto, fd_host(fd), (long)buf, size, flags | MSG_NOSIGNAL, (long)host, len);

    if (rc == -EPIPE && !(flags & MSG_NOSIGNAL))
        signal_post(self(), SIGPIPE);
    return restartable(rc);
}

ssize_t sys_send(int fd, const void *buf, size_t size, int flags)
{
    return sys_sendto(fd, buf, size, flags, NULL, 0);
}

ssize_t sys_recvfrom(int fd, void *buf, size_t size, int flags, struct sockaddr *from,
                     socklen_t *len)
{
    return restartable(
        block(SYS_recvfrom, fd_host(fd), (long)buf, size, flags, (long)from, (long)len));
}

ssize_t sys_recv(int fd, void *buf, size_t size, int flags)
{
    return sys_recvfrom(fd, buf, size, flags, NULL, NULL);
}

int sys_shutdown(int fd, int how)
{
    return RET(shutdown(fd_host(fd), how));
}

int sys_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
    struct file *f = fd_get(fd);
    socklen_t size;

    if (!f || !f->bound)
        return RET(getsockname(fd_host(fd), addr, len));
    size = offsetof(struct sockaddr_un, sun_path) + strlen(f->bound->sun_path) + 1;
    memcpy(addr, f->bound, *len < size ? *len : size);
    *len = size;
    return 0;
}

int sys_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
    return RET(getpeername(fd_host(fd), addr, len));
}

int sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    return RET(getsockopt(fd_host(fd), level, name, value, len));
}

int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    return RET(setsockopt(fd_host(fd), level, name, value, len));
}

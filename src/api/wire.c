/*
 * wire.c - PostgreSQL's protocol as bytes, for drivers that speak it themselves
 *
 * A wire is a socket whose other end a session of the database has.  The rule that matters: an
 * exchange never waits for one direction only, so that two sides with full buffers cannot wait for
 * each other.  Wires do not keep a database open.
 */
#include "api.h"

#include "../kernel/kernel.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct wire {
    int fd;
    bool busy; /* a thread is exchanging; `wires_lock` */
};

pthread_mutex_t wires_lock = PTHREAD_MUTEX_INITIALIZER;

/* The wire, for this thread alone until wire_unuse(); NULL and err. */
static struct wire *wire_use(calf_wire *handle, struct calf_error *err)
{
    struct wire *w;

    pthread_mutex_lock(&wires_lock);
    w = handle_object(handle, HANDLE_WIRE);
    if (!w) {
        fail(err, CALF_MISUSE, "the wire is not open: it is NULL or was closed");
    } else if (w->busy && !forked()) { /* in a forked child that thread is not there */
        fail(err, CALF_MISUSE, "another thread uses the wire");
        w = NULL;
    } else {
        w->busy = true;
    }
    pthread_mutex_unlock(&wires_lock);
    return w;
}

static void wire_unuse(struct wire *w)
{
    pthread_mutex_lock(&wires_lock);
    w->busy = false;
    pthread_mutex_unlock(&wires_lock);
}

int calf_wire_open(calf_db *db, calf_wire **wire, struct calf_error *err)
{
    struct calf_error own;
    struct database *d;
    struct wire *w;
    int fd;

    err = error_room(err, &own);
    if (!wire)
        return fail(err, CALF_MISUSE, "calf_wire_open() needs a place for the wire"), CALF_MISUSE;
    *wire = NULL;
    d = database_work(db, err);
    if (!d)
        return err->code;
    fd = server_connect(database_server(d));
    database_unuse(d);
    if (fd < 0)
        return fail(err, fd == -ECONNREFUSED ? CALF_FAILED : CALF_SYSTEM,
                    "cannot connect to the database: %s", strerror(-fd)),
               err->code;
    w = malloc(sizeof(*w));
    if (w) {
        *w = (struct wire){.fd = owned_note(fd)};
        *wire = handle_new(HANDLE_WIRE, w, err);
    } else {
        fail(err, CALF_SYSTEM, "out of memory");
    }
    if (*wire)
        return CALF_OK;
    owned_close(fd);
    free(w);
    return err->code;
}

static bool is_wait(int error)
{
    return error == EAGAIN || error == EINTR;
}

/* Bytes that were sent, 0: none can be now, or -errno. */
static ssize_t push(int fd, const void *in, size_t size)
{
    ssize_t n = size ? send(fd, in, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

    return n >= 0 ? n : is_wait(errno) ? 0 : -errno;
}

/* Bytes that came, 0: none now, or -errno, -EPIPE at the end. */
static ssize_t pull(int fd, void *out, size_t room)
{
    ssize_t n = room ? recv(fd, out, room, MSG_DONTWAIT) : 0;

    return n > 0 ? n : !room ? 0 : n == 0 ? -EPIPE : is_wait(errno) ? 0 : -errno;
}

static int exchange(int fd, const void *in, size_t *in_size, void *out, size_t *out_size,
                    int timeout_ms, struct calf_error *err)
{
    size_t size = *in_size, room = *out_size;
    int64_t end = now_ms() + timeout_ms;
    ssize_t sent, came;

    *in_size = *out_size = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = (size ? POLLOUT : 0) | (room ? POLLIN : 0)};
        int64_t left = timeout_ms < 0 ? -1 : end - now_ms();

        sent = push(fd, in, size);
        came = pull(fd, out, room);
        if (came < 0 || (sent < 0 && came == 0)) /* what it said before it ended comes first */
            return fail(err, CALF_ENDED, "the session has ended");
        if (sent > 0)
            *in_size = sent;
        *out_size = came;
        if (sent > 0 || came > 0 || (!size && !room) || (timeout_ms >= 0 && left <= 0))
            return 0;
        if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
            return fail(err, CALF_SYSTEM, "cannot wait for the session: %s", strerror(errno));
    }
}

int calf_wire_exchange(calf_wire *wire, const void *in, size_t *in_size, void *out,
                       size_t *out_size, int timeout_ms, struct calf_error *err)
{
    size_t none_in = 0, none_out = 0;
    struct calf_error own;
    struct wire *w;
    int rc;

    err = error_room(err, &own);
    in_size = in_size ? in_size : &none_in;
    out_size = out_size ? out_size : &none_out;
    if ((!in && *in_size) || (!out && *out_size)) {
        *in_size = *out_size = 0;
        return fail(err, CALF_MISUSE, "calf_wire_exchange() needs the buffers"), CALF_MISUSE;
    }
    w = refuse_forked(err) < 0 ? NULL : wire_use(wire, err);
    if (!w)
        return *in_size = *out_size = 0, err->code;
    rc = exchange(w->fd, in, in_size, out, out_size, timeout_ms, err);
    wire_unuse(w);
    return rc < 0 ? (int)err->code : CALF_OK;
}

int calf_wire_close(calf_wire *wire, struct calf_error *err)
{
    struct calf_error own;
    struct wire *w;

    err = error_room(err, &own);
    if (!wire)
        return CALF_OK;
    w = wire_use(wire, err);
    if (!w)
        return err->code;
    pthread_mutex_lock(&wires_lock);
    handle_end(wire);
    pthread_mutex_unlock(&wires_lock);
    if (!forked()) /* else it is closed, and its number may be another's */
        owned_close(w->fd);
    free(w);
    return CALF_OK;
}

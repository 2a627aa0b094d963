/*
 * log.c - PostgreSQL's messages for a function of the host, line by line
 *
 * PostgreSQL's processes write into a pipe; a thread reads it and calls.  The thread ends when it
 * is told to, not with the pipe: a command that PostgreSQL started outside may keep that open.
 */
#include "api.h"

#include "../kernel/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LINE_MAX_SIZE (64 << 10) /* a longer one comes in pieces */

struct pump {
    void (*log)(void *context, const char *line);
    void *context;
    int in, out; /* the pipe */
    int wake;
    int kept; /* gets a copy; borrowed */
    pthread_t thread;
    size_t used; /* bytes in `line` */
    char line[LINE_MAX_SIZE + 1];
};

static void give_lines(struct pump *p, bool all)
{
    char *from = p->line, *end = p->line + p->used, *newline;

    *end = '\0';
    while (from < end && ((newline = memchr(from, '\n', end - from)) || all)) {
        if (newline)
            *newline = '\0';
        p->log(p->context, from);
        from = newline ? newline + 1 : end;
    }
    p->used = end - from;
    memmove(p->line, from, p->used);
}

static void *pump_loop(void *arg)
{
    struct pump *p = arg;
    struct pollfd fds[2] = {{.fd = p->in, .events = POLLIN}, {.fd = p->wake, .events = POLLIN}};

    for (;;) {
        ssize_t n = read(p->in, p->line + p->used, LINE_MAX_SIZE - p->used), kept;

        if (n > 0) {
            kept = write(p->kept, p->line + p->used, n); /* until it is full */
            (void)kept;
            p->used += n;
            give_lines(p, false);
            give_lines(p, p->used == LINE_MAX_SIZE);
        } else if (n == 0 || fds[1].revents) { /* all was read */
            give_lines(p, true);
            return NULL;
        } else {
            poll(fds, 2, -1);
        }
    }
}

static void pump_free(struct pump *p)
{
    int fds[] = {p->in, p->out, p->wake};

    for (int i = 0; i < 3; i++)
        owned_close(fds[i]);
    free(p);
}

struct pump *pump_start(void (*log)(void *context, const char *line), void *context, int kept,
                        struct calf_error *err)
{
    struct pump *p = malloc(sizeof(*p));
    int ends[2] = {-1, -1}, rc;

    if (!p) {
        fail(err, CALF_SYSTEM, "out of memory");
        return NULL;
    }
    rc = pipe2(ends, O_CLOEXEC);
    *p = (struct pump){.log = log,
                       .context = context,
                       .in = owned_note(ends[0]),
                       .out = owned_note(ends[1]),
                       .wake = owned_note(eventfd(0, EFD_CLOEXEC)),
                       .kept = kept};
    if (rc < 0 || p->wake < 0 || fcntl(p->in, F_SETFL, O_NONBLOCK) < 0)
        rc = fail(err, CALF_SYSTEM, "cannot make a pipe for the log: %s", strerror(errno));
    else
        rc = thread_start(&p->thread, pump_loop, p, err);
    if (rc == 0)
        return p;
    pump_free(p);
    return NULL;
}

int pump_fd(const struct pump *p)
{
    return p->out;
}

void pump_end(struct pump *p)
{
    uint64_t one = 1;

    if (write(p->wake, &one, sizeof(one)) == sizeof(one))
        pthread_join(p->thread, NULL);
    pump_free(p);
}

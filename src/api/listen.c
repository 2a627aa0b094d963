/*
 * listen.c - an open database behind sockets: calf_listen(), calf_unlisten(), calf_uri()
 *
 * The host listens, not PostgreSQL: a thread per address accepts and hands the connection in, where
 * the postmaster finds it as if it had accepted it (kernel/socket.c).  So addresses come and go
 * while the database is open, and connections outlive the address they came through.
 */
#include "api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct listener {
    struct listener *next; /* lists_lock */
    struct server *server;
    char address[PATH_MAX];
    char path[PATH_MAX];           /* of the socket file; "" for TCP */
    char user[SUPERUSER_SIZE * 3]; /* encoded */
    char uri[PATH_MAX * 3 + SUPERUSER_SIZE * 3 + 64];
    int fd, wake;
    pthread_t thread;
};

static pthread_mutex_t lists_lock = PTHREAD_MUTEX_INITIALIZER;

static void *accept_loop(void *arg)
{
    struct listener *l = arg;
    struct pollfd fds[2] = {{.fd = l->fd, .events = POLLIN}, {.fd = l->wake, .events = POLLIN}};

    for (;;) {
        int fd;

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents)
            return NULL;
        fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            server_hand_in(l->server, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
            struct pollfd only = fds[1]; /* the client waits in the backlog until there is room */

            poll(&only, 1, 100);
        }
    }
}

static void listener_free(struct listener *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->wake >= 0)
        close(l->wake);
    if (l->path[0])
        unlink(l->path);
    free(l);
}

static void listener_end(struct listener *l)
{
    uint64_t one = 1;

    if (write(l->wake, &one, sizeof(one)) == sizeof(one))
        pthread_join(l->thread, NULL);
    listener_free(l);
}

bool listeners_close(struct listener **list, const char *address)
{
    bool any = false;

    for (;;) {
        struct listener *l, **at;

        pthread_mutex_lock(&lists_lock);
        for (at = list; *at && address && strcmp((*at)->address, address) != 0; at = &(*at)->next)
            ;
        l = *at;
        if (l)
            *at = l->next;
        pthread_mutex_unlock(&lists_lock);
        if (!l)
            return any;
        any = true;
        listener_end(l);
    }
}

/* ---- addresses --------------------------------------------------------------------------- */

/* A socket file that nobody listens behind may be replaced; anything else is the user's. */
static int clear_path(const struct sockaddr_un *address, struct calf_error *err)
{
    const char *path = address->sun_path;
    struct stat st;

    if (lstat(path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return fail(err, CALF_ACCESS, "%s is in the place of the socket; move it away", path);
    if (socket_answers(address))
        return fail(err, CALF_ACCESS, "another server answers on the socket %s", path);
    unlink(path);
    return 0;
}

/* Percent-encodes what the part of a URI may not contain. */
static void encode(char *to, const char *from, const char *special)
{
    for (; *from; from++)
        to += strchr(special, *from) || *from < 32 ? sprintf(to, "%%%02X", (unsigned char)*from)
                                                   : (*to = *from, 1);
    *to = '\0';
}

static int listen_unix(struct listener *l, struct calf_error *err)
{
    struct sockaddr_un un;
    const char *path = un.sun_path;
    char name[PATH_MAX * 3];
    mode_t mode = 0600;

    if (mkdir(l->address, 0700) < 0 && errno != EEXIST)
        return fail(err, CALF_ACCESS, "cannot create the socket directory %s: %s", l->address,
                    strerror(errno));
    if (socket_address(l->address, &un, err) < 0 || clear_path(&un, err) < 0)
        return -1;
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* fchmod() before bind() gives the file its mode from the beginning, without the umask */
    if (l->fd < 0 || fchmod(l->fd, mode) < 0 || bind(l->fd, (struct sockaddr *)&un, sizeof(un)) < 0)
        return fail(err, CALF_ACCESS, "cannot make the socket %s: %s", path, strerror(errno));
    strcpy(l->path, path);
    if (chmod(path, mode) < 0 || listen(l->fd, 128) < 0)
        return fail(err, CALF_ACCESS, "cannot listen on the socket %s: %s", path, strerror(errno));
    encode(name, l->address, " %&#?+'\"");
    snprintf(l->uri, sizeof(l->uri), "postgresql://%s@/postgres?host=%s&port=" SERVER_PORT, l->user,
             name);
    return 0;
}

static int listen_tcp(struct listener *l, struct calf_error *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    char host[INET6_ADDRSTRLEN + 2] = "127.0.0.1";
    const char *rest = l->address + strlen("tcp:"), *colon = strrchr(rest, ':');
    const char *digits = colon ? colon + 1 : rest;
    socklen_t len = sizeof(a.v4);
    int one = 1;
    char *end;
    long port = strtol(digits, &end, 10);

    if (end == digits || *end || port < 0 || port > 65535)
        return fail(err, CALF_MISUSE, "%s: no port number", l->address);
    if (colon) {
        size_t n = colon - rest;
        bool bracketed = n > 2 && rest[0] == '[' && colon[-1] == ']';

        if (n >= sizeof(host))
            return fail(err, CALF_MISUSE, "%s: no IP address", l->address);
        snprintf(host, sizeof(host), "%.*s", (int)(bracketed ? n - 2 : n), rest + bracketed);
        if (inet_pton(AF_INET, host, &a.v4.sin_addr) != 1) {
            a.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6};
            len = sizeof(a.v6);
            if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) != 1)
                return fail(err, CALF_MISUSE, "%s: \"%s\" is not an IP address", l->address, host);
        }
    }
    if (len == sizeof(a.v4))
        a.v4.sin_port = htons((uint16_t)port);
    else
        a.v6.sin6_port = htons((uint16_t)port);
    l->fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0 || setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        bind(l->fd, &a.any, len) < 0 || listen(l->fd, 128) < 0 ||
        getsockname(l->fd, &a.any, &len) < 0)
        return fail(err, CALF_ACCESS, "cannot listen on %s: %s", l->address, strerror(errno));
    snprintf(l->uri, sizeof(l->uri), "postgresql://%s@%s%s%s:%d/postgres", l->user,
             len == sizeof(a.v6) ? "[" : "", host, len == sizeof(a.v6) ? "]" : "",
             ntohs(len == sizeof(a.v6) ? a.v6.sin6_port : a.v4.sin_port));
    return 0;
}

/* ---- calf.h ------------------------------------------------------------------------------ */

static int start(struct database *d, struct listener *l, struct calf_error *err)
{
    struct listener **list = database_listeners(d);
    int rc;

    encode(l->user, database_superuser(d), " %&#?+'\"/@:");
    if (l->address[0] == '/')
        rc = listen_unix(l, err);
    else if (strncmp(l->address, "tcp:", 4) == 0)
        rc = listen_tcp(l, err);
    else
        rc = fail(err, CALF_MISUSE,
                  "cannot listen on \"%s\": it is neither an absolute directory nor tcp:PORT nor "
                  "tcp:ADDRESS:PORT",
                  l->address);
    if (rc < 0)
        return rc;
    l->server = database_server(d);
    l->wake = eventfd(0, EFD_CLOEXEC);
    if (l->wake < 0)
        return fail(err, CALF_SYSTEM, "cannot listen on %s: %s", l->address, strerror(errno));
    if (thread_start(&l->thread, accept_loop, l, err) < 0)
        return -1;
    pthread_mutex_lock(&lists_lock);
    l->next = *list;
    *list = l;
    pthread_mutex_unlock(&lists_lock);
    return 0;
}

int calf_listen(calf_db *db, const char *address, struct calf_error *err)
{
    struct calf_error own;
    struct listener *l;
    struct database *d;
    int rc;

    err = error_room(err, &own);
    if (!address || strlen(address) >= sizeof(l->address))
        return fail(err, CALF_MISUSE, "calf_listen() needs an address"), CALF_MISUSE;
    d = database_use(db);
    if (!d)
        return closed_handle(err);
    l = calloc(1, sizeof(*l));
    if (l) {
        l->fd = l->wake = -1;
        strcpy(l->address, address);
        rc = start(d, l, err);
        if (rc < 0)
            listener_free(l);
    } else {
        rc = fail(err, CALF_SYSTEM, "out of memory");
    }
    database_unuse(d);
    return rc < 0 ? (int)err->code : CALF_OK;
}

int calf_unlisten(calf_db *db, const char *address, struct calf_error *err)
{
    struct calf_error own;
    struct database *d;
    bool any;

    err = error_room(err, &own);
    d = database_use(db);
    if (!d)
        return closed_handle(err);
    any = listeners_close(database_listeners(d), address);
    database_unuse(d);
    if (!any && address)
        return fail(err, CALF_MISUSE, "the database does not listen on %s", address), CALF_MISUSE;
    return CALF_OK;
}

const char *calf_uri(calf_db *db)
{
    struct database *d = database_use(db);
    const char *uri = NULL;

    if (!d)
        return NULL;
    pthread_mutex_lock(&lists_lock);
    if (*database_listeners(d))
        uri = (*database_listeners(d))->uri;
    pthread_mutex_unlock(&lists_lock);
    database_unuse(d);
    return uri;
}

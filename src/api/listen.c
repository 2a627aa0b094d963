/*
 * listen.c - an open database behind sockets: calf_listen(), calf_unlisten(), calf_uri()
 *
 * The host listens, not PostgreSQL: a thread per address accepts and hands the connection in, where
 * the postmaster finds it as if it had accepted it (kernel/socket.c).  So addresses come and go
 * while the database is open, and connections outlive the address they came through.
 *
 * Other processes find the addresses in a file of the data directory (LISTEN_FILE), one URI per
 * line, the newest first; it means something while the directory is locked.  Beside a socket
 * lies a lock file as PostgreSQL makes it (miscinit.c), so that a stock server leaves it alone.
 */
#include "api.h"

#include "../kernel/kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Who comes when so many have not been accepted by the postmaster waits in the backlog, where he
 * costs no descriptor. */
#define WAITING_MAX 8

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

pthread_mutex_t lists_lock = PTHREAD_MUTEX_INITIALIZER;

static void *accept_loop(void *arg)
{
    struct listener *l = arg;
    struct pollfd fds[2] = {{.fd = l->fd, .events = POLLIN}, {.fd = l->wake, .events = POLLIN}};

    for (;;) {
        int fd, waiting;

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents)
            return NULL;
        waiting = server_handed_in(l->server);
        if (waiting < 0 || waiting >= WAITING_MAX) {
            poll(&fds[1], 1, 1);
            continue;
        }
        fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            server_hand_in(l->server, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
            struct pollfd only = fds[1]; /* the client waits in the backlog until there is room */

            poll(&only, 1, 100);
        }
    }
}

static void lock_path(char *out, size_t size, const char *path)
{
    snprintf(out, size, "%s.lock", path);
}

static void listener_free(struct listener *l)
{
    owned_close(l->fd);
    owned_close(l->wake);
    if (l->path[0]) {
        char lock[PATH_MAX + 8];

        unlink(l->path);
        lock_path(lock, sizeof(lock), l->path);
        unlink(lock);
    }
    free(l);
}

static void listener_end(struct listener *l)
{
    uint64_t one = 1;

    if (write(l->wake, &one, sizeof(one)) == sizeof(one))
        pthread_join(l->thread, NULL);
    listener_free(l);
}

/* `lists_lock` held. */
static void write_list(struct database *d)
{
    char path[PATH_MAX + 32], part[PATH_MAX + 40];
    struct stat st;
    FILE *f;

    snprintf(path, sizeof(path), "%s/" LISTEN_FILE, database_directory(d));
    if (!*database_listeners(d)) {
        unlink(path);
        return;
    }
    snprintf(part, sizeof(part), "%s.new", path);
    f = fopen(part, "we");
    if (!f)
        return; /* others do not find the addresses, that is all */
    for (struct listener *l = *database_listeners(d); l; l = l->next)
        fprintf(f, "%s\n", l->uri);
    /* who may read the directory (initdb --allow-group-access) finds them */
    if (stat(database_directory(d), &st) < 0 || fchmod(fileno(f), 0600 | (st.st_mode & 0040)) < 0 ||
        fclose(f) != 0 || rename(part, path) < 0)
        unlink(part);
}

bool listeners_close(struct database *d, const char *address)
{
    struct listener **list = database_listeners(d);
    bool any = false;

    for (;;) {
        struct listener *l, **at;

        pthread_mutex_lock(&lists_lock);
        for (at = list; *at && address && strcmp((*at)->address, address) != 0; at = &(*at)->next)
            ;
        l = *at;
        if (l) {
            *at = l->next;
            write_list(d);
        }
        pthread_mutex_unlock(&lists_lock);
        if (!l)
            return any;
        any = true;
        listener_end(l);
    }
}

/* ---- addresses --------------------------------------------------------------------------- */

/* The address of the socket file in `dir`. */
static int socket_address(const char *dir, struct sockaddr_un *out, struct calf_error *err)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/.s.PGSQL." SERVER_PORT, dir);
    if (strchr(dir, ','))
        return fail(err, CALF_ACCESS,
                    "the socket directory %s has a comma, where clients begin another host; name "
                    "another directory for the socket",
                    dir);
    if (strlen(path) >= sizeof(out->sun_path))
        return fail(err, CALF_ACCESS,
                    "the socket path %s has %zu bytes, and the system allows %zu; name a shorter "
                    "directory for the socket",
                    path, strlen(path), sizeof(out->sun_path) - 1);
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(out->sun_path, path);
    return 0;
}

static bool socket_answers(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)address, sizeof(*address));

    if (fd >= 0)
        close(fd);
    return rc == 0;
}

/* A process id begins a lock file; one with nothing in it was just being made when its maker was
 * killed. */
static bool is_lock_file(FILE *f, int *pid)
{
    return fscanf(f, "%d", pid) == 1 || (feof(f) && !ferror(f));
}

/*
 * May the socket be made here?  A socket file that nobody listens behind, and the lock file beside
 * it, may be replaced; anything else is the user's.
 */
static int path_is_free(const struct sockaddr_un *address, struct calf_error *err)
{
    const char *path = address->sun_path;
    struct timespec step = {0, 10000000};
    char lock[PATH_MAX + 8];
    struct stat st;
    int pid = 0, tries = 0;
    FILE *f;

    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return fail(err, CALF_ACCESS, "%s is in the place of the socket; move it away", path);
    lock_path(lock, sizeof(lock), path);
    f = fopen(lock, "re");
    if (f && !is_lock_file(f, &pid)) {
        fclose(f);
        return fail(err, CALF_ACCESS, "%s is in the place of the socket's lock; move it away",
                    lock);
    }
    if (f)
        fclose(f);
    while (socket_answers(address)) {
        if (tries++ == 1000 || !pid || !process_is_dying(pid))
            return fail(err, CALF_ACCESS,
                        "another server answers on the socket %s; stop it, or name another "
                        "directory for the socket",
                        path);
        nanosleep(&step, NULL);
    }
    return 0;
}

/* The lines are in miscadmin.h (LOCK_FILE_LINE_...). */
static int make_lock(const struct listener *l, const char *dir, struct calf_error *err)
{
    char path[PATH_MAX + 8];
    FILE *f;

    lock_path(path, sizeof(path), l->path);
    unlink(path);
    f = fopen(path, "wxe");
    if (f)
        fprintf(f, "%d\n%s\n%lld\n" SERVER_PORT "\n%s\n", (int)getpid(), dir, (long long)time(NULL),
                l->address);
    return f && fchmod(fileno(f), 0600) == 0 && fclose(f) == 0
               ? 0
               : fail(err, CALF_ACCESS, "cannot write %s: %s", path, strerror(errno));
}

/* Percent-encodes what the part of a URI may not contain. */
static void encode(char *to, const char *from, const char *special)
{
    for (; *from; from++)
        to += strchr(special, *from) || *from < 32 ? sprintf(to, "%%%02X", (unsigned char)*from)
                                                   : (*to = *from, 1);
    *to = '\0';
}

static void make_unix_uri(struct listener *l, const char *dir)
{
    char name[PATH_MAX * 3];

    encode(name, dir, " %&#?+'\"=");
    snprintf(l->uri, sizeof(l->uri), "postgresql://%s@/postgres?host=%s&port=" SERVER_PORT, l->user,
             name);
}

static int listen_unix(struct listener *l, const char *dir, struct calf_error *err)
{
    struct sockaddr_un un;
    const char *path = un.sun_path;
    mode_t mode = 0600;

    if (socket_address(l->address, &un, err) < 0)
        return -1;
    if (mkdir(l->address, 0700) < 0 && errno != EEXIST)
        return fail(err, CALF_ACCESS, "cannot create the socket directory %s: %s", l->address,
                    strerror(errno));
    if (path_is_free(&un, err) < 0)
        return -1;
    unlink(path);
    l->fd = owned_note(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    /* fchmod() before bind() gives the file its mode from the beginning, without the umask */
    if (l->fd < 0 || fchmod(l->fd, mode) < 0 || bind(l->fd, (struct sockaddr *)&un, sizeof(un)) < 0)
        return fail(err, CALF_ACCESS, "cannot make the socket %s: %s", path, strerror(errno));
    strcpy(l->path, path);
    if (make_lock(l, dir, err) < 0)
        return -1;
    if (chmod(path, mode) < 0 || listen(l->fd, 128) < 0)
        return fail(err, CALF_ACCESS, "cannot listen on the socket %s: %s", path, strerror(errno));
    make_unix_uri(l, l->address);
    return 0;
}

union tcp_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t tcp_size(const union tcp_address *a)
{
    return a->any.sa_family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
}

/* "tcp:PORT", "tcp:ADDRESS:PORT", "tcp:[ADDRESS]:PORT" */
static int tcp_parse(const char *address, union tcp_address *a, struct calf_error *err)
{
    char host[INET6_ADDRSTRLEN + 2] = "127.0.0.1";
    const char *rest = address + strlen("tcp:"), *colon = strrchr(rest, ':');
    const char *digits = colon ? colon + 1 : rest;
    char *end;
    long port = strtol(digits, &end, 10);

    if (end == digits || *end || port < 0 || port > 65535)
        return fail(err, CALF_MISUSE, "%s: no port number", address);
    if (colon) {
        size_t n = colon - rest;
        bool bracketed = n > 2 && rest[0] == '[' && colon[-1] == ']';

        if (n >= sizeof(host))
            return fail(err, CALF_MISUSE, "%s: no IP address", address);
        snprintf(host, sizeof(host), "%.*s", (int)(bracketed ? n - 2 : n), rest + bracketed);
    }
    *a = (union tcp_address){.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}};
    if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1)
        return 0;
    *a = (union tcp_address){.v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)}};
    if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1)
        return 0;
    return fail(err, CALF_MISUSE, "%s: \"%s\" is not an IP address", address, host);
}

/* A bound socket, or -1. */
static int tcp_bind(const char *address, struct calf_error *err)
{
    union tcp_address a;
    int one = 1, fd;

    if (tcp_parse(address, &a, err) < 0)
        return -1;
    fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, &a.any, tcp_size(&a)) == 0)
        return fd;
    fail(err, CALF_ACCESS, "cannot listen on %s: %s", address, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static int make_tcp_uri(struct listener *l, struct calf_error *err)
{
    char host[INET6_ADDRSTRLEN];
    union tcp_address a;
    socklen_t size = sizeof(a);
    bool v6;

    if (getsockname(l->fd, &a.any, &size) < 0)
        return fail(err, CALF_SYSTEM, "cannot listen on %s: %s", l->address, strerror(errno));
    v6 = a.any.sa_family == AF_INET6;
    inet_ntop(a.any.sa_family, v6 ? (void *)&a.v6.sin6_addr : &a.v4.sin_addr, host, sizeof(host));
    snprintf(l->uri, sizeof(l->uri), "postgresql://%s@%s%s%s:%d/postgres", l->user, v6 ? "[" : "",
             host, v6 ? "]" : "", ntohs(v6 ? a.v6.sin6_port : a.v4.sin_port));
    return 0;
}

static int no_address(const char *address, struct calf_error *err)
{
    return fail(err, CALF_MISUSE,
                "cannot listen on \"%s\": it is neither an absolute directory nor tcp:PORT nor "
                "tcp:ADDRESS:PORT nor fd:NUMBER",
                address);
}

static int listen_tcp(struct listener *l, struct calf_error *err)
{
    l->fd = owned_note(tcp_bind(l->address, err));
    if (l->fd < 0)
        return -1;
    if (listen(l->fd, 128) < 0)
        return fail(err, CALF_ACCESS, "cannot listen on %s: %s", l->address, strerror(errno));
    return make_tcp_uri(l, err);
}

/* "fd:N", a socket that listens already: systemd's, for instance.  N, or -1. */
static int fd_parse(const char *address, struct calf_error *err)
{
    const char *digits = address + strlen("fd:");
    socklen_t size = sizeof(int);
    int listens = 0;
    char *end;
    long fd = strtol(digits, &end, 10);

    if (end == digits || *end || fd < 0 || fd > INT_MAX)
        return no_address(address, err);
    if (getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 || !listens)
        return fail(err, CALF_MISUSE, "%s: descriptor %ld is no listening socket", address, fd);
    return (int)fd;
}

static int listen_fd(struct listener *l, struct calf_error *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    } a = {0};
    socklen_t size = sizeof(a.un);
    int fd = fd_parse(l->address, err);
    char *slash;

    if (fd < 0)
        return -1;
    l->fd = getsockname(fd, &a.any, &size) < 0 ? -1 : owned_note(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (l->fd < 0 || fcntl(l->fd, F_SETFL, fcntl(l->fd, F_GETFL) | O_NONBLOCK) < 0)
        return fail(err, CALF_SYSTEM, "cannot listen on %s: %s", l->address, strerror(errno));
    if (a.any.sa_family != AF_UNIX)
        return make_tcp_uri(l, err);
    slash = strrchr(a.un.sun_path, '/');
    if (!slash || strcmp(slash, "/.s.PGSQL." SERVER_PORT) != 0)
        return fail(err, CALF_MISUSE,
                    "%s: the socket's name must be .s.PGSQL." SERVER_PORT ", so that clients find "
                    "it",
                    l->address);
    *slash = '\0';
    make_unix_uri(l, a.un.sun_path);
    return 0;
}

/* ---- calf.h ------------------------------------------------------------------------------ */

static int start(struct database *d, struct listener *l, struct calf_error *err)
{
    struct listener **list = database_listeners(d);
    int rc;

    encode(l->user, database_superuser(d), " %&#?+'\"/@:");
    if (l->address[0] == '/')
        rc = listen_unix(l, database_directory(d), err);
    else if (strncmp(l->address, "tcp:", 4) == 0)
        rc = listen_tcp(l, err);
    else if (strncmp(l->address, "fd:", 3) == 0)
        rc = listen_fd(l, err);
    else
        rc = no_address(l->address, err);
    if (rc < 0)
        return rc;
    l->server = database_server(d);
    l->wake = owned_note(eventfd(0, EFD_CLOEXEC));
    if (l->wake < 0)
        return fail(err, CALF_SYSTEM, "cannot listen on %s: %s", l->address, strerror(errno));
    if (thread_start(&l->thread, accept_loop, l, err) < 0)
        return -1;
    pthread_mutex_lock(&lists_lock);
    l->next = *list;
    *list = l;
    write_list(d);
    pthread_mutex_unlock(&lists_lock);
    return 0;
}

int listen_begin(struct database *d, const char *address, struct calf_error *err)
{
    struct listener *l;

    if (strlen(address) >= sizeof(l->address))
        return fail(err, CALF_MISUSE, "the address to listen on is too long");
    l = calloc(1, sizeof(*l));
    if (!l)
        return fail(err, CALF_SYSTEM, "out of memory");
    l->fd = l->wake = -1;
    strcpy(l->address, address);
    if (start(d, l, err) == 0)
        return 0;
    listener_free(l);
    return -1;
}

/* Could a socket be made in the directory, or else the directory? */
static int directory_possible(const char *dir, struct calf_error *err)
{
    char parent[PATH_MAX];
    struct stat st;

    snprintf(parent, sizeof(parent), "%s", dir);
    if (stat(dir, &st) < 0 && errno == ENOENT) {
        *strrchr(parent, '/') = '\0';
        if (access(*parent ? parent : "/", W_OK | X_OK) < 0)
            return fail(err, CALF_ACCESS, "cannot create the socket directory %s: %s", dir,
                        strerror(errno));
    } else if (!S_ISDIR(st.st_mode)) {
        return fail(err, CALF_ACCESS, "the socket directory %s is no directory", dir);
    } else if (access(dir, W_OK | X_OK) < 0) {
        return fail(err, CALF_ACCESS, "cannot write to the socket directory %s: %s", dir,
                    strerror(errno));
    }
    return 0;
}

int listen_possible(const char *address, struct calf_error *err)
{
    struct sockaddr_un un;
    int fd;

    if (strncmp(address, "tcp:", 4) == 0) {
        fd = tcp_bind(address, err);
        return fd < 0 ? -1 : close(fd);
    }
    if (strncmp(address, "fd:", 3) == 0)
        return fd_parse(address, err) < 0 ? -1 : 0;
    if (address[0] != '/')
        return no_address(address, err);
    if (socket_address(address, &un, err) < 0 || path_is_free(&un, err) < 0)
        return -1;
    return directory_possible(address, err);
}

int calf_listen(calf_db *db, const char *address, struct calf_error *err)
{
    struct calf_error own;
    struct database *d;
    int rc;

    err = error_room(err, &own);
    if (!address)
        return fail(err, CALF_MISUSE, "calf_listen() needs an address"), CALF_MISUSE;
    d = database_work(db, err);
    if (!d)
        return err->code;
    rc = listen_begin(d, address, err);
    database_unuse(d);
    return rc < 0 ? (int)err->code : CALF_OK;
}

int calf_unlisten(calf_db *db, const char *address, struct calf_error *err)
{
    struct calf_error own;
    struct database *d;
    bool any;

    err = error_room(err, &own);
    d = database_work(db, err);
    if (!d)
        return err->code;
    any = listeners_close(d, address);
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

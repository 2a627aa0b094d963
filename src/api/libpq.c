/*
 * libpq.c - libpq's own API, exported by libcalf, and what `host=calf:PATH` means to it
 *
 * libpq is PostgreSQL's, unchanged: the Makefile links its objects and gives another name to the
 * few functions through which it reaches the system (getaddrinfo, connect, close) and to those that
 * begin a connection.  Their namesakes are here.  Any other host is none of our business.
 *
 * The rule that matters: a host name "calf:PATH" is resolved to an abstract Unix address with the
 * database's number in it, which only our connect() understands; the descriptor that it makes is
 * remembered until close(), because it keeps a database open that nobody holds a handle of.
 */
#include "api.h"

#include <errno.h>
#include <fcntl.h>
#pragma GCC visibility push(default) /* these are ours to export */
#include <libpq-fe.h>
#pragma GCC visibility pop
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SCHEME "calf:"
#define ADDRESS "calf-database/%lu" /* behind the zero byte of an abstract address */
#define EAI_CALF (-9001) /* the database did not open; the thread's last_error says why */

static __thread struct calf_error last_error;
static __thread unsigned long
    resolved; /* counted as a connection until connect() or another host */
static __thread pid_t resolved_by;
static __thread unsigned long chosen; /* the database that this thread's host=calf: is just now */

/* ---- open connections ---------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct link {
    struct link *next;
    int fd;
    pid_t pid; /* who connected: a forked child has the descriptors too, but not the database */
    unsigned long number;
} * links;

static void remember(struct link *l, int fd, unsigned long number)
{
    *l = (struct link){.fd = fd, .pid = getpid(), .number = number};
    pthread_mutex_lock(&lock);
    l->next = links;
    links = l;
    pthread_mutex_unlock(&lock);
}

/* ---- the system, as libpq sees it ------------------------------------------------------ */

static void forget_resolved(void)
{
    if (resolved && resolved_by == getpid())
        database_disconnect(resolved);
    resolved = 0;
}

int calf_libpq_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                           struct addrinfo **out)
{
    struct {
        struct addrinfo info;
        struct sockaddr_un address;
    } * one;
    int n;

    if (!host || strncmp(host, SCHEME, strlen(SCHEME)) != 0)
        return getaddrinfo(host, service, hints, out);
    forget_resolved();
    one = calloc(1, sizeof(*one));
    if (!one)
        return EAI_MEMORY;
    if (!chosen)
        resolved = database_for_host(host + strlen(SCHEME), &last_error);
    resolved_by = getpid();
    if (!chosen && !resolved) {
        free(one);
        return EAI_CALF;
    }
    one->address.sun_family = AF_UNIX;
    n = snprintf(one->address.sun_path + 1, sizeof(one->address.sun_path) - 1, ADDRESS,
                 chosen ? chosen : resolved);
    one->info = (struct addrinfo){.ai_family = AF_UNIX,
                                  .ai_socktype = SOCK_STREAM,
                                  .ai_addr = (struct sockaddr *)&one->address,
                                  .ai_addrlen = offsetof(struct sockaddr_un, sun_path) + 1 + n};
    *out = &one->info;
    return 0;
}

void calf_libpq_freeaddrinfo(struct addrinfo *list)
{
    if (list && list->ai_family == AF_UNIX) /* never libc's: it was our host */
        free(list);
    else
        freeaddrinfo(list);
}

const char *calf_libpq_gai_strerror(int code)
{
    return code == EAI_CALF ? last_error.text : gai_strerror(code);
}

/* The number in an address of ours, 0: another address. */
static unsigned long number_in(const struct sockaddr *addr, socklen_t len)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)addr;
    char text[sizeof(un->sun_path) + 1] = "";
    unsigned long number = 0;

    if (addr->sa_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path) + 1 &&
        len <= sizeof(*un) && un->sun_path[0] == '\0') {
        memcpy(text, un->sun_path + 1, len - offsetof(struct sockaddr_un, sun_path) - 1);
        if (sscanf(text, ADDRESS, &number) != 1)
            number = 0;
    }
    return number;
}

int calf_libpq_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    unsigned long number = number_in(addr, len);
    int flags, end;
    struct link *l;

    if (!number)
        return connect(fd, addr, len);
    l = malloc(sizeof(*l));
    flags = fcntl(fd, F_GETFL);
    end = l && flags >= 0 ? database_connect(number) : -ENOMEM;
    if (end >= 0 && (dup3(end, fd, O_CLOEXEC) < 0 || fcntl(fd, F_SETFL, flags) < 0)) {
        int why = errno;

        close(end);
        database_disconnect(number);
        end = -why;
    }
    forget_resolved(); /* after database_connect(), which counts as well */
    if (end < 0) {
        free(l);
        errno = -end;
        return -1;
    }
    close(end);
    remember(l, fd, number);
    return 0;
}

int calf_libpq_close(int fd)
{
    struct link *l, **at;
    int rc;

    pthread_mutex_lock(&lock);
    for (at = &links; *at && (*at)->fd != fd; at = &(*at)->next)
        ;
    l = *at;
    if (l)
        *at = l->next;
    pthread_mutex_unlock(&lock);
    rc = close(fd);
    if (l && l->pid == getpid())
        database_disconnect(l->number);
    free(l);
    return rc;
}

/* ---- beginning a connection: without a user it is the superuser ---------------------------- */

PGconn *libpq_PQconnectStart(const char *conninfo);
PGconn *libpq_PQconnectdb(const char *conninfo);
PGconn *libpq_PQconnectStartParams(const char *const *keywords, const char *const *values,
                                   int expand_dbname);
PGconn *libpq_PQconnectdbParams(const char *const *keywords, const char *const *values,
                                int expand_dbname);
PGPing libpq_PQping(const char *conninfo);
PGPing libpq_PQpingParams(const char *const *keywords, const char *const *values,
                          int expand_dbname);
PGconn *libpq_PQsetdbLogin(const char *host, const char *port, const char *options, const char *tty,
                           const char *dbname, const char *login, const char *password);

struct wish {
    bool ours, user;
};

static void look_at(struct wish *w, const char *keyword, const char *value)
{
    if (!value || !*value)
        return;
    if (strcmp(keyword, "host") == 0)
        w->ours = strncmp(value, SCHEME, strlen(SCHEME)) == 0;
    else if (strcmp(keyword, "user") == 0)
        w->user = true;
}

static void look_into(struct wish *w, const char *conninfo)
{
    PQconninfoOption *list = conninfo ? PQconninfoParse(conninfo, NULL) : NULL;

    for (PQconninfoOption *o = list; o && o->keyword; o++)
        look_at(w, o->keyword, o->val);
    PQconninfoFree(list);
}

static struct wish wish_of_environment(void)
{
    struct wish w = {false, false};

    look_at(&w, "host", getenv("PGHOST"));
    look_at(&w, "user", getenv("PGUSER"));
    return w;
}

static bool wants_superuser(const char *conninfo)
{
    struct wish w = wish_of_environment();

    look_into(&w, conninfo);
    return w.ours && !w.user;
}

/* As libpq reads them (conninfo_array_parse): later ones win, dbname may be a whole string. */
static bool params_want_superuser(const char *const *keywords, const char *const *values,
                                  int expand_dbname)
{
    struct wish w = wish_of_environment();

    for (int i = 0; keywords && values && keywords[i]; i++) {
        if (expand_dbname && strcmp(keywords[i], "dbname") == 0 && values[i] &&
            (strchr(values[i], '=') || strstr(values[i], "://")))
            look_into(&w, values[i]);
        else
            look_at(&w, keywords[i], values[i]);
    }
    return w.ours && !w.user;
}

#define PARAMS_MAX 128
struct params {
    const char *keywords[PARAMS_MAX + 2], *values[PARAMS_MAX + 2];
};

/* The superuser first, so that whatever follows would win.  False: too many to copy. */
static bool with_superuser(struct params *p, const char *const *keywords, const char *const *values)
{
    int n = 0;

    p->keywords[0] = "user";
    p->values[0] = SUPERUSER;
    for (; keywords[n] && n < PARAMS_MAX; n++) {
        p->keywords[n + 1] = keywords[n];
        p->values[n + 1] = values[n];
    }
    p->keywords[n + 1] = p->values[n + 1] = NULL;
    return !keywords[n];
}

static const char *const dbname_only[] = {"dbname", NULL};
#define OF_STRING(conninfo)                                                                        \
    dbname_only, (const char *const[])                                                             \
    {                                                                                              \
        conninfo, NULL                                                                             \
    }

PGconn *PQconnectStart(const char *conninfo)
{
    struct params p;

    return wants_superuser(conninfo) && with_superuser(&p, OF_STRING(conninfo))
               ? libpq_PQconnectStartParams(p.keywords, p.values, 1)
               : libpq_PQconnectStart(conninfo);
}

PGconn *PQconnectdb(const char *conninfo)
{
    struct params p;

    return wants_superuser(conninfo) && with_superuser(&p, OF_STRING(conninfo))
               ? libpq_PQconnectdbParams(p.keywords, p.values, 1)
               : libpq_PQconnectdb(conninfo);
}

PGPing PQping(const char *conninfo)
{
    struct params p;

    return wants_superuser(conninfo) && with_superuser(&p, OF_STRING(conninfo))
               ? libpq_PQpingParams(p.keywords, p.values, 1)
               : libpq_PQping(conninfo);
}

PGconn *PQconnectStartParams(const char *const *keywords, const char *const *values,
                             int expand_dbname)
{
    struct params p;

    return params_want_superuser(keywords, values, expand_dbname) &&
                   with_superuser(&p, keywords, values)
               ? libpq_PQconnectStartParams(p.keywords, p.values, expand_dbname)
               : libpq_PQconnectStartParams(keywords, values, expand_dbname);
}

PGconn *PQconnectdbParams(const char *const *keywords, const char *const *values, int expand_dbname)
{
    struct params p;

    return params_want_superuser(keywords, values, expand_dbname) &&
                   with_superuser(&p, keywords, values)
               ? libpq_PQconnectdbParams(p.keywords, p.values, expand_dbname)
               : libpq_PQconnectdbParams(keywords, values, expand_dbname);
}

PGPing PQpingParams(const char *const *keywords, const char *const *values, int expand_dbname)
{
    struct params p;

    return params_want_superuser(keywords, values, expand_dbname) &&
                   with_superuser(&p, keywords, values)
               ? libpq_PQpingParams(p.keywords, p.values, expand_dbname)
               : libpq_PQpingParams(keywords, values, expand_dbname);
}

PGconn *PQsetdbLogin(const char *host, const char *port, const char *options, const char *tty,
                     const char *dbname, const char *login, const char *password)
{
    struct wish w = wish_of_environment();

    if (dbname && (strchr(dbname, '=') || strstr(dbname, "://")))
        look_into(&w, dbname);
    look_at(&w, "host", host);
    look_at(&w, "user", login);
    return libpq_PQsetdbLogin(host, port, options, tty, dbname,
                              w.ours && !w.user ? SUPERUSER : login, password);
}

/* Neither the host's environment nor settings of the role or the database change it. */
PGconn *database_session(struct database *d)
{
    static const char *const keywords[] = {"host", "hostaddr", "user", "dbname", "options", NULL};
    const char *const values[] = {SCHEME,
                                  "",
                                  database_superuser(d),
                                  "postgres",
                                  "-c client_min_messages=error -c search_path=pg_catalog "
                                  "-c statement_timeout=0 -c lock_timeout=0 "
                                  "-c idle_session_timeout=0 -c default_transaction_read_only=off",
                                  NULL};
    PGconn *conn;

    chosen = database_number(d);
    conn = libpq_PQconnectdbParams(keywords, values, 0);
    chosen = 0;
    return conn;
}

/*
 * libpq.c - libpq's own API, exported by libcalf, and what `host=calf:PATH` means to it
 *
 * libpq is PostgreSQL's, unchanged: the Makefile links its objects and gives another name to the
 * few functions through which it reaches the system (getaddrinfo, connect, close, getenv) and to
 * those that begin a connection.  Their namesakes are here.  Any other host is none of our
 * business.
 *
 * A host of ours is "calf:PATH", or "/calf:PATH" for drivers that resolve hosts themselves and
 * leave alone what begins with a slash.  libpq gets the first always: it would take the second for
 * the directory of a socket.  As it splits hosts at commas, a comma is written %2C
 * (host_of_path()).
 *
 * The rule that matters: a host name "calf:PATH" is resolved to an abstract Unix address with the
 * database's number in it, which only our connect() understands; the descriptor that it makes is
 * remembered until close(), because it keeps a database open that nobody holds a handle of.
 *
 * And: what names the host is where the connection goes.  While such a connection begins, libpq
 * sees only those variables of the environment that cannot lead it elsewhere (environment_adds()).
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
#define REFUSED "calf-refused:"     /* the host of a connection that was refused before it began */
#define ADDRESS "calf-database/%lu" /* behind the zero byte of an abstract address */
#define EAI_CALF (-9001) /* the database did not open; the thread's last_error says why */

static __thread struct calf_error last_error;
static __thread unsigned long
    resolved;                         /* counted as a connection until connect() or another host */
static __thread unsigned long chosen; /* the database that this thread's host=calf: is just now */
/* While this thread begins a connection: what getenv() is to libpq. */
static __thread enum { HOST_ENVIRONMENT, OWN_ENVIRONMENT, OWN_WITH_SERVICE } environment;
static __thread const char *service; /* instead of PGSERVICE; NULL: nothing */

/* ---- open connections ---------------------------------------------------------------- */

pthread_mutex_t links_lock = PTHREAD_MUTEX_INITIALIZER;
static struct link {
    struct link *next;
    int fd;
    unsigned long number;
} * links;

static void remember(struct link *l, int fd, unsigned long number)
{
    *l = (struct link){.fd = fd, .number = number};
    pthread_mutex_lock(&links_lock);
    l->next = links;
    links = l;
    pthread_mutex_unlock(&links_lock);
}

/* ---- what a host says -------------------------------------------------------------------- */

/* What stands behind a '%' that is not one itself: "2C", a comma, or "25", a percent sign. */
static char escaped(const char *digits)
{
    if (digits[0] != '2')
        return 0;
    return digits[1] == '5' ? '%' : digits[1] == 'C' || digits[1] == 'c' ? ',' : 0;
}

void host_of_path(char out[HOST_SIZE], const char *path)
{
    out = stpcpy(out, "/" SCHEME);
    for (; *path; path++)
        if (*path == ',' || (*path == '%' && escaped(path + 1)))
            out = stpcpy(out, *path == ',' ? "%2C" : "%25");
        else
            *out++ = *path;
    *out = '\0';
}

/* The number of the database that is meant by what follows "calf:", as database_for_host(). */
static unsigned long open_for(const char *spelled)
{
    char path[PATH_MAX], *to = path;

    for (; *spelled && to < path + sizeof(path) - 1; spelled++) {
        char c = *spelled == '%' ? escaped(spelled + 1) : 0;

        *to++ = c ? c : *spelled;
        spelled += c ? 2 : 0;
    }
    *to = '\0';
    if (*spelled)
        return fail(&last_error, CALF_ACCESS, "the path of the data directory is too long"), 0;
    return database_for_host(path, &last_error);
}

/* What follows "calf:" in a host of ours, else NULL. */
static const char *spelled_path(const char *host)
{
    host += *host == '/';
    return strncmp(host, SCHEME, strlen(SCHEME)) == 0 ? host + strlen(SCHEME) : NULL;
}

/* ---- the system, as libpq sees it ------------------------------------------------------ */

static void forget_resolved(void)
{
    if (resolved)
        database_disconnect(resolved);
    resolved = 0;
}

/* libpq's getenv() */
char *calf_libpq_getenv(const char *name)
{
    char *value = getenv(name);

    if (service && strcmp(name, "PGSERVICE") == 0)
        return (char *)service;
    if (environment == HOST_ENVIRONMENT || strncmp(name, "PG", 2) != 0)
        return value;
    if (strcmp(name, "PGUSER") == 0)
        return value && *value ? value : SUPERUSER;
    if (environment == OWN_WITH_SERVICE && strcmp(name, "PGSERVICE") == 0)
        return value;
    return environment_adds(name) || strcmp(name, "PGDATABASE") == 0 ? value : NULL;
}

int calf_libpq_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                           struct addrinfo **out)
{
    struct {
        struct addrinfo info;
        struct sockaddr_un address;
    } * one;
    int n;

    if (host && strcmp(host, REFUSED) == 0)
        return EAI_CALF;
    if (!host || strncmp(host, SCHEME, strlen(SCHEME)) != 0)
        return getaddrinfo(host, service, hints, out);
    forget_resolved();
    one = calloc(1, sizeof(*one));
    if (!one)
        return EAI_MEMORY;
    if (!chosen)
        resolved = open_for(host + strlen(SCHEME));
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

    pthread_mutex_lock(&links_lock);
    for (at = &links; *at && (*at)->fd != fd; at = &(*at)->next)
        ;
    l = *at;
    if (l)
        *at = l->next;
    pthread_mutex_unlock(&links_lock);
    rc = close(fd);
    if (l)
        database_disconnect(l->number);
    free(l);
    return rc;
}

/* ---- beginning a connection -------------------------------------------------------------- */

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

/* What the caller says of where the connection goes; NULL: nothing. */
struct place {
    char *host, *hostaddr, *service;
};

static void place_say(struct place *p, const char *keyword, const char *value)
{
    char **at = strcmp(keyword, "host") == 0       ? &p->host
                : strcmp(keyword, "hostaddr") == 0 ? &p->hostaddr
                : strcmp(keyword, "service") == 0  ? &p->service
                                                   : NULL;

    if (at && value && *value) {
        free(*at);
        *at = strdup(value);
    }
}

static void place_say_string(struct place *p, const char *conninfo)
{
    PQconninfoOption *list = conninfo ? PQconninfoParse(conninfo, NULL) : NULL;

    for (PQconninfoOption *o = list; o && o->keyword; o++)
        place_say(p, o->keyword, o->val);
    PQconninfoFree(list);
}

static bool is_string(const char *dbname)
{
    return dbname && (strchr(dbname, '=') || strstr(dbname, "://"));
}

/* As libpq reads them (conninfo_array_parse): later ones win, the first dbname may be a string. */
static void place_say_params(struct place *p, const char *const *keywords,
                             const char *const *values, int expand_dbname)
{
    for (int i = 0; keywords && values && keywords[i]; i++) {
        if (expand_dbname && strcmp(keywords[i], "dbname") == 0 && values[i]) {
            if (is_string(values[i]))
                place_say_string(p, values[i]);
            expand_dbname = 0;
        } else {
            place_say(p, keywords[i], values[i]);
        }
    }
}

/* Where the caller names no host: that of its service, or of the environment. */
static void place_default(struct place *p)
{
    PQconninfoOption *list;

    service = p->service;
    list = PQconndefaults();
    service = NULL;
    for (PQconninfoOption *o = list; o && o->keyword; o++)
        if (strcmp(o->keyword, "host") == 0)
            place_say(p, o->keyword, o->val);
    PQconninfoFree(list);
}

/*
 * The host for libpq when it is one of ours, which is refused where the path or the place is not
 * clear; to be freed.  NULL: it is not, and everything is as ever.  From here to place_end() the
 * environment is the connection's own.
 */
static char *place_begin(struct place *p)
{
    bool named = p->host || p->service;
    const char *path;
    char *host = NULL;

    if (!p->host)
        place_default(p);
    path = p->host ? spelled_path(p->host) : NULL;
    if (p->host && strchr(p->host, ',') &&
        (path || strstr(p->host, "," SCHEME) || strstr(p->host, ",/" SCHEME))) {
        fail(&last_error, CALF_MISUSE,
             "a comma begins another host, and a directory inside is the only host of a "
             "connection; a comma in its name is written %%2C: %s",
             p->host);
        host = strdup(REFUSED);
    } else if (path && p->hostaddr) {
        fail(&last_error, CALF_MISUSE,
             "the host %s is a directory, and hostaddr=%s names another place; leave one of both "
             "out",
             p->host, p->hostaddr);
        host = strdup(REFUSED);
    } else if (path && asprintf(&host, SCHEME "%s", path) < 0) {
        host = NULL;
    }
    if (host)
        environment = named ? OWN_ENVIRONMENT : OWN_WITH_SERVICE;
    return host;
}

static void place_end(struct place *p, char *host)
{
    environment = HOST_ENVIRONMENT;
    free(host);
    free(p->host);
    free(p->hostaddr);
    free(p->service);
}

/* A connection that may begin here. */
struct beginning {
    struct place place;
    char *host;                      /* for libpq; NULL: it is not ours */
    const char **keywords, **values; /* the parameters with it, to be freed by begin_end() */
};

/* Ours?  Then with libpq's parameters: the caller's, and behind them the host, so that it wins. */
static bool begin_here(struct beginning *b, const char *const *keywords, const char *const *values,
                       int expand_dbname)
{
    size_t n = 0, size;

    *b = (struct beginning){0};
    place_say_params(&b->place, keywords, values, expand_dbname);
    b->host = place_begin(&b->place);
    if (!b->host)
        return false;
    if (strcmp(b->host, REFUSED) != 0) /* else nothing of the caller's, whose hostaddr would win */
        while (keywords && values && keywords[n])
            n++;
    size = (n + 2) * sizeof(*keywords);
    b->keywords = calloc(2, size);
    if (!b->keywords) /* as for libpq itself: too many or too little memory */
        return false;
    b->values = b->keywords + n + 2;
    for (size_t i = 0; i < n; i++) {
        b->keywords[i] = keywords[i];
        b->values[i] = values[i];
    }
    b->keywords[n] = "host";
    b->values[n] = b->host;
    return true;
}

static void begin_end(struct beginning *b)
{
    free(b->keywords);
    place_end(&b->place, b->host);
}

static const char *const dbname_only[] = {"dbname", NULL};
#define OF_STRING(conninfo)                                                                        \
    dbname_only, (const char *const[])                                                             \
    {                                                                                              \
        conninfo, NULL                                                                             \
    }

PGconn *PQconnectStart(const char *conninfo)
{
    struct beginning b;
    PGconn *conn = begin_here(&b, OF_STRING(conninfo), 1)
                       ? libpq_PQconnectStartParams(b.keywords, b.values, 1)
                       : libpq_PQconnectStart(conninfo);

    begin_end(&b);
    return conn;
}

PGconn *PQconnectdb(const char *conninfo)
{
    struct beginning b;
    PGconn *conn = begin_here(&b, OF_STRING(conninfo), 1)
                       ? libpq_PQconnectdbParams(b.keywords, b.values, 1)
                       : libpq_PQconnectdb(conninfo);

    begin_end(&b);
    return conn;
}

PGPing PQping(const char *conninfo)
{
    struct beginning b;
    PGPing answer = begin_here(&b, OF_STRING(conninfo), 1)
                        ? libpq_PQpingParams(b.keywords, b.values, 1)
                        : libpq_PQping(conninfo);

    begin_end(&b);
    return answer;
}

PGconn *PQconnectStartParams(const char *const *keywords, const char *const *values,
                             int expand_dbname)
{
    struct beginning b;
    PGconn *conn = begin_here(&b, keywords, values, expand_dbname)
                       ? libpq_PQconnectStartParams(b.keywords, b.values, expand_dbname)
                       : libpq_PQconnectStartParams(keywords, values, expand_dbname);

    begin_end(&b);
    return conn;
}

PGconn *PQconnectdbParams(const char *const *keywords, const char *const *values, int expand_dbname)
{
    struct beginning b;
    PGconn *conn = begin_here(&b, keywords, values, expand_dbname)
                       ? libpq_PQconnectdbParams(b.keywords, b.values, expand_dbname)
                       : libpq_PQconnectdbParams(keywords, values, expand_dbname);

    begin_end(&b);
    return conn;
}

PGPing PQpingParams(const char *const *keywords, const char *const *values, int expand_dbname)
{
    struct beginning b;
    PGPing answer = begin_here(&b, keywords, values, expand_dbname)
                        ? libpq_PQpingParams(b.keywords, b.values, expand_dbname)
                        : libpq_PQpingParams(keywords, values, expand_dbname);

    begin_end(&b);
    return answer;
}

PGconn *PQsetdbLogin(const char *host, const char *port, const char *options, const char *tty,
                     const char *dbname, const char *login, const char *password)
{
    struct place place = {NULL, NULL, NULL};
    char *ours;
    PGconn *conn;

    if (is_string(dbname))
        place_say_string(&place, dbname);
    place_say(&place, "host", host);
    ours = place_begin(&place);
    if (ours && strcmp(ours, REFUSED) == 0)
        dbname = NULL; /* whose hostaddr would win */
    conn = libpq_PQsetdbLogin(ours ? ours : host, port, options, tty, dbname, login, password);
    place_end(&place, ours);
    return conn;
}

/* Neither the host's environment nor settings of the role or the database change it. */
PGconn *database_session(struct database *d)
{
    static const char *const keywords[] = {"host", "user", "dbname", "options", NULL};
    const char *const values[] = {SCHEME, database_superuser(d), "postgres",
                                  "-c client_min_messages=error -c search_path=pg_catalog "
                                  "-c statement_timeout=0 -c lock_timeout=0 "
                                  "-c idle_session_timeout=0 -c default_transaction_read_only=off",
                                  NULL};
    PGconn *conn;

    chosen = database_number(d);
    environment = OWN_ENVIRONMENT;
    conn = libpq_PQconnectdbParams(keywords, values, 0);
    environment = HOST_ENVIRONMENT;
    chosen = 0;
    return conn;
}

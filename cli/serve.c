/*
 * serve.c - `calf serve`: a directory behind sockets until a signal
 *
 * The rule that matters: nobody gets in over TCP before it is known that a password is asked for,
 * and an address that other machines reach needs an option that says so.
 */
#include "cli.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define SYSTEMD_FDS 3 /* sd_listen_fds(3): the first of those that are handed over */

struct serve {
    struct call *call;
    calf_db *db;
    char dir[PATH_MAX], socket[PATH_MAX];
    const char *listen[16 + 2]; /* what calf_open() listens on */
    const char *tcp[16 + 2]; /* what is listened on once it is known that strangers are kept out */
    char fds[16][32], tcp_address[32];
    int nlisten, ntcp;
    int tcp_fd;          /* of --tcp, or 0 */
    int nown;            /* of the settings: those that were given */
    char password[1024]; /* "": none is set */
    char hba[64], cert[PATH_MAX + 32], key[PATH_MAX + 32];
    char uris[4 * 8192];
    int ready;          /* the waiting parent of --detach, or -1 */
    int caller, before; /* of --detach: its standard error, what was printed until it serves */
};

/* ---- what the options mean -------------------------------------------------------------- */

static void add_setting(struct serve *s, const char *setting)
{
    s->call->settings[s->call->nsettings++] = setting;
}

static int absolute(const char *path, char *out, size_t size, const char *prefix)
{
    char full[PATH_MAX];

    if (!realpath(path, full))
        return -1;
    return snprintf(out, size, "%s%s", prefix, full) < (int)size ? 0 : -1;
}

/*
 * --tcp [ADDR:]PORT.  Listened on from now on, so that whoever sees PostgreSQL ready can connect;
 * nobody is accepted before it is known that a password is asked for.
 */
static int take_tcp(struct serve *s, const char *value)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM},
                    *at;
    const char *colon = strrchr(value, ':'), *port = colon ? colon + 1 : value;
    char host[INET6_ADDRSTRLEN + 4] = "127.0.0.1";
    int one = 1, bound;
    bool loopback;

    if (colon && snprintf(host, sizeof(host), "%.*s", (int)(colon - value) - 2 * (*value == '['),
                          value + (*value == '[')) >= (int)sizeof(host))
        return misuse(s->call, "--tcp wants [ADDR:]PORT, not \"%s\"", value);
    if (strcmp(host, "localhost") == 0)
        strcpy(host, "127.0.0.1");
    if (*port == '\0' || strlen(port) > 5 || strspn(port, "0123456789") != strlen(port) ||
        atoi(port) > 65535 || getaddrinfo(host, port, &hints, &at) != 0)
        return misuse(s->call, "--tcp wants [ADDR:]PORT with a numeric address, not \"%s\"", value);
    loopback = at->ai_family == AF_INET
                   ? ntohl(((struct sockaddr_in *)at->ai_addr)->sin_addr.s_addr) >> 24 == 127
                   : IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)at->ai_addr)->sin6_addr);
    if (!loopback && !s->call->value[OPTION_EXPOSE]) {
        freeaddrinfo(at);
        return misuse(s->call,
                      "--tcp %s can be reached by other machines; if that is meant, add "
                      "--expose-to-network",
                      value);
    }
    s->tcp_fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bound = s->tcp_fd < 0 ||
                    setsockopt(s->tcp_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
                    bind(s->tcp_fd, at->ai_addr, at->ai_addrlen) < 0
                ? -1
                : listen(s->tcp_fd, 128);
    freeaddrinfo(at);
    if (bound < 0)
        return refuse("cannot listen on %s: %s", value, strerror(errno));
    snprintf(s->tcp_address, sizeof(s->tcp_address), "fd:%d", s->tcp_fd);
    s->tcp[s->ntcp++] = s->tcp_address;
    return 0;
}

static int take_tls(struct serve *s)
{
    const char *cert = s->call->value[OPTION_TLS_CERT], *key = s->call->value[OPTION_TLS_KEY];
    struct stat st;

    if (!cert && !key)
        return 0;
    if (!cert || !key)
        return misuse(s->call, "--tls-cert and --tls-key belong together");
    if (access(cert, R_OK) < 0 || absolute(cert, s->cert, sizeof(s->cert), "ssl_cert_file=") < 0)
        return refuse("cannot read the certificate %s: %s", cert, strerror(errno));
    if (access(key, R_OK) < 0 || absolute(key, s->key, sizeof(s->key), "ssl_key_file=") < 0)
        return refuse("cannot read the key %s: %s", key, strerror(errno));
    if (stat(key, &st) == 0 && st.st_uid == geteuid() && st.st_mode & 077)
        return refuse("others can read the key %s (mode %04o); chmod 600 it", key,
                      st.st_mode & 0777);
    add_setting(s, "ssl=on");
    add_setting(s, s->cert);
    add_setting(s, s->key);
    return 0;
}

static struct termios echoing; /* the terminal while a password is asked for, as it was before */

static void end_quiet(int sig)
{
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &echoing);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* One line without its end, from a terminal without echo. */
static int read_password(struct serve *s, FILE *f, const char *from)
{
    bool terminal = isatty(fileno(f)) && tcgetattr(fileno(f), &echoing) == 0;
    struct termios quiet;
    char *line;

    if (terminal) {
        quiet = echoing;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        signal(SIGINT, end_quiet);
        tcsetattr(fileno(f), TCSAFLUSH, &quiet); /* first: what is typed ahead is dropped */
        fputs("Password for the superuser: ", stderr);
    }
    line = fgets(s->password, sizeof(s->password), f);
    if (terminal) {
        tcsetattr(fileno(f), TCSAFLUSH, &echoing);
        fputc('\n', stderr);
    }
    s->password[line ? strcspn(s->password, "\r\n") : 0] = '\0';
    return s->password[0] ? 0 : refuse("there is no password in %s", from);
}

static int take_password(struct serve *s)
{
    const char *file = s->call->value[OPTION_PASSWORD_FILE];
    FILE *f;
    int rc;

    if (s->call->value[OPTION_PASSWORD])
        return read_password(s, stdin, "the standard input");
    if (!file)
        return 0;
    f = fopen(file, "re");
    if (!f)
        return refuse("cannot read the password file %s: %s", file, strerror(errno));
    rc = read_password(s, f, file);
    fclose(f);
    return rc;
}

/* --no-password-danger: a pg_hba.conf of our own, in memory. */
static int take_trust(struct serve *s)
{
    static const char hba[] = "local all all trust\nlocal replication all trust\n"
                              "host all all all trust\nhost replication all all trust\n";
    int fd;

    if (!s->call->value[OPTION_NO_PASSWORD])
        return 0;
    fd = memfd_create("pg_hba.conf", MFD_CLOEXEC);
    if (fd < 0 || write(fd, hba, sizeof(hba) - 1) < 0)
        return refuse("cannot make a pg_hba.conf in memory: %s", strerror(errno));
    snprintf(s->hba, sizeof(s->hba), "hba_file=/proc/self/fd/%d", fd);
    add_setting(s, s->hba);
    return 0;
}

/* Sockets that systemd listens on for us (sd_listen_fds(3)). */
static int take_activation(struct serve *s)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    int n = pid && count && atol(pid) == getpid() ? atoi(count) : 0;

    if (n > 16)
        return refuse("systemd hands over %d sockets; 16 are possible", n);
    for (int i = 0; i < n; i++) {
        struct sockaddr_storage at = {0};
        socklen_t size = sizeof(at);

        fcntl(SYSTEMD_FDS + i, F_SETFD, FD_CLOEXEC);
        snprintf(s->fds[i], sizeof(s->fds[i]), "fd:%d", SYSTEMD_FDS + i);
        getsockname(SYSTEMD_FDS + i, (struct sockaddr *)&at, &size);
        if (at.ss_family == AF_INET || at.ss_family == AF_INET6)
            s->tcp[s->ntcp++] = s->fds[i];
        else
            s->listen[s->nlisten++] = s->fds[i];
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    return 0;
}

static bool is_socket_in(int fd, const char *dir)
{
    struct sockaddr_un at = {0};
    socklen_t size = sizeof(at);
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", dir);
    return getsockname(fd, (struct sockaddr *)&at, &size) == 0 && strcmp(at.sun_path, path) == 0;
}

/* The socket's directory: absolute, even when it is not there yet. */
static int take_socket(struct serve *s)
{
    const char *dir = s->call->value[OPTION_SOCKET];
    char cwd[PATH_MAX], full[PATH_MAX];

    if (!dir && s->nlisten + s->ntcp > 0) /* systemd's are enough */
        return 0;
    if (!dir)
        dir = s->dir;
    if (dir[0] != '/' && !getcwd(cwd, sizeof(cwd)))
        return refuse("there is no current directory");
    if (snprintf(s->socket, sizeof(s->socket), "%s%s%s", dir[0] == '/' ? "" : cwd,
                 dir[0] == '/' ? "" : "/", dir) >= (int)sizeof(s->socket))
        return refuse("the path of the socket's directory is too long");
    if (realpath(dir, full)) /* when it is there */
        strcpy(s->socket, full);
    for (int i = 0; i < s->nlisten; i++) /* one of systemd's may be there already */
        if (is_socket_in(atoi(s->listen[i] + strlen("fd:")), s->socket))
            return 0;
    s->listen[s->nlisten++] = s->socket;
    return 0;
}

static int take_options(struct serve *s)
{
    struct target t;
    const char *tcp = s->call->value[OPTION_TCP], *fd = s->call->value[OPTION_READY_FD];
    int rc = target_name(&t, s->call->nwords ? s->call->words[0] : NULL);

    strcpy(s->dir, t.dir);
    s->nown = s->call->nsettings;
    if (rc == 0 && fd && (strspn(fd, "0123456789") != strlen(fd) || fcntl(atoi(fd), F_GETFD) < 0))
        rc = misuse(s->call, "--ready-fd %s is no open descriptor", fd);
    if (rc == 0)
        rc = take_activation(s);
    if (rc == 0)
        rc = take_socket(s);
    if (rc == 0 && tcp)
        rc = take_tcp(s, tcp);
    if (rc == 0)
        rc = take_tls(s);
    if (rc == 0)
        rc = take_trust(s);
    return rc == 0 ? take_password(s) : rc;
}

/* ---- passwords ------------------------------------------------------------------------------ */

#define WHY_SIZE 4096 /* why it is refused, said when the database is closed again */

static int set_password(struct serve *s, PGconn *conn, char why[WHY_SIZE])
{
    const char *user = PQuser(conn);
    char *hashed = PQencryptPasswordConn(conn, s->password, user, "scram-sha-256");
    char *name = PQescapeIdentifier(conn, user, strlen(user));
    char *literal = hashed ? PQescapeLiteral(conn, hashed, strlen(hashed)) : NULL;
    char sql[2048];
    PGresult *res = NULL;
    int rc = 1;

    if (name && literal) {
        snprintf(sql, sizeof(sql), "alter role %s password %s", name, literal);
        res = PQexec(conn, sql);
    }
    if (PQresultStatus(res) == PGRES_COMMAND_OK)
        rc = 0;
    else
        snprintf(why, WHY_SIZE, "cannot set the password: %s", PQerrorMessage(conn));
    explicit_bzero(s->password, sizeof(s->password));
    PQclear(res);
    PQfreemem(hashed);
    PQfreemem(name);
    PQfreemem(literal);
    return rc;
}

#define NOBODY "nobody has a password yet; give one with --password or --password-file"

/* May strangers be let to the port?  The answer to `sql` is the reason why not. */
static int check_access(struct serve *s, PGconn *conn, char why[WHY_SIZE])
{
    static const char sql[] =
        "select coalesce("
        "(select format('line %s of %s lets everybody in who reaches the port (trust)', "
        "line_number, "
        "current_setting('hba_file')) from pg_hba_file_rules where type like 'host%' and "
        "auth_method = 'trust' limit 1), "
        "case when not exists (select from pg_authid where rolcanlogin and rolpassword is not "
        "null) "
        "and not exists (select from pg_hba_file_rules where type like 'host%' and auth_method not "
        "in ('trust', 'reject', 'scram-sha-256', 'md5', 'password')) "
        "then '" NOBODY "' end)";
    PGresult *res;
    int rc = 1;

    if (s->call->value[OPTION_NO_PASSWORD])
        return 0;
    res = PQexec(conn, sql);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        snprintf(why, WHY_SIZE, "cannot read who may connect: %s", PQerrorMessage(conn));
    else if (!PQgetisnull(res, 0, 0))
        snprintf(why, WHY_SIZE, "TCP is refused: %s", PQgetvalue(res, 0, 0));
    else
        rc = 0;
    PQclear(res);
    return rc;
}

/* ---- opening and closing ------------------------------------------------------------------------
 */

static void log_line(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static void add_uri(struct serve *s)
{
    size_t used = strlen(s->uris);
    const char *uri = calf_uri(s->db);

    if (uri)
        snprintf(s->uris + used, sizeof(s->uris) - used, "%s\n", uri);
}

/* A setting that somebody made, not its default: its value in `out`. */
static bool was_set(PGconn *conn, const char *name, char *out, size_t size)
{
    PGresult *res = PQexecParams(
        conn, "select setting from pg_settings where name = $1 and source <> 'default'", 1, NULL,
        &name, NULL, NULL, 0);
    bool set = PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1;

    if (set)
        snprintf(out, size, "%s", PQgetvalue(res, 0, 0));
    PQclear(res);
    return set;
}

/* As in a shell's double quotes, which is how pg_ctl reads it. */
static void put_quoted(FILE *f, const char *text)
{
    fputs(" \"", f);
    for (; *text; text++) {
        if (strchr("\"\\$`", *text))
            putc('\\', f);
        putc(*text, f);
    }
    putc('"', f);
}

/*
 * postmaster.opts, from which pg_ctl restart takes the command line: its first word ends before
 * ` "`.  PostgreSQL has written its own, which names a program that is in no file system.  What
 * cannot be repeated is left out: the background is pg_ctl's, and a password stays set.
 */
static int write_opts(struct serve *s, char why[WHY_SIZE])
{
    char path[PATH_MAX + 32], exe[PATH_MAX], full[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    FILE *f;

    snprintf(path, sizeof(path), "%s/postmaster.opts", calf_directory(s->db));
    f = n < 0 ? NULL : fopen(path, "we");
    if (!f) {
        snprintf(why, WHY_SIZE, "cannot write %.3900s: %s", path, strerror(errno));
        return 1;
    }
    exe[n] = '\0';
    fputs(exe, f);
    put_quoted(f, "serve");
    put_quoted(f, calf_directory(s->db));
    for (const struct option_row *o = s->call->command->options; o->id != OPTION_END; o++) {
        const char *value = s->call->value[o->id];
        bool file = o->value && strcmp(o->value, "FILE") == 0;
        char option[64];

        if (!value || o->id == OPTION_SETTING || o->id == OPTION_DETACH ||
            o->id == OPTION_READY_FD || o->id == OPTION_PASSWORD || o->id == OPTION_PASSWORD_FILE)
            continue;
        snprintf(option, sizeof(option), "--%s", o->name);
        put_quoted(f, option);
        if (o->id == OPTION_SOCKET)
            value = s->socket;
        else if (file && realpath(value, full))
            value = full;
        if (o->value)
            put_quoted(f, value);
    }
    for (int i = 0; i < s->nown; i++) {
        put_quoted(f, "-c");
        put_quoted(f, s->call->settings[i]);
    }
    putc('\n', f);
    if (fclose(f) == 0)
        return 0;
    snprintf(why, WHY_SIZE, "cannot write %.3900s: %s", path, strerror(errno));
    return 1;
}

/* Who may use the socket is PostgreSQL's to say (unix_socket_permissions, unix_socket_group), when
 * it says something; else only its owner may. */
static int share_socket(struct serve *s, PGconn *conn, char why[WHY_SIZE])
{
    char path[PATH_MAX + 32], mode[16], name[64];
    struct group *group = NULL;

    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", s->socket);
    if (!s->socket[0])
        return 0;
    if (was_set(conn, "unix_socket_group", name, sizeof(name)) && name[0] &&
        (!(group = getgrnam(name)) || chown(path, (uid_t)-1, group->gr_gid) < 0)) {
        snprintf(why, WHY_SIZE, "cannot give the socket %.3900s to the group %s: %s", path, name,
                 group ? strerror(errno) : "there is no such group");
        return 1;
    }
    if (was_set(conn, "unix_socket_permissions", mode, sizeof(mode)) &&
        chmod(path, (mode_t)strtol(mode, NULL, 8)) < 0) {
        snprintf(why, WHY_SIZE, "cannot give the socket %.3900s the mode %s: %s", path, mode,
                 strerror(errno));
        return 1;
    }
    return 0;
}

void raise_descriptors(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* calf_open(), also of a directory whose server has just removed its lock file, but still ends:
 * pg_ctl restart does not wait for more. */
static int open_soon(struct serve *s, const struct calf_options *o, int *stopped,
                     struct calf_error *err)
{
    struct timespec step = {0, 20000000};
    struct calf_status st;

    for (int tries = 0;; tries++) {
        int rc = open_watched(s->dir, o, &s->db, stopped, err);

        if (rc != CALF_HELD || *stopped || tries == 500 ||
            calf_look(s->dir, &st, NULL) != CALF_OK || (st.state == CALF_OPEN && st.pid))
            return rc;
        nanosleep(&step, NULL);
    }
}

/* A session of ours.  What it does is not logged, whatever the configuration says of others. */
static PGconn *own_session(struct serve *s)
{
    static const char *const keys[] = {"dbname", "application_name", "options", NULL};
    const char *values[] = {calf_dsn(s->db), "calf",
                            "-c log_statement=none -c log_min_duration_statement=-1 "
                            "-c log_min_duration_sample=-1 -c log_transaction_sample_rate=0 "
                            "-c log_duration=off -c log_disconnections=off",
                            NULL};

    return PQconnectdbParams(keys, values, 1);
}

static int open_database(struct serve *s)
{
    struct calf_options o = {.size = sizeof(o),
                             .settings = s->call->settings,
                             .log_file = s->call->value[OPTION_LOG],
                             .listen = s->listen};
    char why[WHY_SIZE] = "";
    struct calf_status st;
    struct calf_error err;
    PGconn *conn;
    int rc, stopped;

    raise_descriptors();
    if (!o.log_file && s->call->value[OPTION_DETACH])
        o.log = log_line; /* until it serves to the caller, then to a file */
    else if (!o.log_file)
        o.log_fd = 2;
    if (calf_look(s->dir, &st, &err) != CALF_OK)
        return refuse_error(&err);
    if (st.state == CALF_ABSENT && s->ntcp > 0 && !s->password[0] &&
        !s->call->value[OPTION_NO_PASSWORD])
        return refuse("TCP is refused: %s is new, and so " NOBODY, s->dir);
    if (open_soon(s, &o, &stopped, &err) != CALF_OK) {
        err.text[strcspn(err.text, "\n")] = '\0'; /* PostgreSQL's words were in the log */
        return refuse_error(&err);
    }
    if (stopped)
        kill(getpid(), stopped); /* wait_for_stop() takes it */
    if (st.state == CALF_ABSENT)
        fprintf(stderr, "calf: made a new database in %s\n", s->dir);
    add_uri(s);
    conn = own_session(s);
    rc = share_socket(s, conn, why);
    if (rc == 0 && s->password[0])
        rc = set_password(s, conn, why);
    if (rc == 0 && s->ntcp > 0)
        rc = check_access(s, conn, why);
    PQfinish(conn);
    if (rc == 0)
        rc = write_opts(s, why);
    for (int i = 0; rc == 0 && i < s->ntcp; i++) {
        rc = calf_listen(s->db, s->tcp[i], &err) == CALF_OK ? 0 : 1;
        if (rc == 0)
            add_uri(s);
        else
            strcpy(why, err.text);
    }
    if (rc == 0)
        return 0;
    calf_close(s->db, CALF_FAST, NULL);
    why[strcspn(why, "\n")] = '\0';
    return refuse("%s", why);
}

/* ---- telling ----------------------------------------------------------------------------------
 */

/* A state for systemd, sd_notify(3), when it started us. */
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd;

    if (!path || strlen(path) >= sizeof(un.sun_path))
        return;
    strcpy(un.sun_path, path);
    if (*path == '@')
        un.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un,
                          offsetof(struct sockaddr_un, sun_path) + (socklen_t)strlen(path)) < 0)
        refuse("cannot tell systemd %s: %s", state, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* What was printed until now, to a descriptor. */
static void hand_over(struct serve *s, int to)
{
    char buf[4096];
    off_t at = 0;
    ssize_t n;

    while ((n = pread(s->before, buf, sizeof(buf), at)) > 0 && write(to, buf, (size_t)n) == n)
        at += n;
}

/* The parent may end; what is printed from now on is in the log. */
static void end_detaching(struct serve *s)
{
    char path[PATH_MAX + 32];
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), log;

    if (s->call->value[OPTION_LOG])
        snprintf(path, sizeof(path), "%s", s->call->value[OPTION_LOG]);
    else
        snprintf(path, sizeof(path), "%s/calf.log", s->dir);
    log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    flockfile(stderr); /* so that log_line() does not come between */
    if (log >= 0)
        hand_over(s, log);
    dup2(log >= 0 ? log : null, 2);
    funlockfile(stderr);
    dup2(null, 0);
    dup2(null, 1);
    close(null);
    close(s->before);
    close(s->caller);
    if (log >= 0)
        close(log);
    prctl(PR_SET_PDEATHSIG, 0);
    if (write(s->ready, "", 1) != 1)
        refuse("nobody waits for the server any more");
    close(s->ready);
}

static void tell_ready(struct serve *s)
{
    const char *fd = s->call->value[OPTION_READY_FD];
    PQconninfoOption *list = PQconninfoParse(strtok(strdup(s->uris), "\n"), NULL);
    const char *user = "", *host = "";

    for (PQconninfoOption *o = list; o && o->keyword; o++) {
        if (strcmp(o->keyword, "user") == 0 && o->val)
            user = o->val;
        if (strcmp(o->keyword, "host") == 0 && o->val)
            host = o->val;
    }
    printf("calf: serving %s; connect with: psql -h ", s->dir);
    print_shell(host);
    printf(" -U ");
    print_shell(user);
    printf("\n%s", s->uris);
    fflush(stdout);
    PQconninfoFree(list);
    if (fd) {
        dprintf(atoi(fd), "%s", s->uris);
        close(atoi(fd));
    }
    notify("READY=1");
    if (s->ready >= 0)
        end_detaching(s);
}

/* ---- serving
 * ------------------------------------------------------------------------------------- */

/* Until a signal says to stop: how.  But for SIGTERM they mean what they mean to a postmaster, so
 * that pg_ctl works; it has no use for SIGUSR2. */
static enum calf_close_mode wait_for_stop(struct serve *s, const sigset_t *set)
{
    struct timespec second = {1, 0};

    for (;;) {
        switch (sigtimedwait(set, NULL, &second)) {
        case SIGINT:
        case SIGTERM: return CALF_FAST;
        case SIGUSR2: return CALF_SMART;
        case SIGQUIT: return CALF_IMMEDIATE;
        case SIGHUP: calf_signal(s->db, SIGHUP, NULL); break;
        case SIGUSR1: calf_signal(s->db, SIGUSR1, NULL); break;
        default:
            if (!calf_healthy(s->db))
                return CALF_FAST;
        }
    }
}

/* Until it is closed. */
static int serve(struct serve *s)
{
    struct timespec now = {0, 0};
    struct calf_error err;
    enum calf_close_mode mode;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    while (sigtimedwait(&set, NULL, &now) > 0) /* open_watched()'s own */
        ;
    tell_ready(s);
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    mode = wait_for_stop(s, &set);
    notify("STOPPING=1");
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGQUIT);
    close_hurried(s->db, mode, &set, &err);
    return err.text[0] ? refuse("%s; its messages say why", err.text) : 0;
}

/* In a child, of which the parent waits for the beginning.  Until then what it prints is kept: for
 * the caller when it refuses, else for the log. */
static int detach(struct serve *s)
{
    int ends[2], status, rc;
    sigset_t none;
    char byte;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0)
        return refuse("cannot start a process: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* Ctrl-C ends the parent, as long as it waits */
        close(ends[0]);
        s->ready = ends[1];
        s->caller = fcntl(2, F_DUPFD_CLOEXEC, 3);
        s->before = memfd_create("messages", MFD_CLOEXEC);
        dup2(s->before, 2);
        setsid();
        rc = open_database(s);
        if (rc == 0)
            return serve(s);
        hand_over(s, s->caller);
        return rc;
    }
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    close(ends[1]);
    if (read(ends[0], &byte, 1) == 1)
        return 0;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int command_serve(struct call *c)
{
    struct serve s = {.call = c, .ready = -1};
    int rc = take_options(&s);

    if (rc != 0)
        return rc;
    block_signals();
    if (c->value[OPTION_DETACH])
        return detach(&s);
    rc = open_database(&s);
    return rc == 0 ? serve(&s) : rc;
}

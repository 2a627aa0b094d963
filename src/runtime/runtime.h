/*
 * runtime.h - PostgreSQL as a product: where the images are, clusters, starting, stopping
 *
 * Functions return 0 or -1 and fill `err` (never NULL) with a sentence that
 * names the thing and says what to do.  One thread at a time per object.
 */
#ifndef CALF_RUNTIME_H
#define CALF_RUNTIME_H

#include "../../include/calf.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct archive_entry;

#define SERVER_SETTINGS_MAX 23
#define SUPERUSER "postgres" /* when nothing else is said */
#define SUPERUSER_SIZE 64    /* NAMEDATALEN */
#define SERVER_PORT "5432"   /* names the socket file; nothing listens on TCP */

/* Always -1, so that a refusal is one statement. */
int fail(struct calf_error *err, enum calf_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * May a variable of the host's environment act on what is inside?  Those of libpq and PostgreSQL
 * only where they add to a connection; the others would lead it elsewhere, or refuse it.
 */
bool environment_adds(const char *name);

/* A PostgreSQL built for calf: below `root` are its bin, lib and share. */
struct install {
    char root[PATH_MAX];
    const struct archive_entry *template; /* a closed cluster to copy; NULL: none */
    int major;
};

/* What this library or program carries, or the directory that $CALF_PG names. */
int install_find(struct install *out, struct calf_error *err);

/* ---- lock.c ------------------------------------------------------------------ */

/*
 * Take calf's lock on a data directory.  Returns a descriptor that holds it (it
 * dies with the process, so nothing is ever left behind), or -1 with the
 * holder's pid in the text.  *stale: the pid in a dead server's postmaster.pid, or 0.
 */
int lock_directory(const char *dir, pid_t *stale, struct calf_error *err);
void unlock_directory(int fd); /* and closes it; negative ones pass */

struct holder {
    pid_t pid;  /* 0: it is just starting */
    bool stock; /* it listens itself: a stock server, or `calf postgres` */
    bool on_tcp;
    long long since; /* seconds since 1970 */
    int port;        /* these two: of the socket that PostgreSQL made itself */
    char socket_dir[PATH_MAX];
};
/* A killed process is a zombie while its other threads still end, and with them what it held. */
bool process_is_dying(pid_t pid);
/* Who has the directory open: 1 and *out, 0: nobody, or -1.  Is in nobody's way. */
int lock_holder(const char *dir, struct holder *out, struct calf_error *err);

/* ---- log.c ------------------------------------------------------------------- */

#define LOG_SIZE (64 << 10)
/* A descriptor for PostgreSQL's stderr that keeps the first LOG_SIZE bytes, or -1. */
int log_memory(struct calf_error *err);
/* The last of what it has, as much as fits before a '\0'; its length. */
size_t log_text(int fd, char *text, size_t size);

/* ---- copy.c ------------------------------------------------------------------ */

/* As a clone where the file system can; -1 and errno. */
int copy_file(int from_dir, int to_dir, const char *name);
int write_all(int fd, const void *data, size_t size);                     /* -1 and errno */
int write_file(int dir, const char *name, const void *data, size_t size); /* a new one; -1 */
int directory_empty(const char *dir);                                     /* 1 or 0; -1 and errno */
/* Removes all that is in `dir`, the file `last` (if not NULL) at the end. */
void remove_contents(const char *dir, const char *last);

#define CONTROL_SIZE 8192 /* PG_CONTROL_FILE_SIZE */

/* A data directory that becomes a copy of another; the lock of `to` is held until copy_end(). */
struct copy {
    int from, to;        /* directories */
    bool made;           /* `to` was not there */
    char path[PATH_MAX]; /* of `to`, absolute */
    unsigned char control[CONTROL_SIZE];
};

/* `from` is absolute; `to` is made, or is empty or an unfinished copy. */
int copy_begin(struct copy *c, const char *from, const char *to, struct calf_error *err);
int copy_refuses_tablespaces(const struct copy *c, struct calf_error *err);
/* What is of one server's run, or comes from copy_control(); for copy_files(). */
bool copy_leaves_out(int dir, const char *path);
int copy_files(struct copy *c, bool (*skip)(int dir, const char *path), struct calf_error *err);
int copy_control(struct copy *c, struct calf_error *err); /* keeps pg_control for the end */
/* keep: the copy is complete, and on disk when this returns; else nothing of it is left. */
int copy_end(struct copy *c, bool keep, struct calf_error *err);
/* Is `dir` a copy that did not end? */
bool copy_unfinished(const char *dir);

/* ---- template.c -------------------------------------------------------------- */

/*
 * Make the empty directory `dir` a cluster: a copy of in->template with an identity of its own.
 * durable: it is on disk when this returns.
 */
int template_copy(const struct install *in, const char *dir, bool durable, struct calf_error *err);
/* Is in `dir` only what a copy left that did not end? */
bool template_unfinished(const char *dir);
/* Removes it, and nothing otherwise.  Under the directory's lock. */
void template_sweep(const char *dir);
/* Removes the cluster that was made in `dir`, as one that did not end.  Under the directory's lock.
 */
void template_undo(const char *dir);
/* Where the checksum of pg_control is: the first place that holds the checksum of all before it;
 * 0: nowhere. */
size_t control_checksum(const unsigned char *control);

/* ---- extensions.c ------------------------------------------------------------ */

struct kernel;
/* Binds what is in the directories (DIR:DIR...) into PostgreSQL's own.  CALF_MISUSE names one that
 * is not there. */
int extensions_bind(struct kernel *k, const struct install *in, const char *dirs,
                    struct calf_error *err);

/* ---- server.c ---------------------------------------------------------------- */

/* What is in a directory: nothing yet (absent, empty, or a creation that did not end), a cluster of
 * this major version, or FOUND_ERROR and err. */
enum found { FOUND_NOTHING, FOUND_CLUSTER, FOUND_ERROR };
enum found server_look(const char *dir, int major, struct calf_error *err);

/* In the data directory: the URIs of an open database.  Base backups leave out what is in
 * pg_stat_tmp. */
#define LISTEN_FILE "pg_stat_tmp/calf.listen"

struct server;

/* A server has no socket of its own: see server_connect() and server_hand_in(). */
struct server_options {
    const char *dir;             /* created, with its cluster, when absent */
    const char *const *settings; /* name=value as for -c, NULL-terminated; NULL: none */
    int log_fd;                  /* PostgreSQL's stderr; borrowed until stopped */
    const char *extension_path;  /* as in calf_options */
    const char *superuser;       /* NULL: SUPERUSER; of a new cluster, and for server_run() */
    /* of a new cluster */
    const char *encoding, *locale; /* NULL: UTF8, C.UTF-8 */
    const char *icu_locale;        /* NULL: the locale provider is libc */
    bool no_checksums;
    bool volatile_data; /* it will not outlive the machine: nothing is synced to disk */
    /* Called with `context` when the directory is locked and has its cluster, before PostgreSQL
     * starts; the other when that fails, before what was made is removed. */
    int (*prepare)(void *context, struct server *s, struct calf_error *err);
    void (*unprepare)(void *context);
    void *context;
};

/* Returns when the server accepts sessions.  When it fails, what it made is gone. */
int server_start(const struct install *in, const struct server_options *o, struct server **out,
                 struct calf_error *err);
/* How PostgreSQL names them: smart waits for sessions, fast ends them, immediate recovers later. */
enum stop_mode { STOP_SMART, STOP_FAST, STOP_IMMEDIATE };
void server_signal_stop(struct server *s, enum stop_mode mode); /* any thread */
void server_signal(struct server *s, int sig);                  /* to the postmaster; any thread */
int server_wait(struct server *s); /* for the postmaster's end: its wait status */
/* Ends what is left of it and frees everything; NULL is allowed. */
void server_release(struct server *s);
/* The same, and what server_start() made is gone: the cluster, its directory. */
void server_undo(struct server *s);
bool server_is_alive(struct server *s); /* any thread */
/* A connected descriptor of the host, or -errno.  Any thread. */
int server_connect(struct server *s);
/* Gives the server a connection that the host accepted; takes fd; 0 or -errno.  Any thread. */
int server_hand_in(struct server *s, int fd);
/* Those that it has not accepted yet; -EAGAIN: server_start() has not returned. */
int server_handed_in(struct server *s);
const char *server_directory(const struct server *s); /* absolute */
/* No server, only a place for server_run(): its programs have the host's environment.  NULL and
 * err. */
struct server *server_none(const struct install *in, struct calf_error *err);
/*
 * Start one of PostgreSQL's programs as a process beside the server.  argv[0] is its
 * name; fds become 0, 1, 2; PGHOST, PGPORT, PGUSER, PGDATABASE point to the server.
 * Returns its pid or -1.
 */
pid_t server_run(struct server *s, char *const argv[], const int fds[3], struct calf_error *err);
int server_run_wait(struct server *s, pid_t pid);           /* wait status */
void server_run_kill(struct server *s, pid_t pid, int sig); /* any thread */

#endif

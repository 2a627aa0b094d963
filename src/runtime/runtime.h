/*
 * runtime.h - PostgreSQL as a product: where the images are, clusters, starting, stopping
 *
 * Functions return 0 or -1 and fill `err` (never NULL) with a sentence that
 * names the thing and says what to do.  One thread at a time per object.
 */
#ifndef CALF_RUNTIME_H
#define CALF_RUNTIME_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#define SERVER_PORT "5432" /* names the socket file; nothing listens on TCP */

struct error {
    char text[1024];
};

/* Always -1, so that a refusal is one statement. */
int fail(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* An installed PostgreSQL built for calf. */
struct install {
    char bin[PATH_MAX], lib[PATH_MAX];
    int major;
};

/* $CALF_PG, or pg<major>/pgsql next to the running program. */
int install_find(struct install *out, struct error *err);

/* ---- lock.c ------------------------------------------------------------------ */

/*
 * Take calf's lock on a data directory.  Returns a descriptor that holds it (it
 * dies with the process, so nothing is ever left behind), or -1 with the
 * holder's pid in the text.  *stale: the pid in a dead server's postmaster.pid, or 0.
 */
int lock_directory(const char *dir, pid_t *stale, struct error *err);

/* ---- server.c ---------------------------------------------------------------- */

struct server_options {
    const char *dir;             /* created, with its cluster, when absent */
    const char *socket_dir;      /* NULL: the data directory */
    const char *const *settings; /* name=value as for -c, NULL-terminated; NULL: none */
    int log_fd;                  /* PostgreSQL's stderr; borrowed until stopped */
    bool quiet;                  /* no progress line while a cluster is created */
};

struct server;

/* Returns when the server accepts sessions. */
int server_start(const struct install *in, const struct server_options *o, struct server **out,
                 struct error *err);
/* How PostgreSQL names them: smart waits for sessions, fast ends them, immediate recovers later. */
enum stop_mode { STOP_SMART, STOP_FAST, STOP_IMMEDIATE };
void server_signal_stop(struct server *s, enum stop_mode mode); /* any thread */
void server_reload(struct server *s);                           /* any thread */
/* Waits for the postmaster's end and releases everything; its exit code. */
int server_wait(struct server *s);
const char *server_socket_dir(const struct server *s);
/*
 * Start one of PostgreSQL's programs as a process beside the server.  argv[0] is its
 * name; fds become 0, 1, 2; PGHOST, PGPORT, PGUSER, PGDATABASE point to the server.
 * Returns its pid or -1.
 */
pid_t server_run(struct server *s, char *const argv[], const int fds[3], struct error *err);
int server_run_wait(struct server *s, pid_t pid);           /* wait status */
void server_run_kill(struct server *s, pid_t pid, int sig); /* any thread */

#endif

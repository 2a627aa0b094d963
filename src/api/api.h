/*
 * api.h - what the files of src/api share
 *
 * A *database* is an open data directory.  Handles (calf_db) and libpq connections keep it open.
 * A connection knows its database by number, because the last handle may close it first.
 */
#ifndef CALF_API_H
#define CALF_API_H

#include "../runtime/runtime.h"

#include <pthread.h>
#include <stdint.h>

struct database;
struct listener;
struct pg_conn; /* libpq's PGconn */

/* `err`, or `own` where the caller of calf.h gave none; empty. */
struct calf_error *error_room(struct calf_error *err, struct calf_error *own);
int closed_handle(struct calf_error *err); /* CALF_MISUSE */

/* ---- fork.c ---------------------------------------------------------------------- */

/* Of database.c, listen.c, wire.c, libpq.c, handle.c; in the order in which they are taken. */
extern pthread_mutex_t databases_lock, lists_lock, wires_lock, links_lock, handles_lock;
/* Is this a child of a process that had a database open? */
bool forked(void);
/* -1 and err if it is, else 0. */
int refuse_forked(struct calf_error *err);

/* ---- handle.c -------------------------------------------------------------------- */

enum handle_kind { HANDLE_DATABASE, HANDLE_WIRE };

/* A new handle for the object, or NULL and err. */
void *handle_new(enum handle_kind kind, void *object, struct calf_error *err);
/* NULL: it is none, of another kind, or was ended. */
void *handle_object(const void *handle, enum handle_kind kind);
void handle_end(const void *handle); /* an open one */

/* ---- database.c ------------------------------------------------------------------ */

/* Does this process have one open, or run a program?  `databases_lock` held. */
bool databases_any(void);
/* The handle's database, which does not close before database_unuse(); NULL: not open. */
struct database *database_use(calf_db *db);
/* The same to work with its server; NULL and err: it is not open, or in a forked child. */
struct database *database_work(calf_db *db, struct calf_error *err);
void database_unuse(struct database *d);
struct server *database_server(struct database *d);
struct listener **database_listeners(struct database *d);
const char *database_directory(struct database *d);
unsigned long database_number(struct database *d);
const char *database_superuser(struct database *d);
/*
 * The number of the database for `host=calf:PATH`, opened when it is not ("" is a temporary one),
 * as one connection more; 0 and err.
 */
unsigned long database_for_host(const char *path, struct calf_error *err);
/* A descriptor connected to it, as one connection more; or -errno. */
int database_connect(unsigned long number);
/* One connection less; the last one closes the database, unless handles hold it. */
void database_disconnect(unsigned long number);

/* ---- thread.c -------------------------------------------------------------------- */

int thread_start(pthread_t *thread, void *(*run)(void *), void *arg, struct calf_error *err);
int64_t now_ms(void); /* of CLOCK_MONOTONIC */

/* ---- log.c ----------------------------------------------------------------------- */

struct pump;
/* A thread that calls `log` with every line written to pump_fd(); `kept`, borrowed, gets it too. */
struct pump *pump_start(void (*log)(void *context, const char *line), void *context, int kept,
                        struct calf_error *err);
int pump_fd(const struct pump *p);
void pump_end(struct pump *p); /* after what was written so far */

/* ---- libpq.c --------------------------------------------------------------------- */

/* The host by which libpq, and drivers that hand it on, open the directory. */
#define HOST_SIZE (PATH_MAX * 3)
void host_of_path(char out[HOST_SIZE], const char *path);

/* A session of the superuser, for PQfinish(); fails when the database is closing. */
struct pg_conn *database_session(struct database *d);

/* ---- listen.c -------------------------------------------------------------------- */

/* Could it be listened on?  0, or -1 and err; nothing is changed. */
int listen_possible(const char *address, struct calf_error *err);
/* Who connects before PostgreSQL accepts sessions waits until it does. */
int listen_begin(struct database *d, const char *address, struct calf_error *err);
/* Ends the listener of that address, NULL: all.  False: there is none. */
bool listeners_close(struct database *d, const char *address);

#endif

/*
 * calf.h - PostgreSQL inside your process
 *
 *     struct calf_error err;
 *     calf_db *db;
 *
 *     if (calf_open("./data", NULL, &db, &err) != CALF_OK)
 *         return fprintf(stderr, "%s\n", err.text), 1;
 *     PGconn *conn = PQconnectdb(calf_dsn(db));      // libpq's own API, exported by libcalf
 *     PGresult *res = PQexec(conn, "select 6 * 7");
 *     ...
 *     PQfinish(conn);
 *     calf_close(db, CALF_FAST, NULL);
 *
 * A database here is a PostgreSQL data directory with all its databases, roles and sessions: one
 * postmaster and its children, as threads of this process.  Every connection is a session of its
 * own.  The directory is a stock one: a stock server of the same major version opens it as well,
 * just not at the same time.
 *
 * Without calf.h: a libpq connection string with `host=calf:/path/to/dir` opens that directory on
 * demand and closes it when the last such connection is gone, or so many milliseconds after that as
 * the environment variable CALF_LINGER says; `host=calf:` is a temporary database.  `/calf:` is the
 * same, for drivers that resolve other hosts themselves.  A comma in the path is written %2C, and a
 * percent sign before 2C or 25 as %25.  PGHOSTADDR, PGSERVICE and such do not matter.  Without
 * `user` it is postgres, the superuser unless the cluster was made with another one: where there is
 * no such role, PostgreSQL refuses the connection and says so.
 *
 * Threads: every function may be called by any thread at any time; a stack of 128 KB is enough.  A
 * handle that is closed, or NULL, is answered with CALF_MISUSE, never with a crash.
 *
 * Signals: while a database is open calf has handlers for one real-time signal (the highest that
 * is free, from SIGRTMAX - 1 down) and for SIGSTKFLT, SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT;
 * of the latter six it passes on what is not PostgreSQL's.  It changes nothing else: not the
 * working directory, the umask, the locale, the environment, limits, other signals or any
 * descriptor that it did not open.
 *
 * After fork() a child of a process that has a database open can execute programs; nothing of
 * calf's is inherited, no descriptor and no lock.  A child that goes on as a copy of its parent has
 * no PostgreSQL: what needs one is answered with CALF_MISUSE and a sentence, and so is host=calf:,
 * in this process and its children.  calf_healthy() is 0; calf_close() and calf_wire_close() give
 * the handle back and end nothing of the parent's; calf_dsn(), calf_directory(), calf_uri() and
 * calf_look() answer as ever.  A libpq connection of the parent's is not the child's to use, as
 * with any libpq: PQfinish() ends the parent's session.  A child has the ways that two processes
 * have: open databases after fork(), or connect to what calf_listen() began.  If no database was
 * open (lingering ones are), the child uses calf as if it had started by itself.
 *
 * exit() with a database open is what a crash is to a server: every commit that was
 * acknowledged is there when it is opened again.  One that only lingers is closed by exit().
 */
#ifndef CALF_H
#define CALF_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* What every function that can fail returns; calf_error.text then says it in a sentence. */
enum calf_code {
    CALF_OK = 0,
    CALF_MISUSE = 1,  /* a NULL or closed handle, an unknown value; nothing was done */
    CALF_HELD = 2,    /* another process has the directory open; the text names it */
    CALF_FOREIGN = 3, /* not a data directory and not empty; it was not touched */
    CALF_MAJOR = 4,   /* made by another major version of PostgreSQL */
    CALF_ACCESS = 5,  /* cannot be created, read or written: permissions, a missing parent */
    CALF_INSTALL = 6, /* PostgreSQL's files are missing or damaged */
    CALF_FAILED = 7,  /* PostgreSQL did not start; the text ends with what it said */
    CALF_SYSTEM = 8,  /* out of memory, threads, descriptors, disk space */
    CALF_ENDED = 9,   /* the session behind a wire has ended */
};

struct calf_error {
    enum calf_code code;
    char text[1024];
};

typedef struct calf_db calf_db;

/* What a crash of the process or of the machine can lose. */
enum calf_durability {
    CALF_DURABLE = 0, /* nothing that was committed */
    CALF_RELAXED = 1, /* the last fraction of a second of commits (synchronous_commit = off) */
    CALF_NONE = 2,    /* the whole database (also fsync and full_page_writes = off) */
};

/*
 * Set `size` to sizeof(struct calf_options) and leave at 0 what you do not care for.  All strings
 * are borrowed for the time of calf_open() only.  encoding, locale, icu_locale and no_checksums
 * matter when the cluster is created, the others when it is opened by the first of those who share
 * it.
 */
struct calf_options {
    size_t size;
    enum calf_durability durability; /* a temporary database has CALF_NONE always */
    const char *const *settings;     /* "name=value" as after postgres -c, NULL at the end */
    const char *log_file;            /* appended to; NULL: kept in memory (64 KB) for errors */
    const char *encoding;            /* NULL: UTF8 */
    const char *locale;              /* NULL: C.UTF-8 */
    int no_checksums;                /* 0: data pages carry checksums */
    /* Of a new cluster, and the user of calf_dsn(), calf_uri(), calf_run(); NULL: postgres. */
    const char *superuser;
    const char *icu_locale; /* ICU compares and sorts by it ("de-AT"); NULL: libc, by locale */
    /*
     * Instead of log_file (both: CALF_MISUSE): is called with every line of PostgreSQL's messages,
     * without its newline, valid for the call, by a thread of calf's: from calf_open() until the
     * database is closed, one call at a time per database.  It must not call calf, and a
     * slow one slows PostgreSQL down.  A line of more than 64 KB comes in pieces.
     */
    void (*log)(void *context, const char *line);
    void *log_context; /* for `log`; otherwise not looked at */
    /*
     * How many milliseconds the database stays open when it is in nobody's use: after calf_close()
     * (CALF_FAST) of the last handle, which returns at once, and the last `host=calf:` connection.
     * Whoever opens it meanwhile finds it open; what calf_listen() began goes on until then.  A
     * temporary database of calf_open() never lingers.  0: the last handle closes it.
     */
    int linger_ms;
    /*
     * Directories (DIR:DIR...) with extensions that PostgreSQL does not have itself, made for the
     * same major version.  Each is flat (control, SQL and .so files), an installation's prefix
     * (share/extension, lib; share/postgresql/17/extension, lib/postgresql/17/lib) or holds an
     * unpacked Debian package (usr/...).  One that is not there: CALF_MISUSE.  NULL: what the
     * environment variable CALF_EXTENSION_PATH says.
     */
    const char *extension_path;
    /*
     * Addresses as for calf_listen(), NULL at the end; NULL: none.  That they are free is looked
     * at before anything in the directory changes.
     */
    const char *const *listen;
    /*
     * Instead of log_file and log: a descriptor, not 0, that PostgreSQL's messages are written to,
     * duplicated by calf_open().  Those of a statement are there before its answer.
     */
    int log_fd;
};

/*
 * Open the data directory `path` and return when it accepts sessions.  Absent or empty, it is
 * created with an empty cluster; at the end of its postgresql.conf are settings for a program
 * beside others (32 MB of shared buffers, 256 MB of WAL), which are yours to change.  One that was
 * not closed is recovered.  path == NULL: a temporary database, in memory where the system has
 * /dev/shm, gone when it is closed.  Opening a directory that this process has open already shares
 * it; while another thread opens or closes it, this waits for that without a limit.  options may
 * be NULL; err may be NULL.  On failure *db is NULL and nothing that was made for it is left.
 * Errors: all but CALF_ENDED.
 */
int calf_open(const char *path, const struct calf_options *options, calf_db **db,
              struct calf_error *err);

/* As PostgreSQL names them: smart waits for the sessions to end, fast ends them, immediate stops
 * without a checkpoint, so that the next opening recovers. */
enum calf_close_mode { CALF_FAST = 0, CALF_SMART = 1, CALF_IMMEDIATE = 2 };

/*
 * Give the handle back.  The last handle of a directory closes it and returns when everything of
 * it is released: threads, descriptors, memory, the lock; unless it lingers (calf_options).  NULL
 * is allowed.  While it closes, other threads may call this again with the same handle, to hurry
 * it (smart, then fast, then immediate); all return when it is closed.  Where PostgreSQL had ended
 * by itself, err->text says how, and the result is CALF_OK all the same.  Errors: CALF_MISUSE.
 */
int calf_close(calf_db *db, enum calf_close_mode mode, struct calf_error *err);

/* 1 while the database accepts sessions (recovering from the crash of one included), else 0. */
int calf_healthy(calf_db *db);

/*
 * Give PostgreSQL's postmaster a signal: SIGHUP, to read its configuration again; SIGUSR1, to look
 * for the files `promote` and `logrotate` that pg_ctl writes.  Errors: CALF_MISUSE.
 */
int calf_signal(calf_db *db, int signal, struct calf_error *err);

/* A connection string for PQconnectdb() in this process: database postgres, the superuser.  Valid
 * until the handle is closed; NULL for a closed one. */
const char *calf_dsn(calf_db *db);

/*
 * For hosts that load libcalf by dlopen(), which then need no RTLD_GLOBAL: from now on libraries
 * that were built for libpq.so.5 (drivers, modules of interpreters) get libcalf's functions when
 * they are loaded, and `host=calf:` works in them; the system's libpq is not loaded.  For the whole
 * process and for good.  Where a program is linked with libcalf, or it was preloaded, that is so
 * from the beginning.  Errors: CALF_MISUSE (another libpq is loaded already, whose file the text
 * names; or libcalf.a is inside the program), CALF_SYSTEM.
 */
int calf_replace_libpq(struct calf_error *err);

/* The absolute path of the data directory; valid until the handle is closed, else NULL. */
const char *calf_directory(calf_db *db);

/* "0.1.0 (PostgreSQL 17)"; static. */
const char *calf_version(void);

/* The optional parts that were built into PostgreSQL ("icu", "openssl", "zstd" ...), sorted; NULL
 * at the end; static. */
const char *const *calf_features(void);

/*
 * Let other processes in.  `address` is a directory for the socket .s.PGSQL.5432 (absolute; created
 * with mode 0700 when absent; the socket has mode 0600), or "tcp:PORT", "tcp:ADDRESS:PORT": without
 * an ADDRESS only this machine's own programs can connect.  PORT 0 takes a free one.  Sessions over
 * TCP need a password (pg_hba.conf).  "fd:N" is a socket that listens already, for instance one
 * that systemd handed over; it is not taken.  Any number of addresses at a time.  Errors:
 * CALF_MISUSE, CALF_ACCESS (in use, not allowed), CALF_SYSTEM.
 */
int calf_listen(calf_db *db, const char *address, struct calf_error *err);

/*
 * The opposite, with the same address; the sessions that came through it go on.  NULL: all.
 * Errors: CALF_MISUSE (also: it does not listen there).
 */
int calf_unlisten(calf_db *db, const char *address, struct calf_error *err);

/*
 * A connection string (URI) for other processes, of the address that was listened on last; NULL
 * when there is none.  Valid until the next calf_listen(), calf_unlisten() or calf_close() of any
 * handle of the database.
 */
const char *calf_uri(calf_db *db);

/*
 * Run one of PostgreSQL's programs (psql, pg_dump, pgbench ...) inside this process, connected to
 * the database by default.  argv[0] is its name, argv ends with NULL; fds, borrowed, become its
 * standard input, output and error, NULL: the host's own.  Returns when it ends, CALF_OK whatever
 * its *exit_code (128 + N: ended by signal N).
 *
 * db == NULL: without a database, for programs that connect to where the environment says (PGHOST
 * ...), or that work on files (pg_controldata, pg_checksums, pg_verifybackup ...).  postgres is
 * then a server of its own, as its arguments say: it listens itself, its pid is this process's, so
 * that pg_ctl and other calfs find it, and it ends by calf_run_signal().
 * Errors: CALF_MISUSE, CALF_INSTALL (no such program), CALF_SYSTEM.
 */
int calf_run(calf_db *db, char *const argv[], const int fds[3], int *exit_code,
             struct calf_error *err);

/*
 * Give a signal (SIGINT, SIGTERM, SIGWINCH ...) to all programs that calf_run() runs on the
 * database just now, NULL: to those without a database.  They take it as if kill() had sent it.
 * Errors: CALF_MISUSE.
 */
int calf_run_signal(calf_db *db, int signal, struct calf_error *err);

/*
 * Copy the open database, with all that was committed before the call, while sessions go on: into
 * `path`, a directory that is absent (made with mode 0700), empty or an unfinished copy.  Where
 * the file system can (Btrfs, XFS), the copy shares the blocks of the original until one of both
 * changes them.  It is on disk when this returns, and a data directory for calf_open() and stock
 * servers, which recovers when it is opened first.  It has the same system identifier.  Left out,
 * as by pg_basebackup: the content of unlogged tables, replication slots.  The settings are in it,
 * an archive_command for instance.  Replication slots must be possible (wal_level,
 * max_replication_slots; by default they are).  On failure nothing is left.
 * Errors: CALF_MISUSE (also: there is a tablespace outside of the data directory, or `path` is
 * inside of it), CALF_FOREIGN (`path` is not empty), CALF_HELD (it is in use), CALF_ACCESS,
 * CALF_FAILED (PostgreSQL refused, or the database was closed meanwhile; the text says it),
 * CALF_SYSTEM.
 */
int calf_snapshot(calf_db *db, const char *path, struct calf_error *err);

/*
 * Copy the closed data directory `from`, which stays locked meanwhile, to `to`, with the same rules
 * and errors as calf_snapshot().  It is what cp -a --reflink would make: the same system
 * identifier, unlogged tables with their content; but no replication slots.  If it is
 * interrupted, `to` is neither opened by anybody nor in the way of the next attempt.  Errors:
 * also CALF_HELD when `from` is open anywhere, in this process too, and CALF_FOREIGN when it is no
 * data directory.
 */
int calf_clone(const char *from, const char *to, struct calf_error *err);

/*
 * A wire is a session of which you get the bytes: PostgreSQL's protocol, version 3, from the
 * startup packet (or SSLRequest, CancelRequest ...) on, for drivers that speak it themselves.
 * Any number of them; each is for one thread at a time, and another's call meanwhile is answered
 * with CALF_MISUSE.  A wire does not keep the database open: closing that ends the session.  The
 * wire is to be given back with calf_wire_close(), before or after.  Errors: CALF_MISUSE,
 * CALF_FAILED (the database does not accept sessions now), CALF_SYSTEM.
 */
typedef struct calf_wire calf_wire;
int calf_wire_open(calf_db *db, calf_wire **wire, struct calf_error *err);

/*
 * Send and receive.  *in_size bytes of `in` are to be sent, `out` has room for *out_size; returned
 * are how many were taken and how many came.  Returns as soon as anything moved in either
 * direction, which may be a part; after timeout_ms (-1: never, 0: at once) without that CALF_OK
 * and both 0.  Nothing to send, or no room, is allowed: a NULL for its size will do.  Who gives
 * room while there is something to send cannot hang: a session whose answers nobody takes stops
 * to read.  Errors (nothing moved): CALF_MISUSE, CALF_SYSTEM, CALF_ENDED when the session has ended
 * and all that it sent has been given.
 */
int calf_wire_exchange(calf_wire *wire, const void *in, size_t *in_size, void *out,
                       size_t *out_size, int timeout_ms, struct calf_error *err);

/* Give the wire back; its session ends.  NULL is allowed.  Errors: CALF_MISUSE. */
int calf_wire_close(calf_wire *wire, struct calf_error *err);

enum calf_state {
    CALF_ABSENT = 0,  /* nothing there, or an empty directory: calf_open() creates a cluster */
    CALF_CLOSED = 1,  /* a cluster that was closed in order */
    CALF_CRASHED = 2, /* one that was not: the next opening recovers it */
    CALF_OPEN = 3,    /* a process has it open, this one or another */
};

struct calf_status {
    enum calf_state state;
    /* CALF_OPEN only: */
    long pid;  /* the process; 0: it is just starting */
    int stock; /* it listens and takes signals as a stock server: it is one, or `calf postgres` */
    long long since; /* when it was opened, in seconds since 1970; 0: unknown */
    char uri[4096];  /* where it listens, for libpq; the newest of calf_listen(); "": nowhere */
    char socket_uri[4096]; /* the newest that is a Unix socket; "": none */
};

/*
 * Look at a data directory, whoever has it open, without changing it or being in anybody's way.  It
 * is what was true a moment ago.  On failure `status` is all zeros.  Errors: CALF_MISUSE,
 * CALF_FOREIGN (no data directory, or an unfinished copy), CALF_MAJOR, CALF_ACCESS.
 */
int calf_look(const char *path, struct calf_status *status, struct calf_error *err);

/*
 * The directory for an application's own data (XDG Base Directory: $XDG_DATA_HOME, else
 * ~/.local/share, then organisation/application), not created.  Writes at most `size` bytes.
 * The qualifier ("com") is for systems that call such a directory com.organisation.application;
 * Linux is none.  It and the organisation may be NULL.
 * Errors: CALF_MISUSE (too small, a name with '/'), CALF_ACCESS (no home directory).
 */
int calf_data_dir(const char *qualifier, const char *organisation, const char *application,
                  char *buf, size_t size, struct calf_error *err);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif

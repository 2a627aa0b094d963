/*
 * cli.h - what the files of the `calf` command share
 *
 * The command uses calf only through calf.h (and libpq, which libcalf exports).  A command is a row
 * of the table in commands.c, from which also its help, the man page and the shells' completions
 * are made.  Usage errors exit 2, refusals 1.
 */
#ifndef CALF_CLI_H
#define CALF_CLI_H

#include "../include/calf.h"

#include <libpq-fe.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* ---- commands.c: the table ---------------------------------------------------------- */

enum option_id {
    OPTION_END,
    OPTION_HELP,
    OPTION_LOG,
    OPTION_SETTING,
    OPTION_EXTENSIONS,
    OPTION_JSON,
    OPTION_SOCKET,
    OPTION_TCP,
    OPTION_EXPOSE,
    OPTION_NO_PASSWORD,
    OPTION_PASSWORD,
    OPTION_PASSWORD_FILE,
    OPTION_TLS_CERT,
    OPTION_TLS_KEY,
    OPTION_DETACH,
    OPTION_READY_FD,
    OPTION_MODE,
    OPTION_TIMEOUT,
    OPTION_ENV,
    OPTION_QUICK,
    OPTION_OPEN,
    OPTION_MAN,
    OPTION_OUTPUT,
    OPTION_FORMAT,
    OPTION_DATABASE,
    OPTION_ALL,
    OPTION_JOBS,
    OPTION_CLEAN,
    OPTION_KEEP_GOING,
    OPTION_OLD_BIN,
    OPTION_OLD_CALF,
    OPTION_KEEP_OLD,
    OPTION_CHECK,
    OPTION_COUNT,
};

struct option_row {
    enum option_id id;
    const char *name;  /* without -- */
    char letter;       /* 0: none */
    const char *value; /* what follows it, for the help; NULL: nothing */
    const char *help;  /* NULL: it is not shown */
};

struct call;
struct command {
    const char *name;
    const char *arguments; /* for the help; with "[-- " what follows -- is a program's */
    const char *brief;     /* half a sentence */
    const char *text;      /* the manual: paragraphs, lines that begin with a blank are examples */
    const struct option_row *options; /* ends with OPTION_END */
    int words_max; /* arguments that are no options; -1: a program's own follow */
    int (*run)(struct call *c);
};
extern const struct command commands[]; /* ends with a NULL name */

/* The command line of one command. */
#define SETTINGS_MAX 23 /* as many as calf_open() takes; it counts what serve adds as well */
#define SERVE_SETTINGS_MAX 4
struct call {
    const struct command *command;
    const char *value[OPTION_COUNT]; /* NULL: not given; "" for one without a value */
    const char *settings[SETTINGS_MAX + SERVE_SETTINGS_MAX + 1];
    int nsettings;
    char **words; /* the other arguments, NULL at the end */
    int nwords;
    char **rest; /* what follows --, NULL at the end; NULL: nothing */
};

void print_overview(FILE *out);

/* ---- main.c ------------------------------------------------------------------------- */

/* What to return after a message on standard error: 2 and a hint to the help; 1. */
int misuse(const struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int refuse_error(const struct calf_error *err);

/* ---- target.c: the directory that a command is about ---------------------------------- */

struct target {
    char dir[PATH_MAX];
    calf_db *db;         /* opened by this process; NULL: another one serves it */
    char uri[8192];      /* for PQconnectdb() */
    _Atomic int stopped; /* the signal that ended target_work(), or 0 */
};

/* The directory: `word`, else $CALF_DATA, else the application data directory (its parent is made).
 * 0, or an exit code after a message. */
int target_name(struct target *t, const char *word);
/*
 * Of libpq's variables only those stay that say who connects and how the session is: where to is
 * said by the command line.  Before anything connects.
 */
void forget_places(void);
/* SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGWINCH wait until somebody takes them; call it
 * before anything is opened.  SIGPIPE is ignored. */
void block_signals(void);
/*
 * Open the directory here, created when it is absent and `create`; where another process serves it,
 * that is used instead, and the environment (PGHOST ...) leads there.  0, or an exit code after a
 * message.  Give it back with target_close().
 */
int target_open(struct target *t, const struct call *c, bool create);
/*
 * The way in for ourselves: st->uri becomes that of a Unix socket where there is one, because that
 * asks for no password; and a stock server's superuser is postgres, or has the name of who ran
 * initdb, which is libpq's default: PGUSER is set where it must be.
 */
void find_entry(struct calf_status *st);
/* Run a program of PostgreSQL's on it; our signals are the program's.  fds as for calf_run(). */
int target_run(struct target *t, char *const argv[], const int fds[3]);
/*
 * Run `work` in a thread of its own.  SIGINT, SIGTERM, SIGHUP and SIGQUIT go to the programs that
 * it runs, until it returns; it looks at t->stopped between them.  Returns its result, or 128 + the
 * signal.
 */
int target_work(struct target *t, int (*work)(void *arg), void *arg);
/* For that: run a program and wait for its end.  Its exit code. */
int target_program(struct target *t, char *const argv[], const int fds[3]);
/* A session, or NULL after a message; in another database than postgres. */
PGconn *target_connect(struct target *t);
PGconn *target_connect_to(struct target *t, const char *database);
/* calf_open(), which recovers first and may take its time.  A signal that comes meanwhile is in
 * *stopped, else 0; once more and the process ends at once. */
int open_watched(const char *dir, const struct calf_options *options, calf_db **db, int *stopped,
                 struct calf_error *err);
/* Close a database; each of the signals that comes meanwhile makes it hurry more.  `err`, if not
 * NULL, is calf_close()'s. */
void close_hurried(calf_db *db, enum calf_close_mode mode, const sigset_t *signals,
                   struct calf_error *err);
/* Waits for sessions of other processes; Ctrl-C ends them. */
void target_close(struct target *t);

/* ---- programs.c -------------------------------------------------------------------------- */

/* PostgreSQL's programs, for completions; NULL at the end. */
extern const char *const program_names[];

/* ---- serve.c ------------------------------------------------------------------------------ */

/* The command's own process may have as many files open as it is allowed to. */
void raise_descriptors(void);

/* ---- man.c, completion.c ------------------------------------------------------------------ */

void print_man(void); /* calf.1, as roff */

/* ---- text.c ------------------------------------------------------------------------------ */

/* A string of JSON, with its quotes, on standard output. */
void print_json(const char *text);
/* As a shell reads it, with quotes where it needs them. */
void print_shell(const char *text);
/* In lines of at most `width` columns, all but the first indented; lines of `text` that begin with
 * a blank stay as they are. */
void print_text(const char *text, int indent, int width);
/* "38 MB"; static memory. */
const char *human_size(unsigned long long bytes);

/* ---- files.c ----------------------------------------------------------------------------- */

/* What the files of a directory, or a file, take on the disk. */
unsigned long long disk_usage(const char *path);
void remove_tree(const char *path);
/* A directory with nothing in it. */
bool is_empty(const char *path);
/* `from` takes the place of `to`, for good; 0, or -1 and errno. */
int move_into_place(const char *from, const char *to);
/* A file in memory with a path of its own, "/proc/self/fd/N"; -1 after a message. */
int memory_file(const char *text, char path[32]);
/* What is in it, from the beginning; to be freed. */
char *file_text(int fd);

/* ---- progress.c: a line on the terminal ---------------------------------------------------- */

/*
 * The line is there only where standard error is a terminal; otherwise all of this does nothing.
 * The counters belong to whoever works.
 */
struct progress {
    const char *doing, *noun; /* "dumping ./demo", "table" */
    _Atomic unsigned long long bytes, done,
        all;                             /* written; of these the ETA is made; all 0: none */
    _Atomic unsigned item, items;        /* items 0: unknown */
    void (*measure)(struct progress *p); /* before each drawing; may be NULL */
    void *owner;
    /* progress.c's own */
    bool shown;
    _Atomic bool ended;
    unsigned long thread, reader; /* pthread_t */
    int messages[2];
    void (*line)(struct progress *p, const char *line);
};
void progress_begin(struct progress *p);
void progress_end(struct progress *p);
/*
 * A standard error for programs, which progress_end() closes: `line` gets each of their lines, and
 * those that say more than what goes on ("pg_dump: reading ...") are shown.
 */
int progress_messages(struct progress *p, void (*line)(struct progress *p, const char *line));

/* ---- the commands ----------------------------------------------------------------------- */

int command_psql(struct call *c);
int command_serve(struct call *c);
int command_status(struct call *c);
int command_stop(struct call *c);
int command_url(struct call *c);
int command_run(struct call *c);
int command_doctor(struct call *c);
int command_extensions(struct call *c);
int command_completion(struct call *c);
int command_postgres(struct call *c);
int command_dump(struct call *c);
int command_restore(struct call *c);
int command_backup(struct call *c); /* clone as well */
int command_upgrade(struct call *c);
int command_help(struct call *c);

#endif

/*
 * backup.c - `calf backup`, `calf clone`: a copy of a whole data directory, verified
 *
 * A directory that is open is copied by pg_basebackup through its server, a closed one by
 * calf_clone().  The rule that matters: the copy is made and verified as DEST.part, and gets its
 * name only then, so DEST is never half a backup.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

struct backup {
    struct target target;
    struct call *call;
    char dest[PATH_MAX - 8], part[PATH_MAX];
    bool full;      /* backup, not clone: everything is read again */
    bool running;   /* it was copied from a server */
    bool checksums; /* its pages have them */
    int null;       /* /dev/null */
    struct progress progress;
};

/* ---- where to ---------------------------------------------------------------------------------
 */

/* DEST, absolute: its parent must be there. */
static int take_dest(struct backup *b, const char *word)
{
    char copy[PATH_MAX], again[PATH_MAX], parent[PATH_MAX], source[PATH_MAX];
    size_t n;

    if (strlen(word) >= sizeof(copy) - 8 || !*word)
        return refuse("the name of the copy is %s", *word ? "too long" : "empty");
    strcpy(copy, word);
    strcpy(again, word);
    if (!realpath(dirname(copy), parent))
        return refuse("cannot create %s: %s", word, strerror(errno));
    if (snprintf(b->dest, sizeof(b->dest), "%s/%s", parent, basename(again)) >=
        (int)sizeof(b->dest))
        return refuse("the name of the copy is too long");
    if (realpath(word, copy) && strlen(copy) < sizeof(b->dest)) /* when it is there */
        strcpy(b->dest, copy);
    sprintf(b->part, "%s.part", b->dest);
    if (access(b->dest, F_OK) == 0 && !is_empty(b->dest))
        return refuse("%s is there and no empty directory; name another one", word);
    if (access(b->part, F_OK) == 0)
        return refuse("%s was left by a copy that did not end; remove it first", b->part);
    n = realpath(b->target.dir, source) ? strlen(source) : 0;
    if (n && strncmp(b->dest, source, n) == 0 && (b->dest[n] == '/' || !b->dest[n]))
        return refuse("%s is inside of %s; name a place outside of it", word, b->target.dir);
    return 0;
}

/* ---- copying ------------------------------------------------------------------------------------
 */

static void measure(struct progress *p)
{
    struct backup *b = p->owner;

    p->bytes = p->done = disk_usage(b->part);
}

/* Tablespaces elsewhere would be copied to where they are. */
static int check_tablespaces(PGconn *conn)
{
    PGresult *res = PQexec(conn, "select spcname, pg_tablespace_location(oid) from pg_tablespace "
                                 "where pg_tablespace_location(oid) like '/%'");
    int rc = 0;

    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        rc = refuse("cannot ask for the tablespaces: %s", PQerrorMessage(conn));
    else if (PQntuples(res) > 0)
        rc =
            refuse("the tablespace %s is in %s, outside of the data directory; only what is in the "
                   "directory can be copied",
                   PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1));
    PQclear(res);
    return rc;
}

static void ignore_line(struct progress *p, const char *line)
{
    (void)p, (void)line;
}

static int copy_running(struct backup *b)
{
    const char *const argv[] = {"pg_basebackup",
                                "--pgdata",
                                b->part,
                                "--checkpoint=fast",
                                "--wal-method=fetch",
                                b->full ? NULL : "--no-manifest",
                                NULL};
    PGconn *conn = target_connect(&b->target);
    int rc = conn ? check_tablespaces(conn) : 1;

    if (rc == 0) {
        /* as long as this session lives, the server keeps the WAL; where there can be no slot,
         * pg_basebackup says so if it was missing something */
        PQclear(PQexec(conn, "select pg_create_physical_replication_slot('calf_backup_' || "
                             "pg_backend_pid(), true, true)"));
        rc = target_program(&b->target, (char *const *)argv,
                            (int[]){0, b->null, progress_messages(&b->progress, ignore_line)});
        if (rc != 0 && !b->target.stopped)
            rc = refuse("%s was not copied", b->target.dir);
    }
    PQfinish(conn);
    return rc;
}

/* In a child, which can be ended at any moment. */
static int copy_closed(struct backup *b)
{
    struct timespec step = {0, 20000000};
    struct calf_error err;
    pid_t pid = fork();
    int status;

    if (pid < 0)
        return refuse("cannot start a process: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(calf_clone(b->target.dir, b->part, &err) == CALF_OK ? 0 : refuse_error(&err));
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (b->target.stopped)
            kill(pid, SIGKILL);
        nanosleep(&step, NULL);
    }
    return status == 0 ? 0 : 1;
}

/* ---- verifying
 * ----------------------------------------------------------------------------------- */

/* A program on the copy's files; its messages are shown. */
static int check_files(struct backup *b, const char *program, const char *option, const char *means)
{
    const char *const argv[] = {program, option, b->part, NULL};
    struct target none = {.stopped = b->target.stopped};
    int rc = target_program(&none, (char *const *)argv, (int[]){0, b->null, 2});

    return rc == 0 || b->target.stopped ? rc : refuse("%s; the copy was not kept", means);
}

/*
 * Opened, so that it recovers, and closed.  It must not do what the original does elsewhere:
 * archive its WAL, follow publications, run jobs.
 */
static int open_copy(struct backup *b)
{
    static const char *const settings[] = {
        "archive_mode=off",          "max_logical_replication_workers=0",
        "shared_preload_libraries=", "autovacuum=off",
        "listen_addresses=",         NULL};
    struct calf_options o = {.size = sizeof(o), .settings = settings};
    struct calf_error err;
    calf_db *db;
    PGconn *conn;
    PGresult *res;
    int rc = calf_open(b->part, &o, &db, &err) == CALF_OK ? 0 : refuse_error(&err);

    if (rc != 0)
        return rc;
    conn = PQconnectdb(calf_dsn(db));
    res = PQexec(conn, "show data_checksums");
    if (PQresultStatus(res) == PGRES_TUPLES_OK)
        b->checksums = strcmp(PQgetvalue(res, 0, 0), "on") == 0;
    else
        rc = refuse("the copy does not answer: %s", PQerrorMessage(conn));
    PQclear(res);
    PQfinish(conn);
    calf_close(db, CALF_FAST, NULL);
    return rc;
}

static int verify(struct backup *b)
{
    char manifest[PATH_MAX + 32];
    int rc = 0;

    if (b->running && b->full)
        rc = check_files(b, "pg_verifybackup", "--quiet", "the copy is not what the server sent");
    /* opened, its files are others than the manifest's */
    snprintf(manifest, sizeof(manifest), "%s/backup_manifest", b->part);
    unlink(manifest);
    if (rc == 0 && !b->target.stopped)
        rc = open_copy(b);
    if (rc == 0 && b->full && b->checksums && !b->target.stopped)
        rc = check_files(b, "pg_checksums", "--check",
                         "pages of the copy are damaged, and so are those of the original");
    return rc;
}

/* ---- the command
 * ----------------------------------------------------------------------------------- */

static int work(void *arg)
{
    struct backup *b = arg;
    struct timespec begin, end;
    unsigned long long size;
    int rc;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    b->progress = (struct progress){.doing = "copying", .measure = measure, .owner = b};
    b->progress.all = disk_usage(b->target.dir);
    progress_begin(&b->progress);
    rc = b->running ? copy_running(b) : copy_closed(b);
    if (rc == 0) {
        b->progress.doing = "verifying";
        b->progress.all = 0;
        rc = verify(b);
    }
    progress_end(&b->progress);
    if (rc != 0 || b->target.stopped)
        return rc;
    if (move_into_place(b->part, b->dest) < 0)
        return refuse("cannot name the copy %s: %s", b->dest, strerror(errno));
    clock_gettime(CLOCK_MONOTONIC, &end);
    size = disk_usage(b->dest);
    printf("calf: %s is copied to %s: %s in %.1f s\n", b->target.dir, b->dest, human_size(size),
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    printf("calf: verified: %sit opens%s\n",
           b->running && b->full ? "its files are what the server sent, " : "",
           !b->full       ? ""
           : b->checksums ? ", the checksums of all pages are right"
                          : " (its pages have no checksums)");
    return 0;
}

int command_backup(struct call *c)
{
    struct backup b = {.call = c, .full = strcmp(c->command->name, "backup") == 0};
    struct calf_status st;
    struct calf_error err;
    int rc;

    if (c->nwords != 2)
        return misuse(c, "say what to copy and where to: DIR DEST");
    rc = target_name(&b.target, c->words[0]);
    if (rc == 0)
        rc = take_dest(&b, c->words[1]);
    if (rc != 0)
        return rc;
    block_signals();
    if (calf_look(b.target.dir, &st, &err) != CALF_OK)
        return refuse_error(&err);
    b.running = st.state == CALF_OPEN;
    if (b.running || st.state == CALF_ABSENT) /* that is refused */
        rc = target_open(&b.target, c, false);
    b.null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (rc == 0)
        rc = target_work(&b.target, work, &b);
    if (rc != 0)
        remove_tree(b.part);
    target_close(&b.target);
    return rc;
}

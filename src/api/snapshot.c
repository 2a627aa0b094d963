/*
 * snapshot.c - copies of a database: calf_snapshot() of an open one, calf_clone() of a closed one
 *
 * A snapshot is a base backup (PostgreSQL's manual, "Making a Base Backup Using the Low Level
 * API"): files copied while the server writes them, put right by the WAL from before to after the
 * copying, which the copy contains and which its first start replays.  pg_basebackup does the same
 * through a socket; this way the file system can share the blocks.
 *
 * The rule that matters: backup_label is in the copy before pg_control (copy.c), so that no server
 * starts on a copy without knowing that it has to recover.
 */
#include "api.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a snapshot -------------------------------------------------------------------------- */

/* A file of an unlogged table, which recovery empties by its fork "init". */
static bool is_unlogged(int dir, const char *name)
{
    size_t digits = strspn(name, "0123456789");
    char init[64];

    if (digits == 0 || digits > 20 || strncmp(name + digits, "_init", 5) == 0)
        return false;
    snprintf(init, sizeof(init), "%.*s_init", (int)digits, name);
    return faccessat(dir, init, F_OK, 0) == 0;
}

static bool leaves_out(int dir, const char *path)
{
    static const char *const files[] = {"backup_label", "tablespace_map", "backup_manifest"};
    const char *slash = strrchr(path, '/');

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (strcmp(path, files[i]) == 0)
            return true;
    return copy_leaves_out(dir, path) || strncmp(path, "pg_wal/", 7) == 0 ||
           (slash && is_unlogged(dir, slash + 1));
}

/* -1: what libpq says is the error. */
static int refused(PGconn *conn, struct calf_error *err)
{
    const char *text = PQerrorMessage(conn);

    return fail(err, CALF_FAILED, "cannot copy the database: %.*s", (int)strcspn(text, "\n"), text);
}

/* The result of a query that gives rows, or NULL and err. */
static PGresult *query(PGconn *conn, const char *sql, const char *const params[2],
                       struct calf_error *err)
{
    PGresult *res = PQexecParams(conn, sql, params ? 2 : 0, NULL, params, NULL, NULL, 0);

    if (PQresultStatus(res) == PGRES_TUPLES_OK)
        return res;
    refused(conn, err);
    PQclear(res);
    return NULL;
}

/* Its first value. */
static int ask(PGconn *conn, const char *sql, char *value, size_t size, struct calf_error *err)
{
    PGresult *res = query(conn, sql, NULL, err);

    if (!res)
        return -1;
    snprintf(value, size, "%s", PQgetvalue(res, 0, 0));
    PQclear(res);
    return 0;
}

/* A segment, which an archiver of the copy need not archive again. */
static int copy_segment(int from, int to, const char *name)
{
    char done[300];

    snprintf(done, sizeof(done), "archive_status/%s.done", name);
    return copy_file(from, to, name) < 0 || write_file(to, done, "", 0) < 0 ? -1 : 0;
}

static int copy_wal(const struct copy *c, PGresult *segments, struct calf_error *err)
{
    int from = openat(c->from, "pg_wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to = openat(c->to, "pg_wal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = from < 0 ? NULL : fdopendir(from);
    int rc = !d || to < 0 || mkdirat(to, "archive_status", 0700) < 0 ? -1 : 0;
    struct dirent *e;

    for (int i = 0; rc == 0 && i < PQntuples(segments); i++)
        rc = copy_segment(from, to, PQgetvalue(segments, i, 0));
    while (rc == 0 && (e = readdir(d)))
        if (strstr(e->d_name, ".history")) /* of timelines */
            rc = copy_segment(from, to, e->d_name);
    if (rc < 0)
        fail(err, CALF_SYSTEM, "cannot copy the WAL into %s: %s", c->path, strerror(errno));
    if (d)
        closedir(d);
    else if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return rc;
}

/* From the start of the backup to its end: the copy is complete but for what copy_end() does. */
static int back_up(PGconn *conn, struct copy *c, struct calf_error *err)
{
    static const char wal_of[] =
        "select pg_walfile_name('0/0'::pg_lsn + n * size + 1)"
        " from (select setting::numeric as size from pg_settings where name = 'wal_segment_size') "
        "w,"
        " generate_series(div($1::pg_lsn - '0/0', size), div($2::pg_lsn - '0/0' - 1, size)) n";
    PGresult *end = NULL, *segments = NULL;
    char start[64];
    int rc = -1;

    if (ask(conn, "select pg_is_in_recovery()", start, sizeof(start), err) < 0)
        return -1;
    if (start[0] == 't')
        return fail(err, CALF_FAILED,
                    "cannot copy a standby server; run pg_basebackup, or copy its primary");
    /* keeps the WAL until the session ends */
    if (ask(conn,
            "select pg_create_physical_replication_slot('calf_snapshot_' || pg_backend_pid(), "
            "true, "
            "true)",
            start, sizeof(start), err) < 0 ||
        ask(conn, "select pg_backup_start('calf_snapshot', true)", start, sizeof(start), err) < 0)
        return -1;
    if (copy_files(c, leaves_out, err) < 0 || copy_control(c, err) < 0)
        return -1;
    end = query(conn, "select lsn, labelfile from pg_backup_stop(false)", NULL, err);
    if (end)
        segments = query(conn, wal_of, (const char *[]){start, PQgetvalue(end, 0, 0)}, err);
    /* a tablespace that was made meanwhile: its WAL would make it in the same place again */
    if (segments && copy_refuses_tablespaces(c, err) == 0 && copy_wal(c, segments, err) == 0) {
        rc = write_file(c->to, "backup_label", PQgetvalue(end, 0, 1), PQgetlength(end, 0, 1));
        if (rc < 0)
            fail(err, CALF_SYSTEM, "cannot write backup_label into %s: %s", c->path,
                 strerror(errno));
    }
    PQclear(segments);
    PQclear(end);
    return rc;
}

int calf_snapshot(calf_db *db, const char *path, struct calf_error *err)
{
    struct calf_error own;
    struct database *d;
    PGconn *conn = NULL;
    struct copy c;
    int rc;

    err = error_room(err, &own);
    if (!path || !*path)
        return fail(err, CALF_MISUSE, "calf_snapshot() needs a directory"), CALF_MISUSE;
    d = database_work(db, err);
    if (!d)
        return err->code;
    rc = copy_begin(&c, server_directory(database_server(d)), path, err);
    if (rc < 0) {
        database_unuse(d);
        return err->code;
    }
    rc = copy_refuses_tablespaces(&c, err);
    if (rc == 0) {
        conn = database_session(d);
        rc = PQstatus(conn) == CONNECTION_OK ? back_up(conn, &c, err) : refused(conn, err);
    }
    database_unuse(d);
    PQfinish(conn); /* may close the database, which waits for its users */
    return copy_end(&c, rc == 0, err) < 0 ? (int)err->code : CALF_OK;
}

/* ---- a clone ----------------------------------------------------------------------------- */

/* Takes its lock; -1 and err where it is not a closed database. */
static int lock_closed(const char *dir, struct calf_error *err)
{
    static const char hint[] = "; calf_snapshot() copies an open one";
    char path[PATH_MAX + 32];
    pid_t stale;
    int fd = lock_directory(dir, &stale, err);

    if (fd < 0) {
        if (err->code == CALF_HELD)
            strncat(err->text, hint, sizeof(err->text) - strlen(err->text) - 1);
        return -1;
    }
    snprintf(path, sizeof(path), "%s/PG_VERSION", dir);
    if (access(path, R_OK) == 0 && !template_unfinished(dir) && !copy_unfinished(dir))
        return fd;
    unlock_directory(fd);
    return fail(err, CALF_FOREIGN, "%s is not a PostgreSQL data directory, or an unfinished one",
                dir);
}

int calf_clone(const char *from, const char *to, struct calf_error *err)
{
    struct calf_error own;
    char dir[PATH_MAX];
    struct copy c;
    int rc, lock;

    err = error_room(err, &own);
    if (!from || !*from || !to || !*to)
        return fail(err, CALF_MISUSE, "calf_clone() needs two directories"), CALF_MISUSE;
    if (!realpath(from, dir))
        return fail(err, CALF_ACCESS, "cannot open the data directory %s: %s", from,
                    strerror(errno)),
               CALF_ACCESS;
    lock = lock_closed(dir, err);
    if (lock < 0)
        return err->code;
    rc = copy_begin(&c, dir, to, err);
    if (rc == 0) {
        if (copy_refuses_tablespaces(&c, err) < 0 || copy_files(&c, copy_leaves_out, err) < 0 ||
            copy_control(&c, err) < 0)
            rc = -1;
        rc = copy_end(&c, rc == 0, err);
    }
    unlock_directory(lock);
    return rc < 0 ? (int)err->code : CALF_OK;
}

/*
 * dump.c - `calf dump`: pg_dump and pg_dumpall inside, into a file that appears when it is complete
 *
 * The rule that matters: the name that was asked for never has a part of a dump.  What is written
 * is called NAME.part until it is whole and on disk.
 *
 * Not possible: pg_dump -j, whose workers are forked without exec.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS_MAX 64

struct table {
    char *name; /* as pg_dump says it: schema.name */
    unsigned long long size;
};

struct dump {
    struct target target;
    struct call *call;
    const char *format, *compress;
    char output[PATH_MAX], part[PATH_MAX]; /* "": standard output; part "": straight to output */
    struct progress progress;
    struct table *tables; /* sorted by name */
    int ntables;
    _Atomic unsigned long long before, current; /* the sizes of the tables that were dumped, and of
                                                   the one that is */
    PGconn *watch;                              /* measure()'s */
};

/* ---- options ------------------------------------------------------------------------------- */

/* What the end of the file's name says; the first that fits. */
static const struct {
    const char *end, *format, *compress;
} ends[] = {{".sql", "plain", NULL},       {".sql.gz", "plain", "gzip"},
            {".sql.zst", "plain", "zstd"}, {".sql.lz4", "plain", "lz4"},
            {".tar", "tar", NULL},         {"", "custom", NULL}};

static const char *const formats[] = {"custom", "plain", "directory", "tar"};

/* "d" is enough for directory, as for pg_dump. */
static const char *full_format(const char *word)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (*word && strncmp(formats[i], word, strlen(word)) == 0)
            return formats[i];
    return NULL;
}

static int take_format(struct dump *d)
{
    const char *wanted = d->call->value[OPTION_FORMAT], *name = d->output;
    bool all = d->call->value[OPTION_ALL];
    size_t i = 0;

    while (strlen(name) < strlen(ends[i].end) ||
           strcmp(name + strlen(name) - strlen(ends[i].end), ends[i].end) != 0)
        i++;
    d->format = wanted ? full_format(wanted) : all ? "plain" : ends[i].format;
    if (!d->format)
        return misuse(d->call, "--format is custom, plain, directory or tar, not \"%s\"", wanted);
    if (strcmp(d->format, ends[i].format) == 0)
        d->compress = ends[i].compress;
    if (CALF_PG_MAJOR < 16 && d->compress && strcmp(d->compress, "gzip") != 0)
        return misuse(d->call,
                      "pg_dump %d compresses by gzip only; name a .sql.gz file, or pipe --format "
                      "plain through %s",
                      CALF_PG_MAJOR, d->compress);
    if (all && strcmp(d->format, "plain") != 0)
        return misuse(d->call, "--all is plain SQL always; leave out --format %s", d->format);
    if (all && d->call->value[OPTION_DATABASE])
        return misuse(d->call, "--all and --database exclude each other");
    if (all && d->compress)
        return misuse(d->call, "--all is not compressed; pipe it through %s, or name a .sql file",
                      d->compress);
    return 0;
}

static int take_output(struct dump *d)
{
    const char *name = d->call->value[OPTION_OUTPUT];
    bool directory = strcmp(d->format, "directory") == 0, there;
    struct stat st;

    if (!name) {
        if (directory)
            return misuse(d->call, "a dump in the directory format needs --output DIR");
        if (strcmp(d->format, "plain") != 0 && isatty(1))
            return misuse(d->call,
                          "a %s archive is not for a terminal; use --output FILE, a pipe or "
                          "--format plain",
                          d->format);
        return 0;
    }
    there = stat(name, &st) == 0;
    if (there && !realpath(name, d->output)) /* what a link leads to is replaced, not the link */
        return refuse("cannot write %s: %s", name, strerror(errno));
    while (!there && strlen(d->output) > 1 && d->output[strlen(d->output) - 1] == '/')
        d->output[strlen(d->output) - 1] = '\0';
    if (there && directory && !S_ISDIR(st.st_mode))
        return refuse("%s is there and no directory; name another one", name);
    if (there && directory && !is_empty(name))
        return refuse("the directory %s is not empty; name another one", name);
    if (there && !directory && S_ISDIR(st.st_mode))
        return refuse("%s is a directory; name a file, or add --format directory", name);
    if (there && !directory && !S_ISREG(st.st_mode)) /* a pipe with a name, /dev/null */
        return 0;
    if (snprintf(d->part, sizeof(d->part), "%s.part", d->output) >= (int)sizeof(d->part))
        return refuse("the name %s is too long", name);
    if (directory && stat(d->part, &st) == 0)
        return refuse("%s was left by a dump that did not end; remove it first", d->part);
    return 0;
}

/* --jobs, also among pg_dump's switches: its workers are forked without exec. */
static bool wants_jobs(const struct call *c)
{
    bool wants = c->value[OPTION_JOBS];

    for (char **word = c->rest; word && *word; word++)
        wants |= strncmp(*word, "-j", 2) == 0 || strncmp(*word, "--jobs", 6) == 0;
    return wants;
}

static int take_options(struct dump *d)
{
    const char *name = d->call->value[OPTION_OUTPUT];
    int rc = target_name(&d->target, d->call->nwords ? d->call->words[0] : NULL);

    if (rc == 0 && wants_jobs(d->call))
        return refuse("a dump cannot have several jobs inside (pg_dump forks them); leave out "
                      "--jobs, or \"calf serve %s\" and run pg_dump --jobs from outside; "
                      "calf restore --jobs works",
                      d->target.dir);
    if (name && (!*name || snprintf(d->output, sizeof(d->output), "%s", name) >= PATH_MAX - 8))
        return misuse(d->call, "--output wants the name of a file");
    if (rc == 0)
        rc = take_format(d);
    return rc == 0 ? take_output(d) : rc;
}

/* ---- progress ------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct table *)a)->name, ((const struct table *)b)->name);
}

/* The tables whose contents are dumped, for the ETA. */
static void read_sizes(struct dump *d)
{
    static const char sql[] =
        "select n.nspname || '.' || c.relname, pg_table_size(c.oid) from pg_class c join "
        "pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and c.relpersistence <> "
        "'t' and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%' and not exists "
        "(select from pg_depend where classid = 'pg_class'::regclass and objid = c.oid and deptype "
        "= 'e')";
    PGresult *res;

    d->watch = target_connect_to(&d->target, d->call->value[OPTION_DATABASE]);
    PQclear(PQexec(d->watch, "set lock_timeout = '1s'")); /* somebody's lock, then without an ETA */
    res = PQexec(d->watch, sql);
    d->ntables = PQresultStatus(res) == PGRES_TUPLES_OK ? PQntuples(res) : 0;
    d->tables = calloc((size_t)d->ntables + 1, sizeof(*d->tables));
    for (int i = 0; i < d->ntables; i++) {
        d->tables[i].name = strdup(PQgetvalue(res, i, 0));
        d->tables[i].size = strtoull(PQgetvalue(res, i, 1), NULL, 10);
        d->progress.all += d->tables[i].size;
    }
    qsort(d->tables, (size_t)d->ntables, sizeof(*d->tables), by_name);
    d->progress.items = (unsigned)d->ntables;
    PQclear(res);
}

/* How much of the table PostgreSQL has copied, at most its size. */
static unsigned long long copied(struct dump *d)
{
    static const char sql[] =
        "select coalesce(max(bytes_processed), 0) from pg_stat_progress_copy "
        "join pg_stat_activity using (pid) where application_name = 'pg_dump'";
    PGresult *res = PQexec(d->watch, sql);
    unsigned long long n = 0;

    if (PQresultStatus(res) == PGRES_TUPLES_OK)
        n = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    return n < d->current ? n : d->current;
}

static void measure(struct progress *p)
{
    struct dump *d = p->owner;
    struct stat st;

    p->done = d->before + copied(d);
    if (d->part[0])
        p->bytes = disk_usage(d->part);
    else if (!d->output[0] && fstat(1, &st) == 0 && S_ISREG(st.st_mode))
        p->bytes = (unsigned long long)st.st_size;
    else
        p->bytes = p->done;
}

/* pg_dump: dumping contents of table "schema.name" */
static void take_line(struct progress *p, const char *line)
{
    static const char begin[] = "pg_dump: dumping contents of table \"";
    struct dump *d = p->owner;
    struct table *found;
    char *name;

    if (strncmp(line, begin, sizeof(begin) - 1) != 0)
        return;
    name = strdup(line + sizeof(begin) - 1);
    name[strlen(name) - 1] = '\0';
    found = bsearch(&(struct table){.name = name}, d->tables, (size_t)d->ntables,
                    sizeof(*d->tables), by_name);
    free(name);
    d->before += d->current;
    d->current = found ? found->size : 0;
    p->item++;
}

/* ---- dumping -------------------------------------------------------------------------------- */

static int run_dump(struct dump *d)
{
    const char *argv[WORDS_MAX + 16], *file = d->part[0] ? d->part : d->output;
    bool all = d->call->value[OPTION_ALL];
    int n = 0, fds[3] = {0, 1, 2};

    argv[n++] = all ? "pg_dumpall" : "pg_dump";
    if (!all) {
        argv[n++] = "--format";
        argv[n++] = d->format;
    }
    if (d->compress) {
        argv[n++] = "--compress";
        argv[n++] = CALF_PG_MAJOR < 16 ? "6" : d->compress; /* which knew levels only */
    }
    if (*file) {
        argv[n++] = "--file";
        argv[n++] = file;
    }
    if (d->call->value[OPTION_DATABASE]) {
        argv[n++] = "--dbname";
        argv[n++] = d->call->value[OPTION_DATABASE];
    }
    if (d->progress.shown)
        argv[n++] = "--verbose";
    for (char **word = d->call->rest; word && *word; word++) {
        if (n > WORDS_MAX + 12)
            return misuse(d->call, "more than %d words follow --", WORDS_MAX);
        argv[n++] = *word;
    }
    argv[n] = NULL;
    if (d->progress.shown)
        fds[2] = progress_messages(&d->progress, take_line);
    return target_program(&d->target, (char *const *)argv, fds);
}

static int work(void *arg)
{
    struct dump *d = arg;
    int rc;

    d->progress =
        (struct progress){.doing = "dumping", .noun = "table", .measure = measure, .owner = d};
    if (isatty(2) && !d->call->value[OPTION_ALL])
        read_sizes(d);
    progress_begin(&d->progress);
    rc = run_dump(d);
    progress_end(&d->progress);
    for (int i = 0; i < d->ntables; i++)
        free(d->tables[i].name);
    free(d->tables);
    PQfinish(d->watch);
    if (rc == 0 && d->part[0] && !d->target.stopped && move_into_place(d->part, d->output) < 0)
        return refuse("cannot write %s: %s", d->output, strerror(errno));
    if (rc != 0 && rc != 2 && !d->target.stopped)
        refuse("the dump of %s failed%s%s%s", d->target.dir,
               rc == 128 + SIGPIPE ? ": who read it has gone" : "",
               d->output[0] ? "; nothing was written to " : "", d->output);
    return rc == 0 || rc == 2 ? rc : 1;
}

int command_dump(struct call *c)
{
    struct dump d = {.call = c};
    int rc = take_options(&d);

    if (rc != 0)
        return rc;
    block_signals();
    rc = target_open(&d.target, c, false);
    if (rc != 0)
        return rc;
    rc = target_work(&d.target, work, &d);
    if (rc != 0 && d.part[0])
        remove_tree(d.part);
    target_close(&d.target);
    return rc;
}

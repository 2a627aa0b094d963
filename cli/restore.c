/*
 * restore.c - `calf restore`: whatever pg_dump and pg_dumpall wrote, and plain SQL, into a database
 *
 * What a file is, is seen by its content.  SQL goes to the psql image through a pipe, archives to
 * pg_restore; what neither of them would notice, a file that ends too early, is looked for here.
 *
 * The rule that matters: a restore that fails leaves the database as it was.  One that is there is
 * restored into in one transaction; one that was created for it is dropped again; and --clean fills
 * a new database, which takes the place of the old one when it is complete.  Only --jobs into a
 * database that is there, --keep-going, and scripts that commit or name their databases cannot do
 * so.
 *
 * pg_restore -j forks, which is not possible inside.  Several pg_restore images do its work instead
 * (restore_parallel()).
 */
#include "cli.h"
#include "input.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MAX 64
#define JOBS_MAX 32

struct restore {
    struct target target;
    struct call *call;
    const char *file; /* as the user says it */
    enum { SQL, CUSTOM, TAR, DIRECTORY } format;
    struct input *in; /* not for DIRECTORY */
    char head[64 << 10];
    size_t head_size;
    bool connects;                 /* SQL that chooses its databases itself */
    char archive[PATH_MAX];        /* what pg_restore reads */
    char database[64], filled[80]; /* the database, and the one that is restored into */
    bool created, one_transaction, keep_going, failed;
    bool commits;     /* SQL with a COMMIT of its own */
    bool versions;    /* an archive with pg_attver, see left_out() */
    bool left_out;    /* which was left out */
    int jobs, tables; /* tables: whose data have begun to come */
    int errors;       /* the programs' standard error */
    struct progress progress;
    PGconn *admin, *watch; /* watch: measure()'s */
    _Atomic bool filling;
};

static int cannot(struct restore *r, const char *why)
{
    r->failed = true;
    return r->target.stopped ? 1 : refuse("%s %s", r->file, why);
}

/* ---- what the file is -------------------------------------------------------------------------
 */

static bool has_line(const struct restore *r, const char *begin)
{
    size_t n = strlen(begin);

    for (const char *at = r->head; at;
         at = memchr(at, '\n', (size_t)(r->head + r->head_size - at))) {
        at += *at == '\n';
        if ((size_t)(r->head + r->head_size - at) < n)
            return false;
        if (memcmp(at, begin, n) == 0)
            return true;
    }
    return false;
}

static bool is_of_pg_dumpall(const struct restore *r)
{
    static const char title[] = "\n-- PostgreSQL database cluster dump";

    return r->head_size > sizeof(title) + 2 && memcmp(r->head + 2, title, sizeof(title) - 1) == 0;
}

static int look_at_head(struct restore *r)
{
    ssize_t n = input_read_all(r->in, r->head, sizeof(r->head) - 1);

    if (n < 0)
        return cannot(r, r->in->error);
    if (n == 0 && r->call->nwords == 1 && r->file != r->call->words[0])
        return refuse("%s is no file to restore, and the standard input is empty",
                      r->call->words[0]);
    if (n == 0)
        return cannot(r, "is empty");
    r->head_size = (size_t)n;
    if (n >= 5 && memcmp(r->head, "PGDMP", 5) == 0)
        r->format = CUSTOM;
    else if (n >= 512 && memcmp(r->head + 257, "ustar", 5) == 0)
        r->format = TAR;
    else if (memchr(r->head, '\0', r->head_size))
        return cannot(r, "is no dump: neither an archive of pg_dump nor SQL");
    if (r->format == TAR && strcmp(r->head, "toc.dat") != 0)
        return cannot(r, "is a tar file, but not one of pg_dump's (they begin with toc.dat)");
    r->connects = r->format == SQL && (is_of_pg_dumpall(r) || has_line(r, "\\connect "));
    return 0;
}

static int open_file(struct restore *r)
{
    bool input = strcmp(r->file, "-") == 0;
    char toc[PATH_MAX];
    struct stat st;
    int fd;

    if (!input && stat(r->file, &st) == 0 && S_ISDIR(st.st_mode)) {
        r->format = DIRECTORY;
        snprintf(r->archive, sizeof(r->archive), "%s", r->file);
        if (snprintf(toc, sizeof(toc), "%s/toc.dat", r->file) >= PATH_MAX || access(toc, R_OK) < 0)
            return cannot(r, "is a directory, but no dump (there is no toc.dat in it)");
        return 0;
    }
    fd = input ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(r->file, O_RDONLY | O_CLOEXEC);
    if (input)
        r->file = "the standard input";
    if (fd < 0)
        return refuse("cannot read %s: %s", r->file, strerror(errno));
    r->in = input_open(fd, &r->target.stopped);
    return r->in ? look_at_head(r) : refuse("there is no memory to read %s", r->file);
}

/* pg_restore wants to seek: what is compressed or a pipe becomes a file without a name. */
static int spool(struct restore *r)
{
    const char *dir = getenv("TMPDIR");
    char name[PATH_MAX], *buf = r->head;
    struct stat st;
    ssize_t n = (ssize_t)r->head_size;
    int fd, rc = 0;

    if (r->in->compression == PLAIN && fstat(r->in->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        snprintf(r->archive, sizeof(r->archive), "/proc/self/fd/%d", r->in->fd);
        return 0;
    }
    snprintf(name, sizeof(name), "%s/calf-restore.XXXXXX", dir && *dir ? dir : "/tmp");
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        return refuse("cannot create %s: %s", name, strerror(errno));
    unlink(name);
    snprintf(r->archive, sizeof(r->archive), "/proc/self/fd/%d", fd);
    for (; n > 0; n = input_read(r->in, buf, sizeof(r->head)))
        for (ssize_t at = 0, w; at < n && rc == 0; at += w)
            if ((w = write(fd, buf + at, (size_t)(n - at))) < 0)
                return refuse("cannot write a temporary file in %s: %s", dir && *dir ? dir : "/tmp",
                              strerror(errno));
    return n < 0 ? cannot(r, r->in->error) : 0;
}

/* ---- tar: pg_restore reads on for ever where a file stops early ---------------------------------
 */

/* In octal, or, when it is too large for that, to the base of 256. */
static unsigned long long tar_size(const unsigned char *field)
{
    unsigned long long size = 0;

    if (!(field[0] & 0x80))
        return strtoull((const char *)field, NULL, 8);
    for (int i = 4; i < 12; i++)
        size = size << 8 | field[i];
    return size;
}

/* Every member is there, and the empty block that ends the file. */
static int check_tar(struct restore *r)
{
    unsigned char head[512];
    unsigned long long at = 0;
    int fd = open(r->archive, O_RDONLY | O_CLOEXEC);

    while (pread(fd, head, sizeof(head), (off_t)at) == sizeof(head) && head[0])
        at += sizeof(head) + (tar_size(head + 124) + 511) / 512 * 512;
    if (pread(fd, head, sizeof(head), (off_t)at) != sizeof(head))
        at = 0;
    if (fd >= 0)
        close(fd);
    return at ? 0 : cannot(r, "is truncated");
}

/* ---- a directory: pg_restore takes a data file that stops early for a whole one -----------------
 */

/* The file of a table ends with the end of COPY or of the last INSERT, and two empty lines. */
static bool ends_well(const char *tail, size_t size)
{
    return (size >= 5 && (memcmp(tail + size - 5, "\\.\n\n\n", 5) == 0 ||
                          memcmp(tail + size - 4, ";\n\n\n", 4) == 0)) ||
           (size == 2 && memcmp(tail, "\n\n", 2) == 0);
}

/* 12.dat, 12.dat.gz ..., blob_12.dat.gz ...; an uncompressed large object says nothing. */
static bool is_data(const char *name)
{
    const char *dat = strstr(name, ".dat");

    return dat && strcmp(name, "toc.dat") != 0 && (dat[4] || strncmp(name, "blob_", 5) != 0);
}

static int check_data(struct restore *r, const char *name)
{
    char path[2 * PATH_MAX], buf[64 << 10], tail[8], why[512] = "";
    struct input *in;
    size_t size = 0;
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", r->archive, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    in = fd < 0 ? NULL : input_open(fd, &r->target.stopped);
    if (!in)
        return refuse("cannot read %s: %s", path, strerror(errno));
    while ((n = input_read_all(in, buf, sizeof(buf))) > 0) {
        size_t keep = size < 8 ? size : 8, more = n < 8 ? (size_t)n : 8;

        if (keep + more > 8)
            memmove(tail, tail + keep + more - 8, 8 - more), keep = 8 - more;
        memcpy(tail + keep, buf + n - more, more);
        size += (size_t)n;
    }
    r->progress.bytes += in->taken;
    if (n < 0)
        snprintf(why, sizeof(why), "is damaged: %s in it %s", name, in->error);
    else if (in->compression == PLAIN && strstr(name, ".dat.") &&
             size > 0) /* an empty one is an empty file */
        snprintf(why, sizeof(why), "is damaged: %s in it is not compressed", name);
    else if (strncmp(name, "blob_", 5) != 0 && !ends_well(tail, size < 8 ? size : 8))
        snprintf(why, sizeof(why), "is damaged: %s in it is truncated", name);
    input_close(in);
    return why[0] ? cannot(r, why) : 0;
}

/* How many large objects a blobs_N.toc lists. */
static int count_lines(const char *dir, const char *name)
{
    char path[2 * PATH_MAX];
    int n = 0, byte;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "re");
    while (f && (byte = getc(f)) != EOF)
        n += byte == '\n';
    if (f)
        fclose(f);
    return n;
}

static int check_directory(struct restore *r)
{
    DIR *d = opendir(r->archive);
    struct dirent *e;
    int rc = d ? 0 : refuse("cannot read %s: %s", r->file, strerror(errno)), blobs = 0;

    while (rc == 0 && (e = readdir(d))) {
        if (is_data(e->d_name))
            rc = check_data(r, e->d_name);
        blobs += strncmp(e->d_name, "blob_", 5) == 0;
        if (strncmp(e->d_name, "blobs", 5) == 0)
            blobs -= count_lines(r->archive, e->d_name);
    }
    if (d)
        closedir(d);
    if (rc == 0 && blobs != 0)
        rc = cannot(r, "is damaged: its lists of large objects and their files differ");
    return rc;
}

/* ---- pg_restore -------------------------------------------------------------------------------
 */

/* What an entry is: "ID; 1 2 TABLE DATA schema name owner" from TABLE on. */
static const char *kind_of(const char *line)
{
    int at = 0;

    sscanf(line, "%*d; %*u %*u %n", &at);
    return line + at;
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* pg_restore with `more` words, those after -- and the archive. */
static int pg_restore(struct restore *r, const char *const *more, const int fds[3])
{
    const char *argv[WORDS_MAX + 16] = {"pg_restore"};
    int n = 1;

    while (*more)
        argv[n++] = *more++;
    for (char **word = r->call->rest; word && *word; word++) {
        if (n > WORDS_MAX + 12)
            return misuse(r->call, "more than %d words follow --", WORDS_MAX);
        argv[n++] = *word;
    }
    argv[n++] = r->archive;
    argv[n] = NULL;
    return target_program(&r->target, (char *const *)argv, fds);
}

/* The archive's table of contents, a line for each entry; to be freed.  NULL after a message. */
static char *list(struct restore *r, const char *how)
{
    char path[32], *text = NULL, *why = NULL;
    int fds[3] = {0, memory_file("", path), memory_file("", path)};
    int code =
        fds[1] < 0 || fds[2] < 0 ? 1 : pg_restore(r, (const char *[]){"--list", how, NULL}, fds);

    if (code == 0)
        text = file_text(fds[1]);
    else if (fds[2] >= 0 && (why = file_text(fds[2]))) {
        const char *at = strstr(why, "error: ");
        char sentence[512];

        why[strcspn(why, "\n")] = '\0';
        snprintf(sentence, sizeof(sentence), "cannot be restored: pg_restore says \"%s\"",
                 at ? at + 7 : why);
        cannot(r, sentence);
        free(why);
    }
    close(fds[1]);
    close(fds[2]);
    return text;
}

/* The ETA is made of the tables that were filled; what is still being filled is not. */
static void take_line(struct progress *p, const char *line)
{
    struct restore *r = p->owner;
    bool creates = begins(line, "pg_restore: creating "),
         fills = begins(line, "pg_restore: processing data for table ");

    p->item += creates || fills;
    r->tables += fills;
    if (fills && r->tables > r->jobs)
        p->done = (unsigned long long)(r->tables - r->jobs);
    else if (creates && (unsigned long long)r->tables == p->all)
        p->done = p->all;
    if (r->keep_going && (strstr(line, "ERROR:") || strstr(line, "FATAL:")))
        r->failed = true; /* psql's exit code is 0 */
}

/* Restore the entries of `text`, NULL: all. */
static int restore_entries(struct restore *r, const char *text)
{
    char path[32];
    const char *argv[8] = {"--dbname", r->filled};
    int fds[3] = {0, 1, r->errors}, n = 2, fd = -1, code;

    if (text && (fd = memory_file(text, path)) < 0)
        return 1;
    if (text) {
        argv[n++] = "--use-list";
        argv[n++] = path;
    }
    if (r->progress.shown)
        argv[n++] = "--verbose";
    if (r->one_transaction)
        argv[n++] = "--single-transaction";
    else if (!r->keep_going)
        argv[n++] = "--exit-on-error";
    code = pg_restore(r, argv, fds);
    if (fd >= 0)
        close(fd);
    return code;
}

/* ---- several at a time
 * --------------------------------------------------------------------------- */

struct entries {
    struct restore *restore;
    char **line;
    size_t n, next;
    int workers;
    pthread_mutex_t lock; /* guards next and failed */
    bool failed;
};

/* How many of the entries one of several workers takes: fewer and fewer, so that all end at once.
 */
static char *take_some(struct entries *e)
{
    char *text = NULL;
    size_t size, some;
    FILE *f;

    pthread_mutex_lock(&e->lock);
    some = e->workers == 1 ? e->n : (e->n - e->next) / (size_t)(2 * e->workers);
    if (e->next < e->n && !e->failed && (f = open_memstream(&text, &size))) {
        do
            fprintf(f, "%s\n", e->line[e->next++]);
        while (some-- > 1 && e->next < e->n);
        fclose(f);
    }
    pthread_mutex_unlock(&e->lock);
    return text;
}

static void *restore_some(void *arg)
{
    struct entries *e = arg;
    struct restore *r = e->restore;
    char *text;

    while ((text = take_some(e))) {
        if (restore_entries(r, text) != 0) {
            pthread_mutex_lock(&e->lock);
            r->failed = true;
            e->failed = !r->keep_going;
            pthread_mutex_unlock(&e->lock);
            if (!r->keep_going)
                calf_run_signal(r->target.db, SIGTERM, NULL); /* the others */
        }
        free(text);
    }
    return NULL;
}

static void restore_with(struct entries *e, int workers)
{
    pthread_t threads[JOBS_MAX];
    int n = 0;

    if (e->restore->failed && !e->restore->keep_going)
        return;
    e->workers = workers;
    pthread_mutex_init(&e->lock, NULL);
    while (n < workers - 1 && pthread_create(&threads[n], NULL, restore_some, e) == 0)
        n++;
    restore_some(e);
    while (n > 0)
        pthread_join(threads[--n], NULL);
}

/* The lines of a list that are no comments; they stay in `text`. */
static void split(struct entries *e, struct restore *r, char *text)
{
    *e = (struct entries){.restore = r};
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (*line != ';') {
            e->line = realloc(e->line, (e->n + 1) * sizeof(*e->line));
            e->line[e->n++] = line;
        }
}

static bool is_bulk(const char *kind)
{
    return begins(kind, "TABLE DATA ") || begins(kind, "BLOBS ");
}

/* CONSTRAINT is a primary key or its like; FK CONSTRAINT is another kind. */
static bool is_index(const char *kind)
{
    return begins(kind, "CONSTRAINT ") ||
           (begins(kind, "INDEX ") && !begins(kind, "INDEX ATTACH "));
}

/* Sorted numbers of entries. */
struct ids {
    int *id;
    size_t n;
};

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static bool has(const struct ids *ids, int id)
{
    return ids->n && bsearch(&id, ids->id, ids->n, sizeof(id), by_number);
}

/* Entries of a kind, but those in `but`, go from one list to another, which is empty. */
static void move_entries(struct entries *from, struct entries *to, bool (*fits)(const char *kind),
                         const struct ids *but)
{
    size_t kept = 0;

    *to = (struct entries){.restore = from->restore};
    to->line = calloc(from->n + 1, sizeof(*to->line));
    for (size_t i = 0; i < from->n; i++)
        if (fits(kind_of(from->line[i])) && !has(but, atoi(from->line[i])))
            to->line[to->n++] = from->line[i];
        else
            from->line[kept++] = from->line[i];
    from->n = kept;
}

/* Those of the entries that depend on another of them, as the verbose list says: after the line of
 * an entry there may be ";\tdepends on: 3 4". */
static struct ids find_dependent(const struct entries *e, char *verbose)
{
    static const char depends[] = ";\tdepends on:";
    struct ids all = {calloc(e->n + 1, sizeof(int)), e->n},
               found = {calloc(e->n + 1, sizeof(int)), 0};
    int id = 0;

    for (size_t i = 0; i < e->n; i++)
        all.id[i] = atoi(e->line[i]);
    qsort(all.id, all.n, sizeof(int), by_number);
    for (char *save, *line = strtok_r(verbose, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        bool on_one = false;

        if (!begins(line, depends)) {
            id = atoi(line);
            continue;
        }
        for (char *save2, *on = strtok_r(line + sizeof(depends) - 1, " ", &save2); on;
             on = strtok_r(NULL, " ", &save2))
            on_one |= has(&all, atoi(on));
        if (on_one && has(&all, id))
            found.id[found.n++] = id;
    }
    qsort(found.id, found.n, sizeof(int), by_number);
    free(all.id);
    return found;
}

/*
 * What comes before the data in its order; what is not a table's data (large objects' owners,
 * sequences); the data, by `jobs` programs at a time; likewise indexes and keys that depend on
 * nothing else that comes now; then the rest (foreign keys, triggers, refreshed views ...) in its
 * order.
 */
static int restore_parallel(struct restore *r)
{
    char *texts[4] = {list(r, "--section=pre-data"), list(r, "--section=data"),
                      list(r, "--section=post-data"), list(r, "--verbose")};
    struct entries pre, data, bulk, post, indexes;
    struct ids dependent, none = {NULL, 0};
    int rc = texts[0] && texts[1] && texts[2] && texts[3] ? 0 : 1;

    if (rc == 0) {
        split(&pre, r, texts[0]);
        split(&data, r, texts[1]);
        move_entries(&data, &bulk, is_bulk, &none);
        split(&post, r, texts[2]);
        dependent = find_dependent(&post, texts[3]);
        move_entries(&post, &indexes, is_index, &dependent);
        restore_with(&pre, 1);
        restore_with(&data, 1);
        restore_with(&bulk, r->jobs);
        restore_with(&indexes, r->jobs);
        restore_with(&post, 1);
        free(pre.line);
        free(data.line);
        free(bulk.line);
        free(post.line);
        free(indexes.line);
        free(dependent.id);
        rc = r->failed;
    }
    for (size_t i = 0; i < 4; i++)
        free(texts[i]);
    return rc;
}

/* Does the archive mention pg_attver, see left_out()? */
static bool mentions_versions(struct restore *r)
{
    char path[32], *text;
    int fds[3] = {0, memory_file("", path), memory_file("", path)};
    char *argv[] = {"pg_restore", "--section=pre-data", "--file=-", r->archive, NULL};
    bool mentions = false;

    if (fds[1] >= 0 && fds[2] >= 0 && target_program(&r->target, argv, fds) == 0 &&
        (text = file_text(fds[1]))) {
        mentions = strstr(text, "pg_attver=");
        free(text);
    }
    close(fds[1]);
    close(fds[2]);
    return mentions;
}

/* How many entries the archive has, and how many of them are tables' data; one that pg_restore
 * cannot read is refused. */
static int count_entries(struct restore *r)
{
    char *text = list(r, NULL);

    if (!text)
        return 1;
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (*line != ';') {
            r->progress.items++;
            r->progress.all += begins(kind_of(line), "TABLE DATA ");
        }
    free(text);
    return 0;
}

/* ---- SQL: through a pipe to psql
 * ------------------------------------------------------------------ */

#define EDIT_TAIL 1024 /* of a line of any length, what end_line() sees */

struct feed {
    struct restore *restore;
    struct input *in;
    int fd;           /* psql's input */
    pthread_t writer; /* of an archive: pg_restore writes into `sql` */
    int sql, written; /* and its exit code */
    PGresult *roles;  /* those that are there; NULL: nothing is left out */
    char *line;       /* with roles: what has come of the current line */
    size_t line_size;
    char out[128 << 10];      /* what goes to psql */
    size_t out_size, line_at; /* of it: the line that has not ended */
    bool copies, alters;      /* that line, of which the beginning may be gone */
    bool data;                /* lines of COPY */
    char tail[4096];
    size_t tail_size;
    size_t matched; /* of "\nCOMMIT;" */
};

static bool feed_bytes(struct feed *f, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(f->fd, bytes, size);

        if (n <= 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

/*
 * Minor releases since November 2026 keep a number with every column, as if it were an option of
 * it: pg_attver.  Their pg_dump leaves it out; an older one, also the one inside, writes it, and an
 * older server, also the one inside, refuses it.  It says nothing to another database: where it is
 * the only option of ALTER COLUMN ... SET (...), it is reset, otherwise it is not mentioned.
 * The new size of the line.
 */
static size_t left_out(char *line, size_t size)
{
    static const char set[] = " SET (", option[] = "pg_attver=", reset[] = " RESET (pg_attver";
    char *begin = NULL, *at = line, *end;

    while ((at = memmem(at, (size_t)(line + size - at), set, sizeof(set) - 1)))
        begin = at++;
    at = begin ? begin + sizeof(set) - 1 : NULL;
    while (at && !begins(at, option))
        if ((at = memmem(at, (size_t)(line + size - at), ", ", 2)))
            at += 2;
    if (!at)
        return size;
    end = at + sizeof(option) - 1;
    end += strspn(end, "0123456789");
    if (begins(end, ", ")) {
        end += 2;
    } else if (at > begin + sizeof(set) - 1) {
        at -= 2;
    } else {
        memcpy(begin, reset, sizeof(reset) - 1);
        at = begin + sizeof(reset) - 1;
    }
    memmove(at, end, (size_t)(line + size - end));
    return size - (size_t)(end - at);
}

/* The line that has just ended, or its last EDIT_TAIL bytes; what COPY reads is left alone. */
static void end_line(struct feed *f)
{
    static const char from[] = " FROM stdin;\n", alter[] = ");\n";
    char *line = f->out + f->line_at;
    size_t size = f->out_size - f->line_at, less;

    if (f->data) {
        f->data = size != 3 || memcmp(line, "\\.\n", 3) != 0;
    } else if (f->copies) {
        f->data = size >= sizeof(from) &&
                  memcmp(line + size - sizeof(from) + 1, from, sizeof(from) - 1) == 0;
    } else if (f->alters) {
        bool ends = size >= 4 && memcmp(line + size - 3, alter, 3) == 0;

        f->out[f->out_size] = '\0';
        less = ends ? left_out(line, size) : size;
        f->restore->left_out |= less != size;
        f->out_size = f->line_at + less;
        f->alters = size < 2 || line[size - 2] != ';'; /* a name may have several lines */
    }
    f->copies = false;
    f->line_at = f->out_size;
}

static bool flush_lines(struct feed *f, size_t size)
{
    bool took = feed_bytes(f, f->out, size);

    f->out_size -= size;
    f->line_at = f->line_at > size ? f->line_at - size : 0;
    memmove(f->out, f->out + size, f->out_size);
    return took;
}

static bool feed_edited(struct feed *f, const char *bytes, size_t size)
{
    while (size > 0) {
        const char *end = memchr(bytes, '\n', size);
        size_t n = end ? (size_t)(end - bytes) + 1 : size, room = sizeof(f->out) - 1 - f->out_size;

        n = n < room ? n : room;
        memcpy(f->out + f->out_size, bytes, n);
        f->out_size += n;
        f->out[f->out_size] = '\0';
        bytes += n;
        size -= n;
        if (!f->data && f->out_size - f->line_at - n < 40) { /* what it is, is at its beginning */
            const char *line = f->out + f->line_at;

            f->copies = begins(line, "COPY ");
            f->alters |= begins(line, "ALTER TABLE ONLY ") || begins(line, "ALTER FOREIGN TABLE ");
        }
        if (end && n && bytes[-1] == '\n')
            end_line(f);
        if (f->out_size > sizeof(f->out) / 2 &&
            !flush_lines(f, f->line_at ? f->line_at : f->out_size - EDIT_TAIL))
            return false;
    }
    return f->line_at == 0 || flush_lines(f, f->line_at);
}

/* CREATE ROLE of a role that is there */
static bool is_there(struct feed *f, const char *line)
{
    static const char begin[] = "CREATE ROLE ";

    if (strncmp(line, begin, sizeof(begin) - 1) != 0)
        return false;
    line += sizeof(begin) - 1;
    for (int i = 0; i < PQntuples(f->roles); i++) {
        const char *name = PQgetvalue(f->roles, i, 0);
        char *quoted = PQescapeIdentifier(f->restore->admin, name, strlen(name));
        const char *forms[] = {name, quoted};
        bool same = false;

        for (int k = 0; k < 2 && !same; k++)
            same = forms[k] && strncmp(line, forms[k], strlen(forms[k])) == 0 &&
                   strcmp(line + strlen(forms[k]), ";\n") == 0;
        PQfreemem(quoted);
        if (same)
            return true;
    }
    return false;
}

/* The beginning of a script of pg_dumpall, line by line, until it connects to the first database.
 */
static bool feed_roles(struct feed *f, const char *bytes, size_t size)
{
    while (size > 0 && f->roles) {
        const char *end = memchr(bytes, '\n', size);
        size_t n = end ? (size_t)(end - bytes) + 1 : size;

        f->line = realloc(f->line, f->line_size + n + 1);
        memcpy(f->line + f->line_size, bytes, n);
        f->line_size += n;
        f->line[f->line_size] = '\0';
        bytes += n;
        size -= n;
        if (!end)
            continue;
        if (strncmp(f->line, "\\connect ", 9) == 0) {
            PQclear(f->roles);
            f->roles = NULL;
        }
        if (!(f->roles && is_there(f, f->line)) && !feed_edited(f, f->line, f->line_size))
            return false;
        f->line_size = 0;
    }
    return feed_edited(f, bytes, size);
}

/* It ends our transaction; pg_dump writes it after large objects. */
static void look_for_commit(struct feed *f, const char *bytes, size_t size)
{
    static const char commit[] = "\nCOMMIT;";

    for (size_t i = 0; i < size && !f->restore->commits; i++) {
        f->matched = toupper((unsigned char)bytes[i]) == commit[f->matched] ? f->matched + 1
                                                                            : bytes[i] == '\n';
        f->restore->commits = f->matched == sizeof(commit) - 1;
    }
}

static bool feed(struct feed *f, const char *bytes, size_t size)
{
    size_t more = size < sizeof(f->tail) ? size : sizeof(f->tail), keep = sizeof(f->tail) - more;

    if (keep > f->tail_size)
        keep = f->tail_size;
    look_for_commit(f, bytes, size);
    memmove(f->tail, f->tail + f->tail_size - keep, keep);
    memcpy(f->tail + keep, bytes + size - more, more);
    f->tail_size = keep + more;
    return f->roles ? feed_roles(f, bytes, size) : feed_edited(f, bytes, size);
}

/* pg_dump and pg_dumpall say in their last lines that this is the end. */
static bool is_complete(const struct feed *f)
{
    static const char *const kinds[] = {"-- PostgreSQL database dump",
                                        "-- PostgreSQL database cluster dump"};
    char last[64];

    for (size_t i = 0; i < 2; i++) {
        snprintf(last, sizeof(last), "%s complete", kinds[i]);
        if (strstr(f->restore->head, kinds[i]) == f->restore->head + 3)
            return memmem(f->tail, f->tail_size, last, strlen(last)) != NULL;
    }
    return true;
}

static void *feed_all(void *arg)
{
    struct feed *f = arg;
    struct restore *r = f->restore;
    char buf[64 << 10];
    ssize_t n = 1;
    bool took = f->in != r->in || feed(f, r->head, r->head_size);

    while (took && (n = input_read(f->in, buf, sizeof(buf))) > 0)
        took = feed(f, buf, (size_t)n);
    if (took && f->line_size)
        took = feed_edited(f, f->line, f->line_size);
    if (took)
        took = flush_lines(f, f->out_size);
    if (f->in != r->in) {
        input_close(f->in); /* pg_restore ends, when it has not */
        pthread_join(f->writer, NULL);
        r->failed |= f->written != 0;
    } else if (took && n < 0) {
        cannot(r, r->in->error);
    } else if (took && !is_complete(f)) {
        cannot(r, "is truncated: the end of the dump is missing");
    }
    /* psql would commit at the end of its input, so it must not see one; it may only now begin */
    while (r->failed && poll(&(struct pollfd){f->fd, 0, 0}, 1, 50) == 0)
        calf_run_signal(r->target.db, SIGTERM, NULL);
    close(f->fd);
    return NULL;
}

static void *write_sql(void *arg)
{
    struct feed *f = arg;

    f->written = pg_restore(f->restore, (const char *[]){"--file=-", NULL},
                            (int[]){0, f->sql, f->restore->errors});
    close(f->sql);
    return NULL;
}

/* What psql is fed with: the file, or what pg_restore makes of an archive. */
static int feed_begin(struct feed *f)
{
    int ends[2];

    f->in = f->restore->in;
    if (f->restore->format == SQL)
        return 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return refuse("cannot make a pipe: %s", strerror(errno));
    f->sql = ends[1];
    if (pthread_create(&f->writer, NULL, write_sql, f) != 0)
        return refuse("there is no thread to read %s", f->restore->file);
    f->in = input_open(ends[0], &f->restore->target.stopped);
    return f->in ? 0 : refuse("there is no memory to read %s", f->restore->file);
}

static int restore_sql(struct restore *r)
{
    const char *argv[WORDS_MAX + 16] = {
        "psql",    "-X",        "-q",
        "-o",      "/dev/null", "-d",
        r->filled, "-v",        r->keep_going ? "ON_ERROR_STOP=0" : "ON_ERROR_STOP=1",
        "-f",      "-"};
    struct feed f = {.restore = r};
    int n = 11, ends[2], code;
    pthread_t thread;

    if (r->one_transaction)
        argv[n++] = "-1";
    for (char **word = r->format == SQL ? r->call->rest : NULL; word && *word; word++) {
        if (n > WORDS_MAX + 12)
            return misuse(r->call, "more than %d words follow --", WORDS_MAX);
        argv[n++] = *word;
    }
    argv[n] = NULL;
    if (is_of_pg_dumpall(r))
        f.roles = PQexec(r->admin, "select rolname from pg_roles");
    if (feed_begin(&f) != 0)
        return 1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return refuse("cannot make a pipe: %s", strerror(errno));
    f.fd = ends[1];
    if (pthread_create(&thread, NULL, feed_all, &f) != 0)
        return refuse("there is no thread to read %s", r->file);
    code = target_program(&r->target, (char *const *)argv, (int[]){ends[0], 1, r->errors});
    close(ends[0]); /* nobody reads any more: feed_all() ends */
    pthread_join(thread, NULL);
    PQclear(f.roles);
    free(f.line);
    return code;
}

/* ---- the database
 * --------------------------------------------------------------------------------- */

/* One value of a query with one parameter, to be freed; NULL: no row, or after a message. */
static char *ask(struct restore *r, const char *sql, const char *parameter)
{
    PGresult *res = PQexecParams(r->admin, sql, 1, NULL, &parameter, NULL, NULL, 0);
    char *value = NULL;

    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        refuse("cannot ask for the database %s: %s", parameter, PQerrorMessage(r->admin));
    else if (PQntuples(res) == 1)
        value = strdup(PQgetvalue(res, 0, 0));
    PQclear(res);
    return value;
}

/* A statement about one or two databases: %1$s, %2$s. */
static int command(struct restore *r, const char *fmt, const char *one, const char *two)
{
    char *a = PQescapeIdentifier(r->admin, one, strlen(one)),
         *b = PQescapeIdentifier(r->admin, two, strlen(two)), sql[1024];
    PGresult *res;
    int rc = 0;

    snprintf(sql, sizeof(sql), fmt, a, b);
    res = PQexec(r->admin, sql);
    if (PQresultStatus(res) != PGRES_COMMAND_OK)
        rc = refuse("\"%s\" failed: %s", sql, PQerrorMessage(r->admin));
    PQclear(res);
    PQfreemem(a);
    PQfreemem(b);
    return rc;
}

/* `create database` for one that is like another, which is there. */
static const char create_like[] =
    "select format('create database %I template template0 owner %I encoding %L lc_collate %L "
    "lc_ctype %L', datname || '_calf_restore', pg_get_userbyid(datdba), "
    "pg_encoding_to_char(encoding), datcollate, datctype) || case datlocprovider when 'i' then "
    "format(' locale_provider icu icu_locale %L', coalesce(to_jsonb(d) ->> 'datlocale', "
    "to_jsonb(d) "
    "->> 'daticulocale')) when 'b' then format(' locale_provider builtin builtin_locale %L', "
    "to_jsonb(d) ->> 'datlocale') else '' end from pg_database d where datname = $1";

static int prepare(struct restore *r)
{
    bool clean = r->call->value[OPTION_CLEAN];
    char *there, *sql;
    PGresult *res;
    int rc = 0;

    /* postgres cannot be replaced from within */
    r->admin = target_connect_to(
        &r->target, clean && strcmp(r->database, "postgres") == 0 ? "template1" : "postgres");
    if (!r->admin)
        return 1;
    PQclear(PQexec(r->admin, "set client_min_messages = warning"));
    there = ask(r, "select datname from pg_database where datname = $1", r->database);
    strcpy(r->filled, r->database);
    if (!there) {
        rc = command(r, "create database %1$s template template0", r->database, "");
        r->created = rc == 0;
    } else if (clean) {
        snprintf(r->filled, sizeof(r->filled), "%s_calf_restore", r->database);
        command(r, "drop database if exists %1$s", r->filled, "");
        sql = ask(r, create_like, r->database);
        res = sql ? PQexec(r->admin, sql) : NULL;
        r->created = PQresultStatus(res) == PGRES_COMMAND_OK;
        if (!r->created)
            rc = refuse("cannot create a database for the restore: %s", PQerrorMessage(r->admin));
        PQclear(res);
        free(sql);
    }
    free(there);
    r->one_transaction = !r->created && !r->connects && !r->keep_going && r->jobs == 1;
    return rc;
}

/* A database with subscriptions, which a dump may have brought, cannot be dropped. */
static void drop_filled(struct restore *r)
{
    static const char subscriptions[] =
        "do $$ declare s name; begin for s in select subname from pg_subscription where subdbid = "
        "(select oid from pg_database where datname = current_database()) loop execute "
        "format('alter subscription %1$I disable', s); execute format('alter subscription %1$I set "
        "(slot_name = none)', s); execute format('drop subscription %1$I', s); end loop; end $$";
    PGconn *conn = target_connect_to(&r->target, r->filled);

    PQclear(PQexec(conn, subscriptions));
    PQfinish(conn);
    command(r, "drop database if exists %1$s with (force)", r->filled, "");
}

/* After a restore with this result. */
static int finish(struct restore *r, int rc)
{
    bool swapped = strcmp(r->filled, r->database) != 0;

    if (rc == 0 && swapped)
        rc = command(r, "drop database %1$s with (force)", r->database, "") != 0 ||
             command(r, "alter database %1$s rename to %2$s", r->filled, r->database) != 0;
    if (rc != 0 && r->created && !r->keep_going)
        drop_filled(r);
    if (rc == 0 || r->target.stopped)
        return rc;
    if (r->keep_going)
        return refuse("there were errors; everything else of %s was restored", r->file);
    if (r->created && !swapped)
        return refuse("%s was not restored; the database %s was not kept", r->file, r->database);
    if (r->one_transaction && r->commits)
        return refuse("%s was not restored; it says COMMIT itself (as pg_dump does after large "
                      "objects), so what came before that may stay in %s",
                      r->file, r->database);
    if (r->created || r->one_transaction)
        return refuse("%s was not restored; the database %s is as it was", r->file, r->database);
    return refuse("%s was not restored; what came before the error stays", r->file);
}

/* ---- the command
 * ---------------------------------------------------------------------------------- */

/* How much of the SQL was read, or how large the database has become. */
static void measure(struct progress *p)
{
    struct restore *r = p->owner;
    const char *parameter = r->filled;
    PGresult *res;
    struct stat st;

    if (r->format == SQL) {
        p->bytes = p->done = r->in->taken;
        if (fstat(r->in->fd, &st) == 0 && S_ISREG(st.st_mode))
            p->all = (unsigned long long)st.st_size;
    } else if (r->filling) {
        res = PQexecParams(r->watch, "select pg_database_size($1)", 1, NULL, &parameter, NULL, NULL,
                           0);
        if (PQresultStatus(res) == PGRES_TUPLES_OK)
            p->bytes = strtoull(PQgetvalue(res, 0, 0), NULL, 10);
        PQclear(res);
    }
}

static int work(void *arg)
{
    struct restore *r = arg;
    int rc;

    r->progress =
        (struct progress){.doing = "restoring", .noun = "object", .measure = measure, .owner = r};
    progress_begin(&r->progress);
    rc = r->format == SQL ? 0 : r->format == DIRECTORY ? check_directory(r) : spool(r);
    if (rc == 0 && r->format == TAR)
        rc = check_tar(r);
    if (rc == 0 && r->format != SQL) /* before anything is made or dropped */
        rc = count_entries(r);
    if (rc == 0 && r->format != SQL)
        r->versions = mentions_versions(r);
    if (rc == 0)
        rc = prepare(r);
    if (rc == 0) {
        r->errors = progress_messages(&r->progress, take_line);
        if (r->progress.shown)
            r->watch = target_connect(&r->target);
        r->filling = r->watch != NULL;
        rc = r->format == SQL || r->versions ? restore_sql(r)
             : r->jobs > 1                   ? restore_parallel(r)
                                             : restore_entries(r, NULL);
        progress_end(&r->progress);
        if (rc == 0 && r->left_out)
            fprintf(stderr,
                    "calf: %s was dumped from a newer PostgreSQL by an older pg_dump; what it says "
                    "of pg_attver, which means nothing here, was left out\n",
                    r->file);
        rc = finish(r, rc != 0 || r->failed || r->target.stopped);
    } else {
        progress_end(&r->progress);
    }
    PQfinish(r->watch);
    PQfinish(r->admin);
    return rc;
}

/* DIR and FILE; one word alone is FILE when it can be one. */
static const char *take_words(struct restore *r)
{
    char **words = r->call->words, toc[PATH_MAX];
    struct stat st;

    if (r->call->nwords == 2) {
        r->file = words[1];
        return words[0];
    }
    r->file = "-";
    if (r->call->nwords == 0)
        return NULL;
    snprintf(toc, sizeof(toc), "%s/toc.dat", words[0]);
    if (strcmp(words[0], "-") != 0 && access(toc, F_OK) < 0 &&
        (stat(words[0], &st) < 0 || S_ISDIR(st.st_mode)))
        return words[0];
    r->file = words[0];
    return NULL;
}

static int take_options(struct restore *r)
{
    struct call *c = r->call;
    const char *jobs = c->value[OPTION_JOBS], *database = c->value[OPTION_DATABASE];
    const char *dir = take_words(r);
    char *end;

    r->jobs = jobs ? (int)strtol(jobs, &end, 10) : 1;
    if (jobs && (end == jobs || *end || r->jobs < 1 || r->jobs > JOBS_MAX))
        return misuse(c, "--jobs wants a number from 1 to %d, not \"%s\"", JOBS_MAX, jobs);
    if (database && (!*database || strlen(database) >= (c->value[OPTION_CLEAN] ? 50 : 64)))
        return misuse(c, "\"%s\" cannot be the name of a database here", database);
    strcpy(r->database, database ? database : "postgres");
    r->keep_going = c->value[OPTION_KEEP_GOING];
    if (strcmp(r->file, "-") == 0 && isatty(0))
        return misuse(c, "say which file to restore%s%s", c->nwords ? "; this is none: " : "",
                      c->nwords ? c->words[0] : "");
    return target_name(&r->target, dir);
}

/* Once it is known what the file is. */
static int check_options(struct restore *r)
{
    struct call *c = r->call;

    if (r->connects && (c->value[OPTION_DATABASE] || c->value[OPTION_CLEAN]))
        return misuse(c, "%s connects to its databases itself; leave out --database and --clean",
                      r->file);
    if (r->jobs > 1 && (r->format == SQL || r->format == TAR))
        return misuse(c, "%s is no custom or directory archive; leave out --jobs", r->file);
    return 0;
}

int command_restore(struct call *c)
{
    static struct restore r;
    int rc;

    r.call = c;
    rc = take_options(&r);
    if (rc == 0)
        rc = open_file(&r);
    if (rc == 0)
        rc = check_options(&r);
    if (rc != 0)
        return rc;
    block_signals();
    rc = target_open(&r.target, c, true);
    if (rc != 0)
        return rc;
    rc = target_work(&r.target, work, &r);
    input_close(r.in);
    target_close(&r.target);
    return rc;
}

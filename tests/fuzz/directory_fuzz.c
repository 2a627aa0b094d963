/*
 * directory_fuzz.c - a damaged data directory is opened, or refused in a sentence, and nothing of
 * it stays behind
 *
 * One file or directory of a cluster, closed in order or not, is removed, cut, overwritten in part,
 * or another kind of thing.  All cases are in one process: the next one works as if nothing had
 * been.  How far PostgreSQL gets is its own matter.
 *
 * usage: directory SEED COUNT DIRECTORY
 */
#include "fuzz.h"

#include <calf.h>
#include <dirent.h>
#include <libpq-fe.h>

static char base[2][4096], data[4096];
static struct calf_error err;

static const char *const targets[] = {
    "PG_VERSION",
    "PG_VERSION",
    "global/pg_control",
    "global/pg_control",
    "global/pg_control",
    "global/pg_filenode.map",
    "global/1260",
    "global/1262",
    "global/PG_VERSION",
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "pg_ident.conf",
    "base/5/PG_VERSION",
    "base/5/pg_filenode.map",
    "base/5/1249",
    "base/5/1259",
    "pg_xact/0000",
    "pg_multixact/offsets/0000",
    "pg_multixact/members/0000",
    "pg_wal/000000010000000000000001",
    "pg_wal/000000010000000000000001",
    "postmaster.pid",
    "postmaster.opts",
    "backup_label",
    "tablespace_map",
    "recovery.signal",
    "standby.signal",
    "calf.creating",
    "calf.copying",
    "pg_wal",
    "pg_xact",
    "pg_tblspc",
    "pg_notify",
    "pg_stat",
    "pg_replslot",
    "global",
    "base",
    "base/5",
    "",
};

static int entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    MUST(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[16384];
    va_list ap;

    va_start(ap, format);
    vsnprintf(command, sizeof(command), format, ap);
    va_end(ap);
    MUST(system(command) == 0);
}

static void overwrite(const char *path, size_t size)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    unsigned char *bytes = fd < 0 || size == 0
                               ? MAP_FAILED
                               : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (bytes != MAP_FAILED) {
        size_t part = pick(2) && size > 512 ? 512 : size;

        for (int i = 1 + pick(8); i > 0; i--)
            damage(bytes, part);
        munmap(bytes, size);
    }
    if (fd >= 0)
        close(fd);
}

static void write_noise(const char *path)
{
    unsigned char noise[300];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t n = pick(sizeof(noise));

    for (size_t i = 0; i < n; i++)
        noise[i] = pick(3) ? (unsigned char)"0123456789 \n/-=':"[pick(16)] : pick(256);
    MUST(fd >= 0 && write(fd, noise, n) == (ssize_t)n);
    close(fd);
}

/* Says what it did. */
static const char *spoil(const char *path)
{
    struct stat st;
    bool is_there = lstat(path, &st) == 0, is_file = is_there && S_ISREG(st.st_mode);

    switch (pick(is_file ? 8 : 4)) {
    case 0: shell("rm -rf '%s'", path); return "removed";
    case 1: shell("rm -rf '%s' && mkdir '%s'", path, path); return "an empty directory";
    case 2:
        shell("rm -rf '%s'", path);
        MUST(symlink(pick(2) ? "nowhere" : path, path) == 0);
        return "a link to nothing";
    case 3:
        shell("rm -rf '%s'", path);
        write_noise(path);
        return "noise";
    case 4: MUST(truncate(path, 0) == 0); return "emptied";
    case 5: MUST(truncate(path, pick(st.st_size + 1)) == 0); return "cut";
    default: overwrite(path, st.st_size); return "overwritten";
    }
}

static void use(calf_db *db)
{
    PGconn *conn = PQconnectdb(calf_dsn(db));

    PQclear(PQexec(conn, "set statement_timeout = '10s'"));
    PQclear(
        PQexec(conn, "select count(*) from pg_class join pg_attribute on attrelid = pg_class.oid"));
    PQclear(PQexec(conn, "create table t as select 1"));
    PQfinish(conn);
}

/* True: it was opened. */
static bool one(int number, uint64_t seed)
{
    struct calf_options o = {.size = sizeof(o), .durability = CALF_NONE};
    char path[8192];
    const char *target, *what = "whole";
    calf_db *db = NULL;
    int rc;

    rng_seed(seed, number);
    target = targets[pick(sizeof(targets) / sizeof(targets[0]))];
    shell("rm -rf '%s' && cp -a '%s' '%s'", data, base[number % 2], data);
    snprintf(path, sizeof(path), "%s%s%s", data, *target ? "/" : "", target);
    if (number >= 2)
        what = spoil(path);
    printf("case %d: %s %s: ", number, target, what);
    fflush(stdout);
    alarm(60);
    rc = calf_open(data, &o, &db, &err);
    if (rc == CALF_OK) {
        MUST(db);
        use(db);
        rc = calf_close(db, number % 3 ? CALF_FAST : CALF_IMMEDIATE, &err);
        printf("opened\n");
        MUST(rc == CALF_OK);
        alarm(0);
        return true;
    }
    printf("%d %s\n", rc, err.text);
    MUST(!db && rc == (int)err.code && *err.text && number >= 2);
    alarm(0);
    return false;
}

int main(int argc, char **argv)
{
    struct calf_options o = {.size = sizeof(o), .durability = CALF_NONE};
    uint64_t seed = argc == 4 ? strtoull(argv[1], NULL, 10) : 0;
    int count = argc == 4 ? atoi(argv[2]) : 0, fds = 0, threads = 0, opened = 0;
    calf_db *db;

    MUST(argc == 4);
    printf("directory: seed %llu, %d cases\n", (unsigned long long)seed, count);
    snprintf(data, sizeof(data), "%s/data", argv[3]);
    for (int i = 0; i < 2; i++) {
        snprintf(base[i], sizeof(base[i]), "%s/base%d", argv[3], i);
        MUST(calf_open(base[i], &o, &db, &err) == CALF_OK);
        use(db);
        MUST(calf_close(db, i ? CALF_IMMEDIATE : CALF_FAST, &err) == CALF_OK);
    }
    for (int i = 0; i < count; i++) {
        opened += one(i, seed);
        if (i == 1) { /* images stay open once they were */
            fds = entries("/proc/self/fd");
            threads = entries("/proc/self/task");
        }
        MUST(i < 1 || (entries("/proc/self/fd") == fds && entries("/proc/self/task") == threads));
    }
    printf("%d opened\n%d passed, 0 failed\n", opened, count);
    return 0;
}

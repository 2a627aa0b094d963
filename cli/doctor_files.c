/*
 * doctor_files.c - `calf doctor`: a data directory, looked at from outside
 *
 * The rule that matters: everything here only reads, whoever has the directory open.
 */
#include "doctor.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

static bool is_there(const char *dir, const char *name)
{
    char path[PATH_MAX + 64];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return lstat(path, &st) == 0;
}

/* ---- what it is ----------------------------------------------------------------------------- */

static void check_kind(struct doctor *d)
{
    const char *dir = d->target.dir;
    struct calf_error err;
    char full[PATH_MAX];

    if (calf_look(dir, &d->status, &err) != CALF_OK) {
        report(d, LEVEL_PROBLEM, "directory", "%s", err.text);
        return;
    }
    if (realpath(dir, full))
        strcpy(d->target.dir, full);
    if (d->status.state == CALF_ABSENT && is_there(dir, "calf.creating")) {
        report(d, LEVEL_OK, "directory",
               "the creation of %s did not end; whoever opens it begins again", dir);
    } else if (d->status.state == CALF_ABSENT) {
        report(d, LEVEL_OK, "directory", "there is no database in %s yet; opening it makes one",
               dir);
    } else {
        d->exists = true;
        report(d, LEVEL_OK, "directory", "%s has a database of PostgreSQL's version %d", dir,
               atoi(strrchr(calf_version(), ' ')));
    }
}

static void check_holder(struct doctor *d)
{
    const struct calf_status *st = &d->status;

    if (st->state == CALF_CLOSED)
        report(d, LEVEL_OK, "state", "closed in order");
    else if (st->state == CALF_CRASHED)
        report(d, LEVEL_WARNING, "state",
               "not closed in order; it recovers when it is opened, nothing is to be done");
    else if (st->state == CALF_OPEN && st->uri[0])
        report(d, LEVEL_OK, "state", "open by %sprocess %ld", st->stock ? "a stock server, " : "",
               st->pid);
    else if (st->state == CALF_OPEN)
        report(d, LEVEL_WARNING, "state",
               "open by process %ld, which lets nobody in, so that what needs a session is not "
               "checked; let it call calf_listen()",
               st->pid);
}

/* ---- owner and permissions --------------------------------------------------------------------
 */

static struct {
    uid_t owner;
    int foreign, unreadable;
    char first_foreign[PATH_MAX], first_unreadable[PATH_MAX];
} walk;

static int look_at(const char *path, const struct stat *st, int type, struct FTW *at)
{
    bool readable = type != FTW_DNR && type != FTW_NS &&
                    (S_ISLNK(st->st_mode) || S_ISSOCK(st->st_mode) || access(path, R_OK) == 0);

    (void)at;
    if (type == FTW_NS && errno == ENOENT) /* a server removed it */
        return 0;
    if (type != FTW_NS && st->st_uid != walk.owner && walk.foreign++ == 0)
        snprintf(walk.first_foreign, sizeof(walk.first_foreign), "%s", path);
    if (!readable && errno != ENOENT && walk.unreadable++ == 0)
        snprintf(walk.first_unreadable, sizeof(walk.first_unreadable), "%s", path);
    return 0;
}

static void check_owner(struct doctor *d)
{
    const char *dir = d->target.dir;
    struct stat st;
    int before = d->count[LEVEL_PROBLEM];

    if (stat(dir, &st) < 0)
        return;
    if (st.st_uid != geteuid())
        report(d, LEVEL_PROBLEM, "owner",
               "%s belongs to user %u, and you are user %u; be that user, or chown -R it", dir,
               st.st_uid, geteuid());
    if ((st.st_mode & 0777) != 0700 && (st.st_mode & 0777) != 0750)
        report(d, LEVEL_PROBLEM, "permissions",
               "%s has mode %04o, and PostgreSQL wants 0700 or 0750; chmod 700 it", dir,
               st.st_mode & 0777);
    walk.owner = st.st_uid;
    walk.foreign = walk.unreadable = 0;
    nftw(dir, look_at, 16, FTW_PHYS);
    if (walk.foreign)
        report(d, LEVEL_PROBLEM, "owner",
               "%s%s belong%s to another user than the directory; chown -R it", walk.first_foreign,
               walk.foreign > 1 ? " and others" : "", walk.foreign > 1 ? "" : "s");
    if (walk.unreadable)
        report(d, LEVEL_PROBLEM, "permissions", "%s%s cannot be read; chmod -R u+rwX the directory",
               walk.first_unreadable, walk.unreadable > 1 ? " and others" : "");
    if (d->count[LEVEL_PROBLEM] == before)
        report(d, LEVEL_OK, "permissions", "all of it is yours, mode %04o", st.st_mode & 0777);
}

/* ---- configuration
 * ------------------------------------------------------------------------------- */

/* PostgreSQL's words without the time before and the lines after; in place. */
static const char *first_words(char *text)
{
    static const char *const begins[] = {"LOG:  ", "FATAL:  ", "error: "};

    for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
        char *at = strstr(text, begins[i]);

        if (at) {
            text = at + strlen(begins[i]);
            break;
        }
    }
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* The value of a setting, as the files say; false: they are wrong, and `value` says why. */
static bool read_setting(struct doctor *d, const char *name, char *value, size_t size)
{
    char text[4096];
    int code = output_of((char *[]){"postgres", "-C", (char *)name, "-D", d->target.dir, NULL},
                         text, sizeof(text));

    snprintf(value, size, "%s", code == 0 ? text : first_words(text));
    value[strcspn(value, "\n")] = '\0';
    return code == 0;
}

static void check_configuration(struct doctor *d)
{
    static const char *const names[] = {"postgresql.conf", "pg_hba.conf"};
    char why[PATH_MAX];

    for (int i = 0; i < 2; i++)
        if (!is_there(d->target.dir, names[i])) {
            report(d, LEVEL_PROBLEM, "configuration",
                   "%s/%s is missing; take it from a backup or from a new database", d->target.dir,
                   names[i]);
            return;
        }
    if (!read_setting(d, "hba_file", why, sizeof(why))) {
        report(d, LEVEL_PROBLEM, "configuration", "%s; correct it there", why);
        return;
    }
    strcpy(d->hba, why);
    read_setting(d, "ident_file", d->ident, sizeof(d->ident));
    read_setting(d, "shared_preload_libraries", d->preload, sizeof(d->preload));
    report(d, LEVEL_OK, "configuration", "postgresql.conf can be read");
}

/* ---- the control file
 * ----------------------------------------------------------------------------- */

/* What pg_controldata prints behind the label; NULL: nothing. */
static const char *labelled(const char *text, const char *label)
{
    const char *at = strstr(text, label);

    return at ? at + strlen(label) + strspn(at + strlen(label), " ") : NULL;
}

/* Transaction ids since the oldest that some database still needs to freeze. */
static void check_age(struct doctor *d, const char *text)
{
    const char *next = labelled(text, "NextXID:"), *oldest = labelled(text, "oldestXID:");
    const char *colon = next ? strchr(next, ':') : NULL;
    unsigned age;

    if (!colon || !oldest)
        return;
    age = (unsigned)strtoul(colon + 1, NULL, 10) - (unsigned)strtoul(oldest, NULL, 10);
    if (age > 1000000000)
        report(d, age > 1600000000 ? LEVEL_PROBLEM : LEVEL_WARNING, "transaction ids",
               "the oldest is %u transactions old, and at 2,147,483,648 PostgreSQL stops; leave "
               "the database open so that autovacuum works, or \"calf run vacuumdb %s -- --all "
               "--freeze\"",
               age, d->target.dir);
    else
        report(d, LEVEL_OK, "transaction ids", "the oldest is %u transactions old", age);
}

/* False: checksums cannot be looked at. */
static bool check_control(struct doctor *d)
{
    char text[8192];
    const char *checksums;

    if (output_of((char *[]){"pg_controldata", "-D", d->target.dir, NULL}, text, sizeof(text)) !=
        0) {
        report(d, LEVEL_PROBLEM, "control file",
               "global/pg_control cannot be read: %s; restore the directory from a backup",
               first_words(text));
        return false;
    }
    if (strstr(text, "CRC checksum does not match") || !labelled(text, "cluster state:")) {
        report(d, LEVEL_PROBLEM, "control file",
               "global/pg_control is damaged (its checksum is wrong); restore the directory from "
               "a backup");
        return false;
    }
    report(d, LEVEL_OK, "control file", "its checksum is right; state: %.*s",
           (int)strcspn(labelled(text, "cluster state:"), "\n"), labelled(text, "cluster state:"));
    check_age(d, text);
    checksums = labelled(text, "page checksum version:");
    if (!checksums || atoi(checksums) == 0) {
        report(d, LEVEL_WARNING, "checksums",
               "pages carry no checksums, so that damage of the disk is not noticed; \"calf run "
               "pg_checksums %s -- --enable\" while it is closed",
               d->target.dir);
        return false;
    }
    return true;
}

static void check_pages(struct doctor *d)
{
    char text[8192], *bad;
    struct calf_status now;
    struct calf_error err;
    int code;

    if (d->call->value[OPTION_QUICK] || d->status.state == CALF_OPEN)
        return; /* open: doctor_sql.c asks what PostgreSQL has met */
    if (d->status.state == CALF_CRASHED) {
        report(d, LEVEL_OK, "checksums", "not checked, because the database has to recover first");
        return;
    }
    code = output_of((char *[]){"pg_checksums", "--check", "-D", d->target.dir, NULL}, text,
                     sizeof(text));
    bad = strstr(text, "Bad checksums:");
    if (code == 0)
        report(d, LEVEL_OK, "checksums", "those of all pages are right");
    else if (calf_look(d->target.dir, &now, &err) == CALF_OK && now.state != CALF_CLOSED)
        report(d, LEVEL_OK, "checksums", "not checked to the end, because it was opened meanwhile");
    else if (bad)
        report(d, LEVEL_PROBLEM, "checksums",
               "%d page%s damaged (%s); restore from a backup, or read what is left with "
               "ignore_checksum_failure",
               atoi(bad + strlen("Bad checksums:")),
               atoi(bad + strlen("Bad checksums:")) == 1 ? " is" : "s are", first_words(text));
    else if (strstr(text, "could not read block") && strstr(text, " of 8192"))
        report(
            d, LEVEL_WARNING, "checksums",
            "a table ends in a part of a page, as a crash leaves it: PostgreSQL ignores that, but "
            "pg_checksums stops there (%s); \"vacuum full\" of that table ends it",
            first_words(text));
    else
        report(d, LEVEL_PROBLEM, "checksums", "they cannot be checked: %s; see to that first",
               first_words(text));
}

/* ---- what is left of others
 * ------------------------------------------------------------------------ */

/* A process id begins a lock file; one that is empty was left by who was just making it. */
static bool is_lock_file(const char *path)
{
    FILE *f = fopen(path, "re");
    int pid;
    bool is = !f || fscanf(f, "%d", &pid) == 1 || (feof(f) && !ferror(f));

    if (f)
        fclose(f);
    return is;
}

static void check_leftovers(struct doctor *d)
{
    static const char *const names[] = {"postmaster.pid", "pg_stat_tmp/calf.listen",
                                        "pg_stat_tmp/calf.listen.new", ".s.PGSQL.5432",
                                        ".s.PGSQL.5432.lock"};
    char path[PATH_MAX + 32], found[256] = "";
    struct sockaddr_un un;
    struct stat st;

    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", d->target.dir);
    if (strlen(path) >= sizeof(un.sun_path))
        report(d, LEVEL_WARNING, "socket",
               "%s is too long for a socket (%zu bytes, %zu are possible); \"calf serve --socket "
               "DIR\" with a shorter directory",
               path, strlen(path), sizeof(un.sun_path) - 1);
    else if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        report(d, LEVEL_PROBLEM, "socket", "%s is in the place of the socket; move it away", path);
    else if (strcat(path, ".lock") && !is_lock_file(path))
        report(d, LEVEL_PROBLEM, "socket", "%s is in the place of the socket's lock; move it away",
               path);
    else
        report(d, LEVEL_OK, "socket", "its place in the directory is free or in use by calf");
    snprintf(path, sizeof(path), "%s/postmaster.pid", d->target.dir);
    if (!is_lock_file(path))
        report(d, LEVEL_PROBLEM, "lock file",
               "%s is in the place of PostgreSQL's lock file; move it away", path);
    if (d->status.state == CALF_OPEN)
        return;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (is_there(d->target.dir, names[i]))
            snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%s",
                     found[0] ? ", " : "", names[i]);
    if (found[0])
        report(d, LEVEL_OK, "leftovers",
               "%s of a process that has ended; calf takes care of that when it opens", found);
}

/* ---- the file system
 * ----------------------------------------------------------------------------------- */

static void check_space(struct doctor *d, const char *dir)
{
    struct statvfs fs;
    unsigned long long left;

    if (statvfs(dir, &fs) < 0)
        return;
    left = (unsigned long long)fs.f_bavail * fs.f_frsize;
    if (left < 64ull << 20)
        report(d, LEVEL_PROBLEM, "disk space",
               "only %s are left on the file system of %s, and PostgreSQL stops when it is full; "
               "free some",
               human_size(left), dir);
    else if (left < 1ull << 30)
        report(d, LEVEL_WARNING, "disk space", "only %s are left on the file system of %s",
               human_size(left), dir);
    else if (fs.f_files && fs.f_favail < 1000)
        report(d, LEVEL_PROBLEM, "disk space",
               "only %llu more files can be made on the file system of %s; remove some",
               (unsigned long long)fs.f_favail, dir);
    else
        report(d, LEVEL_OK, "disk space", "%s are left for %s", human_size(left), dir);
}

static void check_file_system(struct doctor *d, const char *dir)
{
    static const struct {
        long type;
        const char *name;
        bool network;
    } kinds[] = {{0x01021994, "tmpfs", false},
                 {0x858458f6, "ramfs", false},
                 {0x6969, "NFS", true},
                 {0x517B, "SMB", true},
                 {(long)0xFF534D42, "CIFS", true},
                 {(long)0xFE534D42, "SMB", true},
                 {0x01021997, "9P", true},
                 {0x00C36400, "Ceph", true},
                 {0x65735546, "FUSE", true},
                 {0x5346414F, "AFS", true}};
    const char *name = NULL;
    struct statfs fs;
    size_t i = 0;

    if (statfs(dir, &fs) < 0)
        return;
    while (i < sizeof(kinds) / sizeof(kinds[0]) && kinds[i].type != fs.f_type)
        i++;
    name = i < sizeof(kinds) / sizeof(kinds[0]) ? kinds[i].name : NULL;
    if (name && kinds[i].network)
        report(d, LEVEL_WARNING, "file system",
               "%s is on %s: locks and fsync may not hold what PostgreSQL needs, above all with "
               "two machines; keep it on a local disk",
               dir, name);
    else if (name)
        report(d, LEVEL_WARNING, "file system",
               "%s is on %s, in memory: its data are gone when the machine restarts; keep it on "
               "a disk",
               dir, name);
    else if (fs.f_type == 0x794c7630)
        report(d, LEVEL_WARNING, "file system",
               "%s is in a container's own layer: its data are gone with the container; keep it "
               "on a volume",
               dir);
    else
        report(d, LEVEL_OK, "file system", "%s is on a local disk", dir);
}

/* The directory, and where links lead out of it: pg_wal, tablespaces. */
static void check_places(struct doctor *d)
{
    char spaces[PATH_MAX + 16], path[PATH_MAX + 300];
    struct dirent *e;
    struct stat st;
    DIR *list;

    check_file_system(d, d->target.dir);
    check_space(d, d->target.dir);
    snprintf(path, sizeof(path), "%s/pg_wal", d->target.dir);
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        check_file_system(d, path);
        check_space(d, path);
    }
    snprintf(spaces, sizeof(spaces), "%s/pg_tblspc", d->target.dir);
    list = opendir(spaces);
    while (list && (e = readdir(list))) {
        snprintf(path, sizeof(path), "%s/%s", spaces, e->d_name);
        if (lstat(path, &st) < 0 || !S_ISLNK(st.st_mode))
            continue;
        if (stat(path, &st) < 0) {
            report(d, LEVEL_PROBLEM, "tablespace",
                   "%s leads nowhere (%s); mount what belongs there", path, strerror(errno));
            continue;
        }
        check_file_system(d, path);
        check_space(d, path);
    }
    if (list)
        closedir(list);
}

/* Where the directory would be made. */
static void check_parent(struct doctor *d)
{
    char copy[PATH_MAX], *parent;

    strcpy(copy, d->target.dir);
    parent = dirname(copy);
    if (access(parent, W_OK | X_OK) < 0)
        report(d, LEVEL_PROBLEM, "directory", "%s cannot be made in %s: %s", d->target.dir, parent,
               strerror(errno));
    check_space(d, parent);
}

void check_directory(struct doctor *d)
{
    check_kind(d);
    if (!d->exists) {
        struct stat st;

        if (stat(d->target.dir, &st) < 0) {
            if (errno == ENOENT)
                check_parent(d);
        } else if (S_ISDIR(st.st_mode)) {
            if (access(d->target.dir, R_OK | X_OK) < 0)
                check_owner(d);
            check_places(d);
        }
        return;
    }
    check_holder(d);
    check_owner(d);
    check_places(d);
    check_leftovers(d);
    check_configuration(d);
    if (check_control(d))
        check_pages(d);
}

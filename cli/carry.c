/*
 * carry.c - the configuration of a data directory for one of a newer version
 *
 * What is the owner's own, and not a server's, is what is no directory of PostgreSQL's and no file
 * that a server keeps.  Which settings the new version refuses is not known here: its postgres says
 * it, one setting at a time, and that is commented out.
 */
#include "upgrade.h"
#include "doctor.h" /* output_of() */

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- copying -----------------------------------------------------------------------------------
 */

static const char *copy_from, *copy_to;

static bool is_the_servers(const char *name, bool directory)
{
    static const char *const patterns[] = {"PG_VERSION",
                                           "postmaster.*",
                                           "current_logfiles*",
                                           "backup_label*",
                                           "tablespace_map*",
                                           "backup_manifest*",
                                           "calf.*",
                                           ".s.PGSQL.*",
                                           "base",
                                           "global",
                                           "log",
                                           "*.signal",
                                           "lost+found"};

    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    return directory && strncmp(name, "pg_", 3) == 0;
}

static int copy_bytes(const char *from, const char *to, mode_t mode)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char buf[64 << 10];
    ssize_t n = out < 0 ? -1 : 0;

    while (out >= 0 && (n = read(in, buf, sizeof(buf))) > 0)
        if (write(out, buf, (size_t)n) != n) {
            n = -1;
            break;
        }
    if (out >= 0 && fchmod(out, mode & 0777) < 0)
        n = -1;
    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) < 0)
        n = -1;
    return n < 0 ? refuse("cannot copy %s to %s: %s", from, to, strerror(errno)) : 0;
}

static int copy_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    const char *below = path + strlen(copy_from) + 1;
    char to[PATH_MAX * 2], target[PATH_MAX];
    ssize_t n;

    if (at->level == 0)
        return 0;
    if (at->level == 1 && is_the_servers(below, type != FTW_F))
        return type == FTW_D ? FTW_SKIP_SUBTREE : 0;
    snprintf(to, sizeof(to), "%s/%s", copy_to, below);
    if (type == FTW_D)
        return mkdir(to, st->st_mode & 0777) == 0 || errno == EEXIST
                   ? 0
                   : refuse("cannot create %s: %s", to, strerror(errno));
    if (type == FTW_SL) { /* a certificate of the system's, say */
        n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        unlink(to); /* initdb's */
        return n > 0 && symlink(target, to) == 0
                   ? 0
                   : refuse("cannot copy the link %s: %s", path, strerror(errno));
    }
    if (type == FTW_F && S_ISREG(st->st_mode))
        return copy_bytes(path, to, st->st_mode);
    return S_ISREG(st->st_mode) || type != FTW_F ? refuse("cannot read %s", path) : 0;
}

/* ---- what this version refuses ------------------------------------------------------------------
 */

static const char *refused_name, *refused_why;
static int commented;

/* Does the line set it? */
static bool sets(const char *line, const char *name)
{
    size_t n = strlen(name);

    line += strspn(line, " \t");
    return strncasecmp(line, name, n) == 0 && line[n] && strchr(" \t=", line[n]);
}

static int comment_out(const char *path, const struct stat *st, int type, struct FTW *at)
{
    size_t n = strlen(path), size = 0;
    char *line = NULL, *text = NULL;
    const char *base = path + at->base;
    bool found = false;
    FILE *in, *out;

    if (type != FTW_F || n < 5 || strcmp(path + n - 5, ".conf") != 0 ||
        strcmp(base, "pg_hba.conf") == 0 || strcmp(base, "pg_ident.conf") == 0)
        return 0;
    in = fopen(path, "re");
    out = in ? open_memstream(&text, &size) : NULL;
    for (size_t room = 0; out && getline(&line, &room, in) >= 0;) {
        if (sets(line, refused_name)) {
            found = true;
            fprintf(out, "# PostgreSQL %d: %s\n#", CALF_PG_MAJOR, refused_why);
        }
        fputs(line, out);
    }
    free(line);
    if (in)
        fclose(in);
    if (out)
        fclose(out);
    if (found) {
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

        if (fd < 0 || write(fd, text, size) != (ssize_t)size)
            refuse("cannot write %s: %s", path, strerror(errno));
        else
            commented++;
        if (fd >= 0)
            close(fd);
        chmod(path, st->st_mode & 0777);
        printf("calf: %s: %s is commented out (%s)\n", base, refused_name, refused_why);
    }
    free(text);
    return 0;
}

/* The first `parameter "NAME"` of what postgres says, and that line's words; false: there is none.
 */
static bool find_refused(char *text, char **why, char *name, size_t size)
{
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *at = strstr(line, "parameter \""), *end = at ? strchr(at + 11, '"') : NULL;
        char *words = strstr(line, "LOG:  ");

        if (!words || !end)
            continue;
        *end = '\0';
        snprintf(name, size, "%s", at + 11);
        *end = '"';
        *why = words + 6;
        at = strstr(*why, " in file \"");
        if (at)
            *at = '\0';
        return true;
    }
    return false;
}

int carry_configuration(const char *from, const char *to)
{
    char text[16384], said[16384], name[256], *why;

    copy_from = from;
    copy_to = to;
    if (nftw(from, copy_entry, 16, FTW_PHYS | FTW_ACTIONRETVAL) != 0)
        return 1;
    for (;;) {
        if (output_of((char *[]){"postgres", "-C", "config_file", "-D", (char *)to, NULL}, text,
                      sizeof(text)) == 0)
            return 0;
        strcpy(said, text);
        commented = 0;
        if (find_refused(text, &why, name, sizeof(name))) {
            refused_name = name;
            refused_why = why;
            nftw(to, comment_out, 16, FTW_PHYS);
        }
        if (!commented)
            return refuse(
                "PostgreSQL %d cannot read the configuration of %s; correct it there:\n%s",
                CALF_PG_MAJOR, from, said);
    }
}

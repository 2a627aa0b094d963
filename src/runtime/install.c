/*
 * install.c - where the images are
 *
 * This library carries them (archive.S), and they appear below its own name: nothing else can be
 * there.  $CALF_PG names a directory instead, for debugging.  What a start needs is checked here,
 * so that a missing or damaged image is a sentence before anything is touched.
 */
#include "runtime.h"

#include "../kernel/archive.h"
#include "../loader/loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef CALF_PG_MAJOR
#define CALF_PG_MAJOR 17
#endif

/* archive.S; not in the program that makes the archive */
extern const char calf_archive[] __attribute__((weak)), calf_archive_end[] __attribute__((weak));

int fail(struct calf_error *err, enum calf_code code, const char *fmt, ...)
{
    static const char gap[] = " ... ";
    const size_t half = (sizeof(err->text) - sizeof(gap)) / 2;
    char *text = NULL, *tail;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof(err->text)) { /* a long path must not hide what was wrong with it */
        tail = text + n - half;
        while ((*tail & 0xC0) == 0x80) /* a character of UTF-8 is not cut */
            tail++;
        n = (int)half;
        while ((text[n] & 0xC0) == 0x80)
            n--;
        snprintf(err->text, sizeof(err->text), "%.*s%s%s", n, text, gap, tail);
    } else {
        strcpy(err->text, n < 0 ? "out of memory" : text);
    }
    free(text);
    err->code = code;
    return -1;
}

/* The major version that the share files say. */
static int read_major(const char *root)
{
    char path[PATH_MAX + 64], line[128];
    int major = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/include/pg_config.h", root);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "#define PG_MAJORVERSION_NUM %d", &major) == 1)
            break;
    if (f)
        fclose(f);
    return major;
}

/*
 * The file that this code is in, which the archive is part of: a shared library, or the program
 * that libcalf.a was linked into.  That has no name in the linker's list, whatever argv[0] says.
 */
static int own_file(char out[PATH_MAX])
{
    char path[PATH_MAX];
    struct link_map *map;
    Dl_info info;
    ssize_t n;

    if (dladdr1((void *)install_find, &info, (void **)&map, RTLD_DL_LINKMAP) && *map->l_name &&
        realpath(map->l_name, out))
        return 0;
    n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    if (n > 0 && !realpath(path, out)) /* deleted meanwhile */
        strcpy(out, path);
    return n > 0 ? 0 : -1;
}

static int find_carried(struct install *out, struct calf_error *err)
{
    char path[PATH_MAX + 32], why[768];
    const struct archive_entry *postgres;
    bool inside;
    int rc;

    if (own_file(out->root) < 0)
        return fail(err, CALF_INSTALL, "cannot find out where this program is; is /proc mounted?");
    rc = archive_mount(out->root, calf_archive, calf_archive_end - calf_archive, why, sizeof(why));
    if (rc < 0)
        return rc == -EBADMSG ? fail(err, CALF_INSTALL, "%s; install it again", why)
                              : fail(err, CALF_SYSTEM, "%s", why);
    snprintf(path, sizeof(path), "%s/bin/postgres", out->root);
    postgres = archive_find(path, &inside);
    rc = postgres ? archive_check(postgres) : -EBADMSG;
    if (rc < 0 && rc != -EBADMSG)
        return fail(err, CALF_SYSTEM, "cannot read PostgreSQL's program: %s", strerror(-rc));
    if (rc < 0)
        return fail(err, CALF_INSTALL,
                    "PostgreSQL's program in %s is damaged (sha256); install it again", out->root);
    snprintf(path, sizeof(path), "%s/template", out->root);
    out->template = archive_find(path, &inside);
    out->major = CALF_PG_MAJOR;
    return 0;
}

int install_find(struct install *out, struct calf_error *err)
{
    static const char *const needed[] = {"postgres", "initdb"};
    const char *env = getenv("CALF_PG");
    char path[PATH_MAX + 32], why[768];
    struct image *im;

    out->template = NULL;
    if (calf_archive && (!env || !*env))
        return find_carried(out, err);
    if (!env || !realpath(env, out->root))
        return fail(err, CALF_INSTALL,
                    "cannot open %s: CALF_PG must name a directory with PostgreSQL's bin, lib and "
                    "share, built for calf",
                    env ? env : "PostgreSQL");
    out->major = read_major(out->root);
    for (int i = 0; i < 2; i++) {
        int fd;

        snprintf(path, sizeof(path), "%s/bin/%s", out->root, needed[i]);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return fail(err, CALF_INSTALL,
                        "cannot open %s: %s; CALF_PG must name a PostgreSQL "
                        "built for calf",
                        path, strerror(errno));
        if (image_open(fd, path, &im, why, sizeof(why)) < 0)
            return fail(err, CALF_INSTALL, "%s; run \"make\" to build it again", why);
        image_close(im);
    }
    return 0;
}

/*
 * install.c - where the images are
 *
 * A build tree or an installation keeps them beside the program that uses them;
 * $CALF_PG points elsewhere.  The images themselves are found and checked here,
 * so that a missing or damaged one is a sentence before anything is touched.
 */
#include "runtime.h"

#include "../loader/loader.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef CALF_PG_MAJOR
#define CALF_PG_MAJOR 17
#endif

int fail(struct calf_error *err, enum calf_code code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
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

int install_find(struct install *out, struct calf_error *err)
{
    const char *env = getenv("CALF_PG");
    char root[PATH_MAX], exe[PATH_MAX], path[PATH_MAX + 64], why[768];
    static const char *const needed[] = {"postgres", "initdb"};
    struct image *im;
    Dl_info here;
    ssize_t n;

    /* the library that this code is in, else the program */
    if (dladdr((void *)install_find, &here) && strstr(here.dli_fname, ".so") &&
        realpath(here.dli_fname, exe))
        n = strlen(exe);
    else
        n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n < 0)
        return fail(err, CALF_INSTALL,
                    "cannot find out where this program is; set CALF_PG to the directory that "
                    "holds PostgreSQL's bin, lib and share");
    exe[n] = '\0';
    if (env && *env)
        snprintf(root, sizeof(root), "%s", env);
    else if (snprintf(root, sizeof(root), "%s/pg%d/pgsql", dirname(exe), CALF_PG_MAJOR) >=
             (int)sizeof(root))
        return fail(err, CALF_INSTALL, "the path of this program is too long");
    out->major = read_major(root);
    snprintf(out->bin, sizeof(out->bin), "%.*s/bin", PATH_MAX - 8, root);
    snprintf(out->lib, sizeof(out->lib), "%.*s/lib", PATH_MAX - 8, root);
    snprintf(out->template, sizeof(out->template), "%.*s/template", PATH_MAX - 16, root);
    if (access(out->template, R_OK | X_OK) < 0)
        out->template[0] = '\0';
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", out->bin, needed[i]);
        if (access(path, R_OK | X_OK) < 0)
            return fail(err, CALF_INSTALL,
                        "no PostgreSQL built for calf in %s; run \"make\" or set CALF_PG", root);
        if (image_open(path, &im, why, sizeof(why)) < 0)
            return fail(err, CALF_INSTALL, "%s; run \"make\" to build it again", why);
        image_close(im);
    }
    return 0;
}

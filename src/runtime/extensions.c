/*
 * extensions.c - directories with the user's own extensions
 *
 * PostgreSQL looks for an extension in its own share and lib directories only.  What is not there
 * is found in these, in the order in which they are named: nothing of PostgreSQL's own is replaced.
 */
#include "runtime.h"

#include "../kernel/kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void bind_one(struct kernel *k, const struct install *in, const char *to, const char *dir,
                     const char *below, const char *name)
{
    char at[PATH_MAX + 32], from[PATH_MAX + 128];
    struct stat st;

    snprintf(at, sizeof(at), "%s/%s", in->root, to);
    snprintf(from, sizeof(from), "%s%s%s", dir, below, name);
    if (stat(from, &st) == 0 && S_ISDIR(st.st_mode))
        kernel_bind(k, at, from);
}

/* `dir` is a flat directory, an installation's prefix, or where a Debian package was unpacked. */
static void bind_directory(struct kernel *k, const struct install *in, const char *dir)
{
    char share[2][48], lib[2][48];

    bind_one(k, in, "share/extension", dir, "", "");
    bind_one(k, in, "share/extension", dir, "", "/extension");
    bind_one(k, in, "share/tsearch_data", dir, "", "/tsearch_data");
    bind_one(k, in, "lib", dir, "", "");
    for (int usr = 0; usr < 2; usr++) {
        const char *prefix = usr ? "/usr" : "";

        snprintf(share[0], sizeof(share[0]), "%s/share", prefix);
        snprintf(share[1], sizeof(share[1]), "%s/share/postgresql", prefix);
        snprintf(lib[0], sizeof(lib[0]), "%s/lib", prefix);
        snprintf(lib[1], sizeof(lib[1]), "%s/lib/postgresql", prefix);
        for (int i = 0; i < 2; i++) {
            bind_one(k, in, "share/extension", dir, share[i], "/extension");
            bind_one(k, in, "share/tsearch_data", dir, share[i], "/tsearch_data");
            bind_one(k, in, "lib", dir, lib[i], "");
        }
        snprintf(share[0], sizeof(share[0]), "%s/share/postgresql/%d", prefix, in->major);
        snprintf(lib[0], sizeof(lib[0]), "%s/lib/postgresql/%d", prefix, in->major);
        bind_one(k, in, "share/extension", dir, share[0], "/extension");
        bind_one(k, in, "share/tsearch_data", dir, share[0], "/tsearch_data");
        bind_one(k, in, "lib", dir, lib[0], "/lib");
    }
}

int extensions_bind(struct kernel *k, const struct install *in, const char *dirs,
                    struct calf_error *err)
{
    char *copy = strdup(dirs), *rest = NULL, dir[PATH_MAX];
    struct stat st;
    int rc = 0;

    CHECK(copy);
    for (char *name = strtok_r(copy, ":", &rest); name && rc == 0;
         name = strtok_r(NULL, ":", &rest)) {
        if (!realpath(name, dir) || stat(dir, &st) < 0)
            rc = fail(err, CALF_MISUSE, "cannot open the extension directory %s: %s", name,
                      strerror(errno));
        else if (!S_ISDIR(st.st_mode))
            rc = fail(err, CALF_MISUSE, "the extension directory %s is no directory", name);
        else
            bind_directory(k, in, dir);
    }
    free(copy);
    return rc;
}

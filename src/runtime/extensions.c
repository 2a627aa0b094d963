/*
 * extensions.c - directories with the user's own extensions
 *
 * PostgreSQL looks for an extension in its own share and lib directories only.  What is not there
 * is found in these, in the order in which they are named: nothing of PostgreSQL's own is replaced.
 */
#include "runtime.h"

#include "../kernel/kernel.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Binds a directory whose name is printed like that, if it is there.  False: no memory. */
__attribute__((format(printf, 4, 5))) static bool
bind_found(struct kernel *k, const struct install *in, const char *to, const char *from, ...)
{
    char at[PATH_MAX + 32], path[PATH_MAX + 128];
    struct stat st;
    va_list ap;

    snprintf(at, sizeof(at), "%s/%s", in->root, to);
    va_start(ap, from);
    vsnprintf(path, sizeof(path), from, ap);
    va_end(ap);
    return stat(path, &st) < 0 || !S_ISDIR(st.st_mode) || kernel_bind(k, at, path) == 0;
}

/* `dir` is a flat directory, an installation's prefix, or where a Debian package was unpacked. */
static bool bind_directory(struct kernel *k, const struct install *in, const char *dir)
{
    static const char *const prefixes[] = {"", "/usr"};
    char major[32];
    const char *const below[] = {"", "/postgresql", major};
    bool ok;

    snprintf(major, sizeof(major), "/postgresql/%d", in->major);
    ok = bind_found(k, in, "share/extension", "%s", dir) &&
         bind_found(k, in, "share/extension", "%s/extension", dir) &&
         bind_found(k, in, "share/tsearch_data", "%s/tsearch_data", dir) &&
         bind_found(k, in, "lib", "%s", dir);
    for (int p = 0; p < 2; p++)
        for (int b = 0; b < 3; b++)
            ok = ok &&
                 bind_found(k, in, "share/extension", "%s%s/share%s/extension", dir, prefixes[p],
                            below[b]) &&
                 bind_found(k, in, "share/tsearch_data", "%s%s/share%s/tsearch_data", dir,
                            prefixes[p], below[b]) &&
                 bind_found(k, in, "lib", "%s%s/lib%s%s", dir, prefixes[p], below[b],
                            below[b] == major ? "/lib" : "");
    return ok;
}

int extensions_bind(struct kernel *k, const struct install *in, const char *dirs,
                    struct calf_error *err)
{
    char *copy = strdup(dirs), *rest = NULL, dir[PATH_MAX];
    struct stat st;
    int rc = 0;

    if (!copy)
        return fail(err, CALF_SYSTEM, "out of memory");
    for (char *name = strtok_r(copy, ":", &rest); name && rc == 0;
         name = strtok_r(NULL, ":", &rest)) {
        if (!realpath(name, dir) || stat(dir, &st) < 0)
            rc = fail(err, CALF_MISUSE, "cannot open the extension directory %s: %s", name,
                      strerror(errno));
        else if (!S_ISDIR(st.st_mode))
            rc = fail(err, CALF_MISUSE, "the extension directory %s is no directory", name);
        else if (!bind_directory(k, in, dir))
            rc = fail(err, CALF_SYSTEM, "out of memory");
    }
    free(copy);
    return rc;
}

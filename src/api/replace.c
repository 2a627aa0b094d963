/*
 * replace.c - libcalf in the place of a libpq.so.5 that is asked for later
 *
 * The dynamic linker looks a library up by its soname first: what is loaded and called libpq.so.5
 * is what everybody gets from then on.  So an empty library of that name is loaded, out of memory,
 * which needs libcalf.so.0 (`make` builds it); lookups in it, and in what needs it, go on there.
 *
 * The rule that matters: two libpqs never mix.  Neither has symbol versions, because a program that
 * was built for the one is to run with the other; so where libcalf is in front of the global scope
 * (the program is linked with it, or it was preloaded), the calls that another libpq makes of
 * itself would come here.  There it is replaced before anybody can load it.
 */
#include "api.h"

#include <dlfcn.h>
#pragma GCC visibility push(default) /* as libpq.c has it */
#include <libpq-fe.h>
#pragma GCC visibility pop
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

extern const char calf_libpq_name[], calf_libpq_name_end[];

enum libpq { NOT_LOADED, OURS, ANOTHER };

/* Whose functions a library that is loaded already leads to; NULL: the global scope. */
static enum libpq find(const char *library, struct calf_error *err)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    void *function = handle ? dlsym(handle, "PQlibVersion") : NULL;
    Dl_info info = {0};

    if (handle)
        dlclose(handle);
    if (!function || function == (void *)PQlibVersion)
        return function ? OURS : NOT_LOADED;
    dladdr(function, &info);
    fail(
        err, CALF_MISUSE,
        "another libpq is loaded already (%s), which libcalf cannot replace any more; load libcalf "
        "first",
        info.dli_fname ? info.dli_fname : library);
    return ANOTHER;
}

int calf_replace_libpq(struct calf_error *err)
{
    struct calf_error own;
    char path[64];
    void *handle;
    int fd;

    err = error_room(err, &own);
    switch (find("libpq.so.5", err)) {
    case OURS: return CALF_OK;
    case ANOTHER: return err->code;
    case NOT_LOADED: break;
    }
    if (find("libcalf.so.0", err) != OURS)
        return fail(err, CALF_MISUSE, "a program with libcalf.a inside cannot replace libpq.so.5");
    fd = memfd_create("libpq.so.5", MFD_CLOEXEC);
    if (fd < 0 || write(fd, calf_libpq_name, calf_libpq_name_end - calf_libpq_name) !=
                      calf_libpq_name_end - calf_libpq_name) {
        fail(err, CALF_SYSTEM, "libpq.so.5 in memory: %m");
        goto out;
    }
    /* the dot: the linker keeps this name, and somebody else may come with the descriptor's */
    snprintf(path, sizeof(path), "/proc/self/fd/./%d", fd);
    handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle)
        fail(err, CALF_SYSTEM, "libpq.so.5 in memory: %s", dlerror());
out:
    if (fd >= 0)
        close(fd);
    return err->code;
}

__attribute__((constructor)) static void replace_where_global(void)
{
    struct calf_error err = {0};

    if (find(NULL, &err) == OURS)
        calf_replace_libpq(&err);
}

/*
 * handle.c - the handles of calf.h
 *
 * A handle is a number, not an address: an entry of a table and how often that entry was used.  So
 * a closed one is known without touching memory, and is never taken for a later one.
 */
#include "api.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HANDLES_MAX 65536

/* a handle: index + 1 in the low 16 bits, then `uses` */
static struct entry {
    void *object; /* NULL: free */
    enum handle_kind kind;
    unsigned long uses;
} * entries;
static size_t nentries;

pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER; /* taken last */

/* An unused entry, or NULL.  `handles_lock` held. */
static struct entry *unused(void)
{
    size_t at = 0;

    while (at < nentries && entries[at].object)
        at++;
    if (at == nentries) {
        size_t more = nentries ? nentries * 2 : 16;
        struct entry *grown = more < HANDLES_MAX ? realloc(entries, more * sizeof(*entries)) : NULL;

        if (!grown)
            return NULL;
        memset(grown + nentries, 0, (more - nentries) * sizeof(*entries));
        entries = grown;
        nentries = more;
    }
    return &entries[at];
}

/* The entry of an open handle, or NULL.  `handles_lock` held. */
static struct entry *entry_of(const void *handle)
{
    uintptr_t value = (uintptr_t)handle;
    size_t at = (value & 0xffff) - 1;

    if (at >= nentries || !entries[at].object || entries[at].uses != value >> 16)
        return NULL;
    return &entries[at];
}

void *handle_new(enum handle_kind kind, void *object, struct calf_error *err)
{
    uintptr_t value = 0;
    struct entry *e;

    pthread_mutex_lock(&handles_lock);
    e = unused();
    if (e) {
        *e = (struct entry){object, kind, e->uses + 1};
        value = e->uses << 16 | (uintptr_t)(e - entries + 1);
    }
    pthread_mutex_unlock(&handles_lock);
    if (!value)
        fail(err, CALF_SYSTEM, "too many handles, or out of memory");
    return (void *)value;
}

void *handle_object(const void *handle, enum handle_kind kind)
{
    struct entry *e;
    void *object;

    pthread_mutex_lock(&handles_lock);
    e = entry_of(handle);
    object = e && e->kind == kind ? e->object : NULL;
    pthread_mutex_unlock(&handles_lock);
    return object;
}

void handle_end(const void *handle)
{
    pthread_mutex_lock(&handles_lock);
    entry_of(handle)->object = NULL;
    pthread_mutex_unlock(&handles_lock);
}

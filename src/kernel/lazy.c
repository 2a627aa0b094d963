/*
 * lazy.c - libraries of the host that are loaded when one of their functions is first called
 *
 * PostgreSQL names ICU, libxml2, LZ4, zstd and the TLS half of OpenSSL, and most servers never call
 * them.  With what they name in turn they are 3.5 MB of a host's memory.  So an import of one of
 * them is bound to a stub (context_x86_64.S), a jump through `lazy_targets`, which at first leads
 * to lazy_find(); stubs belong to the host, as the libraries do, so all instances share them.
 *
 * The rule that matters: only what a function's call would find is put off.  A variable that an
 * image refers to loads the library at once, unless it is the program's own copy (R_X86_64_COPY;
 * xmlFree and four tables of libxml2 in postgres): nobody can have something to do with that
 * before a function was called, so it gets its value when the library comes.
 *
 * Not done: an import that the library does not have is found out at the first call.
 */
#include "kernel.h"

#include <dlfcn.h>

_Noreturn void sys_exit(int code);
void *lazy_find(unsigned at);

/* Which of them a name belongs to; what begins with such a prefix in libc is not bound lazily. */
static const struct {
    const char *library, *prefix;
} homes[] = {
    {"libicui18n.so", "u"},
    {"libicuuc.so", "u"},
    {"libxml2.so", "xml"},
    {"libxml2.so", "__xml"},
    {"libxslt.so", "xslt"},
    {"libexslt.so", "exslt"},
    {"liblz4.so", "LZ4"},
    {"libzstd.so", "ZSTD_"},
    {"libssl.so", "SSL_"},
    {"libssl.so", "TLS_"},
    {"libssl.so", "OPENSSL_init_ssl"},
    {"libssl.so", "DTLS_"},
};

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

bool lazy_library(const char *soname)
{
    for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++)
        if (begins(soname, homes[i].library))
            return true;
    return false;
}

const char *lazy_home(const struct instance *in, const char *name)
{
    for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
        if (!begins(name, homes[i].prefix))
            continue;
        for (int n = 0; n < in->nneeded; n++)
            if (begins(in->needed[n], homes[i].library))
                return dlsym(host_library("libc.so.6"), name) ? NULL : in->needed[n];
    }
    return NULL;
}

/* ---- functions --------------------------------------------------------------------------- */

#define STUB_SIZE 16
#define STUB_FIND 6 /* behind its jump: what leads to lazy_find() */

extern char lazy_stubs[];
void *lazy_targets[LAZY_STUBS]; /* where each stub jumps to */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static struct {
    char *name, *library;
} functions[LAZY_STUBS];
static unsigned nfunctions;

void *lazy_function(const char *library, const char *name)
{
    unsigned i;
    char *stub = NULL;

    pthread_mutex_lock(&lock);
    for (i = 0; i < nfunctions && strcmp(functions[i].name, name) != 0; i++)
        ;
    if (i < LAZY_STUBS)
        stub = lazy_stubs + i * STUB_SIZE;
    if (i == nfunctions && stub) {
        char *n = strdup(name), *l = strdup(library);

        if (n && l) {
            functions[i].name = n;
            functions[i].library = l;
            lazy_targets[i] = stub + STUB_FIND;
            nfunctions++;
        } else {
            free(n);
            free(l);
            stub = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    return stub;
}

/* The process goes on as if the library had called exit(): PostgreSQL cleans up then. */
static _Noreturn void give_up(const char *library, const char *name, const char *why)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "calf: %s needs %s of %s: %s\n",
                     self()->prog->data.progname_, name, library, why);

    sys_write(2, text, n < (int)sizeof(text) ? n : (int)sizeof(text) - 1);
    sys_exit(1);
}

/*
 * The function of a stub that was called.  Runs on the process's stack between two instructions
 * of an image, in which no signal is delivered: it is code of the host.
 */
void *lazy_find(unsigned at)
{
    int saved = errno, rc;
    const char *library, *name;
    void *handle, *addr;

    pthread_mutex_lock(&lock);
    library = functions[at].library;
    name = functions[at].name;
    pthread_mutex_unlock(&lock);
    handle = host_library(library);
    if (!handle || !(addr = dlsym(handle, name)))
        give_up(library, name, host_library_error());
    if ((rc = lazy_objects(NULL)) < 0)
        give_up(library, name, strerror(-rc));
    lazy_targets[at] = addr;
    errno = saved;
    return addr;
}

/* ---- a program's own copies of variables ---------------------------------------------------- */

static struct object {
    struct object *next;
    struct instance *in;
    void *copy;
    size_t size;
    bool ready; /* the instance is relocated */
    char *name, *library;
} * objects;

bool lazy_object(struct instance *in, const char *library, const char *name, void *copy,
                 size_t size)
{
    struct object *o;
    char *n, *l;

    pthread_mutex_lock(&lock);
    for (o = objects; o && o->copy != copy; o = o->next)
        ;
    if (!o) { /* else of an earlier run of the same program */
        o = malloc(sizeof(*o));
        n = strdup(name);
        l = strdup(library);
        if (o && n && l) {
            *o = (struct object){objects, in, copy, size, false, n, l};
            objects = o;
        } else {
            free(o);
            free(n);
            free(l);
            o = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
    return o != NULL;
}

static bool all_zero(const char *p, size_t size)
{
    return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

/* What is not zero has its value: a fork may have put back what was there before it came. */
int lazy_objects(const struct instance *relocated)
{
    int rc = 0;

    pthread_mutex_lock(&lock);
    for (struct object *o = objects; o; o = o->next) {
        void *from = NULL;

        if (o->in == relocated)
            o->ready = true;
        if (o->ready && all_zero(o->copy, o->size) && host_library_is_loaded(o->library))
            from = dlsym(host_library(o->library), o->name);
        if (from && rc == 0)
            rc = instance_write(o->in, o->copy, from, o->size);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void lazy_forget(const struct instance *in)
{
    pthread_mutex_lock(&lock);
    for (struct object **at = &objects, *o; (o = *at);) {
        if (o->in != in) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        free(o->name);
        free(o->library);
        free(o);
    }
    pthread_mutex_unlock(&lock);
}

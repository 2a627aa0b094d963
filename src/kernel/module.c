/*
 * module.c - what a program consists of: its image, inside libraries, dlopen'ed modules
 *
 * Images are opened once and kept while calf is loaded.  A library is inside (an
 * instance of its own for each process) when it is one of PostgreSQL's or keeps
 * process state (calls.def says which); every other library is the host's and
 * shared, some of them loaded only when they are called (lazy.c).
 *
 * A symbol is looked for as the dynamic linker would: the program, the inside
 * libraries, the module itself, then calls.def in the place of libc, then the
 * host's libraries that the image names.  What is in the host's libc but has no
 * row in calls.def is not found: that stops the load.
 *
 * Not done: dlclose() unmapping before the process ends, RTLD_NEXT, symbol versions.
 */
#include "kernel.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

struct module {
    struct module *next;
    struct instance *in;
    char *path;
    int refs;
};

/* ---- images and the host's libraries: once for all kernels ------------------------- */

static pthread_mutex_t images_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two lists */
static struct image_entry {
    struct image_entry *next;
    struct image *image;
    dev_t dev; /* the file as it was opened */
    ino_t ino;
    struct timespec mtime;
} * images;
static struct host_library {
    struct host_library *next;
    char *name;
    void *handle;
} * host_libraries;

/* Where it is in the archive, if it is; and its file's state.  0 or -errno. */
static int image_stat(const char *path, const struct archive_entry **packed, struct stat *st)
{
    bool inside;

    *packed = archive_find(path, &inside);
    if (!*packed)
        return stat(path, st) < 0 ? -errno : 0;
    archive_stat(*packed, st);
    return 0;
}

/* The image that was opened of this file, or NULL. */
static struct image *image_opened(const struct stat *st)
{
    struct image_entry *e = images;

    while (e && (e->dev != st->st_dev || e->ino != st->st_ino ||
                 e->mtime.tv_sec != st->st_mtim.tv_sec || e->mtime.tv_nsec != st->st_mtim.tv_nsec))
        e = e->next;
    return e ? e->image : NULL;
}

static int image_get(const char *path, struct image **out, char *err, size_t errsize)
{
    const struct archive_entry *packed;
    struct image_entry *e;
    struct stat st;
    int rc = image_stat(path, &packed, &st), fd;

    *out = NULL;
    pthread_mutex_lock(&images_lock);
    if (rc < 0 || (*out = image_opened(&st)))
        goto out;
    rc = fd = packed ? archive_open(packed) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        rc = packed ? fd : -errno;
        goto out;
    }
    e = malloc(sizeof(*e));
    if (!e) {
        close(fd);
        rc = -ENOMEM;
        goto out;
    }
    rc = image_open(fd, path, out, err, errsize);
    if (rc < 0) {
        free(e);
    } else {
        *e = (struct image_entry){images, *out, st.st_dev, st.st_ino, st.st_mtim};
        images = e;
    }
    pthread_mutex_unlock(&images_lock);
    return rc;
out:
    pthread_mutex_unlock(&images_lock);
    if (rc < 0)
        snprintf(err, errsize, "open image %s: %s", path, strerror(-rc));
    return rc;
}

void *host_library(const char *name)
{
    struct host_library *l;
    void *handle;

    pthread_mutex_lock(&images_lock);
    for (l = host_libraries; l && strcmp(l->name, name) != 0; l = l->next)
        ;
    handle = l ? l->handle : NULL;
    if (!l && (l = calloc(1, sizeof(*l))) && (l->name = strdup(name)) &&
        (handle = dlopen(name, RTLD_NOW | RTLD_LOCAL))) {
        l->handle = handle;
        l->next = host_libraries;
        host_libraries = l;
    } else if (!handle && l) {
        int saved = errno;

        free(l->name);
        free(l);
        errno = saved;
    }
    pthread_mutex_unlock(&images_lock);
    return handle;
}

const char *host_library_error(void)
{
    const char *text = dlerror();

    return text ? text : strerror(ENOMEM);
}

bool host_library_is_loaded(const char *name)
{
    struct host_library *l;

    pthread_mutex_lock(&images_lock);
    for (l = host_libraries; l && strcmp(l->name, name) != 0; l = l->next)
        ;
    pthread_mutex_unlock(&images_lock);
    return l != NULL;
}

void *library_symbol(const char *name)
{
    void *addr = NULL;

    pthread_mutex_lock(&images_lock);
    for (struct host_library *l = host_libraries; l && !addr; l = l->next)
        addr = dlsym(l->handle, name);
    pthread_mutex_unlock(&images_lock);
    CHECK(addr);
    return addr;
}

/* Where the host keeps a library that must be an instance. */
static int host_library_path(const char *name, char *out, size_t size)
{
    void *handle = host_library(name);
    struct link_map *map;

    if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) < 0)
        return -ENOENT;
    snprintf(out, size, "%s", map->l_name);
    return 0;
}

/* ---- symbols ------------------------------------------------------------------------- */

static void *in_host_libraries(struct instance *in, const char *name)
{
    for (int i = 0; i < in->nneeded; i++) {
        const char *library = in->needed[i];
        void *handle, *addr;

        if (calls_library_is_inside(library) ||
            (lazy_library(library) && !host_library_is_loaded(library)) ||
            !(handle = host_library(library)))
            continue;
        addr = dlsym(handle, name);
        if (addr && addr != dlsym(host_library("libc.so.6"), name)) /* calls.def speaks for libc */
            return addr;
    }
    return NULL;
}

/* Of a library that is not loaded yet. */
static void *in_lazy_library(struct program *g, struct instance *in, const char *name, void *copy,
                             const struct symbol_answer *wanted)
{
    const char *library = lazy_home(in, name);
    void *stub;

    if (!library && g->main)
        library = lazy_home(g->main, name);
    if (!library)
        return NULL;
    if (copy && lazy_object(in, library, name, copy, wanted->size))
        return copy;
    stub = wanted->function && !copy ? lazy_function(library, name) : NULL;
    return stub ? stub : host_library(library) ? dlsym(host_library(library), name) : NULL;
}

static int resolve(void *ctx, struct instance *in, const char *name, void *copy,
                   struct symbol_answer *out)
{
    struct program *g = ctx;
    struct instance *where;
    bool is_tls = false;
    void *addr;

    /* a COPY is the program's own definition of a library's object: look past the program */
    for (int i = copy ? 1 : 0; i < g->ninstances; i++) {
        where = g->list[i];
        addr = instance_symbol(where, name, &out->size, &is_tls);
        if (addr)
            goto inside;
    }
    where = in;
    if (!copy && (addr = instance_symbol(in, name, &out->size, &is_tls)))
        goto inside;
    if (calls_resolve(g, name, copy, &out->addr, &out->per_process))
        return 1;
    addr = in_host_libraries(in, name);
    if (!addr && g->main)
        addr = in_host_libraries(g->main, name);
    if (!addr)
        addr = in_lazy_library(g, in, name, copy, out);
    out->addr = addr;
    return addr != NULL;
inside:
    out->addr = addr;
    out->per_process = true;
    if (is_tls)
        out->tls_id = where->tls_id;
    return 1;
}

/*
 * The host's unwinder finds the frames of what the host's linker loaded.  A module written in
 * C++ throws through it, so its frames are announced (libgcc's __register_frame).
 */
static void announce_frames(struct instance *in, const char *function)
{
    void (*announce)(void *);

    for (int i = 0; in->eh_frame && i < in->nneeded; i++) {
        if (strncmp(in->needed[i], "libgcc_s.so", 11) != 0 &&
            strncmp(in->needed[i], "libstdc++.so", 12) != 0)
            continue;
        announce = (void (*)(void *))dlsym(host_library(in->needed[i]), function);
        if (announce)
            announce(in->eh_frame);
        return;
    }
}

/* ---- loading ---------------------------------------------------------------------------- */

static int load(struct proc *p, struct program *g, const char *path, bool main,
                struct instance **out, char *err, size_t errsize);

static bool loaded(struct program *g, const char *soname)
{
    for (int i = 0; i < g->ninstances; i++)
        if (g->list[i]->soname && strcmp(g->list[i]->soname, soname) == 0)
            return true;
    return false;
}

static int load_needed(struct proc *p, struct program *g, struct instance *in, char *err,
                       size_t errsize)
{
    for (int i = 0; i < in->nneeded; i++) {
        const char *name = in->needed[i];
        const struct archive_entry *packed;
        struct instance *lib;
        char path[PATH_MAX * 2];
        struct stat st;
        int rc;

        if (lazy_library(name))
            continue;
        if (!calls_library_is_inside(name)) {
            errno = 0;
            if (!host_library(name)) {
                rc = errno == ENOMEM || errno == EMFILE || errno == ENFILE ? -errno : -ENOENT;
                snprintf(err, errsize, "%s needs %s: %s", in->image->path, name,
                         host_library_error());
                return rc;
            }
            continue;
        }
        if (loaded(g, name))
            continue;
        snprintf(path, sizeof(path), "%s/%s", p->kernel->lib_dir, name);
        if (image_stat(path, &packed, &st) < 0 && host_library_path(name, path, sizeof(path)) < 0) {
            snprintf(err, errsize, "%s needs %s, which is neither in %s nor on this system",
                     in->image->path, name, p->kernel->lib_dir);
            return -ENOENT;
        }
        rc = load(p, g, path, false, &lib, err, errsize);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void unmap(struct instance *in)
{
    lazy_forget(in);
    instance_unmap(in);
}

/* Maps, adds to the program, loads what it needs, relocates.  Constructors run later. */
static int load(struct proc *p, struct program *g, const char *path, bool main,
                struct instance **out, char *err, size_t errsize)
{
    struct image *im;
    struct instance *in;
    int at, rc = image_get(path, &im, err, errsize);

    if (rc < 0)
        return rc;
    if (g->ninstances == MAX_INSTANCES) {
        snprintf(err, errsize, "%s: more than %d modules in one process", path, MAX_INSTANCES);
        return -ENOMEM;
    }
    if (!host_library("libc.so.6")) { /* what is not in it is looked for elsewhere: symbols */
        snprintf(err, errsize, "%s: %s", path, host_library_error());
        return -ENOMEM;
    }
    rc = instance_map(im, &in, err, errsize);
    if (rc < 0)
        return rc;
    if (in->tls_size && main) {
        snprintf(err, errsize, "image %s has thread-local variables in the program itself", path);
        instance_unmap(in);
        return -ENOEXEC;
    }
    at = g->ninstances;
    in->tls_id = at + 1;
    g->list[at] = in;
    if (main)
        g->main = in;
    atomic_store(&g->ninstances, at + 1);
    rc = load_needed(p, g, in, err, errsize);
    if (rc == 0)
        rc = instance_relocate(in, resolve, g, err, errsize);
    if (rc == 0 && (rc = lazy_objects(in)) < 0)
        snprintf(err, errsize, "%s: %s", path, strerror(-rc));
    if (rc < 0) { /* with what it had pulled in */
        int n = g->ninstances;

        atomic_store(&g->ninstances, at);
        while (n-- > at)
            unmap(g->list[n]);
        return rc;
    }
    announce_frames(in, "__register_frame");
    *out = in;
    return 0;
}

static void construct(struct instance *in, int argc, char **argv, char **envp)
{
    if (in->init)
        in->init();
    for (size_t i = 0; i < in->ninit; i++)
        in->init_array[i](argc, argv, envp);
}

/* What a run begins with and its end throws away.  0 or -ENOMEM. */
static int program_resources(struct program *g)
{
    g->heap = heap_create();
    g->stdio = stdio_create();
    g->misc = misc_create();
    if (!g->heap || !g->stdio || !g->misc || env_init(g, g->envp) < 0)
        return -ENOMEM;
    g->data = (struct procdata){.optind_ = 1,
                                .opterr_ = 1,
                                .optopt_ = '?',
                                .environ_ = g->data.environ_,
                                .stdin_ = stdio_std(g->stdio, 0),
                                .stdout_ = stdio_std(g->stdio, 1),
                                .stderr_ = stdio_std(g->stdio, 2),
                                .progname_full_ = g->argc ? g->argv[0] : g->exe};
    g->data.progname_ = strrchr(g->data.progname_full_, '/');
    g->data.progname_ = g->data.progname_ ? g->data.progname_ + 1 : g->data.progname_full_;
    return 0;
}

/* A program that was used before only needs its data as at first. */
int program_load(struct proc *p, struct program *g, char *err, size_t errsize)
{
    int rc = program_resources(g);

    if (rc < 0)
        return rc;
    if (!g->main) {
        rc = load(p, g, g->exe, true, &g->main, err, errsize);
        g->nown = g->ninstances;
        return rc;
    }
    for (int i = 0; i < g->nown && rc == 0; i++)
        rc = instance_reset(g->list[i], resolve, g, err, errsize);
    return rc < 0 ? rc : lazy_objects(NULL);
}

/* Unmaps the instances from `first` on. */
void program_unload(struct program *g, int first)
{
    int n = g->ninstances;

    atomic_store(&g->ninstances, first);
    while (n-- > first) {
        size_t size;

        instance_data(g->list[n], &size);
        if (g->saved[n])
            munmap(g->saved[n], size + 1);
        g->saved[n] = NULL;
        announce_frames(g->list[n], "__deregister_frame");
        unmap(g->list[n]);
    }
}

/* Is the file still what the idle program was made of? */
bool program_is_current(const struct program *g)
{
    const struct archive_entry *packed;
    struct image *now = NULL;
    struct stat st;

    pthread_mutex_lock(&images_lock);
    if (image_stat(g->exe, &packed, &st) == 0)
        now = image_opened(&st);
    pthread_mutex_unlock(&images_lock);
    return now == g->main->image;
}

/* Constructors: libraries first, then the program. */
void program_init(struct program *g)
{
    for (int i = g->ninstances - 1; i >= 0; i--)
        construct(g->list[i], g->argc, g->argv, g->envp);
}

bool program_has_text(struct program *g, uintptr_t pc)
{
    for (int i = 0; i < g->ninstances; i++)
        if (instance_contains_text(g->list[i], pc))
            return true;
    return false;
}

/*
 * Stop the program where the host's code returns to it: the first instruction faults (signal.c).
 * Called by signal handlers of the carrier.  0 or -errno.
 */
int program_set_trap(struct program *g, bool set)
{
    int n = g->ninstances, rc = 0;

    for (int i = 0; i < n && rc == 0; i++) {
        rc = instance_set_executable(g->list[i], !set);
        g->trapped = g->trapped || set; /* also where it is only a part */
    }
    if (rc == 0)
        g->trapped = set;
    return rc;
}

/* ---- dlopen --------------------------------------------------------------------------------- */

static void set_error(struct program *g, const char *text)
{
    snprintf(g->dlerror_text, sizeof(g->dlerror_text), "%s", text);
    g->dlerror_set = true;
}

/* The module at `path`, which is loaded unless it is the program itself.  NULL and err. */
static struct module *add_module(struct proc *p, const char *path, bool main, char *err,
                                 size_t errsize)
{
    struct program *g = p->prog;
    struct module *m = calloc(1, sizeof(*m));

    if (m && (m->path = strdup(path))) {
        m->in = g->main;
        m->refs = 1;
        if (main || load(p, g, path, false, &m->in, err, errsize) == 0) {
            m->next = g->modules;
            g->modules = m;
            return m;
        }
    } else {
        snprintf(err, errsize, "%.400s: %s", path, strerror(ENOMEM));
    }
    free(m ? m->path : NULL);
    free(m);
    return NULL;
}

void *sys_dlopen(const char *path, int flags)
{
    struct proc *p = gate_enter();
    struct program *g = p->prog;
    char abs[PATH_MAX * 2], err[512], real[PATH_MAX];
    struct module *m = NULL;
    int before = g->ninstances, rc;

    (void)flags;
    path_absolute(abs, sizeof(abs), path ? path : g->exe);
    rc = path_real(abs, real);
    for (m = g->modules; m && (rc < 0 || strcmp(m->path, real) != 0); m = m->next)
        ;
    if (m) {
        m->refs++;
    } else if (rc < 0) {
        snprintf(err, sizeof(err), "%.400s: cannot open shared object file: %s", path ? path : abs,
                 strerror(-rc));
        set_error(g, err);
    } else if (!(m = add_module(p, real, !path, err, sizeof(err)))) {
        set_error(g, err);
    }
    gate_leave(p);
    if (m && m->refs == 1 && path)
        for (int i = g->ninstances - 1; i >= before; i--)
            construct(g->list[i], g->argc, g->argv, g->envp);
    return m;
}

void *sys_dlsym(void *handle, const char *name)
{
    struct proc *p = self();
    struct program *g = p->prog;
    char err[256];
    void *addr = NULL;

    if (handle == RTLD_DEFAULT)
        for (int i = 0; i < g->ninstances && !addr; i++)
            addr = instance_symbol(g->list[i], name, NULL, NULL);
    else if (handle != RTLD_NEXT)
        addr = instance_symbol(((struct module *)handle)->in, name, NULL, NULL);
    if (!addr) {
        snprintf(err, sizeof(err), "%s: undefined symbol: %s",
                 handle == RTLD_DEFAULT || handle == RTLD_NEXT ? g->exe
                                                               : ((struct module *)handle)->path,
                 name);
        set_error(g, err);
    }
    return addr;
}

/* The module stays mapped until the process ends, as glibc keeps what it may still need. */
int sys_dlclose(void *handle)
{
    struct module *m = handle;

    if (m->refs > 1)
        m->refs--;
    return 0;
}

char *sys_dlerror(void)
{
    struct program *g = self()->prog;

    if (!g->dlerror_set)
        return NULL;
    g->dlerror_set = false;
    return g->dlerror_text;
}

void modules_release(struct program *g)
{
    while (g->modules) {
        struct module *m = g->modules;

        g->modules = m->next;
        free(m->path);
        free(m);
    }
    for (int i = 0; i < g->ninstances; i++) {
        free(g->tls[i]);
        g->tls[i] = NULL;
    }
}

/* ---- thread-local variables of modules: one block per process ----------------------------------
 */

struct tls_index {
    size_t module, offset;
};

void *sys___tls_get_addr(struct tls_index *ti)
{
    struct program *g = self()->prog;
    size_t at = ti->module - 1;
    struct instance *in = g->list[at];

    if (!g->tls[at]) {
        size_t align = in->tls_align < sizeof(void *) ? sizeof(void *) : in->tls_align;
        void *mem;

        if (posix_memalign(&mem, align, in->tls_size) != 0) { /* there is nobody to tell */
            static const char text[] = "calf: no memory for thread-local variables\n";

            sys_write(2, text, sizeof(text) - 1);
            sys_abort();
        }
        memset(mem, 0, in->tls_size);
        memcpy(mem, in->tls_init, in->tls_filesz);
        g->tls[at] = mem;
    }
    return g->tls[at] + ti->offset;
}

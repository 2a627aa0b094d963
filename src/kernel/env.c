/*
 * env.c - the environment of one program
 *
 * The table is what the program's own variable `environ` points at; nobody keeps
 * another pointer to it.  That matters because PostgreSQL replaces `environ` by
 * assignment (ps_status.c), and because the variable lives in the image where the
 * image has a COPY relocation of it.
 *
 * Strings that were replaced are not freed: the program may hold them, as with libc.
 *
 * Not done: a lock.  No program of PostgreSQL changes its environment with threads.
 */
#include "kernel.h"

#include <dlfcn.h>

struct env {
    char ***slot; /* where the program's `environ` is */
    char **table; /* the last table made here; *slot may be another one */
    size_t room;  /* entries of `table` without the final NULL */
};

char *sys_getenv(const char *name);
char *sys_secure_getenv(const char *name);
int sys_setenv(const char *name, const char *value, int overwrite);
int sys_unsetenv(const char *name);
int sys_putenv(char *entry);
int sys_clearenv(void);
char ***env_slot(struct program *g);

char ***env_slot(struct program *g)
{
    return g->env ? g->env->slot : &g->data.environ_;
}

void env_set_slot(struct program *g, char ***slot)
{
    *slot = *g->env->slot;
    g->env->slot = slot;
}

char **env_of(struct proc *p)
{
    static char *nothing[1];
    char **table = p->prog ? *env_slot(p->prog) : NULL;

    return table ? table : nothing;
}

/* The strings are copied too, in one piece: `envp` may belong to the program that called exec. */
int env_init(struct program *g, char **envp)
{
    size_t n = 0, bytes = 0;
    struct env *e = heap_alloc(g->heap, sizeof(*e));
    char *text;

    while (envp && envp[n])
        bytes += strlen(envp[n++]) + 1;
    if (!e)
        return -ENOMEM;
    *e = (struct env){.slot = &g->data.environ_, .room = n + 8};
    e->table = heap_alloc(g->heap, (e->room + 1) * sizeof(*e->table));
    text = heap_alloc(g->heap, bytes);
    if (!e->table || !text)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        size_t size = strlen(envp[i]) + 1;

        e->table[i] = memcpy(text, envp[i], size);
        text += size;
    }
    e->table[n] = NULL;
    g->data.environ_ = e->table;
    g->env = e;
    return 0;
}

/* The variable is the program's: where libcalf was loaded with RTLD_DEEPBIND its own `environ` is
 * libc's, which nobody sets when the program has a copy of it. */
char **host_environ(void)
{
    static char *nothing[1];
    void *program = dlopen(NULL, RTLD_NOW);
    char ***variable = dlsym(program, "environ");

    dlclose(program);
    return *variable ? *variable : nothing;
}

/* The place in `table` of the entry that begins with the name of `length`, or NULL. */
static char **entry_of(char **table, const char *name, size_t length)
{
    for (; table && *table; table++)
        if (strncmp(*table, name, length) == 0 && (*table)[length] == '=')
            return table;
    return NULL;
}

char *sys_getenv(const char *name)
{
    size_t length = strlen(name);
    char **entry = length ? entry_of(*env_slot(self()->prog), name, length) : NULL;

    return entry ? *entry + length + 1 : NULL;
}

char *sys_secure_getenv(const char *name)
{
    return sys_getenv(name);
}

/* The current table as one that may be changed and takes `more` entries; NULL and errno. */
static char **own_table(struct proc *p, size_t more)
{
    struct env *e = p->prog->env;
    char **now = *e->slot, **table;
    size_t n = 0;

    while (now && now[n])
        n++;
    /* Between fork and exec the child shares the heap: its parent must find its own table again. */
    if (now && now == e->table && n + more <= e->room && !p->forked_from)
        return now;
    table = heap_alloc(p->prog->heap, (n + more + 16 + 1) * sizeof(*table));
    if (!table)
        return NULL;
    if (n)
        memcpy(table, now, n * sizeof(*table));
    table[n] = NULL;
    e->table = table;
    e->room = n + more + 16;
    *e->slot = table;
    return table;
}

/* Put the entry "name=value" in; 0 or -1 and errno. */
static int put(char *entry, size_t length)
{
    char **table = own_table(self(), 1), **old;
    size_t n = 0;

    if (!table)
        return -1;
    old = entry_of(table, entry, length);
    if (old) {
        *old = entry;
        return 0;
    }
    while (table[n])
        n++;
    table[n] = entry;
    table[n + 1] = NULL;
    return 0;
}

int sys_setenv(const char *name, const char *value, int overwrite)
{
    size_t length, size;
    char *entry;

    if (!name || !*name || strchr(name, '=')) {
        errno = EINVAL;
        return -1;
    }
    if (!overwrite && sys_getenv(name))
        return 0;
    length = strlen(name);
    size = strlen(value) + 1;
    entry = proc_malloc(length + 1 + size);
    if (!entry)
        return -1;
    memcpy(entry, name, length);
    entry[length] = '=';
    memcpy(entry + length + 1, value, size);
    return put(entry, length);
}

int sys_unsetenv(const char *name)
{
    size_t length;
    char **entry;

    if (!name || !*name || strchr(name, '=')) {
        errno = EINVAL;
        return -1;
    }
    length = strlen(name);
    if (!entry_of(*env_slot(self()->prog), name, length))
        return 0;
    entry = own_table(self(), 0);
    if (!entry)
        return -1;
    while ((entry = entry_of(entry, name, length)))
        for (char **at = entry; (*at = at[1]); at++)
            ;
    return 0;
}

/* The string itself becomes part of the environment. */
int sys_putenv(char *entry)
{
    char *equals = strchr(entry, '=');

    return equals ? put(entry, equals - entry) : sys_unsetenv(entry);
}

int sys_clearenv(void)
{
    *env_slot(self()->prog) = NULL;
    return 0;
}

/*
 * locale.c - the locale of one process
 *
 * setlocale() would change the host's locale.  So each process has a locale_t that
 * uselocale() puts on its threads; libc's pure functions (ctype, collation,
 * multibyte, formatting, nl_langinfo) follow it without knowing of us.
 *
 * The rule that matters: what the program sees as LC_GLOBAL_LOCALE is its own
 * setlocale() state, never the host's.
 *
 * Not done: setlocale() in one thread of a process does not reach its other
 * threads.  pgbench, the only program with threads, sets it before.
 */
#include "kernel.h"

#include <langinfo.h>

bool heap_threaded(struct heap *h);
char *sys_getenv(const char *name);
char *sys_setlocale(int category, const char *name);
struct lconv *sys_localeconv(void);
locale_t sys_uselocale(locale_t locale);
locale_t sys_duplocale(locale_t locale);
locale_t sys_newlocale(int mask, const char *name, locale_t base);

/* In the order in which glibc composes a name. */
static const struct {
    int category;
    const char *name;
} categories[] = {
    {LC_CTYPE, "LC_CTYPE"},
    {LC_NUMERIC, "LC_NUMERIC"},
    {LC_TIME, "LC_TIME"},
    {LC_COLLATE, "LC_COLLATE"},
    {LC_MONETARY, "LC_MONETARY"},
    {LC_MESSAGES, "LC_MESSAGES"},
    {LC_PAPER, "LC_PAPER"},
    {LC_NAME, "LC_NAME"},
    {LC_ADDRESS, "LC_ADDRESS"},
    {LC_TELEPHONE, "LC_TELEPHONE"},
    {LC_MEASUREMENT, "LC_MEASUREMENT"},
    {LC_IDENTIFICATION, "LC_IDENTIFICATION"},
};
#define NCATEGORIES (sizeof(categories) / sizeof(categories[0]))

/* A locale_t that setlocale() has replaced but that another thread may still use. */
struct retired {
    locale_t locale;
    struct retired *next;
};

struct localeset {
    locale_t own;             /* what setlocale() made */
    bool chosen;              /* the main thread is in a locale of its uselocale(), not in `own` */
    char *names[NCATEGORIES]; /* from the host's malloc: they outlive exec */
    char *composed;           /* the last answer of setlocale(LC_ALL, NULL) */
    struct retired *retired;
    struct lconv conv; /* the last answer of localeconv() */
};

struct localeset *localeset_create(void)
{
    struct localeset *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->own = newlocale(LC_ALL_MASK, "C", NULL); /* glibc's static one: cannot fail */
    for (size_t i = 0; i < NCATEGORIES; i++)
        if (!(l->names[i] = strdup("C"))) {
            localeset_destroy(l);
            return NULL;
        }
    return l;
}

/*
 * Is `locale`, the calling thread's, the setlocale() state?  The pointer alone does not tell:
 * everybody's newlocale(LC_ALL_MASK, "C", NULL) is the same object.
 */
static bool is_own(const struct localeset *l, locale_t locale)
{
    bool own = locale == l->own;

    if (on_main_thread())
        return !l->chosen;
    for (struct retired *r = l->retired; r; r = r->next)
        own |= r->locale == locale;
    return own;
}

void localeset_destroy(struct localeset *l)
{
    if (!l)
        return;
    if (self() && self()->localeset == l)
        uselocale(LC_GLOBAL_LOCALE); /* what the thread has is about to go */
    freelocale(l->own);
    for (struct retired *r = l->retired, *next; r; r = next) {
        next = r->next;
        freelocale(r->locale);
        free(r);
    }
    for (size_t i = 0; i < NCATEGORIES; i++)
        free(l->names[i]);
    free(l->composed);
    free(l);
}

void locale_attach(struct proc *p)
{
    if (!p->locale)
        p->locale = p->localeset->own;
    uselocale(p->locale);
}

/* ---- names ----------------------------------------------------------------- */

static bool all_same(char *const names[NCATEGORIES])
{
    for (size_t i = 1; i < NCATEGORIES; i++)
        if (strcmp(names[0], names[i]) != 0)
            return false;
    return true;
}

/* The answer of setlocale(LC_ALL, NULL). */
static char *compose(struct localeset *l)
{
    size_t size = 0;
    char *at;

    if (all_same(l->names))
        return l->names[0];
    for (size_t i = 0; i < NCATEGORIES; i++)
        size += strlen(categories[i].name) + strlen(l->names[i]) + 2;
    at = realloc(l->composed, size);
    if (!at)
        return NULL;
    l->composed = at;
    for (size_t i = 0; i < NCATEGORIES; i++)
        at += sprintf(at, "%s%s=%s", i ? ";" : "", categories[i].name, l->names[i]);
    return l->composed;
}

/* What the environment of the process says for a category. */
static const char *from_environment(size_t i)
{
    const char *name = sys_getenv("LC_ALL");

    if (!name || !*name)
        name = sys_getenv(categories[i].name);
    if (!name || !*name)
        name = sys_getenv("LANG");
    return name && *name ? name : "C";
}

/*
 * The name that `wanted` means for category i: itself, its part of a composed
 * name, or the environment's.  `room` is for a part; NULL: not a valid name.
 */
static const char *name_for(size_t i, const char *wanted, char room[256])
{
    const char *name = wanted, *part;

    if (*wanted == '\0')
        name = from_environment(i);
    else if (strchr(wanted, '=')) {
        size_t length = strlen(categories[i].name);

        for (part = wanted; part; part = strchr(part, ';'), part = part ? part + 1 : NULL)
            if (strncmp(part, categories[i].name, length) == 0 && part[length] == '=')
                break;
        if (!part)
            return NULL;
        part += length + 1;
        length = strcspn(part, ";");
        if (length >= 256)
            return NULL;
        memcpy(room, part, length);
        room[length] = '\0';
        name = room;
    }
    return strcmp(name, "POSIX") == 0 ? "C" : name;
}

/* ---- setlocale ------------------------------------------------------------- */

/* `locale` becomes the state that setlocale() keeps; the one before goes when nobody uses it. */
static void replace(struct proc *p, locale_t locale)
{
    struct localeset *l = p->localeset;
    locale_t old = l->own;
    struct retired *r;

    if (is_own(l, uselocale(NULL))) {
        uselocale(locale);
        if (on_main_thread())
            p->locale = locale;
    }
    l->own = locale;
    if (!heap_threaded(p->prog->heap)) {
        if (p->locale != old)
            freelocale(old);
    } else if ((r = malloc(sizeof(*r)))) {
        r->locale = old;
        r->next = l->retired;
        l->retired = r;
    }
}

static char *set_all(struct proc *p, const char *wanted)
{
    struct localeset *l = p->localeset;
    char *names[NCATEGORIES] = {NULL};
    locale_t locale = duplocale(l->own), next;
    size_t i;

    for (i = 0; locale && i < NCATEGORIES; i++) {
        char room[256];
        const char *name = name_for(i, wanted, room);

        if (!name || !(names[i] = strdup(name)))
            break;
        next = newlocale(1 << categories[i].category, name, locale);
        if (!next)
            break;
        locale = next;
    }
    if (!locale || i < NCATEGORIES) {
        if (locale)
            freelocale(locale);
        for (i = 0; i < NCATEGORIES; i++)
            free(names[i]);
        return NULL;
    }
    for (i = 0; i < NCATEGORIES; i++) {
        free(l->names[i]);
        l->names[i] = names[i];
    }
    replace(p, locale);
    return compose(l);
}

/* NULL with nothing changed where the locale does not exist. */
char *sys_setlocale(int category, const char *wanted)
{
    struct proc *p = self();
    struct localeset *l = p->localeset;
    locale_t locale, changed;
    const char *name;
    char *copy;
    size_t i = 0;

    if (category == LC_ALL)
        return wanted ? set_all(p, wanted) : compose(l);
    while (i < NCATEGORIES && categories[i].category != category)
        i++;
    if (i == NCATEGORIES) {
        errno = EINVAL;
        return NULL;
    }
    if (!wanted)
        return l->names[i];
    name = *wanted ? wanted : from_environment(i);
    if (strcmp(name, "POSIX") == 0)
        name = "C";
    if (strcmp(name, l->names[i]) == 0)
        return l->names[i];
    copy = strdup(name);
    locale = duplocale(l->own);
    changed = copy && locale ? newlocale(1 << category, name, locale) : NULL;
    if (!changed) {
        if (locale)
            freelocale(locale);
        free(copy);
        return NULL;
    }
    replace(p, changed);
    free(l->names[i]);
    l->names[i] = copy;
    return copy;
}

/* ---- locale objects -------------------------------------------------------- */

locale_t sys_uselocale(locale_t locale)
{
    struct proc *p = self();
    locale_t old = uselocale(NULL);

    if (is_own(p->localeset, old))
        old = LC_GLOBAL_LOCALE;
    if (locale) {
        bool chosen = locale != LC_GLOBAL_LOCALE;

        if (!chosen)
            locale = p->localeset->own;
        uselocale(locale);
        if (on_main_thread()) {
            p->locale = locale;
            p->localeset->chosen = chosen;
        }
    }
    return old;
}

locale_t sys_duplocale(locale_t locale)
{
    return duplocale(locale == LC_GLOBAL_LOCALE ? self()->localeset->own : locale);
}

/* The name "" means the environment of the process, which the host's newlocale() cannot read. */
locale_t sys_newlocale(int mask, const char *name, locale_t base)
{
    locale_t made, next;

    if (!name || *name)
        return newlocale(mask, name, base);
    made = base ? duplocale(base) : NULL;
    for (size_t i = 0; i < NCATEGORIES; i++)
        if (mask & (1 << categories[i].category)) {
            next = newlocale(1 << categories[i].category, from_environment(i), made);
            if (!next) {
                if (made)
                    freelocale(made);
                return NULL;
            }
            made = next;
        }
    if (base)
        freelocale(base);
    return made ? made : newlocale(mask, "C", NULL);
}

/* ---- localeconv ------------------------------------------------------------ */

/* Made from nl_langinfo(), because the host's localeconv() has one result for everybody. */
struct lconv *sys_localeconv(void)
{
    struct lconv *c = &self()->localeset->conv;
    char *(*text)(nl_item) = nl_langinfo;

#define BYTE(item) (*text(item) == '\377' ? CHAR_MAX : *text(item))
#define GROUPS(item) (*text(item) == '\177' || *text(item) == '\377' ? (char *)"" : text(item))
    *c = (struct lconv){
        .decimal_point = text(DECIMAL_POINT),
        .thousands_sep = text(THOUSANDS_SEP),
        .grouping = GROUPS(GROUPING),
        .int_curr_symbol = text(INT_CURR_SYMBOL),
        .currency_symbol = text(CURRENCY_SYMBOL),
        .mon_decimal_point = text(MON_DECIMAL_POINT),
        .mon_thousands_sep = text(MON_THOUSANDS_SEP),
        .mon_grouping = GROUPS(MON_GROUPING),
        .positive_sign = text(POSITIVE_SIGN),
        .negative_sign = text(NEGATIVE_SIGN),
        .int_frac_digits = BYTE(INT_FRAC_DIGITS),
        .frac_digits = BYTE(FRAC_DIGITS),
        .p_cs_precedes = BYTE(P_CS_PRECEDES),
        .p_sep_by_space = BYTE(P_SEP_BY_SPACE),
        .n_cs_precedes = BYTE(N_CS_PRECEDES),
        .n_sep_by_space = BYTE(N_SEP_BY_SPACE),
        .p_sign_posn = BYTE(P_SIGN_POSN),
        .n_sign_posn = BYTE(N_SIGN_POSN),
        .int_p_cs_precedes = BYTE(INT_P_CS_PRECEDES),
        .int_p_sep_by_space = BYTE(INT_P_SEP_BY_SPACE),
        .int_n_cs_precedes = BYTE(INT_N_CS_PRECEDES),
        .int_n_sep_by_space = BYTE(INT_N_SEP_BY_SPACE),
        .int_p_sign_posn = BYTE(INT_P_SIGN_POSN),
        .int_n_sign_posn = BYTE(INT_N_SIGN_POSN),
    };
    return c;
}

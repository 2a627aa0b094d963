/*
 * misc.c - libc's functions that answer in static memory or keep a state
 *
 * Each program has its own results, random numbers and place in its arguments.
 *
 * The rule that matters: where the host runs as root, processes are told another
 * uid (kernel.uid, never 0), and that uid has the name of the host's user.  It
 * must agree with stat() and getuid() (path.c, proc.c).
 *
 * getopt() is written anew after the manual page and glibc's behaviour: glibc's
 * own keeps its place in memory that all programs would share.
 *
 * Not done: drand48's seed48() and lcong48(), getopt_long's "W;".
 */
#include "kernel.h"

#include <getopt.h>
#include <grp.h>
#include <sys/times.h>

int sys_fprintf(struct cfile *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *sys_getenv(const char *name);
struct tm *sys_localtime_r(const time_t *when, struct tm *out);
void sys_tzset(void);
struct tz;
void tz_destroy(struct tz *z);
struct tz **tz_slot(void);

/* Where the program's getopt variables are; NULL: in procdata. */
struct optvars {
    char **optarg;
    int *optind, *opterr, *optopt;
};

/* getopt's place between two calls. */
struct optstate {
    bool started;
    enum { PERMUTE, STOP, IN_ORDER } order;
    char *place;                 /* the rest of a bundle of short options, or NULL */
    int first_plain, last_plain; /* arguments [first, last) were skipped and go to the end */
};

struct misc {
    struct optvars vars;
    struct optstate opt;
    struct tm tm;
    char time_text[64];
    char error_text[256], signal_text[256];
    char *missed_text; /* strerror()'s, of any length */
    struct passwd pw;
    struct group gr;
    char *pw_room, *gr_room;
    struct tz *tz; /* tz.c */
    struct random_data random;
    char random_state[128];
    struct drand48_data rand48;
};

struct misc *misc_create(void)
{
    struct misc *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    initstate_r(1, m->random_state, sizeof(m->random_state), &m->random);
    return m;
}

void misc_destroy(struct misc *m)
{
    if (!m)
        return;
    tz_destroy(m->tz);
    free(m->missed_text);
    free(m->pw_room);
    free(m->gr_room);
    free(m);
}

static struct misc *mine(void)
{
    return self()->prog->misc;
}

struct tz **tz_slot(void)
{
    return &mine()->tz;
}

/* ---- texts ----------------------------------------------------------------- */

char *sys_strtok(char *s, const char *delimiters);
char *sys_strerror(int error);
char *sys_strerror_r(int error, char *buf, size_t size);
char *sys_strsignal(int sig);

char *sys_strtok(char *s, const char *delimiters)
{
    return strtok_r(s, delimiters, &self()->prog->strtok_save);
}

/*
 * PostgreSQL's message about a missing extension or library names its own directory; here it gets
 * the others.  As glibc's it may answer with a text that is not in `buf`.
 */
char *sys_strerror_r(int error, char *buf, size_t size)
{
    struct misc *m = mine();
    char *dirs = error == ENOENT ? path_missed() : NULL;

    if (!dirs)
        return strerror_r(error, buf, size);
    free(m->missed_text);
    if (asprintf(&m->missed_text, "%s; looked also in %s", strerror_r(error, buf, size), dirs) < 0)
        m->missed_text = NULL;
    free(dirs);
    return m->missed_text ? m->missed_text : strerror_r(error, buf, size);
}

char *sys_strerror(int error)
{
    struct misc *m = mine();

    return sys_strerror_r(error, m->error_text, sizeof(m->error_text));
}

char *sys_strsignal(int sig)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* older libcs have one buffer */
    struct misc *m = mine();

    pthread_mutex_lock(&lock);
    snprintf(m->signal_text, sizeof(m->signal_text), "%s", strsignal(sig));
    pthread_mutex_unlock(&lock);
    return m->signal_text;
}

/* ---- time ------------------------------------------------------------------ */

struct tm *sys_localtime(const time_t *when);
struct tm *sys_gmtime(const time_t *when);
char *sys_asctime(const struct tm *tm);
char *sys_ctime(const time_t *when);
char *sys_ctime_r(const time_t *when, char *out);

struct tm *sys_localtime(const time_t *when)
{
    sys_tzset();
    return sys_localtime_r(when, &mine()->tm);
}

struct tm *sys_gmtime(const time_t *when)
{
    return gmtime_r(when, &mine()->tm);
}

char *sys_asctime(const struct tm *tm)
{
    return asctime_r(tm, mine()->time_text);
}

char *sys_ctime_r(const time_t *when, char *out)
{
    struct tm tm;

    return sys_localtime_r(when, &tm) ? asctime_r(&tm, out) : NULL;
}

char *sys_ctime(const time_t *when)
{
    return sys_ctime_r(when, mine()->time_text);
}

/* ---- users ----------------------------------------------------------------- */

struct passwd *sys_getpwuid(uid_t uid);
struct passwd *sys_getpwnam(const char *name);
int sys_getpwuid_r(uid_t uid, struct passwd *pw, char *room, size_t size, struct passwd **out);
int sys_getpwnam_r(const char *name, struct passwd *pw, char *room, size_t size,
                   struct passwd **out);
struct group *sys_getgrgid(gid_t gid);
struct group *sys_getgrnam(const char *name);

/* What the host knows about its user is true of the processes' user. */
static void as_process_sees(struct passwd *pw)
{
    struct kernel *k = self()->kernel;

    if (pw && pw->pw_uid == k->real_uid)
        pw->pw_uid = k->uid;
}

int sys_getpwuid_r(uid_t uid, struct passwd *pw, char *room, size_t size, struct passwd **out)
{
    struct kernel *k = self()->kernel;
    int rc = getpwuid_r(uid == k->uid ? k->real_uid : uid, pw, room, size, out);

    as_process_sees(*out);
    return rc;
}

int sys_getpwnam_r(const char *name, struct passwd *pw, char *room, size_t size,
                   struct passwd **out)
{
    int rc = getpwnam_r(name, pw, room, size, out);

    as_process_sees(*out);
    return rc;
}

/* Makes *room grow while `call`, which uses `size`, finds it too small; sets errno on failure. */
#define WITH_ROOM(room, found, call)                                                               \
    do {                                                                                           \
        int rc_ = ERANGE;                                                                          \
                                                                                                   \
        for (size_t size = 1024; rc_ == ERANGE && size <= 1 << 20; size *= 4) {                    \
            free(room);                                                                            \
            room = malloc(size);                                                                   \
            rc_ = room ? (call) : ENOMEM;                                                          \
        }                                                                                          \
        if (rc_ != 0) {                                                                            \
            errno = rc_;                                                                           \
            found = NULL;                                                                          \
        }                                                                                          \
    } while (0)

struct passwd *sys_getpwuid(uid_t uid)
{
    struct misc *m = mine();
    struct passwd *found = NULL;

    WITH_ROOM(m->pw_room, found, sys_getpwuid_r(uid, &m->pw, m->pw_room, size, &found));
    return found;
}

struct passwd *sys_getpwnam(const char *name)
{
    struct misc *m = mine();
    struct passwd *found = NULL;

    WITH_ROOM(m->pw_room, found, sys_getpwnam_r(name, &m->pw, m->pw_room, size, &found));
    return found;
}

struct group *sys_getgrgid(gid_t gid)
{
    struct misc *m = mine();
    struct group *found = NULL;

    WITH_ROOM(m->gr_room, found, getgrgid_r(gid, &m->gr, m->gr_room, size, &found));
    return found;
}

struct group *sys_getgrnam(const char *name)
{
    struct misc *m = mine();
    struct group *found = NULL;

    WITH_ROOM(m->gr_room, found, getgrnam_r(name, &m->gr, m->gr_room, size, &found));
    return found;
}

/* ---- random numbers -------------------------------------------------------- */

long sys_random(void);
void sys_srandom(unsigned seed);
int sys_rand(void);
void sys_srand(unsigned seed);
void sys_srand48(long seed);
double sys_drand48(void);
long sys_lrand48(void);
long sys_mrand48(void);
double sys_erand48(unsigned short x[3]);
long sys_nrand48(unsigned short x[3]);
long sys_jrand48(unsigned short x[3]);

long sys_random(void)
{
    int32_t value;

    random_r(&mine()->random, &value);
    return value;
}

void sys_srandom(unsigned seed)
{
    srandom_r(seed, &mine()->random);
}

int sys_rand(void)
{
    return (int)sys_random();
}

void sys_srand(unsigned seed)
{
    sys_srandom(seed);
}

void sys_srand48(long seed)
{
    srand48_r(seed, &mine()->rand48);
}

double sys_drand48(void)
{
    double value;

    drand48_r(&mine()->rand48, &value);
    return value;
}

long sys_lrand48(void)
{
    long value;

    lrand48_r(&mine()->rand48, &value);
    return value;
}

long sys_mrand48(void)
{
    long value;

    mrand48_r(&mine()->rand48, &value);
    return value;
}

double sys_erand48(unsigned short x[3])
{
    double value;

    erand48_r(x, &mine()->rand48, &value);
    return value;
}

long sys_nrand48(unsigned short x[3])
{
    long value;

    nrand48_r(x, &mine()->rand48, &value);
    return value;
}

long sys_jrand48(unsigned short x[3])
{
    long value;

    jrand48_r(x, &mine()->rand48, &value);
    return value;
}

/* ---- resources ------------------------------------------------------------- */

int sys_getrusage(int who, struct rusage *out);
clock_t sys_times(struct tms *out);

/* A process is a thread of the host; its children are other threads, whose use is not collected. */
int sys_getrusage(int who, struct rusage *out)
{
    if (who == RUSAGE_CHILDREN) {
        memset(out, 0, sizeof(*out));
        return 0;
    }
    return getrusage(who == RUSAGE_SELF ? RUSAGE_THREAD : who, out);
}

clock_t sys_times(struct tms *out)
{
    struct rusage u;
    long ticks = sysconf(_SC_CLK_TCK);
    struct tms unused;

    if (out) {
        memset(out, 0, sizeof(*out));
        getrusage(RUSAGE_THREAD, &u);
        out->tms_utime = u.ru_utime.tv_sec * ticks + u.ru_utime.tv_usec * ticks / 1000000;
        out->tms_stime = u.ru_stime.tv_sec * ticks + u.ru_stime.tv_usec * ticks / 1000000;
    }
    return times(&unused);
}

/* ---- getopt ---------------------------------------------------------------- */

int sys_getopt(int argc, char *const *argv, const char *shorts);
int sys_getopt_long(int argc, char *const *argv, const char *shorts, const struct option *longs,
                    int *index);
int sys_getopt_long_only(int argc, char *const *argv, const char *shorts,
                         const struct option *longs, int *index);

/* The program's own copy of a variable; the value goes along.  Other names are not used here. */
void misc_set_var(struct program *g, const char *name, void *addr)
{
    struct optvars *v = &g->misc->vars;

    if (strcmp(name, "optarg") == 0) {
        v->optarg = addr;
        *v->optarg = g->data.optarg_;
    } else if (strcmp(name, "optind") == 0) {
        v->optind = addr;
        *v->optind = g->data.optind_;
    } else if (strcmp(name, "opterr") == 0) {
        v->opterr = addr;
        *v->opterr = g->data.opterr_;
    } else if (strcmp(name, "optopt") == 0) {
        v->optopt = addr;
        *v->optopt = g->data.optopt_;
    }
}

/* One call of getopt. */
struct getopt {
    int argc;
    char **argv;
    const char *shorts; /* without its leading + or - */
    const struct option *longs;
    int *index;
    bool long_only;
    struct optvars v; /* all set */
    struct optstate *s;
};

static int missing(const struct getopt *g)
{
    return g->shorts[0] == ':' ? ':' : '?';
}

#define COMPLAIN(g, ...)                                                                           \
    do {                                                                                           \
        if (*(g)->v.opterr && (g)->shorts[0] != ':')                                               \
            sys_fprintf(stdio_std(self()->prog->stdio, 2), __VA_ARGS__);                           \
    } while (0)

static bool is_plain(const char *arg)
{
    return arg[0] != '-' || arg[1] == '\0';
}

static void reverse(char **from, char **to)
{
    while (from < --to) {
        char *swap = *from;

        *from++ = *to;
        *to = swap;
    }
}

/* The plain arguments [first, last) trade places with the options [last, optind). */
static void move_plain(struct getopt *g)
{
    struct optstate *s = g->s;
    int end = *g->v.optind;

    reverse(g->argv + s->first_plain, g->argv + s->last_plain);
    reverse(g->argv + s->last_plain, g->argv + end);
    reverse(g->argv + s->first_plain, g->argv + end);
    s->first_plain += end - s->last_plain;
    s->last_plain = end;
}

/* The long option that `name` of `length` means: its number, -1: none, -2: several. */
static int find_long(const struct getopt *g, const char *name, size_t length)
{
    const struct option *found = NULL;
    bool ambiguous = false;

    for (const struct option *o = g->longs; o->name; o++) {
        if (strncmp(o->name, name, length) != 0)
            continue;
        if (strlen(o->name) == length)
            return (int)(o - g->longs);
        if (!found)
            found = o;
        else if (g->long_only || o->has_arg != found->has_arg || o->flag != found->flag ||
                 o->val != found->val)
            ambiguous = true;
    }
    return ambiguous ? -2 : found ? (int)(found - g->longs) : -1;
}

/* The long option at s->place; `prefix` is what stands before it.  -1: it may be short ones. */
static int long_option(struct getopt *g, const char *prefix)
{
    char *name = g->s->place;
    size_t length = strcspn(name, "=");
    int at = find_long(g, name, length);
    const struct option *o = g->longs + at;

    if (at == -1 && g->long_only && prefix[1] == '\0' && strchr(g->shorts, *name))
        return -1;
    g->s->place = NULL;
    if (at < 0) {
        if (at == -1)
            COMPLAIN(g, "%s: unrecognized option '%s%s'\n", g->argv[0], prefix, name);
        else if (*g->v.opterr && g->shorts[0] != ':') {
            struct cfile *err = stdio_std(self()->prog->stdio, 2);

            sys_fprintf(err, "%s: option '%s%s' is ambiguous; possibilities:", g->argv[0], prefix,
                        name);
            for (o = g->longs; o->name; o++)
                if (strncmp(o->name, name, length) == 0)
                    sys_fprintf(err, " '%s%s'", prefix, o->name);
            sys_fprintf(err, "\n");
        }
        ++*g->v.optind;
        *g->v.optopt = 0;
        return '?';
    }
    ++*g->v.optind;
    if (name[length] == '=') {
        if (o->has_arg == no_argument) {
            COMPLAIN(g, "%s: option '%s%s' doesn't allow an argument\n", g->argv[0], prefix,
                     o->name);
            *g->v.optopt = o->val;
            return '?';
        }
        *g->v.optarg = name + length + 1;
    } else if (o->has_arg == required_argument) {
        if (*g->v.optind >= g->argc) {
            COMPLAIN(g, "%s: option '%s%s' requires an argument\n", g->argv[0], prefix, o->name);
            *g->v.optopt = o->val;
            return missing(g);
        }
        *g->v.optarg = g->argv[(*g->v.optind)++];
    }
    if (g->index)
        *g->index = at;
    if (o->flag) {
        *o->flag = o->val;
        return 0;
    }
    return o->val;
}

/* The short option at s->place. */
static int short_option(struct getopt *g)
{
    struct optstate *s = g->s;
    unsigned char c = *s->place++;
    const char *known = strchr(g->shorts, c);

    if (*s->place == '\0')
        ++*g->v.optind;
    if (!known || c == ':' || c == ';') {
        COMPLAIN(g, "%s: invalid option -- '%c'\n", g->argv[0], c);
        *g->v.optopt = c;
        return '?';
    }
    if (known[1] != ':')
        return c;
    if (*s->place) {
        *g->v.optarg = s->place;
        ++*g->v.optind;
    } else if (known[2] != ':') {
        if (*g->v.optind >= g->argc) {
            COMPLAIN(g, "%s: option requires an argument -- '%c'\n", g->argv[0], c);
            *g->v.optopt = c;
            s->place = NULL;
            return missing(g);
        }
        *g->v.optarg = g->argv[(*g->v.optind)++];
    }
    s->place = NULL;
    return c;
}

/* Go to the next argument with options.  True: that is at *optind; else *rc is the answer. */
static bool next_argument(struct getopt *g, int *rc)
{
    struct optstate *s = g->s;
    int *optind_ = g->v.optind;

    /* The program may have gone back. */
    if (s->last_plain > *optind_)
        s->last_plain = *optind_;
    if (s->first_plain > *optind_)
        s->first_plain = *optind_;
    if (s->order == PERMUTE) {
        if (s->first_plain != s->last_plain && s->last_plain != *optind_)
            move_plain(g);
        else if (s->last_plain != *optind_)
            s->first_plain = *optind_;
        while (*optind_ < g->argc && is_plain(g->argv[*optind_]))
            ++*optind_;
        s->last_plain = *optind_;
    }
    if (*optind_ < g->argc && strcmp(g->argv[*optind_], "--") == 0) {
        ++*optind_;
        if (s->first_plain != s->last_plain && s->last_plain != *optind_)
            move_plain(g);
        else if (s->first_plain == s->last_plain)
            s->first_plain = *optind_;
        s->last_plain = *optind_ = g->argc;
    }
    *rc = -1;
    if (*optind_ >= g->argc) {
        if (s->first_plain != s->last_plain)
            *optind_ = s->first_plain;
        return false;
    }
    if (!is_plain(g->argv[*optind_]))
        return true;
    if (s->order == IN_ORDER) {
        *g->v.optarg = g->argv[(*optind_)++];
        *rc = 1;
    }
    return false;
}

static int next_option(int argc, char *const *argv, const char *shorts, const struct option *longs,
                       int *index, bool long_only)
{
    struct program *p = self()->prog;
    struct optvars *set = &p->misc->vars;
    struct getopt g = {
        .argc = argc,
        .argv = (char **)argv, /* permuted, as the manual says */
        .shorts = shorts,
        .longs = longs,
        .index = index,
        .long_only = long_only,
        .v = {set->optarg ? set->optarg : &p->data.optarg_,
              set->optind ? set->optind : &p->data.optind_,
              set->opterr ? set->opterr : &p->data.opterr_,
              set->optopt ? set->optopt : &p->data.optopt_},
        .s = &p->misc->opt,
    };
    struct optstate *s = g.s;
    int rc;

    if (argc < 1)
        return -1;
    *g.v.optarg = NULL;
    if (*g.v.optind == 0 || !s->started) {
        if (*g.v.optind == 0)
            *g.v.optind = 1;
        s->first_plain = s->last_plain = *g.v.optind;
        s->place = NULL;
        s->order = *shorts == '-'                                    ? IN_ORDER
                   : *shorts == '+' || sys_getenv("POSIXLY_CORRECT") ? STOP
                                                                     : PERMUTE;
        s->started = true;
    }
    if (*shorts == '-' || *shorts == '+')
        g.shorts++;
    if (!s->place || *s->place == '\0') {
        const char *arg;

        if (!next_argument(&g, &rc))
            return rc;
        arg = argv[*g.v.optind];
        if (longs && arg[1] == '-') {
            s->place = (char *)arg + 2;
            return long_option(&g, "--");
        }
        s->place = (char *)arg + 1;
        if (longs && long_only && (arg[2] || !strchr(g.shorts, arg[1]))) {
            rc = long_option(&g, "-");
            if (rc != -1)
                return rc;
        }
    }
    return short_option(&g);
}

int sys_getopt(int argc, char *const *argv, const char *shorts)
{
    return next_option(argc, argv, shorts, NULL, NULL, false);
}

int sys_getopt_long(int argc, char *const *argv, const char *shorts, const struct option *longs,
                    int *index)
{
    return next_option(argc, argv, shorts, longs, index, false);
}

int sys_getopt_long_only(int argc, char *const *argv, const char *shorts,
                         const struct option *longs, int *index)
{
    return next_option(argc, argv, shorts, longs, index, true);
}

/*
 * tz.c - local time of one program
 *
 * The host's localtime() follows the host's TZ, and changing that for a process
 * would change it for all.  So the zone files and POSIX rules are read here.
 *
 * The rule that matters: a `tm_zone` given out once stays valid as long as the
 * program, whatever its TZ becomes.
 *
 * Not done: leap seconds ("right/..."), a change of the zone files while
 * the program runs.  PostgreSQL has its own zone code; this one serves initdb's search
 * for the system's zone, pg_dump's headers and psql's \watch.
 */
#include "kernel.h"

struct tz;
char *sys_getenv(const char *name);
struct tz **tz_slot(void);
void tz_destroy(struct tz *z);
void sys_tzset(void);
struct tm *sys_localtime_r(const time_t *when, struct tm *out);
time_t sys_mktime(struct tm *tm);

#define ZONE_DIR "/usr/share/zoneinfo/"
#define FILE_MAX (1 << 20)

struct ttype {
    int offset; /* seconds east of UTC */
    bool dst;
    const char *name;
};

/* When a half of the year begins, in POSIX's words. */
struct when {
    enum { MONTH_WEEK_DAY, JULIAN, DAY } kind; /* Mm.w.d, Jn (1..365, no leap day), n (0..365) */
    int month, week, day;
    int time; /* seconds, local */
};

struct rule {
    bool valid, has_dst;
    struct ttype std, dst;
    struct when begin, end; /* of DST */
};

struct name {
    struct name *next;
    char text[];
};

struct tz {
    pthread_mutex_t lock; /* guards all below */
    char *setting;        /* TZ as it was read; NULL: was unset */
    bool read;
    int ntransitions, ntypes;
    int64_t *transitions;
    unsigned char *after; /* type from a transition on */
    struct ttype *types;
    struct rule rule;   /* after the last transition */
    struct name *names; /* every abbreviation given out */
};

static const char *intern(struct tz *z, const char *text, size_t length)
{
    struct name *n;

    for (n = z->names; n; n = n->next)
        if (strncmp(n->text, text, length) == 0 && n->text[length] == '\0')
            return n->text;
    n = malloc(sizeof(*n) + length + 1);
    if (!n)
        return "";
    memcpy(n->text, text, length);
    n->text[length] = '\0';
    n->next = z->names;
    z->names = n;
    return n->text;
}

static void forget(struct tz *z)
{
    free(z->transitions);
    free(z->after);
    free(z->types);
    z->transitions = NULL;
    z->after = NULL;
    z->types = NULL;
    z->ntransitions = z->ntypes = 0;
    memset(&z->rule, 0, sizeof(z->rule));
}

void tz_destroy(struct tz *z)
{
    if (!z)
        return;
    forget(z);
    for (struct name *n = z->names, *next; n; n = next) {
        next = n->next;
        free(n);
    }
    free(z->setting);
    free(z);
}

/* ---- POSIX rules: "EST5EDT,M3.2.0,M11.1.0/2" -------------------------------- */

static const char *parse_number(const char *p, int *out, int max)
{
    int n = 0;

    if (!p || *p < '0' || *p > '9')
        return NULL;
    while (*p >= '0' && *p <= '9') {
        n = n * 10 + *p++ - '0';
        if (n > max)
            return NULL;
    }
    *out = n;
    return p;
}

/* [+-]h[:m[:s]] in seconds */
static const char *parse_time(const char *p, int *out)
{
    int sign = 1, h = 0, m = 0, s = 0;

    if (p && (*p == '+' || *p == '-'))
        sign = *p++ == '-' ? -1 : 1;
    p = parse_number(p, &h, 167);
    if (p && *p == ':')
        p = parse_number(p + 1, &m, 59);
    if (p && *p == ':')
        p = parse_number(p + 1, &s, 59);
    *out = sign * (h * 3600 + m * 60 + s);
    return p;
}

static const char *parse_name(struct tz *z, const char *p, const char **out)
{
    const char *from = p;
    size_t length;

    if (*p == '<') {
        length = strcspn(++from, ">");
        p = from + length;
        if (*p++ != '>')
            return NULL;
    } else {
        while ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z')
            p++;
        length = p - from;
    }
    if (length < 3)
        return NULL;
    *out = intern(z, from, length);
    return p;
}

static const char *parse_when(const char *p, struct when *w)
{
    w->time = 7200;
    if (*p == 'M') {
        w->kind = MONTH_WEEK_DAY;
        p = parse_number(p + 1, &w->month, 12);
        p = p && *p == '.' ? parse_number(p + 1, &w->week, 5) : NULL;
        p = p && *p == '.' ? parse_number(p + 1, &w->day, 6) : NULL;
        if (p && (w->month < 1 || w->week < 1))
            return NULL;
    } else if (*p == 'J') {
        w->kind = JULIAN;
        p = parse_number(p + 1, &w->day, 365);
    } else {
        w->kind = DAY;
        p = parse_number(p, &w->day, 365);
    }
    if (p && *p == '/')
        p = parse_time(p + 1, &w->time);
    return p;
}

static bool parse_rule(struct tz *z, const char *p, struct rule *r)
{
    int west;

    memset(r, 0, sizeof(*r));
    p = parse_name(z, p, &r->std.name);
    p = p ? parse_time(p, &west) : NULL;
    if (!p)
        return false;
    r->std.offset = -west;
    r->valid = true;
    if (*p == '\0')
        return true;
    r->has_dst = r->dst.dst = true;
    r->dst.offset = r->std.offset + 3600;
    p = parse_name(z, p, &r->dst.name);
    if (p && *p && *p != ',') {
        p = parse_time(p, &west);
        r->dst.offset = -west;
    }
    if (p && *p == '\0')
        p = ",M3.2.0,M11.1.0";
    p = p && *p == ',' ? parse_when(p + 1, &r->begin) : NULL;
    p = p && *p == ',' ? parse_when(p + 1, &r->end) : NULL;
    r->valid = p && *p == '\0';
    return r->valid;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 1970-01-01 to the first day of the year. */
static int64_t days_before(int64_t year)
{
    int64_t y = year - 1;
    int64_t quarters =
        y >= 0 ? y / 4 - y / 100 + y / 400 : (y - 3) / 4 - (y - 99) / 100 + (y - 399) / 400;

    return 365 * (year - 1970) + quarters - 477;
}

/* Seconds from 1970 to the moment in that year, on the clock that shows it. */
static int64_t moment(const struct when *w, int64_t year)
{
    static const short first[2][12] = {{0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334},
                                       {0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335}};
    int64_t day = days_before(year);
    bool leap = is_leap(year);

    if (w->kind == JULIAN)
        day += w->day - 1 + (leap && w->day >= 60);
    else if (w->kind == DAY)
        day += w->day;
    else {
        int length =
            (w->month < 12 ? first[leap][w->month] : 365 + leap) - first[leap][w->month - 1];
        int at;

        day += first[leap][w->month - 1];
        at =
            (int)(((w->day - (day + 4)) % 7 + 7) % 7 + 7 * (w->week - 1)); /* 1970 began on day 4 */
        if (at >= length)
            at -= 7;
        day += at;
    }
    return day * 86400 + w->time;
}

static const struct ttype *rule_type(const struct rule *r, int64_t t)
{
    struct tm tm;
    time_t local = t + r->std.offset;
    int64_t begin, end;
    bool dst;

    if (!r->has_dst || !gmtime_r(&local, &tm))
        return &r->std;
    begin = moment(&r->begin, tm.tm_year + 1900L) - r->std.offset;
    end = moment(&r->end, tm.tm_year + 1900L) - r->dst.offset;
    dst = begin < end ? t >= begin && t < end : !(t >= end && t < begin);
    return dst ? &r->dst : &r->std;
}

/* ---- zone files (RFC 8536) -------------------------------------------------- */

static int64_t big_endian(const unsigned char *p, int size)
{
    int64_t value = (int8_t)*p;

    while (--size > 0)
        value = (int64_t)((uint64_t)value << 8 | *++p);
    return value;
}

/* A block with times of `size` bytes at p; where it ends, or NULL. */
static const unsigned char *parse_block(struct tz *z, const unsigned char *p,
                                        const unsigned char *end, int size, bool keep)
{
    int64_t n[6]; /* isutc, isstd, leap, time, type, char */
    const unsigned char *index, *types, *names;
    size_t length;

    if (end - p < 44 || memcmp(p, "TZif", 4) != 0)
        return NULL;
    for (int i = 0; i < 6; i++) {
        n[i] = big_endian(p + 20 + 4 * i, 4);
        if (n[i] < 0 || n[i] > FILE_MAX)
            return NULL;
    }
    p += 44;
    length = n[3] * (size + 1) + n[4] * 6 + n[5] + n[2] * (size + 4) + n[1] + n[0];
    if (n[4] < 1 || n[4] > 256 || (size_t)(end - p) < length)
        return NULL;
    if (!keep)
        return p + length;
    index = p + n[3] * size;
    types = index + n[3];
    names = types + n[4] * 6;
    z->transitions = malloc((n[3] + 1) * sizeof(*z->transitions));
    z->after = malloc(n[3] + 1);
    z->types = malloc(n[4] * sizeof(*z->types));
    if (!z->transitions || !z->after || !z->types)
        return NULL;
    for (int i = 0; i < n[4]; i++) {
        const unsigned char *t = types + 6 * i;

        if (t[5] >= n[5])
            return NULL;
        z->types[i] = (struct ttype){(int)big_endian(t, 4), t[4] != 0,
                                     intern(z, (const char *)names + t[5],
                                            strnlen((const char *)names + t[5], n[5] - t[5]))};
    }
    for (int i = 0; i < n[3]; i++) {
        z->transitions[i] = big_endian(p + i * size, size);
        z->after[i] = index[i];
        if (index[i] >= n[4])
            return NULL;
    }
    z->ntransitions = (int)n[3];
    z->ntypes = (int)n[4];
    return p + length;
}

static bool parse_file(struct tz *z, const unsigned char *p, size_t size)
{
    const unsigned char *end = p + size, *footer;
    bool newer = size > 4 && p[4] >= '2';
    char rule[256];
    size_t length;

    p = parse_block(z, p, end, 4, !newer);
    if (!p || !newer)
        return p != NULL;
    p = parse_block(z, p, end, 8, true);
    if (!p)
        return false;
    footer = p < end && *p == '\n' ? memchr(p + 1, '\n', end - p - 1) : NULL;
    length = footer ? (size_t)(footer - p - 1) : 0;
    if (length == 0 || length >= sizeof(rule))
        return true;
    memcpy(rule, p + 1, length);
    rule[length] = '\0';
    parse_rule(z, rule, &z->rule);
    return true;
}

static bool read_file(struct tz *z, const char *name)
{
    char path[PATH_MAX];
    const char *dir = sys_getenv("TZDIR");
    unsigned char *data;
    struct stat st;
    int fd;
    bool ok = false;

    if (*name == '/')
        snprintf(path, sizeof(path), "%s", name);
    else if (snprintf(path, sizeof(path), "%s/%s", dir && *dir ? dir : ZONE_DIR, name) >= PATH_MAX)
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= FILE_MAX &&
        (data = malloc(st.st_size))) {
        ok = read(fd, data, st.st_size) == st.st_size && parse_file(z, data, st.st_size);
        free(data);
    }
    close(fd);
    if (!ok)
        forget(z);
    return ok;
}

/* ---- the zone in force ------------------------------------------------------ */

static void load(struct tz *z, const char *setting)
{
    size_t letters = 0;

    forget(z);
    free(z->setting);
    z->setting = setting ? strdup(setting) : NULL;
    z->read = true;
    if (!setting) {
        if (read_file(z, "/etc/localtime"))
            return;
        setting = "";
    }
    if (*setting == ':')
        setting++;
    if (*setting && !strstr(setting, "..") && read_file(z, setting))
        return;
    if (!parse_rule(z, setting, &z->rule)) {
        memset(&z->rule, 0, sizeof(z->rule));
        z->rule.valid = true;
        /* As in glibc: UTC under the name that was not understood. */
        while ((setting[letters] | 0x20) >= 'a' && (setting[letters] | 0x20) <= 'z')
            letters++;
        z->rule.std.name =
            *setting ? intern(z, setting, letters < 3 ? 0 : letters) : intern(z, "UTC", 3);
    }
}

static const struct ttype *type_at(struct tz *z, int64_t t)
{
    int lo = 0, hi = z->ntransitions;

    if (hi == 0 || t >= z->transitions[hi - 1]) {
        if (z->rule.valid)
            return rule_type(&z->rule, t);
        return &z->types[hi ? z->after[hi - 1] : 0];
    }
    while (lo < hi) { /* the first transition after t */
        int middle = (lo + hi) / 2;

        if (z->transitions[middle] <= t)
            lo = middle + 1;
        else
            hi = middle;
    }
    return &z->types[lo ? z->after[lo - 1] : 0];
}

/* tzname, timezone and daylight: what is true of the last rules. */
static void set_variables(struct tz *z)
{
    struct procdata *d = &self()->prog->data;
    const struct ttype *std = NULL, *dst = NULL;

    if (z->rule.valid) {
        std = &z->rule.std;
        dst = z->rule.has_dst ? &z->rule.dst : NULL;
    }
    for (int i = z->ntransitions - 1; i >= 0 && (!std || !dst); i--) {
        const struct ttype *t = &z->types[z->after[i]];

        if (t->dst && !dst)
            dst = t;
        else if (!t->dst && !std)
            std = t;
    }
    if (!std)
        std = &z->types[0];
    d->tzname_[0] = (char *)std->name;
    d->tzname_[1] = (char *)(dst ? dst->name : std->name);
    d->timezone_ = -std->offset;
    d->daylight_ = dst != NULL;
}

/* The zone that TZ names now, locked; NULL: no memory. */
static struct tz *zone_lock(void)
{
    static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
    const char *setting = sys_getenv("TZ");
    struct tz **slot = tz_slot(), *z;

    pthread_mutex_lock(&making);
    if (!*slot && (*slot = calloc(1, sizeof(**slot))))
        pthread_mutex_init(&(*slot)->lock, NULL);
    z = *slot;
    pthread_mutex_unlock(&making);
    if (!z)
        return NULL;
    pthread_mutex_lock(&z->lock);
    if (!z->read || !setting != !z->setting || (setting && strcmp(setting, z->setting) != 0)) {
        int saved = errno;

        load(z, setting);
        set_variables(z);
        errno = saved;
    }
    return z;
}

void sys_tzset(void)
{
    struct tz *z = zone_lock();

    if (z)
        pthread_mutex_unlock(&z->lock);
}

static bool break_down(struct tz *z, int64_t t, struct tm *out)
{
    const struct ttype *type = type_at(z, t);
    time_t local;

    if (__builtin_add_overflow(t, type->offset, &local)) {
        errno = EOVERFLOW;
        return false;
    }
    if (!gmtime_r(&local, out))
        return false;
    out->tm_isdst = type->dst;
    out->tm_gmtoff = type->offset;
    out->tm_zone = type->name;
    return true;
}

struct tm *sys_localtime_r(const time_t *when, struct tm *out)
{
    struct tz *z = zone_lock();
    bool ok;

    if (!z)
        return NULL;
    ok = break_down(z, *when, out);
    pthread_mutex_unlock(&z->lock);
    return ok ? out : NULL;
}

#define DAY_LENGTH 86400

/*
 * The moment at which the clock shows `shown`.  Twice in autumn, never in spring:
 * then the offset before the change counts, unless `isdst` (negative: unknown) asks for
 * the other.  Where the time has another isdst than asked for, the nearest period
 * that has it says how the clock would have gone.
 */
static int64_t resolve(struct tz *z, int64_t shown, int isdst)
{
    const struct ttype *before = type_at(z, shown - DAY_LENGTH),
                       *after = type_at(z, shown + DAY_LENGTH);
    const struct ttype *fits[2];
    int n = 0;

    if (type_at(z, shown - before->offset)->offset == before->offset)
        fits[n++] = type_at(z, shown - before->offset);
    if (after->offset != before->offset &&
        type_at(z, shown - after->offset)->offset == after->offset)
        fits[n++] = type_at(z, shown - after->offset);
    if (n == 0)
        fits[n++] = before;
    for (int i = 0; i < n; i++)
        if (isdst < 0 || fits[i]->dst == (isdst > 0))
            return shown - fits[i]->offset;
    for (int64_t away = 7 * DAY_LENGTH; away < 540LL * DAY_LENGTH; away += 7 * DAY_LENGTH)
        for (int side = -1; side <= 1; side += 2) {
            const struct ttype *t = type_at(z, shown + side * away);

            if (t->dst == (isdst > 0))
                return shown - t->offset;
        }
    return shown - fits[0]->offset;
}

time_t sys_mktime(struct tm *tm)
{
    struct tm shown = *tm;
    time_t t, clock;
    struct tz *z;
    int saved = errno;
    bool ok;

    errno = 0;
    clock = timegm(&shown); /* puts fields that are out of range right, too */
    if (clock == -1 && errno == EOVERFLOW)
        return -1;
    errno = saved;
    z = zone_lock();
    if (!z)
        return -1;
    t = resolve(z, clock, tm->tm_isdst);
    ok = break_down(z, t, &shown);
    pthread_mutex_unlock(&z->lock);
    if (!ok)
        return -1;
    *tm = shown;
    return t;
}

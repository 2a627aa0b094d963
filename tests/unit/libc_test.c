/*
 * libc_test.c - env.c, misc.c, locale.c and tz.c alone, compared with the host's libc
 *
 * with: env misc locale tz heap
 * usage: libc [SEED]        prints the seed, then 'N passed, N failed'
 */
#include "../../src/kernel/kernel.h"
#undef CHECK

#include <ctype.h>
#include <getopt.h>
#include <langinfo.h>
#include <sys/times.h>
#include <wctype.h>

static int passed, failed;
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (x)                                                                                     \
            passed++;                                                                              \
        else {                                                                                     \
            failed++;                                                                              \
            printf("not ok: %s (line %d)\n", #x, __LINE__);                                        \
        }                                                                                          \
    } while (0)

static bool is_text(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}
#define IS(a, b) is_text(a, b)

char *sys_getenv(const char *name);
int sys_setenv(const char *name, const char *value, int overwrite);
int sys_unsetenv(const char *name);
int sys_putenv(char *entry);
int sys_clearenv(void);
char *sys_setlocale(int category, const char *name);
struct lconv *sys_localeconv(void);
locale_t sys_uselocale(locale_t locale);
locale_t sys_duplocale(locale_t locale);
locale_t sys_newlocale(int mask, const char *name, locale_t base);
int sys_getopt(int argc, char *const *argv, const char *shorts);
int sys_getopt_long(int argc, char *const *argv, const char *shorts, const struct option *longs,
                    int *index);
int sys_getopt_long_only(int argc, char *const *argv, const char *shorts,
                         const struct option *longs, int *index);
struct passwd *sys_getpwuid(uid_t uid);
struct passwd *sys_getpwnam(const char *name);
char *sys_strtok(char *s, const char *delimiters);
char *sys_strerror(int error);
char *sys_strsignal(int sig);
struct tm *sys_localtime(const time_t *when);
struct tm *sys_gmtime(const time_t *when);
char *sys_ctime(const time_t *when);
time_t sys_mktime(struct tm *tm);
void sys_tzset(void);
long sys_random(void);
void sys_srandom(unsigned seed);
double sys_drand48(void);
void sys_srand48(long seed);
int sys_getrusage(int who, struct rusage *out);
clock_t sys_times(struct tms *out);

/* ---- what the kernel would be ---- */

static struct kernel kernel = {.uid = 61234};
static struct program program;
static struct proc process = {.prog = &program, .kernel = &kernel};
static char messages[4096]; /* what went to the process's stderr */

struct proc *self(void)
{
    return &process;
}

bool on_main_thread(void)
{
    return true;
}

void sys_abort(void)
{
    abort();
}

ssize_t sys_write(int fd, const void *buf, size_t size)
{
    return write(fd, buf, size);
}

struct cfile *stdio_std(struct stdio *s, int fd)
{
    (void)s, (void)fd;
    return NULL;
}

int sys_fprintf(struct cfile *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
int sys_fprintf(struct cfile *f, const char *format, ...)
{
    size_t n = strlen(messages);
    va_list ap;

    (void)f;
    va_start(ap, format);
    vsnprintf(messages + n, sizeof(messages) - n, format, ap);
    va_end(ap);
    return 0;
}

char *path_missed(void)
{
    return NULL;
}

static uint64_t rng_state;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 0x2545F4914F6CDD1DUL >> 8;
}

/* ---- environment ---- */

static void test_env(void)
{
    static char *theirs[] = {"A=1", "B=2", "A=3", NULL};
    static char **copied; /* stands for a COPY relocation */
    char *moved[4] = {"X=1", "Y=2", NULL, NULL}, entry[] = "P=put";

    env_init(&program, (char *[]){"HOME=/h", "PATH=/bin", NULL});
    CHECK(IS(sys_getenv("HOME"), "/h") && !sys_getenv("HOM") && !sys_getenv("") &&
          !sys_getenv("HOME="));
    for (int i = 0; i < 100; i++) {
        char name[16];

        snprintf(name, sizeof(name), "N%d", i);
        CHECK(sys_setenv(name, name, 0) == 0);
    }
    CHECK(IS(sys_getenv("N0"), "N0") && IS(sys_getenv("N99"), "N99"));
    CHECK(sys_setenv("HOME", "other", 0) == 0 && IS(sys_getenv("HOME"), "/h"));
    CHECK(sys_setenv("HOME", "other", 1) == 0 && IS(sys_getenv("HOME"), "other"));
    CHECK(sys_setenv("", "x", 1) == -1 && sys_setenv("a=b", "x", 1) == -1 && errno == EINVAL);
    CHECK(sys_unsetenv("N50") == 0 && !sys_getenv("N50") && IS(sys_getenv("N51"), "N51"));
    env_set_slot(&program, &copied);
    CHECK(copied && IS(sys_getenv("N99"), "N99"));
    copied = moved; /* ps_status.c */
    CHECK(IS(sys_getenv("Y"), "2") && !sys_getenv("N99"));
    CHECK(sys_setenv("Z", "3", 1) == 0 && copied != moved && IS(sys_getenv("Z"), "3"));
    CHECK(moved[2] == NULL && IS(sys_getenv("X"), "1"));
    CHECK(sys_putenv(entry) == 0 && sys_getenv("P") == entry + 2);
    copied = theirs;
    CHECK(sys_unsetenv("A") == 0 && !sys_getenv("A") && IS(env_of(&process)[0], "B=2"));
    /* What a child does between fork and exec leaves the parent's table as it was. */
    char **before = copied;
    process.forked_from = &process;
    CHECK(sys_setenv("B", "child", 1) == 0 && IS(sys_getenv("B"), "child"));
    process.forked_from = NULL;
    copied = before;
    CHECK(IS(sys_getenv("B"), "2") && sys_setenv("C", "4", 1) == 0 && IS(sys_getenv("B"), "2"));
    CHECK(sys_clearenv() == 0 && !sys_getenv("B") && env_of(&process)[0] == NULL);
    CHECK(sys_setenv("LANG", "C", 1) == 0 && IS(sys_getenv("LANG"), "C"));
}

/* ---- locale ---- */

static void same_conv(locale_t locale)
{
    struct lconv *a, *b;
    locale_t old = uselocale(locale);

    a = sys_localeconv();
    b = localeconv();
    CHECK(IS(a->decimal_point, b->decimal_point) && IS(a->thousands_sep, b->thousands_sep));
    CHECK(IS(a->grouping, b->grouping) && IS(a->mon_grouping, b->mon_grouping));
    CHECK(IS(a->int_curr_symbol, b->int_curr_symbol) && IS(a->currency_symbol, b->currency_symbol));
    CHECK(IS(a->mon_decimal_point, b->mon_decimal_point));
    CHECK(IS(a->mon_thousands_sep, b->mon_thousands_sep));
    CHECK(IS(a->positive_sign, b->positive_sign) && IS(a->negative_sign, b->negative_sign));
    CHECK(memcmp(&a->int_frac_digits, &b->int_frac_digits,
                 sizeof(*a) - offsetof(struct lconv, int_frac_digits) - 2) == 0);
    uselocale(old);
}

static void test_locale(void)
{
    static const char *const names[] = {"C",           "C.UTF-8",     "de_DE.UTF-8",
                                        "en_US.UTF-8", "hi_IN.UTF-8", "fr_FR"};
    locale_t mine, old;

    process.localeset = localeset_create();
    locale_attach(&process);
    CHECK(IS(sys_setlocale(LC_ALL, NULL), "C") && MB_CUR_MAX == 1);
    CHECK(!sys_setlocale(LC_ALL, "no_SUCH") && !sys_setlocale(LC_CTYPE, "no_SUCH"));
    CHECK(!sys_setlocale(LC_ALL, "LC_CTYPE=C") && !sys_setlocale(99, "C"));
    CHECK(IS(sys_setlocale(LC_CTYPE, "C.UTF-8"), "C.UTF-8") && MB_CUR_MAX == 6);
    CHECK(iswalpha(0xe4) && IS(nl_langinfo(CODESET), "UTF-8"));
    char *mixed = strdup(sys_setlocale(LC_ALL, NULL));
    CHECK(IS(mixed,
             "LC_CTYPE=C.UTF-8;LC_NUMERIC=C;LC_TIME=C;LC_COLLATE=C;LC_MONETARY=C;LC_MESSAGES=C;"
             "LC_PAPER=C;LC_NAME=C;LC_ADDRESS=C;LC_TELEPHONE=C;LC_MEASUREMENT=C;"
             "LC_IDENTIFICATION=C"));
    CHECK(IS(setlocale(LC_ALL, NULL), "C")); /* the host's own */
    CHECK(IS(sys_setlocale(LC_ALL, "POSIX"), "C") && !iswalpha(0xe4));
    CHECK(IS(sys_setlocale(LC_ALL, mixed), mixed) && iswalpha(0xe4));
    CHECK(IS(sys_setlocale(LC_NUMERIC, NULL), "C") && IS(sys_setlocale(LC_CTYPE, NULL), "C.UTF-8"));
    /* "" asks the environment of the process, in the right order. */
    sys_clearenv();
    CHECK(IS(sys_setlocale(LC_ALL, ""), "C"));
    sys_setenv("LANG", "C.UTF-8", 1);
    CHECK(IS(sys_setlocale(LC_TIME, ""), "C.UTF-8") && IS(sys_setlocale(LC_ALL, ""), "C.UTF-8"));
    sys_setenv("LC_TIME", "POSIX", 1);
    CHECK(IS(sys_setlocale(LC_TIME, ""), "C") && IS(sys_setlocale(LC_CTYPE, ""), "C.UTF-8"));
    sys_setenv("LC_ALL", "no_SUCH", 1);
    CHECK(!sys_setlocale(LC_ALL, "") && IS(sys_setlocale(LC_CTYPE, NULL), "C.UTF-8"));
    sys_unsetenv("LC_ALL");
    /* uselocale() and its friends */
    mine = newlocale(LC_ALL_MASK, "C", NULL);
    CHECK(sys_uselocale(NULL) == LC_GLOBAL_LOCALE && sys_uselocale(mine) == LC_GLOBAL_LOCALE);
    CHECK(sys_uselocale(NULL) == mine && MB_CUR_MAX == 1);
    CHECK(IS(sys_setlocale(LC_CTYPE, "C"), "C") &&
          IS(sys_setlocale(LC_CTYPE, "C.UTF-8"), "C.UTF-8"));
    CHECK(MB_CUR_MAX == 1 && sys_uselocale(NULL) == mine);
    uselocale(LC_GLOBAL_LOCALE); /* another carrier */
    locale_attach(&process);
    CHECK(sys_uselocale(LC_GLOBAL_LOCALE) == mine && MB_CUR_MAX == 6);
    CHECK(sys_setlocale(LC_ALL, "C") && MB_CUR_MAX == 1 && sys_setlocale(LC_ALL, "C.UTF-8"));
    CHECK(sys_uselocale(mine) == LC_GLOBAL_LOCALE && sys_uselocale(LC_GLOBAL_LOCALE) == mine);
    mine = sys_duplocale(LC_GLOBAL_LOCALE);
    CHECK(mine && IS(nl_langinfo_l(CODESET, mine), "UTF-8"));
    freelocale(mine);
    mine = sys_newlocale(LC_CTYPE_MASK, "", NULL);
    CHECK(mine && IS(nl_langinfo_l(CODESET, mine), "UTF-8"));
    freelocale(mine);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if ((mine = newlocale(LC_ALL_MASK, names[i], NULL))) {
            same_conv(mine);
            freelocale(mine);
        }
    for (int i = 0; i < 1000; i++)
        CHECK(sys_setlocale(i % 2 ? LC_MONETARY : LC_ALL, i % 3 ? "C" : "C.UTF-8"));
    old = uselocale(NULL);
    localeset_destroy(process.localeset);
    CHECK(old != LC_GLOBAL_LOCALE && uselocale(NULL) == LC_GLOBAL_LOCALE);
    process.localeset = NULL;
    free(mixed);
}

/* ---- getopt ---- */

static int flag_host, flag_calf;

static void compare_getopt(void)
{
    static const char *const words[] = {
        "-a",      "-b",        "-c",        "-bx",    "-ab",      "-abx",   "-",       "--",
        "plain",   "other",     "--alpha",   "--beta", "--beta=1", "--be",   "--bet=2", "--gam",
        "--gamma", "--alpha=9", "--nothing", "-q",     "-o",       "-oval",  "--opt",   "--opt=v",
        "--al",    "-acq",      "--flag",    "-W",     "-:",       "-alpha", "-beta"};
    static const char *const shorts[] = {
        "ab:co::", "+ab:co::", "-ab:co::", ":ab:co::", "ab:c", "-:ab:c"};
    struct option longs[] = {{"alpha", no_argument, NULL, 1},
                             {"beta", required_argument, NULL, 2},
                             {"gamma", no_argument, NULL, 3},
                             {"gamble", no_argument, NULL, 4},
                             {"opt", optional_argument, NULL, 5},
                             {"flag", no_argument, NULL, 6},
                             {"alpine", no_argument, NULL, 1},
                             {NULL, 0, NULL, 0}},
                  theirs[8];
    char *a[10], *b[10], err[4096] = "";
    const char *set = shorts[rng() % 6];
    int n = 1 + rng() % 8, kind = rng() % 3, got = 0, want = 0;
    bool same = true;
    FILE *old = stderr, *memory = fmemopen(err, sizeof(err), "w");

    memcpy(theirs, longs, sizeof(longs));
    longs[5].flag = &flag_calf;
    theirs[5].flag = &flag_host;
    a[0] = b[0] = "prog";
    for (int i = 1; i < n; i++)
        a[i] = b[i] = (char *)words[rng() % (sizeof(words) / sizeof(words[0]))];
    a[n] = b[n] = NULL;
    messages[0] = '\0';
    program.data.optind_ = optind = rng() % 2; /* 0: start anew; 1: as PostgreSQL does */
    program.data.opterr_ = opterr = rng() % 4 != 0;
    stderr = memory;
    for (int step = 0; step < 30 && want != -1 && same; step++) {
        int ia = -7, ib = -7;

        switch (kind) {
        case 0:
            got = sys_getopt(n, a, set);
            want = getopt(n, b, set);
            break;
        case 1:
            got = sys_getopt_long(n, a, set, longs, &ia);
            want = getopt_long(n, b, set, theirs, &ib);
            break;
        default:
            got = sys_getopt_long_only(n, a, set, longs, &ia);
            want = getopt_long_only(n, b, set, theirs, &ib);
        }
        same = got == want && ia == ib && program.data.optind_ == optind &&
               program.data.optarg_ == optarg && flag_calf == flag_host &&
               (want != '?' || program.data.optopt_ == optopt);
        for (int i = 0; i <= n; i++)
            same &= a[i] == b[i];
    }
    fflush(memory);
    stderr = old;
    fclose(memory);
    same &= strcmp(messages, err) == 0;
    if (!same) {
        printf("not ok: getopt kind %d \"%s\":", kind, set);
        for (int i = 1; i < n; i++)
            printf(" %s", b[i]);
        printf("; calf %d optind %d optarg %s '%s', host %d optind %d optarg %s '%s'\n", got,
               program.data.optind_, program.data.optarg_, messages, want, optind, optarg, err);
        failed++;
    } else
        passed++;
    /* Both must end the same way: an unfinished bundle would be the next one's. */
    program.data.optind_ = optind = 0;
    program.data.opterr_ = opterr = 0;
    sys_getopt(1, a, "a");
    getopt(1, b, "a");
}

/* ---- time ---- */

static bool same_tm(const struct tm *a, const struct tm *b)
{
    return a->tm_sec == b->tm_sec && a->tm_min == b->tm_min && a->tm_hour == b->tm_hour &&
           a->tm_mday == b->tm_mday && a->tm_mon == b->tm_mon && a->tm_year == b->tm_year &&
           a->tm_wday == b->tm_wday && a->tm_yday == b->tm_yday && a->tm_isdst == b->tm_isdst &&
           a->tm_gmtoff == b->tm_gmtoff && IS(a->tm_zone, b->tm_zone);
}

/*
 * Two moments with one local time: a zone that goes back without daylight saving time before or
 * after has some (Casablanca, 1985-12-31).  Which of them glibc's mktime() finds depends on what
 * it was asked before.
 */
static bool is_twice(time_t one, time_t other)
{
    struct tm a = *localtime(&one), b = *localtime(&other);

    b.tm_gmtoff = a.tm_gmtoff;
    b.tm_zone = a.tm_zone;
    return one != other && same_tm(&a, &b);
}

static void compare_zone(const char *zone)
{
    int bad = 0;

    setenv("TZ", zone, 1);
    tzset();
    sys_setenv("TZ", zone, 1);
    sys_tzset();
    for (int i = 0; i < 2000; i++) {
        time_t t = (time_t)(rng() % 8200000000UL) - 2200000000L, ta, tb; /* 1900 to 2160 */

        /* glibc does not compute rules before 1971. */
        if (strchr(zone, ',') && t < 366 * 86400L)
            t = -t + 2 * 366 * 86400L;
        struct tm a, b, round;

        a = *sys_localtime(&t);
        b = *localtime(&t);
        round = b;
        if (!same_tm(&a, &b)) {
            if (!bad++)
                printf("not ok: localtime(%ld) in %s: calf %s %ld, host %s %ld\n", (long)t, zone,
                       a.tm_zone, a.tm_gmtoff, b.tm_zone, b.tm_gmtoff);
            continue;
        }
        a = b = round;
        ta = sys_mktime(&a);
        tb = mktime(&b);
        if (is_twice(ta, tb)) /* either is right, with all that belongs to it */
            b = *localtime(&ta), tb = ta;
        if (ta != tb || !same_tm(&a, &b)) {
            if (!bad++)
                printf("not ok: mktime of %ld in %s: calf %ld, host %ld\n", (long)t, zone, (long)ta,
                       (long)tb);
        }
        b.tm_isdst = -1;
        b.tm_mday += rng() % 60;
        b.tm_hour -= rng() % 100;
        a = b;
        ta = sys_mktime(&a);
        tb = mktime(&b);
        if (ta != tb && labs(ta - tb) > 7200 && !bad++)
            printf("not ok: mktime near %ld in %s: calf %ld, host %ld\n", (long)t, zone, (long)ta,
                   (long)tb);
    }
    CHECK(bad == 0);
}

static void test_time(void)
{
    static const char *const zones[] = {"",
                                        "UTC",
                                        "UTC0",
                                        "EST5EDT",
                                        "IST-5:30",
                                        "Europe/Berlin",
                                        "America/New_York",
                                        "Asia/Kolkata",
                                        "Australia/Lord_Howe",
                                        "America/Sao_Paulo",
                                        "Asia/Tehran",
                                        "Pacific/Apia",
                                        "Europe/Dublin",
                                        "Africa/Casablanca",
                                        "America/Godthab",
                                        "Antarctica/Troll",
                                        "Asia/Gaza",
                                        "<+03>-3",
                                        "<-01>1<+00>,M3.5.0/0,M10.5.0/1",
                                        "CET-1CEST,M3.5.0,M10.5.0/3",
                                        "AEST-10AEDT,M10.1.0,M4.1.0/3",
                                        "XXX3YYY,J60/2,J300/2",
                                        "XXX3YYY,59/2,299",
                                        "IST-2IDT,M3.4.4/26,M10.5.0",
                                        ":Europe/Paris",
                                        "/usr/share/zoneinfo/Asia/Tokyo",
                                        "No/Such",
                                        "PST8PDT"};
    time_t when = 86400 * 365;
    struct tm *tm;
    const char *zone;

    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++)
        compare_zone(zones[i]);
    sys_setenv("TZ", "EST5EDT", 1);
    tm = sys_localtime(&when);
    CHECK(tm->tm_hour == 19 && IS(tm->tm_zone, "EST"));
    zone = tm->tm_zone;
    sys_setenv("TZ", "IST-5:30", 1);
    CHECK(IS(sys_ctime(&when), "Fri Jan  1 05:30:00 1971\n") && IS(zone, "EST"));
    sys_tzset();
    CHECK(program.data.timezone_ == -19800 && IS(program.data.tzname_[0], "IST") &&
          !program.data.daylight_);
    sys_unsetenv("TZ");
    unsetenv("TZ");
    tzset();
    CHECK(same_tm(sys_localtime(&when), localtime(&when)));
    CHECK(IS(asctime(sys_gmtime(&when)), "Fri Jan  1 00:00:00 1971\n"));
}

/* ---- the rest ---- */

static void test_rest(void)
{
    char text[] = "one two,three", other[64];
    struct passwd *pw;
    struct rusage u;
    struct tms t;

    CHECK(IS(sys_strtok(text, " "), "one") && strtok(strcpy(other, "x y"), " "));
    CHECK(IS(sys_strtok(NULL, ","), "two") && IS(sys_strtok(NULL, ","), "three") &&
          !sys_strtok(NULL, ","));
    CHECK(IS(sys_strerror(ENOENT), "No such file or directory") &&
          IS(sys_strerror(9999), "Unknown error 9999"));
    CHECK(IS(sys_strsignal(SIGTERM), "Terminated"));
    sys_srandom(5);
    srandom(5);
    for (int i = 0; i < 100; i++)
        CHECK(sys_random() == random());
    sys_srand48(7);
    srand48(7);
    CHECK(sys_drand48() == drand48());
    kernel.real_uid = getuid();
    pw = getpwuid(getuid());
    if (pw) {
        char *name = strdup(pw->pw_name);

        CHECK((pw = sys_getpwuid(61234)) && IS(pw->pw_name, name) && pw->pw_uid == 61234);
        CHECK((pw = sys_getpwnam(name)) && pw->pw_uid == 61234);
        free(name);
    }
    CHECK(sys_getpwnam("no such user") == NULL && sys_getpwuid(4000000) == NULL);
    CHECK(sys_getrusage(RUSAGE_SELF, &u) == 0 && u.ru_maxrss > 0);
    CHECK(sys_getrusage(RUSAGE_CHILDREN, &u) == 0 && u.ru_utime.tv_sec == 0);
    CHECK(sys_times(&t) > 0 && t.tms_cutime == 0);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
    int ind, err, opt;
    char *arg;

    printf("seed %lu\n", (unsigned long)seed);
    rng_state = seed * 2 + 1;
    program.heap = heap_create();
    program.misc = misc_create();
    program.data.optind_ = program.data.opterr_ = 1;
    test_env();
    test_locale();
    for (int i = 0; i < 20000; i++)
        compare_getopt();
    test_time();
    test_rest();
    misc_set_var(&program, "optarg", &arg);
    misc_set_var(&program, "optind", &ind);
    misc_set_var(&program, "opterr", &err);
    misc_set_var(&program, "optopt", &opt);
    ind = err = 1;
    CHECK(sys_getopt(3, (char *[]){"p", "-b", "v", NULL}, "b:") == 'b' && IS(arg, "v") && ind == 3);
    misc_destroy(program.misc);
    heap_destroy(program.heap);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

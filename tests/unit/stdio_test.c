/*
 * stdio_test.c - src/kernel/stdio.c alone, compared with the host's stdio step by step
 *
 * with: stdio heap
 * usage: stdio [SEED]       prints the seed, then 'N passed, N failed'
 */
#include "../../src/kernel/kernel.h"
#undef CHECK

#include <setjmp.h>

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

struct cfile *sys_fopen(const char *path, const char *mode);
struct cfile *sys_fdopen(int fd, const char *mode);
struct cfile *sys_freopen(const char *path, const char *mode, struct cfile *f);
struct cfile *sys_tmpfile(void);
int sys_fflush(struct cfile *f);
int sys_setvbuf(struct cfile *f, char *buf, int mode, size_t size);
size_t sys_fwrite(const void *from, size_t size, size_t n, struct cfile *f);
int sys_fputs(const char *s, struct cfile *f);
int sys_fputc(int c, struct cfile *f);
int sys_puts(const char *s);
void sys_perror(const char *what);
int sys_fprintf(struct cfile *f, const char *format, ...);
int sys_printf(const char *format, ...);
size_t sys_fread(void *to, size_t size, size_t n, struct cfile *f);
char *sys_fgets(char *to, int size, struct cfile *f);
int sys_fgetc(struct cfile *f);
int sys_ungetc(int c, struct cfile *f);
ssize_t sys_getline(char **line, size_t *size, struct cfile *f);
int sys_fseeko(struct cfile *f, off_t offset, int whence);
off_t sys_ftello(struct cfile *f);
void sys_rewind(struct cfile *f);
int sys_feof(struct cfile *f);
int sys_ferror(struct cfile *f);
void sys_clearerr(struct cfile *f);
int sys_fileno(struct cfile *f);
int sys_fscanf(struct cfile *f, const char *format, ...);
void *sys_malloc(size_t size);
void sys_free(void *p);
void heap_set_threaded(struct heap *h);

/* ---- what the kernel would be ---- */

static struct program program;
static struct proc process = {.prog = &program};
static int interrupt_next; /* this many reads end with EINTR */
static int longest_write;  /* 0: no limit */
static int writes;
static jmp_buf jump;
static bool jump_next;

struct proc *self(void)
{
    return &process;
}

void sys_abort(void)
{
    abort();
}

ssize_t sys_write(int fd, const void *buf, size_t size)
{
    return write(fd, buf, size);
}

ssize_t gate_read(int fd, void *buf, size_t size);
ssize_t gate_read(int fd, void *buf, size_t size)
{
    if (jump_next) {
        jump_next = false;
        longjmp(jump, 1);
    }
    if (interrupt_next > 0) {
        interrupt_next--;
        errno = EINTR;
        return -1;
    }
    return read(fd, buf, size);
}

ssize_t gate_write(int fd, const void *buf, size_t size);
ssize_t gate_write(int fd, const void *buf, size_t size)
{
    writes++;
    return write(fd, buf,
                 longest_write && size > (size_t)longest_write ? (size_t)longest_write : size);
}

int gate_open(const char *path, int flags, mode_t mode);
int gate_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

int gate_close(int fd);
int gate_close(int fd)
{
    return close(fd);
}

off_t gate_lseek(int fd, off_t offset, int whence);
off_t gate_lseek(int fd, off_t offset, int whence)
{
    return lseek(fd, offset, whence);
}

int gate_dup2(int fd, int to);
int gate_dup2(int fd, int to)
{
    return dup2(fd, to);
}

int gate_dup3(int fd, int to, int flags);
int gate_dup3(int fd, int to, int flags)
{
    return dup3(fd, to, flags);
}

int gate_unlink(const char *path);
int gate_unlink(const char *path)
{
    return unlink(path);
}

int gate_mkstemp(char *template);
int gate_mkstemp(char *template)
{
    return mkstemp(template);
}

int sys_isatty(int fd);
int sys_isatty(int fd)
{
    return isatty(fd);
}

struct file *fd_get(int fd)
{
    static struct file file;

    file.flags = fcntl(fd, F_GETFL);
    return file.flags < 0 ? NULL : &file;
}

void file_put(struct file *f)
{
    (void)f;
}

/* ---- helpers ---- */

static uint64_t rng_state;

static uint64_t rng(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state * 0x2545F4914F6CDD1DUL >> 8;
}

static char *slurp(const char *path, size_t *size)
{
    FILE *f = fopen(path, "r");
    char *text = malloc(1 << 22);

    *size = f ? fread(text, 1, (1 << 22) - 1, f) : 0;
    text[*size] = '\0';
    if (f)
        fclose(f);
    return text;
}

static bool contains(const char *path, const char *want)
{
    size_t n;
    char *text = slurp(path, &n);
    bool same = n == strlen(want) && memcmp(text, want, n) == 0;

    free(text);
    return same;
}

static void spill(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "w");

    fwrite(text, 1, n, f);
    fclose(f);
}

/* ---- the same steps on both ---- */

static const char *last_op = "";

#define SAME(op, a, b)                                                                             \
    do {                                                                                           \
        long a_ = (long)(a), b_ = (long)(b);                                                       \
        if (a_ != b_) {                                                                            \
            printf("not ok: %s: calf %ld, host %ld (step %d, mode %s, after %s)\n", op, a_, b_,    \
                   step, mode, last_op);                                                           \
            failed++;                                                                              \
            return;                                                                                \
        }                                                                                          \
    } while (0)

static void compare_files(int nsteps)
{
    static const char *const modes[] = {"r", "w", "a", "r+", "w+", "a+"};
    static char a[40000], b[40000], content[60000];
    const char *mode = modes[rng() % 6];
    size_t n = rng() % sizeof(content), na, nb;
    int buffering = rng() % 4, step = 0;
    enum { NEITHER, IN, OUT } direction = NEITHER;
    bool reads = mode[0] == 'r' || mode[1], wrote = mode[0] != 'r' || mode[1];
    struct cfile *f;
    FILE *h;

    for (size_t i = 0; i < n; i++)
        content[i] = rng() % 30 == 0 ? '\n' : 'a' + rng() % 26;
    spill("t_calf", content, n);
    spill("t_host", content, n);
    f = sys_fopen("t_calf", mode);
    h = fopen("t_host", mode);
    if (buffering == 1) {
        SAME("setvbuf", sys_setvbuf(f, NULL, _IOLBF, 0), setvbuf(h, NULL, _IOLBF, 0));
    } else if (buffering == 2) {
        SAME("setvbuf", sys_setvbuf(f, NULL, _IONBF, 0), setvbuf(h, NULL, _IONBF, 0));
    } else if (buffering == 3) {
        static char room[20000];
        size_t size = 100 + rng() % 19000;

        SAME("setvbuf", sys_setvbuf(f, room, _IOFBF, size), setvbuf(h, room, _IOFBF, size));
    }
    for (step = 0; step < nsteps; step++) {
        unsigned op = rng() % 16;
        size_t size = rng() % (rng() % 4 ? 100 : sizeof(a) - 1) + 1;
        bool in = op < 5, out = op >= 5 && op < 9;

        /* Between reading and writing the standard wants a seek or a flush. */
        if ((in && direction == OUT) || (out && direction == IN)) {
            SAME("seek between", sys_fseeko(f, 0, SEEK_CUR), fseeko(h, 0, SEEK_CUR));
            direction = NEITHER;
        }
        if ((in && !reads) || (out && !wrote))
            continue;
        if (in)
            direction = IN;
        if (out)
            direction = OUT;
        switch (op) {
        case 0:
            SAME("fgetc", sys_fgetc(f), fgetc(h));
            last_op = "fgetc";
            break;
        case 1:
            memset(a, 0, size);
            memset(b, 0, size);
            SAME("fread", sys_fread(a, 1, size, f), fread(b, 1, size, h));
            SAME("fread content", memcmp(a, b, size), 0);
            last_op = "fread";
            break;
        case 2:
            memset(a, 0, size);
            memset(b, 0, size);
            SAME("fgets", sys_fgets(a, size, f) != NULL, fgets(b, size, h) != NULL);
            SAME("fgets content", memcmp(a, b, size), 0);
            last_op = "fgets";
            break;
        case 3: {
            char *la = NULL, *lb = NULL;
            size_t sa = 0, sb = 0;
            ssize_t got;

            SAME("getline", got = sys_getline(&la, &sa, f), getline(&lb, &sb, h));
            SAME("getline content", got > 0 ? memcmp(la, lb, got + 1) : 0, 0);
            sys_free(la);
            free(lb);
            last_op = "getline";
            break;
        }
        case 4: {
            int c = sys_fgetc(f);

            SAME("getc", c, fgetc(h));
            if (c != EOF) {
                SAME("ungetc", sys_ungetc(c, f), ungetc(c, h));
                if (rng() % 2)
                    SAME("ungetc tell", sys_ftello(f), ftello(h));
            }
            last_op = "ungetc";
            break;
        }
        case 5:
            SAME("fputc", sys_fputc(op + step, f), fputc(op + step, h));
            last_op = "fputc";
            break;
        case 6:
        case 7:
            for (size_t i = 0; i < size; i++)
                a[i] = rng() % 50 == 0 ? '\n' : 'A' + rng() % 26;
            SAME("fwrite", sys_fwrite(a, 1, size, f), fwrite(a, 1, size, h));
            last_op = "fwrite";
            break;
        case 8:
            SAME("fprintf", sys_fprintf(f, "%d %s\n", step, mode),
                 fprintf(h, "%d %s\n", step, mode));
            last_op = "fprintf";
            break;
        case 9: SAME("ftell", sys_ftello(f), ftello(h)); break;
        case 10: {
            int whence = rng() % 3;
            off_t at = whence == SEEK_SET ? (int)(rng() % 70000) : (int)(rng() % 3000) - 1500;

            SAME("fseek", sys_fseeko(f, at, whence), fseeko(h, at, whence));
            SAME("ftell after", sys_ftello(f), ftello(h));
            direction = NEITHER;
            last_op = "fseek";
            break;
        }
        case 11:
            if (direction != IN) {
                SAME("fflush", sys_fflush(f), fflush(h));
                last_op = "fflush";
            }
            break;
        case 12:
            SAME("feof", sys_feof(f), feof(h));
            SAME("ferror", sys_ferror(f), ferror(h));
            break;
        case 13:
            if (rng() % 4 == 0) {
                sys_rewind(f);
                rewind(h);
                direction = NEITHER;
                last_op = "rewind";
            }
            break;
        case 14:
            if (rng() % 4 == 0) {
                sys_clearerr(f);
                clearerr(h);
            }
            break;
        }
    }
    SAME("fclose", sys_fclose(f), fclose(h));
    char *ta = slurp("t_calf", &na), *tb = slurp("t_host", &nb);
    SAME("file size", na, nb);
    SAME("file content", memcmp(ta, tb, na), 0);
    free(ta);
    free(tb);
    passed++;
}

static void compare_scan(const char *input, const char *format)
{
    union slot {
        char text[1024];
        double d;
        long l;
    } a[8], b[8];
    struct cfile *f;
    FILE *h;
    int ra, rb;

    memset(a, 0x55, sizeof(a));
    memset(b, 0x55, sizeof(b));
    bool wide = strstr(format, "%L") != NULL; /* a long double has bytes that mean nothing */
    spill("t_scan", input, strlen(input));
    f = sys_fopen("t_scan", "r");
    h = fopen("t_scan", "r");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    ra = sys_fscanf(f, format, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5], &a[6], &a[7]);
    rb = fscanf(h, format, &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &b[6], &b[7]);
#pragma GCC diagnostic pop
    if (ra != rb || memcmp(a, b, wide ? 10 : sizeof(a)) != 0 || sys_ftello(f) != ftello(h) ||
        (!strchr(format, '1') && sys_feof(f) != feof(h))) { /* glibc peeks behind a full width */
        printf("not ok: fscanf(\"%s\", \"%s\"): calf %d at %ld eof %d, host %d at %ld eof %d, %s\n",
               input, format, ra, (long)sys_ftello(f), sys_feof(f), rb, (long)ftello(h), feof(h),
               memcmp(a, b, sizeof(a)) ? "other values" : "same values");
        failed++;
    } else
        passed++;
    sys_fclose(f);
    fclose(h);
}

static void *printer(void *arg)
{
    for (int i = 0; i < 20000; i++)
        sys_fprintf(arg, "%s\n", "0123456789");
    return NULL;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
    char dir[] = "/tmp/stdio_testXXXXXX", text[256];
    struct cfile *f;
    int fds[2];

    printf("seed %lu\n", (unsigned long)seed);
    rng_state = seed * 2 + 1;
    if (!mkdtemp(dir) || chdir(dir) < 0)
        return 2;
    program.heap = heap_create();
    program.stdio = stdio_create();

    for (int i = 0; i < 1500; i++)
        compare_files(60);

    /* PostgreSQL's own formats first: backup_label, autoprewarm, postmaster.pid. */
    compare_scan("START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECK",
                 "START WAL LOCATION: %X/%X (file %08X%16s)%c");
    compare_scan("CHECKPOINT LOCATION: 0/2000060\n", "CHECKPOINT LOCATION: %X/%X%c");
    compare_scan("BACKUP METHOD: streamed\n", "BACKUP METHOD: %19s\n");
    compare_scan("BACKUP METHOD: pg_start_backup\nX", "BACKUP METHOD: %19s\n");
    compare_scan("LABEL: a b c\nSTART", "LABEL: %1023[^\n]\n");
    compare_scan("START TIMELINE: 7\n", "START TIMELINE: %u\n");
    compare_scan("<<123>>\n1,2,3,4,5\n", "<<%d>>\n");
    compare_scan("1,1663,16384,0,4294967295\n6", "%u,%u,%u,%u,%u\n");
    compare_scan("12345\n/data\n", "%d");
    static const char *const inputs[] = {"",
                                         " ",
                                         "12",
                                         " -12 x",
                                         "+7",
                                         "-",
                                         "0",
                                         "0x1",
                                         "0x1fz",
                                         "017",
                                         "089",
                                         "99999999999999999999",
                                         "-99999999999999999999",
                                         "abc",
                                         "abc def",
                                         "\n\nabc\n",
                                         "a,b",
                                         "]x",
                                         "1.5",
                                         "1.5e",
                                         "1.5e+",
                                         "1.5e3",
                                         ".5",
                                         ".",
                                         "inf",
                                         "-inf x",
                                         "0x1.8p1",
                                         "1e5e5",
                                         "12abc",
                                         "%5",
                                         "1 2 3 4",
                                         "1:2:3",
                                         "--5",
                                         "\t\n",
                                         "1.2.3"};
    static const char *const formats[] = {
        "%d",       "%u",   "%x",    "%i",   "%o",     "%ld",       "%hd",     "%hhd",
        "%lld",     "%s",   "%3s",   "%c",   "%3c",    "%[abc]",    "%[^,]",   "%[]x]",
        "%[a-c]%c", "%f",   "%lf",   "%Lf",  "%2d%d",  "%*d%s",     "%d %d%n", "%n%d",
        " %c",      "%%%d", "%d:%d", "%p",   "%1d%2d", "%*[a-z]%n", "%1x%c",   "%5lf%c",
        "x%d",      "%d%c", "%4i%n", "%s%n", "%jd",    "%zu",       "%i%c"};
    for (size_t i = 0; i < sizeof(inputs) / sizeof(*inputs); i++)
        for (size_t k = 0; k < sizeof(formats) / sizeof(*formats); k++)
            compare_scan(inputs[i], formats[k]);

    /* A pipe is not asked for more than is needed; EINTR is an error that can be cleared. */
    CHECK(pipe(fds) == 0);
    f = sys_fdopen(fds[0], "r");
    CHECK(write(fds[1], "one\ntw", 6) == 6);
    CHECK(sys_fgets(text, sizeof(text), f) == text && strcmp(text, "one\n") == 0);
    interrupt_next = 1;
    CHECK(sys_fgetc(f) == 't');
    CHECK(sys_fgets(text, sizeof(text), f) == NULL && errno == EINTR && sys_ferror(f));
    sys_clearerr(f);
    CHECK(write(fds[1], "o 5\n", 4) == 4);
    int five = 0;
    CHECK(sys_fscanf(f, "%s%d", text, &five) == 2 && strcmp(text, "o") == 0 && five == 5);
    if (setjmp(jump) == 0) {
        jump_next = true;
        CHECK(sys_fgetc(f) == '\n');
        sys_fgets(text, sizeof(text), f);
        CHECK(!"reached");
    }
    CHECK(write(fds[1], "after\n", 6) == 6);
    CHECK(sys_fgets(text, sizeof(text), f) == text && strcmp(text, "after\n") == 0);
    CHECK(sys_fseeko(f, 0, SEEK_CUR) == -1 && errno == ESPIPE && sys_ftello(f) == -1);
    close(fds[1]);
    CHECK(sys_fgetc(f) == EOF && sys_feof(f) && sys_fclose(f) == 0);
    CHECK(sys_fdopen(fds[0], "r") == NULL && errno == EBADF);

    /* Short writes go on; one fprintf() to stderr is one write; a full device is an error. */
    f = sys_fopen("t_short", "w");
    longest_write = 1000;
    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 200; i++)
        CHECK(sys_fwrite(text, 1, sizeof(text), f) == sizeof(text));
    CHECK(sys_fclose(f) == 0);
    longest_write = 0;
    struct stat st;
    CHECK(stat("t_short", &st) == 0 && st.st_size == 200 * (off_t)sizeof(text));
    int errors = dup(2);
    f = stdio_std(program.stdio, 2);
    CHECK(sys_freopen("t_err", "w", f) == NULL || sys_fileno(f) == 2);
    writes = 0;
    CHECK(sys_fprintf(f, "%s %d\n", "message", 3) == 10 && writes == 1);
    errno = ENOENT;
    sys_perror("what");
    CHECK(writes == 2 && contains("t_err", "message 3\nwhat: No such file or directory\n"));
    char *large = malloc(100001);
    memset(large, 'y', 100000);
    large[100000] = '\0';
    CHECK(sys_fprintf(f, "%s", large) == 100000 && writes == 3);
    dup2(errors, 2); /* for the sanitizers */
    close(errors);
    f = sys_fopen("/dev/full", "w");
    CHECK(sys_fputs("x", f) >= 0 && sys_fflush(f) == EOF && errno == ENOSPC && sys_ferror(f));
    CHECK(sys_fputs("y", f) >= 0 && sys_fclose(f) == EOF && errno == ENOSPC);
    f = sys_fopen("/dev/full", "w");
    CHECK(sys_fprintf(f, "%s", large) == -1 && sys_ferror(f));
    sys_fclose(f);
    free(large);
    CHECK(sys_fopen("t_short", "z") == NULL && errno == EINVAL);
    CHECK(sys_fopen("t_short", "wx") == NULL && errno == EEXIST);
    f = sys_tmpfile();
    CHECK(f && sys_fputs("tmp", f) >= 0);
    sys_rewind(f);
    CHECK(sys_fgetc(f) == 't' && sys_fclose(f) == 0);

    /* fdopen("a") of a descriptor that is not O_APPEND still writes at the end. */
    spill("t_app", "12345", 5);
    f = sys_fdopen(open("t_app", O_RDWR), "a");
    CHECK(sys_fputs("6", f) >= 0 && sys_ftello(f) == 6 && sys_fclose(f) == 0);
    CHECK(contains("t_app", "123456"));

    /* Unread input goes back to a descriptor that others share. */
    spill("t_in", "first\nsecond\n", 13);
    int in = open("t_in", O_RDONLY);
    f = sys_fdopen(dup(in), "r");
    CHECK(sys_fgets(text, sizeof(text), f) == text && sys_fclose(f) == 0);
    CHECK(lseek(in, 0, SEEK_CUR) == 6);
    close(in);

    /* exit() writes what is buffered. */
    f = sys_fopen("t_exit", "w");
    sys_fputs("kept", f);
    CHECK(contains("t_exit", ""));
    stdio_flush(program.stdio);
    CHECK(contains("t_exit", "kept"));
    sys_fputs(" too", f);
    CHECK(sys_fflush(NULL) == 0 && contains("t_exit", "kept too"));
    sys_fclose(f);

    /* Threads do not mix lines. */
    heap_set_threaded(program.heap);
    f = sys_fopen("t_thread", "w");
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, printer, f);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    sys_fclose(f);
    f = sys_fopen("t_thread", "r");
    int lines = 0;
    while (sys_fgets(text, sizeof(text), f) && strcmp(text, "0123456789\n") == 0)
        lines++;
    CHECK(lines == 60000 && sys_fclose(f) == 0);

    stdio_destroy(program.stdio);
    heap_destroy(program.heap);
    if (system("rm -rf /tmp/stdio_test??????") < 0)
        return 2;
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

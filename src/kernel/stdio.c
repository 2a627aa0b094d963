/*
 * stdio.c - the streams of one program
 *
 * The same functions as libc's, on the process's own descriptors.  The host's
 * FILE is never used: its descriptor numbers are others, and the host's exit()
 * or fflush(NULL) would write what a process has buffered into a file of the host.
 *
 * The rules that matter:
 *  - A gate_ call can run a handler of the program, which may print, or jump out
 *    of here and never come back.  So a stream is consistent, and what is given
 *    to the system counts as gone, before each of them.
 *  - Locks are taken only once the process has a second thread (pgbench).  They
 *    are recursive, so that a thread which jumped out may come again.
 *
 * Not done: wide streams, fopencookie and memory streams, fpos_t, positional
 * arguments in fscanf.  PostgreSQL uses none of them.
 */
#include "kernel.h"

#include <ctype.h>
#include <langinfo.h>

ssize_t gate_read(int fd, void *buf, size_t size);
ssize_t gate_write(int fd, const void *buf, size_t size);
int gate_open(const char *path, int flags, mode_t mode);
int gate_close(int fd);
off_t gate_lseek(int fd, off_t offset, int whence);
int gate_dup3(int fd, int to, int flags);
int gate_dup2(int fd, int to);
int gate_unlink(const char *path);
int gate_mkstemp(char *template);
int sys_isatty(int fd);
bool heap_threaded(struct heap *h);
void *sys_malloc(size_t size);
void *sys_realloc(void *p, size_t size);
void sys_free(void *p);

#define BUFFER_SIZE 8192
#define HEADROOM 16 /* bytes before the buffer, for ungetc() at its beginning */

/* These two are where glibc has them: its inline feof_unlocked() reads the first word. */
#define F_EOF 0x10
#define F_ERR 0x20
#define F_READ 0x100
#define F_WRITE 0x200
#define F_APPEND 0x400    /* writes go to the end */
#define F_SEEK_END 0x800  /* and the descriptor does not see to that itself */
#define F_MODE_SET 0x1000 /* setvbuf() was called: no look at the terminal */
#define F_SEEKABLE 0x2000 /* an lseek() succeeded */
#define F_STANDARD 0x4000 /* part of struct stdio */

enum activity { IDLE, READING, WRITING };

struct cfile {
    int flags;
    /*
     * Stand for the buffer pointers of glibc's FILE and stay NULL, so that its inline
     * getc_unlocked() and putc_unlocked() always call __uflow() and __overflow().
     */
    char *none[8];
    int fd;
    enum activity activity;
    int mode;       /* _IOFBF, _IOLBF, _IONBF */
    size_t cap;     /* of base, without the HEADROOM before it */
    char *base;     /* NULL: not wanted yet */
    char *rp, *re;  /* READING: what was read and not taken; base - HEADROOM <= rp <= re */
    size_t pending; /* WRITING: bytes at base that are to be written */
    pid_t pid;      /* of popen()'s command, else 0 */
    struct stdio *owner;
    struct cfile *next, *prev; /* owner->lock */
    pthread_mutex_t lock;      /* guards all above once the process has threads */
    char tiny[HEADROOM + 1];   /* the buffer where there is no memory or no buffering */
};

struct stdio {
    pthread_mutex_t lock; /* guards the list */
    struct cfile *all;
    struct cfile std[3];
};

/* ---- locks ----------------------------------------------------------------- */

static bool take(pthread_mutex_t *lock)
{
    if (__builtin_expect(!heap_threaded(self()->prog->heap), 1))
        return false;
    pthread_mutex_lock(lock);
    return true;
}

static inline void leave(pthread_mutex_t *lock, bool taken)
{
    if (taken)
        pthread_mutex_unlock(lock);
}

static void lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(lock, &attr);
    pthread_mutexattr_destroy(&attr);
}

/* ---- streams --------------------------------------------------------------- */

static void cfile_link(struct stdio *s, struct cfile *f)
{
    bool taken;

    f->owner = s;
    lock_init(&f->lock);
    taken = take(&s->lock);
    f->prev = NULL;
    f->next = s->all;
    if (s->all)
        s->all->prev = f;
    s->all = f;
    leave(&s->lock, taken);
}

static void cfile_unlink(struct cfile *f)
{
    struct stdio *s = f->owner;
    bool taken = take(&s->lock);

    *(f->prev ? &f->prev->next : &s->all) = f->next;
    if (f->next)
        f->next->prev = f->prev;
    leave(&s->lock, taken);
}

struct stdio *stdio_create(void)
{
    struct stdio *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    lock_init(&s->lock);
    for (int fd = 0; fd < 3; fd++) {
        struct cfile *f = &s->std[fd];

        f->flags = F_STANDARD | (fd == 0 ? F_READ : F_WRITE);
        f->fd = fd;
        f->mode = fd == 2 ? _IONBF : _IOFBF;
        if (fd == 2)
            f->flags |= F_MODE_SET;
        f->owner = s;
        lock_init(&f->lock);
        f->next = s->all;
        if (s->all)
            s->all->prev = f;
        s->all = f;
    }
    return s;
}

void stdio_destroy(struct stdio *s)
{
    free(s);
}

struct cfile *stdio_std(struct stdio *s, int fd)
{
    return &s->std[fd];
}

static struct stdio *my_stdio(void)
{
    return self()->prog->stdio;
}

/* What open() needs for a mode of fopen(), or -1 and errno; *ours gets F_READ, F_WRITE, F_APPEND.
 */
static int mode_flags(const char *mode, int *ours)
{
    int flags;

    switch (*mode) {
    case 'r':
        flags = 0;
        *ours = F_READ;
        break;
    case 'w':
        flags = O_CREAT | O_TRUNC;
        *ours = F_WRITE;
        break;
    case 'a':
        flags = O_CREAT | O_APPEND;
        *ours = F_WRITE | F_APPEND;
        break;
    default: errno = EINVAL; return -1;
    }
    while (*++mode && *mode != ',')
        switch (*mode) {
        case '+': *ours |= F_READ | F_WRITE; break;
        case 'x': flags |= O_EXCL; break;
        case 'e': flags |= O_CLOEXEC; break;
        }
    switch (*ours & (F_READ | F_WRITE)) {
    case F_READ: return flags | O_RDONLY;
    case F_WRITE: return flags | O_WRONLY;
    default: return flags | O_RDWR;
    }
}

/* The stream is listed.  NULL and errno */
static struct cfile *cfile_new(int fd, int flags)
{
    struct cfile *f = sys_malloc(sizeof(*f));

    if (!f)
        return NULL;
    memset(f, 0, sizeof(*f));
    f->fd = fd;
    f->flags = flags;
    f->mode = _IOFBF;
    cfile_link(my_stdio(), f);
    return f;
}

struct cfile *cfile_popened(int fd, const char *mode, pid_t pid)
{
    int flags;
    struct cfile *f;

    if (mode_flags(mode, &flags) < 0 || !(f = cfile_new(fd, flags)))
        return NULL;
    f->pid = pid;
    return f;
}

pid_t cfile_pid(struct cfile *f)
{
    return f->pid;
}

/* The buffer, made at the first use; a terminal is buffered by lines. */
static void want_buffer(struct cfile *f)
{
    if (f->base)
        return;
    if (!(f->flags & F_MODE_SET) && f->mode == _IOFBF) {
        int saved = errno;

        if (sys_isatty(f->fd) > 0)
            f->mode = _IOLBF;
        errno = saved;
    }
    if (f->mode != _IONBF) {
        size_t cap = f->cap ? f->cap : BUFFER_SIZE;
        char *memory = sys_malloc(HEADROOM + cap);

        if (memory) {
            f->base = memory + HEADROOM;
            f->cap = cap;
        }
    }
    if (!f->base) {
        f->base = f->tiny + HEADROOM;
        f->cap = 1;
    }
    f->rp = f->re = f->base;
}

static void drop_buffer(struct cfile *f)
{
    char *base = f->base;

    f->base = f->rp = f->re = NULL;
    f->pending = f->cap = 0;
    f->activity = IDLE;
    if (base && base != f->tiny + HEADROOM)
        sys_free(base - HEADROOM);
}

/* ---- writing --------------------------------------------------------------- */

/* Bytes written; fewer than n: the error flag is set, errno says why. */
static size_t write_out(struct cfile *f, const char *from, size_t n)
{
    size_t done = 0;

    if (f->flags & F_SEEK_END)
        gate_lseek(f->fd, 0, SEEK_END);
    while (done < n) {
        ssize_t rc = gate_write(f->fd, from + done, n - done);

        if (rc < 0) {
            f->flags |= F_ERR;
            break;
        }
        done += rc;
    }
    return done;
}

/* 0 or EOF.  What could not be written is dropped, as glibc does. */
static int flush_locked(struct cfile *f)
{
    size_t n = f->pending;

    if (f->activity != WRITING || n == 0)
        return 0;
    f->pending = 0;
    return write_out(f, f->base, n) == n ? 0 : EOF;
}

/* Put the descriptor where the program believes it to be; unseekable input stays buffered. */
static int unread_locked(struct cfile *f)
{
    off_t ahead = f->re - f->rp;
    int saved = errno;

    if (f->activity != READING || ahead == 0)
        return 0;
    if (gate_lseek(f->fd, -ahead, SEEK_CUR) < 0) {
        if (errno != ESPIPE && errno != EINVAL)
            return EOF;
        errno = saved;
        return 0;
    }
    f->rp = f->re = f->base;
    f->activity = IDLE;
    return 0;
}

static bool start_writing(struct cfile *f)
{
    if (f->activity == WRITING)
        return true;
    if (!(f->flags & F_WRITE)) {
        f->flags |= F_ERR;
        errno = EBADF;
        return false;
    }
    want_buffer(f);
    if (f->activity == READING) {
        unread_locked(f);
        f->rp = f->re = f->base;
    }
    f->pending = 0;
    f->activity = WRITING;
    return true;
}

/* Bytes taken from `from`, buffered to the full. */
static size_t put_full(struct cfile *f, const char *from, size_t n)
{
    size_t room = f->cap - f->pending, done = 0;

    if (n > room) {
        size_t whole;

        if (f->pending) {
            memcpy(f->base + f->pending, from, room);
            f->pending += room;
            done = room;
            if (flush_locked(f) < 0)
                return done;
        }
        whole = (n - done) / f->cap * f->cap;
        if (whole) {
            size_t written = write_out(f, from + done, whole);

            done += written;
            if (written < whole)
                return done;
        }
    }
    memcpy(f->base + f->pending, from + done, n - done);
    f->pending += n - done;
    return n;
}

/* Bytes taken; fewer than n: the error flag is set. */
static size_t put_locked(struct cfile *f, const char *from, size_t n)
{
    const char *newline;
    size_t upto, done;

    if (n == 0 || !start_writing(f))
        return 0;
    if (f->mode == _IONBF)
        return write_out(f, from, n);
    if (f->mode != _IOLBF || !(newline = memrchr(from, '\n', n)))
        return put_full(f, from, n);
    upto = newline + 1 - from;
    done = put_full(f, from, upto);
    if (done < upto || flush_locked(f) < 0)
        return done;
    return done + put_full(f, from + done, n - done);
}

static int putc_locked(struct cfile *f, int c)
{
    char byte = (char)c;

    if (f->activity == WRITING && f->mode == _IOFBF && f->pending < f->cap) {
        f->base[f->pending++] = byte;
        return (unsigned char)byte;
    }
    return put_locked(f, &byte, 1) == 1 ? (unsigned char)byte : EOF;
}

/* ---- reading --------------------------------------------------------------- */

static bool start_reading(struct cfile *f)
{
    if (f->activity == READING)
        return true;
    if (!(f->flags & F_READ)) {
        f->flags |= F_ERR;
        errno = EBADF;
        return false;
    }
    if (flush_locked(f) < 0)
        return false;
    want_buffer(f);
    f->rp = f->re = f->base;
    f->activity = READING;
    return true;
}

/* Who reads from a terminal has written a question to another. */
static void flush_stdout(struct cfile *f)
{
    struct cfile *out = &f->owner->std[1];

    if (f->mode != _IOFBF && out != f && out->mode == _IOLBF && out->activity == WRITING &&
        out->pending) {
        bool taken = take(&out->lock);

        flush_locked(out);
        leave(&out->lock, taken);
    }
}

/* Read at most `size` bytes to `to`: their number; 0 sets the end flag, -1 the error flag. */
static ssize_t read_in(struct cfile *f, char *to, size_t size)
{
    ssize_t rc;

    flush_stdout(f);
    rc = gate_read(f->fd, to, size);
    if (rc == 0)
        f->flags |= F_EOF;
    else if (rc < 0)
        f->flags |= F_ERR;
    return rc;
}

/* Nothing is buffered: read more.  False: end or error; the end is sticky, as C99 wants. */
static bool fill(struct cfile *f)
{
    ssize_t rc;

    if (!start_reading(f))
        return false;
    if (f->rp < f->re)
        return true;
    if (f->flags & F_EOF)
        return false;
    f->rp = f->re = f->base;
    rc = read_in(f, f->base, f->mode == _IONBF ? 1 : f->cap);
    if (rc <= 0)
        return false;
    f->rp = f->base;
    f->re = f->base + rc;
    return true;
}

static inline int getc_locked(struct cfile *f)
{
    if ((f->activity != READING || f->rp == f->re) && !fill(f))
        return EOF;
    return (unsigned char)*f->rp++;
}

static int ungetc_locked(struct cfile *f, int c)
{
    if (c == EOF || !start_reading(f) || f->rp == f->base - HEADROOM)
        return EOF;
    f->flags &= ~F_EOF;
    *--f->rp = (char)c;
    return (unsigned char)c;
}

static size_t get_locked(struct cfile *f, char *to, size_t n)
{
    size_t done = 0;

    if (!start_reading(f))
        return 0;
    for (;;) {
        size_t here = f->re - f->rp < (ptrdiff_t)(n - done) ? (size_t)(f->re - f->rp) : n - done;

        memcpy(to + done, f->rp, here);
        f->rp += here;
        done += here;
        if (done == n)
            return done;
        if (n - done >= f->cap && !(f->flags & F_EOF)) {
            size_t whole = f->mode == _IONBF ? n - done : (n - done) / f->cap * f->cap;
            ssize_t rc;

            f->rp = f->re = f->base;
            rc = read_in(f, to + done, whole);
            if (rc <= 0)
                return done;
            done += rc;
        } else if (!fill(f))
            return done;
    }
}

/*
 * Bytes up to and including `delim`, at most n.  `more`: the delimiter has not been seen yet.
 */
static size_t take_line(struct cfile *f, char *to, size_t n, int delim, bool *more)
{
    size_t here = (size_t)(f->re - f->rp) < n ? (size_t)(f->re - f->rp) : n;
    char *end = memchr(f->rp, delim, here);

    if (end)
        here = end + 1 - f->rp;
    *more = !end;
    memcpy(to, f->rp, here);
    f->rp += here;
    return here;
}

/* ---- position -------------------------------------------------------------- */

static off_t tell_locked(struct cfile *f)
{
    bool at_end = f->activity == WRITING && f->pending && (f->flags & F_APPEND);
    off_t at = gate_lseek(f->fd, 0, at_end ? SEEK_END : SEEK_CUR);

    if (at < 0)
        return -1;
    if (f->activity == READING)
        at -= f->re - f->rp;
    else if (f->activity == WRITING)
        at += f->pending;
    return at;
}

static int seek_locked(struct cfile *f, off_t offset, int whence)
{
    if (flush_locked(f) < 0)
        return -1;
    if (f->activity == READING && whence == SEEK_CUR) {
        off_t ahead = f->re - f->rp;

        /* pg_restore skips small parts of an archive: no need to read them again. */
        if ((f->flags & F_SEEKABLE) && offset >= 0 && offset <= ahead) {
            f->rp += offset;
            f->flags &= ~F_EOF;
            return 0;
        }
        offset -= ahead;
    }
    if (gate_lseek(f->fd, offset, whence) < 0)
        return -1;
    f->rp = f->re = f->base;
    f->activity = IDLE;
    f->flags = (f->flags & ~F_EOF) | F_SEEKABLE;
    return 0;
}

/* ---- opening and closing --------------------------------------------------- */

struct cfile *sys_fopen(const char *path, const char *mode);
struct cfile *sys_fdopen(int fd, const char *mode);
struct cfile *sys_freopen(const char *path, const char *mode, struct cfile *f);
struct cfile *sys_tmpfile(void);
int sys_fflush(struct cfile *f);
int sys_setvbuf(struct cfile *f, char *buf, int mode, size_t size);
void sys_setbuf(struct cfile *f, char *buf);
void sys_setbuffer(struct cfile *f, char *buf, size_t size);
void sys_setlinebuf(struct cfile *f);

struct cfile *sys_fopen(const char *path, const char *mode)
{
    int ours, flags = mode_flags(mode, &ours), fd;
    struct cfile *f;

    if (flags < 0)
        return NULL;
    fd = gate_open(path, flags, 0666);
    if (fd < 0)
        return NULL;
    f = cfile_new(fd, ours);
    if (!f) {
        gate_close(fd);
        errno = ENOMEM;
        return NULL;
    }
    if ((ours & (F_APPEND | F_READ)) == F_APPEND) { /* ftell() is the end at once */
        int saved = errno;

        gate_lseek(fd, 0, SEEK_END);
        errno = saved;
    }
    return f;
}

struct cfile *sys_fdopen(int fd, const char *mode)
{
    int ours;
    struct file *file;

    if (mode_flags(mode, &ours) < 0)
        return NULL;
    file = fd_get(fd);
    if (!file) {
        errno = EBADF;
        return NULL;
    }
    if ((ours & F_APPEND) && !(file->flags & O_APPEND))
        ours |= F_SEEK_END;
    return cfile_new(fd, ours);
}

struct cfile *sys_freopen(const char *path, const char *mode, struct cfile *f)
{
    int ours, flags = mode_flags(mode, &ours), fd, saved;
    bool taken;

    if (flags < 0)
        return NULL;
    taken = take(&f->lock);
    saved = errno;
    flush_locked(f);
    unread_locked(f);
    errno = saved;
    drop_buffer(f);
    if (!(f->flags & F_MODE_SET))
        f->mode = _IOFBF;
    if (path) {
        fd = gate_open(path, flags, 0666);
        saved = errno;
        if (fd >= 0 && f->fd >= 0 && fd != f->fd) {
            /* The stream keeps its number: stdout stays 1. */
            int rc = flags & O_CLOEXEC ? gate_dup3(fd, f->fd, O_CLOEXEC) : gate_dup2(fd, f->fd);

            saved = errno;
            gate_close(fd);
            fd = rc;
        }
        if (fd < 0 && f->fd >= 0)
            gate_close(f->fd);
        f->fd = fd;
        errno = saved;
    }
    f->flags = (f->flags & (F_STANDARD | F_MODE_SET)) | ours;
    fd = f->fd;
    leave(&f->lock, taken);
    return fd < 0 ? NULL : f;
}

struct cfile *sys_tmpfile(void)
{
    int fd = gate_open("/tmp", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    struct cfile *f;

    if (fd < 0) { /* a file system without it */
        char name[] = "/tmp/tmpfXXXXXX";

        fd = gate_mkstemp(name);
        if (fd < 0)
            return NULL;
        gate_unlink(name);
    }
    f = cfile_new(fd, F_READ | F_WRITE);
    if (!f) {
        gate_close(fd);
        errno = ENOMEM;
    }
    return f;
}

int sys_fclose(struct cfile *f)
{
    bool taken = take(&f->lock);
    int fd = f->fd, rc = flush_locked(f), saved;

    unread_locked(f);
    saved = errno;
    cfile_unlink(f);
    drop_buffer(f);
    f->fd = -1;
    f->flags &= F_STANDARD;
    leave(&f->lock, taken);
    if (!(f->flags & F_STANDARD))
        sys_free(f);
    if (gate_close(fd) < 0)
        return EOF;
    if (rc < 0)
        errno = saved;
    return rc;
}

static int flush_all(void)
{
    struct stdio *s = my_stdio();
    bool taken = take(&s->lock);
    int rc = 0;

    for (struct cfile *f = s->all; f; f = f->next)
        if (f->activity == WRITING && f->pending) {
            bool taken_too = take(&f->lock);

            if (flush_locked(f) < 0)
                rc = EOF;
            leave(&f->lock, taken_too);
        }
    leave(&s->lock, taken);
    return rc;
}

int sys_fflush(struct cfile *f)
{
    bool taken;
    int rc;

    if (!f)
        return flush_all();
    taken = take(&f->lock);
    rc = f->activity == READING ? unread_locked(f) : flush_locked(f);
    leave(&f->lock, taken);
    return rc;
}

/* exit(): without locks, because another thread may sleep in a read with one. */
void stdio_flush(struct stdio *s)
{
    for (struct cfile *f = s->all; f; f = f->next) {
        flush_locked(f);
        unread_locked(f);
    }
}

/*
 * The caller's buffer is not used, only its size: a program that gives one cannot tell,
 * and ours has room for ungetc().
 */
int sys_setvbuf(struct cfile *f, char *buf, int mode, size_t size)
{
    bool taken;
    int rc = 0;

    if (mode != _IOFBF && mode != _IOLBF && mode != _IONBF) {
        errno = EINVAL;
        return -1;
    }
    taken = take(&f->lock);
    if (flush_locked(f) < 0)
        rc = EOF;
    if (f->activity != READING || f->rp == f->re)
        drop_buffer(f); /* else what was read must not be lost: only the mode changes */
    f->mode = mode;
    f->flags |= F_MODE_SET;
    if (!f->base)
        f->cap = buf && mode != _IONBF ? size : 0;
    leave(&f->lock, taken);
    return rc;
}

void sys_setbuffer(struct cfile *f, char *buf, size_t size)
{
    sys_setvbuf(f, buf, buf ? _IOFBF : _IONBF, size);
}

void sys_setbuf(struct cfile *f, char *buf)
{
    sys_setbuffer(f, buf, BUFSIZ);
}

void sys_setlinebuf(struct cfile *f)
{
    sys_setvbuf(f, NULL, _IOLBF, 0);
}

/* ---- output ---------------------------------------------------------------- */

size_t sys_fwrite(const void *from, size_t size, size_t n, struct cfile *f);
int sys_fputs(const char *s, struct cfile *f);
int sys_fputc(int c, struct cfile *f);
int sys_putc(int c, struct cfile *f);
int sys_putchar(int c);
int sys_puts(const char *s);
void sys_perror(const char *what);
int sys___overflow(struct cfile *f, int c);

size_t sys_fwrite(const void *from, size_t size, size_t n, struct cfile *f)
{
    size_t done;
    bool taken;

    if (size == 0 || n == 0)
        return 0;
    taken = take(&f->lock);
    done = put_locked(f, from, size * n);
    leave(&f->lock, taken);
    return done == size * n ? n : done / size;
}

int sys_fputs(const char *s, struct cfile *f)
{
    size_t n = strlen(s);

    return sys_fwrite(s, 1, n, f) == n ? 1 : EOF;
}

int sys_fputc(int c, struct cfile *f)
{
    bool taken = take(&f->lock);
    int rc = putc_locked(f, c);

    leave(&f->lock, taken);
    return rc;
}

int sys_putc(int c, struct cfile *f)
{
    return sys_fputc(c, f);
}

int sys___overflow(struct cfile *f, int c)
{
    return sys_fputc(c, f);
}

int sys_putchar(int c)
{
    return sys_fputc(c, &my_stdio()->std[1]);
}

int sys_puts(const char *s)
{
    struct cfile *f = &my_stdio()->std[1];
    bool taken = take(&f->lock);
    size_t n = strlen(s);
    int rc = put_locked(f, s, n) == n && putc_locked(f, '\n') == '\n' ? (int)n + 1 : EOF;

    leave(&f->lock, taken);
    return rc;
}

void sys_perror(const char *what)
{
    char text[256], line[1024];
    int n = snprintf(line, sizeof(line), "%s%s%s\n", what ? what : "", what && *what ? ": " : "",
                     strerror_r(errno, text, sizeof(text)));

    if (n >= (int)sizeof(line))
        n = sizeof(line) - 1;
    sys_fwrite(line, 1, n, &my_stdio()->std[2]);
}

/* ---- formatted output: formatted by the host, which knows the thread's locale ---- */

int sys_vfprintf(struct cfile *f, const char *format, va_list ap);
int sys_vprintf(const char *format, va_list ap);
int sys_fprintf(struct cfile *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
int sys_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int sys___vfprintf_chk(struct cfile *f, int flag, const char *format, va_list ap);
int sys___vprintf_chk(int flag, const char *format, va_list ap);
int sys___fprintf_chk(struct cfile *f, int flag, const char *format, ...);
int sys___printf_chk(int flag, const char *format, ...);
int sys_vdprintf(int fd, const char *format, va_list ap);
int sys_dprintf(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
int sys___dprintf_chk(int fd, int flag, const char *format, ...);

/* The text, in `room` or from the heap; *n is its length, negative with NULL. */
static char *format_text(char *room, size_t size, int *n, const char *format, va_list ap)
{
    va_list again;
    char *text = room;

    va_copy(again, ap);
    *n = vsnprintf(room, size, format, ap);
    if (*n < 0)
        text = NULL;
    else if ((size_t)*n >= size) {
        text = sys_malloc((size_t)*n + 1);
        if (text)
            *n = vsnprintf(text, (size_t)*n + 1, format, again);
        else
            *n = -1;
    }
    va_end(again);
    return text;
}

int sys_vfprintf(struct cfile *f, const char *format, va_list ap)
{
    char room[1024], *text;
    int n;
    bool ok;

    text = format_text(room, sizeof(room), &n, format, ap);
    if (!text) {
        f->flags |= F_ERR;
        return -1;
    }
    ok = sys_fwrite(text, 1, n, f) == (size_t)n;
    if (text != room)
        sys_free(text);
    return ok ? n : -1;
}

int sys_vprintf(const char *format, va_list ap)
{
    return sys_vfprintf(&my_stdio()->std[1], format, ap);
}

int sys_vdprintf(int fd, const char *format, va_list ap)
{
    char room[1024], *text;
    int n, done = 0;

    text = format_text(room, sizeof(room), &n, format, ap);
    while (text && done < n) {
        ssize_t rc = gate_write(fd, text + done, n - done);

        if (rc < 0) {
            n = -1;
            break;
        }
        done += (int)rc;
    }
    if (text != room)
        sys_free(text);
    return n;
}

#define VARIADIC(last, call)                                                                       \
    {                                                                                              \
        va_list ap;                                                                                \
        int rc;                                                                                    \
                                                                                                   \
        va_start(ap, last);                                                                        \
        rc = call;                                                                                 \
        va_end(ap);                                                                                \
        return rc;                                                                                 \
    }

int sys_fprintf(struct cfile *f, const char *format, ...)
    VARIADIC(format, sys_vfprintf(f, format, ap))

        int sys_printf(const char *format, ...) VARIADIC(format, sys_vprintf(format, ap))

            int sys_dprintf(int fd, const char *format, ...)
                VARIADIC(format, sys_vdprintf(fd, format, ap))

    /* The checks of _FORTIFY_SOURCE are the host's business when it formats; here they are dropped.
     */
    int sys___vfprintf_chk(struct cfile *f, int flag, const char *format, va_list ap)
{
    (void)flag;
    return sys_vfprintf(f, format, ap);
}

int sys___vprintf_chk(int flag, const char *format, va_list ap)
{
    (void)flag;
    return sys_vprintf(format, ap);
}

int sys___fprintf_chk(struct cfile *f, int flag, const char *format, ...)
    VARIADIC(format, sys___vfprintf_chk(f, flag, format, ap))

        int sys___printf_chk(int flag, const char *format, ...)
            VARIADIC(format, sys___vprintf_chk(flag, format, ap))

                int sys___dprintf_chk(int fd, int flag, const char *format, ...)
                    VARIADIC(format, ((void)flag, sys_vdprintf(fd, format, ap)))

    /* ---- input ----------------------------------------------------------------- */

    size_t sys_fread(void *to, size_t size, size_t n, struct cfile *f);
char *sys_fgets(char *to, int size, struct cfile *f);
int sys_fgetc(struct cfile *f);
int sys_getc(struct cfile *f);
int sys_getchar(void);
int sys_ungetc(int c, struct cfile *f);
int sys___uflow(struct cfile *f);
ssize_t sys_getdelim(char **line, size_t *size, int delim, struct cfile *f);
ssize_t sys_getline(char **line, size_t *size, struct cfile *f);
size_t sys___fread_chk(void *to, size_t room, size_t size, size_t n, struct cfile *f);
char *sys___fgets_chk(char *to, size_t room, int size, struct cfile *f);

size_t sys_fread(void *to, size_t size, size_t n, struct cfile *f)
{
    size_t done;
    bool taken;

    if (size == 0 || n == 0)
        return 0;
    taken = take(&f->lock);
    done = get_locked(f, to, size * n);
    leave(&f->lock, taken);
    return done == size * n ? n : done / size;
}

size_t sys___fread_chk(void *to, size_t room, size_t size, size_t n, struct cfile *f)
{
    size_t all;

    if (__builtin_mul_overflow(size, n, &all) || all > room)
        sys_abort();
    return sys_fread(to, size, n, f);
}

/* As in glibc, an error ends it with NULL even if something was read, but not EAGAIN. */
char *sys_fgets(char *to, int size, struct cfile *f)
{
    size_t n = 0;
    bool more = true, taken, failed;
    int old;

    if (size <= 0)
        return NULL;
    if (size == 1) {
        *to = '\0';
        return to;
    }
    taken = take(&f->lock);
    old = f->flags & F_ERR;
    f->flags &= ~F_ERR;
    while (more && n < (size_t)size - 1 && fill(f))
        n += take_line(f, to + n, size - 1 - n, '\n', &more);
    failed = n == 0 || ((f->flags & F_ERR) && errno != EAGAIN);
    f->flags |= old;
    leave(&f->lock, taken);
    if (failed)
        return NULL;
    to[n] = '\0';
    return to;
}

char *sys___fgets_chk(char *to, size_t room, int size, struct cfile *f)
{
    if (size > 0 && (size_t)size > room)
        sys_abort();
    return sys_fgets(to, size, f);
}

int sys_fgetc(struct cfile *f)
{
    bool taken = take(&f->lock);
    int c = getc_locked(f);

    leave(&f->lock, taken);
    return c;
}

int sys_getc(struct cfile *f)
{
    return sys_fgetc(f);
}

int sys___uflow(struct cfile *f)
{
    return sys_fgetc(f);
}

int sys_getchar(void)
{
    return sys_fgetc(&my_stdio()->std[0]);
}

int sys_ungetc(int c, struct cfile *f)
{
    bool taken = take(&f->lock);
    int rc = ungetc_locked(f, c);

    leave(&f->lock, taken);
    return rc;
}

ssize_t sys_getdelim(char **line, size_t *size, int delim, struct cfile *f)
{
    size_t n = 0;
    bool more = true, taken;

    if (!line || !size) {
        errno = EINVAL;
        return -1;
    }
    taken = take(&f->lock);
    if (!*line)
        *size = 0;
    while (more && fill(f)) {
        size_t need = n + (f->re - f->rp) + 1;

        if (*size < need) {
            size_t bigger = need < *size * 2 ? *size * 2 : need < 120 ? 120 : need;
            char *moved = sys_realloc(*line, bigger);

            if (!moved) {
                leave(&f->lock, taken);
                return -1;
            }
            *line = moved;
            *size = bigger;
        }
        n += take_line(f, *line + n, need - 1 - n, delim, &more);
    }
    leave(&f->lock, taken);
    if (n == 0)
        return -1;
    (*line)[n] = '\0';
    return n;
}

ssize_t sys_getline(char **line, size_t *size, struct cfile *f)
{
    return sys_getdelim(line, size, '\n', f);
}

/* ---- position and state ---------------------------------------------------- */

int sys_fseeko(struct cfile *f, off_t offset, int whence);
int sys_fseek(struct cfile *f, long offset, int whence);
off_t sys_ftello(struct cfile *f);
long sys_ftell(struct cfile *f);
void sys_rewind(struct cfile *f);
int sys_feof(struct cfile *f);
int sys_ferror(struct cfile *f);
void sys_clearerr(struct cfile *f);
int sys_fileno(struct cfile *f);
void sys_flockfile(struct cfile *f);
void sys_funlockfile(struct cfile *f);

int sys_fseeko(struct cfile *f, off_t offset, int whence)
{
    bool taken = take(&f->lock);
    int rc = seek_locked(f, offset, whence);

    leave(&f->lock, taken);
    return rc;
}

int sys_fseek(struct cfile *f, long offset, int whence)
{
    return sys_fseeko(f, offset, whence);
}

off_t sys_ftello(struct cfile *f)
{
    bool taken = take(&f->lock);
    off_t at = tell_locked(f);

    leave(&f->lock, taken);
    return at;
}

long sys_ftell(struct cfile *f)
{
    return sys_ftello(f);
}

void sys_rewind(struct cfile *f)
{
    bool taken = take(&f->lock);

    seek_locked(f, 0, SEEK_SET);
    f->flags &= ~(F_ERR | F_EOF);
    leave(&f->lock, taken);
}

int sys_feof(struct cfile *f)
{
    return (f->flags & F_EOF) != 0;
}

int sys_ferror(struct cfile *f)
{
    return (f->flags & F_ERR) != 0;
}

void sys_clearerr(struct cfile *f)
{
    bool taken = take(&f->lock);

    f->flags &= ~(F_EOF | F_ERR);
    leave(&f->lock, taken);
}

int sys_fileno(struct cfile *f)
{
    if (f->fd < 0)
        errno = EBADF;
    return f->fd;
}

void sys_flockfile(struct cfile *f)
{
    pthread_mutex_lock(&f->lock);
}

void sys_funlockfile(struct cfile *f)
{
    pthread_mutex_unlock(&f->lock);
}

/* ---- formatted input -------------------------------------------------------- */
/*
 * A scanner of our own, because only one that takes its characters from the
 * stream leaves the stream where the standard says when the input does not match,
 * and does not ask a pipe for more than it needs.
 */

int sys_vfscanf(struct cfile *f, const char *format, va_list ap);
int sys_fscanf(struct cfile *f, const char *format, ...) __attribute__((format(scanf, 2, 3)));
int sys_vscanf(const char *format, va_list ap);
int sys_scanf(const char *format, ...) __attribute__((format(scanf, 1, 2)));

struct conversion {
    bool suppress, allocate;
    int width; /* at least 1 */
    int size;  /* of an integer in bytes; of a float as an integer of the same modifier */
    char kind;
    bool set[256]; /* %[ */
};

struct scan {
    struct cfile *f;
    long taken; /* characters, for %n */
};

static int scan_get(struct scan *s)
{
    int c = getc_locked(s->f);

    if (c != EOF)
        s->taken++;
    return c;
}

static void scan_unget(struct scan *s, int c)
{
    if (c != EOF) {
        ungetc_locked(s->f, c);
        s->taken--;
    }
}

static void skip_space(struct scan *s)
{
    int c;

    do
        c = scan_get(s);
    while (c != EOF && isspace(c));
    scan_unget(s, c);
}

/* The set of %[...]: `p` stands behind the bracket; returns the closing one. */
static const char *parse_set(const char *p, bool set[256])
{
    bool negate = *p == '^';
    const char *first;

    memset(set, negate, 256);
    if (negate)
        p++;
    for (first = p; *p && (*p != ']' || p == first); p++) {
        unsigned char from = *p, to = from;

        if (p[1] == '-' && p[2] && p[2] != ']') {
            to = p[2];
            p += 2;
        }
        for (int c = from; c <= to; c++)
            set[c] = !negate;
    }
    return p;
}

/* One conversion; `p` stands behind the percent sign; returns its last character. */
static const char *parse_conversion(const char *p, struct conversion *c)
{
    c->suppress = c->allocate = false;
    c->width = 0;
    c->size = sizeof(int);
    if (*p == '*') {
        c->suppress = true;
        p++;
    }
    while (*p >= '0' && *p <= '9')
        c->width = c->width < 100000000 ? c->width * 10 + *p++ - '0' : (p++, c->width);
    if (*p == 'm') {
        c->allocate = true;
        p++;
    }
    switch (*p) {
    case 'h': c->size = *++p == 'h' ? (p++, sizeof(char)) : sizeof(short); break;
    case 'l':
        if (*++p == 'l')
            p++;
        c->size = sizeof(long);
        break;
    case 'j':
    case 'z':
    case 't':
    case 'q':
        c->size = sizeof(long);
        p++;
        break;
    case 'L':
        c->size = sizeof(long double);
        p++;
        break;
    }
    c->kind = *p;
    if (c->kind == '[')
        p = parse_set(p + 1, c->set);
    else if (c->kind == 'X')
        c->kind = 'x';
    else if (c->kind == 'F' || c->kind == 'e' || c->kind == 'E' || c->kind == 'g' ||
             c->kind == 'G' || c->kind == 'a' || c->kind == 'A')
        c->kind = 'f';
    if (c->width == 0)
        c->width = c->kind == 'c' ? 1 : INT_MAX;
    return p;
}

static void store_integer(void *to, int size, long long value)
{
    switch (size) {
    case sizeof(char): *(char *)to = (char)value; break;
    case sizeof(short): *(short *)to = (short)value; break;
    case sizeof(int): *(int *)to = (int)value; break;
    default: *(long long *)to = value;
    }
}

enum outcome { MATCHED, MISMATCH, NO_INPUT };

#define TOKEN 256 /* no number that means something is longer */

static int digit_of(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

static enum outcome scan_integer(struct scan *s, const struct conversion *cv, void *to)
{
    char token[TOKEN];
    int n = 0, left = cv->width, digits = 0;
    int base = cv->kind == 'o'                      ? 8
               : cv->kind == 'x' || cv->kind == 'p' ? 16
               : cv->kind == 'i'                    ? 0
                                                    : 10;
    int c = scan_get(s);

    if (c == EOF)
        return NO_INPUT;
    if (c == '+' || c == '-') {
        token[n++] = (char)c;
        left--;
        c = left ? scan_get(s) : EOF;
    }
    if (c == '0' && left && (base == 0 || base == 16)) {
        digits++;
        token[n++] = '0';
        left--;
        c = left ? scan_get(s) : EOF;
        if (left && (c == 'x' || c == 'X')) {
            base = 16;
            left--;
            c = left ? scan_get(s) : EOF;
        } else if (base == 0)
            base = 8;
    } else if (base == 0)
        base = 10;
    while (left && c != EOF && digit_of(c) < base) {
        if (n < TOKEN - 1)
            token[n++] = (char)c;
        digits++;
        left--;
        c = left ? scan_get(s) : EOF;
    }
    scan_unget(s, c);
    if (!digits)
        return MISMATCH;
    token[n] = '\0';
    if (to && cv->kind == 'p')
        *(void **)to = (void *)strtoul(token, NULL, 16);
    else if (to)
        store_integer(to, cv->size,
                      cv->kind == 'd' || cv->kind == 'i' ? strtoll(token, NULL, base)
                                                         : (long long)strtoull(token, NULL, base));
    return MATCHED;
}

/* Could `token`, which is what was taken so far, and then c begin a number? */
static bool float_goes_on(const char *token, int n, int c, int point)
{
    const char *p = token + (n > 0 && (*token == '+' || *token == '-'));
    bool hex = n >= 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
    bool word = p < token + n && (*p == 'i' || *p == 'I' || *p == 'n' || *p == 'N');
    bool seen_point = memchr(token, point, n), seen_exp = false;
    char last = n ? token[n - 1] : '\0';

    if (n == 0 && (c == '+' || c == '-'))
        return true;
    if (word || (p == token + n && strchr("iInN", c))) {
        const char *names[] = {"infinity", "nan"};
        size_t at = token + n - p;

        for (int i = 0; i < 2; i++)
            if (at < strlen(names[i]) && strncasecmp(p, names[i], at) == 0 &&
                (c | 0x20) == names[i][at])
                return true;
        return false;
    }
    for (const char *q = p; q < token + n; q++)
        seen_exp |= hex ? (*q | 0x20) == 'p' : (*q | 0x20) == 'e';
    if ((c | 0x20) == 'x')
        return p + 1 == token + n && *p == '0';
    if (c == '+' || c == '-')
        return hex ? (last | 0x20) == 'p' : (last | 0x20) == 'e';
    if (c == point)
        return !seen_point && !seen_exp;
    if ((c | 0x20) == (hex ? 'p' : 'e'))
        return !seen_exp && p < token + n;
    return digit_of(c) < (hex && !seen_exp ? 16 : 10);
}

static enum outcome scan_float(struct scan *s, const struct conversion *cv, void *to)
{
    char token[TOKEN], *end;
    const char *radix = nl_langinfo(RADIXCHAR);
    int n = 0, c = scan_get(s);
    long double value;

    if (c == EOF)
        return NO_INPUT;
    while (c != EOF && n < cv->width && n < TOKEN - 1 && float_goes_on(token, n, c, *radix)) {
        token[n++] = (char)c;
        c = n < cv->width ? scan_get(s) : EOF;
    }
    scan_unget(s, c);
    token[n] = '\0';
    value = strtold(token, &end);
    /* "0x" and "infin" match nothing; glibc lets "1e" pass, and so do we. */
    if (end == token || (*end && (*end | 0x20) != 'e' && (*end | 0x20) != 'p'))
        return MISMATCH;
    if (to && cv->size == sizeof(long double))
        *(long double *)to = value;
    else if (to && cv->size == sizeof(long))
        *(double *)to = strtod(token, NULL);
    else if (to)
        *(float *)to = strtof(token, NULL);
    return MATCHED;
}

/* %s, %[ and %c */
static enum outcome scan_text(struct scan *s, const struct conversion *cv, void *to)
{
    char *out = cv->allocate ? NULL : to;
    size_t n = 0, room = 0;
    int c = EOF, left = cv->width;
    bool stop = cv->kind != 'c'; /* ends with a zero byte */

    while (left && (c = scan_get(s)) != EOF) {
        if (cv->kind == 's' ? isspace(c) : cv->kind == '[' && !cv->set[c]) {
            scan_unget(s, c);
            break;
        }
        if (cv->allocate && to && n + 2 > room) {
            char *moved = sys_realloc(out, room ? room * 2 : 64);

            if (!moved) {
                sys_free(out);
                return NO_INPUT;
            }
            out = moved;
            room = room ? room * 2 : 64;
        }
        if (out)
            out[n] = (char)c;
        n++;
        left--;
    }
    if (n == 0)
        return c == EOF ? NO_INPUT : MISMATCH;
    if (out && stop)
        out[n] = '\0';
    if (cv->allocate && to)
        *(char **)to = out;
    return MATCHED;
}

static int scan(struct scan *s, const char *format, va_list ap)
{
    int assigned = 0;
    struct conversion cv;

    for (const char *p = format; *p; p++) {
        enum outcome outcome = MATCHED;
        void *to = NULL;
        int c;

        if (isspace((unsigned char)*p)) {
            skip_space(s);
            continue;
        }
        if (*p != '%' || p[1] == '%') {
            if (*p == '%') {
                skip_space(s);
                p++;
            }
            c = scan_get(s);
            if (c == EOF)
                return assigned ? assigned : EOF;
            if (c != (unsigned char)*p) {
                scan_unget(s, c);
                return assigned;
            }
            continue;
        }
        p = parse_conversion(p + 1, &cv);
        if (!cv.suppress && cv.kind && strchr("diouxpfsc[n", cv.kind))
            to = va_arg(ap, void *);
        if (cv.kind == 'n') {
            if (to)
                store_integer(to, cv.size, s->taken);
            continue;
        }
        if (cv.kind != 'c' && cv.kind != '[')
            skip_space(s);
        switch (cv.kind) {
        case 'd':
        case 'i':
        case 'o':
        case 'u':
        case 'x':
        case 'p': outcome = scan_integer(s, &cv, to); break;
        case 'f': outcome = scan_float(s, &cv, to); break;
        case 's':
        case 'c':
        case '[': outcome = scan_text(s, &cv, to); break;
        default: return assigned;
        }
        if (outcome == NO_INPUT)
            return assigned ? assigned : EOF;
        if (outcome == MISMATCH)
            return assigned;
        if (!cv.suppress)
            assigned++;
        if (*p == '\0')
            break;
    }
    return assigned;
}

int sys_vfscanf(struct cfile *f, const char *format, va_list ap)
{
    struct scan s = {.f = f};
    bool taken = take(&f->lock);
    int rc = scan(&s, format, ap);

    leave(&f->lock, taken);
    return rc;
}

int sys_vscanf(const char *format, va_list ap)
{
    return sys_vfscanf(&my_stdio()->std[0], format, ap);
}

int sys_fscanf(struct cfile *f, const char *format, ...)
    VARIADIC(format, sys_vfscanf(f, format, ap))

        int sys_scanf(const char *format, ...) VARIADIC(format, sys_vscanf(format, ap))

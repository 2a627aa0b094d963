/*
 * path.c - names: everything that takes a path, against the process's own directory
 *
 * Each process has a current directory of its own (`struct cwd`), held by an
 * O_PATH descriptor; the host's is never moved.  A path goes to the host's
 * *at() call with that descriptor.  A directory of the archive is only a name.
 *
 * When the host runs as root, PostgreSQL would refuse to start, so processes
 * are told another uid, and files of root appear to belong to it: both
 * answers come from kernel.uid, so that they always agree.
 */
#include "kernel.h"

#include <sys/statvfs.h>
#include <utime.h>

#define RET(call) ((call) < 0 ? -errno : 0)

static struct cwd *cwd_open_at(int dir, const char *path)
{
    struct cwd *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->fd = owned_note(openat(dir, path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (c->fd < 0) {
        int saved = errno;

        free(c);
        errno = saved;
        return NULL;
    }
    atomic_store(&c->refs, 1);
    return c;
}

struct cwd *cwd_open(const char *path)
{
    return cwd_open_at(AT_FDCWD, path);
}

static struct cwd *cwd_open_inside(const struct archive_entry *e)
{
    char path[PATH_MAX];
    struct cwd *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    archive_path(e, path);
    c->inside = strdup(path);
    c->fd = owned_note(open("/dev/null", O_PATH | O_CLOEXEC)); /* what is relative to it: ENOTDIR */
    if (!c->inside || c->fd < 0) {
        int saved = c->inside ? errno : ENOMEM;

        owned_close(c->fd);
        free(c->inside);
        free(c);
        errno = saved;
        return NULL;
    }
    atomic_store(&c->refs, 1);
    return c;
}

struct cwd *cwd_ref(struct cwd *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void cwd_put(struct cwd *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    owned_close(c->fd);
    free(c->inside);
    free(c);
}

/* What was missed before is forgotten: another name is looked up now. */
int here(void)
{
    struct proc *p = self();

    p->missed = NULL;
    return p->cwd->fd;
}

/* The directory's name now: it may have been moved.  Returns its length or -errno. */
static ssize_t cwd_name(char *out, size_t size)
{
    const char *inside = self()->cwd->inside;
    char link[64];
    ssize_t n;

    if (inside)
        return snprintf(out, size, "%s", inside);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", here());
    n = readlink(link, out, size - 1);
    if (n < 0)
        return -errno;
    out[n] = '\0';
    if (access(out, F_OK) < 0) /* " (deleted)" is appended to what is gone */
        return -ENOENT;
    return n;
}

void path_absolute(char *out, size_t size, const char *path)
{
    ssize_t n = path[0] == '/' ? 0 : cwd_name(out, size);

    snprintf(out + (n > 0 ? n : 0), size - (n > 0 ? n : 0), "%s%s", n > 0 ? "/" : "", path);
}

/* ---- where a name leads ------------------------------------------------------------- */

/* What is not found below `at` is looked for in `dir`. */
struct bind {
    struct bind *next;
    size_t len;
    char *at, *dir;
};

int kernel_bind(struct kernel *k, const char *at, const char *dir)
{
    struct bind *b = calloc(1, sizeof(*b)), **last = &k->binds;

    if (!b)
        return -ENOMEM;
    while (*last)
        last = &(*last)->next;
    *last = b; /* binds_free() takes it in any case */
    b->len = strlen(at);
    b->at = strdup(at);
    b->dir = strdup(dir);
    return b->at && b->dir ? 0 : -ENOMEM;
}

void binds_free(struct kernel *k)
{
    struct bind *b;

    while ((b = k->binds)) {
        k->binds = b->next;
        free(b->at);
        free(b->dir);
        free(b);
    }
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* If it is nowhere, where it was looked for is kept for strerror(). */
static bool find_bound(const char *path, char out[PATH_MAX])
{
    struct proc *p = self();
    const struct bind *first = NULL;

    for (const struct bind *b = p->kernel->binds; b; b = b->next) {
        if (strncmp(path, b->at, b->len) != 0 || path[b->len] != '/')
            continue;
        if (access(path, F_OK) == 0)
            return false;
        if (snprintf(out, PATH_MAX, "%s%s", b->dir, path + b->len) < PATH_MAX &&
            access(out, F_OK) == 0)
            return true;
        first = first ? first : b;
    }
    p->missed = first;
    if (first)
        snprintf(p->missed_name, sizeof(p->missed_name), "%.*s", NAME_MAX, last_part(path));
    return false;
}

/*
 * PostgreSQL looks for a library NAME as NAME.so in its directory, then as NAME in the current
 * one, and tells only of the latter.
 */
static bool missed_before(const char *path)
{
    struct proc *p = self();
    const char *name = last_part(path);
    size_t n = strlen(name);

    return p->missed && path[0] != '/' && strncmp(p->missed_name, name, n) == 0 &&
           strcmp(p->missed_name + n, ".so") == 0;
}

char *path_missed(void)
{
    const struct bind *missed = self()->missed;
    char *text = NULL;
    size_t size;
    FILE *f;

    if (!missed)
        return NULL;
    f = open_memstream(&text, &size);
    if (!f)
        return NULL;
    for (const struct bind *b = missed; b; b = b->next)
        if (strcmp(b->at, missed->at) == 0)
            fprintf(f, "%s%s", b == missed ? "" : ", ", b->dir);
    if (fclose(f) == 0)
        return text;
    free(text);
    return NULL;
}

int path_locate(const char *path, struct place *out)
{
    char abs[PATH_MAX * 2];
    bool inside;

    out->dir = missed_before(path) ? self()->cwd->fd : here();
    out->path = path;
    out->entry = NULL;
    if (path[0] != '/' && path[0] && self()->cwd->inside) {
        path_absolute(abs, sizeof(abs), path);
        path = abs;
    }
    if (path[0] != '/' || (out->entry = archive_find(path, &inside)))
        return 0;
    if (find_bound(path, out->room))
        out->path = out->room;
    else if (inside)
        return -ENOENT;
    return 0;
}

int path_real(const char *path, char out[PATH_MAX])
{
    struct place at;
    int rc = path_locate(path, &at);

    if (rc == 0 && at.entry)
        archive_path(at.entry, out);
    else if (rc == 0 && !realpath(at.path, out))
        rc = -errno;
    return rc;
}

void stat_for_process(struct stat *st)
{
    struct kernel *k = self()->kernel;

    if (st->st_uid == k->real_uid)
        st->st_uid = k->uid;
}

static bool is_same(const struct cwd *a, const struct cwd *b)
{
    struct stat x, y;

    return fstat(a->fd, &x) == 0 && fstat(b->fd, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

/*
 * PostgreSQL 15's children go to the directory of their program and back.  There they share it with
 * their parent again, so that a session has no descriptor of its own for it.
 */
int sys_chdir(const char *path)
{
    struct proc *p = self();
    struct place at;
    struct cwd *c;
    int rc = path_locate(path, &at);

    if (rc == 0 && at.entry && !S_ISDIR(at.entry->mode))
        rc = -ENOTDIR;
    if (rc < 0)
        return rc;
    c = at.entry ? cwd_open_inside(at.entry) : cwd_open_at(at.dir, at.path);
    if (!c)
        return -errno;
    if (p->first_cwd && !at.entry && is_same(c, p->first_cwd)) {
        cwd_put(c);
        c = cwd_ref(p->first_cwd);
    }
    if (!at.entry && faccessat(c->fd, ".", X_OK, AT_EACCESS) < 0) {
        cwd_put(c);
        return -EACCES;
    }
    cwd_put(p->cwd);
    p->cwd = c;
    return 0;
}

char *sys_getcwd(char *buf, size_t size)
{
    char path[PATH_MAX];
    ssize_t n = cwd_name(path, sizeof(path));

    if (n >= 0 && !buf)
        return proc_strdup(path);
    if (n >= 0 && (size_t)n < size)
        return strcpy(buf, path);
    errno = n < 0 ? (int)-n : ERANGE;
    return NULL;
}

mode_t sys_umask(mode_t mask)
{
    struct proc *p = self();
    mode_t old = p->umask;

    p->umask = mask & 0777;
    return old;
}

static int stat_at(const char *path, struct stat *st, int flags)
{
    struct place at;
    int rc = path_locate(path, &at);

    if (rc == 0 && at.entry)
        archive_stat(at.entry, st);
    else if (rc == 0)
        rc = RET(fstatat(at.dir, at.path, st, flags));
    if (rc == 0)
        stat_for_process(st);
    return rc;
}

int sys_stat(const char *path, struct stat *st)
{
    return stat_at(path, st, 0);
}

int sys_lstat(const char *path, struct stat *st)
{
    return stat_at(path, st, AT_SYMLINK_NOFOLLOW);
}

int sys_access(const char *path, int mode)
{
    struct place at;
    int rc = path_locate(path, &at);

    if (rc < 0 || !at.entry)
        return rc < 0 ? rc : RET(faccessat(at.dir, at.path, mode, 0));
    if (mode & W_OK)
        return -EROFS;
    return mode & X_OK && !(at.entry->mode & 0111) ? -EACCES : 0;
}

int sys_unlink(const char *path)
{
    return RET(unlinkat(here(), path, 0));
}

int sys_rmdir(const char *path)
{
    return RET(unlinkat(here(), path, AT_REMOVEDIR));
}

int sys_remove(const char *path)
{
    int rc = sys_unlink(path);

    return rc == -EISDIR || rc == -EPERM ? sys_rmdir(path) : rc;
}

int sys_rename(const char *from, const char *to)
{
    return RET(renameat(here(), from, here(), to));
}

int sys_link(const char *from, const char *to)
{
    return RET(linkat(here(), from, here(), to, 0));
}

int sys_symlink(const char *target, const char *path)
{
    return RET(symlinkat(target, here(), path));
}

ssize_t sys_readlink(const char *path, char *buf, size_t size)
{
    ssize_t rc;

    if (strcmp(path, "/proc/self/exe") == 0) {
        const char *exe = self()->prog->exe;

        rc = strlen(exe) < size ? strlen(exe) : size;
        memcpy(buf, exe, rc);
        return rc;
    }
    rc = readlinkat(here(), path, buf, size);
    return rc < 0 ? -errno : rc;
}

int sys_mkdir(const char *path, mode_t mode)
{
    struct proc *p = self();
    mode_t wanted = mode & ~p->umask;

    if (mkdirat(here(), path, wanted) < 0)
        return -errno;
    if (wanted & p->kernel->host_umask)
        return RET(fchmodat(here(), path, wanted, 0));
    return 0;
}

int sys_chmod(const char *path, mode_t mode)
{
    return RET(fchmodat(here(), path, mode, 0));
}

static uid_t real_owner(uid_t uid)
{
    struct kernel *k = self()->kernel;

    return uid == k->uid ? k->real_uid : uid;
}

int sys_chown(const char *path, uid_t uid, gid_t gid)
{
    return RET(fchownat(here(), path, real_owner(uid), gid, 0));
}

int sys_fchown(int fd, uid_t uid, gid_t gid)
{
    return RET(fchown(fd_host(fd), real_owner(uid), gid));
}

int sys_truncate(const char *path, off_t size)
{
    int fd = openat(here(), path, O_WRONLY | O_CLOEXEC), rc;

    if (fd < 0)
        return -errno;
    rc = RET(ftruncate(fd, size));
    close(fd);
    return rc;
}

int sys_utimes(const char *path, const struct timeval tv[2])
{
    struct timespec ts[2];

    for (int i = 0; tv && i < 2; i++)
        ts[i] = (struct timespec){tv[i].tv_sec, tv[i].tv_usec * 1000};
    return RET(utimensat(here(), path, tv ? ts : NULL, 0));
}

int sys_utime(const char *path, const struct utimbuf *t)
{
    struct timespec ts[2] = {{t ? t->actime : 0, 0}, {t ? t->modtime : 0, 0}};

    return RET(utimensat(here(), path, t ? ts : NULL, 0));
}

char *sys_realpath(const char *path, char *out)
{
    char abs[PATH_MAX * 2], real[PATH_MAX];
    int rc;

    path_absolute(abs, sizeof(abs), path);
    rc = path_real(path[0] ? abs : "", real);
    if (rc < 0) {
        errno = -rc;
        return NULL;
    }
    if (!out)
        out = proc_malloc(PATH_MAX);
    if (out)
        strcpy(out, real);
    return out;
}

int sys_mkstemp(char *template)
{
    size_t len = strlen(template);
    int fd;

    if (len < 6 || strcmp(template + len - 6, "XXXXXX") != 0)
        return -EINVAL;
    do {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";

        for (int i = 1; i <= 6; i++)
            template[len - i] = letters[arc4random_uniform(sizeof(letters) - 1)];
        fd = sys_open(template, O_RDWR | O_CREAT | O_EXCL, 0600);
    } while (fd == -EEXIST);
    return fd;
}

char *sys_mkdtemp(char *template)
{
    size_t len = strlen(template);
    int rc;

    do {
        for (int i = 1; i <= 6; i++)
            template[len - i] = 'a' + arc4random_uniform(26);
        rc = sys_mkdir(template, 0700);
    } while (rc == -EEXIST);
    errno = -rc;
    return rc < 0 ? NULL : template;
}

int sys_statvfs(const char *path, struct statvfs *out)
{
    char abs[PATH_MAX * 2];

    path_absolute(abs, sizeof(abs), path);
    return RET(statvfs(abs, out));
}

/* ---- directories ------------------------------------------------------------------------- */

/* First what the archive has, then what the host's directory and those bound there have. */
struct dir {
    struct dir *next;                       /* program.dirs */
    const struct archive_entry *entry, *at; /* NULL: not in the archive; the last one given */
    const struct bind *bind;                /* the one that is read, NULL: none yet */
    DIR *host;                              /* NULL: none open */
    char *path;
    struct dirent given;
};

struct dir *sys_opendir(const char *path)
{
    struct program *g = self()->prog;
    struct dir *d = calloc(1, sizeof(*d));
    struct place at;
    int rc = path_locate(path, &at), fd = -1;

    if (!d)
        return NULL;
    d->entry = at.entry;
    d->path = strdup(path);
    if (!d->path)
        rc = -ENOMEM;
    if (rc == 0 && d->entry && !S_ISDIR(d->entry->mode))
        rc = -ENOTDIR;
    if (rc == 0 && !d->entry) {
        fd = openat(at.dir, at.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        d->host = fd < 0 ? NULL : fdopendir(fd);
        rc = d->host ? 0 : -errno;
    }
    if (rc < 0) {
        if (fd >= 0)
            close(fd);
        free(d->path);
        free(d);
        errno = -rc;
        return NULL;
    }
    d->next = g->dirs;
    g->dirs = d;
    return d;
}

/* The next directory bound to this one, opened; false: there is none. */
static bool next_bound(struct dir *d)
{
    const struct bind *b = d->bind ? d->bind->next : self()->kernel->binds;

    if (d->host)
        closedir(d->host);
    d->host = NULL;
    for (; b && !d->host; b = b->next) {
        d->bind = b;
        if (strcmp(b->at, d->path) == 0)
            d->host = opendir(b->dir);
    }
    return d->host != NULL;
}

/* Is it given already, by the archive or a directory that was read before? */
static bool was_given(struct dir *d, const char *name)
{
    char path[PATH_MAX * 2];
    bool inside;

    if (!d->bind)
        return false;
    snprintf(path, sizeof(path), "%s/%s", d->path, name);
    if (archive_find(path, &inside) || access(path, F_OK) == 0)
        return true;
    for (const struct bind *b = self()->kernel->binds; b != d->bind; b = b->next) {
        snprintf(path, sizeof(path), "%s/%s", b->dir, name);
        if (strcmp(b->at, d->path) == 0 && access(path, F_OK) == 0)
            return true;
    }
    return false;
}

struct dirent *sys_readdir(struct dir *d)
{
    struct dirent *e;

    if (d->entry)
        d->at = archive_next(d->entry, d->at);
    if (d->entry && d->at) {
        d->given.d_type = S_ISDIR(d->at->mode) ? DT_DIR : DT_REG;
        snprintf(d->given.d_name, sizeof(d->given.d_name), "%s", strrchr(d->at->name, '/') + 1);
        return &d->given;
    }
    d->entry = NULL;
    do {
        errno = 0;
        while (d->host && (e = readdir(d->host)))
            if (!was_given(d, e->d_name))
                return e;
        if (errno)
            return NULL;
    } while (next_bound(d));
    errno = 0; /* how the end is told from an error */
    return NULL;
}

static void dir_free(struct dir *d)
{
    if (d->host)
        closedir(d->host);
    free(d->path);
    free(d);
}

int sys_closedir(struct dir *d)
{
    struct dir **at = &self()->prog->dirs;

    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    dir_free(d);
    return 0;
}

void dirs_close(struct program *g)
{
    struct dir *d;

    while ((d = g->dirs)) {
        g->dirs = d->next;
        dir_free(d);
    }
}

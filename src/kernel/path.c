/*
 * path.c - names: everything that takes a path, against the process's own directory
 *
 * Each process has a current directory of its own (`struct cwd`), held by an
 * O_PATH descriptor; the host's is never moved.  A path goes to the host's
 * *at() call with that descriptor.
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

    CHECK(c);
    c->fd = openat(dir, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
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

struct cwd *cwd_ref(struct cwd *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void cwd_put(struct cwd *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    close(c->fd);
    free(c);
}

int here(void)
{
    return self()->cwd->fd;
}

/* The directory's name now: it may have been moved.  Returns its length or -errno. */
static ssize_t cwd_name(char *out, size_t size)
{
    char link[64];
    ssize_t n;

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

void stat_for_process(struct stat *st)
{
    struct kernel *k = self()->kernel;

    if (st->st_uid == k->real_uid)
        st->st_uid = k->uid;
}

int sys_chdir(const char *path)
{
    struct proc *p = self();
    struct cwd *c = cwd_open_at(here(), path);

    if (!c)
        return -errno;
    if (faccessat(c->fd, ".", X_OK, AT_EACCESS) < 0) {
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

int sys_stat(const char *path, struct stat *st)
{
    int rc = RET(fstatat(here(), path, st, 0));

    if (rc == 0)
        stat_for_process(st);
    return rc;
}

int sys_lstat(const char *path, struct stat *st)
{
    int rc = RET(fstatat(here(), path, st, AT_SYMLINK_NOFOLLOW));

    if (rc == 0)
        stat_for_process(st);
    return rc;
}

int sys_access(const char *path, int mode)
{
    return RET(faccessat(here(), path, mode, 0));
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

/* The host's DIR reads a descriptor of its own: nobody else sees its position. */
DIR *sys_opendir(const char *path)
{
    int fd = openat(here(), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d && fd >= 0)
        close(fd);
    return d;
}

char *sys_realpath(const char *path, char *out)
{
    char abs[PATH_MAX * 2], *real;

    path_absolute(abs, sizeof(abs), path);
    real = realpath(path[0] ? abs : "", NULL);
    if (!real)
        return NULL;
    if (!out)
        out = proc_malloc(PATH_MAX);
    if (out)
        snprintf(out, PATH_MAX, "%s", real);
    free(real);
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

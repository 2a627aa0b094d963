/*
 * spawn.c - commands: popen, system, and programs that run outside
 *
 * A command that is one program with arguments and redirections, and whose
 * program is an image of this kernel, runs inside as a process.  Everything
 * else is /bin/sh's and runs as a real process of the host: archive_command,
 * COPY ... PROGRAM, a pager.
 *
 * An outside program must not be the host's child: exec gives every child SIGCHLD
 * as its termination signal, so the host's handler would be called, its waitpid(-1)
 * could take the exit status away, and its SIG_IGN would throw it away.  So there is
 * a helper between them, cloned without a termination signal, which never calls
 * exec: it starts the program, closes all descriptors, and waits.  It ends with the
 * host.  A carrier waits for it and stands for the program in the process table.
 *
 * In a session that a process made with setsid(), as PostgreSQL's do, the program leads a
 * group of its own in the host, so that a signal reaches what it started as well; else it
 * stays in the host's group, which may be a terminal's (a pager).
 */
#include "kernel.h"

#include <linux/futex.h>
#include <paths.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define WORDS_MAX 256

/* `path` leads to a file directly in the directory of images; `out` is its real name. */
bool command_is_inside(struct kernel *k, const char *path, char out[PATH_MAX])
{
    size_t n = strlen(k->image_dir);

    if (path_real(path, out) < 0)
        return false;
    return strncmp(out, k->image_dir, n) == 0 && out[n] == '/' && !strchr(out + n + 1, '/');
}

/* ---- programs outside -------------------------------------------------------------- */

struct launch {
    const char *path;
    char *const *argv, *const *envp;
    int cwd, error, nfds;
    mode_t umask;
    bool own_group;
    int host[FD_LIMIT]; /* by the process's number: the host's, or -1 */
    int high[FD_LIMIT];
    char stack[128 << 10];
};

/* Belongs to its thread until `started`, afterwards to the process that the program stands for. */
struct outside {
    struct launch launch;
    pthread_t thread; /* has nothing to do but to wait: the helper uses its thread-local data */
    pid_t host, pid;
    _Atomic int started;
    int status; /* of the program */
    char stack[64 << 10];
};

/* In the clone: shares memory with us, must not return and may only call the system. */
static int launch_child(void *arg)
{
    struct launch *l = arg;
    sigset_t none;
    int top = l->nfds;

    for (int sig = 1; sig < NSIG_; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            signal(sig, SIG_DFL);
    sigemptyset(&none);
    if (fchdir(l->cwd) < 0) /* now: the numbers below may be the host's directory's */
        goto failed;
    /* first all away from the numbers they must get, then down */
    for (int i = 0; i < l->nfds; i++)
        l->high[i] = l->host[i] < 0 ? -1 : fcntl(l->host[i], F_DUPFD_CLOEXEC, top);
    for (int i = 0; i < l->nfds; i++)
        if (l->high[i] >= 0)
            dup2(l->high[i], i);
        else if (i < 3)
            close(i);
    if (l->own_group)
        setpgid(0, 0);
    umask(l->umask);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(l->path, l->argv, l->envp);
failed:
    l->error = errno;
    _exit(127);
}

/* A regular file shares its host descriptor, so an outside program gets one with its own position.
 */
static int outside_descriptor(struct file *f)
{
    char name[64];
    int fd;

    if (f->kind != FILE_REGULAR)
        return fcntl(f->host, F_DUPFD_CLOEXEC, 3);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", f->host);
    fd = open(name, (f->flags & (O_ACCMODE | O_APPEND)) | O_CLOEXEC);
    if (fd >= 0)
        lseek(fd, f->pos, SEEK_SET);
    return fd;
}

static void started(struct outside *o)
{
    atomic_store(&o->started, 1);
    futex_wake(&o->started, 1);
}

/* The helper: shares memory with us, its descriptors and signals are its own. */
static int help(void *arg)
{
    struct outside *o = arg;
    struct launch *l = &o->launch;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != o->host)
        return 0;
    signal(SIGCHLD, SIG_DFL);
    o->pid = clone(launch_child, l->stack + sizeof(l->stack), CLONE_VM | CLONE_VFORK | SIGCHLD, l);
    if (o->pid < 0)
        l->error = errno;
    if (syscall(SYS_close_range, 0, ~0U, 0) < 0) /* Linux before 5.9 */
        for (int fd = 0; fd < sysconf(_SC_OPEN_MAX); fd++)
            close(fd);
    started(o);
    while (o->pid > 0 && waitpid(o->pid, &o->status, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

static void *wait_for_helper(void *arg)
{
    struct outside *o = arg;
    pid_t helper = clone(help, o->stack + sizeof(o->stack), CLONE_VM, o);
    int why = helper < 0 ? errno : EAGAIN;

    while (helper > 0 && waitpid(helper, NULL, __WALL) < 0 && errno == EINTR)
        ;
    if (!atomic_load(&o->started)) { /* somebody killed it, at the latest */
        o->launch.error = why;
        started(o);
    }
    return NULL;
}

int spawn_outside(struct proc *p, const char *path, char *const argv[], char *const envp[])
{
    struct outside *o =
        mmap(NULL, sizeof(*o), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct launch *l = &o->launch;
    pthread_attr_t attr;
    int rc = 0;

    if (o == MAP_FAILED)
        return -ENOMEM;
    o->host = getpid();
    o->status = SIGKILL; /* of the helper, which would have told */
    l->path = path;
    l->argv = argv;
    l->envp = envp ? envp : host_environ();
    l->cwd = p->cwd->fd;
    l->umask = p->umask;
    l->nfds = p->nfds < 3 ? 3 : p->nfds;
    l->own_group = p->own_session || p->pgid == p->pid;
    for (int i = 0; i < l->nfds; i++) {
        struct file *f = i < p->nfds && !fd_slot(p, i)->cloexec ? fd_slot(p, i)->file : NULL;

        l->host[i] = f ? outside_descriptor(f) : -1;
        if (f && l->host[i] < 0 && errno != EBADF) /* files of calf's alone have none */
            rc = -errno;
    }
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 << 10);
    if (rc == 0)
        rc = -pthread_create(&o->thread, &attr, wait_for_helper, o);
    pthread_attr_destroy(&attr);
    if (rc == 0) {
        while (!atomic_load(&o->started))
            syscall(SYS_futex, &o->started, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
        rc = -l->error;
        if (rc < 0)
            pthread_join(o->thread, NULL);
    }
    for (int i = 0; i < l->nfds; i++)
        if (l->host[i] >= 0)
            close(l->host[i]);
    if (rc < 0) {
        munmap(o, sizeof(*o));
        return rc;
    }
    p->outside = o;
    atomic_store(&p->host_pid, l->own_group ? -o->pid : o->pid);
    return 0;
}

void outside_wait(struct proc *p)
{
    pthread_join(p->outside->thread, NULL);
    p->wait_status = p->outside->status;
    munmap(p->outside, sizeof(*p->outside));
}

/* ---- commands ------------------------------------------------------------------------ */

/* A command of words and redirections, which is all that PostgreSQL's programs say of each other.
 */
struct command {
    char *words[WORDS_MAX + 1];
    int nwords;
    struct {
        int fd;
        int from; /* N>&from, or -1 */
        char *path;
        int flags;
    } redirect[8];
    int nredirect;
    char text[]; /* the words' memory */
};

/* One word from *s, quotes removed, appended at *out.  NULL: needs a real shell. */
static char *parse_word(const char **s, char **out)
{
    const char *c = *s;
    char *word = *out, *o = word;

    for (; *c && !strchr(" \t\n<>", *c); c++) {
        if (strchr("|&;()$`*?[]#~{}", *c))
            return NULL;
        if (*c == '\'') {
            for (c++; *c && *c != '\''; c++)
                *o++ = *c;
            if (!*c)
                return NULL;
        } else if (*c == '"') {
            for (c++; *c && *c != '"'; c++) {
                if (*c == '$' || *c == '`')
                    return NULL;
                if (*c == '\\' && c[1] && strchr("\"\\$`", c[1]))
                    c++;
                *o++ = *c;
            }
            if (!*c)
                return NULL;
        } else if (*c == '\\') {
            if (!*++c)
                return NULL;
            *o++ = *c;
        } else {
            *o++ = *c;
        }
    }
    *o++ = '\0';
    *out = o;
    *s = c;
    return word;
}

static bool parse_redirect(struct command *c, const char **s, char **out)
{
    const char *at = *s;
    int n = c->nredirect, fd = -1, flags;

    if (*at >= '0' && *at <= '9')
        fd = *at++ - '0';
    flags = *at == '<' ? O_RDONLY : O_WRONLY | O_CREAT | (at[1] == '>' ? O_APPEND : O_TRUNC);
    fd = fd >= 0 ? fd : *at == '<' ? 0 : 1;
    at += at[0] == '>' && at[1] == '>' ? 2 : 1;
    if (n == 8)
        return false;
    c->redirect[n].fd = fd;
    c->redirect[n].from = -1;
    c->redirect[n].flags = flags;
    if (*at == '&') {
        if (at[1] < '0' || at[1] > '9')
            return false;
        c->redirect[n].from = at[1] - '0';
        at += 2;
    } else {
        at += strspn(at, " \t");
        if (!(c->redirect[n].path = parse_word(&at, out)) || !c->redirect[n].path[0])
            return false;
    }
    c->nredirect++;
    *s = at;
    return true;
}

/* 0 and the parsed command, free() it; NULL: it needs a real shell.  Or -ENOMEM. */
static int parse_command(const char *s, struct command **parsed)
{
    struct command *c = calloc(1, sizeof(*c) + strlen(s) * 2 + 16);
    char *out;

    if (!c)
        return -ENOMEM;
    out = c->text;
    for (s += strspn(s, " \t\n"); *s; s += strspn(s, " \t\n")) {
        if (*s == '<' || *s == '>' || (*s >= '0' && *s <= '9' && (s[1] == '>' || s[1] == '<'))) {
            if (!parse_redirect(c, &s, &out))
                goto no;
        } else if (c->nwords == WORDS_MAX || !(c->words[c->nwords++] = parse_word(&s, &out))) {
            goto no;
        }
    }
    if (c->nwords > 0) {
        *parsed = c;
        return 0;
    }
no:
    free(c);
    return 0;
}

static int apply_redirects(struct command *c)
{
    for (int i = 0; i < c->nredirect; i++) {
        int fd = c->redirect[i].from, rc;

        if (fd < 0)
            fd = sys_open(c->redirect[i].path, c->redirect[i].flags, 0666);
        if (fd < 0)
            return fd;
        rc = fd == c->redirect[i].fd ? 0 : sys_dup2(fd, c->redirect[i].fd);
        if (c->redirect[i].from < 0 && fd != c->redirect[i].fd)
            sys_close(fd);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/*
 * Is this `sh -c` with a command that can run inside?  Then its redirections are
 * applied to the running process, `path` gets the image and *argv its words, which
 * live in *memory; free it.  1: yes, 0: no, or -errno.
 */
int shell_inside(struct kernel *k, char path[PATH_MAX], char *const **argv, void **memory)
{
    char *const *given = *argv;
    char abs[PATH_MAX * 2];
    struct command *c = NULL;
    int first, rc = 0;

    *memory = NULL;
    if (strcmp(path, _PATH_BSHELL) == 0 && given[0] && given[1] && strcmp(given[1], "-c") == 0 &&
        given[2] && !given[3])
        rc = parse_command(given[2], &c);
    if (!c)
        return rc;
    first = strcmp(c->words[0], "exec") == 0 ? 1 : 0;
    if (c->words[first] && strchr(c->words[first], '/')) {
        path_absolute(abs, sizeof(abs), c->words[first]);
        if (command_is_inside(k, abs, path))
            rc = (rc = apply_redirects(c)) < 0 ? rc : 1;
    }
    *memory = c;
    if (rc == 1)
        *argv = c->words + first;
    return rc;
}

/*
 * Start `command` as a child with `fd` of this process as its descriptor `as` (none: -1).
 * `drop` is closed in the child.  Returns its pid or -errno.
 */
static pid_t start_command(const char *command, int fd, int as, int drop)
{
    struct proc *parent = self(), *p;
    char *shell[] = {"sh", "-c", (char *)command, NULL};
    pid_t pid = fork_child(&p);
    int rc = 0;

    if (pid < 0)
        return pid;
    set_self(p);
    if (fd >= 0 && fd != as) {
        rc = sys_dup2(fd, as);
        sys_close(fd);
    }
    if (drop >= 0)
        sys_close(drop);
    if (rc >= 0)
        rc = proc_prepare(p, _PATH_BSHELL, shell, env_of(parent));
    set_self(parent);
    if (rc < 0) {
        proc_drop(p);
        return rc;
    }
    proc_start(p);
    return pid;
}

int sys_system(const char *command)
{
    struct proc *p = self();
    struct vsigaction intr = p->act[SIGINT], quit = p->act[SIGQUIT];
    uint64_t was = atomic_load(&p->blocked);
    int status = 127 << 8;
    pid_t pid, rc;

    if (!command)
        return 1;
    pid = start_command(command, -1, -1, -1);
    if (pid < 0)
        return pid;
    p->act[SIGINT].handler = p->act[SIGQUIT].handler = SIG_IGN;
    atomic_store(&p->blocked, was | SIGBIT(SIGCHLD));
    do {
        rc = sys_waitpid(pid, &status, 0);
    } while (rc == -ERESTART && !(atomic_load(&p->pending) & SIGBIT(SIGKILL)));
    p->act[SIGINT] = intr;
    p->act[SIGQUIT] = quit;
    atomic_store(&p->blocked, was);
    return rc < 0 ? rc : status;
}

struct cfile *sys_popen(const char *command, const char *mode)
{
    struct proc *p = gate_enter();
    bool reads = mode[0] == 'r';
    struct cfile *f = NULL;
    int fds[2], rc = sys_pipe2(fds, O_CLOEXEC);
    pid_t pid;

    if (rc == 0) {
        pid = start_command(command, fds[reads ? 1 : 0], reads ? 1 : 0, fds[reads ? 0 : 1]);
        rc = pid < 0 ? pid : 0;
        sys_close(fds[reads ? 1 : 0]);
        if (rc == 0)
            f = cfile_popened(fds[reads ? 0 : 1], mode, pid);
        else
            sys_close(fds[reads ? 0 : 1]);
    }
    gate_leave(p);
    if (!f)
        errno = -rc;
    return f;
}

int sys_pclose(struct cfile *f)
{
    pid_t pid = cfile_pid(f), rc;
    struct proc *p;
    int status = -1;

    sys_fclose(f);
    do {
        p = gate_enter();
        rc = sys_waitpid(pid, &status, 0);
        gate_leave(p);
    } while (rc == -ERESTART);
    if (rc < 0)
        errno = -rc;
    return rc < 0 ? -1 : status;
}

/*
 * kernel.h - what the files of the kernel share
 *
 * A `struct kernel` is the operating system that one cluster sees; kernels in
 * one host do not see each other.  A `struct proc` is a process: a context (an
 * instance of an image, a stack, a heap, descriptors, signal state) carried by
 * a thread of the host.
 *
 * The rules that matter:
 *  - Inside the kernel a result is >= 0 or -errno (-ERESTART: EINTR unless every
 *    handler had SA_RESTART). Only the gates that calls.c
 *    makes from calls.def turn -errno into -1 and errno.
 *  - Virtual handlers run, and a process dies by a signal, only where no lock
 *    of the kernel or of the host's libraries can be held: at the end of a gate,
 *    or where the interrupted instruction belongs to an image (signal.c).
 *  - Lock order: kernel.lock, then proc.fd_lock, then hostfile lock (fd.c).
 *    Nothing blocks while holding one of them.
 */
#ifndef CALF_KERNEL_H
#define CALF_KERNEL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "../loader/loader.h"
#include "archive.h"

#define CHECK(x) ((x) ? (void)0 : check_failed(#x, __FILE__, __LINE__))
_Noreturn void check_failed(const char *what, const char *file, int line);

#define NSIG_ 65
#define SIGBIT(sig) (1ULL << ((sig)-1))
#define STACK_SIZE (8UL << 20) /* of a process; only touched pages cost memory */
#define FD_CHUNK 64            /* slots allocated at a time */
#define FD_LIMIT 4096          /* descriptors of one process */
#define PSEUDO_UID 65533       /* what processes are told when the host runs as root */
#define MAX_INSTANCES 256      /* image and modules of one process */

struct proc;
struct heap;
struct stdio;
struct cfile;
struct tz;

/* ---- files (fd.c) -------------------------------------------------------- */

enum file_kind {
    FILE_HOST,    /* read and written through its own host descriptor: pipe, tty, O_APPEND file */
    FILE_REGULAR, /* a regular file: own position, host descriptor shared by (dev, ino, flags) */
    FILE_SOCKET,
    FILE_INBOX,    /* listens where the host hands connections in: a pipe of host descriptors */
    FILE_EPOLL,    /* the host's epoll set, and a list of signalfds */
    FILE_SIGNALFD, /* readable while a signal of sigmask is pending; no host descriptor */
};

/* An open file description: what dup() and fork() share. */
struct file {
    _Atomic int refs;
    enum file_kind kind;
    int host;                  /* host descriptor, always O_CLOEXEC; -1: none */
    int flags;                 /* O_ACCMODE and status flags given to open() */
    struct hostfile *shared;   /* FILE_REGULAR: owner of `host`; else NULL */
    struct hostfiles *files;   /* where it is kept */
    pthread_mutex_t pos_lock;  /* guards pos */
    off_t pos;                 /* FILE_REGULAR: the position */
    uint64_t sigmask;          /* FILE_SIGNALFD */
    struct epoll_set *epoll;   /* FILE_EPOLL */
    struct sockaddr_un *bound; /* FILE_SOCKET: the relative address that bind() got, or NULL */
};

struct fdslot {
    struct file *file; /* NULL: free */
    bool cloexec;
};

/* ---- signals ------------------------------------------------------------- */

struct vsigaction {
    union {
        void (*handler)(int);
        void (*action)(int, siginfo_t *, void *);
    };
    int flags;
    uint64_t mask;
};

/* ---- current directory (path.c): shared by the processes that inherited it - */
struct cwd {
    _Atomic int refs;
    int fd;       /* O_PATH */
    char *inside; /* it is in the archive, and no name leads anywhere from `fd`; or NULL */
};

/*
 * Variables that libc owns natively and an image imports by name.  Where the
 * image has a COPY relocation its own copy is the one that counts: the pointers
 * lead there.
 */
struct procdata {
    char *optarg_;
    int optind_, opterr_, optopt_;
    char **environ_;
    struct cfile *stdin_, *stdout_, *stderr_;
    long timezone_;
    int daylight_;
    char *tzname_[2];
    char *progname_, *progname_full_;
    int h_errno_;
};

/* A piece of memory that the process mapped (shm.c). */
struct mapping {
    void *addr;
    size_t size;
    struct mapping *next;
};

struct exitfn {
    void (*fn)(void *);
    void *arg;
    void *dso;
    struct exitfn *next;
};

/* What only one program run has: replaced by exec, thrown away by exit. */
struct program {
    struct instance *main;
    struct instance *list[MAX_INSTANCES]; /* main first, then modules; append only */
    _Atomic int ninstances;
    int nown;                   /* the program and the libraries it names; the rest is dlopen's */
    struct program *next_idle;  /* kernel.idle_programs */
    bool old;                   /* there at the last look (rest.c) */
    char *saved[MAX_INSTANCES]; /* mappings: data of the instances at the last fork (proc.c) */
    char *tls[MAX_INSTANCES];   /* blocks of modules that have thread-local variables */
    struct module *modules;     /* dlopen's handles (module.c) */
    char *stack;                /* STACK_SIZE bytes above a guard page */
    char *start;                /* initial stack pointer: argc, argv, envp, auxv */
    struct heap *heap;
    struct stdio *stdio;
    struct exitfn *exitfns;
    struct env *env;
    struct mapping *mappings;
    struct procdata data;
    char *strtok_save;
    char *exe; /* absolute path of the image */
    char dlerror_text[512];
    bool dlerror_set;
    volatile bool trapped; /* its text may not be executed: program_set_trap() */
    struct misc *misc;     /* results of localtime() and friends (misc.c) */
    struct dir *dirs;      /* open ones (path.c) */
    int argc;
    char **argv, **envp;
};

enum proc_state { PROC_EMBRYO, PROC_RUNNING, PROC_ZOMBIE };

struct proc {
    struct kernel *kernel;
    struct proc *next, *parent; /* kernel.lock */
    bool orphan;                /* kernel.lock: nobody waits for it, bury() takes it */
    pid_t pid, pgid, sid;
    bool own_session; /* it or a parent has called setsid() */
    _Atomic enum proc_state state;
    int wait_status;           /* valid once a zombie */
    _Atomic unsigned wait_seq; /* futex: moves when a child changes state */

    pthread_t thread;
    _Atomic int carrier_tid; /* the carrier's own thread id; futex until it is known */
    _Atomic int tid;         /* host thread that runs this process now; target of kicks */
    _Atomic bool kicked; /* a kick is under way to it, and finds what is posted until it comes */
    _Atomic int go;      /* futex: 1 when exec has a program for the parked carrier, 2: leave */
    void *carrier_sp;    /* where the carrier's own stack was left; NULL: it is there */
    struct program *prog, *next_prog; /* next_prog: set by exec, taken by the carrier */

    /* fork window (proc.c): the child runs on the parent's stack until exec or exit */
    struct proc *forked_from;
    struct forksave *forksave;

    /* signals (signal.c) */
    _Atomic uint64_t pending;
    _Atomic uint64_t blocked;
    struct vsigaction act[NSIG_];
    _Atomic int in_gate; /* > 0: the kernel runs; deliveries wait for the gate's end */
    _Atomic uint64_t
        waited; /* signals that kick although blocked: sigwait() or a signalfd waits for them */
    int pdeathsig;

    /* rest.c */
    _Atomic unsigned waits; /* waits begun and ended: odd while it waits for descriptors */
    _Atomic bool rest;      /* it shall, and was kicked to see this */
    unsigned seen;          /* the timekeeper's: waits at the last look */
    bool rested;            /* the timekeeper's: told to since then */

    /* setitimer(ITIMER_REAL) (timer.c), guarded by kernel.timer_lock */
    int64_t alarm_at_ns, alarm_interval_ns; /* CLOCK_MONOTONIC; 0: off */

    /* descriptors */
    pthread_mutex_t fd_lock;
    struct fdslot *fds[FD_LIMIT / FD_CHUNK]; /* slots stay where they are; see fd_slot() */
    int nfds;                                /* no slot at or above it was ever used */
    int fd_low;                              /* no slot below it is free */

    struct cwd *cwd, *first_cwd; /* first: what the process began with, or NULL */
    /* path.c: where the last name was looked for in vain, first of the directories that are bound
     * there, or NULL; and its last part */
    const struct bind *missed;
    char missed_name[NAME_MAX + 1];
    mode_t umask;
    locale_t locale; /* what uselocale() gets on the carrier */
    struct localeset *localeset;
    struct shm_attach *attached; /* shm.c */

    struct thread *threads; /* made by pthread_create (thread.c) */
    _Atomic bool dying;     /* its further threads must leave */

    /* an external program (spawn.c) carried by this process: its pid in the host; negative when it
     * leads a group there, which gets its signals */
    _Atomic pid_t host_pid;
    struct outside *outside;

    int lock_fd; /* what kernel.lock_file() returned, a descriptor of the host; -1: none */
};

/* ---- the kernel ---------------------------------------------------------- */

struct kernel {
    pthread_mutex_t lock;   /* the process table, parents, states */
    pthread_cond_t changed; /* a process became a zombie */
    struct proc *procs;
    int nprocs;
    struct program *idle_programs; /* kernel.lock: ended, reset and ready to run again */
    char image_dir[PATH_MAX];      /* programs in this directory run inside */
    char lib_dir[PATH_MAX];        /* PostgreSQL's own libraries */
    /* rest.c: when the timekeeper looks next, 0: never.  Read at each wait, seldom written, like
     * what is around it. */
    _Atomic int64_t look_at_ns;
    struct bind *binds; /* path.c; constant once a process runs */
    pid_t stale_pid; /* kill() says ESRCH for it: left by a dead host (runtime/lock.c); 0: none */
    /*
     * The runtime's, NULL: none.  A process is about to make ./postmaster.pid: returned is what
     * holds the lock of the directory and is closed when the process has ended, or -errno, which
     * is open()'s.  Not `makes`: the same process opens it again to write.
     */
    int (*lock_file)(struct kernel *k, int dir, bool makes);
    uid_t uid; /* what processes are told they run as */
    gid_t gid;
    uid_t real_uid;
    mode_t host_umask;

    pthread_mutex_t timer_lock;
    pthread_t timekeeper;
    _Atomic unsigned timer_seq; /* futex */
    bool timer_stop;
    int64_t timer_next_ns; /* timer_lock: when the timekeeper wakes by itself, 0: never */
    struct shm_table *shm;
    struct hostfiles *hostfiles;
    char shortage[1200];      /* kernel.lock: what a process could not be started for; "": none */
    struct proc *inbox_owner; /* kernel.lock: who listens on INBOX; NULL: nobody */
    int inbox[2];             /* kernel.lock: the pipe, -1: none yet */
};

/* The running process.  Ask afresh after anything that can block. */
struct proc *self(void) __attribute__((noinline));
void set_self(struct proc *p) __attribute__((noinline));
bool on_main_thread(void) __attribute__((noinline)); /* false in a thread made by pthread_create */

/* ---- context_x86_64.S ---------------------------------------------------- */
/*
 * A system call of the host that ends with -EINTR as soon as (*pending & open)
 * is not zero, without a gap between the test and the call: the handler of
 * KICK_SIGNAL moves an interrupted program counter out of the window.
 */
long intr_syscall(long nr, long a, long b, long c, long d, long e, long f,
                  _Atomic uint64_t *pending, uint64_t open);
extern char intr_window_start[], intr_window_end[], intr_aborted[];
/* Save the caller's context on its stack, store sp in *save, continue at fn(arg) on `sp`. */
void context_call(void **save, void *sp, void (*fn)(void *), void *arg);
/* Continue where context_call() stored `sp`. */
_Noreturn void context_return(void *sp);
/* Enter a program: stack pointer `sp`, jump to `entry` with cleared registers. */
_Noreturn void context_enter(void *sp, void *entry);
/* The parent's return from fork: copy `size` bytes back to `to`, on the carrier's stack. */
_Noreturn void fork_return(void *carrier_sp, void *to, const void *from, size_t size);

/* ---- signal.c ------------------------------------------------------------ */
extern int kick_signal; /* the real-time signal calf uses */
void signals_hold(void);
void signals_release(void);
int signal_post(struct proc *p, int sig);   /* from any thread; kernel.lock may be held */
void epoll_set_free(struct epoll_set *set); /* poll.c */
ssize_t signalfd_read(struct file *f, void *buf, size_t size);
void carrier_sigmask(sigset_t *set);
void set_secondary(void); /* this thread was made by pthread_create */
/* Free room on the stack of the thread that carries us, NULL: a process has not left it (proc.c).
 */
void *carrier_stack(void);
_Noreturn void context_jump(void *env, int value);
_Noreturn void sys_abort(void);
void kick(struct proc *p);
static inline struct proc *gate_enter(void)
{
    struct proc *p = self();

    if (on_main_thread())
        atomic_store_explicit(&p->in_gate, p->in_gate + 1, memory_order_relaxed);
    return p;
}
bool gate_leave(struct proc *p); /* delivers; true: a restartable call goes again */
static inline bool deliverable(struct proc *p)
{
    return (atomic_load(&p->pending) & ~atomic_load(&p->blocked)) != 0;
}
/* A blocking system call of the host in the name of the running process. */
long block(long nr, long a, long b, long c, long d, long e, long f);
/* Sleep until *word != value, a wake, a signal (-EINTR) or the deadline (-ETIMEDOUT); ns, 0: none.
 */
int block_futex(_Atomic unsigned *word, unsigned value, int64_t deadline_ns);
void futex_wake(void *word, int n);

/* ---- timer.c ------------------------------------------------------------- */
int64_t now_ns(void);
int timekeeper_start(struct kernel *k);
void timekeeper_stop(struct kernel *k);
void timekeeper_nudge(struct kernel *k);

/* ---- rest.c --------------------------------------------------------------- */
void rest_watch(struct kernel *k);   /* a look is to come */
int64_t rest_look(struct kernel *k); /* the timekeeper's; when the next is due, 0: never */
void rest(struct proc *p);           /* the running process gives back what it does not need */
static inline void wait_begins(struct proc *p)
{
    if (!on_main_thread())
        return;
    atomic_store_explicit(&p->waits, p->waits + 1, memory_order_relaxed);
    if (!atomic_load_explicit(&p->kernel->look_at_ns, memory_order_relaxed))
        rest_watch(p->kernel);
}
static inline void wait_ends(struct proc *p)
{
    if (on_main_thread())
        atomic_store_explicit(&p->waits, p->waits + 1, memory_order_relaxed);
}

/* ---- fd.c ---------------------------------------------------------------- */
struct file *file_new(enum file_kind kind, int host, int flags); /* owns `host`; NULL: no memory */
struct file *file_ref(struct file *f);
void file_put(struct file *f); /* NULL allowed */
struct file *fd_get(int fd);   /* NULL: not open; borrowed until the process closes fd */
int fd_host(int fd);           /* host descriptor or -EBADF, borrowed likewise */
/* Takes the reference, also on failure; NULL: -ENOMEM. */
int fd_install(struct file *f, int lowest, bool cloexec);
int fd_adopt(enum file_kind kind, int host,
             int flags); /* file_new + fd_install; host < 0: -errno */
static inline struct fdslot *fd_slot(struct proc *p, int fd) /* 0 <= fd < nfds */
{
    return &p->fds[fd / FD_CHUNK][fd % FD_CHUNK];
}
int fds_inherit(struct proc *child, struct proc *parent);
void fds_close_exec(struct proc *p);
void fds_close_all(struct proc *p);
int fd_put_host(struct proc *p, int at, int host); /* dups `host` */
int sys_close(int fd);
int sys_dup2(int fd, int to);
int sys_pipe2(int fds[2], int flags);
int sys_open(const char *path, int flags, mode_t mode);
ssize_t sys_read(int fd, void *buf, size_t size);
ssize_t sys_write(int fd, const void *buf, size_t size);
off_t sys_lseek(int fd, off_t offset, int whence);
struct hostfiles *hostfiles_create(void);
void hostfiles_destroy(struct hostfiles *h);
static inline long restartable(long rc)
{
    return rc == -EINTR ? -ERESTART : rc;
}

/* ---- owned.c ------------------------------------------------------------- */
int owned_note(int fd);     /* calf's from now on; fd, also when it is negative */
void owned_close(int fd);   /* closes one that was noted; negative ones pass */
void owned_close_all(void); /* those that were noted, in a forked child of the host */

/* ---- path.c -------------------------------------------------------------- */
struct cwd *cwd_ref(struct cwd *c);
void cwd_put(struct cwd *c);
struct cwd *cwd_open(const char *path);                       /* NULL and errno */
void path_absolute(char *out, size_t size, const char *path); /* against the process's directory */
int here(void); /* the process's directory, for the *at() call that follows */
/*
 * Where a name leads: path `path` from directory `dir`, or a file that calf carries.  A name below
 * the archive that it does not have may be in a directory bound there.  0 or -ENOENT.
 */
struct place {
    int dir;
    const char *path;
    const struct archive_entry *entry; /* or NULL */
    char room[PATH_MAX];
};
int path_locate(const char *path, struct place *out);
/* The directories bound where the last name was looked for, if it was not there; to be freed. */
char *path_missed(void);
/* realpath() for the running process, of an absolute path: 0 or -errno. */
int path_real(const char *path, char out[PATH_MAX]);
void dirs_close(struct program *g);
void binds_free(struct kernel *k);
int sys_access(const char *path, int mode);
void stat_for_process(struct stat *st); /* owner as the process must see it */

/* ---- heap.c: memory of one process, thrown away at its end --------------- */
struct heap *heap_create(void);
void heap_destroy(struct heap *h);
bool heap_owns(struct heap *h, const void *p);
void *heap_alloc(struct heap *h, size_t size);
void *heap_aligned(struct heap *h, size_t align, size_t size);
void *heap_realloc(struct heap *h, void *p, size_t size);
void heap_free(struct heap *h, void *p);
size_t heap_size(struct heap *h, const void *p);
void *proc_malloc(size_t size); /* on the running process's heap */
void *proc_realloc(void *p, size_t size);
void proc_free(void *p);
char *proc_strdup(const char *s);

/* ---- stdio.c ------------------------------------------------------------- */
struct stdio *stdio_create(void);                 /* stdin, stdout, stderr on 0, 1, 2 */
void stdio_flush(struct stdio *s);                /* exit() */
void stdio_destroy(struct stdio *s);              /* frees memory, closes nothing */
struct cfile *stdio_std(struct stdio *s, int fd); /* 0, 1, 2 */
struct cfile *cfile_popened(int fd, const char *mode, pid_t pid);
pid_t cfile_pid(struct cfile *f);
int sys_fclose(struct cfile *f);

/* ---- env.c, misc.c, locale.c --------------------------------------------- */
/* `addr` holds the program's own copy of libc's variable `name` from now on. */
void misc_set_var(struct program *g, const char *name, void *addr);
void env_set_slot(struct program *g, char ***slot);
/* data.environ_ becomes a table of the process's own.  0 or -ENOMEM. */
int env_init(struct program *g, char **envp);
char **env_of(struct proc *p);
char **host_environ(void);
struct misc *misc_create(void);
void misc_destroy(struct misc *m);
struct localeset *localeset_create(void);
void localeset_destroy(struct localeset *l);
void locale_attach(struct proc *p); /* uselocale() on the calling thread */

/* ---- proc.c -------------------------------------------------------------- */
struct proc *proc_find(struct kernel *k, pid_t pid); /* kernel.lock held */
_Noreturn void proc_exit(int wait_status);
long fork_begin(void *frame);
long fork_after(void);
void fork_window_refuse_wait(struct proc *p); /* where the running process is about to block */
int sys_execve(const char *path, char *const argv[], char *const envp[]);
pid_t sys_waitpid(pid_t pid, int *status, int options);
pid_t fork_child(struct proc **out); /* a child in the parent's likeness, parked */
int proc_prepare(struct proc *p, const char *path, char *const argv[], char *const envp[]);
void proc_start(struct proc *p); /* after proc_prepare() */
void proc_drop(struct proc *p);  /* instead of proc_start(): it never ran */
bool programs_expire(
    struct kernel *k); /* those kept since before the last look; are there others? */

/*
 * Start a program from outside as the child of nobody.  fds[0..2] are host
 * descriptors that become 0, 1, 2.  Returns its pid or -errno.
 */
struct spawn {
    const char *path;
    char *const *argv, *const *envp;
    const char *cwd;
    int fds[3];
    bool shows_host_pid; /* the postmaster: its pid is the host's */
};
pid_t kernel_spawn(struct kernel *k, const struct spawn *s);
struct kernel *kernel_create(const char *image_dir, const char *lib_dir); /* NULL and errno */
/* Names below the directory `at` that lead nowhere are looked for in `dir` (both absolute), after
 * earlier binds.  Before the first spawn.  0 or -ENOMEM. */
int kernel_bind(struct kernel *k, const char *at, const char *dir);
int kernel_wait(struct kernel *k, pid_t pid); /* wait status of a spawned program; blocks */
/* The same; -ETIMEDOUT when only it and one child are left, and both have stood still for seconds.
 */
int kernel_wait_moving(struct kernel *k, pid_t pid);
/* What was short when a process could not start another; false: nothing was. */
bool kernel_shortage(struct kernel *k, char *out, size_t size);
bool kernel_is_zombie(struct kernel *k, pid_t pid);
int kernel_kill(struct kernel *k, pid_t pid, int sig);
void kernel_destroy(struct kernel *k); /* kills what still runs */

/* ---- socket.c ------------------------------------------------------------- */
/*
 * The abstract address (unix(7)) on which a server finds connections that its host hands in.
 * Nothing in the file system, nobody outside can reach it, and it has no name to collide.
 */
#define INBOX_DIR "calf"
#define INBOX INBOX_DIR "/"
void inbox_close(struct kernel *k); /* kernel.lock held: what was not accepted is closed */
/* A connection to the server inside: a host descriptor, close-on-exec, or -errno. */
int kernel_connect(struct kernel *k);
/* Give the server inside a connected socket, as if it had accepted it.  Takes `fd`.  0 or -errno.
 */
int kernel_hand_in(struct kernel *k, int fd);
int kernel_handed_in(struct kernel *k); /* connections that nobody has accepted yet */

/* ---- spawn.c: programs outside -------------------------------------------- */
bool command_is_inside(struct kernel *k, const char *path, char out[PATH_MAX]);
int shell_inside(struct kernel *k, char path[PATH_MAX], char *const **argv, void **memory);
int spawn_outside(struct proc *p, const char *path, char *const argv[], char *const envp[]);
void outside_wait(struct proc *p); /* the carrier of an outside program waits for its end */

/* ---- thread.c ------------------------------------------------------------- */
void thread_leave_if_dying(struct proc *p);
bool threads_end(struct proc *p);
void heap_set_threaded(struct heap *h);

/* ---- shm.c --------------------------------------------------------------- */
struct shm_table *shm_create(void);
void shm_destroy(struct shm_table *t);
int shm_inherit(struct proc *child, struct proc *parent);
void shm_exit(struct proc *p);
void mappings_release(struct program *g);

/* ---- module.c, calls.c ---------------------------------------------------- */
int program_load(struct proc *p, struct program *g, char *err, size_t size);
void program_unload(struct program *g, int first); /* its instances from `first` on */
bool program_is_current(const struct program *g);
void modules_release(struct program *g);
void program_init(struct program *g);
bool program_has_text(struct program *g, uintptr_t pc);
int program_set_trap(struct program *g, bool set);
void *library_symbol(const char *name); /* of a library that an image has brought into the host */
void *host_library(const char *name);   /* its handle, or NULL and errno */
const char *host_library_error(void);   /* why, once */
bool host_library_is_loaded(const char *name);
/* 1: found, 0: unknown */
int calls_resolve(struct program *g, const char *name, void *copy, void **addr, bool *per_process);
void calls_trace_init(void);
bool calls_library_is_inside(const char *soname);

/* ---- lazy.c: libraries of the host that are loaded at a function's first call ------ */
#define LAZY_STUBS 512 /* known to context_x86_64.S */
bool lazy_library(const char *soname);
/* The lazy library, named by the instance, that `name` would be found in; or NULL. */
const char *lazy_home(const struct instance *in, const char *name);
void *lazy_function(const char *library, const char *name); /* NULL: no room or memory */
/* `copy` gets the value of the library's variable when the library comes.  False: no memory. */
bool lazy_object(struct instance *in, const char *library, const char *name, void *copy,
                 size_t size);
/* Does so; NULL: the rest may have changed.  0 or -errno. */
int lazy_objects(const struct instance *relocated);
void lazy_forget(const struct instance *in);

#endif

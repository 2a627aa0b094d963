/*
 * server.c - a cluster served by this process: creating, starting, running beside, stopping
 *
 * The postmaster is a process of a kernel of its own; its children are that
 * kernel's.  Every refusal that can be known is made before anything in the
 * directory changes.
 */
#include "runtime.h"

#include "../kernel/kernel.h"

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define ENV_MAX 4096

struct server {
    struct kernel *kernel;
    struct install install;
    char dir[PATH_MAX];
    int lock_fd;
    bool made_dir, made_cluster; /* by server_start() */
    pid_t postmaster;
    _Atomic bool started; /* it accepts sessions */
    char *env[ENV_MAX];
    char env_own[4][PATH_MAX + 16];
};

/* ---- what is in the directory? ------------------------------------------------- */

enum found server_look(const char *dir, int major, struct calf_error *err)
{
    char path[PATH_MAX + 32], version[32] = "";
    int empty = directory_empty(dir);
    FILE *f;

    if (empty < 0 && errno == ENOENT)
        return FOUND_NOTHING;
    if (empty < 0) {
        fail(err, CALF_ACCESS, "cannot read the data directory %s: %s", dir, strerror(errno));
        return FOUND_ERROR;
    }
    if (empty || template_unfinished(dir))
        return FOUND_NOTHING;
    if (copy_unfinished(dir)) {
        fail(err, CALF_FOREIGN, "%s is a copy that did not end; make it again, or remove it", dir);
        return FOUND_ERROR;
    }
    snprintf(path, sizeof(path), "%s/PG_VERSION", dir);
    f = fopen(path, "re");
    if (!f || !fgets(version, sizeof(version), f) || atoi(version) <= 0) {
        fail(err, CALF_FOREIGN,
             "%s is not a PostgreSQL data directory (no PG_VERSION) and is not empty; name "
             "another directory",
             dir);
        if (f)
            fclose(f);
        return FOUND_ERROR;
    }
    fclose(f);
    version[strcspn(version, "\n")] = '\0';
    if (atoi(version) != major) {
        if (atoi(version) > major)
            fail(err, CALF_MAJOR,
                 "%s was made by PostgreSQL %s, and this calf has PostgreSQL %d; open it with a "
                 "calf of that version",
                 dir, version, major);
        else
            fail(err, CALF_MAJOR,
                 "%s was made by PostgreSQL %s, and this calf has PostgreSQL %d; \"calf upgrade "
                 "%s\" makes it one of %d",
                 dir, version, major, dir, major);
        return FOUND_ERROR;
    }
    if (access(dir, W_OK) < 0) {
        fail(err, CALF_ACCESS, "the data directory %s is not writable: %s", dir, strerror(errno));
        return FOUND_ERROR;
    }
    return FOUND_CLUSTER;
}

/* ---- processes ------------------------------------------------------------------ */

static int make_kernel(struct server *s, struct calf_error *err)
{
    char bin[PATH_MAX + 8], lib[PATH_MAX + 8];

    snprintf(bin, sizeof(bin), "%s/bin", s->install.root);
    snprintf(lib, sizeof(lib), "%s/lib", s->install.root);
    s->kernel = kernel_create(bin, lib);
    return s->kernel
               ? 0
               : fail(err, CALF_SYSTEM, "cannot prepare to run PostgreSQL: %s", strerror(errno));
}

/* An option of libpq's that is new in some version is none of these, so it does nothing. */
bool environment_adds(const char *name)
{
    static const char *const adds[] = {"APPNAME",  "CLIENTENCODING", "CONNECT_TIMEOUT", "DATESTYLE",
                                       "GEQO",     "LOCALEDIR",      "OPTIONS",         "PASSFILE",
                                       "PASSWORD", "SERVICEFILE",    "SYSCONFDIR",      "TZ"};
    size_t size = strcspn(name, "=");

    if (strncmp(name, "PG", 2) != 0 || name[2] == '_') /* PG_COLOR ... */
        return true;
    for (size_t i = 0; i < sizeof(adds) / sizeof(adds[0]); i++)
        if (strlen(adds[i]) + 2 == size && strncmp(name + 2, adds[i], size - 2) == 0)
            return true;
    return false;
}

/* postmaster.opts, by which pg_ctl starts the server again, names the image, which only is inside.
 * Where the calf command carries it, that is the program to start. */
static void name_command(int dir)
{
    char text[16384], self[PATH_MAX], image[PATH_MAX + 16];
    int fd = openat(dir, "postmaster.opts", O_RDWR | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (size > 0 && realpath("/proc/self/exe", self)) {
        text[size] = '\0';
        snprintf(image, sizeof(image), "%s/bin/postgres", self);
        if (strncmp(text, image, strlen(image)) == 0 && ftruncate(fd, 0) == 0 &&
            lseek(fd, 0, SEEK_SET) == 0)
            dprintf(fd, "%s \"postgres\"%s", self, text + strlen(image));
    }
    if (fd >= 0)
        close(fd);
}

/*
 * A postgres that was not started by server_start(), by calf_run() or by pg_rewind for instance,
 * holds the directory as well from when it makes its lock file.  Where somebody else does, that
 * file usually says so, and PostgreSQL then says it best.  Not so while the other is just starting,
 * and when it is this process, whose pid PostgreSQL would take for its own.
 */
static int lock_file(struct kernel *k, int dir, bool makes)
{
    char path[64];
    struct calf_error err = {CALF_OK, ""};
    struct holder holder;
    pid_t stale;
    int fd;

    if (!makes) {
        name_command(dir);
        return 0;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
    fd = lock_directory(path, &stale, &err);
    if (fd >= 0) {
        k->stale_pid = stale;
        return fd;
    }
    if (err.code != CALF_HELD)
        return -EEXIST;
    return lock_holder(path, &holder, &err) == 1 && holder.pid > 0 && holder.pid != getpid() &&
                   (kill(holder.pid, 0) == 0 || errno == EPERM)
               ? -EEXIST
               : -EBUSY;
}

static void make_environment(struct server *s, const char *superuser)
{
    int n = 0;

    for (char **e = host_environ(); *e && n < ENV_MAX - 8; e++)
        if (environment_adds(*e))
            s->env[n++] = *e;
    snprintf(s->env_own[0], sizeof(s->env_own[0]), "PGHOST=@" INBOX_DIR);
    snprintf(s->env_own[1], sizeof(s->env_own[1]), "PGPORT=" SERVER_PORT);
    snprintf(s->env_own[2], sizeof(s->env_own[2]), "PGUSER=%s", superuser ? superuser : SUPERUSER);
    snprintf(s->env_own[3], sizeof(s->env_own[3]), "PGDATABASE=postgres");
    for (int i = 0; i < 4; i++)
        s->env[n++] = s->env_own[i];
    s->env[n] = NULL;
}

static pid_t start_program(struct server *s, char *const argv[], const int fds[3], bool postmaster,
                           struct calf_error *err)
{
    char path[PATH_MAX + 64];
    char *list[64];
    pid_t pid;
    int n = 0;

    if (strchr(argv[0], '/'))
        return fail(err, CALF_INSTALL, "%s: name one of PostgreSQL's programs", argv[0]);
    snprintf(path, sizeof(path), "%s/bin/%s", s->install.root, argv[0]);
    while (argv[n] && n < 63) {
        list[n] = n ? argv[n] : path;
        n++;
    }
    if (argv[n])
        return fail(err, CALF_MISUSE, "%s: more than 62 arguments", argv[0]);
    list[n] = NULL;
    pid = kernel_spawn(s->kernel, &(struct spawn){.path = path,
                                                  .argv = list,
                                                  .envp = s->env,
                                                  .fds = {fds[0], fds[1], fds[2]},
                                                  .shows_host_pid = postmaster});
    if (pid == -ENOENT)
        return fail(err, CALF_INSTALL, "there is no program %s in %s", argv[0], s->install.root);
    if (pid < 0)
        return fail(err, CALF_SYSTEM, "cannot start %s: %s", path, strerror(-pid));
    return pid;
}

static int open_null(struct calf_error *err)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    return fd < 0 ? fail(err, CALF_SYSTEM, "cannot open /dev/null: %s", strerror(errno)) : fd;
}

/*
 * For a program beside others: memory that is used, and no waiting for a slow disk at the end.
 * They are in the cluster's own file, where its owner sees and changes them.
 */
static int append_defaults(const struct server *s, bool durable, struct calf_error *err)
{
    static const char defaults[] = "\n# calf's defaults for a database beside a program; change "
                                   "them as you like\n"
                                   "shared_buffers = 32MB\n"
                                   "max_wal_size = 256MB\n"
                                   "huge_pages = off\n";
    char path[PATH_MAX + 32];
    int fd, rc;

    snprintf(path, sizeof(path), "%s/postgresql.conf", s->dir);
    fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    rc = fd >= 0 && write(fd, defaults, sizeof(defaults) - 1) == sizeof(defaults) - 1 &&
                 (!durable || fsync(fd) == 0)
             ? 0
             : fail(err, CALF_FAILED, "cannot write to %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

/* A copy of the template, or, where something else is wanted, initdb in this process; what it
 * prints goes to a file in memory and is shown when it fails. */
static int create_cluster(struct server *s, const struct server_options *o, struct calf_error *err)
{
    char encoding[64], locale[256], icu[256];
    char *argv[16] = {"initdb",
                      "-D",
                      s->dir,
                      "-U",
                      o->superuser ? (char *)o->superuser : SUPERUSER,
                      encoding,
                      locale,
                      "--auth-local=trust",
                      "--auth-host=scram-sha-256",
                      "--no-instructions"};
    int null, out, status, rc = 0, n = 10;
    pid_t pid;

    if (s->install.template && !o->encoding && !o->locale && !o->icu_locale && !o->no_checksums &&
        (!o->superuser || strcmp(o->superuser, SUPERUSER) == 0))
        return template_copy(&s->install, s->dir, !o->volatile_data, err);
    if (o->volatile_data)
        argv[n++] = "--no-sync";
    if (!o->no_checksums)
        argv[n++] = "--data-checksums";
    else if (s->install.major >= 18)
        argv[n++] = "--no-data-checksums";
    if (o->icu_locale) {
        snprintf(icu, sizeof(icu), "--icu-locale=%s", o->icu_locale);
        argv[n++] = "--locale-provider=icu";
        argv[n++] = icu;
    }
    null = open_null(err);
    if (null < 0)
        return -1;
    out = memfd_create("initdb", MFD_CLOEXEC);
    if (out < 0) {
        close(null);
        return fail(err, CALF_SYSTEM, "cannot make a file in memory: %s", strerror(errno));
    }
    snprintf(encoding, sizeof(encoding), "--encoding=%s", o->encoding ? o->encoding : "UTF8");
    snprintf(locale, sizeof(locale), "--locale=%s", o->locale ? o->locale : "C.UTF-8");
    pid = start_program(s, argv, (int[]){null, out, out}, false, err);
    status = pid < 0 ? -1 : kernel_wait(s->kernel, pid);

    if (pid < 0) {
        rc = -1;
    } else if (status != 0) {
        char text[900];
        off_t size = lseek(out, 0, SEEK_END), from = size > 800 ? size - 800 : 0;
        ssize_t n = pread(out, text, sizeof(text) - 1, from);

        text[n > 0 ? n : 0] = '\0';
        rc = fail(err, CALF_FAILED, "initdb could not create the cluster in %s:\n%s", s->dir, text);
    }
    close(null);
    close(out);
    return rc < 0 ? rc : append_defaults(s, !o->volatile_data, err);
}

/*
 * What the postmaster says of itself in line 8 of postmaster.pid (pidfile.h).  A file
 * that a dead server left says "ready" as well, maybe with our own pid: it is known by
 * its time of change, which removing it changes too.  1, 0 or -errno.
 */
static int is_ready(const struct server *s, const struct stat *left)
{
    char path[PATH_MAX + 32], line[PATH_MAX];
    bool ready = false;
    struct stat st;
    FILE *f;

    snprintf(path, sizeof(path), "%s/postmaster.pid", s->dir);
    f = fopen(path, "re");
    if (!f && errno != ENOENT)
        return -errno;
    if (f && fstat(fileno(f), &st) == 0 &&
        (st.st_nlink == 0 ||
         (st.st_ino == left->st_ino && st.st_ctim.tv_sec == left->st_ctim.tv_sec &&
          st.st_ctim.tv_nsec == left->st_ctim.tv_nsec))) {
        fclose(f);
        return 0;
    }
    for (int n = 1; f && fgets(line, sizeof(line), f); n++)
        ready = n == 8 && strncmp(line, "ready", 5) == 0;
    if (f)
        fclose(f);
    return ready;
}

static int start_postmaster(struct server *s, const struct server_options *o,
                            struct calf_error *err)
{
    char pidfile[PATH_MAX + 32], why[800];
    struct stat left = {0};
    char *argv[62] = {"postgres", "-D", s->dir, "-k", "@" INBOX_DIR, "-h", "", "-p", SERVER_PORT};
    int n = 7, null = open_null(err), ready;

    if (null < 0)
        return -1;
    for (int i = 0; o->settings && o->settings[i]; i++) {
        if (i == SERVER_SETTINGS_MAX) {
            close(null);
            return fail(err, CALF_MISUSE, "more than %d settings; put them into postgresql.conf",
                        SERVER_SETTINGS_MAX);
        }
        argv[n++] = "-c";
        argv[n++] = (char *)o->settings[i];
    }
    argv[n++] = "-k"; /* after the settings, of which one could lead elsewhere */
    argv[n++] = "@" INBOX_DIR;
    snprintf(pidfile, sizeof(pidfile), "%s/postmaster.pid", s->dir);
    stat(pidfile, &left);
    s->postmaster = start_program(s, argv, (int[]){null, o->log_fd, o->log_fd}, true, err);
    close(null);
    if (s->postmaster < 0)
        return -1;
    while ((ready = is_ready(s, &left)) == 0) {
        struct timespec ms = {0, 1000000};

        if (kernel_is_zombie(s->kernel, s->postmaster)) {
            kernel_wait(s->kernel, s->postmaster);
            s->postmaster = 0;
            return fail(err, CALF_FAILED, "PostgreSQL did not start on %s; its messages say why",
                        s->dir);
        }
        if (kernel_shortage(s->kernel, why, sizeof(why))) /* it might try for ever */
            return fail(err, CALF_SYSTEM,
                        "PostgreSQL could not start one of its processes on %.200s: %s", s->dir,
                        why);
        nanosleep(&ms, NULL);
    }
    return ready > 0 ? 0 : fail(err, CALF_SYSTEM, "cannot read %s: %s", pidfile, strerror(-ready));
}

/* ---- the interface ------------------------------------------------------------------ */

static void release(struct server *s, bool undo)
{
    if (s->kernel)
        kernel_destroy(s->kernel);
    if (undo && s->made_cluster)
        template_undo(s->dir);
    if (undo && s->made_dir)
        rmdir(s->dir);
    unlock_directory(s->lock_fd);
    free(s);
}

void server_release(struct server *s)
{
    if (s)
        release(s, false);
}

void server_undo(struct server *s)
{
    release(s, true);
}

int server_start(const struct install *in, const struct server_options *o, struct server **out,
                 struct calf_error *err)
{
    struct server *s = calloc(1, sizeof(*s));
    const char *extensions = o->extension_path ? o->extension_path : getenv("CALF_EXTENSION_PATH");
    char path[PATH_MAX + 32];
    enum found found;
    pid_t stale;

    *out = NULL;
    if (!s)
        return fail(err, CALF_SYSTEM, "out of memory");
    s->lock_fd = -1;
    s->install = *in;
    found = server_look(o->dir, in->major, err);
    if (found == FOUND_ERROR)
        goto failed;
    if (found == FOUND_NOTHING) {
        s->made_dir = mkdir(o->dir, 0700) == 0;
        if (!s->made_dir && errno != EEXIST) {
            fail(err, CALF_ACCESS, "cannot create the data directory %s: %s", o->dir,
                 strerror(errno));
            goto failed;
        }
    }
    if (!realpath(o->dir, s->dir)) {
        fail(err, CALF_ACCESS, "cannot open %s: %s", o->dir, strerror(errno));
        goto failed;
    }
    s->lock_fd = lock_directory(s->dir, &stale, err);
    if (s->lock_fd >= 0 && found == FOUND_NOTHING) { /* again, now that nobody else can change it */
        template_sweep(s->dir);
        found = server_look(s->dir, in->major, err);
        if (found == FOUND_ERROR)
            goto failed;
    }
    if (s->lock_fd < 0)
        goto failed;
    snprintf(path, sizeof(path), "%s/" LISTEN_FILE, s->dir);
    unlink(path); /* of a host that ended without closing */
    if (make_kernel(s, err) < 0)
        goto failed;
    s->kernel->stale_pid = stale;
    make_environment(s, o->superuser);
    if (extensions && extensions_bind(s->kernel, in, extensions, err) < 0)
        goto failed;
    if (found == FOUND_NOTHING) {
        s->made_cluster = true;
        if (create_cluster(s, o, err) < 0)
            goto failed;
    }
    if ((o->prepare && o->prepare(o->context, s, err) < 0) || start_postmaster(s, o, err) < 0) {
        if (o->prepare)
            o->unprepare(o->context);
        goto failed;
    }
    s->started = true;
    *out = s;
    return 0;
failed:
    server_undo(s);
    return -1;
}

struct server *server_none(const struct install *in, struct calf_error *err)
{
    struct server *s = calloc(1, sizeof(*s));
    const char *extensions = getenv("CALF_EXTENSION_PATH");
    int n = 0;

    if (!s) {
        fail(err, CALF_SYSTEM, "out of memory");
        return NULL;
    }
    s->lock_fd = -1;
    s->install = *in;
    if (make_kernel(s, err) < 0) {
        server_release(s);
        return NULL;
    }
    s->kernel->lock_file = lock_file;
    for (char **e = host_environ(); *e && n < ENV_MAX - 1; e++)
        s->env[n++] = *e;
    if (extensions && extensions_bind(s->kernel, in, extensions, err) < 0) {
        server_release(s);
        return NULL;
    }
    return s;
}

void server_signal(struct server *s, int sig)
{
    kernel_kill(s->kernel, s->postmaster, sig);
}

void server_signal_stop(struct server *s, enum stop_mode mode)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGQUIT};

    server_signal(s, signals[mode]);
}

/*
 * Told to stop while it starts anew after a crash, the postmaster waits for the end of a
 * checkpointer that it does not tell (PM_WAIT_BACKENDS with FatalError, postmaster.c): both would
 * stand for ever. What was committed is in the WAL, so they are ended at once, and the next start
 * recovers.
 */
int server_wait(struct server *s)
{
    int status = kernel_wait_moving(s->kernel, s->postmaster);

    if (status != -ETIMEDOUT)
        return status;
    server_signal_stop(s, STOP_IMMEDIATE);
    return kernel_wait(s->kernel, s->postmaster);
}

bool server_is_alive(struct server *s)
{
    return !kernel_is_zombie(s->kernel, s->postmaster);
}

int server_connect(struct server *s)
{
    return kernel_connect(s->kernel);
}

int server_hand_in(struct server *s, int fd)
{
    return kernel_hand_in(s->kernel, fd);
}

int server_handed_in(struct server *s)
{
    return s->started ? kernel_handed_in(s->kernel) : -EAGAIN;
}

const char *server_directory(const struct server *s)
{
    return s->dir;
}

pid_t server_run(struct server *s, char *const argv[], const int fds[3], struct calf_error *err)
{
    return start_program(s, argv, fds, s->kernel->lock_file && strcmp(argv[0], "postgres") == 0,
                         err);
}

int server_run_wait(struct server *s, pid_t pid)
{
    return kernel_wait(s->kernel, pid);
}

void server_run_kill(struct server *s, pid_t pid, int sig)
{
    kernel_kill(s->kernel, pid, sig);
}

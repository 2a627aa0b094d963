/*
 * main.c - the `calf` command
 *
 * Signals are blocked in every thread and taken by sigwait() here, so that no
 * handler is needed: the first SIGINT or SIGTERM stops the server, the second
 * stops it at once.  Usage errors exit 2, refusals 1.
 */
#include "../src/runtime/runtime.h"

#include <getopt.h>
#include <pthread.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "calf: PostgreSQL inside one process\n"
    "\n"
    "  calf serve DIR [--socket SOCKDIR] [-c name=value ...]\n"
    "        serve the data directory DIR on a Unix socket until Ctrl-C\n"
    "  calf psql DIR [psql's options]\n"
    "        open DIR in this process and give the psql prompt\n"
    "  calf run DIR PROGRAM [its options]\n"
    "        open DIR in this process and run one of PostgreSQL's programs on it,\n"
    "        for instance: calf run ./demo pg_dump --schema-only\n"
    "\n"
    "DIR is created, with an empty database, when it does not exist.\n"
    "  --log FILE   where PostgreSQL's messages go (serve: standard error; else nowhere)\n"
    "  -h, --help   this text\n"
    "  --version    calf's version and PostgreSQL's\n";

struct request {
    struct server_options server;
    const char *settings[SERVER_SETTINGS_MAX + 1];
    const char *log;
    bool quiet; /* PostgreSQL's messages are not for the terminal */
};

static int misuse(const char *what, const char *arg)
{
    fprintf(stderr, "calf: %s%s; \"calf --help\" says how\n", what, arg);
    return 2;
}

static int refuse(const struct calf_error *err)
{
    fprintf(stderr, "calf: %s\n", err->text);
    return 1;
}

static void block_signals(sigset_t *set)
{
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};

    sigemptyset(set);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        sigaddset(set, ours[i]);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int start(struct request *r, struct server **s, struct calf_error *err)
{
    struct install in;
    int small = -1, rc;

    if (install_find(&in, err) < 0)
        return -1;
    if (r->log) {
        FILE *f = fopen(r->log, "ae");

        if (!f)
            return fail(err, CALF_ACCESS, "cannot open the log file %s", r->log);
        r->server.log_fd = fileno(f);
    } else if (r->quiet) {
        r->server.log_fd = small = log_memory(err);
        if (small < 0)
            return -1;
    }
    rc = server_start(&in, &r->server, s, err);
    if (rc < 0 && small >= 0) {
        char text[LOG_SIZE + 1];

        log_text(small, text, sizeof(text));
        fputs(text, stderr);
    }
    return rc;
}

/* ---- serve --------------------------------------------------------------------- */

struct waiter {
    struct server *server;
    pthread_t main;
    int code;
    _Atomic bool done;
};

static void *wait_for_server(void *arg)
{
    struct waiter *w = arg;

    w->code = server_wait(w->server);
    w->done = true;
    pthread_kill(w->main, SIGTERM); /* sigwait() below returns */
    return w;
}

static int serve(struct request *r)
{
    struct waiter w = {.main = pthread_self()};
    struct calf_error err;
    sigset_t set;
    pthread_t thread;
    int sig, stops = 0;

    block_signals(&set);
    if (start(r, &w.server, &err) < 0)
        return refuse(&err);
    printf("calf: serving %s; connect with: psql -h %s -U postgres\n", r->server.dir,
           server_socket_dir(w.server));
    fflush(stdout);
    if (pthread_create(&thread, NULL, wait_for_server, &w) != 0)
        return fail(&err, CALF_SYSTEM, "no thread"), refuse(&err);
    while (sigwait(&set, &sig) == 0 && !w.done) {
        if (sig == SIGHUP)
            server_reload(w.server);
        else if (sig == SIGINT || sig == SIGTERM || sig == SIGQUIT)
            server_signal_stop(w.server, stops++ ? STOP_IMMEDIATE : STOP_FAST);
    }
    pthread_join(thread, NULL);
    return w.code;
}

/* ---- programs beside the server --------------------------------------------------- */

struct runner {
    struct server *server;
    pid_t pid;
    pthread_t main;
    int status;
    _Atomic bool done;
};

static void *wait_for_program(void *arg)
{
    struct runner *r = arg;

    r->status = server_run_wait(r->server, r->pid);
    r->done = true;
    pthread_kill(r->main, SIGTERM);
    return r;
}

static int run(struct request *q, char *const argv[])
{
    struct runner r = {.main = pthread_self()};
    struct calf_error err;
    sigset_t set;
    pthread_t thread;
    int sig, stops = 0;

    block_signals(&set);
    if (start(q, &r.server, &err) < 0)
        return refuse(&err);
    r.pid = server_run(r.server, argv, (int[]){0, 1, 2}, &err);
    if (r.pid < 0) {
        r.status = 1 << 8;
        refuse(&err);
    } else if (pthread_create(&thread, NULL, wait_for_program, &r) == 0) {
        while (sigwait(&set, &sig) == 0 && !r.done) {
            server_run_kill(r.server, r.pid, sig);
            if (sig != SIGINT && sig != SIGWINCH && stops++) {
                fprintf(stderr, "calf: stopped at once; the database recovers when it is opened\n");
                _exit(128 + sig);
            }
        }
        pthread_join(thread, NULL);
    }
    server_signal_stop(r.server, STOP_FAST);
    server_wait(r.server);
    return WIFEXITED(r.status) ? WEXITSTATUS(r.status) : 128 + WTERMSIG(r.status);
}

/* ---- the command line --------------------------------------------------------------- */

int main(int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"log", required_argument, NULL, 'l'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {0}};
    struct request r = {.server.log_fd = 2};
    const char *command = argc > 1 ? argv[1] : NULL;
    bool serves;
    int c, n = 0;

    if (!command)
        return fputs(usage, stderr), 2;
    if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0)
        return fputs(usage, stdout), 0;
    if (strcmp(command, "--version") == 0)
        return printf("calf %s with PostgreSQL %d\n", CALF_VERSION, CALF_PG_MAJOR), 0;
    serves = strcmp(command, "serve") == 0;
    if (!serves && strcmp(command, "psql") != 0 && strcmp(command, "run") != 0)
        return misuse("there is no command ", command);
    argv++, argc--;
    r.server.settings = r.settings;
    opterr = 0;
    /* "+": what follows the directory is the program's */
    while ((c = getopt_long(argc, argv, serves ? "c:h" : "+c:h", options, NULL)) != -1) {
        switch (c) {
        case 's': r.server.socket_dir = optarg; break;
        case 'l': r.log = optarg; break;
        case 'h': return fputs(usage, stdout), 0;
        case 'v': return printf("calf %s with PostgreSQL %d\n", CALF_VERSION, CALF_PG_MAJOR), 0;
        case 'c':
            if (n == SERVER_SETTINGS_MAX || !strchr(optarg, '='))
                return misuse("-c wants name=value, 23 at most: ", optarg);
            r.settings[n++] = optarg;
            break;
        default: return misuse("unknown option or missing value: ", argv[optind - 1]);
        }
    }
    if (optind == argc)
        return misuse("name the data directory after ", command);
    r.server.dir = argv[optind++];
    if (serves)
        return optind < argc ? misuse("unexpected argument ", argv[optind]) : serve(&r);
    r.quiet = true;
    if (strcmp(command, "psql") == 0)
        argv[--optind] = "psql";
    else if (optind == argc)
        return misuse("name the program after the directory", "");
    return run(&r, argv + optind);
}

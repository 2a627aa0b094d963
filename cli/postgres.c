/*
 * postgres.c - `calf postgres`, and the same when the command is called by that name: the server's
 * own command line
 *
 * What pg_ctl, systemd units and test harnesses start as `postgres` is PostgreSQL's postmaster in
 * this process: it parses the arguments, listens, and makes postmaster.pid and its sockets as ever.
 *
 * The rule that matters: every signal that a postmaster knows reaches it, also one that comes while
 * it is being loaded.
 */
#include "cli.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* What stops a server goes to it again and again, because it may have only been about to begin; a
 * postmaster that is stopping takes no notice.  Without a server SIGINT cancels a query, once. */
static void *pass_signals(void *serves)
{
    struct timespec step = {0, 200000000};
    sigset_t set;
    int stop = 0;

    pthread_sigmask(SIG_BLOCK, NULL, &set);
    for (;;) {
        int sig = stop ? sigtimedwait(&set, NULL, &step) : sigwaitinfo(&set, NULL);

        if (serves && (sig == SIGTERM || sig == SIGINT || sig == SIGQUIT))
            stop = sig;
        if (sig > 0 || stop)
            calf_run_signal(NULL, sig > 0 ? sig : stop, NULL);
    }
    return NULL;
}

int command_postgres(struct call *c)
{
    bool serves = c->words[0] && strncmp(c->words[0], "--single", 8) != 0;
    struct calf_error err;
    pthread_t thread;
    int code, rc;

    block_signals();
    signal(SIGHUP, SIG_DFL); /* nohup's */
    signal(SIGUSR2, SIG_DFL);
    raise_descriptors();
    rc = pthread_create(&thread, NULL, pass_signals, serves ? c : NULL);
    if (rc != 0)
        return refuse("there is no thread for signals: %s", strerror(rc));
    c->words[-1] = "postgres"; /* what stood before the words */
    return calf_run(NULL, c->words - 1, NULL, &code, &err) == CALF_OK ? code : refuse_error(&err);
}

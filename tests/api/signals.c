/*
 * signals.c - the host's own handlers for the signals that calf takes, beside a session
 *
 * usage: signals DIR [SIGNAL]     with SIGNAL: send it to ourselves with a database open
 */
#include "api_test.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>

static sigjmp_buf back;
static sigset_t inside; /* the mask in on_fault() */
static volatile int stack_faults;

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    CHECK(sig == SIGSEGV && info->si_addr == NULL);
    sigprocmask(SIG_BLOCK, NULL, &inside);
    siglongjmp(back, 1);
}

static void nothing(int sig)
{
    (void)sig;
}

static void on_stack_fault(int sig)
{
    stack_faults += sig == SIGSTKFLT;
}

static int ended_by(const char *dir, int sig)
{
    char number[8];
    int status;
    pid_t child;

    snprintf(number, sizeof(number), "%d", sig);
    child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "signals", dir, number, NULL);
        _exit(9);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int main(int argc, char **argv)
{
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, now;
    char data[4096];
    calf_db *db;
    PGconn *conn;

    CHECK(argc >= 2);
    snprintf(data, sizeof(data), "%s/data", argv[1]);
    if (argc == 3) {
        CHECK(calf_open(data, NULL, &db, &err) == CALF_OK);
        kill(getpid(), atoi(argv[2]));
        return 0; /* Linux gives it to the main thread, at once */
    }
    sigaddset(&fault.sa_mask, SIGUSR1);
    sigaction(SIGSEGV, &fault, NULL);
    for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++) /* none is free for calf */
        signal(sig, nothing);
    signal(SIGSTKFLT, on_stack_fault);
    CHECK(calf_open(data, NULL, &db, &err) == CALF_OK);
    conn = connect_to(calf_dsn(db));

    /* a fault of ours comes to our handler, under the mask that it asked for */
    if (sigsetjmp(back, 1) == 0) {
        *(volatile int *)NULL = 1;
        CHECK(false);
    }
    CHECK(sigismember(&inside, SIGUSR1) && sigismember(&inside, SIGSEGV));
    CHECK(!sigismember(&inside, SIGUSR2));
    sigprocmask(SIG_BLOCK, NULL, &inside);
    CHECK(!sigismember(&inside, SIGUSR1) && !sigismember(&inside, SIGSEGV));

    /* a session that computes or waits is still kicked */
    CHECK(says(conn, "set statement_timeout = 50; select pg_sleep(1000)",
               "error: ERROR:  canceling statement due to statement timeout\n"));

    /* also where the system queues no signal any more; what replaces it there is the host's as well
     */
    CHECK(setrlimit(RLIMIT_SIGPENDING, &(struct rlimit){0, 0}) == 0);
    CHECK(says(conn, "set statement_timeout = 50; select pg_sleep(1000)",
               "error: ERROR:  canceling statement due to statement timeout\n"));
    CHECK(says(conn, "set statement_timeout = 50; select count(*) from generate_series(1, 1e9)",
               "error: ERROR:  canceling statement due to statement timeout\n"));
    raise(SIGSTKFLT);
    CHECK(stack_faults == 1);

    /* a host that wants to know of no child takes no exit status from PostgreSQL's commands */
    signal(SIGCHLD, SIG_IGN);
    CHECK(strstr(ask(conn, "copy (select 1) to program 'cat >/dev/null; exit 3'"), "exit code 3"));
    signal(SIGCHLD, SIG_DFL);
    PQfinish(conn);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);

    /* and all is the host's again */
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == on_fault);
    CHECK(sigaction(SIGSTKFLT, NULL, &now) == 0 && now.sa_handler == on_stack_fault);
    for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
        CHECK(sigaction(sig, NULL, &now) == 0 && now.sa_handler == nothing);

    /* where the host has no handler, the signal does what it always does */
    CHECK(ended_by(argv[1], SIGSEGV) == SIGSEGV);
    CHECK(ended_by(argv[1], SIGABRT) == SIGABRT);
    signal(SIGABRT, SIG_IGN); /* inherited */
    CHECK(ended_by(argv[1], SIGABRT) == 0);
    return 0;
}

/* exec keeps the mask, the pending signals and what is ignored, and resets handlers to default. */
#include "os.h"

static volatile sig_atomic_t count;

static void note(int sig)
{
    (void)sig;
    count++;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct sigaction sa;
    sigset_t set, pending;

    if (is(role, "") || is(role, "first")) {
        on_signal(SIGUSR1, note, 0);
        on_signal(SIGHUP, SIG_IGN, 0);
        mask_signal(SIG_BLOCK, SIGUSR2);
        mask_signal(SIG_BLOCK, SIGTERM);
        CHECK(kill(getpid(), SIGUSR2) == 0);
    }
    if (is(role, "")) {
        CHECK(reap_exit(spawn_self("forked")) == 4);
        CHECK(reap_exit(spawn_self("first")) == 4);
        return 0;
    }
    if (is(role, "first")) { /* exec without fork: what is pending stays pending */
        char *again[] = {os_self, "execed", NULL};

        execv(os_self, again);
        return 1;
    }
    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && sigpending(&pending) == 0);
    CHECK(sigismember(&set, SIGUSR2) == 1 && sigismember(&set, SIGTERM) == 1);
    CHECK(sigismember(&set, SIGUSR1) == 0);
    CHECK(sigaction(SIGUSR1, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGHUP, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN);
    CHECK(sigaction(SIGINT, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL);
    CHECK(sigismember(&pending, SIGUSR2) == is(role, "execed")); /* fork clears, exec keeps */
    on_signal(SIGUSR2, note, 0);
    mask_signal(SIG_UNBLOCK, SIGUSR2);
    CHECK(count == is(role, "execed"));
    return 4;
}

/* sigwait() takes a blocked signal off the pending ones, whether it came before or comes later. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    sigset_t set, pending;
    int sig;

    if (is(role, "sender"))
        return kill(getppid(), SIGTERM);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(kill(getpid(), SIGUSR1) == 0);
    CHECK(sigwait(&set, &sig) == 0 && sig == SIGUSR1);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1) == 0);
    pid_t pid = spawn_self("sender");
    CHECK(sigwait(&set, &sig) == 0 && sig == SIGTERM);
    CHECK(reap_exit(pid) == 0);
    return 0;
}

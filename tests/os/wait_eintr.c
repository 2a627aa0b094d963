/* A handler without SA_RESTART ends waitpid() with EINTR; with SA_RESTART the wait goes on. */
#include "os.h"

static volatile sig_atomic_t handled;

static void count(int sig)
{
    handled += sig == SIGUSR1;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    pid_t pid;
    int status;

    if (is(role, "nag")) /* repeat: the first may come before the wait */
        for (;;) {
            kill(getppid(), SIGUSR1);
            nap_ms(1);
        }
    if (is(role, "few")) {
        for (int i = 0; i < 20; i++) {
            kill(getppid(), SIGUSR1);
            nap_ms(1);
        }
        return 3;
    }
    on_signal(SIGUSR1, count, 0);
    pid = spawn_self("nag");
    CHECK(waitpid(pid, &status, 0) == -1 && errno == EINTR && handled > 0);
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(reap(pid) == SIGKILL);

    on_signal(SIGUSR1, count, SA_RESTART);
    handled = 0;
    pid = spawn_self("few");
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3 && handled > 0);
    return 0;
}

/* Signals that arrive while a process forks and execs are handled by it, never by the child. */
#include "os.h"
#include <sys/time.h>

static volatile sig_atomic_t handled;
static pid_t me;

static void count(int sig)
{
    (void)sig;
    CHECK(getpid() == me);
    handled++;
}

int main(int argc, char **argv)
{
    struct itimerval often = {.it_value = {0, 500}, .it_interval = {0, 500}};
    const char *role = os_role(argc, argv);

    if (is(role, "child"))
        return 3;
    me = getpid();
    on_signal(SIGALRM, count, SA_RESTART);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (int i = 0; i < 100 || handled < 20; i++) {
        pid_t pid = spawn_self("child");

        kill(getpid(), SIGALRM);
        CHECK(reap_exit(pid) == 3);
    }
    return 0;
}

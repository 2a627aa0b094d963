/* A signal handler may fork, exec and wait, as the postmaster's did up to PostgreSQL 15. */
#include "os.h"
#include <sys/select.h>

static volatile sig_atomic_t started, ended;

static void start(int sig)
{
    int saved = errno;

    (void)sig;
    spawn_self("child");
    started++;
    errno = saved;
}

static void reaper(int sig)
{
    int status, saved = errno;

    (void)sig;
    while (waitpid(-1, &status, WNOHANG) > 0)
        if (WIFEXITED(status) && WEXITSTATUS(status) == 6 && ++ended < 10)
            start(0); /* a crashed child is replaced */
    errno = saved;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);

    if (is(role, "child"))
        return 6;
    on_signal(SIGUSR1, start, 0);
    on_signal(SIGCHLD, reaper, SA_RESTART);
    CHECK(kill(getpid(), SIGUSR1) == 0 && started >= 1);
    while (ended < 10) {
        struct timeval tv = {.tv_sec = 0, .tv_usec = 1000};

        CHECK(select(0, NULL, NULL, NULL, &tv) == 0 || errno == EINTR);
    }
    CHECK(started == 10 && waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    return 0;
}

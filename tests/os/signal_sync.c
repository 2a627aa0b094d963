/* A signal a process sends to itself is handled before kill() or raise() returns. */
#include "os.h"

static volatile sig_atomic_t seen[65];

static void note(int sig)
{
    seen[sig]++;
    errno = 1;
}

int main(int argc, char **argv)
{
    static const int signals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM,
                                  SIGALRM, SIGCHLD, SIGURG,  SIGPIPE, SIGSEGV, SIGFPE};

    os_role(argc, argv);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        int sig = signals[i];

        on_signal(sig, note, SA_RESTART);
        CHECK(kill(getpid(), sig) == 0 && seen[sig] == 1);
        CHECK(raise(sig) == 0 && seen[sig] == 2);
        for (int n = 3; n < 100; n++)
            CHECK(kill(getpid(), sig) == 0 && seen[sig] == n);
    }
    return 0;
}

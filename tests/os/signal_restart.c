/* A handler without SA_RESTART ends a blocked read with EINTR; with SA_RESTART it goes on. */
#include "os.h"

static volatile sig_atomic_t handled;

static void count(int sig)
{
    handled += sig == SIGUSR1;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int ends[2];
    char byte;
    pid_t pid;

    if (is(role, "nag")) /* repeat: the first may come before the read */
        for (;;) {
            kill(getppid(), SIGUSR1);
            nap_ms(1);
        }
    if (is(role, "nag, then write")) {
        for (int i = 0; i < 20; i++) {
            kill(getppid(), SIGUSR1);
            nap_ms(1);
        }
        CHECK(write(atoi(argv[2]), "z", 1) == 1);
        return 0;
    }
    CHECK(pipe(ends) == 0);
    on_signal(SIGUSR1, count, 0);
    pid = spawn_self("nag");
    CHECK(read(ends[0], &byte, 1) == -1 && errno == EINTR && handled > 0);
    CHECK(kill(pid, SIGKILL) == 0 && reap(pid) == SIGKILL);

    on_signal(SIGUSR1, count, SA_RESTART);
    handled = 0;
    pid = spawn_self("nag, then write", num(ends[1]));
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'z' && handled > 0);
    CHECK(reap_exit(pid) == 0);
    return 0;
}

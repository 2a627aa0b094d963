/* A blocked signal stays pending, once however often it was sent, and comes with the unblocking. */
#include "os.h"

static volatile sig_atomic_t usr1, usr2;

static void note(int sig)
{
    *(sig == SIGUSR1 ? &usr1 : &usr2) += 1;
}

int main(int argc, char **argv)
{
    sigset_t all, old, pending;

    os_role(argc, argv);
    on_signal(SIGUSR1, note, 0);
    on_signal(SIGUSR2, note, 0);
    CHECK(sigfillset(&all) == 0);
    CHECK(sigprocmask(SIG_SETMASK, &all, &old) == 0);
    CHECK(sigismember(&old, SIGUSR1) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(kill(getpid(), SIGUSR1) == 0 && kill(getpid(), SIGUSR2) == 0);
    CHECK(usr1 == 0 && usr2 == 0);
    CHECK(sigpending(&pending) == 0);
    CHECK(sigismember(&pending, SIGUSR1) == 1 && sigismember(&pending, SIGUSR2) == 1);
    CHECK(sigismember(&pending, SIGTERM) == 0);
    mask_signal(SIG_UNBLOCK, SIGUSR2);
    CHECK(usr1 == 0 && usr2 == 1);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR2) == 0);
    CHECK(sigprocmask(SIG_SETMASK, &old, &all) == 0);
    CHECK(usr1 == 1 && usr2 == 1);
    CHECK(sigismember(&all, SIGUSR1) == 1 && sigismember(&all, SIGUSR2) == 0);
    CHECK(sigismember(&all, SIGKILL) == 0); /* cannot be blocked */
    CHECK(sigprocmask(SIG_BLOCK, NULL, &all) == 0 && sigismember(&all, SIGUSR1) == 0);
    return 0;
}

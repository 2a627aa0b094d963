/* While a handler runs, its own signal and sa_mask are blocked, unless SA_NODEFER; SA_RESETHAND
 * restores the default first; afterwards the mask is as before. */
#include "os.h"

static volatile sig_atomic_t left, depth, deepest, usr2, usr2_inside;

/* Sends itself its own signal `left` times, and then SIGUSR2. */
static void outer(int sig)
{
    if (++depth > deepest)
        deepest = depth;
    if (left-- > 0)
        kill(getpid(), sig);
    kill(getpid(), SIGUSR2);
    usr2_inside += usr2;
    depth--;
}

static void inner(int sig)
{
    (void)sig;
    usr2++;
}

static void run(int flags, int masked, int times)
{
    struct sigaction sa = {.sa_handler = outer, .sa_flags = flags};

    sigemptyset(&sa.sa_mask);
    if (masked)
        sigaddset(&sa.sa_mask, masked);
    CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
    depth = deepest = usr2 = usr2_inside = 0;
    left = times;
    CHECK(kill(getpid(), SIGUSR1) == 0);
}

int main(int argc, char **argv)
{
    struct sigaction sa;
    sigset_t set;

    os_role(argc, argv);
    on_signal(SIGUSR2, inner, 0);
    run(SA_NODEFER, 0, 2);
    CHECK(deepest == 3 && usr2 == 3 && usr2_inside == 1 + 2 + 3);
    run(0, 0, 2); /* one after the other */
    CHECK(deepest == 1 && usr2 == 3 && usr2_inside == 1 + 2 + 3);
    run(0, SIGUSR2, 0);
    CHECK(deepest == 1 && usr2 == 1 && usr2_inside == 0);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
    CHECK(sigismember(&set, SIGUSR1) == 0 && sigismember(&set, SIGUSR2) == 0);
    run(SA_RESETHAND, 0, 0);
    CHECK(deepest == 1 && usr2 == 1);
    CHECK(sigaction(SIGUSR1, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL);
    return 0;
}

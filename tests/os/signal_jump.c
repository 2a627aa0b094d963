/* siglongjmp() out of a handler restores the mask that sigsetjmp() saved, and only if it did. */
#include "os.h"
#include <setjmp.h>

static sigjmp_buf out;
static volatile sig_atomic_t times;

static void leave(int sig)
{
    (void)sig;
    times++;
    siglongjmp(out, times);
}

static bool is_blocked(int sig)
{
    sigset_t set;

    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0);
    return sigismember(&set, sig) == 1;
}

int main(int argc, char **argv)
{
    volatile int kept = 0;

    os_role(argc, argv);
    on_signal(SIGUSR1, leave, 0);
    if (sigsetjmp(out, 1) < 3) { /* each jump out makes the signal possible again */
        kept++;
        kill(getpid(), SIGUSR1);
        CHECK(false);
    }
    CHECK(times == 3 && kept == 3 && !is_blocked(SIGUSR1));
    if (sigsetjmp(out, 0) == 0) {
        kill(getpid(), SIGUSR1);
        CHECK(false);
    }
    CHECK(times == 4 && is_blocked(SIGUSR1));
    mask_signal(SIG_UNBLOCK, SIGUSR1);
    for (volatile int i = 0; i < 10000; i++)
        if (sigsetjmp(out, 1) == 0)
            siglongjmp(out, 1);
    return 0;
}

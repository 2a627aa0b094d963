/* By default SIGCHLD, SIGURG and SIGWINCH do nothing; an ignored signal does nothing and is
 * forgotten, even when it was pending. */
#include "os.h"

static volatile sig_atomic_t count;

static void note(int sig)
{
    (void)sig;
    count++;
}

int main(int argc, char **argv)
{
    struct sigaction old;

    os_role(argc, argv);
    CHECK(sigaction(SIGURG, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
    CHECK(kill(getpid(), SIGCHLD) == 0);
    CHECK(kill(getpid(), SIGURG) == 0);
    CHECK(kill(getpid(), SIGWINCH) == 0);

    on_signal(SIGTERM, SIG_IGN, 0);
    CHECK(kill(getpid(), SIGTERM) == 0);
    mask_signal(SIG_BLOCK, SIGTERM);
    on_signal(SIGTERM, note, 0);
    CHECK(sigaction(SIGTERM, NULL, &old) == 0 && old.sa_handler == note);
    CHECK(kill(getpid(), SIGTERM) == 0);
    on_signal(SIGTERM, SIG_IGN, 0); /* throws the pending one away */
    on_signal(SIGTERM, note, 0);
    mask_signal(SIG_UNBLOCK, SIGTERM);
    CHECK(count == 0);
    CHECK(kill(getpid(), SIGTERM) == 0 && count == 1);
    return 0;
}

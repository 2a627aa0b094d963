/* kill() reaches a zombie without effect, says ESRCH for who is gone, and SIGKILL needs no leave.
 */
#include "os.h"

static volatile sig_atomic_t ended;

static void note(int sig)
{
    ended = sig;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct sigaction sa = {.sa_handler = SIG_IGN};
    int ends[2];
    char byte;
    pid_t pid;

    if (is(role, "short"))
        return 0;
    if (is(role, "stubborn")) {
        sigset_t all;

        sigfillset(&all);
        CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
        CHECK(write(atoi(argv[2]), "r", 1) == 1);
        for (;;)
            nap_ms(1000);
    }
    on_signal(SIGCHLD, note, SA_RESTART);
    pid = spawn_self("short");
    AWAIT(ended);
    CHECK(kill(pid, 0) == 0 && kill(pid, SIGTERM) == 0 && kill(pid, SIGKILL) == 0);
    CHECK(reap(pid) == 0);
    CHECK(kill(pid, 0) == -1 && errno == ESRCH);

    CHECK(sigaction(SIGKILL, &sa, NULL) == -1 && errno == EINVAL);
    CHECK(sigaction(SIGSTOP, &sa, NULL) == -1 && errno == EINVAL);
    CHECK(kill(getpid(), 65) == -1 && errno == EINVAL);
    CHECK(kill(getpid(), 0) == 0);
    CHECK(pipe(ends) == 0);
    pid = spawn_self("stubborn", num(ends[1]));
    CHECK(read(ends[0], &byte, 1) == 1);
    CHECK(kill(pid, SIGTERM) == 0 && kill(pid, SIGKILL) == 0);
    CHECK(reap(pid) == SIGKILL);
    return 0;
}

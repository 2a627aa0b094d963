/* A forked child that moves its descriptors, directory, umask, handlers, mask and session before
 * it runs another program leaves the parent's alone. */
#include "os.h"

static void handler(int sig)
{
    (void)sig;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct sigaction sa;
    sigset_t set;
    pid_t pid;
    char before[4096], after[4096];

    if (is(role, "child")) {
        CHECK(umask(0) == 077);
        CHECK(getcwd(after, sizeof(after)) && is(after, "/"));
        CHECK(sigaction(SIGUSR1, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN);
        CHECK(sigprocmask(SIG_SETMASK, NULL, &set) == 0 && sigismember(&set, SIGUSR2) == 1);
        CHECK(setsid() == -1);
        CHECK(write(2, "to the file", 11) == 11);
        CHECK(fcntl(atoi(argv[2]), F_GETFD) == -1 && errno == EBADF);
        return 8;
    }
    umask(022);
    on_signal(SIGUSR1, handler, 0);
    CHECK(getcwd(before, sizeof(before)) == before);
    int kept = open("kept", O_RDWR | O_CREAT, 0600);
    int other = open("other", O_RDWR | O_CREAT, 0600);
    char *args[] = {os_self, "child", num(kept), NULL};
    pid = fork();
    if (pid == 0) {
        dup2(other, 2);
        close(kept);
        chdir("/") == 0 ? (void)0 : _exit(99);
        umask(077);
        on_signal(SIGUSR1, SIG_IGN, 0);
        mask_signal(SIG_BLOCK, SIGUSR2);
        setsid();
        execv(args[0], args);
        _exit(127);
    }
    CHECK(pid > 0);
    CHECK(write(kept, "x", 1) == 1);
    CHECK(umask(022) == 022);
    CHECK(getcwd(after, sizeof(after)) && is(before, after));
    CHECK(sigaction(SIGUSR1, NULL, &sa) == 0 && sa.sa_handler == handler);
    CHECK(sigprocmask(SIG_SETMASK, NULL, &set) == 0 && sigismember(&set, SIGUSR2) == 0);
    CHECK(reap_exit(pid) == 8);
    CHECK(is(get_file("other"), "to the file"));
    return 0;
}

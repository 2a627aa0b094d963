/* prctl(PR_SET_PDEATHSIG) brings its signal when the parent dies. */
#include "os.h"
#include <sys/prctl.h>

static volatile sig_atomic_t told;

static void note(int sig)
{
    told = sig;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int up[2], down[2];
    char byte;

    if (is(role, "watcher")) {
        on_signal(SIGUSR1, note, 0);
        CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
        CHECK(getppid() == atoi(argv[2]) && told == 0);
        CHECK(write(atoi(argv[3]), "r", 1) == 1);
        AWAIT(told == SIGUSR1);
        CHECK(getppid() != atoi(argv[2]));
        CHECK(write(atoi(argv[3]), "t", 1) == 1);
        return 0;
    }
    if (is(role, "parent")) {
        spawn_self("watcher", num(getpid()), argv[2]);
        CHECK(read(atoi(argv[3]), &byte, 1) == 1); /* told to go: crash */
        kill(getpid(), SIGKILL);
    }
    CHECK(pipe(up) == 0 && pipe(down) == 0);
    pid_t pid = spawn_self("parent", num(up[1]), num(down[0]));
    CHECK(close(up[1]) == 0);
    CHECK(read(up[0], &byte, 1) == 1 && byte == 'r');
    CHECK(write(down[1], "g", 1) == 1);
    CHECK(reap(pid) == SIGKILL);
    CHECK(read(up[0], &byte, 1) == 1 && byte == 't');
    CHECK(read(up[0], &byte, 1) == 0);
    return 0;
}

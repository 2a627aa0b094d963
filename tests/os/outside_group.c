/* A signal to the group of a session reaches what a program of the system has started as well. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char byte;
    int ends[2];
    pid_t leader;

    if (is(role, "leader")) {
        CHECK(setsid() == getpid() && dup2(atoi(argv[2]), 1) == 1);
        CHECK(system("(echo; sleep 3600); :") >= 0); /* it is killed meanwhile */
        return 0;
    }
    CHECK(pipe(ends) == 0 && fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0);
    leader = spawn_self("leader", num(ends[1]));
    CHECK(close(ends[1]) == 0);
    CHECK(read(ends[0], &byte, 1) == 1);
    CHECK(kill(-leader, SIGTERM) == 0);
    CHECK(read(ends[0], &byte, 1) == 0); /* nobody holds the pipe any more */
    CHECK(reap(leader) == SIGTERM);
    return 0;
}

/* fork() tells the parent the pid that the child sees before and after exec. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    pid_t pids[2], me = getpid();
    int ends[2];

    if (is(role, "child")) {
        pids[0] = getpid();
        pids[1] = getppid();
        return write(atoi(argv[2]), pids, sizeof(pids)) != sizeof(pids);
    }
    CHECK(pipe(ends) == 0);
    pid_t pid = spawn_self("child", num(ends[1]));
    CHECK(read(ends[0], pids, sizeof(pids)) == sizeof(pids));
    CHECK(pids[0] == pid && pids[1] == me && reap_exit(pid) == 0);
    pid = fork();
    if (pid == 0) {
        pids[0] = getpid();
        pids[1] = getppid();
        _exit(write(ends[1], pids, sizeof(pids)) != sizeof(pids));
    }
    CHECK(read(ends[0], pids, sizeof(pids)) == sizeof(pids));
    CHECK(pids[0] == pid && pids[1] == me && reap_exit(pid) == 0);
    CHECK(getpid() == me);
    return 0;
}

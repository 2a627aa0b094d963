/* waitpid(-1) returns every child exactly once, then ECHILD; WNOHANG returns 0 while all run. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    enum { CHILDREN = 20 };
    pid_t pids[CHILDREN];
    int hold[2], status;
    char byte;

    if (is(role, "child")) {
        CHECK(close(atoi(argv[3])) == 0);
        CHECK(read(atoi(argv[2]), &byte, 1) == 0); /* until the parent lets go */
        return atoi(argv[4]);
    }
    CHECK(waitpid(-1, &status, 0) == -1 && errno == ECHILD);
    CHECK(pipe(hold) == 0);
    for (int i = 0; i < CHILDREN; i++)
        pids[i] = spawn_self("child", num(hold[0]), num(hold[1]), num(i));
    CHECK(waitpid(-1, &status, WNOHANG) == 0);
    CHECK(waitpid(pids[3], &status, WNOHANG) == 0);
    CHECK(waitpid(getpid(), &status, 0) == -1 && errno == ECHILD);
    CHECK(close(hold[1]) == 0);
    for (int n = 0; n < CHILDREN; n++) {
        pid_t pid = waitpid(-1, &status, 0);
        int i = 0;

        while (i < CHILDREN && pids[i] != pid)
            i++;
        CHECK(i < CHILDREN && WIFEXITED(status) && WEXITSTATUS(status) == i);
        pids[i] = 0;
    }
    CHECK(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD);
    CHECK(wait(&status) == -1 && errno == ECHILD);
    return 0;
}

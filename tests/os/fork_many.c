/* Fifty children alive at once have distinct pids, and two hundred in a row come and go. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    enum { MANY = 50 };
    pid_t pids[MANY];
    int hold[2];

    if (is(role, "held")) {
        CHECK(close(atoi(argv[3])) == 0);
        CHECK(read(atoi(argv[2]), &(char){0}, 1) == 0);
        return 0;
    }
    if (is(role, "short"))
        return atoi(argv[2]);
    CHECK(pipe(hold) == 0);
    for (int i = 0; i < MANY; i++) {
        pids[i] = spawn_self("held", num(hold[0]), num(hold[1]));
        CHECK(pids[i] > 1 && pids[i] != getpid());
        for (int j = 0; j < i; j++)
            CHECK(pids[i] != pids[j]);
    }
    for (int i = 0; i < MANY; i++)
        CHECK(kill(pids[i], 0) == 0);
    CHECK(close(hold[1]) == 0);
    for (int i = MANY - 1; i >= 0; i--)
        CHECK(reap_exit(pids[i]) == 0);
    for (int i = 0; i < 200; i++)
        CHECK(reap_exit(spawn_self("short", num(i))) == i);
    return 0;
}

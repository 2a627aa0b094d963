/* setsid() makes a group that kill(-pgid) reaches as a whole, and nobody outside it. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int ends[2];
    char bytes[3];
    pid_t leader;

    if (is(role, "member")) {
        CHECK(write(atoi(argv[2]), "m", 1) == 1);
        for (;;)
            nap_ms(1000);
    }
    if (is(role, "leader")) {
        CHECK(setsid() == getpid());
        CHECK(setsid() == -1 && errno == EPERM);
        spawn_self("member", argv[2]);
        spawn_self("member", argv[2]);
        CHECK(write(atoi(argv[2]), "l", 1) == 1);
        for (;;)
            nap_ms(1000);
    }
    CHECK(pipe(ends) == 0);
    leader = spawn_self("leader", num(ends[1]));
    CHECK(close(ends[1]) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(read(ends[0], bytes + i, 1) == 1);
    CHECK(kill(-leader, 0) == 0);
    CHECK(kill(-leader, SIGTERM) == 0);
    CHECK(read(ends[0], bytes, 1) == 0); /* nobody holds the pipe any more */
    CHECK(reap(leader) == SIGTERM);
    AWAIT(kill(-leader, 0) == -1 && errno == ESRCH);
    return 0;
}

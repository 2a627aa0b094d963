/* execv() without fork() keeps the pid and the children, and starts again with fresh globals. */
#include "os.h"

static int global = 1;
static char zeros[100000];

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);

    CHECK(global == 1 && zeros[0] == 0 && zeros[sizeof(zeros) - 1] == 0);
    global = 2;
    memset(zeros, 1, sizeof(zeros));
    if (is(role, "leaf"))
        return 9;
    if (is(role, "second")) {
        CHECK(getpid() == atoi(argv[2]) && getppid() == atoi(argv[3]));
        return reap_exit(atoi(argv[4]));
    }
    if (is(role, "first")) {
        pid_t leaf = spawn_self("leaf");
        char *again[] = {os_self, "second", num(getpid()), num(getppid()), num(leaf), NULL};

        execv(os_self, again);
        return 1;
    }
    CHECK(reap_exit(spawn_self("first")) == 9);
    return 0;
}

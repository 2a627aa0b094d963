/* What a forked child changes in globals and on the stack is not seen by the parent. */
#include "os.h"

static int global = 1;
static char array[20000];
static __attribute__((noinline)) pid_t deep(int depth, volatile char *caller)
{
    volatile char here[1000];
    pid_t pid;

    memset((char *)here, depth, sizeof(here));
    pid = depth ? deep(depth - 1, here) : fork();
    if (pid == 0) {
        here[0] = caller[0] = 99; /* also frames further out than fork's caller */
        if (depth == 9)
            _exit(global == 1 ? 4 : 5);
        return 0;
    }
    CHECK(here[0] == depth && here[999] == depth);
    return pid;
}

int main(int argc, char **argv)
{
    volatile int local = 1;
    volatile char mine[8] = {7};
    pid_t pid;

    os_role(argc, argv);
    pid = fork();
    if (pid == 0) {
        global = 2;
        local = 2;
        memset(array, 2, sizeof(array));
        errno = 77;
        _exit(global + local + array[19999]);
    }
    CHECK(pid > 0 && global == 1 && local == 1 && array[0] == 0 && array[19999] == 0);
    CHECK(reap_exit(pid) == 6);
    pid = deep(9, mine);
    CHECK(pid > 0 && mine[0] == 7);
    CHECK(reap_exit(pid) == 4);
    return 0;
}

/* A wild pointer, a division by zero and an overflown stack kill that process only. */
#include "os.h"

static volatile int zero, many = 100;
static int *volatile nowhere;
static int (*volatile no_function)(void);

static __attribute__((noinline)) int endless(volatile char *above)
{
    volatile char here[4096];

    here[0] = above[0];
    here[4095] = 1;
    return zero ? 0 : endless(here) + here[0] + here[4095];
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);

    if (is(role, "write"))
        *nowhere = 1;
    if (is(role, "read"))
        return *nowhere;
    if (is(role, "call"))
        return no_function();
    if (is(role, "divide"))
        return many / zero;
    if (is(role, "stack"))
        return endless((volatile char *)role);
    CHECK(WTERMSIG(reap(spawn_self("write"))) == SIGSEGV);
    CHECK(WTERMSIG(reap(spawn_self("read"))) == SIGSEGV);
    CHECK(WTERMSIG(reap(spawn_self("call"))) == SIGSEGV);
    CHECK(WTERMSIG(reap(spawn_self("divide"))) == SIGFPE);
    CHECK(WTERMSIG(reap(spawn_self("stack"))) == SIGSEGV);
    return 0;
}

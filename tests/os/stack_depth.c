/* The stack is as deep as getrlimit() says it may be used: 1.5 MB of recursion work. */
#include "os.h"
#include <sys/resource.h>

static __attribute__((noinline)) long recurse(long depth, volatile char *above)
{
    volatile char here[1024];

    here[0] = above[0] + 1;
    here[1023] = depth;
    return depth == 0 ? here[0] : recurse(depth - 1, here) + (here[1023] != (char)depth);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    volatile char top[4] = {0};

    os_role(argc, argv);
    CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
    CHECK(limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= 2 << 20);
    CHECK(recurse(1536, top) == (char)(1536 + 1));
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= 64);
    CHECK(limit.rlim_cur <= limit.rlim_max);
    CHECK(getrlimit(RLIMIT_CORE, &limit) == 0);
    limit.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_CORE, &limit) == 0);
    CHECK(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur == 0);
    return 0;
}

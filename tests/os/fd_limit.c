/* A process may have a thousand descriptors, or as many as its limit says and then EMFILE, however
 * many others do the same (PostgreSQL counts them so at every start). */
#include "os.h"
#include <sys/resource.h>

static void fill(void)
{
    struct rlimit limit;
    int n = 0, fd = -1, highest = 0;
    static int fds[1000];

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    while (n < 1000 && (fd = dup(0)) >= 0) {
        fds[n++] = fd;
        CHECK(fd > highest);
        highest = fd;
    }
    CHECK(n == 1000 || (errno == EMFILE && (rlim_t)highest + 1 == limit.rlim_cur));
    while (n > 0)
        CHECK(close(fds[--n]) == 0);
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    pid_t pids[10];

    fill();
    if (is(role, "child"))
        return 0;
    for (int i = 0; i < 10; i++)
        pids[i] = spawn_self("child");
    fill();
    for (int i = 0; i < 10; i++)
        CHECK(reap_exit(pids[i]) == 0);
    return 0;
}

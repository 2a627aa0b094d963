/* errno is the process's own and survives what other processes do; the texts of errors and signals
 * are there. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char buf[128];

    if (is(role, "child")) {
        CHECK(open("missing", O_RDONLY) == -1 && errno == ENOENT);
        return 0;
    }
    pid_t pid = spawn_self("child");
    errno = 4321;
    AWAIT(kill(pid, 0) == 0); /* success leaves it */
    CHECK(errno == 4321);
    CHECK(getpid() > 0 && errno == 4321);
    CHECK(reap_exit(pid) == 0 && errno == 4321);
    CHECK(is(strerror_r(ENOENT, buf, sizeof(buf)), "No such file or directory"));
    CHECK(strstr(strerror_r(9999, buf, sizeof(buf)), "9999"));
    CHECK(is(strsignal(SIGTERM), "Terminated") && is(strsignal(SIGSEGV), "Segmentation fault"));
    errno = 0;
    CHECK(strtol("99999999999999999999", NULL, 10) == INT64_MAX && errno == ERANGE);
    return 0;
}

/* What libc itself writes (assertions, back traces) goes to that process's descriptors. */
#include "os.h"
#include <assert.h>
#include <execinfo.h>

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    void *frames[20];

    if (is(role, "assert")) {
        CHECK(dup2(open("err", O_WRONLY | O_CREAT, 0600), 2) == 2);
        assert(argc == 12345);
        return 0;
    }
    CHECK(reap(spawn_self("assert")) == SIGABRT);
    CHECK(strstr(get_file("err"), "Assertion `argc == 12345' failed") != NULL);
    int n = backtrace(frames, 20), fd = open("trace", O_RDWR | O_CREAT, 0600);
    CHECK(n > 0 && fd >= 0);
    backtrace_symbols_fd(frames, n, fd);
    CHECK(strlen(get_file("trace")) > 5);
    char **names = backtrace_symbols(frames, n);
    CHECK(names != NULL && names[0][0] != '\0');
    free(names);
    return 0;
}

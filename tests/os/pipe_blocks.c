/* A write larger than a pipe waits for its reader and arrives whole, also through interruptions. */
#include "os.h"

enum { SIZE = 3000000 };
static volatile sig_atomic_t handled;

static void count(int sig)
{
    (void)sig;
    handled++;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    static unsigned char buf[SIZE];
    size_t have = 0;
    ssize_t n;
    int ends[2];

    if (is(role, "reader")) {
        CHECK(close(atoi(argv[3])) == 0);
        while ((n = read(atoi(argv[2]), buf, 10000)) > 0) {
            kill(getppid(), SIGUSR1);
            for (ssize_t i = 0; i < n; i++)
                CHECK(buf[i] == have++ % 253);
        }
        CHECK(n == 0 && have == SIZE);
        return 0;
    }
    on_signal(SIGUSR1, count, SA_RESTART);
    for (size_t i = 0; i < SIZE; i++)
        buf[i] = i % 253;
    CHECK(pipe(ends) == 0);
    pid_t pid = spawn_self("reader", num(ends[0]), num(ends[1]));
    CHECK(close(ends[0]) == 0);
    while (have < SIZE) {
        n = write(ends[1], buf + have, SIZE - have); /* a handler may cut it short */
        CHECK(n > 0);
        have += n;
    }
    CHECK(close(ends[1]) == 0);
    CHECK(reap_exit(pid) == 0 && handled > 0);
    return 0;
}

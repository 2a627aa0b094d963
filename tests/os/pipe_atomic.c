/* Writes of up to PIPE_BUF bytes from several processes are never mixed, as the syslogger needs. */
#include "os.h"
#include <limits.h>

enum { WRITERS = 4, ROUNDS = 300 };

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    static char buf[PIPE_BUF];
    pid_t pids[WRITERS];
    int ends[2], seen[WRITERS] = {0};
    size_t have;
    ssize_t n;

    if (is(role, "writer")) {
        memset(buf, atoi(argv[3]), sizeof(buf));
        for (int i = 0; i < ROUNDS; i++)
            CHECK(write(atoi(argv[2]), buf, sizeof(buf)) == sizeof(buf));
        return 0;
    }
    CHECK(pipe(ends) == 0);
    for (int i = 0; i < WRITERS; i++)
        pids[i] = spawn_self("writer", num(ends[1]), num(i));
    CHECK(close(ends[1]) == 0);
    for (;;) {
        for (have = 0; have < sizeof(buf); have += n) {
            n = read(ends[0], buf + have, sizeof(buf) - have);
            CHECK(n >= 0);
            if (n == 0)
                break;
        }
        if (have == 0)
            break;
        CHECK(have == sizeof(buf) && buf[0] >= 0 && buf[0] < WRITERS);
        for (size_t i = 0; i < sizeof(buf); i++)
            CHECK(buf[i] == buf[0]);
        seen[(int)buf[0]]++;
    }
    for (int i = 0; i < WRITERS; i++)
        CHECK(reap_exit(pids[i]) == 0 && seen[i] == ROUNDS);
    return 0;
}

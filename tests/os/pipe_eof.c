/* A pipe ends when the last writer closes it, inherited ends included, and not before. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int data[2], hold[2];
    char text[16];

    if (is(role, "holder")) { /* inherits the write end and keeps it until told */
        CHECK(write(atoi(argv[2]), "here", 4) == 4);
        CHECK(close(atoi(argv[4])) == 0);
        CHECK(read(atoi(argv[3]), text, 1) == 0);
        CHECK(write(atoi(argv[2]), "last", 4) == 4);
        return 0;
    }
    CHECK(pipe(data) == 0 && pipe(hold) == 0);
    pid_t pid = spawn_self("holder", num(data[1]), num(hold[0]), num(hold[1]));
    CHECK(close(data[1]) == 0);
    CHECK(read(data[0], text, sizeof(text)) == 4 && memcmp(text, "here", 4) == 0);
    CHECK(fcntl(data[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK(read(data[0], text, sizeof(text)) == -1 && errno == EAGAIN); /* open, though not here */
    CHECK(fcntl(data[0], F_SETFL, 0) == 0);
    CHECK(close(hold[1]) == 0);
    CHECK(read(data[0], text, sizeof(text)) == 4 && memcmp(text, "last", 4) == 0);
    CHECK(read(data[0], text, sizeof(text)) == 0);
    CHECK(read(data[0], text, sizeof(text)) == 0);
    CHECK(reap_exit(pid) == 0);
    return 0;
}

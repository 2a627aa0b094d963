/* Thirty processes hold the same sixty files open at once, each with positions of its own, although
 * together they hold more descriptors than one Unix process usually may. */
#include "os.h"

enum { PROCESSES = 30, FILES = 60 };

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    pid_t pids[PROCESSES];
    char name[16], text[8];
    int fds[FILES], report[2], hold[2];

    if (is(role, "child")) {
        CHECK(close(atoi(argv[5])) == 0);
        for (int i = 0; i < FILES; i++) {
            snprintf(name, sizeof(name), "f%d", i);
            CHECK((fds[i] = open(name, O_RDWR)) >= 0);
            CHECK(lseek(fds[i], atoi(argv[2]) + 1, SEEK_SET) == atoi(argv[2]) + 1);
        }
        CHECK(write(atoi(argv[3]), "r", 1) == 1);
        CHECK(read(atoi(argv[4]), text, 1) == 0); /* all have all open now */
        for (int i = 0; i < FILES; i++)
            CHECK(write(fds[i], "x", 1) == 1);
        return 0;
    }
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        put_file(name, "a");
    }
    CHECK(pipe(report) == 0 && pipe(hold) == 0);
    for (int i = 0; i < PROCESSES; i++)
        pids[i] = spawn_self("child", num(i), num(report[1]), num(hold[0]), num(hold[1]));
    CHECK(close(report[1]) == 0);
    for (int i = 0; i < PROCESSES; i++)
        CHECK(read(report[0], text, 1) == 1);
    CHECK(close(hold[1]) == 0);
    for (int i = 0; i < PROCESSES; i++)
        CHECK(reap_exit(pids[i]) == 0);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        CHECK(is(get_file(name), "axxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
    }
    return 0;
}

/* getppid() is the parent; once the parent is dead it is somebody else. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int ends[2];
    pid_t pid;

    if (is(role, "orphan")) {
        CHECK(getppid() == atoi(argv[2]));
        CHECK(write(atoi(argv[3]), "s", 1) == 1); /* started: the parent may go */
        AWAIT(getppid() != atoi(argv[2]));
        CHECK(getppid() != getpid());
        CHECK(write(atoi(argv[3]), "o", 1) == 1);
        return 0;
    }
    if (is(role, "middle")) {
        CHECK(getppid() == atoi(argv[2]));
        spawn_self("orphan", num(getpid()), argv[3]);
        CHECK(read(atoi(argv[4]), &(char){0}, 1) == 1);
        return 6;
    }
    CHECK(pipe(ends) == 0);
    pid = spawn_self("middle", num(getpid()), num(ends[1]), num(ends[0]));
    CHECK(close(ends[1]) == 0);
    CHECK(pid != getpid() && pid != getppid());
    CHECK(reap_exit(pid) == 6);
    char byte = 0;
    CHECK(read(ends[0], &byte, 1) == 1 && byte == 'o');
    CHECK(read(ends[0], &byte, 1) == 0); /* the orphan is gone too */
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    return 0;
}

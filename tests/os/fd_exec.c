/* exec closes descriptors marked close-on-exec and no others; the mark is each descriptor's own. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int kept, gone, later, copy;

    if (is(role, "child")) {
        CHECK(fcntl(atoi(argv[2]), F_GETFD) == 0);
        CHECK(fcntl(atoi(argv[3]), F_GETFD) == -1 && errno == EBADF);
        CHECK(fcntl(atoi(argv[4]), F_GETFD) == -1 && errno == EBADF);
        CHECK(fcntl(atoi(argv[5]), F_GETFD) == 0);
        CHECK(write(atoi(argv[5]), "x", 1) == 1);
        CHECK(open("/dev/null", O_RDONLY) == atoi(argv[3])); /* the number is free again */
        return 0;
    }
    CHECK((kept = open("kept", O_RDWR | O_CREAT, 0600)) >= 0);
    CHECK((gone = open("gone", O_RDWR | O_CREAT | O_CLOEXEC, 0600)) >= 0);
    CHECK((later = open("later", O_RDWR | O_CREAT, 0600)) >= 0);
    CHECK(fcntl(kept, F_GETFD) == 0 && fcntl(gone, F_GETFD) == FD_CLOEXEC);
    CHECK((fcntl(gone, F_GETFL) & O_ACCMODE) == O_RDWR);
    CHECK(fcntl(later, F_SETFD, FD_CLOEXEC) == 0 && fcntl(later, F_GETFD) == FD_CLOEXEC);
    CHECK((copy = dup(gone)) >= 0 && fcntl(copy, F_GETFD) == 0);
    CHECK(reap_exit(spawn_self("child", num(kept), num(gone), num(later), num(copy))) == 0);
    CHECK(is(get_file("gone"), "x"));
    CHECK(write(gone, "y", 1) == 1 && write(later, "z", 1) == 1); /* still open here */
    CHECK(is(get_file("gone"), "xy"));
    return 0;
}

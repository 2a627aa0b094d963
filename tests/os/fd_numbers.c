/* A new descriptor gets the lowest free number; dup2 and F_DUPFD choose; closed means EBADF. */
#include "os.h"

int main(int argc, char **argv)
{
    int ends[2], a, b;

    os_role(argc, argv);
    CHECK((a = open("/dev/null", O_RDWR)) >= 3);
    CHECK((b = open("/dev/null", O_RDWR)) == a + 1);
    CHECK(dup(a) == a + 2 && close(a) == 0);
    CHECK(pipe(ends) == 0 && ends[0] == a && ends[1] == a + 3);
    CHECK(close(b) == 0 && open("file", O_RDWR | O_CREAT, 0600) == b);
    CHECK(dup2(b, 100) == 100 && dup2(b, b) == b && fcntl(100, F_GETFD) == 0);
    CHECK(dup2(b, a) == a); /* closes the pipe's end */
    CHECK(fcntl(ends[1], F_GETFD) == 0);
    CHECK(fcntl(b, F_DUPFD, 50) == 50 && fcntl(b, F_DUPFD, 50) == 51);
    CHECK(fcntl(b, F_DUPFD_CLOEXEC, 50) == 52 && fcntl(52, F_GETFD) == FD_CLOEXEC);
    CHECK(close(51) == 0 && close(51) == -1 && errno == EBADF);
    CHECK(read(51, ends, 1) == -1 && errno == EBADF);
    CHECK(write(51, "x", 1) == -1 && errno == EBADF);
    CHECK(fcntl(51, F_GETFD) == -1 && errno == EBADF);
    CHECK(lseek(51, 0, SEEK_SET) == -1 && errno == EBADF);
    CHECK(dup(51) == -1 && errno == EBADF && dup2(51, 60) == -1 && errno == EBADF);
    CHECK(dup(-1) == -1 && errno == EBADF && close(-1) == -1 && errno == EBADF);
    CHECK(fcntl(60, F_GETFD) == -1 && errno == EBADF);
    CHECK(fsync(51) == -1 && errno == EBADF && ftruncate(51, 0) == -1 && errno == EBADF);
    CHECK(close(0) == 0 &&
          open("/dev/null", O_RDONLY) == 0); /* the standard ones are no exception */
    return 0;
}

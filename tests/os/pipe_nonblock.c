/* A nonblocking pipe says EAGAIN when empty or full, and bytes come out in order. */
#include "os.h"

int main(int argc, char **argv)
{
    int ends[2];
    unsigned char buf[1000];
    long in = 0, out = 0;
    ssize_t n;

    os_role(argc, argv);
    CHECK(pipe(ends) == 0);
    CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    CHECK((fcntl(ends[0], F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == (O_NONBLOCK | O_RDONLY));
    CHECK((fcntl(ends[1], F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == (O_NONBLOCK | O_WRONLY));
    CHECK(read(ends[0], buf, sizeof(buf)) == -1 && errno == EAGAIN);
    for (;;) {
        for (size_t i = 0; i < sizeof(buf); i++)
            buf[i] = (in + i) % 251;
        n = write(ends[1], buf, sizeof(buf));
        if (n < 0)
            break;
        in += n;
    }
    CHECK(errno == EAGAIN && in >= 4096);
    CHECK(close(ends[1]) == 0);
    while ((n = read(ends[0], buf, 77)) > 0)
        for (ssize_t i = 0; i < n; i++)
            CHECK(buf[i] == out++ % 251);
    CHECK(n == 0 && in == out);
    CHECK(write(ends[0], buf, 1) == -1 && errno == EBADF);
    CHECK(lseek(ends[0], 0, SEEK_CUR) == -1 && errno == ESPIPE);
    return 0;
}

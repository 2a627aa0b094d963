/* A read() of a regular file sees all of another process's write() or nothing of it; Linux promises
 * that much to nobody, so natively only the lengths are compared. */
#include "os.h"

enum { SIZE = 8192, ROUNDS = 20000 };

int main(int argc, char **argv)
{
    static char buf[SIZE];
    struct stat host, own;
    bool whole;
    int fd, status;
    pid_t writer;

    if (is(os_role(argc, argv), "writer")) {
        fd = open(argv[2], O_RDWR);
        CHECK(fd >= 0);
        for (int i = 0; i < ROUNDS; i++) {
            memset(buf, 'a' + i % 26, sizeof(buf));
            CHECK(lseek(fd, 0, SEEK_SET) == 0 && write(fd, buf, SIZE) == SIZE);
        }
        return 0;
    }
    CHECK(stat("/proc/self/exe", &host) == 0 && stat(argv[0], &own) == 0);
    whole = host.st_ino != own.st_ino; /* calf-exec's file: we are an image */
    fd = open("whole", O_RDONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && truncate("whole", SIZE) == 0);
    writer = spawn_self("writer", "whole");
    while (waitpid(writer, &status, WNOHANG) == 0) {
        CHECK(lseek(fd, 0, SEEK_SET) == 0 && read(fd, buf, SIZE) == SIZE);
        for (int i = 1; whole && i < SIZE; i++)
            CHECK(buf[i] == buf[0]);
    }
    CHECK(status == 0 && unlink("whole") == 0);
    return 0;
}

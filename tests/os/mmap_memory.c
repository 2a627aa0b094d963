/* mmap() gives zeroed memory; MAP_SHARED memory is seen by a forked child and its writes remain;
 * a file's mapping and the file agree. */
#include "os.h"
#include <sys/mman.h>

int main(int argc, char **argv)
{
    enum { SIZE = 1 << 22 };
    int prot = PROT_READ | PROT_WRITE;
    char text[4];

    os_role(argc, argv);
    int *shared = mmap(NULL, SIZE, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *own = mmap(NULL, SIZE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && own != MAP_FAILED);
    for (int i = 0; i < SIZE; i += 4096)
        CHECK(shared[i / sizeof(int)] == 0 && own[i] == 0);
    shared[5] = 1;
    pid_t pid = fork();
    if (pid == 0) {
        shared[5]++;
        _exit(shared[5]);
    }
    CHECK(reap_exit(pid) == 2 && shared[5] == 2);
    CHECK(munmap(shared, SIZE) == 0 && munmap(own, SIZE) == 0);

    put_file("file", "abcd");
    int fd = open("file", O_RDWR);
    char *mapped = mmap(NULL, 4, prot, MAP_SHARED, fd, 0);
    CHECK(mapped != MAP_FAILED && memcmp(mapped, "abcd", 4) == 0);
    mapped[1] = 'B';
    CHECK(pread(fd, text, 4, 0) == 4 && memcmp(text, "aBcd", 4) == 0);
    CHECK(munmap(mapped, 4) == 0);
    CHECK(mmap(NULL, 4, prot, MAP_SHARED, 999, 0) == MAP_FAILED && errno == EBADF);
    return 0;
}

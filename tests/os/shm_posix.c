/* shm_open() memory is one and the same in all processes that map it, has the size given to it, and
 * lives on in its mappings after shm_unlink(). */
#include "os.h"
#include <sys/mman.h>

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    enum { SIZE = 1 << 20 };
    struct stat st;
    int *mem, fd;

    if (is(role, "child")) {
        CHECK((fd = shm_open(argv[2], O_RDWR, 0)) >= 0);
        CHECK(fstat(fd, &st) == 0 && st.st_size == SIZE);
        mem = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(mem != MAP_FAILED && close(fd) == 0);
        CHECK(mem[1000] == 17);
        mem[SIZE / sizeof(int) - 1] = 18;
        CHECK(munmap(mem, SIZE) == 0);
        return 0;
    }
    char name[32];
    snprintf(name, sizeof(name), "/calf-test.%d", getpid());
    CHECK((fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600)) >= 0);
    CHECK(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600) == -1 && errno == EEXIST);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(ftruncate(fd, SIZE) == 0 && posix_fallocate(fd, 0, SIZE) == 0);
    mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(mem != MAP_FAILED && close(fd) == 0 && mem[0] == 0);
    mem[1000] = 17;
    CHECK(reap_exit(spawn_self("child", name)) == 0);
    CHECK(mem[SIZE / sizeof(int) - 1] == 18);
    CHECK(shm_unlink(name) == 0 && mem[1000] == 17);
    CHECK(shm_open(name, O_RDWR, 0) == -1 && errno == ENOENT);
    CHECK(shm_unlink(name) == -1 && errno == ENOENT);
    CHECK(munmap(mem, SIZE) == 0);
    return 0;
}

/* Reads and writes by position leave the position alone, single or vectored, past the end too. */
#include "os.h"
#include <sys/uio.h>

int main(int argc, char **argv)
{
    char a[4] = "", b[8] = "";
    struct iovec out[2] = {{"abc", 3}, {"defgh", 5}}, in[2] = {{a, 3}, {b, 7}};
    struct stat st;

    os_role(argc, argv);
    int fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK(pwritev(fd, out, 2, 10) == 8 && lseek(fd, 0, SEEK_CUR) == 0);
    CHECK(fstat(fd, &st) == 0 && st.st_size == 18 && S_ISREG(st.st_mode));
    CHECK(preadv(fd, in, 2, 10) == 8 && memcmp(a, "abc", 3) == 0 && is(b, "defgh"));
    CHECK(pwrite(fd, "X", 1, 12) == 1 && pread(fd, b, 3, 11) == 3 && memcmp(b, "bXd", 3) == 0);
    CHECK(pread(fd, b, 8, 18) == 0 && pread(fd, b, 8, 16) == 2 && pread(fd, b, 1, 5) == 1);
    CHECK(b[0] == 0); /* a hole */
    CHECK(lseek(fd, 0, SEEK_CUR) == 0 && read(fd, b, 8) == 8 && lseek(fd, 0, SEEK_CUR) == 8);
    CHECK(lseek(fd, -2, SEEK_CUR) == 6 && lseek(fd, -8, SEEK_END) == 10);
    CHECK(lseek(fd, -99, SEEK_CUR) == -1 && errno == EINVAL && lseek(fd, 0, SEEK_CUR) == 10);
    CHECK(lseek(fd, 100, SEEK_SET) == 100 && read(fd, b, 1) == 0 && write(fd, "end", 3) == 3);
    CHECK(fstat(fd, &st) == 0 && st.st_size == 103);
    CHECK(ftruncate(fd, 5) == 0 && lseek(fd, 0, SEEK_END) == 5 && truncate("file", 50) == 0);
    CHECK(fstat(fd, &st) == 0 && st.st_size == 50);
    CHECK(posix_fallocate(fd, 0, 8192) == 0 && fstat(fd, &st) == 0 && st.st_size == 8192);
    CHECK(posix_fadvise(fd, 0, 8192, POSIX_FADV_WILLNEED) == 0);
    CHECK(sync_file_range(fd, 0, 8192, SYNC_FILE_RANGE_WRITE) == 0);
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
    int reader = open("file", O_RDONLY), dir = open(".", O_RDONLY);
    CHECK(write(reader, "x", 1) == -1 && errno == EBADF);
    CHECK(pwrite(reader, "x", 1, 0) == -1 && errno == EBADF && ftruncate(reader, 0) == -1);
    CHECK(dir >= 0 && fsync(dir) == 0 && fstat(dir, &st) == 0 && S_ISDIR(st.st_mode));
    CHECK(read(dir, b, 1) == -1 && errno == EISDIR);
    return 0;
}

/* copy_file_range() and syncfs() work on a process's descriptors. */
#include "os.h"

int main(int argc, char **argv)
{
    os_role(argc, argv);
    put_file("from", "0123456789");
    int from = open("from", O_RDONLY), to = open("to", O_RDWR | O_CREAT, 0600);
    loff_t at = 2;
    CHECK(lseek(from, 3, SEEK_SET) == 3);
    ssize_t n = copy_file_range(from, NULL, to, NULL, 4, 0);
    if (n == -1 && (errno == ENOSYS || errno == EOPNOTSUPP || errno == EXDEV || errno == EINVAL))
        return 0; /* not every file system can */
    CHECK(n == 4 && is(get_file("to"), "3456"));
    CHECK(lseek(from, 0, SEEK_CUR) == 7 && lseek(to, 0, SEEK_CUR) == 4);
    CHECK(copy_file_range(from, &at, to, NULL, 2, 0) == 2 && at == 4);
    CHECK(is(get_file("to"), "345623") && lseek(from, 0, SEEK_CUR) == 7);
    CHECK(copy_file_range(from, NULL, to, NULL, 100, 0) == 3 && is(get_file("to"), "345623789"));
    CHECK(copy_file_range(from, NULL, 999, NULL, 1, 0) == -1 && errno == EBADF);
    CHECK(syncfs(to) == 0 && syncfs(999) == -1 && errno == EBADF);
    return 0;
}

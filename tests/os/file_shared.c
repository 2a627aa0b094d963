/* What one process does to a file (extends, truncates, renames over, unlinks) another that has it
 * open sees as POSIX says: the same file while open, the name's new file when opened again. */
#include "os.h"

static void step(const char *name)
{
    CHECK(reap_exit(spawn_self((char *)name)) == 0);
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char text[16] = "";
    struct stat st, old;
    int fd, again;

    if (is(role, "extend")) {
        CHECK((fd = open("file", O_RDWR)) >= 0 && lseek(fd, 0, SEEK_END) == 3);
        return write(fd, "defgh", 5) != 5;
    }
    if (is(role, "truncate"))
        return open("file", O_RDWR | O_TRUNC) < 0;
    if (is(role, "rename")) {
        put_file("new", "new");
        return rename("new", "file");
    }
    if (is(role, "unlink"))
        return unlink("file");
    put_file("file", "abc");
    CHECK((fd = open("file", O_RDWR)) >= 0);
    CHECK(open("file", O_RDWR | O_CREAT | O_EXCL, 0600) == -1 && errno == EEXIST);
    step("extend");
    CHECK(lseek(fd, 0, SEEK_END) == 8 && pread(fd, text, 16, 0) == 8 && is(text, "abcdefgh"));
    step("truncate");
    CHECK(lseek(fd, 0, SEEK_END) == 0 && pread(fd, text, 16, 0) == 0);
    CHECK(pwrite(fd, "old", 3, 0) == 3 && is(get_file("file"), "old"));
    step("rename");
    CHECK(pread(fd, text, 3, 0) == 3 && memcmp(text, "old", 3) == 0);
    CHECK((again = open("file", O_RDWR)) >= 0);
    CHECK(pread(again, text, 3, 0) == 3 && memcmp(text, "new", 3) == 0);
    CHECK(fstat(fd, &old) == 0 && fstat(again, &st) == 0 && stat("file", &st) == 0);
    CHECK(old.st_nlink == 0 && st.st_nlink == 1);
    CHECK(pwrite(fd, "OLD", 3, 0) == 3 && is(get_file("file"), "new"));
    step("unlink");
    CHECK(open("file", O_RDWR) == -1 && errno == ENOENT);
    CHECK(pread(again, text, 3, 0) == 3 && memcmp(text, "new", 3) == 0);
    put_file("file", "third"); /* a fresh file may get the old one's number */
    CHECK((fd = open("file", O_RDWR)) >= 0 && pread(fd, text, 5, 0) == 5);
    CHECK(memcmp(text, "third", 5) == 0 && pread(again, text, 5, 0) == 3);
    return 0;
}

/* Duplicated and inherited descriptors share one position and status; each open() has its own,
 * also of the same file with the same flags and in other processes. */
#include "os.h"

static off_t at(int fd)
{
    return lseek(fd, 0, SEEK_CUR);
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char text[8] = "";

    if (is(role, "child")) {
        int mine = open("file", O_RDWR), given = atoi(argv[2]);

        CHECK(at(mine) == 0 && at(given) == 2);
        CHECK(read(given, text, 3) == 3 && is(text, "cde"));
        CHECK(read(mine, text, 3) == 3 && is(text, "abc"));
        CHECK(at(mine) == 3 && at(given) == 5);
        return 0;
    }
    put_file("file", "abcdefghij");
    int a = open("file", O_RDWR), b = open("file", O_RDWR), c = dup(a);
    CHECK(a >= 0 && b >= 0 && c >= 0);
    CHECK(read(a, text, 2) == 2 && is(text, "ab"));
    CHECK(at(a) == 2 && at(c) == 2 && at(b) == 0);
    CHECK(reap_exit(spawn_self("child", num(a))) == 0);
    CHECK(at(a) == 5 && at(c) == 5 && at(b) == 0);
    CHECK(lseek(c, 1, SEEK_SET) == 1 && at(a) == 1);
    CHECK(write(a, "B", 1) == 1 && at(c) == 2);
    CHECK(read(b, text, 3) == 3 && is(text, "aBc"));
    CHECK(fcntl(a, F_SETFL, O_APPEND) == 0);
    CHECK((fcntl(c, F_GETFL) & O_APPEND) && !(fcntl(b, F_GETFL) & O_APPEND));
    CHECK(write(c, "K", 1) == 1 && at(a) == 11);
    CHECK(write(b, "D", 1) == 1 && at(b) == 4);
    CHECK(is(get_file("file"), "aBcDefghijK"));
    CHECK(close(a) == 0 && at(c) == 11); /* lives on in its duplicate */
    return 0;
}

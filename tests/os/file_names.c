/* link, symlink, readlink, rename, unlink, mkdir, rmdir, access, chmod, utime, realpath work on
 * relative paths and fail with the right errno. */
#include "os.h"
#include <utime.h>

int main(int argc, char **argv)
{
    char text[4096], here[4096];
    struct stat st;

    os_role(argc, argv);
    CHECK(getcwd(here, sizeof(here)) == here && here[0] == '/');
    CHECK(getcwd(text, 2) == NULL && errno == ERANGE);
    CHECK(mkdir("d", 0700) == 0 && mkdir("d", 0700) == -1 && errno == EEXIST);
    CHECK(mkdir("x/y", 0700) == -1 && errno == ENOENT);
    put_file("d/a", "A");
    CHECK(link("d/a", "d/b") == 0 && link("d/a", "d/b") == -1 && errno == EEXIST);
    CHECK(stat("d/b", &st) == 0 && st.st_nlink == 2 && S_ISREG(st.st_mode));
    CHECK(symlink("a", "d/s") == 0 && readlink("d/s", text, sizeof(text)) == 1 && text[0] == 'a');
    CHECK(readlink("d/a", text, sizeof(text)) == -1 && errno == EINVAL);
    CHECK(lstat("d/s", &st) == 0 && S_ISLNK(st.st_mode) && is(get_file("d/s"), "A"));
    CHECK(stat("d/s", &st) == 0 && S_ISREG(st.st_mode));
    char *real = realpath("d/../d/./s", NULL);
    CHECK(real && memcmp(real, here, strlen(here)) == 0 && is(real + strlen(here), "/d/a"));
    free(real);
    CHECK(realpath("nothing", NULL) == NULL && errno == ENOENT);
    CHECK(realpath("d", text) == text && is(text + strlen(here), "/d"));
    CHECK(rename("d/a", "d/b") == 0 &&
          rename("d/b", "d/c") == 0); /* same file: nothing, then moved */
    CHECK(access("d/b", F_OK) == -1 && errno == ENOENT && access("d/c", R_OK | W_OK) == 0);
    CHECK(rmdir("d") == -1 && (errno == ENOTEMPTY || errno == EEXIST));
    CHECK(unlink("d") == -1 && (errno == EISDIR || errno == EPERM));
    CHECK(chmod("d/c", 0640) == 0 && stat("d/c", &st) == 0 && (st.st_mode & 07777) == 0640);
    CHECK(utime("d/c", &(struct utimbuf){.actime = 1000, .modtime = 2000}) == 0);
    CHECK(stat("d/c", &st) == 0 && st.st_atime == 1000 && st.st_mtime == 2000);
    CHECK(access("d/c/x", F_OK) == -1 && errno == ENOTDIR);
    CHECK(remove("d/s") == 0 && unlink("d/a") == 0 && unlink("d/c") == 0);
    CHECK(unlink("d/c") == -1 && errno == ENOENT && remove("d") == 0);
    CHECK(stat("d", &st) == -1 && errno == ENOENT);
    return 0;
}

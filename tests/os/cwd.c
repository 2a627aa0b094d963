/* A process has a directory of its own, starts with its parent's, and keeps it when it is renamed;
 * every relative path means that directory. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char before[4096], after[4096];
    struct stat st;

    if (is(role, "child")) {
        CHECK(chdir(argv[2]) == 0);
        put_file("file", argv[2]);
        CHECK(stat("../top", &st) == 0 && stat("top", &st) == -1 && errno == ENOENT);
        CHECK(getcwd(after, sizeof(after)) && is(strrchr(after, '/') + 1, argv[2]));
        return is(argv[2], "a") ? reap_exit(spawn_self("grandchild")) : 0;
    }
    if (is(role, "grandchild")) {
        CHECK(is(get_file("file"), "a"));
        CHECK(rename("file", "renamed") == 0 && access("renamed", F_OK) == 0);
        CHECK(mkdir("sub", 0700) == 0 && symlink("renamed", "sym") == 0);
        CHECK(chdir("sub") == 0 && chdir("..") == 0 && is(get_file("sym"), "a"));
        return 0;
    }
    put_file("top", "top");
    CHECK(mkdir("a", 0700) == 0 && mkdir("b", 0700) == 0);
    CHECK(getcwd(before, sizeof(before)) == before);
    CHECK(chdir("missing") == -1 && errno == ENOENT && chdir("top") == -1 && errno == ENOTDIR);
    pid_t a = spawn_self("child", "a"), b = spawn_self("child", "b");
    CHECK(reap_exit(a) == 0 && reap_exit(b) == 0);
    CHECK(getcwd(after, sizeof(after)) && is(before, after));
    CHECK(is(get_file("a/renamed"), "a") && is(get_file("b/file"), "b"));
    CHECK(chdir("a") == 0 && rename("../a", "../moved") == 0 && is(get_file("renamed"), "a"));
    CHECK(stat("../moved/sub", &st) == 0 && S_ISDIR(st.st_mode));
    CHECK(getcwd(after, sizeof(after)) && is(strrchr(after, '/'), "/moved"));
    return 0;
}

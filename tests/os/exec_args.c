/* execv() passes the arguments, empty ones and long ones too, and the caller's environment. */
#include "os.h"

int main(int argc, char **argv)
{
    static char longest[50001];

    memset(longest, 'x', sizeof(longest) - 1);
    if (is(os_role(argc, argv), "child")) {
        CHECK(argc == 6 && argv[6] == NULL);
        CHECK(is(argv[2], "two words") && is(argv[3], "") && is(argv[4], "\"'\\ $x"));
        CHECK(is(argv[5], longest));
        CHECK(getenv("OS_GIVEN") && is(getenv("OS_GIVEN"), "a=b"));
        CHECK(getenv("OS_GONE") == NULL);
        return 5;
    }
    CHECK(setenv("OS_GIVEN", "a=b", 1) == 0);
    CHECK(setenv("OS_GONE", "here", 1) == 0);
    CHECK(unsetenv("OS_GONE") == 0);
    CHECK(reap_exit(spawn_self("child", "two words", "", "\"'\\ $x", longest)) == 5);
    return 0;
}

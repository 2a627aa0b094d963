/* strtok() keeps its place while another process uses it. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char mine[] = "one two,three", theirs[] = ",a,,b,";

    if (is(role, "child")) {
        CHECK(is(strtok(theirs, ","), "a"));
        CHECK(argv[2] == NULL || reap_exit(spawn_self("child")) == 0);
        CHECK(is(strtok(NULL, ","), "b") && strtok(NULL, ",") == NULL);
        return 0;
    }
    CHECK(is(strtok(mine, " "), "one"));
    CHECK(reap_exit(spawn_self("child", "more")) == 0);
    CHECK(is(strtok(NULL, ","), "two") && is(strtok(NULL, " ,"), "three"));
    CHECK(reap_exit(spawn_self("child", "more")) == 0);
    CHECK(strtok(NULL, " ,") == NULL);
    return 0;
}

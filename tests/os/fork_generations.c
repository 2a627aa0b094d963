/* A child has children of its own, many generations deep, and each learns its own child's code. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int left = is(role, "") ? 30 : atoi(role);

    if (left == 0)
        return 0;
    CHECK(reap_exit(spawn_self(num(left - 1))) == left - 1);
    return is(role, "") ? 0 : left;
}

/* A process's environment is its own, is inherited over exec, and may be moved by setting environ,
 * as PostgreSQL does to write its title over the old one. */
#include "os.h"

extern char **environ;

static int entries(void)
{
    int n = 0;

    while (environ[n])
        n++;
    return n;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);

    if (is(role, "child")) {
        CHECK(is(getenv("OS_A"), "from parent") && is(getenv("OS_B"), "b") && !getenv("OS_C"));
        CHECK(setenv("OS_A", "changed", 1) == 0 && is(getenv("OS_A"), "changed"));
        CHECK(unsetenv("OS_B") == 0 && getenv("OS_B") == NULL);
        return 0;
    }
    int before = entries();
    CHECK(setenv("OS_A", "first", 1) == 0 && setenv("OS_A", "second", 0) == 0);
    CHECK(is(getenv("OS_A"), "first") && entries() == before + 1);
    CHECK(setenv("OS_A", "from parent", 1) == 0 && setenv("OS_B", "b", 1) == 0);
    CHECK(setenv("OS_C", "", 1) == 0 && is(getenv("OS_C"), "") && unsetenv("OS_C") == 0);
    CHECK(setenv("", "x", 1) == -1 && errno == EINVAL && setenv("a=b", "x", 1) == -1);
    for (int i = 0; i < 2; i++) {
        int n = entries();
        char **moved = malloc((n + 1) * sizeof(*moved));

        CHECK(reap_exit(spawn_self("child")) == 0);
        CHECK(is(getenv("OS_A"), "from parent") && is(getenv("OS_B"), "b"));
        for (int j = 0; j < n; j++)
            moved[j] = strdup(environ[j]);
        moved[n] = NULL;
        environ = moved;
        CHECK(is(getenv("OS_A"), "from parent") && entries() == n);
        CHECK(setenv("OS_D", "d", 1) == 0 && is(getenv("OS_D"), "d") && unsetenv("OS_D") == 0);
    }
    memset(argv[0], 'T', strlen(argv[0])); /* the title */
    CHECK(getenv("OS_A") && is(getenv("OS_A"), "from parent"));
    return 0;
}

/* exit() in a forked child, as after a failed exec, runs the functions registered by the parent,
 * which has them still and runs them at its own end. */
#include "os.h"

static pid_t parent;
static int done;

static void at_end(void)
{
    done++;
    CHECK(write(2, getpid() == parent ? "p" : "c", 1) == 1);
}

int main(int argc, char **argv)
{
    if (is(os_role(argc, argv), "parent")) {
        CHECK(freopen("err", "w", stderr) == stderr);
        parent = getpid();
        CHECK(atexit(at_end) == 0);
        for (int i = 0; i < 2; i++) {
            pid_t pid = fork();

            if (pid == 0) {
                execv("/nonexistent", argv);
                exit(30 + i);
            }
            CHECK(reap_exit(pid) == 30 + i && done == 0);
        }
        exit(3);
    }
    CHECK(reap_exit(spawn_self("parent")) == 3);
    CHECK(is(get_file("err"), "ccp"));
    return 0;
}

/* abort() kills with SIGABRT, also when that is blocked or its handler returns. */
#include "os.h"

static void note(int sig)
{
    (void)sig;
    CHECK(write(2, "h", 1) == 1);
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);

    if (!is(role, ""))
        CHECK(freopen("err", "w", stderr) == stderr);
    if (is(role, "blocked"))
        mask_signal(SIG_BLOCK, SIGABRT);
    if (is(role, "handled"))
        on_signal(SIGABRT, note, 0);
    if (is(role, "ignored"))
        on_signal(SIGABRT, SIG_IGN, 0);
    if (!is(role, ""))
        abort();
    CHECK(WTERMSIG(reap(spawn_self("plain"))) == SIGABRT);
    CHECK(WTERMSIG(reap(spawn_self("blocked"))) == SIGABRT);
    CHECK(WTERMSIG(reap(spawn_self("ignored"))) == SIGABRT);
    CHECK(is(get_file("err"), ""));
    CHECK(WTERMSIG(reap(spawn_self("handled"))) == SIGABRT);
    CHECK(is(get_file("err"), "h"));
    return 0;
}

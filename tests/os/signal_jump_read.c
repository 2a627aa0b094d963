/* A handler may siglongjmp() out of a blocked read() or fgets(), as psql does on control-C, and
 * both work afterwards. */
#include "os.h"
#include <setjmp.h>

static sigjmp_buf out;
static volatile sig_atomic_t enabled, jumps;

static void on_int(int sig)
{
    (void)sig;
    if (enabled) {
        enabled = 0;
        siglongjmp(out, 1);
    }
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char text[16] = "";
    int ends[2];

    if (is(role, "nag")) /* repeat: the first may come before the read */
        for (;;) {
            kill(getppid(), SIGINT);
            nap_ms(1);
        }
    CHECK(pipe(ends) == 0 && dup2(ends[0], 0) == 0);
    on_signal(SIGINT, on_int, SA_RESTART);
    pid_t pid = spawn_self("nag");
    if (sigsetjmp(out, 1) != 0)
        jumps++;
    if (jumps < 20) {
        enabled = 1;
        CHECK(read(0, text, 1) == 99);
    }
    if (sigsetjmp(out, 1) != 0)
        jumps++;
    if (jumps < 40) {
        enabled = 1;
        CHECK(fgets(text, sizeof(text), stdin) == NULL && false);
    }
    CHECK(kill(pid, SIGKILL) == 0 && reap(pid) == SIGKILL);
    CHECK(jumps == 40 && !enabled);
    CHECK(write(ends[1], "one\ntwo\n", 8) == 8);
    CHECK(fgets(text, sizeof(text), stdin) == text && is(text, "one\n"));
    CHECK(fgets(text, sizeof(text), stdin) == text && is(text, "two\n"));
    return 0;
}

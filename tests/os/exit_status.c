/* wait() tells an exit code's low 8 bits, or the signal that killed. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    static const int codes[] = {0, 1, 2, 127, 128, 255, 256, 257, -1, 0x1234};
    static const int signals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGABRT, SIGKILL, SIGUSR1,
                                  SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSEGV};
    int status;

    if (is(role, "return"))
        return atoi(argv[2]);
    if (is(role, "exit"))
        exit(atoi(argv[2]));
    if (is(role, "_exit"))
        _exit(atoi(argv[2]));
    if (is(role, "kill")) {
        kill(getpid(), atoi(argv[2]));
        return 99;
    }
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        CHECK(reap(spawn_self("return", num(codes[i]))) == (codes[i] & 255) << 8);
        CHECK(reap(spawn_self("exit", num(codes[i]))) == (codes[i] & 255) << 8);
        CHECK(reap(spawn_self("_exit", num(codes[i]))) == (codes[i] & 255) << 8);
    }
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        status = reap(spawn_self("kill", num(signals[i])));
        CHECK(WIFSIGNALED(status) && !WIFEXITED(status) && WTERMSIG(status) == signals[i]);
    }
    return 0;
}

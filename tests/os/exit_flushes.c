/* exit() and return from main run atexit() functions in reverse and flush stdio; _exit() and
 * death by a signal do neither. */
#include "os.h"

static void say(const char *text)
{
    CHECK(write(2, text, strlen(text)) == (ssize_t)strlen(text));
}

static void first(void)
{
    say("1");
}

static void second(void)
{
    say("2");
    fputs("late", stdout); /* still flushed */
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    static const char *const roles[] = {"exit", "return", "_exit", "kill"};

    if (!is(role, "")) {
        CHECK(freopen("out", "w", stdout) == stdout);
        CHECK(freopen("err", "w", stderr) == stderr);
        CHECK(atexit(first) == 0 && atexit(second) == 0);
        printf("buffered ");
        if (is(role, "exit"))
            exit(0);
        if (is(role, "_exit"))
            _exit(0);
        if (is(role, "kill"))
            kill(getpid(), SIGTERM);
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        CHECK(reap(spawn_self((char *)roles[i])) == (i == 3 ? SIGTERM : 0));
        CHECK(is(get_file("out"), i < 2 ? "buffered late" : ""));
        CHECK(is(get_file("err"), i < 2 ? "21" : ""));
    }
    return 0;
}

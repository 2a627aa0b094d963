/* popen() of a program runs it with its quoted arguments, redirections, cwd and environment, gives
 * a stream to its input or output, and pclose() tells how it ended; several at once are apart. */
#include "os.h"

static FILE *run(const char *mode, const char *rest)
{
    char command[4096];

    snprintf(command, sizeof(command), "\"%s\" %s", os_self, rest);
    return popen(command, mode);
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char text[256];
    FILE *f, *g;

    if (is(role, "show")) {
        for (int i = 2; i < argc; i++)
            printf("[%s]", argv[i]);
        fprintf(stderr, "<%s>", getenv("OS_POPEN"));
        return argc;
    }
    if (is(role, "copy")) {
        while (fgets(text, sizeof(text), stdin))
            printf(">%s", text);
        return 9;
    }
    if (is(role, "die"))
        return kill(getpid(), SIGTERM);
    CHECK(setenv("OS_POPEN", "v w", 1) == 0);
    CHECK((f = run("r", "show -c \"two words\" -X 'single q' '' a\\ b 2>/dev/null")) != NULL);
    CHECK(fgets(text, sizeof(text), f) && is(text, "[-c][two words][-X][single q][][a b]"));
    CHECK(fgets(text, sizeof(text), f) == NULL && feof(f));
    CHECK(WEXITSTATUS(pclose(f)) == 8);
    CHECK((f = run("r", "show x 2>&1 < \"/dev/null\"")) && fgets(text, sizeof(text), f));
    CHECK((is(text, "<v w>[x]") || is(text, "[x]<v w>")) && WEXITSTATUS(pclose(f)) == 3);
    CHECK((f = run("w", "copy > \"out file\" 2>&1")) && (g = run("w", "copy >other")));
    for (int i = 0; i < 1000; i++)
        CHECK(fprintf(f, "%d\n", i) > 0 && fprintf(g, "%d\n", -i) > 0);
    CHECK(WEXITSTATUS(pclose(f)) == 9); /* sees its end although the other one is still open */
    CHECK(WEXITSTATUS(pclose(g)) == 9);
    CHECK(memcmp(get_file("out file"), ">0\n>1\n", 6) == 0);
    CHECK(memcmp(get_file("other"), ">0\n>-1\n", 7) == 0);
    CHECK((f = run("w", "copy >> \"out file\"")) && fputs("more\n", f) >= 0 && pclose(f) == 9 << 8);
    struct stat st;
    CHECK(stat("out file", &st) == 0 && st.st_size == 10 * 3 + 90 * 4 + 900 * 5 + 6);
    CHECK((f = run("r", "die")) && fgets(text, sizeof(text), f) == NULL);
    int status = pclose(f); /* a shell without exec in between says 128 + signal */
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGTERM : WEXITSTATUS(status) == 128 + SIGTERM);
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    return 0;
}

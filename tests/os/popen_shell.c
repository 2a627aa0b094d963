/* popen() of a shell command runs the shell, with this process's directory and environment. */
#include "os.h"

static const char *output(const char *command, int code)
{
    static char text[4096];
    FILE *f = popen(command, "r");
    size_t n;

    CHECK(f != NULL);
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    CHECK(pclose(f) == code << 8);
    return text;
}

int main(int argc, char **argv)
{
    char here[4096];
    FILE *f;

    os_role(argc, argv);
    CHECK(mkdir("sub", 0700) == 0 && chdir("sub") == 0 && getcwd(here, sizeof(here)));
    CHECK(setenv("OS_SHELL", "value", 1) == 0);
    CHECK(is(output("echo a | cat", 0), "a\n"));
    CHECK(is(output("echo $OS_SHELL; exit 3", 3), "value\n"));
    CHECK(strncmp(output("pwd", 0), here, strlen(here)) == 0);
    CHECK(
        is(output("cat < /dev/null; echo x >file; cat file; echo err >&2 2>/dev/null", 0), "x\n"));
    CHECK(is(get_file("file"), "x\n"));
    CHECK(is(output("/nonexistent/program 2>/dev/null", 127), ""));
    CHECK((f = popen("cat > copy", "w")) && fputs("to cat\n", f) >= 0 && pclose(f) == 0);
    CHECK(is(get_file("copy"), "to cat\n"));
    CHECK((f = popen("exit 0", "w")) != NULL);
    on_signal(SIGPIPE, SIG_IGN, 0);
    for (int i = 0; i < 100000 && !ferror(f); i++)
        fputs("nobody reads this\n", f);
    CHECK(ferror(f) && errno == EPIPE);
    CHECK(WEXITSTATUS(pclose(f)) == 0);
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    return 0;
}

/* system() runs a program or a shell command to its end and tells its status; signals that come
 * meanwhile stay with their processes, and the caller's children too. */
#include "os.h"

static int run(const char *rest)
{
    char command[4096];

    snprintf(command, sizeof(command), "\"%s\" %s", os_self, rest);
    return system(command);
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int status;

    if (is(role, "code")) {
        printf("code %s\n", argv[2]);
        return atoi(argv[2]);
    }
    if (is(role, "die"))
        return kill(getpid(), SIGKILL);
    if (is(role, "child"))
        return 21;
    pid_t pid = spawn_self("child");
    CHECK(WEXITSTATUS(run("code 0 > out")) == 0 && is(get_file("out"), "code 0\n"));
    CHECK(WEXITSTATUS(run("code 5 >> \"out\" 2>&1")) == 5 &&
          is(get_file("out"), "code 0\ncode 5\n"));
    status = run("die");
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 128 + SIGKILL);
    CHECK(system("exit 7") == 7 << 8);
    CHECK(system("test -f out && echo shell > made") == 0 && is(get_file("made"), "shell\n"));
    CHECK(WEXITSTATUS(system("/nonexistent/program 2>/dev/null")) == 127);
    CHECK(reap_exit(pid) == 21);
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    return 0;
}

/* execv() of what cannot be executed returns -1 in the child, which can still say so by _exit(). */
#include "os.h"

static int exec_errno(const char *path)
{
    pid_t pid = fork();

    if (pid == 0) {
        char *argv[] = {(char *)path, NULL};
        int rc = execv(path, argv);

        _exit(rc == -1 ? errno : 255);
    }
    CHECK(pid > 0);
    return reap_exit(pid);
}

int main(int argc, char **argv)
{
    os_role(argc, argv);
    put_file("plain", "not a program");
    CHECK(exec_errno("/nonexistent/program") == ENOENT);
    CHECK(exec_errno("missing") == ENOENT);
    CHECK(exec_errno("plain") == EACCES);
    CHECK(exec_errno("plain/below") == ENOTDIR);
    CHECK(exec_errno(".") == EACCES);
    CHECK(reap_exit(spawn_argv((char *[]){"/nonexistent/program", NULL})) == 127);
    return 0;
}

/* A child can run a program of the system, with arguments, environment, directory, descriptors and
 * status; it can be killed; and its output ends when it ends. */
#include "os.h"

static pid_t start(int out, char **argv)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (out >= 0)
            dup2(out, 1);
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

int main(int argc, char **argv)
{
    char text[256] = "";
    int ends[2], status;
    pid_t pid;
    FILE *f;

    os_role(argc, argv);
    CHECK(pipe(ends) == 0 && fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0);
    CHECK(fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0 && setenv("OS_OUT", "env", 1) == 0);
    put_file("file", "content");
    pid = start(ends[1], (char *[]){"/bin/sh", "-c", "echo $1 $OS_OUT; cat file; exit 12", "sh",
                                    "arg", NULL});
    CHECK(close(ends[1]) == 0 && (f = fdopen(ends[0], "r")));
    CHECK(fgets(text, sizeof(text), f) && is(text, "arg env\n"));
    CHECK(fgets(text, sizeof(text), f) && is(text, "content"));
    CHECK(fgets(text, sizeof(text), f) == NULL && reap_exit(pid) == 12 && fclose(f) == 0);

    pid = start(-1, (char *[]){"/bin/sh", "-c", "kill -9 $$", NULL});
    CHECK(reap(pid) == SIGKILL);
    CHECK(pipe(ends) == 0);
    pid = start(ends[1], (char *[]){"/bin/sh", "-c", "echo ready; exec sleep 3600", NULL});
    CHECK(read(ends[0], text, 6) == 6 && waitpid(pid, &status, WNOHANG) == 0);
    CHECK(kill(pid, SIGTERM) == 0 && reap(pid) == SIGTERM);
    CHECK(kill(pid, 0) == -1 && errno == ESRCH);
    return 0;
}

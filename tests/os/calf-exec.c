/*
 * calf-exec.c - run one program as an image in a kernel of its own
 *
 * usage: calf-exec PROGRAM [ARG ...]
 *
 * The directory of PROGRAM is the directory of images.  Exits as the program
 * did; 128 + the signal that ended it, after a line that says so.
 */
#include "../../src/kernel/kernel.h"

#include <libgen.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
    char path[PATH_MAX], dir[PATH_MAX], cwd[PATH_MAX];
    struct kernel *k;
    int status;
    pid_t pid;

    if (argc < 2 || !realpath(argv[1], path) || !getcwd(cwd, sizeof(cwd))) {
        fprintf(stderr, "usage: calf-exec PROGRAM [ARG ...]\n");
        return 2;
    }
    snprintf(dir, sizeof(dir), "%s", path);
    dirname(dir);
    argv[1] = path;
    k = kernel_create(dir, getenv("CALF_LIB") ? getenv("CALF_LIB") : dir);
    if (!k) {
        perror("calf-exec");
        return 2;
    }
    pid = kernel_spawn(
        k, &(struct spawn){
               .path = path, .argv = argv + 1, .envp = environ, .cwd = cwd, .fds = {0, 1, 2}});
    if (pid < 0) {
        fprintf(stderr, "calf-exec: %s: %s\n", path, strerror(-pid));
        return 127;
    }
    status = kernel_wait(k, pid);
    kernel_destroy(k);
    if (WIFSIGNALED(status))
        fprintf(stderr, "calf-exec: %s ended by signal %d\n", path, WTERMSIG(status));
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

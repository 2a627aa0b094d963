/* SIGCHLD tells a parent of each child's end, and an ignored SIGCHLD leaves no zombies. */
#include "os.h"

static volatile sig_atomic_t reaped;

static void reaper(int sig)
{
    int status, saved = errno;

    (void)sig;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
        reaped++;
    }
    errno = saved;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int ends[2];

    if (is(role, "child"))
        return 3;
    on_signal(SIGCHLD, reaper, SA_RESTART | SA_NOCLDSTOP);
    for (int i = 0; i < 20; i++)
        spawn_self("child");
    AWAIT(reaped == 20);
    mask_signal(SIG_BLOCK, SIGCHLD); /* as the postmaster does around its work */
    CHECK(pipe(ends) == 0 && fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0);
    spawn_self("child");
    CHECK(close(ends[1]) == 0 && read(ends[0], &(char){0}, 1) == 0 && reaped == 20);
    mask_signal(SIG_UNBLOCK, SIGCHLD);
    AWAIT(reaped == 21);
    on_signal(SIGCHLD, SIG_IGN, 0);
    pid_t pid = spawn_self("child");
    CHECK(waitpid(pid, NULL, 0) == -1 && errno == ECHILD); /* waits for the end all the same */
    CHECK(kill(pid, 0) == -1 && errno == ESRCH);
    return 0;
}

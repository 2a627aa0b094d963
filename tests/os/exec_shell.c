/* A child that becomes `sh -c 'exec "program" args < /dev/null >> log 2>&1'`, as pg_ctl starts the
 * postmaster, ends up as that program with the same pid and in its own session. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char command[4096], text[64];

    if (is(role, "server")) {
        CHECK(fgetc(stdin) == EOF);
        printf("%d %s %d\n", getpid(), argv[2], setsid() == -1 && errno == EPERM);
        return 4;
    }
    CHECK(fflush(NULL) == 0);
    snprintf(command, sizeof(command),
             "exec \"%s\" server \"a b\" < \"/dev/null\" >> \"log file\" 2>&1", os_self);
    pid_t pid = fork();
    if (pid == 0) {
        if (setsid() < 0)
            _exit(99);
        execl("/bin/sh", "/bin/sh", "-c", command, (char *)NULL);
        _exit(98);
    }
    CHECK(reap_exit(pid) == 4);
    snprintf(text, sizeof(text), "%d a b 1\n", pid);
    CHECK(is(get_file("log file"), text));
    return 0;
}

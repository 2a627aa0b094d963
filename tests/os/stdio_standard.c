/* stdin, stdout and stderr are the descriptors 0, 1 and 2 of that process; stderr is unbuffered;
 * freopen() and fdopen() attach streams to other files. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char text[64];

    if (is(role, "child")) {
        CHECK(fileno(stdin) == 0 && fileno(stdout) == 1 && fileno(stderr) == 2);
        CHECK(fgets(text, 64, stdin) && is(text, "input one\n"));
        CHECK(fscanf(stdin, "%63s", text) == 1 && is(text, "second") && fgetc(stdin) == '\n');
        CHECK(fgetc(stdin) == EOF && feof(stdin));
        CHECK(printf("out %s", "put") == 7 && puts("!") >= 0 && is(get_file("out"), ""));
        CHECK(fprintf(stderr, "err %d", 1) == 5 && fputs("x", stderr) >= 0);
        CHECK(is(get_file("err"), "err 1x"));
        return 0;
    }
    put_file("in", "input one\nsecond\n");
    pid_t pid = fork();
    if (pid == 0) {
        char *args[] = {os_self, "child", NULL};

        dup2(open("in", O_RDONLY), 0);
        dup2(open("out", O_WRONLY | O_CREAT | O_APPEND, 0600), 1);
        dup2(open("err", O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
        execv(os_self, args);
        _exit(127);
    }
    CHECK(reap_exit(pid) == 0 && is(get_file("out"), "out put!\n"));
    CHECK(is(get_file("err"), "err 1x"));

    CHECK(freopen("in", "r", stdin) == stdin && fileno(stdin) == 0);
    CHECK(fgets(text, 64, stdin) && is(text, "input one\n"));
    CHECK(freopen("again", "a", stdout) == stdout && printf("text") == 4 && fflush(stdout) == 0);
    CHECK(is(get_file("again"), "text"));
    int fd = open("again", O_RDWR | O_APPEND);
    FILE *f = fdopen(fd, "a");
    CHECK(f != NULL && fileno(f) == fd && fputs("+", f) >= 0 && fclose(f) == 0);
    CHECK(fcntl(fd, F_GETFD) == -1 && is(get_file("again"), "text+"));
    CHECK(fdopen(fd, "r") == NULL && errno == EBADF);
    CHECK(freopen("missing/x", "w", stdout) == NULL);
    return 0;
}

/* Streams over pipes carry lines between processes, and a reader sees the end. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int there[2], back[2], n;
    char text[64];

    if (is(role, "doubler")) { /* stdin to stdout */
        while (fgets(text, sizeof(text), stdin))
            CHECK(printf("%d\n", 2 * atoi(text)) > 0 && fflush(stdout) == 0);
        CHECK(feof(stdin));
        return 0;
    }
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    CHECK(fcntl(there[1], F_SETFD, FD_CLOEXEC) == 0 && fcntl(back[0], F_SETFD, FD_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char *args[] = {os_self, "doubler", NULL};

        dup2(there[0], 0);
        dup2(back[1], 1);
        execv(os_self, args);
        _exit(127);
    }
    CHECK(close(there[0]) == 0 && close(back[1]) == 0);
    FILE *out = fdopen(there[1], "w"), *in = fdopen(back[0], "r");
    CHECK(out && in);
    for (int i = 0; i < 2000; i++) {
        CHECK(fprintf(out, "%d\n", i) > 0 && fflush(out) == 0);
        CHECK(fgets(text, sizeof(text), in) && sscanf(text, "%d", &n) == 1 && n == 2 * i);
    }
    CHECK(fseek(in, 0, SEEK_SET) == -1 && errno == ESPIPE);
    CHECK(fclose(out) == 0 && fgets(text, sizeof(text), in) == NULL && feof(in));
    CHECK(fclose(in) == 0 && reap_exit(pid) == 0);
    return 0;
}

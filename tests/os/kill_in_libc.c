/* A process killed in the middle of a libc function leaves no lock behind: the others, and those
 * started later, can still call it. */
#include "os.h"
#include <dirent.h>
#include <dlfcn.h>
#include <locale.h>
#include <netdb.h>
#include <pwd.h>
#include <sys/socket.h>

static void use(int which)
{
    struct addrinfo hint = {.ai_flags = AI_NUMERICHOST}, *list;
    time_t now = time(NULL);
    locale_t locale;
    char text[64];
    FILE *f;
    DIR *d;

    switch (which) {
    case 0:
        CHECK(setenv("TZ", now % 2 ? "UTC" : "EST5EDT", 1) == 0 && localtime(&now) && ctime(&now));
        break;
    case 1: getpwuid(geteuid()); break;
    case 2: CHECK((f = tmpfile()) && fprintf(f, "%d %f", 1, 2.5) > 0 && fclose(f) == 0); break;
    case 3: CHECK((d = opendir("/")) && readdir(d) && closedir(d) == 0); break;
    case 4:
        CHECK(setlocale(LC_ALL, "C.UTF-8") && setlocale(LC_ALL, "C"));
        CHECK((locale = newlocale(LC_ALL_MASK, "C.UTF-8", NULL)) != NULL);
        break;
    case 5: CHECK(dlopen("/nonexistent", RTLD_NOW) == NULL && dlerror()); break;
    case 6:
        CHECK(getaddrinfo("127.0.0.1", "1", &hint, &list) == 0);
        freeaddrinfo(list);
        break;
    case 7:
        free(realloc(malloc(100), 100000));
        free(realpath(".", NULL));
        CHECK(snprintf(text, sizeof(text), "%.10g %s", 1e10 / 3, strsignal(5)) > 0);
        break;
    }
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int ends[2];
    char byte;

    if (is(role, "user")) {
        use(atoi(argv[2]));
        CHECK(write(atoi(argv[3]), ".", 1) == 1);
        for (;;)
            use(atoi(argv[2]));
    }
    CHECK(pipe(ends) == 0);
    for (int i = 0; i < 80; i++) {
        pid_t pid = spawn_self("user", num(i % 8), num(ends[1]));

        CHECK(read(ends[0], &byte, 1) == 1);
        use(i % 8); /* at the same time */
        CHECK(kill(pid, i % 3 ? SIGKILL : SIGTERM) == 0);
        CHECK(reap(pid) == (i % 3 ? SIGKILL : SIGTERM));
        use(i % 8);
    }
    return 0;
}

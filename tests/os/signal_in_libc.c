/* Signals that arrive in the middle of libc functions are handled soon and spoil no result. */
#include "os.h"
#include <sys/time.h>

static volatile sig_atomic_t handled;

static void count(int sig)
{
    (void)sig;
    handled++;
    errno = EINTR; /* a careless handler: libc's own results do not depend on it */
}

int main(int argc, char **argv)
{
    struct itimerval often = {.it_value = {0, 300}, .it_interval = {0, 300}};
    time_t when = 86400 * 365;
    char text[64], line[64];
    long n = 0;

    os_role(argc, argv);
    on_signal(SIGALRM, count, SA_RESTART);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    FILE *f = fopen("file", "w+");
    CHECK(f != NULL);
    for (; handled < 500 || n < 20000; n++) {
        CHECK(snprintf(text, sizeof(text), "%ld %.3f %s\n", n, n / 4.0, "x") > 0);
        CHECK(fputs(text, f) >= 0);
        if (n % 1000 == 0) {
            CHECK(fflush(f) == 0 && fseek(f, -(long)strlen(text), SEEK_CUR) == 0);
            CHECK(fgets(line, sizeof(line), f) && is(line, text) && fseek(f, 0, SEEK_END) == 0);
        }
        char *copy = realloc(strdup(text), 10000);
        CHECK(copy && is(copy, text));
        free(copy);
        CHECK(gmtime(&when)->tm_year == 71 && strtod("2.5", NULL) == 2.5);
    }
    CHECK(fclose(f) == 0 && (f = fopen("file", "r")) != NULL);
    for (long i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "%ld %.3f %s\n", i, i / 4.0, "x");
        CHECK(fgets(line, sizeof(line), f) && is(line, text));
    }
    CHECK(fgets(line, sizeof(line), f) == NULL && feof(f));
    return 0;
}

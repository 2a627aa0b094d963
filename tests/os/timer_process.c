/* A timer belongs to its process: a child starts without one, exec keeps it, death removes it. */
#include "os.h"
#include <sys/time.h>

static volatile sig_atomic_t alarms;

static void count(int sig)
{
    (void)sig;
    alarms++;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct itimerval hour = {.it_value = {3600, 0}}, soon = {.it_value = {0, 1000}}, old;

    if (is(role, "forked")) {
        CHECK(setitimer(ITIMER_REAL, &hour, &old) == 0);
        CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
        return 0; /* with a timer armed */
    }
    if (is(role, "first")) {
        char *again[] = {os_self, "second", NULL};

        CHECK(setitimer(ITIMER_REAL, &hour, NULL) == 0);
        execv(os_self, again);
        return 1;
    }
    if (is(role, "second")) {
        CHECK(setitimer(ITIMER_REAL, &soon, &old) == 0 && old.it_value.tv_sec >= 3500);
        for (;;) /* the default action of SIGALRM ends this */
            nap_ms(1000);
    }
    on_signal(SIGALRM, count, 0);
    CHECK(setitimer(ITIMER_REAL, &hour, NULL) == 0);
    CHECK(reap_exit(spawn_self("forked")) == 0);
    CHECK(reap(spawn_self("first")) == SIGALRM);
    CHECK(alarms == 0);
    CHECK(alarm(2000) >= 3500); /* the same timer */
    CHECK(alarm(0) >= 1900 && alarms == 0);
    int ends[2];
    CHECK(pipe(ends) == 0);
    soon.it_interval.tv_usec = 1000; /* repeat: the first may come before the read */
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    CHECK(read(ends[0], &(char){0}, 1) == -1 && errno == EINTR && alarms > 0);
    return 0;
}

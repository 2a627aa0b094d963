/* setitimer() fires once or repeatedly, is armed anew, and tells what was left when stopped. */
#include "os.h"
#include <sys/time.h>

static volatile sig_atomic_t alarms;

static void count(int sig)
{
    alarms += sig == SIGALRM;
}

static struct itimerval set(long value_us, long interval_us)
{
    struct itimerval old, new = {.it_value = {value_us / 1000000, value_us % 1000000},
                                 .it_interval = {0, interval_us}};

    CHECK(setitimer(ITIMER_REAL, &new, &old) == 0);
    return old;
}

int main(int argc, char **argv)
{
    struct itimerval old;
    volatile unsigned sum = 0;

    os_role(argc, argv);
    on_signal(SIGALRM, count, SA_RESTART);
    old = set(1000, 0);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0);
    AWAIT(alarms == 1);
    old = set(3600 * 1000000L, 0);
    CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0); /* it fired: nothing left */
    old = set(1000, 1000);                                        /* earlier than the one armed */
    CHECK(old.it_value.tv_sec >= 3500 && old.it_value.tv_sec <= 3600);
    CHECK(old.it_interval.tv_sec == 0 && old.it_interval.tv_usec == 0);
    AWAIT(alarms >= 4);
    while (alarms < 8)
        sum++; /* also while computing */
    old = set(0, 0);
    CHECK(old.it_interval.tv_usec == 1000 && old.it_value.tv_usec <= 1000);
    int seen = alarms;
    old = set(2000, 0);
    CHECK(old.it_value.tv_usec == 0 && alarms == seen);
    AWAIT(alarms == seen + 1);
    return 0;
}

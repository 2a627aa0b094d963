/* The clocks agree, never go back, and rusage grows with work. */
#include "os.h"
#include <sys/resource.h>
#include <sys/time.h>

static long used_us(void)
{
    struct rusage r;

    CHECK(getrusage(RUSAGE_SELF, &r) == 0);
    return r.ru_utime.tv_sec * 1000000L + r.ru_utime.tv_usec + r.ru_stime.tv_sec * 1000000L +
           r.ru_stime.tv_usec;
}

int main(int argc, char **argv)
{
    struct timespec a, b, real;
    volatile unsigned sum = 0;
    struct timeval tv;

    os_role(argc, argv);
    time_t before = time(NULL);
    CHECK(gettimeofday(&tv, NULL) == 0 && clock_gettime(CLOCK_REALTIME, &real) == 0);
    CHECK(tv.tv_sec >= before && real.tv_sec >= tv.tv_sec);
    CHECK(time(NULL) + 1 >= real.tv_sec); /* time() reads the tick's clock, which is behind */
    CHECK(before > 1600000000 && tv.tv_usec < 1000000 && real.tv_nsec < 1000000000);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &a) == 0);
    for (int i = 0; i < 10000; i++) {
        CHECK(clock_gettime(CLOCK_MONOTONIC, &b) == 0);
        CHECK(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
        a = b;
    }
    long start = used_us();
    while (used_us() == start)
        sum++;
    CHECK(nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &b) == 0);
    CHECK((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec >= 1000000);
    CHECK(nanosleep(&(struct timespec){.tv_nsec = -1}, NULL) == -1 && errno == EINVAL);
    return 0;
}

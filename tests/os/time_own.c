/* localtime() and friends follow the process's own TZ and their results outlive other processes'
 * calls. */
#include "os.h"

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    time_t when = 86400 * 365; /* 1971-01-01 00:00:00 UTC */
    char text[64];
    struct tm *tm;

    if (is(role, "child")) {
        tm = localtime(&when);
        CHECK(tm->tm_hour == 5 && tm->tm_year == 71);
        CHECK(strftime(text, sizeof(text), "%H:%M %Z", tm) == 9 && is(text, "05:30 IST"));
        CHECK(is(ctime(&when), "Fri Jan  1 05:30:00 1971\n"));
        return 0;
    }
    CHECK(setenv("TZ", "EST5EDT", 1) == 0);
    tzset();
    tm = localtime(&when);
    CHECK(tm->tm_hour == 19 && tm->tm_mday == 31 && tm->tm_mon == 11 && tm->tm_year == 70);
    CHECK(setenv("TZ", "IST-5:30", 1) == 0);
    CHECK(reap_exit(spawn_self("child")) == 0);
    CHECK(tm->tm_hour == 19 && tm->tm_mday == 31); /* still the same result */
    CHECK(mktime(&(struct tm){.tm_year = 71, .tm_mday = 1, .tm_hour = 5, .tm_min = 30}) == when);
    CHECK(setenv("TZ", "EST5EDT", 1) == 0);
    tzset();
    CHECK(is(ctime(&when), "Thu Dec 31 19:00:00 1970\n"));
    tm = gmtime(&when);
    CHECK(tm->tm_hour == 0 && tm->tm_wday == 5 && tm->tm_yday == 0);
    CHECK(strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", tm) == 19);
    CHECK(is(text, "1971-01-01 00:00:00"));
    return 0;
}

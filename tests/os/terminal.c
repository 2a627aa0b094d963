/* isatty() and tcgetattr() say ENOTTY for what is no terminal, EBADF for what is not open. */
#include "os.h"
#include <termios.h>

int main(int argc, char **argv)
{
    struct termios t;
    int ends[2];

    os_role(argc, argv);
    CHECK(pipe(ends) == 0);
    CHECK(isatty(ends[0]) == 0 && errno == ENOTTY);
    CHECK(tcgetattr(ends[0], &t) == -1 && errno == ENOTTY);
    CHECK(isatty(open("/dev/null", O_RDONLY)) == 0 && errno == ENOTTY);
    CHECK(isatty(999) == 0 && errno == EBADF);
    return 0;
}

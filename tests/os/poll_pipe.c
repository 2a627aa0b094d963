/* poll, ppoll and select see what a pipe can do: data, room, the end, nothing. */
#include "os.h"
#include <poll.h>
#include <sys/select.h>

static int ready(int fd, short events, int timeout)
{
    struct pollfd p = {.fd = fd, .events = events, .revents = 77};
    int rc = poll(&p, 1, timeout);

    CHECK(rc == (p.revents != 0));
    return p.revents;
}

static int selected(int fd)
{
    struct timeval now = {0};
    fd_set in, out;

    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(fd, &in);
    FD_SET(fd, &out);
    CHECK(select(fd + 1, &in, &out, NULL, &now) >= 0);
    return !!FD_ISSET(fd, &in) + 2 * !!FD_ISSET(fd, &out);
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct pollfd two[3];
    int ends[2];
    char byte;

    if (is(role, "writer"))
        return write(atoi(argv[2]), "x", 1) != 1;
    CHECK(pipe(ends) == 0);
    CHECK(ready(ends[0], POLLIN, 0) == 0 && ready(ends[1], POLLOUT, -1) == POLLOUT);
    CHECK(ready(ends[0], POLLIN, 1) == 0); /* a time-out */
    CHECK(selected(ends[0]) == 0 && selected(ends[1]) == 2);
    pid_t pid = spawn_self("writer", num(ends[1]));
    CHECK(ready(ends[0], POLLIN, -1) == POLLIN && selected(ends[0]) == 1);
    CHECK(reap_exit(pid) == 0);
    two[0] = (struct pollfd){.fd = -1, .events = POLLIN};
    two[1] = (struct pollfd){.fd = ends[0], .events = POLLIN};
    two[2] = (struct pollfd){.fd = ends[1], .events = POLLOUT};
    CHECK(ppoll(two, 3, &(struct timespec){.tv_sec = 60}, NULL) == 2);
    CHECK(two[0].revents == 0 && two[1].revents == POLLIN && two[2].revents == POLLOUT);
    CHECK(read(ends[0], &byte, 1) == 1);
    CHECK(close(ends[1]) == 0);
    CHECK(ready(ends[0], POLLIN, -1) == POLLHUP && selected(ends[0]) == 1);
    CHECK(ready(ends[1], POLLIN, -1) == POLLNVAL);
    CHECK(pipe(ends) >= 0 && close(ends[0]) == 0);
    CHECK((ready(ends[1], POLLOUT, -1) & POLLERR) != 0);
    return 0;
}

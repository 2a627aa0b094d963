/* A pipe whose write end only the parent holds ends when the parent is killed, which wakes an
 * epoll set, a poll and a read in its children, as PostgreSQL watches for postmaster death. */
#include "os.h"
#include <poll.h>
#include <sys/epoll.h>

static void watch(const char *how, int death)
{
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (is(how, "epoll")) {
        CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, death, &event) == 0);
        CHECK(epoll_wait(epoll, &event, 1, -1) == 1 && event.events == EPOLLHUP);
    } else if (is(how, "poll")) {
        CHECK(poll(&(struct pollfd){.fd = death, .events = POLLIN}, 1, -1) == 1);
    }
    CHECK(read(death, &(char){0}, 1) == 0);
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    int report[2], death[2];
    char bytes[3];

    if (is(role, "child")) {
        CHECK(write(atoi(argv[4]), "r", 1) == 1);
        watch(argv[2], atoi(argv[3]));
        CHECK(write(atoi(argv[4]), "d", 1) == 1);
        return 0;
    }
    if (is(role, "postmaster")) {
        CHECK(pipe(death) == 0 && fcntl(death[1], F_SETFD, FD_CLOEXEC) == 0);
        spawn_self("child", "epoll", num(death[0]), argv[2]);
        spawn_self("child", "poll", num(death[0]), argv[2]);
        spawn_self("child", "read", num(death[0]), argv[2]);
        for (;;)
            nap_ms(1000);
    }
    CHECK(pipe(report) == 0);
    pid_t pid = spawn_self("postmaster", num(report[1]));
    CHECK(close(report[1]) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(read(report[0], bytes, 1) == 1 && bytes[0] == 'r');
    CHECK(kill(pid, SIGKILL) == 0 && reap(pid) == SIGKILL);
    for (int i = 0; i < 3; i++)
        CHECK(read(report[0], bytes, 1) == 1 && bytes[0] == 'd');
    CHECK(read(report[0], bytes, 1) == 0);
    return 0;
}

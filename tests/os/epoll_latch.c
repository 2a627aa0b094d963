/* PostgreSQL's latch: SIGURG blocked, a signalfd for it in an epoll set, kill() from another
 * process wakes the sleeper, and reading the signalfd until EAGAIN makes it quiet again. */
#include "os.h"
#include <sys/epoll.h>
#include <sys/signalfd.h>

static void drain(int fd)
{
    struct signalfd_siginfo info[8];
    ssize_t n = read(fd, info, sizeof(info));

    CHECK(n == sizeof(info[0])); /* one, however often it was sent */
    CHECK(info[0].ssi_signo == SIGURG);
    CHECK(read(fd, info, sizeof(info)) == -1 && errno == EAGAIN);
}

static int wait_event(int epoll, int timeout)
{
    struct epoll_event got[4];
    int n = epoll_wait(epoll, got, 4, timeout);

    CHECK(n >= 0 && n <= 1);
    CHECK(n == 0 || (got[0].events == EPOLLIN && got[0].data.u64 == 0x123456789abcULL));
    return n;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x123456789abcULL};
    int ends[2], epoll;
    sigset_t mask;
    char byte;

    if (is(role, "setter")) {
        while (read(atoi(argv[2]), &byte, 1) == 1)
            CHECK(kill(getppid(), SIGURG) == 0);
        return 0;
    }
    sigemptyset(&mask);
    sigaddset(&mask, SIGURG);
    mask_signal(SIG_BLOCK, SIGURG);
    int fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(fd >= 0 && (epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    CHECK(wait_event(epoll, 0) == 0 && wait_event(epoll, 1) == 0);
    CHECK(kill(getpid(), SIGURG) == 0 && kill(getpid(), SIGURG) == 0);
    CHECK(wait_event(epoll, -1) == 1 && wait_event(epoll, -1) == 1); /* level-triggered */
    drain(fd);
    CHECK(wait_event(epoll, 0) == 0);

    CHECK(pipe(ends) == 0 && fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0);
    pid_t pid = spawn_self("setter", num(ends[0]));
    for (int i = 0; i < 1000; i++) {
        CHECK(write(ends[1], "s", 1) == 1);
        CHECK(wait_event(epoll, -1) == 1);
        drain(fd);
    }
    CHECK(close(ends[1]) == 0 && reap_exit(pid) == 0);
    CHECK(wait_event(epoll, 0) == 0);
    return 0;
}

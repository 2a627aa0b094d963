/* nanosleep, select, poll and epoll_wait end with EINTR whatever SA_RESTART says, and
 * sem_wait and accept without it. */
#include "os.h"
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <poll.h>

static volatile sig_atomic_t handled;

static void count(int sig)
{
    handled += sig == SIGUSR1;
}

#define INTERRUPTED(call) (handled = 0, (call) == -1 && errno == EINTR && handled > 0)

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct timespec left, hour = {.tv_sec = 3600};
    int ends[2], epoll, listener;
    struct epoll_event event = {.events = EPOLLIN};
    fd_set set;
    sem_t sem;
    pid_t pid;

    if (is(role, "nag"))
        for (;;) {
            kill(getppid(), SIGUSR1);
            nap_ms(1);
        }
    CHECK(pipe(ends) == 0 && (epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
    CHECK(sem_init(&sem, 1, 0) == 0);
    CHECK((listener = socket(AF_INET, SOCK_STREAM, 0)) >= 0 && listen(listener, 1) == 0);
    on_signal(SIGUSR1, count, SA_RESTART);
    pid = spawn_self("nag");
    CHECK(INTERRUPTED(nanosleep(&hour, &left)) && left.tv_sec >= 3500 && left.tv_sec < 3600);
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    CHECK(INTERRUPTED(select(ends[0] + 1, &set, NULL, NULL, &(struct timeval){.tv_sec = 3600})));
    CHECK(INTERRUPTED(select(0, NULL, NULL, NULL, &(struct timeval){.tv_sec = 3600})));
    CHECK(INTERRUPTED(poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, -1)));
    CHECK(INTERRUPTED(poll(NULL, 0, 3600000)));
    CHECK(INTERRUPTED(epoll_wait(epoll, &event, 1, -1)));
    on_signal(SIGUSR1, count, 0);
    CHECK(INTERRUPTED(sem_wait(&sem)));
    CHECK(INTERRUPTED(accept(listener, NULL, NULL)));
    CHECK(kill(pid, SIGKILL) == 0 && reap(pid) == SIGKILL);
    return 0;
}

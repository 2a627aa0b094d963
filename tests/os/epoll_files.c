/* An epoll set reports pipes and sockets with the data given, follows EPOLL_CTL_MOD and DEL, and
 * sees a closed peer, as wait event sets need. */
#include "os.h"
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

static int epoll;

static int events_of(void *tag)
{
    struct epoll_event got[8];
    int n = epoll_wait(epoll, got, 8, 0), found = 0;

    CHECK(n >= 0);
    for (int i = 0; i < n; i++)
        if (got[i].data.ptr == tag)
            found |= got[i].events;
    return found;
}

static void control(int op, int fd, int events, void *tag)
{
    CHECK(epoll_ctl(epoll, op, fd, &(struct epoll_event){.events = events, .data.ptr = tag}) == 0);
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    struct epoll_event event = {.events = EPOLLIN};
    int death[2], listener, sock, peer;
    char p, l, s;

    os_role(argc, argv);
    CHECK((epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0);
    CHECK(fcntl(epoll, F_GETFD) == FD_CLOEXEC);
    CHECK((listener = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(listen(listener, 5) == 0 && pipe(death) == 0);
    control(EPOLL_CTL_ADD, death[0], EPOLLIN, &p);
    control(EPOLL_CTL_ADD, listener, EPOLLIN, &l);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == -1 && errno == EEXIST);
    CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, death[1], &event) == -1 && errno == ENOENT);
    CHECK(events_of(&p) == 0 && events_of(&l) == 0);
    CHECK((sock = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    CHECK(connect(sock, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(events_of(&l) == EPOLLIN && (peer = accept(listener, NULL, NULL)) >= 0);
    CHECK(events_of(&l) == 0);
    control(EPOLL_CTL_ADD, peer, EPOLLIN | EPOLLOUT, &s);
    CHECK(events_of(&s) == EPOLLOUT);
    control(EPOLL_CTL_MOD, peer, EPOLLIN | EPOLLRDHUP, &s);
    CHECK(events_of(&s) == 0);
    CHECK(send(sock, "hello", 5, 0) == 5 && events_of(&s) == EPOLLIN);
    CHECK(close(sock) == 0);
    CHECK((events_of(&s) & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) == (EPOLLIN | EPOLLRDHUP | EPOLLHUP));
    CHECK(epoll_ctl(epoll, EPOLL_CTL_DEL, peer, NULL) == 0 && events_of(&s) == 0);
    CHECK(close(death[1]) == 0 && events_of(&p) == EPOLLHUP);
    CHECK(close(death[0]) == 0 && events_of(&p) == 0); /* closing takes it out */
    return 0;
}

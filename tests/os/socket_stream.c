/* Megabytes cross a nonblocking Unix socket both ways at once, paced by epoll, and nothing is lost
 * or out of order. */
#include "os.h"
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { TOTAL = 8 << 20 };

/* Send and receive TOTAL patterned bytes, whichever is possible. */
static void talk(int sock, int salt)
{
    static unsigned char buf[70000];
    long sent = 0, got = 0;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event;
    ssize_t n;

    CHECK(fcntl(sock, F_SETFL, O_NONBLOCK) == 0);
    event.events = EPOLLIN | EPOLLOUT;
    CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, sock, &event) == 0);
    while (sent < TOTAL || got < TOTAL) {
        event.events = EPOLLIN | (sent < TOTAL ? EPOLLOUT : 0);
        CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, sock, &event) == 0);
        CHECK(epoll_wait(epoll, &event, 1, -1) == 1);
        if (event.events & EPOLLOUT) {
            long want = TOTAL - sent < (long)sizeof(buf) ? TOTAL - sent : (long)sizeof(buf);

            for (long i = 0; i < want; i++)
                buf[i] = (sent + i + salt) % 255;
            n = send(sock, buf, want, 0);
            CHECK(n > 0 || errno == EAGAIN);
            sent += n > 0 ? n : 0;
        }
        if (event.events & EPOLLIN) {
            n = recv(sock, buf, sizeof(buf), 0);
            CHECK(n > 0 || (n < 0 && errno == EAGAIN));
            for (ssize_t i = 0; i < n; i++)
                CHECK(buf[i] == (got++ + 1 - salt) % 255);
        }
    }
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int sock = socket(AF_UNIX, SOCK_STREAM, 0);

    if (is(role, "client")) {
        CHECK(connect(sock, (struct sockaddr *)&address, sizeof(address)) == 0);
        talk(sock, 1);
        return 0;
    }
    CHECK(bind(sock, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(sock, 1) == 0);
    pid_t pid = spawn_self("client");
    talk(accept(sock, NULL, NULL), 0);
    CHECK(reap_exit(pid) == 0);
    return 0;
}

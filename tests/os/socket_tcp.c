/* TCP on the loopback: a port chosen by the system, a nonblocking connect that poll() and SO_ERROR
 * finish, options, and a connection that an exec'd child serves on an inherited descriptor. */
#include "os.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static int error_of(int sock)
{
    int error = -1;
    socklen_t size = sizeof(error);

    CHECK(getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    return error;
}

static int start_connect(const struct sockaddr_in *to)
{
    int sock = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(sock >= 0 && fcntl(sock, F_SETFL, O_NONBLOCK) == 0);
    CHECK(connect(sock, (struct sockaddr *)to, sizeof(*to)) == 0 || errno == EINPROGRESS ||
          errno == ECONNREFUSED);
    return sock;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(here);
    int one = 1, listener, sock, peer;
    char text[8];

    if (is(role, "server")) {
        CHECK(recv(atoi(argv[2]), text, 8, 0) == 4 && memcmp(text, "ping", 4) == 0);
        CHECK(send(atoi(argv[2]), "pong", 4, 0) == 4);
        return 0;
    }
    CHECK((listener = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
    CHECK(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
    CHECK(bind(listener, (struct sockaddr *)&here, sizeof(here)) == 0 && listen(listener, 5) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&here, &size) == 0 && ntohs(here.sin_port) > 0);
    sock = start_connect(&here);
    CHECK(poll(&(struct pollfd){.fd = sock, .events = POLLOUT}, 1, -1) == 1 && error_of(sock) == 0);
    CHECK((peer = accept(listener, NULL, NULL)) >= 0 && close(listener) == 0);
    CHECK(setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    CHECK(setsockopt(peer, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) == 0);
    pid_t pid = spawn_self("server", num(peer));
    CHECK(close(peer) == 0);
    CHECK(fcntl(sock, F_SETFL, 0) == 0 && send(sock, "ping", 4, 0) == 4);
    CHECK(recv(sock, text, 8, 0) == 4 && memcmp(text, "pong", 4) == 0);
    CHECK(recv(sock, text, 8, 0) == 0 && reap_exit(pid) == 0 && close(sock) == 0);

    sock = start_connect(&here); /* nobody listens any more */
    int error = errno == ECONNREFUSED ? errno : 0;
    CHECK(poll(&(struct pollfd){.fd = sock, .events = POLLOUT}, 1, -1) == 1);
    CHECK(error == ECONNREFUSED || error_of(sock) == ECONNREFUSED);
    return 0;
}

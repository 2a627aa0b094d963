/* Writing to a pipe or socket without a reader kills by SIGPIPE, or says EPIPE when ignored. */
#include "os.h"
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int ends[2], listener, sock, peer;

    if (is(role, "writer"))
        return write(atoi(argv[2]), "x", 1) == -1 && errno == EPIPE ? 5 : 1;
    CHECK(pipe(ends) == 0 && close(ends[0]) == 0);
    CHECK(reap(spawn_self("writer", num(ends[1]))) == SIGPIPE);
    on_signal(SIGPIPE, SIG_IGN, 0);
    CHECK(reap_exit(spawn_self("writer", num(ends[1]))) == 5);
    CHECK(write(ends[1], "x", 1) == -1 && errno == EPIPE);

    CHECK((listener = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(listen(listener, 5) == 0);
    CHECK((sock = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    CHECK(connect(sock, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK((peer = accept(listener, NULL, NULL)) >= 0 && close(peer) == 0);
    CHECK(send(sock, "x", 1, 0) == -1 && errno == EPIPE);
    on_signal(SIGPIPE, SIG_DFL, 0);
    CHECK(send(sock, "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
    CHECK(reap(spawn_self("writer", num(sock))) == SIGPIPE);
    return 0;
}

/* A Unix socket at a relative path connects processes; bytes arrive whole and in order; peek
 * leaves them; the address can be asked; its file is bound once. */
#include "os.h"
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "dir/.s.PGSQL.5432"};

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct sockaddr_un got;
    socklen_t size = sizeof(got);
    int listener, sock, type;
    char text[32] = "";
    struct stat st;

    if (is(role, "client")) {
        CHECK((sock = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
        CHECK(connect(sock, (struct sockaddr *)&address, sizeof(address)) == 0);
        CHECK(getsockname(sock, (struct sockaddr *)&got, &size) == 0 && got.sun_family == AF_UNIX);
        CHECK(send(sock, "ques", 4, 0) == 4 && send(sock, "tion", 4, 0) == 4);
        CHECK(recv(sock, text, sizeof(text), 0) == 6 && memcmp(text, "answer", 6) == 0);
        CHECK(recv(sock, text, sizeof(text), 0) == 0);
        return 0;
    }
    CHECK(mkdir("dir", 0700) == 0);
    CHECK((listener = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    CHECK(connect(listener, (struct sockaddr *)&address, sizeof(address)) == -1 && errno == ENOENT);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(lstat("dir/.s.PGSQL.5432", &st) == 0 && S_ISSOCK(st.st_mode));
    CHECK(chmod("dir/.s.PGSQL.5432", 0700) == 0 && listen(listener, 5) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&got, &size) == 0);
    CHECK(is(got.sun_path, address.sun_path));
    pid_t pid = spawn_self("client");
    size = sizeof(got);
    CHECK((sock = accept(listener, (struct sockaddr *)&got, &size)) >= 0);
    CHECK(got.sun_family == AF_UNIX && (fcntl(sock, F_GETFL) & O_NONBLOCK) == 0);
    size = sizeof(type);
    CHECK(getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM);
    for (size_t have = 0; have < 8; nap_ms(1))
        have = recv(sock, text, sizeof(text), MSG_PEEK);
    CHECK(recv(sock, text, 3, 0) == 3 && recv(sock, text + 3, 29, 0) == 5 && is(text, "question"));
    CHECK(fcntl(sock, F_SETFL, O_NONBLOCK) == 0);
    CHECK(recv(sock, text, 1, 0) == -1 && errno == EAGAIN);
    CHECK(write(sock, "answer", 6) == 6 && close(sock) == 0 && reap_exit(pid) == 0);
    CHECK(close(listener) == 0);
    CHECK((listener = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof(address)) == -1);
    CHECK(errno == EADDRINUSE);
    CHECK(connect(listener, (struct sockaddr *)&address, sizeof(address)) == -1);
    CHECK(errno == ECONNREFUSED);
    return 0;
}

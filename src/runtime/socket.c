/*
 * socket.c - the file of a server's Unix socket: does its path fit, does somebody answer behind it
 */
#include "runtime.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int socket_address(const char *dir, struct sockaddr_un *out, struct calf_error *err)
{
    char path[PATH_MAX + 32];

    snprintf(path, sizeof(path), "%s/.s.PGSQL." SERVER_PORT, dir);
    if (strlen(path) >= sizeof(out->sun_path))
        return fail(err, CALF_ACCESS,
                    "the socket path %s has %zu bytes, and the system allows %zu; name a shorter "
                    "directory for the socket",
                    path, strlen(path), sizeof(out->sun_path) - 1);
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, path, strlen(path) + 1);
    return 0;
}

bool socket_answers(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)address, sizeof(*address));

    if (fd >= 0)
        close(fd);
    return rc == 0;
}

/* Addresses are resolved, printed and listed, and the lists can be freed. */
#include "os.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
    struct addrinfo hint = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *list;
    struct ifaddrs *interfaces;
    char host[64], port[16];
    struct in_addr address;

    os_role(argc, argv);
    for (int i = 0; i < 100; i++) {
        CHECK(getaddrinfo("127.0.0.1", "5432", &hint, &list) == 0);
        CHECK(list->ai_family == AF_INET && list->ai_next == NULL);
        CHECK(getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof(host), port, sizeof(port),
                          NI_NUMERICHOST | NI_NUMERICSERV) == 0);
        CHECK(is(host, "127.0.0.1") && is(port, "5432"));
        freeaddrinfo(list);
    }
    int rc = getaddrinfo("not a number", NULL, &hint, &list);
    CHECK(rc == EAI_NONAME && gai_strerror(rc) != NULL);
    CHECK(inet_aton("10.1.2.3", &address) == 1 && ntohl(address.s_addr) == 0x0a010203);
    CHECK(getifaddrs(&interfaces) == 0);
    freeifaddrs(interfaces);
    return 0;
}

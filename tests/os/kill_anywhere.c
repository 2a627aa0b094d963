/* A process dies at once by SIGKILL, or by SIGTERM with no handler, whatever it waits for or does.
 */
#include "os.h"
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>

static void forever(const char *what, int in, int out)
{
    static char big[1 << 20];
    static sem_t sem;
    volatile unsigned sum = 0;
    sigset_t set;
    int sig;

    if (is(what, "read"))
        CHECK(read(in, big, 1) == 77);
    if (is(what, "write"))
        CHECK(write(out, big, sizeof(big)) == 77);
    if (is(what, "poll"))
        poll(&(struct pollfd){.fd = in, .events = POLLIN}, 1, -1);
    if (is(what, "select"))
        select(0, NULL, NULL, NULL, NULL);
    if (is(what, "epoll"))
        epoll_wait(epoll_create1(0), &(struct epoll_event){0}, 1, -1);
    if (is(what, "sem"))
        sem_init(&sem, 1, 0), sem_wait(&sem);
    if (is(what, "nanosleep"))
        nap_ms(3600000);
    if (is(what, "wait"))
        CHECK(waitpid(spawn_self("orphan"), NULL, 0) == 77);
    if (is(what, "sigwait"))
        sigemptyset(&set), sigaddset(&set, SIGUSR1), sigwait(&set, &sig);
    if (is(what, "accept")) {
        int listener = socket(AF_INET, SOCK_STREAM, 0);

        CHECK(listen(listener, 1) == 0);
        accept(listener, NULL, NULL);
    }
    for (;;)
        sum++; /* "compute" */
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    static const char *const what[] = {"read", "write",     "poll",    "select", "epoll",  "sem",
                                       "wait", "nanosleep", "sigwait", "accept", "compute"};
    int ends[2], report[2];
    char byte;

    if (is(role, "orphan")) {
        pid_t parent = getppid(); /* may be too late to see it, then it is the next one */

        for (int n = 0; getppid() == parent && n < 1000; n++)
            nap_ms(1);
        return 0;
    }
    if (is(role, "forever")) {
        CHECK(write(atoi(argv[5]), ".", 1) == 1);
        forever(argv[2], atoi(argv[3]), atoi(argv[4]));
    }
    CHECK(pipe(ends) == 0 && pipe(report) == 0);
    for (size_t i = 0; i < 2 * sizeof(what) / sizeof(what[0]); i++) {
        int sig = i % 2 ? SIGKILL : SIGTERM;
        pid_t pid =
            spawn_self("forever", (char *)what[i / 2], num(ends[0]), num(ends[1]), num(report[1]));

        CHECK(read(report[0], &byte, 1) == 1);
        for (int n = 0; i / 2 % 2 && n < 5; n++)
            nap_ms(1); /* some get as far as to wait */
        CHECK(kill(pid, sig) == 0);
        CHECK(reap(pid) == sig);
    }
    return 0;
}

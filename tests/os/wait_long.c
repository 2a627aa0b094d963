/* A wait of some seconds lasts as long as it should, and what the process has is as it was. */
#include "os.h"

#include <poll.h>
#include <sys/epoll.h>

#define WAIT_MS 2600 /* calf takes memory back from who waits for longer than a second or two */

static long now_ms(void)
{
    struct timespec t;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void fill(char *p, size_t size, char with)
{
    for (size_t i = 0; i < size; i++)
        p[i] = (char)(with + i % 61);
}

static bool has(const char *p, size_t size, char with)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != (char)(with + i % 61))
            return false;
    return true;
}

/* Touches a megabyte of stack that nobody needs later. */
static int deep(int n)
{
    char room[64 << 10];

    fill(room, sizeof(room), (char)n);
    return n ? deep(n - 1) + room[n] : room[0];
}

static int end[2];

static int in_poll(void)
{
    struct pollfd fd = {.fd = end[0], .events = POLLIN};

    return poll(&fd, 1, WAIT_MS);
}

static int in_epoll(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    int set = epoll_create1(0), rc;

    CHECK(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, end[0], &event) == 0);
    rc = epoll_wait(set, &event, 1, WAIT_MS);
    close(set);
    return rc;
}

static void waits(int (*wait)(void))
{
    char kept[40000], *heap[64], *free_again = malloc(900000);
    long begun;

    fill(kept, sizeof(kept), 1);
    for (int i = 0; i < 64; i++) {
        heap[i] = malloc(1000 + i * 1500);
        CHECK(heap[i]);
        fill(heap[i], 1000 + i * 1500, (char)i);
    }
    CHECK(free_again);
    fill(free_again, 900000, 3);
    free(free_again);
    for (int i = 1; i < 64; i += 2)
        free(heap[i]);
    deep(16);
    begun = now_ms();
    CHECK(wait() == 0); /* not -1: no signal came */
    CHECK(now_ms() - begun >= WAIT_MS);
    CHECK(has(kept, sizeof(kept), 1));
    for (int i = 0; i < 64; i += 2)
        CHECK(has(heap[i], 1000 + i * 1500, (char)i));
    free_again = calloc(1, 900000);
    CHECK(free_again);
    for (int i = 0; i < 900000; i++)
        CHECK(free_again[i] == 0);
    deep(16);
    free(free_again);
    for (int i = 0; i < 64; i += 2)
        free(heap[i]);
}

int main(int argc, char **argv)
{
    int status;

    CHECK(pipe(end) == 0);
    if (is(os_role(argc, argv), "child")) {
        waits(in_epoll);
        return 0;
    }
    status = spawn_self("child");
    waits(in_poll);
    CHECK(reap_exit(status) == 0);
    return 0;
}

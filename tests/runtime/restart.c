/*
 * restart.c - a server starts and stops a hundred times in one process, and the process
 * has as many descriptors and threads as before and at most 5 % more memory
 *
 * usage: restart DIR
 */
#include "runtime_test.h"

#define WARM_UP 10
#define ROUNDS 100

int main(int argc, char **argv)
{
    int fds = 0, threads = 0;
    struct install in;
    struct calf_error err;
    long before = 0;

    CHECK(argc == 2 && install_find(&in, &err) == 0);
    for (int i = 0; i < WARM_UP + ROUNDS; i++) {
        struct server *s;

        if (i == WARM_UP) {
            fds = entries("/proc/self/fd");
            threads = entries("/proc/self/task");
            before = resident();
        }
        s = start(&in, argv[1]);
        CHECK(strcmp(query(s, "select 6 * 7"), "42") == 0);
        stop(s);
    }
    fprintf(stderr, "descriptors %d -> %d, threads %d -> %d, resident KiB %ld -> %ld\n", fds,
            entries("/proc/self/fd"), threads, entries("/proc/self/task"), before, resident());
    CHECK(entries("/proc/self/fd") == fds);
    CHECK(entries("/proc/self/task") == threads);
    CHECK(resident() <= before + before / 20);
    return 0;
}

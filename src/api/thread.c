/*
 * thread.c - calf's own threads in the host, which get no signal of the host's, and their clock
 */
#include "api.h"

#include <signal.h>
#include <string.h>
#include <time.h>

int thread_start(pthread_t *thread, void *(*run)(void *), void *arg, struct calf_error *err)
{
    pthread_attr_t attr;
    sigset_t all;
    int rc;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setsigmask_np(&attr, &all);
    rc = pthread_create(thread, &attr, run, arg);
    pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : fail(err, CALF_SYSTEM, "cannot start a thread: %s", strerror(rc));
}

int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

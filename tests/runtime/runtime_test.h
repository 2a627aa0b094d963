/*
 * runtime_test.h - what the tests of src/runtime share: a check, a query, a look at oneself
 *
 * Queries go through a psql image beside the server, so nothing here needs a client library.
 */
#include "../../src/runtime/runtime.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static inline struct server *start(const struct install *in, const char *dir)
{
    static const char *const settings[] = {"fsync=off", "log_min_messages=fatal", NULL};
    struct server_options o = {.dir = dir, .settings = settings, .log_fd = 2};
    struct calf_error err;
    struct server *s;

    if (server_start(in, &o, &s, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return s;
}

/* The answer to `sql`, one line without its end; static memory. */
static inline const char *query(struct server *s, const char *sql)
{
    static char text[4096];
    char *argv[] = {"psql", "-XqAtc", (char *)sql, NULL};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC);
    struct calf_error err;
    pid_t pid = server_run(s, argv, (int[]){null, out, 2}, &err);
    ssize_t n;

    CHECK(null >= 0 && out >= 0 && pid > 0);
    CHECK(server_run_wait(s, pid) == 0);
    n = pread(out, text, sizeof(text) - 1, 0);
    CHECK(n > 0);
    text[n - 1] = '\0';
    close(null);
    close(out);
    return text;
}

static inline void stop(struct server *s)
{
    server_signal_stop(s, STOP_FAST);
    server_wait(s);
    server_release(s);
}

static inline int entries(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;

    CHECK(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Resident memory in KiB. */
static inline long resident(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    long kib = 0;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

/*
 * cycles.c - a database opens and closes many times in one process, which has as many descriptors,
 * threads and mappings as before and at most 1 % more memory
 *
 * usage: cycles DIR [ROUNDS]
 */
#include "api_test.h"

#define WARM_UP 200 /* what a host touches once grows by 60 KiB until then */

static long status(const char *name)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    long value = 0;

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0)
            value = atol(line + strlen(name) + 1);
    if (f)
        fclose(f);
    return value;
}

static int mappings(void)
{
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), n = 0;
    char buf[4096];
    ssize_t got;

    while ((got = read(fd, buf, sizeof(buf))) > 0)
        for (char *c = buf; c < buf + got; c++)
            n += *c == '\n';
    close(fd);
    return n;
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 1000, fds = 0, maps = 0;
    char dir[4096];
    long before = 0;

    CHECK(argc >= 2);
    snprintf(dir, sizeof(dir), "%s/data", argv[1]);
    for (int i = 0; i < WARM_UP + rounds; i++) {
        struct calf_options o = {.size = sizeof(o), .durability = CALF_NONE};
        calf_db *db;
        PGconn *conn;

        if (i == WARM_UP) {
            fds = entries("/proc/self/fd");
            maps = mappings();
            before = status("VmRSS:");
        }
        CHECK(calf_open(dir, &o, &db, &err) == CALF_OK);
        conn = connect_to(calf_dsn(db));
        CHECK(says(conn, "select 6 * 7", "42"));
        PQfinish(conn);
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    }
    fprintf(stderr, "%d rounds: resident %ld -> %ld KiB, descriptors %d -> %d, mappings %d -> %d\n",
            rounds, before, status("VmRSS:"), fds, entries("/proc/self/fd"), maps, mappings());
    CHECK(entries("/proc/self/fd") == fds && entries("/proc/self/task") == 3);
    CHECK(mappings() <= maps);
    CHECK(status("VmRSS:") <= before + before / 100);
    return 0;
}

/*
 * open.c - what opening and closing a database in one's own process costs
 *
 * usage: open DIR ROUNDS      prints a Markdown table; medians in milliseconds
 */
#include <calf.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS_MAX 1000

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int less(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, n, sizeof(*v), less);
    return v[n / 2];
}

static long pss_kib(void)
{
    FILE *f = fopen("/proc/self/smaps_rollup", "re");
    char line[256];
    long kib = 0;

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "Pss: %ld", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

static void measure(const char *what, const char *dir, int rounds, int target, long *pss)
{
    static double first[ROUNDS_MAX], closing[ROUNDS_MAX];
    struct calf_error err;
    double cold = 0;

    for (int i = -1; i < rounds; i++) { /* the first one is shown apart */
        double from = now(), to;
        PGconn *conn;
        calf_db *db;

        if (calf_open(dir, NULL, &db, &err) != CALF_OK) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
        conn = PQconnectdb(calf_dsn(db));
        PQclear(PQexec(conn, "select 1"));
        to = now();
        *pss = pss_kib();
        PQfinish(conn);
        if (i < 0)
            cold = to - from;
        else
            first[i] = to - from;
        from = now();
        calf_close(db, CALF_FAST, NULL);
        if (i >= 0)
            closing[i] = now() - from;
    }
    printf("| %s | %.1f ms | %d ms | %.1f ms | %.1f ms | 30 ms |\n", what, median(first, rounds),
           target, cold, median(closing, rounds));
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? atoi(argv[2]) : 20;
    long pss;

    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX)
        return fprintf(stderr, "usage: open DIR ROUNDS\n"), 2;
    puts("| libcalf | open to first answer | target | the first time | close | target |");
    puts("|---|--:|--:|--:|--:|--:|");
    measure("a new temporary database", NULL, rounds, 60, &pss);
    measure("an existing one", argv[1], rounds, 40, &pss);
    printf(
        "\n- memory of that host with one open database and one session: %.1f MB (PSS), target 30 "
        "MB\n",
        pss / 1e3 * 1.024);
    return 0;
}

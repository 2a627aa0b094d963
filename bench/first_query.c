/*
 * first_query.c - from starting a server to its first answer
 *
 *   first_query [-w] DIR COMMAND...
 *
 * Runs the command, which serves the data directory DIR on the socket in
 * $PGHOST, asks until a query is answered, and prints the milliseconds since just
 * before the fork.  With -w the command itself waits (pg_ctl -w): it is asked
 * after that.  Then the server is stopped by the pid in postmaster.pid, and the
 * program ends when everything it started has ended.
 */
#include <libpq-fe.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int answers(void)
{
    PGconn *c = PQconnectdb("");
    int ok = 0;

    if (PQstatus(c) == CONNECTION_OK) {
        PGresult *r = PQexec(c, "select count(*) from pgbench_branches");

        ok = PQresultStatus(r) == PGRES_TUPLES_OK;
        PQclear(r);
    }
    PQfinish(c);
    return ok;
}

static int stop(const char *dir)
{
    char path[4096];
    int pid = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/postmaster.pid", dir);
    f = fopen(path, "r");
    if (!f || fscanf(f, "%d", &pid) != 1 || kill(pid, SIGINT) < 0)
        return -1;
    return fclose(f);
}

int main(int argc, char **argv)
{
    int waits = argc > 1 && strcmp(argv[1], "-w") == 0, status = 0;
    char **args = argv + 1 + waits;
    double begun, limit, ms;
    pid_t child;

    if (argc < 3 + waits)
        return fputs("usage: first_query [-w] DIR COMMAND...\n", stderr), 2;
    signal(SIGINT, SIG_DFL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    begun = now_ms();
    limit = begun + 60e3;
    child = fork();
    if (child == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO); /* calf serve prints a URL, this program a number */
        execv(args[1], args + 1);
        perror(args[1]);
        _exit(127);
    }
    if (waits)
        waitpid(child, &status, 0);
    while (status == 0 && !answers()) {
        if (now_ms() > limit || (!waits && waitpid(child, &status, WNOHANG) > 0))
            return fputs("first_query: no answer\n", stderr), 1;
        usleep(500);
    }
    ms = now_ms() - begun;
    if (status != 0 || stop(args[0]) < 0)
        return fputs("first_query: it did not start\n", stderr), 1;
    while (wait(&status) > 0)
        ;
    printf("%.2f\n", ms);
    return 0;
}

/*
 * status.c - who has a directory open, and ending that: status, stop, url
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What each command begins with: 0, or an exit code after a message. */
static int look(struct target *t, struct call *c, struct calf_status *st)
{
    struct calf_error err;
    char full[PATH_MAX];
    int rc = target_name(t, c->nwords ? c->words[0] : NULL);

    if (rc == 0 && calf_look(t->dir, st, &err) != CALF_OK)
        rc = refuse_error(&err);
    if (rc == 0 && realpath(t->dir, full))
        strcpy(t->dir, full);
    return rc;
}

/* ---- status ------------------------------------------------------------------------------ */

/* The name of the program with that pid; "" unknown.  Static memory. */
static const char *program_name(long pid)
{
    static char name[64];
    char path[64];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
    f = fopen(path, "re");
    if (!f || !fgets(name, sizeof(name), f))
        name[0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    if (f)
        fclose(f);
    return name;
}

/* Sessions of clients and the server's version; -1 sessions: it lets us not in. */
static int ask_server(const struct calf_status *st, char version[64])
{
    PGconn *conn = PQconnectdb(st->uri);
    PGresult *res = PQexec(conn, "select count(*), current_setting('server_version') from "
                                 "pg_stat_activity where backend_type = 'client backend' and pid "
                                 "<> pg_backend_pid()");
    int sessions = -1;

    if (PQresultStatus(res) == PGRES_TUPLES_OK) {
        sessions = atoi(PQgetvalue(res, 0, 0));
        snprintf(version, 64, "%s", PQgetvalue(res, 0, 1));
    }
    PQclear(res);
    PQfinish(conn);
    return sessions;
}

int command_status(struct call *c)
{
    static const char *const states[] = {"absent", "closed", "crashed", "open"};
    static const char *const sentences[] = {
        "there is no database yet; \"calf psql\" or \"calf serve\" make one", "closed",
        "not open, and it was not closed in order: it recovers when it is opened", "open"};
    struct calf_status st, entry;
    struct target t = {.db = NULL};
    char since[64] = "", version[64] = "";
    int rc = look(&t, c, &st), sessions = -1;
    unsigned long long size;
    time_t at;

    if (rc != 0)
        return rc;
    size = disk_usage(t.dir);
    entry = st;
    find_entry(&entry);
    if (st.uri[0])
        sessions = ask_server(&entry, version);
    at = st.since;
    if (st.since)
        strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%S%z", localtime(&at));
    if (c->value[OPTION_JSON]) {
        printf("{\"directory\": ");
        print_json(t.dir);
        printf(", \"state\": \"%s\", \"size\": %llu", states[st.state], size);
        if (st.state == CALF_OPEN) {
            printf(", \"pid\": %ld, \"program\": ", st.pid);
            print_json(program_name(st.pid));
            printf(", \"since\": \"%s\"", since);
        }
        if (st.uri[0]) {
            printf(", \"uri\": ");
            print_json(st.uri);
        }
        if (st.socket_uri[0]) {
            printf(", \"socket_uri\": ");
            print_json(st.socket_uri);
        }
        if (sessions >= 0)
            printf(", \"sessions\": %d, \"version\": \"%s\"", sessions, version);
        printf("}\n");
    } else {
        printf("%s: %s\n", t.dir, sentences[st.state]);
        if (st.state == CALF_OPEN)
            printf("  by            %s, process %ld, since %s\n", program_name(st.pid), st.pid,
                   since);
        if (st.uri[0])
            printf("  connect with  %s\n", st.uri);
        else if (st.state == CALF_OPEN)
            printf("  it lets no other process in\n");
        if (st.socket_uri[0] && strcmp(st.uri, st.socket_uri) != 0)
            printf("  or with       %s\n", st.socket_uri);
        if (sessions >= 0)
            printf("  PostgreSQL    %s\n  sessions      %d\n", version, sessions);
        if (st.state != CALF_ABSENT)
            printf("  size          %s\n", human_size(size));
    }
    return st.state == CALF_OPEN ? 0 : 3;
}

/* ---- stop --------------------------------------------------------------------------------- */

/* Is the process a `calf serve`?  Its command line says so. */
static bool is_calf_serve(long pid)
{
    char path[64], line[PATH_MAX + 64] = "";
    const char *base;
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
    f = fopen(path, "re");
    n = f ? fread(line, 1, sizeof(line) - 8, f) : 0;
    if (f)
        fclose(f);
    base = strrchr(line, '/') ? strrchr(line, '/') + 1 : line;
    return n > 0 && strncmp(base, "calf", 4) == 0 && strcmp(line + strlen(line) + 1, "serve") == 0;
}

int command_stop(struct call *c)
{
    static const struct {
        const char *name;
        int calf, stock; /* the signals that mean it */
    } modes[] = {
        {"smart", SIGUSR2, SIGTERM}, {"fast", SIGTERM, SIGINT}, {"immediate", SIGQUIT, SIGQUIT}};
    const char *wanted = c->value[OPTION_MODE] ? c->value[OPTION_MODE] : "fast";
    const char *wait = c->value[OPTION_TIMEOUT] ? c->value[OPTION_TIMEOUT] : "60";
    struct timespec now, until, step = {0, 20000000};
    struct calf_status st;
    struct target t = {.db = NULL};
    long pid, seconds;
    size_t mode = 0;
    char *end;
    int rc;

    while (mode < 3 && strcmp(modes[mode].name, wanted) != 0)
        mode++;
    if (mode == 3)
        return misuse(c, "--mode is smart, fast or immediate, not \"%s\"", wanted);
    seconds = strtol(wait, &end, 10);
    if (end == wait || *end || seconds < 0)
        return misuse(c, "--timeout wants a number of seconds, not \"%s\"", wait);
    rc = look(&t, c, &st);
    if (rc != 0)
        return rc;
    if (st.state != CALF_OPEN)
        return refuse("%s is not open; there is nothing to stop", t.dir);
    pid = st.pid;
    if (!st.stock && !is_calf_serve(pid))
        return refuse("%s is inside of %s, process %ld, which is no server of calf's; end that "
                      "program itself",
                      t.dir, program_name(pid), pid);
    if (kill((pid_t)pid, st.stock ? modes[mode].stock : modes[mode].calf) < 0)
        return refuse("cannot stop process %ld: %s", pid, strerror(errno));
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    do {
        struct calf_error err;

        if (calf_look(t.dir, &st, &err) != CALF_OK || st.state != CALF_OPEN || st.pid != pid)
            return printf("calf: %s is closed\n", t.dir), 0;
        nanosleep(&step, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < until.tv_sec);
    return refuse("process %ld has %s still open after %ld s; wait with --timeout, or stop it with "
                  "--mode fast or immediate",
                  pid, t.dir, seconds);
}

/* ---- url ---------------------------------------------------------------------------------- */

/* `host=calf:DIR` for programs that use libcalf as their libpq. */
static void make_inside_uri(char *out, size_t size, const char *dir)
{
    size_t n = (size_t)snprintf(out, size, "postgresql:///postgres?host=calf:");

    for (; *dir && n + 4 < size; dir++)
        n += strchr(" %&#?+'\"", *dir) ? (size_t)sprintf(out + n, "%%%02X", (unsigned char)*dir)
                                       : (out[n] = *dir, 1u);
    out[n] = '\0';
}

int command_url(struct call *c)
{
    struct calf_status st;
    struct target t = {.db = NULL};
    char inside[PATH_MAX * 3 + 64];
    PQconninfoOption *list;
    const char *uri;
    int rc = look(&t, c, &st);

    if (rc != 0)
        return rc;
    if (st.state == CALF_OPEN && !st.uri[0])
        return refuse("%s is inside of process %ld, which lets no other process in", t.dir, st.pid);
    if (st.state == CALF_ABSENT)
        return refuse("there is no database in %s; \"calf serve %s\" makes one", t.dir, t.dir);
    make_inside_uri(inside, sizeof(inside), t.dir);
    uri = st.uri[0] ? st.uri : inside;
    if (c->value[OPTION_JSON]) {
        printf("{\"uri\": ");
        print_json(uri);
        printf(", \"open\": %s}\n", st.state == CALF_OPEN ? "true" : "false");
    } else if (c->value[OPTION_ENV]) {
        printf("export DATABASE_URL=");
        print_shell(uri);
        list = PQconninfoParse(uri, NULL);
        for (PQconninfoOption *o = list; o && o->keyword; o++)
            if (o->envvar && o->val) {
                printf("\nexport %s=", o->envvar);
                print_shell(o->val);
            }
        PQconninfoFree(list);
        putchar('\n');
    } else {
        puts(uri);
    }
    return 0;
}

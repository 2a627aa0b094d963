/*
 * programs.c - PostgreSQL's programs as commands: psql, run
 */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Opens, runs `argv`, closes. */
static int run_on(struct target *t, struct call *c, bool create, char *argv[])
{
    int rc;

    block_signals();
    rc = target_open(t, c, create);
    if (rc != 0)
        return rc;
    rc = target_run(t, argv, NULL);
    target_close(t);
    return rc;
}

int command_psql(struct call *c)
{
    bool named = c->nwords > 0 && c->words[0][0] != '-';
    struct target t = {.db = NULL};
    int rc = target_name(&t, named ? c->words[0] : NULL);

    if (rc != 0)
        return rc;
    c->words += named;
    c->words[-1] = "psql"; /* the directory, or what stood before the words */
    return run_on(&t, c, true, c->words - 1);
}

/* Programs that read or write the files of a directory, without a server. */
static bool works_on_files(const char *tool)
{
    static const char *const list[] = {
        "initdb",      "pg_archivecleanup", "pg_checksums",   "pg_combinebackup", "pg_controldata",
        "pg_resetwal", "pg_rewind",         "pg_test_fsync",  "pg_test_timing",   "pg_upgrade",
        "pg_waldump",  "pg_walsummary",     "pg_verifybackup"};

    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        if (strcmp(tool, list[i]) == 0)
            return true;
    return false;
}

int command_run(struct call *c)
{
    struct target t = {.db = NULL};
    const char *dir = NULL;
    char **argv = c->words;
    int rc;

    if (c->nwords == 0)
        return misuse(c, "say which of PostgreSQL's programs to run");
    if (c->nwords > 1 && argv[1][0] != '-') {
        dir = argv[1];
        argv[1] = argv[0];
        argv++;
    }
    if (argv[1] && strcmp(argv[1], "--") == 0) {
        argv[1] = argv[0];
        argv++;
    }
    if (!works_on_files(argv[0])) {
        rc = target_name(&t, dir);
        return rc != 0 ? rc : run_on(&t, c, !dir, argv);
    }
    if (dir)
        setenv("PGDATA", dir, 1);
    block_signals();
    return target_run(&t, argv, NULL);
}

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

#define WANT_OPTION 2 /* so many of the first do not know PGDATA */
#define ON_FILES                                                                                   \
    13 /* so many of the first read or write the files of a directory, without a server */

const char *const program_names[] = {
    "pg_resetwal", "pg_rewind", "initdb", "pg_archivecleanup", "pg_checksums", "pg_combinebackup",
    "pg_controldata", "pg_test_fsync", "pg_test_timing", "pg_upgrade", "pg_verifybackup",
    "pg_waldump", "pg_walsummary",
    /* and these want a server */
    "clusterdb", "createdb", "createuser", "dropdb", "dropuser", "ecpg", "oid2name", "pg_amcheck",
    "pg_basebackup", "pg_config", "pg_createsubscriber", "pg_ctl", "pg_dump", "pg_dumpall",
    "pg_isready", "pg_receivewal", "pg_recvlogical", "pg_restore", "pgbench", "postgres", "psql",
    "reindexdb", "vacuumdb", "vacuumlo", NULL};

/* Is it one of the first `n`? */
static bool is_among(const char *tool, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(tool, program_names[i]) == 0)
            return true;
    return false;
}

/* With -D DIR after its own arguments, of which the first may be --version. */
static int run_in(struct target *t, char *argv[])
{
    char *list[64];
    int n = 0;

    for (; argv[n] && n < 60; n++)
        list[n] = argv[n];
    list[n] = "-D";
    list[n + 1] = t->dir;
    list[n + 2] = NULL;
    return argv[n] ? refuse("%s: more than 60 arguments", argv[0]) : target_run(t, list, NULL);
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
    if (!is_among(argv[0], (int)(sizeof(program_names) / sizeof(program_names[0])) - 1))
        return refuse("there is no program %s; \"calf run --help\" lists them", argv[0]);
    if (!is_among(argv[0], ON_FILES)) {
        rc = target_name(&t, dir);
        return rc != 0 ? rc : run_on(&t, c, !dir, argv);
    }
    rc = target_name(&t, dir);
    if (rc != 0)
        return rc;
    block_signals();
    if (is_among(argv[0], WANT_OPTION))
        return run_in(&t, argv);
    setenv("PGDATA", t.dir, 1);
    return target_run(&t, argv, NULL);
}

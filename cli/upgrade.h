/*
 * upgrade.h - what the files of `calf upgrade` share
 */
#ifndef CALF_CLI_UPGRADE_H
#define CALF_CLI_UPGRADE_H

#include "cli.h"

#include <sys/stat.h>
#include <sys/types.h>

/* ---- old_server.c: a server of the old version, for a while ---------------------------------- */

struct old_server {
    int major;
    char program[PATH_MAX + 16]; /* a postgres, or a calf */
    bool is_calf;
    char private[64]; /* a directory that only the server and we can look into: its socket, ... */
    char hba[80];     /* ... and a pg_hba.conf that lets everybody in who gets there */
    pid_t pid;
    int log;            /* its standard error; -1: none */
    char superuser[64]; /* whom it lets do everything */
};

/* Its programs: those that the options name, or the first that are found.  0, or an exit code after
 * a message. */
int old_find(struct old_server *o, struct call *c, const char *dir);
/*
 * Start it on `dir`, of which `st` says whose it is, and wait until it answers; sessions are
 * read-only unless they say otherwise.  It ends with the calling thread, however that ends.  0, or
 * an exit code after a message (none when *stopped).
 */
int old_start(struct old_server *o, const char *dir, const struct stat *st, _Atomic int *stopped);
/* How libpq gets into one of its databases; to be freed with PQfreemem(). */
char *old_conninfo(const struct old_server *o, const char *database);
/* Shut it down; 0 when it did so in order, or there is none. */
int old_stop(struct old_server *o);

/* ---- carry.c: the configuration ----------------------------------------------------------------
 */

/*
 * Copy what is its owner's in the data directory `from` (postgresql.conf, pg_hba.conf,
 * certificates, included files ...) into the new one, `to`, and comment out the settings that this
 * version refuses; each is said.  0, or an exit code after a message.
 */
int carry_configuration(const char *from, const char *to);

#endif

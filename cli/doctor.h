/*
 * doctor.h - what the files of `calf doctor` share
 */
#ifndef CALF_CLI_DOCTOR_H
#define CALF_CLI_DOCTOR_H

#include "cli.h"

enum level { LEVEL_OK, LEVEL_WARNING, LEVEL_PROBLEM };

struct doctor {
    struct call *call;
    struct target target;
    struct calf_status status;                          /* of the directory */
    bool exists;                                        /* it is a cluster of our version */
    char hba[PATH_MAX], ident[PATH_MAX], preload[1024]; /* what its configuration says */
    int count[LEVEL_PROBLEM + 1];
};

/* One line.  A problem's text says what is wrong; what to do. */
void report(struct doctor *d, enum level level, const char *check, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* What a program of PostgreSQL's prints, on both of its outputs; its exit code, or -1. */
int output_of(char *const argv[], char *text, size_t size);

/* ---- doctor_files.c: the directory, without opening it ---------------------------------- */

void check_directory(struct doctor *d);

/* ---- doctor_system.c: what calf needs of the system ------------------------------------- */

void check_system(struct doctor *d);
/* A temporary database starts, with the access rules and libraries of the directory if there is
 * one. */
void check_start(struct doctor *d);

/* ---- doctor_sql.c: what only PostgreSQL knows ------------------------------------------- */

void check_sessions(struct doctor *d);

#endif

/*
 * doctor.c - `calf doctor`: is everything well with a directory and this system?
 *
 * The rule that matters: it changes nothing.  A directory that is closed stays closed, and one
 * that crashed is not recovered, unless --open says so.
 */
#include "doctor.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const levels[] = {"ok", "warning", "problem"};

void report(struct doctor *d, enum level level, const char *check, const char *fmt, ...)
{
    bool first = d->count[LEVEL_OK] + d->count[LEVEL_WARNING] + d->count[LEVEL_PROBLEM] == 0;
    char text[4096];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (char *c = text; *c; c++)
        if (*c == '\n')
            *c = ' ';
    d->count[level]++;
    if (d->call->value[OPTION_JSON]) {
        printf("%s\n  {\"level\": \"%s\", \"check\": \"%s\", \"text\": ", first ? "" : ",",
               levels[level], check);
        print_json(text);
        putchar('}');
    } else {
        printf("%-7s %s: %s\n", levels[level], check, text);
    }
    fflush(stdout);
}

int output_of(char *const argv[], char *text, size_t size)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC), out = memfd_create("output", MFD_CLOEXEC);
    int code = -1;
    struct calf_error err;
    ssize_t n;

    if (calf_run(NULL, argv, (int[]){null, out, out}, &code, &err) != CALF_OK) {
        snprintf(text, size, "%s", err.text);
    } else {
        n = pread(out, text, size - 1, 0);
        text[n > 0 ? n : 0] = '\0';
    }
    close(null);
    close(out);
    return code;
}

int command_doctor(struct call *c)
{
    struct doctor d = {.call = c};
    int rc = target_name(&d.target, c->nwords ? c->words[0] : NULL);
    bool json = c->value[OPTION_JSON];

    if (rc != 0)
        return rc;
    if (json) {
        printf("{\"directory\": ");
        print_json(d.target.dir);
        printf(", \"checks\": [");
    }
    check_system(&d);
    check_directory(&d);
    check_start(&d);
    check_sessions(&d);
    if (json)
        printf("],\n \"problems\": %d, \"warnings\": %d}\n", d.count[LEVEL_PROBLEM],
               d.count[LEVEL_WARNING]);
    else
        printf("%d problem%s, %d warning%s\n", d.count[LEVEL_PROBLEM],
               d.count[LEVEL_PROBLEM] == 1 ? "" : "s", d.count[LEVEL_WARNING],
               d.count[LEVEL_WARNING] == 1 ? "" : "s");
    return d.count[LEVEL_PROBLEM] ? 1 : 0;
}

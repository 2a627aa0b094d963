/*
 * look.c - the state of a data directory, whoever has it open: calf_look()
 *
 * The rule that matters: nothing is changed, and nobody who wants to open the directory meanwhile
 * is refused.
 */
#include "api.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The state in pg_control (ControlFileData in pg_control.h): the enum DBState at its byte 16. */
static bool was_closed(const char *dir)
{
    enum { DB_SHUTDOWNED = 1, DB_SHUTDOWNED_IN_RECOVERY = 2, AT = 16 };
    char path[PATH_MAX + 32];
    int state = 0, fd;
    bool read_all;

    snprintf(path, sizeof(path), "%s/global/pg_control", dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    read_all = fd >= 0 && pread(fd, &state, sizeof(state), AT) == sizeof(state);
    if (fd >= 0)
        close(fd);
    return read_all && (state == DB_SHUTDOWNED || state == DB_SHUTDOWNED_IN_RECOVERY);
}

/* The newest comes first (listen.c). */
static void read_uris(const char *dir, struct calf_status *st)
{
    char path[PATH_MAX + 32], line[sizeof(st->uri)];
    FILE *f;

    snprintf(path, sizeof(path), "%s/" LISTEN_FILE, dir);
    f = fopen(path, "re");
    while (f && !st->socket_uri[0] && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (!st->uri[0])
            strcpy(st->uri, line);
        if (strstr(line, "?host="))
            strcpy(st->socket_uri, line);
    }
    if (f)
        fclose(f);
}

int calf_look(const char *path, struct calf_status *status, struct calf_error *err)
{
    struct calf_error own;
    struct holder holder;
    struct stat st;
    int held;

    err = error_room(err, &own);
    if (status)
        *status = (struct calf_status){.state = CALF_ABSENT};
    if (!path || !*path || !status)
        return fail(err, CALF_MISUSE, "calf_look() needs a path and room for its answer"),
               CALF_MISUSE;
    if (stat(path, &st) < 0 && errno == ENOENT)
        return CALF_OK;
    held = lock_holder(path, &holder, err);
    if (held < 0)
        return err->code;
    if (held) {
        status->state = CALF_OPEN;
        status->pid = holder.pid;
        status->stock = holder.stock;
        status->since = holder.since;
        if (!holder.stock) {
            read_uris(path, status);
        } else if (holder.socket_dir[0]) {
            snprintf(status->uri, sizeof(status->uri),
                     "postgresql:///postgres?host=%.3900s&port=%d", holder.socket_dir, holder.port);
            strcpy(status->socket_uri, status->uri);
        }
        return CALF_OK;
    }
    switch (server_look(path, CALF_PG_MAJOR, err)) {
    case FOUND_NOTHING: return CALF_OK;
    case FOUND_CLUSTER:
        status->state = was_closed(path) ? CALF_CLOSED : CALF_CRASHED;
        return CALF_OK;
    default: return err->code;
    }
}

/*
 * progress.c - a line on the terminal that says how far something is
 *
 * The rule that matters: nothing of it where standard error is no terminal.  Whoever prints while
 * the line is there takes it away first (`screen`).
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define CLEAR "\r\033[K"

static pthread_mutex_t screen = PTHREAD_MUTEX_INITIALIZER;

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* "0:42" */
static void add_time(char *line, size_t size, const char *fmt, double seconds)
{
    size_t used = strlen(line);
    char text[32];

    snprintf(text, sizeof(text), "%d:%02d", (int)seconds / 60, (int)seconds % 60);
    snprintf(line + used, size - used, fmt, text);
}

static void draw(struct progress *p, double elapsed)
{
    unsigned long long done = p->done, all = p->all;
    char line[512];
    struct winsize window;
    size_t width = ioctl(2, TIOCGWINSZ, &window) == 0 && window.ws_col ? window.ws_col : 80, used;

    snprintf(line, sizeof(line), "%s: %s", p->doing, human_size(p->bytes));
    used = strlen(line);
    if (p->items)
        snprintf(line + used, sizeof(line) - used, ", %s %u of %u", p->noun, p->item, p->items);
    else if (p->item)
        snprintf(line + used, sizeof(line) - used, ", %s %u", p->noun, p->item);
    used = strlen(line);
    if (all && done && done < all)
        snprintf(line + used, sizeof(line) - used, ", %.0f %%", (double)done * 100 / (double)all);
    add_time(line, sizeof(line), ", %s", elapsed);
    if (all && done && done < all && elapsed > 2)
        add_time(line, sizeof(line), ", about %s left",
                 elapsed * (double)(all - done) / (double)done);
    if (strlen(line) >= width)
        line[width - 1] = '\0';
    pthread_mutex_lock(&screen);
    fprintf(stderr, CLEAR "%s", line);
    pthread_mutex_unlock(&screen);
}

static void *draw_on(void *arg)
{
    struct progress *p = arg;
    double began = now();
    struct timespec step = {0, 200000000};

    while (!p->ended) {
        nanosleep(&step, NULL);
        if (p->measure)
            p->measure(p);
        draw(p, now() - began);
    }
    return NULL;
}

void progress_begin(struct progress *p)
{
    pthread_t thread;

    p->shown = isatty(2) && pthread_create(&thread, NULL, draw_on, p) == 0;
    p->thread = p->shown ? thread : 0;
}

/* ---- messages of programs -------------------------------------------------------------------- */

/* "pg_dump: error: ..." and its kin, and what belongs to them; not "pg_dump: reading ...". */
static bool says_more(const char *line, bool before)
{
    static const char *const kinds[] = {"error:", "warning:", "detail:", "hint:"};
    const char *text = strstr(line, ": ");

    if (strstr(line, "skipping special file")) /* a socket in the directory that is copied */
        return false;
    if (strncmp(line, "pg_", 3) != 0 || !text) /* goes on with the one before */
        return before;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strncmp(text + 2, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

static void *read_messages(void *arg)
{
    struct progress *p = arg;
    FILE *f = fdopen(p->messages[0], "r");
    char line[8192];
    bool shown = true;

    while (f && fgets(line, sizeof(line), f)) {
        shown = says_more(line, shown);
        if (shown) {
            pthread_mutex_lock(&screen);
            fprintf(stderr, "%s%s", p->shown ? CLEAR : "", line);
            pthread_mutex_unlock(&screen);
        }
        line[strcspn(line, "\n")] = '\0';
        p->line(p, line);
    }
    if (f)
        fclose(f);
    return NULL;
}

int progress_messages(struct progress *p, void (*line)(struct progress *p, const char *line))
{
    pthread_t thread;

    p->line = line;
    if (pipe2(p->messages, O_CLOEXEC) < 0 || pthread_create(&thread, NULL, read_messages, p) != 0)
        return 2;
    p->reader = thread;
    return p->messages[1];
}

void progress_end(struct progress *p)
{
    if (p->reader) {
        close(p->messages[1]);
        pthread_join(p->reader, NULL);
    }
    if (!p->shown)
        return;
    p->ended = true;
    pthread_join(p->thread, NULL);
    fputs(CLEAR, stderr);
}

/*
 * os.h - what the programs of tests/os share
 *
 * Each program proves one sentence, natively first and then as an image inside
 * calf.  The rules that matter: only libc functions that PostgreSQL imports
 * (`make imports` checks it), no threads, and a child made by fork() does
 * nothing before execv() or _exit() that needs its parent to run, because
 * inside calf the parent stands still until then.  A program plays its other
 * roles by running itself again: argv[1] is the role, empty in the main one.
 */
#ifndef OS_H
#define OS_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A failed check ends the process without touching stdio, which may be what is broken. */
#define CHECK(x) ((x) ? (void)0 : check_failed(__FILE__, __LINE__, #x))
/* Wait for a fact; the limit is generous because only a broken system reaches it. */
#define AWAIT(x)                                                                                   \
    do {                                                                                           \
        for (int naps_ = 0; !(x); naps_++)                                                         \
            naps_ < 30000 ? nap_ms(1) : check_failed(__FILE__, __LINE__, #x);                      \
    } while (0)
/* Start this program again in another role: spawn_self("reader", "arg", ...); returns its pid. */
#define spawn_self(...) spawn_argv((char *[]){os_self, __VA_ARGS__, NULL})
#define UNUSED __attribute__((unused))

static char *os_self UNUSED; /* argv[0]: always an absolute path */

UNUSED static _Noreturn void check_failed(const char *file, int line, const char *what)
{
    int error = errno;
    char text[512];
    int n = snprintf(text, sizeof(text), "%s:%d: %s (errno %d, pid %d)\n", file, line, what, error,
                     (int)getpid());

    if (write(2, text, n < (int)sizeof(text) ? n : (int)sizeof(text) - 1) < 0)
        _exit(2);
    _exit(1);
}

/* Call first.  Returns the role this process plays, "" for the one started from outside. */
UNUSED static const char *os_role(int argc, char **argv)
{
    CHECK(argc > 0 && argv[0][0] == '/');
    os_self = argv[0];
    return argc > 1 ? argv[1] : "";
}

UNUSED static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

UNUSED static void nap_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

UNUSED static pid_t spawn_argv(char **argv)
{
    pid_t pid = fork();

    if (pid == 0) {
        execv(argv[0], argv);
        _exit(127);
    }
    CHECK(pid > 0);
    return pid;
}

/* The wait status of a child. */
UNUSED static int reap(pid_t pid)
{
    int status;
    pid_t got;

    do
        got = waitpid(pid, &status, 0);
    while (got == -1 && errno == EINTR);
    CHECK(got == pid);
    return status;
}

/* The exit code of a child that was not killed. */
UNUSED static int reap_exit(pid_t pid)
{
    int status = reap(pid);

    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A number as an argument for spawn_self(); up to eight are valid at a time. */
UNUSED static char *num(long n)
{
    static char text[8][24];
    static int next;
    char *p = text[next++ % 8];

    snprintf(p, sizeof(text[0]), "%ld", n);
    return p;
}

/* Install a handler; flags as for sigaction(). */
UNUSED static void on_signal(int sig, void (*handler)(int), int flags)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};

    sigemptyset(&sa.sa_mask);
    CHECK(sigaction(sig, &sa, NULL) == 0);
}

/* Block or unblock one signal: how is SIG_BLOCK or SIG_UNBLOCK. */
UNUSED static void mask_signal(int how, int sig)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, sig);
    CHECK(sigprocmask(how, &set, NULL) == 0);
}

/* Replace the content of a file. */
UNUSED static void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(close(fd) == 0);
}

/* The content of a small file, in a static buffer; "" when it does not exist. */
UNUSED static const char *get_file(const char *path)
{
    static char text[4096];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

    CHECK(n >= 0);
    if (fd >= 0)
        CHECK(close(fd) == 0);
    text[n] = '\0';
    return text;
}

#endif

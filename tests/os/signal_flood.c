/* Whoever floods a process with signals neither ends it nor uses up its stack, and the last is
 * heard. */
#include "os.h"

#define SENDERS 3
#define ROUNDS 20000
static const int flood[] = {SIGUSR1, SIGHUP, SIGINT, SIGALRM};
#define KINDS (int)(sizeof(flood) / sizeof(flood[0]))

static volatile sig_atomic_t heard;
static char *top;
static volatile long deepest;

static void count(int sig)
{
    char here;

    heard++;
    (void)sig;
    if (top - &here > deepest)
        deepest = top - &here;
    for (volatile int i = 0; i < 200; i++) /* so that more come meanwhile */
        ;
}

static void send(void)
{
    for (int i = 0; i < ROUNDS; i++)
        CHECK(kill(getppid(), flood[i % KINDS]) == 0);
}

/* Four ways to meet it: it computes, in its own code and in libc's, waits, or reads. */
static void be_busy(int way, int fd)
{
    static char a[20000], b[20000];
    static volatile unsigned sum;
    char byte;

    if (way == 0) {
        for (int i = 0; i < 1000; i++)
            sum = sum * 31 + 1;
    } else if (way == 1) {
        memset(a, sum & 1, sizeof(a));
        memcpy(b, a, sizeof(b));
    } else if (way == 2) {
        nap_ms(1);
    } else {
        CHECK(read(fd, &byte, 1) == -1 && (errno == EINTR || errno == EAGAIN));
    }
}

int main(int argc, char **argv)
{
    char here;
    int ends[2], sig;
    sigset_t last;

    top = &here;
    if (is(os_role(argc, argv), "sender")) {
        send();
        return 0;
    }
    if (is(os_role(argc, argv), "last")) {
        CHECK(kill(getppid(), SIGUSR2) == 0);
        return 0;
    }
    for (int i = 0; i < KINDS; i++)
        on_signal(flood[i], count, i % 2 ? SA_RESTART : 0);
    sigemptyset(&last);
    sigaddset(&last, SIGUSR2);
    mask_signal(SIG_BLOCK, SIGUSR2);
    CHECK(pipe(ends) == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    for (int way = 0; way < 4; way++) {
        for (int i = 0; i < SENDERS; i++)
            spawn_self("sender");
        for (int alive = SENDERS; alive > 0;) {
            int status;
            pid_t pid = waitpid(-1, &status, WNOHANG);

            CHECK(pid >= 0 || errno == EINTR);
            if (pid > 0) {
                CHECK(status == 0);
                alive--;
            }
            be_busy(way, ends[0]);
        }
        CHECK(heard > 0);
        /* the last one, after all of them, wakes who waits for nothing else */
        pid_t pid = spawn_self("last");
        CHECK(sigwait(&last, &sig) == 0 && sig == SIGUSR2);
        CHECK(reap_exit(pid) == 0);
    }
    CHECK(deepest < 256 << 10);
    return 0;
}

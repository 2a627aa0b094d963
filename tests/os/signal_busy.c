/* A handler interrupts a process that only computes, in its own code and inside libc's. */
#include "os.h"
#include <sys/ipc.h>
#include <sys/shm.h>

static volatile int *heard; /* shared: signals handled so far */

static void count(int sig)
{
    (void)sig;
    ++*heard;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    volatile unsigned sum = 0;
    static char a[100000], b[100000];

    int shm = is(role, "") ? shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) : atoi(argv[2]);
    heard = shmat(shm, NULL, 0);
    CHECK(heard != (void *)-1);
    if (is(role, "sender")) {
        for (int i = 0; i < 200; i++) { /* each signal only after the one before was heard */
            CHECK(kill(getppid(), SIGUSR1) == 0);
            AWAIT(*heard == i + 1);
        }
        return 0;
    }
    on_signal(SIGUSR1, count, SA_RESTART);
    pid_t pid = spawn_self("sender", num(shm));
    while (*heard < 100)
        sum = sum * 31 + 1;
    while (*heard < 200) {
        memset(a, sum & 1, sizeof(a));
        memcpy(b, a, sizeof(b));
        sum += memcmp(a, b, sizeof(b)) != 0;
    }
    CHECK(reap_exit(pid) == 0);
    CHECK(shmctl(shm, IPC_RMID, NULL) == 0);
    return 0;
}

/* Unnamed semaphores in shared memory pass turns between processes and lose no post. */
#include "os.h"
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/shm.h>

struct shared {
    sem_t mine, yours, mutex;
    volatile int turns, sum;
};

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    enum { TURNS = 3000 };
    int id = is(role, "") ? shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) : atoi(argv[2]);
    struct shared *s = shmat(id, NULL, 0);

    CHECK(s != (void *)-1);
    if (is(role, "partner")) {
        for (int i = 0; i < TURNS; i++) {
            CHECK(sem_wait(&s->yours) == 0 && s->turns == 2 * i + 1);
            s->turns++;
            CHECK(sem_post(&s->mine) == 0);
        }
    }
    if (is(role, "adder"))
        for (int i = 0; i < TURNS; i++) {
            CHECK(sem_wait(&s->mutex) == 0);
            s->sum++;
            CHECK(sem_post(&s->mutex) == 0);
        }
    if (!is(role, ""))
        return 0;
    CHECK(sem_init(&s->mine, 1, 1) == 0 && sem_init(&s->yours, 1, 0) == 0);
    CHECK(sem_init(&s->mutex, 1, 1) == 0);
    CHECK(sem_trywait(&s->yours) == -1 && errno == EAGAIN);
    pid_t partner = spawn_self("partner", num(id));
    pid_t adders[2] = {spawn_self("adder", num(id)), spawn_self("adder", num(id))};
    for (int i = 0; i < TURNS; i++) {
        CHECK(sem_wait(&s->mine) == 0 && s->turns == 2 * i);
        s->turns++;
        CHECK(sem_post(&s->yours) == 0);
    }
    CHECK(reap_exit(partner) == 0 && s->turns == 2 * TURNS);
    CHECK(reap_exit(adders[0]) == 0 && reap_exit(adders[1]) == 0 && s->sum == 2 * TURNS);
    CHECK(sem_trywait(&s->mine) == 0 && sem_destroy(&s->mine) == 0);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    return 0;
}

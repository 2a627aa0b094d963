/* SysV shared memory: the same bytes in every process, the same address again in an exec'd child,
 * attachments counted, a removed segment alive while attached, keys unique. */
#include "os.h"
#include <sys/ipc.h>
#include <sys/shm.h>

enum { SIZE = 300000, KEY = 0x0ca1f0d5 };

static long attached(int id)
{
    struct shmid_ds ds;

    CHECK(shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_segsz == SIZE);
    return ds.shm_nattch;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    struct shmid_ds ds;
    char *mem;
    int id;

    if (is(role, "child")) {
        char *wanted = (char *)strtoul(argv[2], NULL, 16);

        CHECK((id = shmget(KEY + atoi(argv[3]), SIZE, 0)) >= 0 && attached(id) == 1);
        CHECK(shmat(id, wanted, 0) == wanted && attached(id) == 2);
        CHECK(is(wanted + SIZE - 6, "hello"));
        memcpy(wanted, "reply", 6);
        return 0; /* death detaches */
    }
    int salt = getpid(); /* the key is the system's, natively */
    CHECK((id = shmget(KEY + salt, SIZE, IPC_CREAT | IPC_EXCL | 0600)) >= 0);
    CHECK(shmget(KEY + salt, SIZE, IPC_CREAT | IPC_EXCL | 0600) == -1 && errno == EEXIST);
    CHECK(shmget(KEY + salt, 0, 0) == id && attached(id) == 0);
    CHECK(shmget(KEY + salt, SIZE * 2, 0) == -1 && errno == EINVAL);
    mem = shmat(id, NULL, 0);
    CHECK(mem != (void *)-1 && attached(id) == 1);
    for (int i = 0; i < SIZE; i++)
        CHECK(mem[i] == 0);
    CHECK(shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_perm.uid == geteuid() &&
          ds.shm_cpid == getpid());
    memcpy(mem + SIZE - 6, "hello", 6);
    char address[32];
    snprintf(address, sizeof(address), "%p", (void *)mem);
    CHECK(reap_exit(spawn_self("child", address, num(salt))) == 0);
    CHECK(is(mem, "reply"));
    AWAIT(attached(id) == 1);
    CHECK(shmdt(mem + 1) == -1 && errno == EINVAL);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    CHECK(shmget(KEY + salt, SIZE, 0) == -1 && errno == ENOENT && is(mem, "reply"));
    CHECK(shmdt(mem) == 0 && shmctl(id, IPC_STAT, &ds) == -1);
    CHECK(errno == EINVAL || errno == EIDRM);
    return 0;
}

/* A process has a umask of its own, inherited from its parent, and it shapes what is created. */
#include "os.h"

static int mode_of(const char *path)
{
    struct stat st;

    CHECK(stat(path, &st) == 0);
    return st.st_mode & 07777;
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);

    if (is(role, "child")) {
        CHECK(umask(0) == 027);
        CHECK(close(open("open", O_CREAT | O_WRONLY, 0666)) == 0 && mode_of("open") == 0666);
        CHECK(umask(077) == 0);
        CHECK(fclose(fopen("fopen", "w")) == 0 && mode_of("fopen") == 0600);
        return 0;
    }
    umask(027);
    CHECK(mkdir("dir", 0777) == 0 && mode_of("dir") == 0750);
    CHECK(reap_exit(spawn_self("child")) == 0);
    CHECK(fclose(fopen("after", "w")) == 0 && mode_of("after") == 0640);
    CHECK(umask(0) == 027);
    return 0;
}

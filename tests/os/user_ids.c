/* The user a process runs as owns the files it makes and has a name; inside calf it is never root,
 * because PostgreSQL refuses to run as root. */
#include "os.h"
#include <pwd.h>

int main(int argc, char **argv)
{
    struct passwd *pw, one, *found;
    char buf[4096], name[256];
    struct stat st;

    os_role(argc, argv);
    put_file("file", "x");
    int fd = open("file", O_RDWR);
    CHECK(getuid() == geteuid());
    CHECK(stat("file", &st) == 0 && st.st_uid == geteuid());
    CHECK(fstat(fd, &st) == 0 && st.st_uid == geteuid());
    CHECK(lstat("file", &st) == 0 && st.st_uid == geteuid());
    CHECK(mkdir("dir", 0700) == 0 && stat("dir", &st) == 0 && st.st_uid == geteuid());
    CHECK(chown("file", -1, getegid()) == 0);
    CHECK(stat("file", &st) == 0 && st.st_gid == getegid());
    if (getenv("CALF_INSIDE"))
        CHECK(geteuid() != 0 && getpwuid(geteuid()) != NULL);
    if ((pw = getpwuid(geteuid())) != NULL) { /* a container may not know its user */
        CHECK(pw->pw_uid == geteuid() && pw->pw_name[0] && pw->pw_dir);
        snprintf(name, sizeof(name), "%s", pw->pw_name);
        CHECK(getpwuid_r(geteuid(), &one, buf, sizeof(buf), &found) == 0 && found == &one);
        CHECK(is(one.pw_name, name));
        CHECK((pw = getpwnam(name)) != NULL && pw->pw_uid == geteuid());
    }
    CHECK(getpwnam("no such user") == NULL);
    return 0;
}

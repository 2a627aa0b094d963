/* opendir() and readdir() list a directory once and wholly, also while its files are removed. */
#include "os.h"
#include <dirent.h>

int main(int argc, char **argv)
{
    enum { FILES = 300 };
    char path[32], seen[FILES] = {0};
    struct dirent *entry;
    int n, others = 0;
    DIR *dir;

    os_role(argc, argv);
    CHECK(opendir("nothing") == NULL && errno == ENOENT);
    CHECK(mkdir("d", 0700) == 0);
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof(path), "d/%d", i);
        put_file(path, "");
        CHECK(i > 0 || (opendir("d/0") == NULL && errno == ENOTDIR));
    }
    CHECK((dir = opendir("d")) != NULL);
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (sscanf(entry->d_name, "%d", &n) != 1) {
            others += is(entry->d_name, ".") || is(entry->d_name, "..");
            continue;
        }
        CHECK(n >= 0 && n < FILES && !seen[n]++);
        CHECK(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
        snprintf(path, sizeof(path), "d/%d", n);
        CHECK(unlink(path) == 0);
    }
    CHECK(errno == 0 && others == 2 && closedir(dir) == 0);
    for (int i = 0; i < FILES; i++)
        CHECK(seen[i]);
    CHECK(rmdir("d") == 0);
    return 0;
}

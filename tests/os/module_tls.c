/* A module's thread-local data starts with its initial values in every process. */
#include "os.h"
#include <dlfcn.h>

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char path[4096];

    snprintf(path, sizeof(path), "%.*s/mod_tls.so", (int)(strrchr(argv[0], '/') - argv[0]),
             argv[0]);
    void *handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    CHECK(handle != NULL);
    int (*next)(void) = (int (*)(void))dlsym(handle, "tls_next");
    char *(*text)(void) = (char *(*)(void))dlsym(handle, "tls_text");
    CHECK(next && text && next() == 7 && next() == 8 && is(text(), "initial"));
    strcpy(text(), "changed");
    if (is(role, "")) {
        CHECK(reap_exit(spawn_self("child")) == 0);
        CHECK(next() == 9 && is(text(), "changed"));
    }
    return 0;
}

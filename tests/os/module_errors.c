/* dlopen() and dlsym() that fail return NULL, and dlerror() says why, naming what is missing. */
#include "os.h"
#include <dlfcn.h>

static bool told(const char *what)
{
    const char *text = dlerror();

    return text != NULL && strstr(text, what) != NULL && dlerror() == NULL;
}

static void *load(const char *name)
{
    char path[4096];

    snprintf(path, sizeof(path), "%.*s/%s", (int)(strrchr(os_self, '/') - os_self), os_self, name);
    return dlopen(path, RTLD_NOW | RTLD_GLOBAL);
}

int main(int argc, char **argv)
{
    os_role(argc, argv);
    CHECK(dlopen("/nonexistent/module.so", RTLD_NOW) == NULL && told("/nonexistent/module.so"));
    CHECK(load("mod_broken.so") == NULL && told("nobody_has_this"));
    put_file("text.so", "this is not a module, only a text that is longer than a header of ELF is "
                        "and therefore must be refused for what it says rather than its length");
    char path[4096];
    CHECK(realpath("text.so", path) == path);
    CHECK(dlopen(path, RTLD_NOW) == NULL && told("text.so"));
    void *handle = load("mod_other.so");
    CHECK(handle != NULL && dlsym(handle, "no_such_symbol") == NULL && told("no_such_symbol"));
    CHECK(dlsym(handle, "mod_add") != NULL && dlerror() == NULL);
    CHECK(dlclose(handle) == 0);
    return 0;
}

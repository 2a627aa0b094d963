/* dlopen() gives each process its own copy of a module's data, binds it to the program's functions
 * and data and to modules loaded earlier, and runs its constructors once. */
#include "os.h"
#include <dlfcn.h>

extern int program_value, program_call(int x);
int program_value = 1000;

int program_call(int x)
{
    return x * 2;
}

static void *load(const char *name)
{
    char path[4096];
    void *handle;

    snprintf(path, sizeof(path), "%.*s/%s", (int)(strrchr(os_self, '/') - os_self), os_self, name);
    handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    CHECK(handle != NULL);
    return handle;
}

static int call(void *handle, const char *name, int arg)
{
    int (*f)(int) = (int (*)(int))dlsym(handle, name);

    CHECK(f != NULL);
    return f(arg);
}

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char text[32];

    void *counter = load("mod_counter.so");
    CHECK(call(counter, "mod_add", 1) == 11 && call(counter, "mod_zeros", 0) == 1);
    CHECK(load("mod_counter.so") == counter); /* the same again, not a second one */
    CHECK(*(int *)dlsym(counter, "mod_constructed") == 1);
    CHECK(call(counter, "mod_callback", 4) == 1008);
    program_value++;
    CHECK(call(counter, "mod_callback", 4) == 1009);
    CHECK(*(int *)dlsym(counter, "mod_value") == 11);
    if (is(role, "child"))
        return 0;
    call(counter, "mod_add", 100);
    CHECK(reap_exit(spawn_self("child")) == 0);
    CHECK(call(counter, "mod_add", 0) == 111 && call(counter, "mod_zeros", 0) == 101);

    void *other = load("mod_other.so");
    CHECK(other != counter && call(other, "mod_add", 1) == 499);
    CHECK(call(counter, "mod_add", 0) == 111);
    int (*print)(char *, int) = (int (*)(char *, int))dlsym(other, "mod_print");
    CHECK(print(text, sizeof(text)) == 8 && is(text, "module 4"));
    CHECK(call(load("mod_user.so"), "mod_sum", 0) == 111 * 1000 + 101);
    return 0;
}

/*
 * plugin.c - a host that loads libcalf late and bound deep (RTLD_DEEPBIND), and calls it on a
 * thread with a small stack, which is what node does; it unloads it and loads it again
 *
 * usage: plugin DIR
 */
#include "api_test.h"

#include <dlfcn.h>
#include <pthread.h>

#define SMALL_STACK (128 << 10)

extern char **environ; /* used here, so that this program has the copy of it that libc sets */
static void *lib;

#define CALL(name) ((__typeof__(&name))dlsym(lib, #name))

/* What PostgreSQL prints goes to the file `out`. */
static void use(const char *path, const char *out)
{
    char *psql[] = {"psql", "-XAtc", "\\getenv seen PLUGIN_TEST", "-c", "\\echo :seen", NULL};
    int fds[3] = {0, open(out, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600), 2}, code = -1;
    char text[16] = "", dir[4200];
    calf_db *db;

    snprintf(dir, sizeof(dir), "%s-socket", out);
    CHECK(CALL(calf_open)(path, NULL, &db, &err) == CALF_OK);
    CHECK(CALL(calf_listen)(db, dir, &err) == CALF_OK);
    CHECK(CALL(calf_run)(db, psql, fds, &code, &err) == CALF_OK && code == 0);
    CHECK(pread(fds[1], text, sizeof(text) - 1, 0) > 0 && strcmp(text, "yes\n") == 0);
    CHECK(CALL(calf_close)(db, CALF_FAST, &err) == CALF_OK);
    close(fds[1]);
}

static void *small(void *dir)
{
    static const char *const wrong[] = {"work_mem=nonsense", NULL};
    struct calf_options latin1 = {.size = sizeof(latin1), .encoding = "LATIN1", .locale = "C"};
    struct calf_options bad = {.size = sizeof(bad), .settings = wrong};
    char data[4096], out[4096];
    calf_db *db;

    snprintf(out, sizeof(out), "%s/out", (char *)dir);
    use(NULL, out);
    snprintf(data, sizeof(data), "%s/data", (char *)dir);
    use(data, out); /* created */
    use(data, out); /* opened */
    CHECK(CALL(calf_open)(data, &bad, &db, &err) == CALF_FAILED && strstr(err.text, "nonsense"));
    snprintf(data, sizeof(data), "%s/latin1", (char *)dir);
    CHECK(CALL(calf_open)(data, &latin1, &db, &err) == CALF_OK); /* initdb runs */
    CHECK(CALL(calf_close)(db, CALF_FAST, &err) == CALF_OK);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *name = getenv("CALF_LIBRARY");
    pthread_attr_t attr;
    pthread_t thread;

    CHECK(argc == 2 && setenv("PLUGIN_TEST", "yes", 1) == 0 && environ);
    CHECK(!dlsym(RTLD_DEFAULT, "calf_open")); /* else this program is linked to it */
    CHECK(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, SMALL_STACK) == 0);
    for (int i = 0; i < 2; i++) {
        lib = dlopen(name ? name : "build/libcalf.so", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
        CHECK(lib);
        CHECK(pthread_create(&thread, &attr, small, argv[1]) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(dlclose(lib) == 0);
    }
    return 0;
}

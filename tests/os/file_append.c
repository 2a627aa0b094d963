/* Processes that write to one file with O_APPEND never overwrite each other. */
#include "os.h"

enum { WRITERS = 3, LINES = 500 };

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    pid_t pids[WRITERS];
    int seen[WRITERS] = {0}, who, line;
    struct stat st;

    if (is(role, "writer")) {
        int fd = open("log", O_WRONLY | O_APPEND | O_CREAT, 0600);
        char text[32];

        CHECK(fd >= 0);
        for (int i = 0; i < LINES; i++) {
            snprintf(text, sizeof(text), "%1d %05d\n", atoi(argv[2]), i);
            CHECK(write(fd, text, 8) == 8);
        }
        return 0;
    }
    for (int i = 0; i < WRITERS; i++)
        pids[i] = spawn_self("writer", num(i));
    for (int i = 0; i < WRITERS; i++)
        CHECK(reap_exit(pids[i]) == 0);
    CHECK(stat("log", &st) == 0 && st.st_size == WRITERS * LINES * 8);
    FILE *f = fopen("log", "r");
    CHECK(f != NULL);
    while (fscanf(f, "%d %d\n", &who, &line) == 2)
        CHECK(who >= 0 && who < WRITERS && line == seen[who]++);
    CHECK(feof(f) && fclose(f) == 0);
    for (int i = 0; i < WRITERS; i++)
        CHECK(seen[i] == LINES);
    return 0;
}

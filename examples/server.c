/* server.c - a program that lets others into its database: server DIR SOCKET_DIR, ends at the end
 * of input */
#include <calf.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct calf_error err;
    calf_db *db;

    if (calf_open(argc > 1 ? argv[1] : NULL, NULL, &db, &err) != CALF_OK ||
        calf_listen(db, argc > 2 ? argv[2] : "tcp:0", &err) != CALF_OK)
        return fprintf(stderr, "%s\n", err.text), 1;
    printf("psql '%s'\n", calf_uri(db));
    fflush(stdout);
    while (getchar() != EOF) /* a real program does its work here */
        ;
    return calf_close(db, CALF_FAST, &err);
}

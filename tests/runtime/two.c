/*
 * two.c - two clusters in one process do not see each other, and one stops without the other
 *
 * usage: two DIR
 */
#include "runtime_test.h"

int main(int argc, char **argv)
{
    char dir[2][4096], again[256];
    struct server *s[2], *third;
    struct install in;
    struct calf_error err;

    CHECK(argc == 2 && install_find(&in, &err) == 0);
    for (int i = 0; i < 2; i++) {
        snprintf(dir[i], sizeof(dir[i]), "%s/%c", argv[1], 'a' + i);
        s[i] = start(&in, dir[i]);
        query(s[i], i ? "create table t as select 'b' as name; select 1"
                      : "create table t as select 'a' as name; select 1");
    }
    CHECK(strcmp(query(s[0], "select name from t"), "a") == 0);
    CHECK(strcmp(query(s[1], "select name from t"), "b") == 0);
    /* the same keys of shared memory, the same names of segments, the same host pid */
    CHECK(strcmp(query(s[0], "select count(*) from pg_stat_activity where backend_type = "
                             "'checkpointer'"),
                 "1") == 0);
    /* a directory that this very process has open is held as well */
    CHECK(server_start(&in, &(struct server_options){.dir = dir[0], .log_fd = 2}, &third, &err) <
          0);
    snprintf(again, sizeof(again), "in use by process %d", (int)getpid());
    CHECK(strstr(err.text, again) && strstr(err.text, dir[0]));
    stop(s[0]);
    CHECK(strcmp(query(s[1], "select name from t"), "b") == 0);
    s[0] = start(&in, dir[0]);
    CHECK(strcmp(query(s[0], "select name from t"), "a") == 0);
    stop(s[1]);
    stop(s[0]);
    return 0;
}

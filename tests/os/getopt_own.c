/* getopt() and getopt_long() keep their place per process, start at the first argument in each,
 * permute, can be reset, and complain on that process's stderr. */
#include "os.h"
#include <getopt.h>

static const struct option longs[] = {{"dbname", required_argument, NULL, 'd'},
                                      {"verbose", no_argument, NULL, 'v'},
                                      {"only-long", no_argument, NULL, 1000},
                                      {NULL, 0, NULL, 0}};

int main(int argc, char **argv)
{
    const char *role = os_role(argc, argv);
    char *parse[] = {"prog", "-v", "plain",       "--dbname=x", "-dy", "--verb",
                     "-d",   "z",  "--only-long", "--",         "-v",  NULL};
    char *bad[] = {"prog", "-a", "-q", "-b", NULL};
    int index = -1;

    if (is(role, "child")) {
        CHECK(optind == 1 && getopt(4, bad, "ab:") == 'a' && optind == 2);
        CHECK(dup2(open("err", O_WRONLY | O_CREAT, 0600), 2) == 2);
        CHECK(getopt(4, bad, "ab:") == '?' && getopt(4, bad, "ab:") == '?');
        CHECK(getopt(4, bad, "ab:") == -1 && optind == 4);
        return 0;
    }
    CHECK(getopt_long(11, parse, "vd:", longs, &index) == 'v');
    CHECK(reap_exit(spawn_self("child")) == 0);
    CHECK(is(get_file("err"), "prog: invalid option -- 'q'\n"
                              "prog: option requires an argument -- 'b'\n"));
    CHECK(getopt_long(11, parse, "vd:", longs, &index) == 'd' && is(optarg, "x") && index == 0);
    CHECK(getopt_long(11, parse, "vd:", longs, &index) == 'd' && is(optarg, "y"));
    CHECK(getopt_long(11, parse, "vd:", longs, &index) == 'v' && optarg == NULL);
    CHECK(getopt_long(11, parse, "vd:", longs, &index) == 'd' && is(optarg, "z"));
    CHECK(getopt_long(11, parse, "vd:", longs, &index) == 1000);
    CHECK(getopt_long(11, parse, "vd:", longs, &index) == -1 && optind == 9);
    CHECK(is(parse[9], "plain") && is(parse[10], "-v") && is(parse[8], "--"));
    optind = 1;
    char *again[] = {"prog", "-abx", NULL};
    CHECK(getopt(2, again, "ab:") == 'a' && getopt(2, again, "ab:") == 'b' && is(optarg, "x"));
    opterr = 0;
    optind = 1;
    CHECK(getopt(4, bad, "a") == 'a' && getopt(4, bad, "a") == '?' && optind == 3);
    return 0;
}

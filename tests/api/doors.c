/*
 * doors.c - what names a directory is where the connection goes: names with commas and percent
 * signs, both spellings of the host, and every variable of libpq's set to lead elsewhere
 *
 * usage: doors DIR
 */
#include "api_test.h"

static char *scratch;

static const char *in_scratch(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s", scratch, name);
    return path;
}

static bool is_there(const char *name)
{
    return access(in_scratch(name), F_OK) == 0;
}

static void leads_there(const char *dsn, const char *name)
{
    PGconn *conn = connect_to(dsn);

    CHECK(says(conn, "show data_directory", in_scratch(name)));
    PQfinish(conn);
}

static void refused(const char *dsn, const char *why)
{
    PGconn *conn = PQconnectdb(dsn);

    if (!strstr(PQerrorMessage(conn), why))
        fprintf(stderr, "%s\n  says: %s\n", dsn, PQerrorMessage(conn));
    CHECK(PQstatus(conn) == CONNECTION_BAD && strstr(PQerrorMessage(conn), why));
    PQfinish(conn);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"a,b", "a=b",       "a%2Cb", "a%252cb",
                                        "50%", "it's a\\b", "\xff"};
    static const char *const sets[] = {"user",
                                       "password",
                                       "passfile",
                                       "options",
                                       "client_encoding",
                                       "connect_timeout",
                                       "application_name",
                                       "dbname"};
    PQconninfoOption *options;
    char dsn[8192], path[4096];
    calf_db *db;

    CHECK(argc == 2);
    scratch = argv[1];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK(calf_open(in_scratch(names[i]), NULL, &db, &err) == CALF_OK);
        leads_there(calf_dsn(db), names[i]);
        CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    }
    CHECK(!is_there("a"));
    snprintf(dsn, sizeof(dsn), "host=/calf:%s", in_scratch("a%2Cb"));
    leads_there(dsn, "a,b");
    snprintf(dsn, sizeof(dsn), "postgresql:///postgres?host=calf:%s", in_scratch("a%252Cb"));
    leads_there(dsn, "a,b");
    snprintf(dsn, sizeof(dsn), "host=calf:%s", in_scratch("a,b"));
    refused(dsn, "%2C");
    snprintf(dsn, sizeof(dsn), "host=calf:%s hostaddr=127.0.0.9", in_scratch("a"));
    refused(dsn, "hostaddr=127.0.0.9");
    CHECK(!is_there("a"));

    memset(path, 'x', sizeof(path)); /* the reason is there however long the path is */
    for (size_t i = 0; i < 1100; i += 100)
        path[i] = '/';
    path[1100] = '\0';
    CHECK(calf_open(path, NULL, &db, &err) == CALF_ACCESS && strstr(err.text, strerror(ENOENT)));

    options = PQconndefaults();
    CHECK(calf_open(in_scratch("50%"), NULL, &db, &err) == CALF_OK);
    for (PQconninfoOption *o = options; o->keyword; o++) {
        bool adds = !o->envvar;

        for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
            adds |= strcmp(o->keyword, sets[i]) == 0;
        if (!adds)
            setenv(o->envvar, "127.0.0.9,elsewhere.invalid", 1);
    }
    PQconninfoFree(options);
    setenv("PGREQUIRESSL", "1", 1);
    leads_there(calf_dsn(db), "50%");
    snprintf(dsn, sizeof(dsn), "host=calf:%s", in_scratch("50%"));
    leads_there(dsn, "50%");
    CHECK(calf_run(db, (char *[]){"pg_dump", "--schema-only", "--file=/dev/null", NULL}, NULL,
                   &argc, &err) == CALF_OK);
    CHECK(argc == 0);
    CHECK(calf_close(db, CALF_FAST, &err) == CALF_OK);
    return 0;
}

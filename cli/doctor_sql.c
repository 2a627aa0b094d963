/*
 * doctor_sql.c - `calf doctor`: what is asked of PostgreSQL, in sessions
 *
 * A question answers with one row for each thing that is not well: the level and the sentence.
 */
#include "doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct question {
    const char *check;
    const char *well; /* what no row means */
    bool everywhere;  /* asked in every database, whose name goes before the sentence */
    const char *sql;
} questions[] = {
    {"configuration", "no setting is wrong", false,
     "select case when s.context = 'postmaster' then 'warning' else 'problem' end, "
     "case when s.context = 'postmaster' then format('%s waits for a restart: %s line %s', f.name, "
     "f.sourcefile, f.sourceline) else format('%s line %s: %s (%s); correct it there', "
     "f.sourcefile, f.sourceline, f.error, f.name) end from pg_file_settings f left join "
     "pg_settings s on s.name = lower(f.name) where error is not null"},
    {"checksums", "no damaged page was met since the statistics began", false,
     "select 'problem', format('%s pages of database %s were damaged when they were read, the last "
     "%s; restore from a backup', checksum_failures, coalesce(datname, '(shared)'), "
     "checksum_last_failure) from pg_stat_database where checksum_failures > 0"},
    {"transaction ids", "none is old", false,
     "select case when age(datfrozenxid) > 1600000000 then 'problem' else 'warning' end, "
     "format('the oldest of database %s is %s transactions old, and at 2,147,483,648 PostgreSQL "
     "stops; vacuum (freeze) it, and look for old transactions and slots', datname, "
     "age(datfrozenxid)) from pg_database where age(datfrozenxid) > 1000000000"},
    {"replication slots", "none holds back WAL", false,
     "select case when wal_status in ('unreserved', 'lost') then 'problem' else 'warning' end, "
     "format('nobody uses the slot %s, and it holds back %s of WAL (%s); select "
     "pg_drop_replication_slot(%L) if it is not needed', slot_name, "
     "pg_size_pretty(case when pg_is_in_recovery() then 0 else "
     "pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) end), wal_status, slot_name) "
     "from pg_replication_slots where not active and not temporary and restart_lsn is not null"},
    {"archiving", "no archive_command fails", false,
     "select 'problem', format('archive_command failed %s times, the last for %s, and WAL is kept "
     "until it works; run it by hand: %s', failed_count, last_failed_wal, "
     "current_setting('archive_command')) from pg_stat_archiver where last_failed_time > "
     "coalesce(last_archived_time, '-infinity') and current_setting('archive_mode') <> 'off'"},
    {"extensions", "all are there, in their newest version", true,
     "select case when a.name is null then 'problem' else 'warning' end, case when a.name is null "
     "then format('the files of the extension %s are not there; name their directory with "
     "--extension-path, or drop it', extname) else format('the extension %s has version %s, and "
     "%s is there; alter extension %I update', extname, extversion, default_version, extname) end "
     "from pg_extension left join pg_available_extensions a on a.name = extname "
     "where a.name is null or default_version <> extversion"},
    {"collations", "all have the version of the library", true,
     "select 'warning', format('sorting by %s was version %s when indexes were made and is %s now; "
     "reindex what uses it, then %s', what, old, now, repair) from ("
     "select 'the database''s collation' as what, datcollversion as old, "
     "pg_database_collation_actual_version(oid) as now, format('alter database %I refresh "
     "collation version', datname) as repair from pg_database where datname = current_database() "
     "union all select collname, collversion, pg_collation_actual_version(oid), format('alter "
     "collation %I refresh version', collname) from pg_collation where collprovider <> 'd') c "
     "where old <> now"},
};

static void ask(struct doctor *d, const struct question *q, PGconn *conn, int *bad)
{
    PGresult *res = PQexec(conn, q->sql);

    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        ++*bad;
        report(d, LEVEL_PROBLEM, q->check, "cannot be asked for in database %s: %s", PQdb(conn),
               PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)
                   ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)
                   : PQerrorMessage(conn));
    }
    for (int i = 0; i < PQntuples(res); i++) {
        enum level level =
            strcmp(PQgetvalue(res, i, 0), "problem") == 0 ? LEVEL_PROBLEM : LEVEL_WARNING;

        ++*bad;
        report(d, level, q->check, "%s%s%s%s", q->everywhere ? "in database " : "",
               q->everywhere ? PQdb(conn) : "", q->everywhere ? ": " : "", PQgetvalue(res, i, 1));
    }
    PQclear(res);
}

/* A session in that database, or NULL. */
static PGconn *connect_to(struct doctor *d, const char *database)
{
    const char *names[] = {"dbname", "dbname", "connect_timeout", NULL};
    const char *values[] = {d->target.uri, database, getenv("PGCONNECT_TIMEOUT") ? NULL : "10",
                            NULL};
    PGconn *conn = PQconnectdbParams(names, values, 1);

    if (PQstatus(conn) == CONNECTION_OK)
        return conn;
    report(d, LEVEL_PROBLEM, "session", "database %s does not let us in: %s",
           database ? database : "postgres", PQerrorMessage(conn));
    PQfinish(conn);
    return NULL;
}

static void ask_all(struct doctor *d, PGconn *conn)
{
    PGresult *names = PQexec(conn, "select datname from pg_database where datallowconn and not "
                                   "datistemplate order by 1");

    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        const struct question *q = &questions[i];
        int bad = 0;

        if (!q->everywhere)
            ask(d, q, conn, &bad);
        for (int n = 0; q->everywhere && n < PQntuples(names); n++) {
            PGconn *one = connect_to(d, PQgetvalue(names, n, 0));

            if (one)
                ask(d, q, one, &bad);
            else
                bad++;
            PQfinish(one);
        }
        if (bad == 0)
            report(d, LEVEL_OK, q->check, "%s", q->well);
    }
    PQclear(names);
}

void check_sessions(struct doctor *d)
{
    bool opens = d->status.state != CALF_OPEN && d->call->value[OPTION_OPEN];
    PGconn *conn;

    if (!d->exists || (d->status.state == CALF_OPEN && !d->status.uri[0]))
        return;
    if (opens && d->count[LEVEL_PROBLEM] > 0) {
        report(d, LEVEL_OK, "session", "not opened because of the problems above");
        return;
    }
    if (opens) {
        block_signals();
        if (target_open(&d->target, d->call, false) != 0) {
            report(d, LEVEL_PROBLEM, "session", "it cannot be opened; the reason was printed");
            return;
        }
    } else if (d->status.state != CALF_OPEN) {
        report(d, LEVEL_OK, "session",
               "not opened, so extensions, collations and slots were not "
               "looked at; --open does");
        return;
    } else {
        find_entry(&d->status);
        snprintf(d->target.uri, sizeof(d->target.uri), "%s", d->status.uri);
    }
    conn = connect_to(d, NULL);
    if (conn) {
        report(d, LEVEL_OK, "session", "it answers");
        ask_all(d, conn);
    }
    PQfinish(conn);
    target_close(&d->target);
}

#!/bin/bash
#
# leak.sh - 2,000 sessions that come, work and go leave nothing in the server's process
#
# PostgreSQL relies on exit() to free a session's memory, so calf must give back
# everything.  Compared are two moments without sessions: after 200 for warming
# up, and after 2,000 more.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"
cycles=${LEAK_CYCLES:-2000}
if [ -n "${CALF_SERVE:-}" ]; then
    skip leak "stock's sessions are processes"
    finish
fi

start_server "$scratch/data" -c autovacuum=off -c checkpoint_timeout=1d -c max_wal_size=4GB || exit 1
sql 'create extension pg_trgm; create table t (id serial primary key, v text);
     insert into t (v) select md5(i::text) from generate_series(1, 1000) i'

# A session that uses what usually allocates: catalogs, plans, PL/pgSQL, sorting with
# ICU, temporary files, an extension, errors, prepared statements, large results.  It
# writes nothing, because new pages in shared buffers would count as growth.
cat >"$scratch/session.sql" <<'END'
select count(*) from pg_class c join pg_attribute a on a.attrelid = c.oid;
select count(*) from (select v from t order by v collate "en-x-icu") s;
select similarity('calf', 'half'), to_char(now(), 'TMDay'), 'abc' ~ 'a.c';
set work_mem = 64;
select count(distinct md5(i::text)) from generate_series(1, 5000) i;
do $$ begin perform 1 / 0; exception when division_by_zero then null; end $$;
prepare p as select count(*) from t where id = $1;
execute p(1);
select repeat('x', 100000);
END

# pgbench: a new connection for each transaction
cycle() {
    client pgbench -n -C -c "$1" -t "$(($2 / $1))" -f "$scratch/session.sql" >"$scratch/pgbench" 2>&1 ||
        { cat "$scratch/pgbench"; return 1; }
}

# What the process holds when no session is left, as: KiB descriptors threads mappings
holds() {
    until_true is_alone
    until_true keeps_nothing
    awk '/^Rss:/ { rss = $2 } END { printf "%d ", rss }' "/proc/$server/smaps_rollup"
    echo "$(ls "/proc/$server/fd" | wc -l) $(ls "/proc/$server/task" | wc -l) $(wc -l <"/proc/$server/maps")"
}
# No programs for reuse: there are as many images as processes
keeps_nothing() {
    [ "$(grep -c ' 00000000 .*[:/]postgres' "/proc/$server/maps")" = "$(grep -lx postgres "/proc/$server/task"/*/comm | wc -l)" ]
}
is_alone() { [ "$(ls "/proc/$server/task" | wc -l)" = "$idle_threads" ]; }

idle_threads=$(ls "/proc/$server/task" | wc -l)
until_sql "select count(*) from pg_stat_activity where backend_type = 'client backend'" 1
idle_threads=$(ls "/proc/$server/task" | wc -l)

grows() {
    local clients=$1 before after rss0 fd0 th0 map0 rss fd th map
    cycle 4 200 # so many ended programs are kept for reuse
    cycle "$clients" 200
    before=$(holds)
    cycle "$clients" "$cycles"
    after=$(holds)
    read -r rss0 fd0 th0 map0 <<<"$before"
    read -r rss fd th map <<<"$after"
    echo "before: $before; after $cycles sessions: $after (KiB, descriptors, threads, mappings)" | tee "$scratch/said"
    [ $((rss * 100)) -lt $((rss0 * 105)) ]
    [ "$fd" -le $((fd0 + 2)) ] # the checkpointer may have opened another file
    [ "$th" = "$th0" ]
    [ "$map" -le $((map0 + 20)) ]
}
check "$cycles sessions one after the other" grows 1
cat "$scratch/said"
check "$cycles sessions, four at a time" grows 4
cat "$scratch/said"

finish

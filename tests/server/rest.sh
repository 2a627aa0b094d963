#!/bin/bash
#
# rest.sh - what sessions, and programs kept for reuse, give back while nothing happens
#
# Nothing here waits for a time: memory goes back within $deadline seconds or the check fails.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"
if [ -n "${CALF_SERVE:-}" ]; then
    skip rest 'stock has its own ways'
    finish
fi
start_server "$scratch/data" -c autovacuum=off -c work_mem=4MB || exit 1

anonymous() { awk '/^Anonymous:/ { print $2 }' "/proc/$server/smaps_rollup"; }
images() { grep -c ' 00000000 .*[:/]postgres' "/proc/$server/maps"; }
processes() { grep -lx postgres "/proc/$server/task"/*/comm | wc -l; }
below() { [ "$(anonymous)" -lt "$1" ]; }
keeps_nothing() { [ "$(images)" = "$(processes)" ]; }

# Ten sessions that work when told to
for ((i = 0; i < 10; i++)); do
    mkfifo "$scratch/$i"
    client psql -XAtq -v ON_ERROR_STOP=1 <"$scratch/$i" >"$scratch/$i.out" 2>&1 &
    exec {to[i]}>"$scratch/$i"
done
# tell TEXT ANSWER: all of them
tell() {
    local i
    for ((i = 0; i < 10; i++)); do
        : >"$scratch/$i.out"
        echo "$1" >&"${to[i]}"
    done
    for ((i = 0; i < 10; i++)); do until_true grep -qx "$2" "$scratch/$i.out"; done
}
# one pass over the catalogs, a sort, a deep parse tree
work="select count(*) > 1000 from information_schema.columns;
create or replace function pg_temp.f(i int) returns int language plpgsql as 'begin return i * 2; end';
select sum(length(c)) from (select md5(i::text) c from generate_series(1, 20000) i order by 1) s;
select pg_temp.f(21) + $(printf '(1+%.0s' {1..200})0$(printf ')%.0s' {1..200}), 'done';"

gives_back() {
    local busy
    tell "$work" '242|done'
    busy=$(anonymous)
    until_true below $((busy - 10 * 700))
    echo "$busy KiB after the work, then $(anonymous)" | tee "$scratch/said"
}
check 'ten sessions give back 700 KiB each when they wait' gives_back
cat "$scratch/said" 2>/dev/null

goes_on() {
    local i
    for i in 1 2; do
        tell "$work" '242|done'
        grep -qx 640000 "$scratch/3.out"
    done
}
check 'and work as before' goes_on

interrupted() {
    local pid
    sql "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1" >"$scratch/pid"
    pid=$(cat "$scratch/pid")
    is "select pg_terminate_backend($pid, 20000)" t
    is "select count(*) from pg_stat_activity where pid = $pid" 0
}
check 'one that rests can be terminated' interrupted
for ((i = 0; i < 10; i++)); do exec {to[i]}>&-; done

kept() {
    until_sql "select count(*) from pg_stat_activity where backend_type = 'client backend'" 1
    until_true keeps_nothing
}
check 'programs are not kept for reuse for long' kept
finish

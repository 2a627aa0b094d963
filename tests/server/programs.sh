#!/bin/bash
#
# programs.sh - PostgreSQL's other programs inside calf: `calf run DIR PROGRAM`, `calf psql DIR`
#
# Each runs beside the server that calf opens for it, in the same process, and its
# output and exit code are those of the native program.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"
if [ -n "${CALF_SERVE:-}" ]; then
    skip programs 'natively they are PostgreSQL itself'
    finish
fi
data=$scratch/data
inside() { timeout "$deadline" "$calf" run "$1" "$data" -- "${@:2}"; }
psql_inside() { timeout "$deadline" "$calf" psql "$data" -XAtq "$@"; }
code() { local rc=0; "$@" || rc=$?; echo "$rc"; }
cd "$scratch" || exit 1
psql_inside -c 'select 1' >/dev/null || exit 1 # makes the directory

versions() {
    local program
    for program in "$bin"/*; do
        program=${program##*/}
        case $program in ecpg | pg_config) continue ;; esac # to compile against PostgreSQL: not in calf
        [ "$(inside "$program" --version)" = "$(client "$program" --version)" ] ||
            { echo "$program --version differs"; return 1; }
    done
}
check 'every program starts' versions

pgbench() {
    inside pgbench -i -q -s 2
    inside pgbench -n -c 4 -j 2 -t 500 | tee "$scratch/out" # threads of its own
    grep -q 'actually processed: 2000/2000' "$scratch/out"
}
check 'pgbench, with two threads' pgbench

psql_input() {
    [ "$(echo 'select 6 * 7;' | psql_inside)" = 42 ]
    [ "$(psql_inside -c 'table pgbench_branches' | wc -l)" = 2 ]
    echo 'select :v + 1;' >"$scratch/script.sql"
    [ "$(psql_inside -v v=41 -f "$scratch/script.sql")" = 42 ]
    [ "$(psql_inside -c "\\! echo outside")" = outside ]
    [ "$(psql_inside -c "\\copy (select 42) to program 'cat'")" = 42 ]
    [ "$(seq 1 100 | psql_inside -c 'create temp table s (n int)' -c '\copy s from pstdin' -c 'select sum(n) from s')" = 5050 ]
    printf 'select repeat($$x$$, 1000) from generate_series(1, 20000);' | psql_inside | wc -c | grep -qx 20020000
}
check 'psql reads pipes and files and runs outside commands' psql_input

carried_directory() { # PostgreSQL 15's programs go there to find out where they are
    local share
    share=$(realpath "$calf")/share
    [ "$(psql_inside -c "\\cd $share" -c 'create temp table w (t text)' -c '\copy w from tsearch_data/english.stop' \
        -c '\cd ./tsearch_data' -c '\copy w from ../tsearch_data/english.stop' -c 'select count(*) from w')" = 254 ]
    psql_inside -c "\\cd $share/tsearch_data/english.stop" 2>&1 | grep -q 'Not a directory'
    psql_inside -c "\\cd $share/nowhere" 2>&1 | grep -q 'No such file or directory'
    [ "$(psql_inside -c "\\cd $share" -c "\\cd $scratch" -c '\! pwd')" = "$scratch" ]
}
check 'a directory that calf carries can be the current one' carried_directory

exit_codes() {
    [ "$(code psql_inside -c 'select 1' 2>&1 | tail -n 1)" = 0 ]
    [ "$(code psql_inside -c 'select 1 / 0' 2>/dev/null)" = 1 ]
    [ "$(code psql_inside -v ON_ERROR_STOP=1 -f /nonexistent 2>/dev/null)" = 1 ]
    [ "$(printf 'select 1 / 0;\nselect 2;' | code psql_inside -v ON_ERROR_STOP=1 2>/dev/null)" = 3 ]
    [ "$(code inside pg_isready 2>&1 | tail -n 1)" = 0 ]
    [ "$(code inside no_such_program 2>"$scratch/err")" = 1 ]
    [ "$(wc -l <"$scratch/err")" = 1 ]
    grep -q no_such_program "$scratch/err"
}
check 'exit codes' exit_codes

dump() {
    inside pg_dump >"$scratch/inside.sql"
    inside pg_dump -Fc -f "$scratch/inside.custom"
    inside pg_dump -Fd -f "$scratch/inside.dir"
    inside pg_dumpall --globals-only >"$scratch/globals"
    grep -q 'ROLE postgres' "$scratch/globals"
    start_server "$data"
    client pg_dump >"$scratch/native.sql"
    stop_server
    diff <(grep -v 'restrict ' "$scratch/inside.sql") <(grep -v 'restrict ' "$scratch/native.sql")
    inside createdb one
    inside createdb two
    inside pg_restore -d one "$scratch/inside.custom"
    inside pg_restore -d two "$scratch/inside.dir"
    inside pg_dump one | grep -v 'restrict ' | diff - <(grep -v 'restrict ' "$scratch/native.sql")
    inside pg_dump two | grep -v 'restrict ' | diff - <(grep -v 'restrict ' "$scratch/native.sql")
}
check 'pg_dump gives what the native one gives, and pg_restore takes it' dump

# zlib reads and writes descriptors itself; 5 is one of the host's that no program may reach.
gzip_streams() {
    local base
    timeout "$deadline" "$calf" run pg_dump "$data" -Z 5 >"$scratch/dump.gz" 5>"$scratch/victim"
    gunzip -c "$scratch/dump.gz" | grep -v 'restrict ' | diff - <(grep -v 'restrict ' "$scratch/native.sql")
    inside pg_dump -Fd -Z gzip:9 -f "$scratch/gz.dir"
    gunzip -t "$scratch"/gz.dir/*.dat.gz
    inside pg_restore -f - "$scratch/gz.dir" | grep -c 'COPY public' | grep -qx 4
    timeout "$deadline" "$calf" run pg_basebackup "$data" -Ft -z -X fetch -c fast -D - \
        >"$scratch/base.tar.gz" 5>"$scratch/victim"
    base=$(tar -tzf "$scratch/base.tar.gz")
    grep -qx PG_VERSION <<<"$base"
    [ ! -s "$scratch/victim" ]
}
check 'gzip streams of pg_dump and pg_basebackup' gzip_streams

maintenance() {
    inside vacuumdb -j 3 -z --all
    inside reindexdb --all
    inside pg_amcheck --install-missing --all
    inside dropdb two
    inside pg_controldata -D "$data" | grep -q 'Database cluster state: *shut down'
    set -- "$data"/pg_wal/0*
    inside pg_waldump -n 10 "$1" >/dev/null
}
check 'vacuumdb, reindexdb, pg_amcheck, pg_waldump' maintenance

backup() {
    inside pg_basebackup -D "$scratch/backup" -X fetch -c fast
    inside pg_verifybackup "$scratch/backup"
    start_server "$scratch/backup"
    is 'select count(*) from pgbench_accounts' 200000
    stop_server
}
check 'pg_basebackup -X fetch, verified and started' backup

# They fork without exec, which has no meaning inside one address space.
refuses_fork() {
    local rc
    rc=$(code inside pg_dump -Fd -j 2 -f "$scratch/parallel" 2>"$scratch/err")
    cat "$scratch/err"
    [ "$rc" != 0 ] && [ "$rc" != 124 ]
    psql_inside -c 'select 1'
}
check 'pg_dump -j fails, and does no harm' refuses_fork

interrupted() {
    env --default-signal=INT "$calf" run pgbench "$data" -n -T 1000 >"$scratch/out" 2>&1 &
    until_true test -e "$data/postmaster.pid"
    kill -INT $!
    until_true is_gone $!
    wait $! || :
    [ ! -e "$data/postmaster.pid" ]
}
check 'Ctrl-C ends the program and closes the database' interrupted

finish

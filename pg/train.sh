#!/bin/bash
#
# train.sh - let an instrumented postgres work, for gcc's -fprofile-use
#
#   pg/train.sh TREE OBJECTS
#
# TREE is an installation whose bin/postgres was compiled with -fprofile-generate in OBJECTS;
# the profile goes beside the objects there (.gcda).  The server runs natively, on a
# copy, as an ordinary user, on a socket nobody else finds, and is gone afterwards.
#
# The rule that matters: the work is counted in transactions and rows, never in seconds, so
# that a slow machine makes the same program.

set -eu

tree=${1:?usage: train.sh TREE OBJECTS}
objects=${2:?usage: train.sh TREE OBJECTS}
here=$(cd "$(dirname "$0")" && pwd)

base=${TMPDIR:-/tmp}
room=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
[ "${room:-0}" -gt 2000000 ] && [ -w /dev/shm ] && base=/dev/shm
work=$(mktemp -d "$base/calf-train.XXXXXX")
user=()
[ "$(id -u)" != 0 ] || user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
bin=$work/pgsql/bin
export LD_LIBRARY_PATH=$work/pgsql/lib GCOV_PREFIX=$work/profile
export PGHOST=$work PGPORT=5432 PGUSER=postgres PGDATABASE=postgres LC_ALL=C.UTF-8

end() {
    "${user[@]}" "$bin/pg_ctl" -s -D "$work/data" -m immediate stop >/dev/null 2>&1 || :
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cp -a "$tree" "$work/pgsql"
cp "$here/train.sql" "$work"
[ ${#user[@]} = 0 ] || chown -R 65534:65534 "$work"
cd "$work"

"${user[@]}" "$bin/initdb" -D data -U postgres --encoding=UTF8 --locale=C.UTF-8 --auth=trust --no-instructions
"${user[@]}" "$bin/pg_ctl" -w -D data -l server.log start \
    -o "-k '$work' -h '' -c shared_buffers=128MB -c max_wal_size=4GB -c fsync=off" || { cat server.log; exit 1; }

run() { "${user[@]}" "$@"; }
run "$bin/psql" -q -v ON_ERROR_STOP=1 -f train.sql >train.out
run "$bin/pgbench" -i -q -s 4
for mode in simple extended prepared; do
    run "$bin/pgbench" -n -M $mode -c 4 -t 600 -b tpcb-like
    run "$bin/pgbench" -n -M $mode -c 4 -t 200 -b simple-update
    run "$bin/pgbench" -n -M $mode -c 4 -t 2000 -b select-only
done
run "$bin/pgbench" -n -C -c 2 -t 20 -b select-only
run "$bin/pg_ctl" -w -D data -m fast stop

cp -R "$work/profile$objects/." "$objects"

#!/bin/bash
#
# debian.sh - dumps that Debian's PostgreSQL 15 made of its own server, restored by calf
#
# The other way round nothing can be promised: 15 reads neither 17's archives nor all of its SQL.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
# shellcheck source=tests/cli/compare.sh
. "$(dirname "$0")/compare.sh"
here=$(cd "$(dirname "$0")" && pwd)
deb=/usr/lib/postgresql/15/bin
if [ ! -x $deb/postgres ] || [ ! -e /usr/share/postgresql/15/extension/hstore.control ]; then
    skip debian 'it wants the package postgresql-15'
    finish
fi
cd "$scratch" || exit 1
data=$scratch/data
dumps=$scratch/dumps
mkdir "$dumps" old oldsocket
give_away old oldsocket

# A stock server of Debian's on oldsocket; end_servers ends it
"${as_user[@]}" $deb/initdb -D old -U postgres --encoding=UTF8 --locale=C.UTF-8 --auth=trust -N >initdb.log 2>&1 || exit 1
"${as_user[@]}" $deb/postgres -D old -k "$scratch/oldsocket" -h '' -F >old.log 2>&1 &
echo $! >>"$scratch/servers"
old() { PGHOST=$scratch/oldsocket "$@"; }
until_true old $deb/pg_isready -q || exit 1
old $deb/psql -Xq -v ON_ERROR_STOP=1 -f "$here/every_role.sql" && old $deb/createdb everything &&
    old $deb/psql -Xq -v ON_ERROR_STOP=1 -d everything -o /dev/null -f "$here/every_object.sql" || exit 1
start_server "$data" -c fsync=off || exit 1
client psql -Xq -v ON_ERROR_STOP=1 -f "$here/every_role.sql" || exit 1

rows() { client psql -XAtq -v ON_ERROR_STOP=1 -d "$1" <<<"$rows_query \\gexec"; }
old rows everything >want.rows || exit 1
# how 17 sees it, which shows some things otherwise: restored by the stock pg_restore
old $deb/pg_dump -d everything -Fc -f stock.dump && client createdb stock --template template0 &&
    client pg_restore -d stock stock.dump && schema -d stock >want.schema || exit 1

same() {
    schema -d again >got.schema
    rows again >got.rows
    sql 'alter subscription follows set (slot_name = none)' -d again
    sql 'drop subscription follows' -d again
    client dropdb again
    diff want.schema got.schema
    diff want.rows got.rows
}

there() { # FILE, pg_dump's options...
    local file=$dumps/$1
    shift
    old $deb/pg_dump -d everything -f "$file" "$@"
    calf restore "$data" "$file" -d again 2>said || { cat said; return 1; }
    same
}
check 'custom' there c.dump -Fc
check 'directory, two at a time' there d.dir -Fd -j 2
check 'tar' there t.tar -Ft
check 'plain' there p.sql
check 'plain, gzip' there p.sql.gz -Z 6
parallel() {
    calf restore "$data" "$dumps/d.dir" -d again --jobs 3
    same
    calf restore "$data" "$dumps/c.dump" -d again --jobs 3
    same
}
check 'several programs restore at the same time' parallel

cluster() {
    old $deb/pg_dumpall >"$dumps/all.sql"
    calf restore "$scratch/new" "$dumps/all.sql" 2>said || { cat said; return 1; }
    start_server "$scratch/new"
    rows everything | diff want.rows -
    is "select count(*) from pg_roles where rolname ilike 'dump%'" 3
    stop_server
}
newer() { # a directory that a stock server of another version serves
    calf dump old -d everything -o n.dump
    calf restore "$data" n.dump -d again
    rows again | diff want.rows -
}
check "calf dumps a running server of Debian's" newer
stop_server || exit 1
check 'pg_dumpall' cluster
finish

#!/bin/bash
#
# stock-serve.sh DIR [--socket SOCKDIR] [-c name=value ...]
#
# A stock server with the interface of `calf serve`, so that every script which
# tests calf can be proved right first:  CALF_SERVE=tests/server/stock-serve.sh
# It runs as an ordinary user, because stock refuses root.

set -eu

repo=$(cd "$(dirname "$0")/../.." && pwd)
pgsql=${STOCK_PG:-$repo/build/pg${PG_MAJOR:-17}-stock/pgsql}
dir=${1:?usage: stock-serve.sh DIR [--socket SOCKDIR] [-c name=value ...]}
shift
sockets=$dir
port=5432
settings=()
while [ $# -gt 0 ]; do
    case $1 in
        --socket) sockets=$2 ;;
        -c)       settings+=(-c "$2"); [[ $2 != port=* ]] || port=${2#*=} ;;
        *)        echo "stock-serve: $1?" >&2; exit 2 ;;
    esac
    shift 2
done

user=()
[ "$(id -u)" != 0 ] || user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
export LD_LIBRARY_PATH=$pgsql/lib PGUSER=postgres PGDATABASE=postgres
if [ ! -e "$dir/PG_VERSION" ]; then
    mkdir -p "$dir"
    [ ${#user[@]} = 0 ] || chown 65534:65534 "$dir"
    "${user[@]}" "$pgsql/bin/initdb" -D "$dir" -U postgres --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256 --no-instructions >/dev/null
fi
export PGHOST=$sockets PGPORT=$port

# The shell stays: it says when the server is ready and passes the signals on.
"${user[@]}" "$pgsql/bin/postgres" -D "$dir" -k "$sockets" -h '' -p $port "${settings[@]}" &
postmaster=$!
trap 'kill -INT $postmaster' INT TERM
trap 'kill -HUP $postmaster' HUP
until "$pgsql/bin/pg_isready" -q; do
    kill -0 $postmaster 2>/dev/null || { echo "stock-serve: it ended" >&2; exit 1; }
    sleep 0.05
done
echo "calf: serving $dir (stock)"
exec >&2
while :; do
    rc=0
    wait $postmaster || rc=$?
    kill -0 $postmaster 2>/dev/null || exit $rc # else a signal ended the wait
done

#!/bin/bash
#
# postgres.sh - `calf postgres`, and calf called by the name postgres: what pg_ctl and others start
#
# pg_ctl is stock's, in a directory in which the postgres beside it is a link to calf.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
unset CALF_DATA CALF_EXTENSION_PATH PGHOST PGUSER PGDATABASE PGPORT
export LD_LIBRARY_PATH=$pgsql/lib
mkdir "$scratch/bin" && cp "$bin/pg_ctl" "$scratch/bin" && ln -s "$calf" "$scratch/bin/postgres" || exit 1
postgres=$scratch/bin/postgres
start_server "$scratch/cluster" && stop_server TERM || exit 1

copy() { rm -rf "${scratch:?}/$1" && cp -a "$scratch/cluster" "$scratch/$1" && give_away "$scratch/$1"; }
pg_ctl() { "${as_user[@]}" "$scratch/bin/pg_ctl" -s -t "$deadline" "$@"; }
pid_of() { head -n 1 "$scratch/$1/postmaster.pid"; }
ask() { sql "$2" -h "$socket" -p 5499 -U postgres -d "$1"; }

# start NAME: by pg_ctl; it is in the list of what is ended
start() {
    pg_ctl -w -D "$scratch/$1" -l "$scratch/$1/log" -o "-k $socket -p 5499 -h ''" start
    pid_of "$1" >>"$scratch/servers"
}
# up NAME [ARGS...]: started here, $server is its pid
up() {
    local name=$1
    shift
    "${command[@]}" -D "$scratch/$name" -k "$socket" -p 5499 -h '' "$@" >"$scratch/log" 2>&1 </dev/null &
    server=$!
    echo "$server" >>"$scratch/servers"
    until_true ready "$name"
}
ready() { # another server's file may be there
    [ "$(pid_of "$1" 2>/dev/null)" = "$server" ] && grep -q '^ready' "$scratch/$1/postmaster.pid" || is_gone "$server"
}
ended() { # EXIT CODE
    local rc=0
    gone "$server"
    wait "$server" || rc=$?
    [ $rc = "$1" ] || { echo "exit code $rc, not $1"; tail "$scratch/log"; return 1; }
}

controlled() {
    local first
    copy ctl
    start ctl
    first=$(pid_of ctl)
    [ "$(readlink "/proc/$first/exe")" = "$(realpath "$calf")" ]
    pg_ctl -D "$scratch/ctl" status
    [ "$(ask postgres 'show port')" = 5499 ]
    [ "$(ask postgres 'show unix_socket_directories')" = "$socket" ]
    echo "work_mem = '7MB'" >>"$scratch/ctl/postgresql.conf"
    pg_ctl -D "$scratch/ctl" reload
    PGHOST=$socket PGPORT=5499 PGUSER=postgres PGDATABASE=postgres until_sql 'show work_mem' 7MB
    "${as_user[@]}" "$scratch/bin/pg_ctl" -w -t "$deadline" -D "$scratch/ctl" restart >"$scratch/out" 2>&1 </dev/null
    pid_of ctl >>"$scratch/servers"
    [ "$(pid_of ctl)" != "$first" ] && [ "$(ask postgres 'select 6 * 7')" = 42 ]
    [ "$(ask postgres 'show port')" = 5499 ]
    pg_ctl -w -D "$scratch/ctl" -m fast stop
    [ ! -e "$scratch/ctl/postmaster.pid" ] && [ ! -e "$socket/.s.PGSQL.5499" ]
    fails pg_ctl -D "$scratch/ctl" status
}
check 'pg_ctl starts, reloads, restarts and stops it, on the address of its command line' controlled

standby() {
    copy standby
    touch "$scratch/standby/standby.signal"
    give_away "$scratch/standby/standby.signal"
    start standby
    [ "$(ask postgres 'select pg_is_in_recovery()')" = t ]
    pg_ctl -w -D "$scratch/standby" promote
    [ "$(ask postgres 'select pg_is_in_recovery()')" = f ]
    pg_ctl -w -D "$scratch/standby" -m immediate stop
}
check 'pg_ctl promotes it' standby

signals() {
    copy sig
    for command in "$calf postgres" "$postgres"; do
        read -ra command <<<"$command"
        chown -R "$(id -u)" "$scratch/sig"
        up sig
        psql_in -c 'select pg_sleep(600)' &
        until_true busy
        kill -TERM "$server" # smart: waits for the session
        until_true grep -q 'received smart shutdown' "$scratch/log"
        [ "$(ps -o state= -p "$server")" != Z ]
        kill -INT "$server"
        ended 0
        up sig
        kill -QUIT "$server"
        ended 0
        grep -q 'immediate shutdown' "$scratch/log"
        up sig
        grep -q 'was interrupted' "$scratch/log"
        kill -TERM "$server"
        ended 0
    done
}
psql_in() { "$bin/psql" -X -h "$socket" -p 5499 -U postgres -d postgres "$@" >"$scratch/psql" 2>&1; }
busy() { [ "$(ask postgres "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)'")" = 1 ]; }
check 'SIGTERM is smart, SIGINT fast, SIGQUIT immediate' signals


early() { # one that comes before the postmaster is there
    copy early
    chown -R "$(id -u)" "$scratch/early"
    for _ in 1 2 3; do
        "$postgres" -D "$scratch/early" -k "$socket" -p 5499 -h '' >"$scratch/log" 2>&1 &
        server=$!
        echo $server >>"$scratch/servers"
        until_true is_calf $server # no longer the shell
        kill -TERM $server
        gone $server
    done
    [ ! -e "$scratch/early/postmaster.pid" ]
}
is_calf() { is_gone "$1" || [ "$(readlink "/proc/$1/exe")" = "$(realpath "$calf")" ]; }
check 'a signal is not lost while it starts' early

held() {
    copy held
    chown -R "$(id -u)" "$scratch/held"
    command=("$postgres")
    up held
    fails "$postgres" -D "$scratch/held" -p 5498 -k "$socket" -h '' 2>"$scratch/err"
    grep -q "Is another postmaster (PID $server) running" "$scratch/err"
    fails "$calf" serve "$scratch/held" 2>"$scratch/err"
    grep -q "in use by process $server" "$scratch/err"
    "$calf" status "$scratch/held" | grep -qF "postgresql:///postgres?host=$socket&port=5499"
    [ "$("$calf" psql "$scratch/held" -Atc 'select 6 * 7')" = 42 ]
    "$calf" stop "$scratch/held"
    ended 0
    start_server "$scratch/held"
    fails "$postgres" -D "$scratch/held" -p 5498 -k "$socket" -h '' 2>"$scratch/err"
    grep -q "Is another postmaster (PID $server) running" "$scratch/err"
    is 'select 1' 1 -h "$socket" -U postgres -d postgres
    stop_server
}
check 'a directory is held by one server, whichever way it was started' held

killed() {
    copy killed
    chown -R "$(id -u)" "$scratch/killed"
    command=("$postgres")
    up killed
    kill -KILL "$server"
    wait "$server" 2>/dev/null || :
    up killed
    grep -q "was interrupted" "$scratch/log"
    kill -INT "$server"
    ended 0
    echo -4194300 >"$scratch/killed/postmaster.pid" # as a single-user mode that was killed leaves it
    start_server "$scratch/killed"
    stop_server
}
check 'one that was killed is no hindrance' killed

modes() {
    copy modes
    chown -R "$(id -u)" "$scratch/modes"
    "$postgres" -V | grep -q "^postgres (PostgreSQL) $major"
    [ "$("$calf" postgres -D "$scratch/modes" -C shared_buffers)" = 4096 ]
    [ "$("$postgres" -D "$scratch/modes" -p 5433 -C port)" = 5433 ]
    "$postgres" --describe-config | grep -q '^work_mem'
    echo 'select 6 * 7 as answer' | "$postgres" --single -D "$scratch/modes" postgres 2>&1 | grep -q 'answer = "42"'
    fails "$postgres" -D "$scratch/nowhere" 2>"$scratch/err"
    grep -q 'nowhere' "$scratch/err"
}
check 'what does not serve: -V, -C, --describe-config, --single' modes

finish

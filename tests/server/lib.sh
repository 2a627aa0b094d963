# shellcheck shell=bash disable=SC2034 # sourced by the scripts beside it, tests/pg/run.sh and bench/run.sh
#
# lib.sh - what scripts that talk to a server share: servers, clients, checks
#
# The server is `calf serve` of this repository, or the command in $CALF_SERVE,
# which must behave like it (stock-serve.sh does).  PostgreSQL's clients run
# natively, from the tree that was built for calf.
#
# The rule that matters: everything that a script starts is in $scratch/servers or is
# waited for, and everything it writes is below $scratch, so that one trap cleans up.
# Nothing here waits for a time, only for facts with a deadline.

# shellcheck source=tests/built.sh
. "$(dirname "${BASH_SOURCE[0]}")/../built.sh"
objects=$repo/build/pg$major/objects
source=$repo/build/pg$major/src
bin=$pgsql/bin
deadline=60 # seconds for anything that should take one

# A caller's settings are not part of a test.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGOPTIONS PGSERVICE PGDATA PGPASSFILE PGPASSWORD
unset MAKEFLAGS GNUMAKEFLAGS MFLAGS MAKELEVEL LC_ALL LANGUAGE
export LANG=C.UTF-8 PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=20
ulimit -c 0
umask 022

if [ -n "${CALF_SERVE:-}" ]; then
    read -ra serve <<<"$CALF_SERVE"
else
    serve=("$calf" serve)
fi
for needed in "${serve[0]}" "$bin/psql"; do
    [ -x "$needed" ] || { echo "missing: $needed; run make first" >&2; exit 2; }
done

# In memory where there is room: the suites write gigabytes.
room=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
base=${TMPDIR:-/tmp}
[ "${room:-0}" -gt 2000000 ] && [ -w /dev/shm ] && base=/dev/shm
scratch=$(mktemp -d "$base/calf-test.XXXXXX") || exit 2
socket=$(mktemp -d /tmp/calf.XXXXXX) || exit 2 # short: a socket's path has at most 107 bytes
first_socket=$socket # a script may go on with another one
chmod 755 "$scratch"
chmod 777 "$socket"
export PGHOST=$socket
export XDG_DATA_HOME=$scratch/xdg # where calf looks when no directory is named
unset CALF_DATA
: >"$scratch/servers"
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cleanup() {
    end_servers 0
    rm -rf "$scratch" "$first_socket"
}

# end_servers N: all but the first N that were started
end_servers() {
    local pid

    for pid in $(tail -n +$(($1 + 1)) "$scratch/servers"); do
        kill -TERM "$pid" 2>/dev/null
        gone "$pid" || kill -KILL "$pid"
        sed -i "/^$pid\$/d" "$scratch/servers"
    done
}

say() { printf '%s\n' "$*"; }

# until_true COMMAND...: repeat until it succeeds, at most $deadline seconds.
until_true() {
    local end=$((SECONDS + deadline))

    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "not true after $deadline s: $*" >&2; return 1; }
        sleep 0.05
    done
}

# A zombie is gone: its parent may be a shell that has not waited yet.
is_gone() {
    local state
    state=$(ps -o state= -p "$1") || return 0
    [ "${state:0:1}" = Z ]
}
gone() { until_true is_gone "$1"; }

# ---- servers ------------------------------------------------------------------------

# start_server DIR [serve's options...]: returns when it serves; $server is its pid and
# $log the file with its messages.  In a session of its own, so that whatever it starts is found.
start_server() {
    local dir=$1 line
    shift

    log=${log:-$scratch/server.log}
    : >"$log"
    rm -f "$scratch/ready"
    mkfifo "$scratch/ready"
    setsid "${serve[@]}" "$dir" --socket "$socket" "$@" >"$scratch/ready" 2>>"$log" </dev/null &
    server=$!
    echo "$server" >>"$scratch/servers"
    if ! read -r line <"$scratch/ready"; then # its end of the pipe closed: it refused
        echo "the server did not start on $dir:" >&2
        tail -n 20 "$log" >&2
        forget_server
        return 1
    fi
}

# hold_inside DIR: a program, $pid, that has the directory inside and lets nobody in, until let_go PID
hold_inside() {
    [ -p "$scratch/inside.fifo" ] || mkfifo "$scratch/inside.fifo"
    python3 - "$lib/libcalf.so" "$1" "$scratch/inside.fifo" <<'END' &
import ctypes, sys
lib, db, err = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p(), ctypes.create_string_buffer(2048)
assert lib.calf_open(sys.argv[2].encode(), None, ctypes.byref(db), err) == 0, err.raw[4:]
open(sys.argv[3], "w").close()
open(sys.argv[3]).read()
lib.calf_close(db, 0, None)
END
    pid=$!
    echo "$pid" >>"$scratch/servers"
    read -r _ <"$scratch/inside.fifo" || :
}
let_go() {
    : >"$scratch/inside.fifo"
    gone "$1"
}

forget_server() {
    sed -i "/^$server\$/d" "$scratch/servers"
}

# stop_server [SIGNAL]: its exit code
stop_server() {
    local rc

    kill -"${1:-TERM}" "$server" 2>/dev/null
    until_true is_gone "$server" || kill -KILL "$server"
    wait "$server"
    rc=$?
    forget_server
    return $rc
}

# ---- clients ------------------------------------------------------------------------

# client PROGRAM...: one of PostgreSQL's programs, natively
client() {
    local program=$1
    shift
    LD_LIBRARY_PATH=$pgsql/lib "$bin/$program" "$@"
}

# sql TEXT [psql's options...]: the bare rows; fails at the first error
sql() {
    local text=$1
    shift
    LD_LIBRARY_PATH=$pgsql/lib timeout "$deadline" \
        "$bin/psql" -XAtq -v ON_ERROR_STOP=1 "$@" -c "$text"
}

# is QUERY VALUE [psql's options...]
is() {
    local query=$1 want=$2 got
    shift 2
    got=$(sql "$query" "$@") || return 1
    [ "$got" = "$want" ] || { printf '%s\n  gave: %s\n  not:  %s\n' "$query" "$got" "$want" >&2; return 1; }
}

# The opposite; a bare "! command" would not stop a check.
fails() { ! "$@"; }

sql_is() { [ "$(sql "$1" 2>/dev/null)" = "$2" ]; }
until_sql() { until_true sql_is "$1" "$2"; }

# facts DIR: everything about it that a refusal could change
facts() {
    find "$1" -printf '%y %m %U %s %T@ %C@ %p\n' 2>/dev/null | sort
    find "$1" -type f -exec sha256sum {} + 2>/dev/null | sort
}

# ---- checks -------------------------------------------------------------------------

passed=0
failed=0

# check SENTENCE FUNCTION...: runs it in a subshell that stops at the first failing command
check() {
    local what=$1 out=$scratch/check.out rc servers
    shift
    servers=$(wc -l <"$scratch/servers")

    (set -eu; "$@") >"$out" 2>&1 </dev/null
    rc=$?
    end_servers "$servers" # which a failing check left
    if [ $rc = 0 ]; then
        passed=$((passed + 1))
        say "ok $what"
    else
        failed=$((failed + 1))
        say "FAILED $what (exit code $rc)"
        tail -n 25 "$out" | sed 's/^/    /'
    fi
}

skip() { say "skipped $1: $2"; }

finish() {
    say "$passed passed, $failed failed"
    [ $failed = 0 ]
    exit
}

# ---- an ordinary user ---------------------------------------------------------------

# Put "${as_user[@]}" before a command, to run it as somebody who is not root.
as_user=(env)
[ "$(id -u)" != 0 ] || as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)

give_away() { [ "$(id -u)" != 0 ] || chown -R 65534:65534 "$@"; }

#!/bin/bash
#
# strangers.sh - who does not speak the protocol, stops speaking it, or comes with two hundred
#
# The server answers or closes, says in its log what was wrong, and serves the next one.

set -u
# shellcheck source=tests/clients/lib.sh
. "$(dirname "$0")/lib.sh"
ulimit -n 1024
serve_clients "$scratch/data" -c max_connections=250 -c log_connections=on || exit 1

stranger() { timeout 120 /usr/bin/python3 "$here/strangers.py" 127.0.0.1 "$port" "$socket_file" "$@"; }
descriptors() { ls "/proc/$server/fd" | wc -l; }
sessions="select count(*) from pg_stat_activity where backend_type = 'client backend'"
serves() {
    until_sql "$sessions" 1 # of the strangers none is left
    [ "$(client psql -XAtq "$uri" -c 'select 6 * 7')" = 42 ]
    sound
}
has_log() { grep -aqE -- "$1" "$log" || { echo "not in the log: $1"; return 1; }; }

garbage() {
    local line
    : >"$log"
    stranger garbage
    serves
    has_log 'LOG:  invalid length of startup packet'
    has_log 'LOG:  incomplete startup packet'
    has_log 'FATAL:  unsupported frontend protocol 99.0: server supports 3.0 to 3.0'
    has_log 'FATAL:  no PostgreSQL user name specified in startup packet'
    has_log 'FATAL:  invalid startup packet layout: expected terminator as last byte'
    has_log 'LOG:  could not accept SSL connection: '
    [ -n "${CALF_SERVE:-}" ] || [ "$(ls "/proc/$server/task" | wc -l)" -lt 40 ]
}
check 'wrong startup packets, HTTP, SSH and TLS without a request are answered and logged' garbage

noise() {
    local seed=${SEED:-$RANDOM} before
    echo "seed $seed"
    serves
    before=$(descriptors)
    stranger noise "$seed"
    serves
    until_true descriptors_are "$before"
}
descriptors_are() { [ "$(descriptors)" -le $(($1 + 4)) ]; } # a relation's file may have been opened since
check '1,000 connections that send random bytes leave nothing behind' noise

silent() {
    : >"$log"
    sql 'alter system set authentication_timeout = 2' # for this check only: an honest client may be slow
    sql 'select pg_reload_conf()'
    until_sql 'show authentication_timeout' 2s
    stranger silent
    sql 'alter system reset authentication_timeout'
    sql 'select pg_reload_conf()'
    until_sql 'show authentication_timeout' 1min
    serves
    has_log 'canceling authentication due to timeout'
}
check 'silent and half-open clients are dropped after authentication_timeout' silent

hundreds() {
    cat >"$scratch/hundreds.py" <<'PY'
import sys, threading, psycopg2
uri, n = sys.argv[1], 200
barrier, pids, wrong = threading.Barrier(n, timeout=100), [], []

def session(i):
    try:
        c = psycopg2.connect(uri)
        k = c.cursor()
        k.execute("create temp table mine as select %s as me, g from generate_series(1, 100) g", (i,))
        barrier.wait()  # all are connected now
        k.execute("select pg_backend_pid(), min(me), count(*), (select count(*) from pg_class) from mine group by 1")
        pid, me, rows, _ = k.fetchone()
        assert (me, rows) == (i, 100)
        pids.append(pid)
        barrier.wait()
        c.rollback()
        c.close()
    except Exception as e:
        wrong.append(repr(e))
        barrier.abort()

threads = [threading.Thread(target=session, args=(i,)) for i in range(n)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not wrong, wrong[:3]
assert len(set(pids)) == n
PY
    [ "$(awk '/open files/ { print $4 }' "/proc/$server/limits")" = 1024 ]
    timeout 200 /usr/bin/python3 "$scratch/hundreds.py" "$uri"
    serves
}
check '200 connections by TLS at once, within 1,024 descriptors' hundreds

too_many() {
    cat >"$scratch/many.py" <<'PY'
import sys, psycopg2
have = []
try:
    while len(have) < 251:
        have.append(psycopg2.connect(sys.argv[1]))
    sys.exit("it took 251")
except psycopg2.OperationalError as e:
    assert "remaining connection slots are reserved" in str(e), e
assert len(have) == 247, len(have)  # superuser_reserved_connections is 3
have.pop().close()
for _ in range(200):
    try:
        psycopg2.connect(sys.argv[1]).close()
        break
    except psycopg2.OperationalError as e:  # its process may need a moment to end
        last = e
else:
    raise last
PY
    timeout 200 /usr/bin/python3 "$scratch/many.py" "$uri"
    serves
}
check 'the connection after the last is refused in words, and let in when there is room' too_many

# A client that asks for much and reads nothing of it; $! is its pid.  It has no end of the pipe to
# read from itself, and who does not end it leaves that to check().
unread() {
    [ -p "$scratch/unread" ] || mkfifo "$scratch/unread"
    "$debian/psql" -Xq "$uri" -c '\copy (select repeat($$x$$, 1000) from generate_series(1, 100000000) g) to pstdout' \
        >"$scratch/unread" 2>/dev/null 9<&- &
    echo $! >>"$scratch/servers"
    exec 9<"$scratch/unread"
    until_sql "select wait_event from pg_stat_activity where query ilike 'copy%to stdout%' and pid <> pg_backend_pid()" ClientWrite
}

killed_in_copy() {
    local pid
    "$debian/psql" -Xq "$uri" -c 'create table fed (t text)'
    yes "$(printf '%0100d' 7)" 2>/dev/null | "$debian/psql" -Xq "$uri" -c '\copy fed from pstdin' 2>/dev/null &
    pid=$!
    until_sql "select bytes_processed > 10000000 from pg_stat_progress_copy where command = 'COPY FROM'" t
    kill -KILL "$pid"
    until_sql 'select count(*) from pg_stat_progress_copy' 0
    is 'select count(*) from fed' 0 app
    has_log "unexpected EOF on client connection|protocol synchronization was lost" # where the last byte fell

    unread
    pid=$!
    kill -KILL "$pid"
    until_sql 'select count(*) from pg_stat_progress_copy' 0
    has_log 'FATAL:  connection to client lost'
    serves
    sql 'vacuum fed' app
    sql 'drop table fed' app
}
check 'a client killed in the middle of COPY takes its session with it, and nothing else' killed_in_copy

no_reader() {
    local pid
    unread
    pid=$!
    is "select pg_terminate_backend(pid, 30000) from pg_stat_activity where wait_event = 'ClientWrite'" t
    kill -KILL "$pid"
    unread
    kill -TERM "$server"
    gone "$server"
    [ ! -e "$scratch/data/postmaster.pid" ]
    [ "$(LD_LIBRARY_PATH=$pgsql/lib "$bin/pg_controldata" "$scratch/data" | sed -n 's/^Database cluster state: *//p')" = 'shut down' ]
    sound
}
check 'a client that does not read is ended, and holds up no stop' no_reader

finish

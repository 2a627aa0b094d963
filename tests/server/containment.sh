#!/bin/bash
#
# containment.sh - what goes wrong in one session ends that session; the server's process lives
#
# After a crash PostgreSQL ends all sessions and recovers, as always; then the
# process must be the same one, hold no more threads and descriptors than
# before, and serve what was committed.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"

${CC:-gcc} -O1 -w -fPIC -shared -I"$pgsql/include/server" "$repo/tests/server/crash.c" \
    -o "$scratch/crash.so" || exit 1
start_server "$scratch/data" -c autovacuum=off || exit 1
sql "create function crash(text) returns int language c as '$scratch/crash.so';
     create table kept (n int); insert into kept values (42)"

serves() { is 'select n from kept' 42; }
threads() { ls "/proc/$server/task" | wc -l; }
descriptors() { ls "/proc/$server/fd" | wc -l; }
is_as_before() { [ "$(threads)" = "$1" ] && [ "$(descriptors)" -le $(($2 + 2)) ]; } # a process may have another file open
said() { grep -q -- "$1" "$log"; }

# crashes HOW MESSAGE: another session and its work in progress go, too
crashes() {
    : >"$log"
    session "begin; insert into kept values (1); select 'open'; select pg_sleep(1000);"
    fails sql "select crash('$1')"
    until_true said "$2"
    until_true said 'all server processes terminated; reinitializing'
    until_true serves 2>/dev/null
    kill -0 "$server"
    wait "$session" && return 1
    grep -q 'open' "$scratch/session"
}

# session SQL: a psql of its own, which has begun to answer when this returns; $session is its pid
session() {
    : >"$scratch/session"
    LD_LIBRARY_PATH=$pgsql/lib "$bin/psql" -XAtq -v ON_ERROR_STOP=1 <<<"$1" >"$scratch/session" 2>&1 &
    session=$!
    until_true test -s "$scratch/session"
}

check 'a write through a null pointer'   crashes null  'was terminated by signal 11'
check 'a call through a null pointer'    crashes call  'was terminated by signal 11'
check 'a bad pointer given to libc'      crashes libc  'was terminated by signal 11'
check 'a stack that overflows'           crashes stack 'was terminated by signal 11'
check 'raise(SIGSEGV)'                   crashes raise 'was terminated by signal 11'
check 'abort()'                          crashes abort 'was terminated by signal 6'
check 'abort() in a library of the host' crashes free  'was terminated by signal 6'
check 'an illegal instruction'           crashes trap  'was terminated by signal 4'
check 'SIGKILL for itself'               crashes kill  'was terminated by signal 9'
check 'a PANIC'                          crashes panic 'was terminated by signal 6'
check 'exit(3)'                          crashes exit  'exited with exit code 3'
check '_exit(3)'                         crashes _exit 'exited with exit code 3'

fatal() {
    session "select 'open'; select pg_sleep(2); select 'still';"
    fails sql "select crash('fatal')"
    wait "$session"
    serves
}
check 'a FATAL error ends one session' fatal

divide() {
    printf '%s\n' "select crash('divide');" "select 'after';" |
        client psql -XAtq >"$scratch/divide" 2>&1
    cat "$scratch/divide"
    grep -q 'floating-point exception' "$scratch/divide"
    grep -q 'after' "$scratch/divide"
}
check 'a division by zero is an error in its statement' divide

busy() { is "select count(*) from pg_stat_activity where query like '%crash(''$1''%' and state = 'active' and pid <> pg_backend_pid()" "${2:-1}"; }

# A loop that never looks up is out of reach of pg_terminate_backend, here as in stock;
# the SIGQUIT of a crash elsewhere reaches it, and SIGKILL the one that blocks everything.
loops() {
    local looper
    : >"$log"
    sql "select crash('$1')" &
    looper=$!
    until_true busy "$1" 2>/dev/null
    serves
    fails sql "select crash('null')"
    until_true said 'all server processes terminated; reinitializing'
    until_true serves 2>/dev/null
    fails wait "$looper"
}
check 'a crash elsewhere ends an infinite loop' loops loop
check 'a crash elsewhere ends a loop that blocks all signals' loops 'deaf loop'
check 'a crash elsewhere ends a sleep that blocks all signals' loops 'deaf sleep'

terminate() {
    session "select 'open'; select pg_sleep(1000);"
    sql "select pg_terminate_backend(pid, 10000) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()"
    fails wait "$session"
    grep -q 'terminating connection due to administrator command' "$scratch/session"
    serves
}
check 'pg_terminate_backend' terminate

auxiliary() { # PostgreSQL replaces what ends without need
    local old new
    old=$(sql "select pid from pg_stat_activity where backend_type = '$1'")
    sql "select pg_terminate_backend($old)"
    replaced() {
        new=$(sql "select pid from pg_stat_activity where backend_type = '$1'" 2>/dev/null) &&
            [ -n "$new" ] && [ "$new" != "$old" ]
    }
    until_true replaced "$1"
    until_true serves 2>/dev/null
}
check 'a terminated logical replication launcher is replaced' auxiliary 'logical replication launcher'

repeatedly() {
    local i before open
    before=$(threads) open=$(descriptors)
    for ((i = 0; i < 20; i++)); do
        fails sql "select crash('null')" 2>/dev/null
        until_true serves 2>/dev/null
    done
    [ -z "${CALF_SERVE:-}" ] || return 0
    echo "threads: $before before, $(threads) now; descriptors: $open before, $(descriptors) now"
    until_true is_as_before "$before" "$open"
}
check 'twenty crashes in a row leave no threads and descriptors' repeatedly

immediate() {
    session "select 'open'; select crash('deaf loop');"
    kill -TERM "$server"
    until_true said 'received fast shutdown request'
    kill -TERM "$server"
    until_true is_gone "$server"
    wait "$server" || :
    forget_server
    fails wait "$session"
}
[ -n "${CALF_SERVE:-}" ] || check 'a second SIGTERM ends the server in spite of a deaf loop' immediate

finish

#!/bin/bash
#
# serve.sh - `calf serve` and the commands around it: status, stop, url, psql, run
#
# Most of it talks to the server as other programs do: the native psql, Python, signals.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
unset CALF_DATA CALF_EXTENSION_PATH PGHOST PGUSER PGDATABASE PGPORT
terminal=$repo/tests/cli/terminal.py
start_server "$scratch/cluster" && stop_server TERM || exit 1

copy() { rm -rf "${scratch:?}/$1" && cp -a "$scratch/cluster" "$scratch/$1"; }

# up DIR [serve's options...]: its output is in $scratch/up.out and up.err, its pid is $server
before=(env)
up() {
    local dir=$1
    shift
    : >"$scratch/up.out"
    setsid "${before[@]}" "$calf" serve "$dir" "$@" >"$scratch/up.out" 2>"$scratch/up.err" </dev/null &
    server=$!
    echo "$server" >>"$scratch/servers"
    until_true told_or_gone
    [ -s "$scratch/up.out" ] || { cat "$scratch/up.err"; return 1; }
}
told_or_gone() { [ -s "$scratch/up.out" ] || is_gone "$server"; }
url() { "$calf" url "$@"; }

# down [SIGNAL]: its exit code
down() { stop_server "$@"; }

# wait also waits for the last of its threads, which hold the lock of the directory
kill_server() { kill -KILL "$server"; wait "$server" 2>/dev/null || :; }

# refused CODE WORDS COMMAND...: one line on standard error, and nothing on standard output
refused() {
    local want=$1 words=$2 rc=0
    shift 2
    timeout "$deadline" "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || rc=$?
    cat "$scratch/out" "$scratch/err"
    [ $rc = "$want" ] || { echo "exit code $rc, not $want"; return 1; }
    [ ! -s "$scratch/out" ] && [ "$(grep -c '^calf: ' "$scratch/err")" = 1 ]
    tail -n 1 "$scratch/err" | grep -qE -- "$words" || { echo "nothing says: $words"; return 1; }
}
untouched() { # DIR COMMAND...
    local dir=$1 old
    shift
    old=$(facts "$dir")
    "$@"
    [ "$old" = "$(facts "$dir")" ] || { echo "it changed $dir"; return 1; }
}

busy_port() { # a port that listens, in $port, until the check ends
    local at=$scratch/port.$RANDOM
    mkfifo "$at"
    python3 -c 'import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(600)' \
        >"$at" &
    echo $! >>"$scratch/servers"
    read -r port <"$at"
}

# ---- TCP ------------------------------------------------------------------------------------

tcp() {
    local uri
    copy tcp
    echo 'correct horse' >"$scratch/secret"
    up "$scratch/tcp" --tcp 0 --password-file "$scratch/secret"
    uri=$(url "$scratch/tcp")
    grep -q "^$uri\$" "$scratch/up.out"
    [[ $uri == postgresql://postgres@127.0.0.1:*/postgres ]]
    [ "$(PGPASSWORD='correct horse' sql 'select inet_server_addr()' -d "$uri")" = 127.0.0.1 ]
    fails env PGPASSWORD=wrong "$bin/psql" -w "$uri" -c 'select 1' 2>"$scratch/err"
    grep -q 'password authentication failed' "$scratch/err"
    fails "$bin/psql" -w "$uri" -c 'select 1' 2>"$scratch/err"
    grep -q 'no password supplied' "$scratch/err"
    [ "$(sql "select rolpassword ~ '^SCRAM-SHA-256' from pg_authid where rolname = current_user" -h "$scratch/tcp" -U postgres)" = t ]
    fails grep -r 'correct horse' "$scratch/tcp" "$scratch/up.out" "$scratch/up.err"
    down
    # it is kept, and can be set anew from standard input
    printf 'battery\nnot this\n' >"$scratch/stdin"
    "$calf" serve "$scratch/tcp" --tcp '[::1]:0' --password <"$scratch/stdin" >"$scratch/up2.out" 2>&1 &
    server=$!
    echo $server >>"$scratch/servers"
    until_true grep -q 127.0.0.1\\\|::1 "$scratch/up2.out"
    uri=$(url "$scratch/tcp")
    [[ $uri == postgresql://postgres@\[::1\]:*/postgres ]]
    [ "$(PGPASSWORD=battery sql 'select inet_server_addr()' -d "$uri")" = ::1 ]
    down
    up "$scratch/tcp" --tcp localhost:0
    [ "$(PGPASSWORD=battery sql 'select 1' -d "$(url "$scratch/tcp")")" = 1 ]
    down
}
export LD_LIBRARY_PATH=$pgsql/lib # for the native psql
check 'TCP: passwords from a file and from standard input, SCRAM, IPv6' tcp

tcp_refused() {
    copy ref
    busy_port
    untouched "$scratch/ref" refused 1 "cannot listen on $port: Address already in use" "$calf" serve "$scratch/ref" --tcp "$port" --password-file "$scratch/secret"
    untouched "$scratch/ref" refused 2 'other machines.*--expose-to-network' "$calf" serve "$scratch/ref" --tcp 0.0.0.0:0
    untouched "$scratch/ref" refused 2 'other machines.*--expose-to-network' "$calf" serve "$scratch/ref" --tcp '[::]:0'
    untouched "$scratch/ref" refused 2 'wants \[ADDR:\]PORT' "$calf" serve "$scratch/ref" --tcp host.example:0
    untouched "$scratch/ref" refused 2 'wants \[ADDR:\]PORT' "$calf" serve "$scratch/ref" --tcp http
    untouched "$scratch/ref" refused 2 'wants \[ADDR:\]PORT' "$calf" serve "$scratch/ref" --tcp 70000
    untouched "$scratch/ref" refused 1 'cannot read the password file' "$calf" serve "$scratch/ref" --tcp 0 --password-file "$scratch/nofile"
    untouched "$scratch/ref" refused 1 'no password in' "$calf" serve "$scratch/ref" --tcp 0 --password-file /dev/null
    untouched "$scratch/ref" refused 1 'no password in the standard input' "$calf" serve "$scratch/ref" --tcp 0 --password
    refused 1 'nobody has a password yet; .*--password' "$calf" serve "$scratch/ref" --tcp 0
    [ "$("$calf" status "$scratch/ref" --json | grep -o '"state": "closed"')" ]
    refused 1 'is new.*nobody has a password yet' "$calf" serve "$scratch/refnew" --tcp 0
    [ ! -e "$scratch/refnew" ]
    echo 'host all all 127.0.0.1/32 trust' >>"$scratch/ref/pg_hba.conf"
    refused 1 'line [0-9]* of .*pg_hba.conf lets everybody in .*trust' "$calf" serve "$scratch/ref" --tcp 0 --password-file "$scratch/secret"
}
check 'TCP is refused: a busy port, no password, trust, other machines' tcp_refused

exposed() {
    copy exp
    up "$scratch/exp" --tcp 0.0.0.0:0 --expose-to-network --password-file "$scratch/secret"
    [ "$(PGPASSWORD='correct horse' sql 'select 1' -d "$(url "$scratch/exp" | sed s/0.0.0.0/127.0.0.1/)")" = 1 ]
    down
}
check 'TCP for other machines when that is said' exposed

no_password() {
    local uri
    copy nopass
    up "$scratch/nopass" --tcp 0 --no-password-danger
    uri=$(url "$scratch/nopass")
    sql 'create role joe login; create table t (a int)' -d "$uri"
    [ "$(sql 'select current_user' -d "${uri/postgres@/joe@}")" = joe ]
    kill -HUP "$server"
    until_true grep -q 'received SIGHUP' "$scratch/up.err"
    [ "$(sql 'select current_user' -d "${uri/postgres@/joe@}")" = joe ]
    [ "$(sql 'select count(*) from pg_hba_file_rules where error is null' -d "$uri")" = 4 ]
    fails grep -i 'error\|fatal\|could not' "$scratch/up.err"
    down
    cmp "$scratch/cluster/pg_hba.conf" "$scratch/nopass/pg_hba.conf"
    up "$scratch/nopass" --tcp 0 --password-file "$scratch/secret"
    fails sql 'select 1' -d "$(url "$scratch/nopass")" -U joe -w
    fails sql 'select 1' -d "$(url "$scratch/nopass")" -w
    down
}
check '--no-password-danger lets everybody in, until the next start without it' no_password

tls() {
    local uri
    copy tls
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=calf -addext 'subjectAltName=IP:127.0.0.1' \
        -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>/dev/null
    chmod 600 "$scratch/key.pem"
    (cd "$scratch" && up "$scratch/tls" --tcp 0 --password-file secret --tls-cert cert.pem --tls-key key.pem)
    server=$(tail -n 1 "$scratch/servers")
    uri=$(url "$scratch/tls")
    [ "$(PGPASSWORD='correct horse' sql 'select version from pg_stat_ssl where pid = pg_backend_pid()' \
        -d "$uri?sslmode=verify-full&sslrootcert=$scratch/cert.pem")" = TLSv1.3 ]
    fails env PGPASSWORD='correct horse' "$bin/psql" "${uri/127.0.0.1/localhost}?sslmode=verify-full&sslrootcert=$scratch/cert.pem" -c 'select 1' 2>"$scratch/err"
    grep -q 'does not match' "$scratch/err"
    kill -TERM "$server" && gone "$server"
    untouched "$scratch/tls" refused 2 'belong together' "$calf" serve "$scratch/tls" --tls-cert "$scratch/cert.pem"
    untouched "$scratch/tls" refused 1 'cannot read the key .*nokey' "$calf" serve "$scratch/tls" --tls-cert "$scratch/cert.pem" --tls-key "$scratch/nokey"
    chmod 644 "$scratch/key.pem"
    untouched "$scratch/tls" refused 1 'others can read the key .*0644.*chmod 600' "$calf" serve "$scratch/tls" --tls-cert "$scratch/cert.pem" --tls-key "$scratch/key.pem"
    chmod 600 "$scratch/key.pem"
    echo nonsense >"$scratch/bad.pem"
    refused 1 'did not start' "$calf" serve "$scratch/tls" --tls-cert "$scratch/bad.pem" --tls-key "$scratch/key.pem"
    grep -q 'could not load server certificate file.*bad.pem' "$scratch/err"
}
check 'TLS: verify-full, and what is refused' tls

# ---- the background ---------------------------------------------------------------------------

state() { "$calf" status "$1" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$2"; }

detach() {
    local pid
    "$calf" serve "$scratch/det" --detach >"$scratch/out" 2>"$scratch/err" # a new one
    cat "$scratch/out" "$scratch/err"
    [ ! -s "$scratch/err" ]
    pid=$(state "$scratch/det" pid)
    echo "$pid" >>"$scratch/servers"
    grep -q 'connect with: psql' "$scratch/out"
    [ "$(sql 'select 1' -d "$(url "$scratch/det")")" = 1 ]
    [ "$(ps -o sid= -p "$pid" | tr -d ' ')" = "$pid" ]
    [ "$(stat -c %a "$scratch/det/calf.log")" = 600 ]
    grep -q 'starting PostgreSQL' "$scratch/det/calf.log" # what was said before it served
    fails sql 'select nonsense' -d "$(url "$scratch/det")"
    until_true grep -q 'column "nonsense" does not exist' "$scratch/det/calf.log"
    refused 1 "in use by process $pid" "$calf" serve "$scratch/det" --detach
    "$calf" stop "$scratch/det" | grep -q 'is closed'
    gone "$pid"
    "$calf" serve "$scratch/det" --detach --log "$scratch/det2.log" >/dev/null
    pid=$(state "$scratch/det" pid)
    echo "$pid" >>"$scratch/servers"
    grep -q 'starting PostgreSQL' "$scratch/det2.log"
    "$calf" stop "$scratch/det" --mode immediate
    gone "$pid"
    [ "$(state "$scratch/det" state)" = crashed ]
    # what PostgreSQL refuses reaches the caller, with its reason
    refused 1 'did not start' "$calf" serve "$scratch/det" --detach -c no_such=1
    grep -q 'unrecognized configuration parameter "no_such"' "$scratch/err"
    refused 1 'nobody has a password' "$calf" serve "$scratch/det" --detach --tcp 0
    [ "$(state "$scratch/det" state)" = closed ]
}
check '--detach returns when it serves; refusals reach the caller' detach

ready_fd() {
    local lines
    copy ready
    mkfifo "$scratch/ready.fifo"
    up "$scratch/ready" --tcp 0 --password-file "$scratch/secret" --ready-fd 7 7>"$scratch/ready.fifo" &
    mapfile -t lines <"$scratch/ready.fifo"
    [ ${#lines[@]} = 2 ]
    [[ ${lines[0]} == postgresql://postgres@/postgres?host=*ready\&port=5432 && ${lines[1]} == postgresql://postgres@127.0.0.1:* ]]
    [ "${lines[1]}" = "$(url "$scratch/ready")" ]
    [ "$(sql 'select 1' -d "${lines[0]}")" = 1 ]
    "$calf" stop "$scratch/ready"
    untouched "$scratch/ready" refused 2 '--ready-fd 77 is no open descriptor' "$calf" serve "$scratch/ready" --ready-fd 77
    untouched "$scratch/ready" refused 2 '--ready-fd x is no open descriptor' "$calf" serve "$scratch/ready" --ready-fd x
}
check '--ready-fd gets the URIs' ready_fd

# ---- signals -------------------------------------------------------------------------------------

has_session() { [ "$(state "$1" sessions)" = 1 ]; }
is_done() { ! kill -0 "$1" 2>/dev/null; }

signals() {
    local sig client
    copy sig
    for sig in TERM INT; do
        up "$scratch/sig"
        sql 'select pg_sleep(600)' -h "$scratch/sig" -U postgres 2>"$scratch/client.err" &
        client=$!
        until_true has_session "$scratch/sig"
        down $sig
        fails wait $client
        grep -q 'terminating connection due to administrator command' "$scratch/client.err"
        [ "$(state "$scratch/sig" state)" = closed ]
    done
    up "$scratch/sig"
    down QUIT
    [ "$(state "$scratch/sig" state)" = crashed ]
}
check 'SIGTERM and SIGINT end the sessions and close; SIGQUIT stops at once' signals

smart() {
    local client
    copy smart
    up "$scratch/smart"
    mkfifo "$scratch/smart.in"
    "$bin/psql" -XAtq -h "$scratch/smart" -U postgres <"$scratch/smart.in" >"$scratch/smart.out" &
    client=$!
    exec 8>"$scratch/smart.in"
    echo 'select 1;' >&8
    until_true grep -q 1 "$scratch/smart.out"
    kill -USR2 "$server"
    until_true grep -q 'received smart shutdown' "$scratch/up.err"
    echo 'select 42;' >&8
    until_true grep -q 42 "$scratch/smart.out"
    kill -0 "$server"
    exec 8>&-
    wait $client
    wait "$server"
    forget_server
    [ "$(state "$scratch/smart" state)" = closed ]
}
check 'SIGUSR2 waits for the sessions' smart

twice() {
    local word slow="sh -c 'echo \$\$ >$scratch/archives; exec sleep 600'; :"
    copy twice
    up "$scratch/twice"
    sql 'select pg_sleep(600)' -h "$scratch/twice" -U postgres 2>/dev/null &
    until_true has_session "$scratch/twice"
    kill -USR2 "$server"
    until_true grep -q 'received smart shutdown' "$scratch/up.err"
    kill -INT "$server" # hurries: fast
    wait "$server"
    forget_server
    [ "$(state "$scratch/twice" state)" = closed ]
    up "$scratch/twice"
    sql 'select pg_sleep(600)' -h "$scratch/twice" -U postgres 2>/dev/null &
    until_true has_session "$scratch/twice"
    kill -USR2 "$server"
    until_true grep -q 'received smart shutdown' "$scratch/up.err"
    kill -QUIT "$server"
    wait "$server"
    forget_server
    [ "$(state "$scratch/twice" state)" = crashed ]
    # a shutdown that cannot end by itself: it waits for a slow archive command
    up "$scratch/twice" -c archive_mode=on -c "archive_command=$slow"
    sql 'create table a as select generate_series(1, 1000); select pg_switch_wal()' -h "$scratch/twice" -U postgres
    until_true test -s "$scratch/archives"
    kill -TERM "$server"
    until_true grep -q 'received fast shutdown' "$scratch/up.err"
    kill -TERM "$server"
    wait "$server"
    forget_server
    is_gone "$server"
    gone "$(cat "$scratch/archives")" # nothing of it stays
    up "$scratch/twice" -c archive_mode=on -c "archive_command=$slow"
    sql 'create table b as select generate_series(1, 1000); select pg_switch_wal()' -h "$scratch/twice" -U postgres
    sql 'select pg_sleep(600)' -h "$scratch/twice" -U postgres 2>/dev/null &
    until_true has_session "$scratch/twice"
    for word in smart fast; do # the third ends it
        kill "-$([ $word = smart ] && echo USR2 || echo TERM)" "$server"
        until_true grep -q "received $word shutdown" "$scratch/up.err"
    done
    kill -TERM "$server"
    wait "$server"
    forget_server
}
check 'a second signal hurries, and a third' twice

# The WAL that it wants comes, or does not, when the file `go` is there.
opening() {
    local how child
    copy opening
    : >"$scratch/opening/recovery.signal"
    echo "restore_command = 'until test -e $scratch/go; do sleep 0.1; done; false'" >>"$scratch/opening/postgresql.conf"
    for how in 'serve twice' 'psql twice' 'serve once'; do
        rm -f "$scratch/go"
        env --default-signal=INT "$calf" "${how% *}" "$scratch/opening" >"$scratch/out" 2>"$scratch/err" </dev/null &
        server=$!
        echo $server >>"$scratch/servers"
        until_true has_child $server
        child=$(ps -o pid= --ppid $server)
        kill -INT $server
        until_true grep -q "opening is still being opened; the same once more stops at once" "$scratch/err"
        [ "${how#* }" = once ] || {
            kill -INT $server
            rc=0 && wait $server || rc=$?
            [ $rc = 130 ]
            grep -q 'stopped at once; the database recovers' "$scratch/err"
        }
        touch "$scratch/go"
        for pid in $child; do gone "$pid"; done
    done
    wait $server
    [ "$(state "$scratch/opening" state)" = closed ]
    # in the background: it is asked to stop when who waits for it is ended
    : >"$scratch/opening/recovery.signal"
    rm "$scratch/go"
    env --default-signal=INT "$calf" serve "$scratch/opening" --detach >"$scratch/out" 2>"$scratch/err" </dev/null &
    until_true has_child $!
    child=$(ps -o pid= --ppid $!)
    until_true has_child "$((child))"
    kill -INT $!
    rc=0 && wait $! || rc=$?
    [ $rc = 130 ]
    touch "$scratch/go"
    gone "$((child))"
    [ "$(state "$scratch/opening" state)" = closed ]
    [ ! -e "$scratch/opening/recovery.signal" ]
}
has_child() { [ -n "$(ps -o pid= --ppid "$1")" ]; }
check 'a signal while it recovers is heeded; twice stops at once' opening

reload() {
    copy reload
    up "$scratch/reload"
    echo "work_mem = '7MB'" >>"$scratch/reload/postgresql.conf"
    kill -HUP "$server"
    shows() { [ "$(sql 'show work_mem' -h "$scratch/reload" -U postgres)" = 7MB ]; }
    until_true shows
    down
    # a SIGHUP right at the beginning or while it stops does no harm
    up "$scratch/reload"
    kill -HUP "$server"
    kill -TERM "$server"
    kill -HUP "$server"
    wait "$server"
    forget_server
    [ "$(state "$scratch/reload" state)" = closed ]
}
check 'SIGHUP reads the configuration again' reload

log_option() {
    copy logged
    up "$scratch/logged" --log "$scratch/logged.log"
    fails sql 'select nonsense' -h "$scratch/logged" -U postgres
    until_true grep -q 'column "nonsense"' "$scratch/logged.log"
    fails grep nonsense "$scratch/up.err"
    down
    untouched "$scratch/logged" refused 1 'cannot open the log file /nowhere/log' "$calf" serve "$scratch/logged" --log /nowhere/log
}
check '--log gets the messages' log_option

before_ready() { # who sees "ready" can connect: the sockets are there before PostgreSQL is
    local port
    copy early
    up "$scratch/early" --tcp 0 --password-file "$scratch/secret"
    down
    : >"$scratch/early/recovery.signal"
    rm -f "$scratch/go"
    echo "restore_command = 'until test -e $scratch/go; do sleep 0.1; done; false'" >>"$scratch/early/postgresql.conf"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$calf" serve "$scratch/early" --tcp "$port" >"$scratch/up.out" 2>"$scratch/up.err" </dev/null &
    server=$!
    echo $server >>"$scratch/servers"
    until_true has_child $server
    fails grep -q ready "$scratch/early/postmaster.pid"
    # nobody is answered yet, nobody is refused
    sql 'select 41' -h "$scratch/early" -U postgres >"$scratch/sooner" 2>&1 &
    local first=$!
    PGPASSWORD='correct horse' sql 'select 42' -h 127.0.0.1 -p "$port" -U postgres >"$scratch/later" 2>&1 &
    local second=$!
    touch "$scratch/go"
    wait $first && wait $second
    grep -qx 41 "$scratch/sooner" && grep -qx 42 "$scratch/later"
    down
    [ ! -e "$scratch/early/.s.PGSQL.5432" ]
    # one that is refused leaves no socket
    fails "$calf" serve "$scratch/early" --socket "$scratch/early.d" -c no_such=1 2>"$scratch/err"
    [ ! -e "$scratch/early.d/.s.PGSQL.5432" ] && [ ! -e "$scratch/early/pg_stat_tmp/calf.listen" ]
}
check 'it listens before PostgreSQL says that it is ready' before_ready

found_by_group() {
    copy group
    chmod -R g+rX "$scratch/group"
    up "$scratch/group"
    [ "$(stat -c %a "$scratch/group" "$scratch/group/pg_stat_tmp/calf.listen" | xargs)" = '750 640' ]
    client pg_basebackup -h "$scratch/group" -U postgres -D "$scratch/based" -X fetch -c fast
    [ -z "$(find "$scratch/based" -name 'calf*')" ]
    down
}
check 'where it listens is for who may read the directory, and in no base backup' found_by_group

messages() { # a message is there before the answer; calf's own statements are not among them
    local n
    copy said
    up "$scratch/said" -c log_statement=all -c log_min_duration_statement=0 -c log_disconnections=on --password-file "$scratch/secret" --tcp 0
    fails grep 'statement:\|disconnection' "$scratch/up.err"
    for n in 1 2 3 4 5; do
        fails sql "select nonsense$n" -h "$scratch/said" -U postgres
        grep -q "column \"nonsense$n\" does not exist" "$scratch/up.err"
    done
    kill -HUP "$server"
    until_true grep -q 'received SIGHUP' "$scratch/up.err"
    fails grep 'statement: select pg_reload_conf' "$scratch/up.err"
    down
}
check 'PostgreSQL messages are there before the answer, without those of calf itself' messages

by_itself() {
    copy itself
    cat >"$scratch/end.c" <<'END'
#include "postgres.h"
#include "fmgr.h"
#include <signal.h>
#include <unistd.h>
PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(kill_9);
Datum kill_9(PG_FUNCTION_ARGS)
{
    kill(PG_GETARG_BOOL(0) ? getppid() : getpid(), SIGKILL);
    PG_RETURN_NULL();
}
END
    gcc -O1 -w -fPIC -shared -I"$pgsql/include/server" "$scratch/end.c" -o "$scratch/end.so"
    for how in 'true by signal 9 (Killed)' 'false with exit code 1'; do
        up "$scratch/itself" -c restart_after_crash=off
        sql "create or replace function kill_9(bool) returns int language c as '$scratch/end.so'; select kill_9(${how%% *})" \
            -h "$scratch/itself" -U postgres || :
        gone "$server"
        rc=0 && wait "$server" || rc=$?
        forget_server
        [ $rc = 1 ]
        tail -n 1 "$scratch/up.err" | grep -qF "calf: PostgreSQL ended by itself, ${how#* }; its messages say why"
    done
}
check 'PostgreSQL that ends by itself: how' by_itself

# pg_ctl as it is installed with a stock server; it refuses root
ctl() { "${as_user[@]}" env LD_LIBRARY_PATH="$pgsql/lib" "$bin/pg_ctl" -D "$scratch/ctl" "$@"; }
ctl_pid() { head -n 1 "$scratch/ctl/postmaster.pid"; }
pg_ctl_works() {
    local pid odd="$scratch/ctl odd \$HOME \"it's\""
    copy ctl
    mkdir "$odd"
    give_away "$scratch/ctl" "$odd"
    chmod 711 "$scratch"
    "${as_user[@]}" "$calf" serve "$scratch/ctl" --detach --socket "$odd" -c "cluster_name=it's \"\$HOME\"" --log "$odd/log"
    pid=$(ctl_pid)
    echo "$pid" >>"$scratch/servers"
    ctl status | grep -q "server is running (PID: $pid)"
    ctl status | grep -qF "$calf \"serve\" \"$scratch/ctl\""
    echo "work_mem = '7MB'" >>"$scratch/ctl/postgresql.conf"
    ctl reload | grep -q 'server signaled'
    has_work_mem() { [ "$(sql 'show work_mem' -h "$odd" -U postgres)" = 7MB ]; }
    until_true has_work_mem
    # the same once more, with its options
    ctl restart | grep -q 'server started'
    gone "$pid"
    pid=$(ctl_pid)
    echo "$pid" >>"$scratch/servers"
    is 'show cluster_name' "it's \"\$HOME\"" -h "$odd" -U postgres -X
    is 'select 1' 1 -h "$odd" -U postgres
    ctl stop -m smart | grep -q 'server stopped'
    gone "$pid"
    [ "$(state "$scratch/ctl" state)" = closed ]
    # a standby
    "${as_user[@]}" touch "$scratch/ctl/standby.signal"
    "${as_user[@]}" "$calf" serve "$scratch/ctl" --detach -c logging_collector=on -c log_filename=at-%s%q -c log_rotation_age=0 -c "log_directory=$odd/logs"
    pid=$(ctl_pid)
    echo "$pid" >>"$scratch/servers"
    is 'select pg_is_in_recovery()' t -h "$scratch/ctl" -U postgres
    ctl promote | grep -q 'server promoted'
    is 'select pg_is_in_recovery()' f -h "$scratch/ctl" -U postgres
    [ ! -e "$scratch/ctl/promote" ]
    rm -f "$odd"/logs/*
    ctl logrotate | grep -q 'server signaled to rotate log file'
    rotated() { [ -n "$(ls "$odd/logs")" ] && [ ! -e "$scratch/ctl/logrotate" ]; }
    until_true rotated
    ctl stop -m immediate | grep -q 'server stopped'
    gone "$pid"
    [ "$(state "$scratch/ctl" state)" = crashed ]
}
check 'pg_ctl: status, reload, restart, stop, promote, logrotate' pg_ctl_works

many_settings() { # serve's own count as well, and the 24th is refused
    local settings=() n
    copy many
    for ((n = 1; n <= 23; n++)); do settings+=(-c "calf.n$n=$n"); done
    refused 1 'more than 23 settings' "$calf" serve "$scratch/many" --no-password-danger "${settings[@]}"
    refused 2 'more than 23 settings' "$calf" serve "$scratch/many" -c calf.n0=0 "${settings[@]}"
    up "$scratch/many" "${settings[@]}"
    is 'show calf.n23' 23 -h "$scratch/many" -U postgres
    down
}
check '23 settings, and not one more' many_settings

# ---- systemd ----------------------------------------------------------------------------------------

notify() {
    copy notify
    cat >"$scratch/notify.py" <<'END'
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1] if sys.argv[1][0] != "@" else "\0" + sys.argv[1][1:])
print("bound", flush=True)
for _ in range(2):
    print(s.recv(1000).decode(), flush=True)
END
    for address in "$scratch/notify.sock" "@calf-test-$$"; do
        python3 "$scratch/notify.py" "$address" >"$scratch/notified" &
        echo $! >>"$scratch/servers"
        until_true grep -q bound "$scratch/notified"
        before=(env NOTIFY_SOCKET="$address")
        up "$scratch/notify"
        until_true grep -qx READY=1 "$scratch/notified"
        [ "$(sql 'select 1' -h "$scratch/notify" -U postgres)" = 1 ]
        down
        until_true grep -qx STOPPING=1 "$scratch/notified"
    done
}
check 'systemd is told READY=1 and STOPPING=1' notify

activation() {
    copy act
    cat >"$scratch/activate.py" <<'END'
import os, socket, sys
fd, kept = 3, [os.dup(0) for _ in range(10)]  # so that no socket gets a number that is handed over
for path in sys.argv[1].split(","):
    if path == "tcp":
        s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1], file=sys.stderr, flush=True)
    else:
        s = socket.socket(socket.AF_UNIX); s.bind(path)
    s.listen()
    kept.append(s)
    os.dup2(s.fileno(), fd)
    fd += 1
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(fd - 3))
os.execvp(sys.argv[2], sys.argv[2:])
END
    mkdir "$scratch/act.d" "$scratch/act.e"
    before=(python3 "$scratch/activate.py" "$scratch/act.d/.s.PGSQL.5432,$scratch/act.e/.s.PGSQL.5432")
    up "$scratch/act"
    [ "$(sql 'select 1' -h "$scratch/act.d" -U postgres)" = 1 ]
    [ "$(sql 'select 2' -h "$scratch/act.e" -U postgres)" = 2 ]
    [ ! -e "$scratch/act/.s.PGSQL.5432" ]
    down
    [ -S "$scratch/act.d/.s.PGSQL.5432" ] # it is systemd's
    rm "$scratch/act.d/.s.PGSQL.5432" "$scratch/act.e/.s.PGSQL.5432"
    up "$scratch/act" --socket "$scratch/act.e" # the same place as systemd's
    [ "$(sql 'select 3' -h "$scratch/act.d" -U postgres)" = 3 ]
    [ "$(sql 'select 4' -h "$scratch/act.e" -U postgres)" = 4 ]
    down
    [ -S "$scratch/act.e/.s.PGSQL.5432" ]
    before=(python3 "$scratch/activate.py" tcp)
    fails up "$scratch/act"
    grep -q 'nobody has a password' "$scratch/up.err"
    up "$scratch/act" --password-file "$scratch/secret"
    [ "$(PGPASSWORD='correct horse' sql 'select 1' -d "$(url "$scratch/act")")" = 1 ]
    down
    rm "$scratch/act.d/.s.PGSQL.5432"
    before=(python3 "$scratch/activate.py" "$scratch/act.d/other")
    fails up "$scratch/act"
    grep -q "must be .s.PGSQL.5432" "$scratch/up.err"
}
check 'sockets that systemd hands over' activation

socket_activate() {
    local pid
    copy sact
    mkdir "$scratch/sact.d"
    systemd-socket-activate -l "$scratch/sact.d/.s.PGSQL.5432" "$calf" serve "$scratch/sact" 2>"$scratch/err" &
    pid=$!
    echo $pid >>"$scratch/servers"
    until_true test -S "$scratch/sact.d/.s.PGSQL.5432"
    [ "$(sql 'select 1' -h "$scratch/sact.d" -U postgres)" = 1 ] # the first client starts it
    "$calf" stop "$scratch/sact"
    gone $pid
}
if command -v systemd-socket-activate >/dev/null; then
    check 'systemd-socket-activate: the first client starts it' socket_activate
else
    skip 'systemd-socket-activate' 'it is not installed'
fi

# ---- status, stop, url ----------------------------------------------------------------------------

status() {
    local rc=0
    "$calf" status "$scratch/none" >"$scratch/out" || rc=$?
    [ $rc = 3 ] && grep -q 'no database yet' "$scratch/out" && [ ! -e "$scratch/none" ]
    refused 1 'nothing to stop' "$calf" stop "$scratch/none"
    copy stat
    rc=0
    "$calf" status "$scratch/stat" >"$scratch/out" || rc=$?
    [ $rc = 3 ] && grep -q 'closed' "$scratch/out"
    refused 1 'nothing to stop' "$calf" stop "$scratch/stat"
    up "$scratch/stat"
    "$calf" status "$scratch/stat" | tee "$scratch/out"
    grep -q "by  *${calf##*/}, process $server, since 20" "$scratch/out"
    grep -q "sessions  *0" "$scratch/out"
    "$calf" status "$scratch/stat" --json >"$scratch/out"
    python3 - "$scratch/out" "$scratch/stat" "$server" "${calf##*/}" <<'END'
import datetime, json, sys
answer = json.load(open(sys.argv[1]))
since = datetime.datetime.strptime(answer["since"], "%Y-%m-%dT%H:%M:%S%z")
assert answer["directory"] == sys.argv[2] and answer["pid"] == int(sys.argv[3]), answer
assert answer["state"] == "open" and answer["program"] == sys.argv[4] and answer["size"] > 2e7
assert abs(datetime.datetime.now(datetime.timezone.utc) - since).total_seconds() < 300, since
END
    [ "$(PGHOST='' sql 'select 1' -d "$(state "$scratch/stat" uri)")" = 1 ]
    "$calf" stop "$scratch/stat" | grep -q "$scratch/stat is closed"
    wait "$server"
    mkdir "$scratch/letters" && : >"$scratch/letters/a"
    refused 1 'not a PostgreSQL data directory' "$calf" status "$scratch/letters"
    refused 1 'not a PostgreSQL data directory' "$calf" url "$scratch/letters"
}
check 'status and stop: absent, closed, open, JSON' status

urls() {
    local odd="$scratch/it's \"a\" 100% dir&x"
    cp -a "$scratch/cluster" "$odd"
    [ "$(LD_PRELOAD=$lib/libcalf.so "$bin/psql" "$(url "$odd")" -XAtc 'select 1')" = 1 ]
    up "$odd"
    [ "$(sql 'select 1' -d "$(url "$odd")")" = 1 ]
    [ "$(env -i sh -c "$("$calf" url "$odd" --env)
        LD_LIBRARY_PATH=$pgsql/lib $bin/psql -XAtc 'select 1'")" = 1 ]
    [ "$(env -i sh -c "$("$calf" url "$odd" --env)
        printf '%s' \"\$DATABASE_URL\"")" = "$(url "$odd")" ]
    "$calf" url "$odd" --json | python3 -c 'import json, sys
a = json.load(sys.stdin); assert a["open"] is True and a["uri"] == sys.argv[1], a' "$(url "$odd")"
    [ "$("$calf" psql "$odd" -XAtc 'select 1')" = 1 ]
    [ "$(sh -c "$(sed -n 's/.*connect with: psql/"$0"/p' "$scratch/up.out") -XAtc 'select 1'" "$bin/psql")" = 1 ] # pasted
    down
    refused 1 'there is no database' "$calf" url "$scratch/nowhere"
}
check 'url: odd names, --env, --json, inside' urls

slow_stop() {
    copy slow
    up "$scratch/slow"
    sql 'select pg_sleep(600)' -h "$scratch/slow" -U postgres 2>/dev/null &
    until_true has_session "$scratch/slow"
    refused 1 "process $server has .* still open after 1 s" "$calf" stop "$scratch/slow" --mode smart --timeout 1
    "$calf" stop "$scratch/slow"
    wait "$server"
    [ "$(state "$scratch/slow" state)" = closed ]
}
check 'stop: a smart one that does not end in time, then a fast one' slow_stop

# ---- one directory, two commands ----------------------------------------------------------------------

two_psql() {
    local first
    copy two
    mkfifo "$scratch/first.in" "$scratch/second.in"
    "$calf" psql "$scratch/two" -XAtq <"$scratch/first.in" >"$scratch/first.out" 2>"$scratch/first.err" &
    first=$!
    exec 8>"$scratch/first.in"
    echo 'create table t (a int); insert into t values (42); select 1;' >&8
    until_true grep -q 1 "$scratch/first.out"
    [ "$("$calf" psql "$scratch/two" -XAtc 'select a from t')" = 42 ]
    [ "$(state "$scratch/two" pid)" = $first ]
    refused 1 "inside of ${calf##*/}, process $first, which is no server" "$calf" stop "$scratch/two"
    [ "$("$calf" run pg_dump "$scratch/two" -- -t t | grep -cx 42)" = 1 ]
    # the second stays; the first waits for it
    "$calf" psql "$scratch/two" -XAtq <"$scratch/second.in" >"$scratch/second.out" 8>&- &
    second=$!
    exec 9>"$scratch/second.in"
    echo 'select 2;' >&9
    until_true grep -q 2 "$scratch/second.out"
    exec 8>&-
    until_true grep -qF "calf: waiting for 1 other session on $scratch/two to end (psql); Ctrl-C ends it" "$scratch/first.err"
    echo 'select 3;' >&9
    until_true grep -q 3 "$scratch/second.out"
    kill -0 $first
    exec 9>&-
    wait $second
    wait $first
    [ "$(state "$scratch/two" state)" = closed ]
    # alone it says nothing
    for _ in 1 2 3 4 5; do
        "$calf" psql "$scratch/two" -XAtc 'select 1' 2>&1 | cmp - <(echo 1)
    done
}
check 'two psql: the second connects to the first, which waits for it' two_psql

ended_others() {
    local first
    copy ended
    mkfifo "$scratch/e1.in" "$scratch/e2.in"
    "$calf" psql "$scratch/ended" -XAtq <"$scratch/e1.in" >"$scratch/e1.out" 2>"$scratch/e1.err" &
    first=$!
    exec 8>"$scratch/e1.in"
    echo 'select 1;' >&8
    until_true grep -q 1 "$scratch/e1.out"
    "$calf" psql "$scratch/ended" -XAtqc 'select pg_sleep(600)' >/dev/null 2>"$scratch/e2.err" 8>&- &
    second=$!
    until_true has_session_of "$scratch/ended"
    exec 8>&-
    until_true grep -q 'waiting for 1 other session' "$scratch/e1.err"
    kill -INT $first # Ctrl-C: ends it
    wait $first
    fails wait $second
    [ "$(state "$scratch/ended" state)" = closed ]
}
has_session_of() { [ "$(state "$1" sessions)" = 2 ]; }
check 'and Ctrl-C ends the others' ended_others

served() {
    copy served
    up "$scratch/served"
    [ "$("$calf" psql "$scratch/served" -XAtc 'select 1')" = 1 ]
    "$calf" run pgbench "$scratch/served" -- -i -q 2>"$scratch/err"
    [ "$("$calf" psql "$scratch/served" -XAtc 'select count(*) from pgbench_accounts')" = 100000 ]
    printf 'select 7' | "$calf" psql "$scratch/served" -XAt | grep -qx 7
    rc=0
    "$calf" psql "$scratch/served" -XAtc 'select nonsense' 2>/dev/null || rc=$?
    [ $rc = 1 ]
    down
    refused 1 'there is no program dance' "$calf" run dance "$scratch/served"
    refused 1 'there is no database in .*nothere' "$calf" run pg_dump "$scratch/nothere"
}
check 'psql and run on a served directory' served

not_asked() { # our own commands go through the socket
    copy asked
    up "$scratch/asked" --tcp 0 --password-file "$scratch/secret"
    [[ $(url "$scratch/asked") == *@127.0.0.1:* ]]
    [ "$("$calf" psql "$scratch/asked" -w -XAtc 'select inet_server_addr() is null')" = t ]
    "$calf" run pg_dump "$scratch/asked" -- -w >/dev/null
    [ "$(state "$scratch/asked" sessions)" = 0 ]
    [ "$(sql 'select 1' -d "$(state "$scratch/asked" socket_uri)" -w)" = 1 ]
    "$calf" status "$scratch/asked" | grep -q 'or with .*host='
    "$calf" doctor "$scratch/asked" | grep 'session: it answers'
    down
}
check "no password is asked for by calf's own commands" not_asked

stock_served() {
    copy stock
    give_away "$scratch/stock"
    chmod 711 "$scratch"
    "${as_user[@]}" env LD_LIBRARY_PATH="$pgsql/lib" "$bin/postgres" -D "$scratch/stock" -h '' -k "$scratch/stock" 2>"$scratch/stock.log" &
    echo $! >>"$scratch/servers"
    until_true grep -q 'ready to accept connections' "$scratch/stock.log"
    pid=$(head -n 1 "$scratch/stock/postmaster.pid")
    for user in "${as_user[*]}" env; do
        read -ra who <<<"$user"
        [ "$("${who[@]}" "$calf" psql "$scratch/stock" -XAtc 'select current_user')" = postgres ]
        "${who[@]}" "$calf" run pg_dump "$scratch/stock" -- --schema-only | grep -q 'PostgreSQL database dump complete'
        "${who[@]}" "$calf" status "$scratch/stock" | tee "$scratch/out"
        grep -q "by  *postgres, process $pid" "$scratch/out"
        grep -q "sessions  *0" "$scratch/out"
        [ "$("${who[@]}" "$calf" psql "$(url "$scratch/stock")" -XAtc 'select 1' 2>/dev/null)" = '' ]
        refused 1 "in use by a PostgreSQL server, process $pid" "${who[@]}" "$calf" serve "$scratch/stock"
    done
    "$calf" doctor "$scratch/stock" --json >"$scratch/out" || :
    grep -q 'open by a stock server' "$scratch/out"
    "$calf" stop "$scratch/stock" | grep -q 'is closed'
    gone "$pid"
}
check 'a directory that a stock server serves' stock_served

inside() {
    copy inside
    hold_inside "$scratch/inside"
    refused 1 "in use by process $pid, which lets nobody in" "$calf" psql "$scratch/inside" -c 'select 1'
    refused 1 "in use by process $pid, which lets nobody in" "$calf" run pg_dump "$scratch/inside"
    refused 1 "in use by process $pid" "$calf" serve "$scratch/inside"
    refused 1 "inside of python3.*process $pid" "$calf" stop "$scratch/inside"
    refused 1 "inside of process $pid, which lets no other" "$calf" url "$scratch/inside"
    "$calf" status "$scratch/inside" | grep -q 'lets no other process in'
    let_go "$pid"
}
check 'a directory that another program has inside' inside

defaults() {
    local odd=$scratch/xdg/deep
    copy data
    [ "$(CALF_DATA=$scratch/data "$calf" psql -XAtc 'show data_directory')" = "$scratch/data" ]
    CALF_DATA=$scratch/data "$calf" run pg_controldata >"$scratch/out"
    grep -q 'shut down' "$scratch/out"
    [ "$(XDG_DATA_HOME=$odd CALF_DATA='' "$calf" psql -XAtc 'show data_directory')" = "$odd/calf" ]
    [ "$(stat -c %a "$odd/calf")" = 700 ]
    XDG_DATA_HOME=$odd "$calf" status | grep -q "$odd/calf: closed"
    [ "$(env -u XDG_DATA_HOME HOME="$scratch/home" "$calf" psql -XAtc 'show data_directory')" = "$scratch/home/.local/share/calf" ]
    refused 1 'name the data directory' env -u XDG_DATA_HOME -u HOME "$calf" status
    refused 1 'is empty' "$calf" status ''
    (cd "$scratch" && CALF_DATA=data "$calf" url | grep -q "host=calf:$scratch/data")
}
check 'the default directory: CALF_DATA, XDG_DATA_HOME, HOME' defaults

# ---- what is left of others --------------------------------------------------------------------------

private() {
    up "$scratch/private" --socket "$scratch/private.d"
    [ "$(stat -c %a "$scratch/private" "$scratch/private.d" "$scratch/private.d/.s.PGSQL.5432" | xargs)" = '700 700 600' ]
    down
    [ ! -e "$scratch/private.d/.s.PGSQL.5432" ] && [ ! -e "$scratch/private.d/.s.PGSQL.5432.lock" ]
    (umask 000 && up "$scratch/private")
    server=$(tail -n 1 "$scratch/servers")
    [ "$(stat -c %a "$scratch/private/.s.PGSQL.5432" "$scratch/private/pg_stat_tmp/calf.listen" | xargs)" = '600 600' ]
    kill -TERM "$server" && gone "$server"
}
check 'sockets have mode 0600, directories 0700' private

leftovers() {
    copy left
    up "$scratch/left"
    kill_server
    forget_server
    [ -S "$scratch/left/.s.PGSQL.5432" ] && [ -e "$scratch/left/pg_stat_tmp/calf.listen" ] && [ -e "$scratch/left/postmaster.pid" ]
    rc=0
    "$calf" status "$scratch/left" >"$scratch/out" || rc=$?
    [ $rc = 3 ] && grep -q 'not closed in order' "$scratch/out"
    refused 1 'nothing to stop' "$calf" stop "$scratch/left"
    url "$scratch/left" | grep -q 'host=calf:'
    [ "$("$calf" psql "$scratch/left" -XAtc 'select 1')" = 1 ]
    [ ! -e "$scratch/left/.s.PGSQL.5432" ] && [ ! -e "$scratch/left/pg_stat_tmp/calf.listen" ]
    # the pid of a live process that is no server
    printf '%s\n%s\n1\n5432\n\n\n  1 2\nready\n' $$ "$scratch/left" >"$scratch/left/postmaster.pid"
    printf '%s\n%s\n1\n5432\n%s\n' $$ "$scratch/left" "$scratch/left" >"$scratch/left/.s.PGSQL.5432.lock"
    echo "postgresql://nobody@127.0.0.1:1/postgres" >"$scratch/left/pg_stat_tmp/calf.listen"
    [ "$("$calf" psql "$scratch/left" -XAtc 'select 1')" = 1 ]
    up "$scratch/left"
    [ "$(sql 'select 1' -d "$(url "$scratch/left")")" = 1 ]
    down
    # killed when they had only been created
    : >"$scratch/left/postmaster.pid"
    : >"$scratch/left/.s.PGSQL.5432.lock"
    "$calf" doctor --quick "$scratch/left"
    up "$scratch/left"
    [ "$(sql 'select 1' -d "$(url "$scratch/left")")" = 1 ]
    down
    [ ! -e "$scratch/left/postmaster.pid" ] && [ ! -e "$scratch/left/.s.PGSQL.5432.lock" ]
}
check 'files that a killed server left' leftovers

foreign() {
    copy foreign
    echo mine >"$scratch/foreign/.s.PGSQL.5432"
    untouched "$scratch/foreign" refused 1 'cannot create the socket directory .*/no/such' "$calf" serve "$scratch/foreign" --socket "$scratch/no/such"
    [ ! -e "$scratch/no" ]
    untouched "$scratch/foreign" refused 1 'foreign/.s.PGSQL.5432 is in the place of the socket; move it away' "$calf" serve "$scratch/foreign"
    [ "$("$calf" psql "$scratch/foreign" -XAtc 'select 1')" = 1 ] # needs no socket
    [ "$(cat "$scratch/foreign/.s.PGSQL.5432")" = mine ]
    rm "$scratch/foreign/.s.PGSQL.5432"
    echo mine >"$scratch/foreign/.s.PGSQL.5432.lock"
    untouched "$scratch/foreign" refused 1 "lock is in the place of the socket's lock; move it away" "$calf" serve "$scratch/foreign"
    [ "$(cat "$scratch/foreign/.s.PGSQL.5432.lock")" = mine ]
    rm "$scratch/foreign/.s.PGSQL.5432.lock"
    echo mine >"$scratch/foreign/postmaster.pid"
    for command in serve psql; do
        untouched "$scratch/foreign" refused 1 "postmaster.pid is in the place of PostgreSQL's lock file; move it away" "$calf" $command "$scratch/foreign"
    done
    fails "$calf" doctor --quick "$scratch/foreign" >"$scratch/out"
    grep -q 'problem lock file:.*postmaster.pid is in the place' "$scratch/out"
}
check 'a file of the user in the place of the socket or of a lock file' foreign

closed_standard() { # no file of the database gets the numbers 0 to 2
    copy std
    "$calf" psql "$scratch/std" -Xqc 'create table t as select generate_series(1, 1000) a' <&- >&-
    fails "$calf" psql "$scratch/std" -c 'select nonsense' <&- >&- 2>&-
    fails "$calf" psql "$scratch/std" -c 'select 1' >&-
    "$calf" serve "$scratch/std" --detach <&- >&- 2>&-
    state "$scratch/std" pid >>"$scratch/servers"
    [ "$("$calf" psql "$scratch/std" -XAtc 'select count(*) from t')" = 1000 ]
    fails "$calf" url "$scratch/std" >&-
    fails "$calf" url "$scratch/std" >/dev/full 2>"$scratch/err"
    grep -q 'cannot write to the standard output: No space left' "$scratch/err"
    "$calf" stop "$scratch/std"
    "$calf" doctor "$scratch/std"
}
check 'standard descriptors that are closed, a full standard output' closed_standard

killed() {
    local seed=${CALF_SEED:-$RANDOM} round rows=0 got
    RANDOM=$seed
    echo "CALF_SEED=$seed"
    for round in $(seq 15); do
        : >"$scratch/up.out"
        setsid "$calf" serve "$scratch/killed" >"$scratch/up.out" 2>"$scratch/up.err" </dev/null &
        server=$!
        echo "$server" >>"$scratch/servers"
        if [ $((round % 3)) != 0 ]; then # anywhere from the first instruction on, else while it writes
            sleep "0.$(printf %03d $((RANDOM % 150)))"
        else
            until_true told_or_gone
            sql "create table if not exists t (a int); insert into t values ($round)" -h "$scratch/killed" -U postgres
            rows=$((rows + 1))
            sql 'insert into t select 0 from generate_series(1, 100000)' -h "$scratch/killed" -U postgres >/dev/null 2>&1 &
            sleep "0.$(printf %03d $((RANDOM % 100)))"
        fi
        kill_server
        forget_server
        rc=0
        "$calf" status "$scratch/killed" >"$scratch/out" || rc=$?
        [ $rc = 3 ] || { cat "$scratch/out"; return 1; }
        [ $((round % 2)) = 0 ] || "$calf" doctor "$scratch/killed" >"$scratch/out" || { cat "$scratch/out"; return 1; }
        case $((round % 3)) in
        0) got=$("$calf" psql "$scratch/killed" -XAtc 'select count(*) from t where a > 0')
           [ "$got" = $rows ] || { echo "$got rows, not $rows"; return 1; } ;;
        1) "$calf" run pg_dump "$scratch/killed/" >/dev/null 2>"$scratch/err" ||
            { cat "$scratch/err"; grep -q 'there is no database' "$scratch/err"; } ;;
        2) up "$scratch/killed"; down ;;
        esac
    done
}
check 'killed at any moment, every command just works' killed

# The lock file that a dead server left says that PostgreSQL is ready; whoever has just opened it when PostgreSQL removes
# it must not believe it. With time between the open and the look at its age that happens nearly always.
left_behind() {
    local round
    gcc -D_GNU_SOURCE -shared -fPIC -O1 "$repo/tests/cli/shim.c" -o "$scratch/shim.so" -ldl
    for round in $(seq 6); do
        up "$scratch/left"
        kill_server
        forget_server
        LD_PRELOAD=$scratch/shim.so SHIM_LATE=2000 "$calf" psql "$scratch/left" -XAtc "select $round"
    done
}
check 'what a dead server left is not taken for the new one' left_behind

# ---- a terminal ------------------------------------------------------------------------------------------

prompt() {
    python3 "$terminal" "wait postgres=#
type \\\\echo :VERSION_NAME\\n
wait 1[5-9]
type do \$\$ begin raise notice 'begun %', 1; perform pg_sleep(600); end \$\$;\\n
wait begun 1
type \\x03
wait canceling statement due to user request
wait postgres=#
type select 6 * 7 as answer;\\n
wait 42
wait postgres=#
type \\x03
wait postgres=#
type \\\\q\\n
end" "$calf" psql "$scratch/term" -X
    [ "$(state "$scratch/term" state)" = closed ]
}
check 'psql on a terminal: Ctrl-C cancels a query and nothing else' prompt

window() {
    python3 "$terminal" "wait postgres=#
type \\\\set PROMPT1 'P> '\\n
wait P>
type \\\\! stty size\\n
wait 24 80
wait P>
size 40 132
type \\\\! stty size\\n
wait 40 132
wait P>
type select repeat('x', 100) as wide;\\n
wait x{100}
wait P>
type \\\\q\\n
end" "$calf" psql "$scratch/term" -X -P pager=off
}
check 'psql on a terminal: its size' window

ask_password() {
    python3 "$terminal" "wait Password for the superuser
type s3cret\\n
wait serving
type \\x03
end" "$calf" serve "$scratch/term" --tcp 0 --password >"$scratch/out"
    fails grep s3cret "$scratch/out"
    grep -q 127.0.0.1 "$scratch/out"
    [ "$(state "$scratch/term" state)" = closed ]
}
cancel_password() {
    python3 "$terminal" "wait Password for the superuser
type \\x03
wait echo is on
end" bash -c 'trap : INT; "$0" serve "$1" --password; stty -a | grep -q " echo " && echo "echo is on"' \
        "$calf" "$scratch/never"
    [ ! -e "$scratch/never" ]
}
check 'Ctrl-C at the question for a password: the terminal is as before' cancel_password
check 'a password is asked for without echo; Ctrl-C stops serve' ask_password

finish

#!/bin/bash
#
# replication.sh - logical replication with Debian's PostgreSQL 15, both ways; streaming standbys
#
# Debian's server is unpacked into build/clients, not installed: an installed one would come
# with a cluster that starts by itself.

set -u
# shellcheck source=tests/clients/lib.sh
. "$(dirname "$0")/lib.sh"
fifteen=$repo/build/clients/postgresql-15
if [ ! -e "$fifteen/unpacked" ]; then
    rm -rf "$fifteen"
    mkdir -p "$fifteen"
    cd "$fifteen" || exit 1
    download() { apt-get -qq -o APT::Sandbox::User=root download postgresql-15; }
    download || { { apt-get -qq update || sudo -n apt-get -qq update; } && download; } || exit 1
    dpkg-deb -x postgresql-15_*.deb . && touch unpacked || exit 1
fi
fifteen+=/usr/lib/postgresql/15/bin
settings=(-c wal_level=logical -c wal_receiver_status_interval=1 -c wal_retrieve_retry_interval=100)
small=(-c logical_decoding_work_mem=64kB) # a publisher streams what is larger while it runs
serve_clients "$scratch/data" "${settings[@]}" "${small[@]}" || exit 1
sql "create role copies login replication password '$password'"
# as a subscriber or a standby says it
conninfo="host=localhost port=$port user=copies password=$password sslmode=verify-full sslrootcert=$ca"
export HOME=$scratch/home # libpq inside servers looks for certificates there

echo "$server" >"$scratch/primary" # for who ends it in a check, which is a subshell

serve_again() {
    start_server "$scratch/data" "${tcp[@]}" "${settings[@]}"
    echo "$server" >"$scratch/primary"
}
# end_primary SIGNAL: the signal is for the postmaster, which CALF_SERVE may have started as its child
end_primary() {
    kill -"$1" "$(head -n 1 "$scratch/data/postmaster.pid")"
    gone "$(cat "$scratch/primary")"
    sed -i "/^$(cat "$scratch/primary")\$/d" "$scratch/servers"
}

# A stock server of its own directory, on the same Unix socket directory with another port: $stock is its pid.
# stock_server BINDIR DIR PORT [options of postgres...]
stock_server() {
    local from=$1 dir=$2 number=$3
    shift 3
    LD_LIBRARY_PATH=${libraries:-} setsid "${as_user[@]}" "$from/postgres" -D "$dir" -k "$socket" -p "$number" -h '' \
        "$@" >>"$scratch/stock.log" 2>&1 </dev/null &
    stock=$!
    echo "$stock" >>"$scratch/servers"
    until_true "$debian/psql" -Atqp "$number" -c 'select 1' >/dev/null 2>&1 || { tail "$scratch/stock.log"; return 1; }
}
mkdir "$scratch/home"
give_away "$scratch/home"
other=$((port == 65000 ? 64000 : 65000))
"${as_user[@]}" "$fifteen/initdb" -D "$scratch/home/fifteen" -U postgres --auth=trust --no-sync >"$scratch/initdb.log" 2>&1 ||
    { cat "$scratch/initdb.log"; exit 1; }
stock_server "$fifteen" "$scratch/home/fifteen" $other -c fsync=off -c jit=off "${settings[@]}" || exit 1

# old QUERY: on the server of 15
old() { timeout "$deadline" "$debian/psql" -XAtqp $other -v ON_ERROR_STOP=1 -c "$1"; }
old_is() { [ "$(old "$1" 2>/dev/null)" = "$2" ]; }
sums="select count(*) || ' ' || coalesce(sum(id), 0) || ' ' || md5(coalesce(string_agg(t, ',' order by id), '')) from"
in_step() { # in_step TABLE: it has the same rows in both
    local want
    want=$(sql "$sums $1")
    until_true old_is "$sums $1" "$want" || { echo "$want"; old "$sums $1"; return 1; }
}

publishes() {
    sql "create table outgoing (id int primary key, t text, at timestamptz default now());
         insert into outgoing select g, 'row ' || g from generate_series(1, 50000) g;
         grant select on outgoing to copies; create publication outgoing for table outgoing"
    old 'create table outgoing (id int primary key, t text, at timestamptz, only_here int default 15)'
    old "create subscription outgoing connection '$conninfo dbname=postgres' publication outgoing with (streaming = on)"
    in_step outgoing # the copy of what was there
    sql "insert into outgoing select g, 'more ' || g from generate_series(50001, 51000) g;
         update outgoing set t = upper(t) where id % 100 = 0; delete from outgoing where id <= 10"
    in_step outgoing
    # a transaction that is sent while it still runs, with one that is rolled back
    sql "begin; insert into outgoing select g, repeat('undone', 10) from generate_series(100001, 130000) g; rollback;"
    sql "begin; insert into outgoing select g, repeat('done', 10) from generate_series(100001, 130000) g; commit;"
    in_step outgoing
    until_sql 'select stream_txns > 0 from pg_stat_replication_slots' t
    is "select ssl, version from pg_stat_ssl join pg_stat_replication using (pid)" 't|TLSv1.3'
    old_is 'select count(distinct only_here) from outgoing' 1
}
check 'a subscriber of 15 gets the copy and the changes of a publisher of 17, by TLS' publishes

returns() { # the publisher is restarted under the subscriber, once in order, once by kill -9
    for signal in TERM KILL; do
        end_primary $signal
        serve_again
        sql "insert into outgoing select max(id) + 1, 'after $signal' from outgoing"
        in_step outgoing
    done
    old 'drop subscription outgoing'
    is 'select count(*) from pg_replication_slots' 0
    sound
}

check 'the subscription of 15 survives restarts and a kill -9 of its publisher' returns

in_step_here() { # the table incoming
    local want
    want=$(old "$sums incoming")
    until_sql "$sums incoming" "$want"
}
subscribes() {
    old 'create table incoming (id int primary key, t text)'
    old "insert into incoming select g, repeat('milk ', 10) || g from generate_series(1, 50000) g"
    old 'create publication incoming for table incoming'
    sql 'create table incoming (id int primary key, t text, only_here int default 17)'
    sql "create subscription incoming connection 'host=$socket port=$other user=postgres dbname=postgres' publication incoming"
    in_step_here
    old "update incoming set t = 'new ' || id where id % 2 = 0"
    old 'delete from incoming where id < 100'
    in_step_here
    # a conflict stops it with a message; it goes on when the conflict is gone
    sql "insert into incoming values (1, 'mine')"
    old "insert into incoming values (1, 'theirs')"
    until_sql 'select apply_error_count > 0 from pg_stat_subscription_stats' t
    grep -q 'duplicate key value violates unique constraint "incoming_pkey"' "$log"
    sql 'delete from incoming where id = 1'
    in_step_here
    kill -INT "$stock" # and the publisher may come and go
    gone "$stock"
    stock_server "$fifteen" "$scratch/home/fifteen" $other -c fsync=off -c jit=off "${settings[@]}"
    old "insert into incoming values (2, 'again')"
    in_step_here
    sql 'drop subscription incoming'
    sound
}
check 'a subscriber of 17 gets them from a publisher of 15, and goes on after a conflict' subscribes

backup() { # backup DIR NAME: a standby's directory, by TCP, with a slot of that name
    client pg_basebackup -D "$1" -R -C -S "$2" -c fast -d "$conninfo application_name=$2"
    client pg_verifybackup -q "$1"
}

stock_standby() {
    backup "$scratch/home/stock-standby" stock_standby
    give_away "$scratch/home/stock-standby"
    libraries=$pgsql/lib stock_server "$bin" "$scratch/home/stock-standby" $((other - 1))
    there() { [ "$("$debian/psql" -XAtp $((other - 1)) -c "$1" 2>/dev/null)" = "$2" ]; }
    sql 'create table followed as select generate_series(1, 1000) n'
    until_true there 'select pg_is_in_recovery(), count(*) from followed' 't|1000'
    kill -INT "$stock"
    gone "$stock"
    sql "select pg_drop_replication_slot('stock_standby'); drop table followed"
}
check 'a stock standby of 17 follows, by TLS and a slot' stock_standby

calf_standby() {
    local at=$socket
    backup "$scratch/standby" standby
    [ -z "${CALF_SERVE:-}" ] || give_away "$scratch/standby"
    socket=$(mktemp -d "$at/XXXX")
    chmod 777 "$socket"
    log=$scratch/standby.log
    start_server "$scratch/standby" "${settings[@]}" -c port="$port" -c max_standby_streaming_delay=1s
    local standby=$server
    here() { PGHOST=$socket sql "$@"; }
    here_is() { [ "$(here "$1" 2>/dev/null)" = "$2" ]; }
    # synchronous: what is committed is there
    sql 'alter system set synchronous_standby_names = standby'
    sql 'alter system set synchronous_commit = remote_apply'
    sql 'select pg_reload_conf()'
    until_sql "select sync_state from pg_stat_replication where application_name = 'standby'" sync
    is 'select ssl from pg_stat_ssl join pg_stat_replication using (pid)' t
    sql 'create table followed (n int)'
    for n in 1 2 3 4 5; do
        sql "insert into followed values ($n)"
        [ "$(here 'select count(*) from followed')" = $n ]
    done
    refused 'cannot execute INSERT in a read-only transaction' "$debian/psql" -h "$socket" -c 'insert into followed values (0)'
    # a query on the standby is in the way of VACUUM's removal, and loses
    sql 'create table dusty as select generate_series(1, 100000) n'
    PGHOST=$socket "$debian/psql" -XAt -c 'begin isolation level repeatable read; select count(*) from dusty; select pg_sleep(1000)' \
        >"$scratch/conflict" 2>&1 &
    local loser=$!
    until_true here_is "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" 1
    sql 'set synchronous_commit = local; delete from dusty'
    sql 'vacuum dusty'
    fails wait $loser
    grep -q 'due to conflict with recovery' "$scratch/conflict"
    # the primary is gone without a word; everything that was committed is in the standby
    client pgbench -i -q -s 1 2>/dev/null
    client pgbench -n -c 4 -T 600 -N >"$scratch/pgbench" 2>&1 &
    local load=$!
    until_sql 'select count(*) > 200 from pgbench_history' t
    end_primary KILL
    wait $load || :
    until_true here_is "select count(*) from pg_stat_wal_receiver where status = 'streaming'" 0
    [ "$(here "select pg_promote()")" = t ]
    here 'alter system reset all'
    here 'select pg_reload_conf()'
    here 'insert into followed values (6)'
    [ "$(here "select (select count(*) > 200 from pgbench_history) and (select count(*) = 6 from followed)")" = t ]
    [ "$(here 'select left(pg_walfile_name(pg_current_wal_lsn()), 8)')" = 00000002 ]
    server=$standby
    stop_server
    sound
    socket=$at
    # and the old primary has nothing that the standby did not get
    start_server "$scratch/data" -c port="$port"
    is 'select count(*) from followed' 5
    stop_server
}
check 'a second calf as a synchronous standby, promoted when the first was killed' calf_standby

finish

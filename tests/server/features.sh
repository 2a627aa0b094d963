#!/bin/bash
#
# features.sh [root|user] - what people use a server for, through the socket, with stock clients
#
# As root (when it is started so) and as an ordinary user: all of it twice.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"
soon=10 # seconds: a cancel that takes longer did not interrupt

who=${1:-}
if [ -z "$who" ] && [ "$(id -u)" = 0 ] && [ -z "${CALF_SERVE:-}" ]; then
    "$0" root >"$scratch/root"
    "$0" user >"$scratch/user"
    sed '$d; s/$/ (as root)/' "$scratch/root"
    sed '$d; s/$/ (as an ordinary user)/' "$scratch/user"
    awk '/^[0-9]+ passed, [0-9]+ failed$/ { p += $1; f += $3; n++ }
         END { if (n != 2) f++; print p " passed, " f " failed"; exit f > 0 }' "$scratch/root" "$scratch/user"
    exit
fi
if [ "$who" = user ]; then
    mkdir "$scratch/home"
    give_away "$scratch/home"
    serve=("${as_user[@]}" "${serve[@]}")
fi
mkdir -p "$scratch/home"
chmod 777 "$scratch/home"
data=$scratch/home/data

settings=(-c wal_level=logical -c max_wal_senders=10 -c autovacuum_naptime=1)
start_server "$data" "${settings[@]}" || exit 1

# ---- interrupting -----------------------------------------------------------------------

# interrupted MESSAGE QUERY: it fails with the message, soon
interrupted() {
    local begun=$SECONDS
    fails sql "$2" 2>"$scratch/message"
    cat "$scratch/message"
    grep -q "$1" "$scratch/message"
    [ $((SECONDS - begun)) -lt $soon ]
}
forever='select count(*) from generate_series(1, 1000000000000)'
in_icu="select md5(i::text) collate \"en-x-icu\" c from generate_series(1, 100000000) i order by 1"
in_regex="select sum(regexp_count(repeat('ab', 5000) || i, '(a|b)+?\$')) from generate_series(1, 100000) i"
in_plpgsql='do $$ begin loop null; end loop; end $$'
timeout_of="set statement_timeout = '300ms';"
check 'statement_timeout interrupts a scan' interrupted 'due to statement timeout' "$timeout_of $forever"
check 'statement_timeout interrupts a sort with ICU' interrupted 'due to statement timeout' "$timeout_of $in_icu"
check 'statement_timeout interrupts regular expressions' interrupted 'due to statement timeout' "$timeout_of $in_regex"
check 'statement_timeout interrupts PL/pgSQL' interrupted 'due to statement timeout' "$timeout_of $in_plpgsql"
check 'statement_timeout interrupts a sleep' interrupted 'due to statement timeout' "$timeout_of select pg_sleep(1000)"

running() { is "select count(*) from pg_stat_activity where state = 'active' and query like '%$1%' and pid <> pg_backend_pid()" 1; }

# cancelled WORD QUERY: pg_cancel_backend ends the query that contains the word, soon
cancelled() {
    local begun
    sql "$2" 2>"$scratch/message" &
    until_true running "$1" 2>/dev/null
    begun=$SECONDS
    sql "select pg_cancel_backend(pid) from pg_stat_activity where query like '%$1%' and pid <> pg_backend_pid()"
    fails wait $!
    cat "$scratch/message"
    grep -q 'canceling statement due to user request' "$scratch/message"
    [ $((SECONDS - begun)) -lt $soon ]
}
check 'pg_cancel_backend interrupts a scan' cancelled 1000000000000 "$forever"
check 'pg_cancel_backend interrupts a sort with ICU' cancelled en-x-icu "$in_icu"
check 'pg_cancel_backend interrupts regular expressions' cancelled regexp_count "$in_regex"
check 'pg_cancel_backend interrupts PL/pgSQL' cancelled 'loop null' "$in_plpgsql"
check 'pg_cancel_backend interrupts a sleep' cancelled 'pg_sleep(1000)' 'select pg_sleep(1000)'

ctrl_c() { # psql sends a cancel request over a connection of its own
    LD_LIBRARY_PATH=$pgsql/lib env --default-signal=INT "$bin/psql" -XAtc "$forever" 2>"$scratch/message" &
    until_true running 1000000000000 2>/dev/null
    kill -INT $!
    fails wait $!
    grep -q 'canceling statement due to user request' "$scratch/message"
}
check 'Ctrl-C in psql' ctrl_c

# ---- several sessions ---------------------------------------------------------------------

# meet N: in a session, until advisory lock N is held by somebody
meet() { echo "do \$\$ begin while not exists (select from pg_locks where locktype = 'advisory' and objid = $1 and granted) loop perform pg_sleep(0.01); end loop; end \$\$;"; }

lock_timeout() {
    sql "select pg_advisory_lock(1); select pg_sleep(1000)" >/dev/null 2>&1 &
    until_sql "select count(*) from pg_locks where locktype = 'advisory'" 1
    interrupted 'due to lock timeout' "set lock_timeout = '200ms'; select pg_advisory_lock(1)"
    sql "select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory'"
    fails wait $!
}
check 'lock_timeout' lock_timeout

deadlock() {
    local one two
    sql "begin; select pg_advisory_xact_lock(1); $(meet 2) select pg_advisory_xact_lock(2); select 'done'" \
        >"$scratch/one" 2>&1 &
    one=$!
    sql "begin; select pg_advisory_xact_lock(2); $(meet 1) select pg_advisory_xact_lock(1); select 'done'" \
        >"$scratch/two" 2>&1 &
    two=$!
    wait $one || :
    wait $two || :
    cat "$scratch/one" "$scratch/two"
    [ "$(cat "$scratch/one" "$scratch/two" | grep -c 'deadlock detected')" = 1 ]
    [ "$(cat "$scratch/one" "$scratch/two" | grep -c 'done')" = 1 ]
}
check 'a deadlock ends one of two sessions' deadlock

listen_notify() {
    { echo "listen news; select pg_advisory_lock(3);"; meet 4; echo "select 'heard';"; } |
        client psql -XAt >"$scratch/listener" 2>&1 &
    local listener=$!
    until_sql "select count(*) from pg_locks where locktype = 'advisory' and objid = 3" 1
    sql "notify news, 'calf was born'"
    sql "select pg_advisory_lock(4); select pg_sleep(1000)" >/dev/null 2>&1 &
    local holder=$!
    wait $listener
    sql "select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory' and objid = 4"
    fails wait $holder
    cat "$scratch/listener"
    grep -q 'notification "news" with payload "calf was born"' "$scratch/listener"
}
check 'LISTEN and NOTIFY between two sessions' listen_notify

background() {
    is "select string_agg(backend_type, ', ' order by backend_type) from pg_stat_activity
        where backend_type in ('checkpointer', 'background writer', 'walwriter', 'autovacuum launcher')" \
       'autovacuum launcher, background writer, checkpointer, walwriter'
    is 'select count(*) = count(distinct pid) from pg_stat_activity' t
}
check 'the background processes are in pg_stat_activity' background

autovacuum() {
    sql 'create table dusty (n int); insert into dusty select generate_series(1, 10000); delete from dusty'
    until_sql "select autovacuum_count > 0 from pg_stat_user_tables where relname = 'dusty'" t
}
check 'autovacuum cleans up by itself' autovacuum

parallel() {
    sql "create table wide as select i, md5(i::text) t from generate_series(1, 200000) i; analyze wide"
    sql "set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set min_parallel_table_scan_size = 0;
         explain (analyze, costs off) select count(*) from wide where t like '%ab%'" | tee "$scratch/plan"
    grep -q 'Workers Launched: 2' "$scratch/plan"
    sql "set maintenance_work_mem = '64MB'; set max_parallel_maintenance_workers = 2; create index on wide (t)"
    is "set max_parallel_workers_per_gather = 0; select count(*) from wide where t like '%ab%'" \
       "$(sql "set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0; set min_parallel_table_scan_size = 0;
               select count(*) from wide where t like '%ab%'")"
}
check 'a parallel query launches two workers' parallel

# ---- data in and out -------------------------------------------------------------------------

copy_both_ways() {
    sql "create table c (id int, v text);
         insert into c select i, repeat(md5(i::text), 30) || E'\t\\\\' || chr(10) from generate_series(1, 50000) i"
    sql 'copy c to stdout' >"$scratch/c.copy"
    [ "$(wc -c <"$scratch/c.copy")" -gt 48000000 ]
    sql 'create table c2 (like c)'
    client psql -Xq -v ON_ERROR_STOP=1 -c "\\copy c2 from '$scratch/c.copy'"
    is 'select (select md5(string_agg(v, $$$$ order by id)) from c) = (select md5(string_agg(v, $$$$ order by id)) from c2)' t
    sql "copy c to '$scratch/home/c.bin' (format binary); truncate c2; copy c2 from '$scratch/home/c.bin' (format binary)"
    is 'select count(*) from (table c except table c2) d' 0
}
check 'COPY of 48 MB out and in, by the client and by the server' copy_both_ways

copy_program() {
    sql "create table p (n int); copy p from program 'seq 1 1000; exit 0'"
    is 'select sum(n) from p' 500500
    sql "copy (select 'from the server') to program 'cat >$scratch/home/program.out'"
    grep -q 'from the server' "$scratch/home/program.out"
    interrupted 'program "exit 3" failed' "copy p from program 'exit 3'"
    grep -q 'exited with exit code 3' "$scratch/message"
    interrupted 'program .* failed' "copy p from program 'no-such-program'"
}
check 'COPY from and to an outside program' copy_program

large_result() {
    [ "$(sql "select repeat('x', 999) from generate_series(1, 200000)" | wc -c)" = 200000000 ]
    [ "$(sql "select repeat('x', 99999999)" | wc -c)" = 100000000 ]
    [ "$(client psql -XAtq -v FETCH_COUNT=1000 -c 'select i from generate_series(1, 300000) i' | wc -l)" = 300000 ]
}
check 'a result of 200 MB' large_result

large_object() {
    head -c 5000000 /dev/urandom >"$scratch/lo"
    local oid
    oid=$(client psql -XAtq -c "\\lo_import '$scratch/lo'" -c '\echo :LASTOID')
    client psql -Xq -c "\\lo_export $oid '$scratch/lo2'"
    cmp "$scratch/lo" "$scratch/lo2"
}
check 'a large object in and out' large_object

dump_restore() {
    client createdb source
    sql "create schema s; create type s.mood as enum ('sad', 'ok');
         create table s.people (id int generated always as identity primary key, name text collate \"en-x-icu\" unique,
             m s.mood default 'ok', j jsonb, tags text[], born date);
         create index on s.people using gin (j);
         create function s.twice(int) returns int language plpgsql as 'begin return 2 * \$1; end';
         create view s.v as select name, s.twice(id) from s.people;
         create table s.parts (k int, v text) partition by range (k);
         create table s.parts_1 partition of s.parts for values from (0) to (500);
         create table s.parts_2 partition of s.parts for values from (500) to (1000);
         insert into s.people (name, j, tags, born)
             select 'n' || i, jsonb_build_object('i', i, 'u', 'Ünïcode'), array['a', i::text], date '2000-01-01' + i
             from generate_series(1, 2000) i;
         insert into s.parts select i, md5(i::text) from generate_series(0, 999) i;
         create materialized view s.mv as select count(*) from s.people;
         comment on table s.people is 'folks'" source
    client pgbench -i -q -s 1 source 2>/dev/null
    client pg_dump -f "$scratch/dump.sql" source
    client createdb target
    client psql -Xq -v ON_ERROR_STOP=1 -f "$scratch/dump.sql" target >/dev/null
    client pg_dump -f "$scratch/again.sql" target
    diff <(grep -v '^.\(un\)\?restrict ' "$scratch/dump.sql") <(grep -v '^.\(un\)\?restrict ' "$scratch/again.sql")
    client pg_dump -Fd -j 2 -f "$scratch/dump.d" source
    client createdb parallel
    client pg_restore -j 2 -d parallel "$scratch/dump.d"
    client pg_dump -f "$scratch/again.sql" parallel
    diff <(grep -v '^.\(un\)\?restrict ' "$scratch/dump.sql") <(grep -v '^.\(un\)\?restrict ' "$scratch/again.sql")
}
check 'pg_dump and restore, plain and parallel, give the same again' dump_restore

# ---- extensions ----------------------------------------------------------------------------------

every_extension() {
    client createdb ext
    sql "select format('create extension if not exists %I cascade;', name) from pg_available_extensions order by name" \
        >"$scratch/ext.sql"
    client psql -Xq -v ON_ERROR_STOP=1 -f "$scratch/ext.sql" ext
    is 'select (select count(*) from pg_extension) = (select count(*) from pg_available_extensions)' t ext
    sql 'select count(*) from pg_available_extensions'
    sql 'drop extension postgres_fdw, dblink, hstore cascade' ext
}
check 'CREATE EXTENSION for every one that is there' every_extension

loopback() {
    sql "create extension dblink; create extension postgres_fdw;
         create server self foreign data wrapper postgres_fdw options (host '$socket', port '5432', dbname 'postgres');
         create user mapping for postgres server self options (user 'postgres');
         create table near (n int, t text); insert into near select i, 'row ' || i from generate_series(1, 1000) i;
         create foreign table far (n int, t text) server self options (table_name 'near')"
    is 'select sum(n) from far where n > 500' 375250
    sql "update far set t = 'changed' where n = 7"
    is 'select t from near where n = 7' changed
    is "select * from dblink('host=$socket port=5432 user=postgres dbname=postgres', 'select count(*) from near') as (n bigint)" 1000
}
check 'postgres_fdw and dblink to the server itself' loopback

crypto() {
    sql 'create extension pgcrypto; create extension "uuid-ossp"; create extension xml2'
    is "select encode(digest('calf', 'sha256'), 'hex')" "$(printf calf | sha256sum | cut -d ' ' -f 1)"
    is "select convert_from(pgp_sym_decrypt_bytea(pgp_sym_encrypt_bytea('calf', 'k'), 'k'), 'UTF8')" calf
    is "select length(uuid_generate_v1()::text)" 36
    is "select xpath_string('<a><b>calf</b></a>', '/a/b')" calf
    is "select (xpath('/a/b/text()', '<a><b>calf</b></a>'))[1]" calf
}
check 'OpenSSL, libuuid and libxml2 from the system' crypto

# ---- replication -----------------------------------------------------------------------------------

logical_decoding() {
    sql "create table news (id int primary key, t text)"
    sql "select pg_create_logical_replication_slot('s', 'test_decoding')"
    sql "insert into news values (1, 'calf'); update news set t = 'cow'; delete from news"
    is "select count(*) from pg_logical_slot_get_changes('s', null, null, 'skip-empty-xacts', '1') where data like 'table public.news: %'" 3
    sql "insert into news values (2, 'streamed')"
    LD_LIBRARY_PATH=$pgsql/lib "$bin/pg_recvlogical" --slot s -d postgres --start -f "$scratch/changes" -s 1 -F 1 2>"$scratch/recv" &
    until_true grep -q streamed "$scratch/changes"
    kill -TERM $!
    wait $! || :
    until_sql "select active from pg_replication_slots where slot_name = 's'" f
    sql "select pg_drop_replication_slot('s')"
}
check 'logical decoding, by SQL and as a stream' logical_decoding

subscription() {
    client createdb subscriber
    sql "create table feed (id int primary key, t text); insert into feed values (1, 'first'); create publication feed for table feed"
    sql "select pg_create_logical_replication_slot('feed', 'pgoutput')"
    sql "create table feed (id int primary key, t text)" subscriber
    sql "create subscription feed connection 'host=$socket port=5432 user=postgres dbname=postgres' publication feed
         with (create_slot = false, slot_name = 'feed')" subscriber
    sql "insert into feed values (2, 'second')"
    arrived() { is 'select string_agg(t, $$,$$ order by id) from feed' first,second subscriber; }
    until_true arrived 2>/dev/null
    sql 'drop subscription feed' subscriber
}
check 'a subscription from one database to another' subscription

standby() {
    local primary=$server at=$socket
    client pg_basebackup -D "$scratch/home/standby" -R -c fast
    [ "$(id -u)" != 0 ] || [ "$who" != user ] || give_away "$scratch/home/standby"
    [ -z "${CALF_SERVE:-}" ] || give_away "$scratch/home/standby"
    mkdir "$scratch/home/s"
    chmod 777 "$scratch/home/s"
    socket=$scratch/home/s
    log=$scratch/standby.log
    start_server "$scratch/home/standby" "${settings[@]}"
    sql "create table followed as select generate_series(1, 1000) n"
    there() { PGHOST=$socket is 'select count(*) from followed' 1000; }
    until_true there 2>/dev/null
    PGHOST=$socket is 'select pg_is_in_recovery()' t
    PGHOST=$socket sql 'select pg_promote()'
    PGHOST=$socket sql 'insert into followed values (0)'
    stop_server
    kill -0 "$primary"
    is 'select count(*) from followed' 1000
    socket=$at
}
check 'a standby of the same kind follows, and is promoted' standby

# ---- starting and stopping ------------------------------------------------------------------------------

reload() {
    sql "alter system set work_mem = '77MB'"
    is 'show work_mem' 4MB
    kill -HUP "$server"
    until_sql 'show work_mem' 77MB
    sql 'alter system reset work_mem'
    sql 'select pg_reload_conf()'
    until_sql 'show work_mem' 4MB
}
check 'SIGHUP reads the configuration again' reload

stop_server || { failed=$((failed + 1)); say "FAILED the server stopped with exit code $?"; }

# stops SIGNAL: exit code 0 and a clean shutdown while clients work
stops() {
    local load begun
    log=$scratch/stop-$1.log
    start_server "$scratch/home/stop"
    client pgbench -i -q -s 1 2>/dev/null
    client pgbench -n -c 8 -T 600 >/dev/null 2>&1 &
    load=$!
    until_sql "select count(*) >= 8 from pg_stat_activity where application_name = 'pgbench'" t
    begun=$SECONDS
    stop_server "$1"
    [ $((SECONDS - begun)) -lt $soon ]
    wait $load || :
    grep -q 'database system is shut down' "$log"
    [ ! -e "$scratch/home/stop/postmaster.pid" ]
    [ ! -e "$socket/.s.PGSQL.5432" ]
    start_server "$scratch/home/stop"
    fails grep -q 'automatic recovery' "$log"
    stop_server
}
check 'SIGTERM under load stops it cleanly' stops TERM

# Relative names are the data directory's for the server, psql's directory for psql.
tls() {
    local dir=$scratch/home/tls conn
    start_server "$dir"
    stop_server
    openssl req -new -x509 -days 2 -nodes -subj /CN=localhost -keyout "$dir/server.key" -out "$dir/server.crt" \
        -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:TRUE
    openssl dhparam -dsaparam -out "$dir/dh.pem" 2048
    openssl req -new -nodes -subj /CN=postgres -keyout "$scratch/home/me.key" -out "$scratch/home/me.csr"
    openssl x509 -req -in "$scratch/home/me.csr" -CA "$dir/server.crt" -CAkey "$dir/server.key" -days 2 \
        -out "$scratch/home/me.crt"
    cp "$dir/server.crt" "$scratch/home/ca.crt"
    chmod 600 "$dir/server.key" "$scratch/home/me.key"
    echo 'hostssl all all 127.0.0.1/32 cert' >"$dir/pg_hba.conf"
    echo 'local all all trust' >>"$dir/pg_hba.conf"
    [ "$who" != user ] || give_away "$dir"
    start_server "$dir" -c ssl=on -c ssl_ca_file=server.crt -c ssl_dh_params_file=dh.pem \
        -c ssl_min_protocol_version=TLSv1.2 -c listen_addresses=127.0.0.1 -c port="$tls_port"
    cd "$scratch/home"
    conn="host=localhost hostaddr=127.0.0.1 port=$tls_port sslmode=verify-full sslrootcert=ca.crt"
    conn+=" sslcert=me.crt sslkey=me.key"
    is 'select ssl from pg_stat_ssl where pid = pg_backend_pid()' t "$conn"
    is 'select ssl from pg_stat_ssl where pid = pg_backend_pid()' t "$conn ssl_max_protocol_version=TLSv1.2"
    fails sql 'select 1' "${conn/ca.crt/me.crt}" 2>"$scratch/message"
    grep -q 'certificate verify failed' "$scratch/message"
    sql 'create extension dblink'
    [ -n "${CALF_SERVE:-}" ] || # libpq inside: the names are the client program's
        [ "$("$calf" psql "$scratch/home/other" -XAtq -c "\\c '$conn'" -c 'select ssl from pg_stat_ssl where pid = pg_backend_pid()')" = t ]
    stop_server
}
tls_port=$((20000 + $$ % 20000))
check 'TLS with relative names, DH parameters and client certificates' tls

archive() {
    mkdir "$scratch/home/wal"
    chmod 777 "$scratch/home/wal"
    start_server "$scratch/home/stop" -c archive_mode=on -c archive_command="cp %p $scratch/home/wal/%f"
    sql "create table archived (n int); select pg_switch_wal()"
    until_sql 'select archived_count > 0 and failed_count = 0 from pg_stat_archiver' t
    [ -n "$(ls "$scratch/home/wal")" ]
    stop_server
}
check 'archive_command runs outside' archive

serve=(env --default-signal=INT "${serve[@]}")
check 'SIGINT under load stops it cleanly' stops INT

# The directory is a stock directory: stock goes on where this server ended, and back.
interchange() {
    local stock=$repo/build/pg$major-stock/pgsql/bin/postgres
    [ -x "$stock" ] || stock=$bin/postgres
    log=$scratch/interchange.log
    start_server "$scratch/home/stop"
    sql 'create table travels as select 1 as n'
    stop_server
    [ "$(id -u)" != 0 ] || give_away "$scratch/home/stop"
    "${as_user[@]}" env LD_LIBRARY_PATH="${stock%/bin/postgres}/lib" "$stock" \
        -D "$scratch/home/stop" -h '' -k "$socket" 2>"$scratch/stock.log" &
    echo $! >>"$scratch/servers"
    local other=$!
    until_sql 'select n from travels' 1
    sql 'update travels set n = 2'
    kill -INT $other
    wait $other
    [ "$who" = user ] || [ "$(id -u)" != 0 ] || chown -R 0:0 "$scratch/home/stop"
    start_server "$scratch/home/stop"
    is 'select n from travels' 2
    stop_server
}
[ -n "${CALF_SERVE:-}" ] || check 'stock goes on with the directory, and back' interchange

finish

#!/bin/bash
#
# psql.sh - Debian's psql, pg_dump and libpq, which are two versions older, and who is let in

set -u
# shellcheck source=tests/clients/lib.sh
. "$(dirname "$0")/lib.sh"
serve_clients "$scratch/data" || exit 1

# old TEXT...: Debian's psql, the bare rows
old() { timeout "$deadline" "$debian/psql" -XAtq -v ON_ERROR_STOP=1 "$uri" "$@"; }

describe() {
    old <<'SQL'
create table farms (id int generated always as identity primary key, name text not null unique);
create table cows (id serial primary key, farm int not null references farms on delete cascade,
    name text collate "C", milk numeric(6, 2) check (milk >= 0), born date default current_date);
create index on cows (farm) include (name) where milk > 0;
create view milk as select f.name, sum(milk) from farms f join cows c on c.farm = f.id group by 1;
SQL
    old -P tuples_only=off -c '\d cows' | tee "$scratch/d"
    grep -q 'FOREIGN KEY (farm) REFERENCES farms(id) ON DELETE CASCADE' "$scratch/d"
    grep -q 'btree (farm) INCLUDE (name) WHERE milk > 0::numeric' "$scratch/d"
    old -P tuples_only=off -c '\d+ milk' | grep -q 'JOIN cows c ON'
    [ "$(old -c '\dt' | grep -c '|app$')" = 2 ]
    for what in '\du+' '\df' '\dn+' '\ds' '\di+' '\dT' '\dx' '\dp' '\db' '\dconfig work_mem' '\sf lower(text)'; do
        old -c "$what" >"$scratch/d" 2>&1 || { echo "$what:"; cat "$scratch/d"; return 1; }
    done
    refused 'column d.daticulocale does not exist' "$debian/psql" "$uri" -v ON_ERROR_STOP=1 -c '\l' # upstream's limit
}
check 'psql 15 describes what is in a database of 17' describe

transactions() {
    old >"$scratch/out" 2>&1 <<'SQL'
\set ON_ERROR_STOP off
begin;
insert into farms (name) values ('North');
savepoint s;
insert into farms (name) values ('North');
rollback to s;
insert into farms (name) values ('South');
commit;
select string_agg(name, ',' order by name) from farms;
begin;
delete from farms;
select 1 / 0;
select 'not reached';
commit;
select count(*) from farms;
SQL
    cat "$scratch/out"
    grep -q 'duplicate key value violates unique constraint "farms_name_key"' "$scratch/out"
    grep -qx North,South "$scratch/out"
    grep -q 'current transaction is aborted' "$scratch/out"
    [ "$(tail -n 1 "$scratch/out")" = 2 ]
}
check 'transactions, savepoints and errors in psql 15' transactions

copy() {
    /usr/bin/python3 -c '
for i in range(1, 300001): print("%d\t%d\t%s\t%.2f\t2024-02-29" % (i, i % 2 * 2 + 1, "cow \\\\ %d \u00fc" % i + "x" * 60, i % 4000))' \
        >"$scratch/cows.copy"
    [ "$(wc -c <"$scratch/cows.copy")" -gt 30000000 ]
    old -c "\\copy cows from '$scratch/cows.copy'"
    old -c "\\copy (select * from cows order by id) to '$scratch/cows.back'"
    cmp "$scratch/cows.copy" "$scratch/cows.back"
    [ "$(old -c '\copy (select id, name, milk from cows) to stdout (format csv, header)' | wc -l)" = 300001 ]
    printf '%s\n' id,name '1,"a, b"' '2,' >"$scratch/few.csv"
    old -c 'create temp table few (id int, name text)' -c "\\copy few from '$scratch/few.csv' (format csv, header match)" \
        -c 'select count(name) from few' | grep -qx 1
    refused 'invalid input syntax for type integer: "one"' "$debian/psql" -X -v ON_ERROR_STOP=1 "$uri" -c 'create temp table one (n int)' \
        -c "\\copy one from program 'echo one'"
    grep -q 'CONTEXT:  COPY one, line 1, column n: "one"' "$scratch/message"
}
check '\copy of 30 MB in and out comes back byte for byte' copy

dump_refuses() {
    refused 'aborting because of server version mismatch' "$debian/pg_dump" "$uri"
    grep -q 'server version: 17.*pg_dump version: 15' "$scratch/message"
    [ "$(wc -l <"$scratch/message")" = 2 ]
    sound
}
check 'pg_dump 15 refuses a server of 17 by its version' dump_refuses

dump_restore() { # pg_dump of the server's version, by TCP, in parallel
    client pg_dump -Fd -j 2 -f "$scratch/dump" "$uri"
    PGPASSWORD=$password client createdb -h localhost -U app --maintenance-db="$uri" restored
    client pg_restore -j 2 -d "${uri/\/app\?//restored?}" "$scratch/dump"
    [ "$(old -c 'select count(*), sum(milk) from cows' | tee "$scratch/sum")" = \
      "$("$debian/psql" -XAtq "${uri/\/app\?//restored?}" -c 'select count(*), sum(milk) from cows')" ]
    grep -q '^300000|' "$scratch/sum"
}
check 'pg_dump and pg_restore of 17, each with two jobs' dump_restore

libpq() {
    cc -Wall -Wextra -Werror -O1 -I/usr/include/postgresql "$here/libpq.c" -o "$scratch/libpq" -lpq
    LD_LIBRARY_PATH='' timeout "$deadline" "$scratch/libpq" "$uri"
}
check 'a program with libpq: pipeline, rows one by one, COPY, cancel, notify, large objects' libpq

interrupt() { # Ctrl-C in psql is a cancel request, over a connection without TLS in 15
    env --default-signal=INT "$debian/psql" -XAtq "$uri" -c "select 'slow', pg_sleep(1000)" 2>"$scratch/message" &
    until_sql "select count(*) from pg_stat_activity where query like '%slow%' and state = 'active' and pid <> pg_backend_pid()" 1
    kill -INT $!
    fails wait $!
    grep -q 'canceling statement due to user request' "$scratch/message"
}
check "Ctrl-C in psql 15" interrupt

# ---- who is let in ------------------------------------------------------------------------

tls() {
    local row
    row=$(old -c 'select ssl, version, bits >= 128 from pg_stat_ssl where pid = pg_backend_pid()')
    [ "$row" = 't|TLSv1.3|t' ]
    [ "$(old -c "select client_addr from pg_stat_activity where pid = pg_backend_pid()")" = 127.0.0.1 ]
    # the name of the host is not in the certificate
    refused 'server certificate for "localhost" .*does not match host name "127.0.0.1"' \
        "$debian/psql" "${uri/@localhost/@127.0.0.1}" -c 'select 1'
    "$debian/psql" -XAt "${uri/@localhost/@127.0.0.1}&hostaddr=127.0.0.1&host=localhost" -c 'select 1'
    # the authority is another one
    openssl req -new -x509 -days 2 -nodes -subj '/CN=another authority' -keyout "$scratch/other.key" -out "$scratch/other.crt"
    refused 'certificate verify failed' "$debian/psql" "${uri/"$ca"/$scratch/other.crt}" -c 'select 1'
    # both ends say what they do not want
    refused 'unsupported protocol\|protocol version\|no protocols available' \
        "$debian/psql" "$uri&ssl_min_protocol_version=TLSv1&ssl_max_protocol_version=TLSv1.1" -c 'select 1'
    [ "$("$debian/psql" -XAt "${uri/verify-full/disable}" -c 'select ssl from pg_stat_ssl where pid = pg_backend_pid()')" = f ]
}
check 'TLS with verify-full; a wrong name and an unknown authority are refused' tls

scram() {
    local plain="host=localhost port=$port dbname=app user"
    [ "$(sql "select rolpassword ~ '^SCRAM-SHA-256\\\$4096:' from pg_authid where rolname = 'app'")" = t ]
    : >"$log"
    refused 'password authentication failed for user "app"' env PGPASSWORD=wrong "$debian/psql" "$plain=app" -c 'select 1'
    refused 'password authentication failed for user "nobody"' env PGPASSWORD=wrong "$debian/psql" "$plain=nobody" -c 'select 1'
    refused 'no password supplied' "$debian/psql" -w "$plain=app" -c 'select 1'
    refused 'password authentication failed for user "postgres"' env PGPASSWORD=x "$debian/psql" "$plain=postgres" -c 'select 1'
    grep -q 'DETAIL:  Connection matched file ".*pg_hba.conf" line' "$log"
    fails grep -q wrong "$log"
    env PGPASSWORD=$password "$debian/psql" "$plain=app channel_binding=require sslmode=require" -c 'select 1'
    refused 'channel binding' env PGPASSWORD=$password "$debian/psql" \
        "$plain=app channel_binding=require sslmode=disable" -c 'select 1'
    # 'ü' in another normalisation is the same password, and a blank is a letter
    sql "create role umlaut login password 'm$(printf '\u00fc')h le'"
    env PGPASSWORD="m$(printf 'u\u0308')h le" "$debian/psql" "$plain=umlaut" -c 'select 1'
    sql "alter role umlaut valid until '2001-01-01'"
    refused 'password authentication failed' env PGPASSWORD="m$(printf '\u00fc')h le" "$debian/psql" "$plain=umlaut" -c 'select 1'
}
check 'SCRAM lets the right password in, with channel binding, and no other' scram

certificate() {
    openssl req -new -nodes -subj /CN=app -keyout "$scratch/app.key" -out "$scratch/app.csr"
    openssl x509 -req -in "$scratch/app.csr" -CA "$ca" -CAkey "$scratch/tls/ca.key" -days 2 -out "$scratch/app.crt"
    openssl req -new -x509 -days 2 -nodes -subj /CN=app -keyout "$scratch/self.key" -out "$scratch/self.crt"
    sql "alter system set ssl_ca_file = '$ca'"
    cp "$scratch/data/pg_hba.conf" "$scratch/hba.saved"
    { echo 'hostssl all app 127.0.0.1/32 scram-sha-256 clientcert=verify-full'; cat "$scratch/hba.saved"; } \
        >"$scratch/data/pg_hba.conf"
    kill -HUP "$server"
    until_sql "select error is null from pg_hba_file_rules where options = '{clientcert=verify-full}'" t
    with_certificate() { "$debian/psql" -XAt "$uri&sslcert=$scratch/$1.crt&sslkey=$scratch/$1.key" \
        -c "select client_dn from pg_stat_ssl where pid = pg_backend_pid()"; }
    until_true refused 'connection requires a valid client certificate' "$debian/psql" "$uri" -c 'select 1'
    [ "$(with_certificate app)" = /CN=app ]
    fails with_certificate self
    sound
    cat "$scratch/hba.saved" >"$scratch/data/pg_hba.conf"
    sql 'alter system reset ssl_ca_file'
    kill -HUP "$server"
    until_true old -c 'select 1'
}
check 'client certificates, switched on and off by SIGHUP' certificate

stop_server
finish

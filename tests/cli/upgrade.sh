#!/bin/bash
#
# upgrade.sh - `calf upgrade`: a directory of an older PostgreSQL becomes one of this version
#
# The old one is Debian's PostgreSQL 15; with CALF_OLD=build/calf15 (or another one) another calf.
# The new one's roles, databases and rows are compared with those of the old one, its schemas with what the
# stock programs restore (pg_dumpall | psql): a newer version shows some of it otherwise.
# CALF_KILL_TIMES says how often it is killed, CALF_KILL_SEED when.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
# shellcheck source=tests/cli/compare.sh
. "$(dirname "$0")/compare.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$scratch" || exit 1
limit=$((deadline * 3))
deb=/usr/lib/postgresql/15/bin
old_calf=${CALF_OLD:-}
if [ -n "$old_calf" ]; then
    old_calf=$(cd "$repo" && realpath "$old_calf")
    old_major=$("$old_calf" --version | sed 's/.*PostgreSQL \([0-9]*\).*/\1/')
    how=(--old-calf "$old_calf")
elif [ "$major" -gt 15 ] && [ -x $deb/postgres ] && [ -e /usr/share/postgresql/15/extension/hstore.control ]; then
    old_major=15
    how=(--old-bin $deb)
else
    skip upgrade 'it wants the package postgresql-15, and a newer calf'
    finish
fi
export TMPDIR=$socket # where the old server's socket gets a directory
before=$scratch/before # the directory that every test upgrades a copy of
mkdir "$scratch/oldsocket"
give_away "$scratch/oldsocket"

# old_server DIR; old PROGRAM... then leads there; end_old
old_server() {
    if [ -n "$old_calf" ]; then
        "$old_calf" serve "$1" --socket "$scratch/oldsocket" >/dev/null 2>old.log &
    else
        "${as_user[@]}" $deb/postgres -D "$1" -k "$scratch/oldsocket" -h '' -p 5432 -F >old.log 2>&1 &
    fi
    old_pid=$!
    echo $old_pid >>"$scratch/servers"
    until_true old psql -qc '' 2>/dev/null || { cat old.log; return 1; }
}
end_old() {
    kill -INT $old_pid
    gone $old_pid
    wait $old_pid || :
    sed -i "/^$old_pid\$/d" "$scratch/servers"
}
old() { PGHOST=$scratch/oldsocket PGOPTIONS=$writes client "$@"; }
writes='-c default_transaction_read_only=off' # which a database and the configuration have on

make_old() {
    if [ -z "$old_calf" ]; then
        mkdir "$before"
        give_away "$before"
        "${as_user[@]}" $deb/initdb -D "$before" -U postgres --encoding=UTF8 --locale=C.UTF-8 --auth=trust -k -N
    fi
    old_server "$before"
    old psql -Xq -v ON_ERROR_STOP=1 -f "$here/every_role.sql"
    old createdb everything
    old psql -Xq -v ON_ERROR_STOP=1 -d everything -o /dev/null -f "$here/every_object.sql"
    old psql -Xq -v ON_ERROR_STOP=1 <<'END'
create database "odd, 'name" template template0 encoding 'LATIN1' locale 'C';
create database german template template0 locale_provider icu icu_locale 'de-AT' locale 'C';
alter database german set work_mem = '9MB';
alter database german set default_transaction_read_only = on;
alter database german connection limit 7;
comment on database german is 'Deutsch';
alter database postgres set statement_timeout = '1h';
create role "a, b's" login password 'secret';
alter role "a, b's" in database german set search_path = 'x, y';
grant create on database german to "a, b's" with grant option;
alter default privileges for role "a, b's" grant select on tables to public;
create table in_template1 ();
grant set on parameter log_min_messages to "a, b's";
\c template1
create table inherited (a int);
END
    end_old
    cat >>"$before/postgresql.conf" <<'END'
work_mem = 7MB
db_user_namespace = off # gone since 17
Vacuum_Defer_Cleanup_Age=5
include_dir 'conf.d'
ssl = on
ssl_cert_file = 'my.crt'
ssl_key_file = 'my.key'
default_transaction_read_only = on
port = 5432
END
    mkdir "$before/conf.d"
    echo "old_snapshot_threshold = -1
app.own = 'kept'" >"$before/conf.d/more.conf"
    echo "maintenance_work_mem = '65MB'" >>"$before/postgresql.auto.conf"
    echo "local all \"a, b's\" reject" >"$scratch/hba"
    cat "$before/pg_hba.conf" >>"$scratch/hba"
    cat "$scratch/hba" >"$before/pg_hba.conf"
    (cd "$before" && openssl req -new -x509 -days 9 -nodes -subj /CN=calf -out my.crt -keyout my.key 2>/dev/null && chmod 600 my.key)
    [ -n "$old_calf" ] || give_away "$before"
}

# What a directory has: databases and roles, and everything in each database, as this version sees it
roles_query="select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
    rolpassword, rolvaliduntil, shobj_description(oid, 'pg_authid') from pg_authid where rolname !~ '^pg_' order by 1"
members_query="select roleid::regrole, member::regrole, admin_option from pg_auth_members where roleid >= 16384 order by 1, 2"
databases_query="select datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider,
    coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), datistemplate, datallowconn, datconnlimit, (select array_agg(a::text order by a::text) from unnest(datacl) a),
    shobj_description(oid, 'pg_database') from pg_database d order by 1"
settings_query="select d.datname, r.rolname, setconfig from pg_db_role_setting s left join pg_database d on d.oid = setdatabase
    left join pg_roles r on r.oid = setrole order by 1, 2"
parameters_query="select parname, (select array_agg(a::text order by a::text) from unnest(paracl) a) from pg_parameter_acl order by 1"
contents_of_all() {
    local q db
    for q in "$roles_query" "$members_query" "$databases_query" "$settings_query" "$parameters_query"; do sql "$q"; done
    sql "select quote_literal(datname) from pg_database where datname <> 'template0' order by 1" >databases
    while read -r db; do
        echo "== $db"
        client psql -XAtq -v ON_ERROR_STOP=1 -d "dbname=${db//\'\'/\\\'}" <<<"$rows_query \gexec"
        sql 'select extname from pg_extension order by 1' -d "dbname=${db//\'\'/\\\'}"
    done <databases
}
schemas_of_all() {
    local db
    while read -r db; do
        echo "== $db"
        client pg_dump --schema-only -d "dbname=${db//\'\'/\\\'}" | grep -vE '^(\\(un)?restrict |-- Dumped )'
    done <databases
}

make_want() {
    make_old
    old_server "$before"
    PGHOST=$scratch/oldsocket contents_of_all >"$scratch/want"
    start_server reference
    PGHOST=$scratch/oldsocket client pg_dumpall >reference.sql
    PGOPTIONS=$writes client psql -Xq -o /dev/null -f reference.sql
    schemas_of_all >"$scratch/want.schemas"
    stop_server
    end_old
    wc -l "$scratch/want" "$scratch/want.schemas"
    [ "$(wc -l <"$scratch/want")" -gt 60 ]
    [ "$(wc -l <"$scratch/want.schemas")" -gt 1000 ]
}
check "a directory of PostgreSQL $old_major with everything" make_want

fresh() { rm -rf data data.*; cp -a "$before" data; }
# is_new: data is this version's and has everything; the old one is whole, too
is_new() {
    [ "$(cat data/PG_VERSION)" = "$major" ]
    [ "$(stat -c '%u %g %a' data)" = "$(stat -c '%u %g %a' "$before")" ]
    [ ! -e data.upgrade ]
    mine data
    start_server data
    contents_of_all | diff "$scratch/want" -
    schemas_of_all | diff "$scratch/want.schemas" -
    stop_server
}
# calf opens what belongs to who runs it
mine() { [ "$(id -u)" != 0 ] || chown -R 0:0 "$1"; }
old_is_whole() { # DIR
    old_server "$1"
    PGHOST=$scratch/oldsocket contents_of_all | diff "$scratch/want" -
    end_old
    [ "$(cat "$1/PG_VERSION")" = "$old_major" ]
}

upgraded() {
    fresh
    PGUSER=nobody PGHOST=/nowhere PGDATABASE=none PGOPTIONS='-c work_mem=1' PGPORT=1 calf upgrade data "${how[@]}" >said 2>&1 || { cat said; return 1; }
    cat said
    grep -q "data is PostgreSQL $major now .*; the old one is .*/data.pg$old_major, " said
    is_new
    old_is_whole data.pg"$old_major"
}
check 'it becomes one of this version, and the old one is kept' upgraded

configuration() {
    start_server data
    is 'show work_mem' 7MB
    is 'show maintenance_work_mem' 65MB
    is 'show app.own' kept
    is 'show ssl' on
    is 'show data_checksums' on
    is 'show default_transaction_read_only' on
    is "select setting from pg_db_role_setting, unnest(setconfig) setting where setdatabase = (select oid from pg_database where datname = 'german') and setrole = 0 and setting ~ 'mem'" work_mem=9MB
    is "select count(*) > 0 from pg_stats where schemaname <> 'pg_catalog'" t -d everything
    stop_server
    [ "$(stat -c %a data/my.key)" = 600 ]
    head -n 1 data/pg_hba.conf | grep -q reject
    grep -q '^#db_user_namespace = off # gone' data/postgresql.conf || [ "$old_major" = 17 ]
    calf upgrade data | grep -q "is PostgreSQL $major$"
}
check 'its configuration is carried over' configuration

commented() {
    [ "$old_major" = 15 ] || return 0
    grep -q '^calf: postgresql.conf: db_user_namespace is commented out (unrecognized' said
    grep -qi '^calf: postgresql.conf: vacuum_defer_cleanup_age is commented out' said
    grep -q '^calf: more.conf: old_snapshot_threshold is commented out' said
}
check 'settings that are unknown are said' commented

dry() {
    fresh
    facts data | grep -v pg_wal >facts.before
    calf upgrade data --check "${how[@]}" | grep -q 'can be upgraded from PostgreSQL'
    [ "$(cat data/PG_VERSION)" = "$old_major" ] && [ ! -e data.upgrade ] && [ ! -e "data.pg$old_major" ]
    old_is_whole data
}
check '--check changes nothing' dry

# refused_in WORDS COMMAND...: and the old one is as it was
refused_in() {
    local words=$1
    shift
    refused "$@"
    grep -q -- "$words" said
    [ "$(cat data/PG_VERSION)" = "$old_major" ] && [ ! -e data.upgrade ] && [ ! -e "data.pg$old_major" ]
}
refusals() {
    fresh
    refused calf upgrade
    refused calf upgrade "$scratch/absent"
    mkdir empty
    refused calf upgrade empty
    refused_in 'is no postgres of' calf upgrade data --old-bin /usr/bin
    refused_in 'is no calf of' calf upgrade data --old-calf "$calf"
    refused_in "apt-get install postgresql-12" with_version 12
    refused_in 'newer versions only' with_version 99
    refused calf psql data
    grep -q "calf upgrade data" said
    calf doctor data >doctor || :
    grep -q '^problem directory: .*calf upgrade data' doctor
    old_server data
    refused_in "process $old_pid" calf upgrade data "${how[@]}"
    end_old
    mkdir "data.upgrade"
    : >data.upgrade/mine
    refused calf upgrade data "${how[@]}"
    grep -q 'in the way' said
    rm -r data.upgrade
    mkdir there
    refused_in 'there; name another' calf upgrade data --keep-old there "${how[@]}"
    : >data/standby.signal
    refused_in standby calf upgrade data "${how[@]}"
    rm data/standby.signal
    ln -s /tmp data/pg_tblspc/12345
    refused_in tablespaces calf upgrade data "${how[@]}"
    rm data/pg_tblspc/12345
    echo 'wrong wrong' >>data/postgresql.conf
    refused_in 'wrong' calf upgrade data "${how[@]}"
    sed -i '/^wrong/d' data/postgresql.conf
    old_server data
    old psql -Xqc 'create database closed allow_connections false'
    end_old
    refused_in 'closed' calf upgrade data "${how[@]}"
    old_server data
    old psql -Xqc 'drop database closed'
    end_old
}
with_version() {
    echo "$1" >data/PG_VERSION
    local rc=0
    PATH=/nowhere "$calf" upgrade data || rc=$?
    echo "$old_major" >data/PG_VERSION
    return $rc
}
check 'refusals change nothing' refusals

# Another superuser, a directory that was not closed and (as Debian has it) without postgresql.conf, which
# belongs to root where these tests run as root; and an extension that is missing.
strange() {
    [ -z "$old_calf" ] || return 0
    rm -rf data data.*
    mkdir data
    give_away data
    "${as_user[@]}" $deb/initdb -D data -U 'own er' --locale=C.UTF-8 --auth=trust -N
    PGUSER='own er' old_server data
    PGUSER='own er' old psql -Xq -c 'create role postgres superuser login' -c 'create extension adminpack' \
        -c 'create table t as select generate_series(1, 1000) g'
    kill -KILL $old_pid
    until_true no_postgres
    mine data
    mv data/postgresql.conf conf
    refused_in 'does not have the extension adminpack (in the database postgres)' calf upgrade data "${how[@]}"
    mv conf data/postgresql.conf
    give_away data
    old_server data
    old psql -Xqc 'drop extension adminpack'
    end_old
    rm data/postgresql.conf
    mine data
    calf upgrade data "${how[@]}"
    start_server data
    is 'select count(*) from t' 1000
    is 'select rolname from pg_authid where oid = 10' 'own er'
    stop_server
}
no_postgres() { ! old pg_isready -q && [ -z "$(ps -o pid= --ppid "$old_pid")" ]; }
check 'another superuser, a crash, no postgresql.conf, an owner root, an extension that is missing' strange

interrupted() {
    local signal
    fresh
    for signal in INT TERM; do
        env --default-signal=INT "$calf" upgrade data "${how[@]}" >said 2>&1 &
        until_true test -e data.upgrade/data/base
        kill -$signal $!
        if [ $signal = INT ]; then ends $! 130; else ends $! 143; fi
        cat said
        [ ! -e data.upgrade ] && [ ! -e "data.pg$old_major" ]
        [ -z "$(find "$TMPDIR" -name 'calf-upgrade.*')" ]
    done
    old_is_whole data
}
check 'Ctrl-C leaves nothing but the old one' interrupted

# Killed at any moment, data is a whole cluster of one of both versions, and the next upgrade is as the first.
killed() {
    local seed=${CALF_KILL_SEED:-$RANDOM} times=${CALF_KILL_TIMES:-2} i took ms pid
    echo "seed $seed"
    RANDOM=$seed
    fresh
    took=$(date +%s%N)
    calf upgrade data "${how[@]}"
    took=$((($(date +%s%N) - took) / 1000000))
    for ((i = 0; i < times; i++)); do
        fresh
        setsid "$calf" upgrade data "${how[@]}" >said 2>&1 &
        pid=$!
        ms=$(((RANDOM * 32768 + RANDOM) % (took + 200)))
        sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
        kill -KILL $pid 2>/dev/null || :
        wait $pid || :
        until_true no_servers # the old one ends in order
        [ -e data/global/pg_control ]
        if [ "$(cat data/PG_VERSION)" = "$old_major" ]; then
            echo "killed after $ms ms of $took: the old one"
            old_is_whole data
        else
            echo "killed after $ms ms of $took: the new one"
        fi
        calf upgrade data "${how[@]}"
        is_new
        old_is_whole "data.pg$old_major"
    done
}
no_servers() { ! pgrep -f "data_directory=$scratch" >/dev/null; }
check 'kill -9 at any moment loses nothing' killed
finish

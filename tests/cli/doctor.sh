#!/bin/bash
#
# doctor.sh - `calf doctor` finds what is wrong, says it in a line, and changes nothing

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
unset CALF_DATA CALF_EXTENSION_PATH
log=$scratch/cluster.log
start_server "$scratch/cluster" && stop_server TERM || exit 1
gcc -D_GNU_SOURCE -shared -fPIC -O1 "$(dirname "$0")/shim.c" -o "$scratch/shim.so" -ldl || exit 1
before=(env) # what stands before calf: another system, another user

# doctor CODE DIR [options...]: its lines are in $scratch/out, and DIR is as before
doctor() {
    local want=$1 dir=$2 rc=0 old new
    shift 2
    old=$($look "$dir")
    timeout "$deadline" "${before[@]}" "$calf" doctor "$dir" "$@" >"$scratch/out" 2>"$scratch/err" || rc=$?
    new=$($look "$dir")
    cat "$scratch/out" "$scratch/err"
    [ $rc = "$want" ] || { echo "exit code $rc, not $want"; return 1; }
    [ ! -s "$scratch/err" ] || { echo "it printed on standard error"; return 1; }
    [ "$old" = "$new" ] || { diff <(echo "$old") <(echo "$new"); echo "it changed the directory"; return 1; }
}
# A write would change a file's times; facts() also reads a gigabyte over all these checks.
stats() { find "$1" -printf '%y %m %U %s %T@ %C@ %p\n' 2>/dev/null | sort; }
look=stats

# says LEVEL CHECK WORDS: one line has them
says() { grep -qE "^$1 +$2: .*$3" "$scratch/out" || { echo "nothing says: $1 $2: $3"; return 1; }; }

# finds LEVEL CHECK WORDS DIR [options...]
finds() {
    local level=$1 check=$2 words=$3 code=0
    shift 3
    [ "$level" != problem ] || code=1
    doctor $code "$@"
    says "$level" "$check" "$words"
}

copy() { cp -a "$scratch/cluster" "$scratch/$1"; }

# ---- healthy ----------------------------------------------------------------------------

healthy() {
    copy healthy
    doctor 0 "$scratch/healthy"
    tail -n 1 "$scratch/out" | grep -q '^0 problems'
    for name in kernel signal descriptors programs directory state permissions 'disk space' socket \
        configuration 'control file' 'transaction ids' checksums start session; do
        says ok "$name" .
    done
    says ok checksums 'all pages are right'
    doctor 0 "$scratch/healthy" --quick
    fails says ok checksums .
}
check 'a closed directory in which all is well' healthy

json() {
    doctor 0 "$scratch/healthy" --json
    python3 - "$scratch/out" "$scratch/healthy" <<'END'
import json, sys
answer = json.load(open(sys.argv[1]))
assert answer["directory"] == sys.argv[2] and answer["problems"] == 0, answer
assert {c["level"] for c in answer["checks"]} <= {"ok", "warning"}
assert any(c["check"] == "control file" for c in answer["checks"])
END
}
check '--json is JSON' json

absent() {
    finds ok directory 'no database.*opening it makes one' "$scratch/absent"
    [ ! -e "$scratch/absent" ]
    finds ok 'disk space' "are left for $scratch" "$scratch/absent"
    finds problem directory "cannot be made in $scratch/no: No such file" "$scratch/no/absent"
    mkdir "$scratch/empty"
    finds ok directory 'no database' "$scratch/empty"
}
check 'a directory that is absent or empty' absent

usage() {
    local rc=0
    "$calf" doctor --dance 2>"$scratch/err" || rc=$?
    [ $rc = 2 ] && grep -q -- --dance "$scratch/err" && [ "$(wc -l <"$scratch/err")" = 1 ]
    rc=0
    "$calf" doctor a b 2>/dev/null || rc=$?
    [ $rc = 2 ]
}
check 'usage errors exit 2' usage

# ---- what it is -----------------------------------------------------------------------------

kinds() {
    mkdir "$scratch/files" && echo hello >"$scratch/files/letter"
    finds problem directory 'not a PostgreSQL data directory' "$scratch/files"
    finds problem directory "$scratch/files/letter" "$scratch/files/letter"
    copy old && echo 9.6 >"$scratch/old/PG_VERSION"
    finds problem directory "PostgreSQL 9.6.*PostgreSQL $major" "$scratch/old"
}
check 'other files, a file, another version' kinds

unfinished() {
    copy creating && : >"$scratch/creating/calf.creating"
    finds ok directory 'creation of .* did not end; ' "$scratch/creating"
    copy copying && : >"$scratch/copying/calf.copying"
    finds problem directory 'copy that did not end; ' "$scratch/copying"
}
check 'a creation and a copy that did not end' unfinished

crashed() {
    start_server "$scratch/crashed"
    sql 'create table t as select generate_series(1, 1000)'
    kill -KILL "$server" && { wait "$server" 2>/dev/null || :; } # with all of its threads
    forget_server
    touch "$scratch/crashed/calf.listen" "$scratch/crashed/.s.PGSQL.5432.lock"
    echo 1 >"$scratch/crashed/.s.PGSQL.5432.lock"
    finds warning state 'not closed in order; it recovers' "$scratch/crashed"
    says ok leftovers 'postmaster.pid, pg_stat_tmp/calf.listen, .s.PGSQL.5432.lock of a process that has ended; calf takes care'
    says ok checksums 'not checked'
    "$calf" status "$scratch/crashed" | grep -q 'it was not closed in order'
    look=true
    doctor 0 "$scratch/crashed" --open
    says ok session 'it answers'
    says ok extensions .
    "$calf" status "$scratch/crashed" | grep -q ': closed'
    [ "$("$calf" psql "$scratch/crashed" -XAtc 'select count(*) from t')" = 1000 ]
}
check 'a crashed directory stays crashed; with --open it recovers' crashed

# ---- who has it open ----------------------------------------------------------------------------

held() {
    copy held
    start_server "$scratch/held"
    look=true
    finds ok state "process $server" "$scratch/held"
    says ok session 'it answers'
    says ok archiving .
    kill -STOP "$server"
    PGCONNECT_TIMEOUT=2 finds problem session 'does not let us in.*timeout' "$scratch/held"
    kill -CONT "$server"
    stop_server
}
check 'open by a server that answers, then does not' held

inside() {
    copy inside
    hold_inside "$scratch/inside"
    look=true
    finds warning state "process $pid, which lets nobody in" "$scratch/inside"
    let_go "$pid"
}
check 'open inside of a program that lets nobody in' inside

# ---- owner and permissions --------------------------------------------------------------------------

modes() {
    copy modes && chmod 755 "$scratch/modes"
    finds problem permissions 'has mode 0755, .* chmod 700' "$scratch/modes"
    chmod 750 "$scratch/modes"
    finds ok permissions 'mode 0750' "$scratch/modes"
}
check 'a mode that PostgreSQL refuses' modes

unreadable() {
    copy unreadable && chmod 000 "$scratch/unreadable/base/1/1259"
    give_away "$scratch/unreadable"
    before=("${as_user[@]}")
    finds problem permissions 'base/1/1259 cannot be read; ' "$scratch/unreadable"
    chmod 600 "$scratch/unreadable/base/1/1259"
    chmod 000 "$scratch/unreadable/pg_hba.conf"
    finds problem permissions 'pg_hba.conf cannot be read; ' "$scratch/unreadable"
}
check 'a file that cannot be read' unreadable

closed_to_us() {
    copy closed && give_away "$scratch/closed" && chmod 000 "$scratch/closed"
    before=("${as_user[@]}")
    finds problem directory 'ermission denied' "$scratch/closed"
    says problem permissions 'has mode 0000.*chmod 700'
}
check 'a directory that lets nobody in' closed_to_us

owners() {
    copy owners && chown 65534 "$scratch/owners/base/1/1259"
    finds problem owner 'base/1/1259 belongs to another user.*chown -R' "$scratch/owners"
    chown -R 65534 "$scratch/owners"
    finds problem owner 'belongs to user 65534, and you are user 0' "$scratch/owners"
}
[ "$(id -u)" != 0 ] || check 'a file, and a directory, of another user' owners

# ---- configuration ----------------------------------------------------------------------------------------

configuration() {
    copy conf
    echo 'work_mem = = 3' >>"$scratch/conf/postgresql.conf"
    finds problem configuration 'syntax error.*postgresql.conf' "$scratch/conf"
    cp "$scratch/cluster/postgresql.conf" "$scratch/conf"
    echo "work_mem = 'much'" >>"$scratch/conf/postgresql.conf"
    finds problem configuration 'work_mem' "$scratch/conf"
    cp "$scratch/cluster/postgresql.conf" "$scratch/conf"
    echo "shared_preload_libraries = 'nolib'" >>"$scratch/conf/postgresql.conf"
    finds problem access 'nolib' "$scratch/conf"
    cp "$scratch/cluster/postgresql.conf" "$scratch/conf"
    echo 'local all all magic' >>"$scratch/conf/pg_hba.conf"
    finds problem access 'invalid authentication method "magic".*pg_hba.conf' "$scratch/conf"
    rm "$scratch/conf/pg_hba.conf"
    finds problem configuration 'pg_hba.conf is missing' "$scratch/conf"
    cp "$scratch/cluster/pg_hba.conf" "$scratch/conf"
    echo 'map' >>"$scratch/conf/pg_ident.conf"
    finds problem access 'pg_ident.conf' "$scratch/conf"
}
check 'postgresql.conf, pg_hba.conf, pg_ident.conf, a library that is not there' configuration

configuration_open() {
    copy conf2
    start_server "$scratch/conf2"
    echo 'no_such_thing = 3' >>"$scratch/conf2/postgresql.conf"
    look=true
    finds problem configuration 'no_such_thing' "$scratch/conf2"
    sed -i '$d' "$scratch/conf2/postgresql.conf"
    echo 'max_connections = 33' >>"$scratch/conf2/postgresql.conf"
    finds warning configuration 'max_connections waits for a restart' "$scratch/conf2"
    stop_server
}
check 'a mistake in postgresql.conf while it is open' configuration_open

# ---- the control file, checksums, transaction ids -----------------------------------------------------------

control() {
    copy control
    head -c 100 "$scratch/cluster/global/pg_control" >"$scratch/control/global/pg_control"
    finds problem 'control file' 'pg_control cannot be read' "$scratch/control"
    cp "$scratch/cluster/global/pg_control" "$scratch/control/global/pg_control"
    printf x | dd of="$scratch/control/global/pg_control" bs=1 seek=100 conv=notrunc status=none
    finds problem 'control file' 'checksum is wrong.*restore' "$scratch/control"
    rm "$scratch/control/global/pg_control"
    finds problem 'control file' 'pg_control cannot be read' "$scratch/control"
}
check 'a control file that is short, damaged, gone' control

pages() {
    copy pages
    printf x | dd of="$scratch/pages/base/1/1259" bs=1 seek=9000 conv=notrunc status=none
    finds problem checksums '1 page is damaged.*1259' "$scratch/pages"
    doctor 0 "$scratch/pages" --quick
    copy part
    head -c 4096 /dev/zero >>"$scratch/part/base/1/1259"
    finds warning checksums 'ends in a part of a page.*1259.*read 4096 of 8192' "$scratch/part"
    copy nosums
    "$calf" run pg_checksums "$scratch/nosums" -- --disable
    finds warning checksums 'carry no checksums.*--enable' "$scratch/nosums"
}
check 'a damaged page; no checksums' pages

pages_open() {
    local file
    copy pages2
    start_server "$scratch/pages2"
    sql 'create table t as select generate_series(1, 1000)'
    file=$(sql "select pg_relation_filepath('t')")
    stop_server
    printf x | dd of="$scratch/pages2/$file" bs=1 seek=9000 conv=notrunc status=none
    start_server "$scratch/pages2"
    fails sql 'select * from t'
    until_sql 'select sum(checksum_failures) from pg_stat_database' 1
    look=true
    finds problem checksums '1 pages of database postgres' "$scratch/pages2"
    stop_server
}
check 'a damaged page that an open database met' pages_open

age() {
    copy age
    "$calf" run pg_resetwal "$scratch/age" -- -x 1200000000
    finds warning 'transaction ids' 'the oldest is 11999.*vacuumdb' "$scratch/age"
    "$calf" run pg_resetwal "$scratch/age" -- -x 1900000000
    finds problem 'transaction ids' 'the oldest is 18999.*vacuumdb' "$scratch/age"
}
check 'transaction ids that run out' age

age_open() {
    copy age2
    start_server "$scratch/age2" -c autovacuum=off
    sql "update pg_database set datfrozenxid = '2594968034' where datname = 'postgres'"
    look=true
    finds problem 'transaction ids' 'of database postgres is 1[67].*vacuum' "$scratch/age2"
    stop_server
}
check 'transaction ids that run out while it is open' age_open

# ---- the socket's place, the file system ------------------------------------------------------------------------

places() {
    copy places
    echo hello >"$scratch/places/.s.PGSQL.5432"
    finds problem socket 'places/.s.PGSQL.5432 is in the place of the socket; move it away' "$scratch/places"
    rm "$scratch/places/.s.PGSQL.5432"
    echo hello >"$scratch/places/.s.PGSQL.5432.lock"
    finds problem socket '.lock is in the place' "$scratch/places"
    long=$scratch/$(printf 'x%.0s' {1..100})
    cp -a "$scratch/cluster" "$long"
    finds warning socket '107 are possible.*--socket' "$long"
}
check 'a file in the place of the socket or its lock; a long path' places

systems() {
    copy fs
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_TYPE=0x6969)
    finds warning 'file system' 'NFS' "$scratch/fs"
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_TYPE=0x01021994)
    finds warning 'file system' 'tmpfs, in memory' "$scratch/fs"
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_TYPE=0x794c7630)
    finds warning 'file system' "container's own layer" "$scratch/fs"
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_TYPE=0xEF53)
    finds ok 'file system' 'local disk' "$scratch/fs"
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_FREE=10000000)
    finds problem 'disk space' 'only 9.5 MB are left' "$scratch/fs"
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_FREE=500000000)
    finds warning 'disk space' 'only 477 MB' "$scratch/fs"
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_FILES=5)
    finds problem 'disk space' 'only 5 more files' "$scratch/fs"
}
check 'a network file system, memory, a full disk' systems

links() {
    copy links
    mv "$scratch/links/pg_wal" "$scratch/wal" && ln -s "$scratch/wal" "$scratch/links/pg_wal"
    finds ok 'disk space' 'left for .*/pg_wal' "$scratch/links"
    ln -s "$scratch/nowhere" "$scratch/links/pg_tblspc/12345"
    finds problem tablespace '12345 leads nowhere' "$scratch/links"
}
check 'a WAL elsewhere, a tablespace that is gone' links

# ---- the system -------------------------------------------------------------------------------------------

kernel() {
    local call
    for call in memfd_create epoll_create1 eventfd; do
        before=(env LD_PRELOAD="$scratch/shim.so" SHIM_FAIL="$call")
        finds problem kernel "$call\(\) does not work here" "$scratch/healthy"
    done
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_FAIL=proc)
    finds problem kernel '/proc is not mounted' "$scratch/healthy"
}
check 'calls that a sandbox refuses, no /proc' kernel

limits() {
    before=(bash -c 'ulimit -n 100; exec "$@"' -)
    finds problem descriptors 'only 100 open files' "$scratch/healthy"
    before=(bash -c 'ulimit -n 500; exec "$@"' -)
    finds warning descriptors '500 open files' "$scratch/healthy"
    before=(bash -c 'ulimit -v 1000000000; exec "$@"' -)
    finds warning 'address space' 'limited to 954 GB' "$scratch/healthy"
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_OVERCOMMIT=2)
    finds warning 'address space' 'overcommit_memory is 2' "$scratch/healthy"
    before=(env LD_PRELOAD="$scratch/shim.so" SHIM_SHM=819200)
    finds warning /dev/shm 'only 800 kB are free' "$scratch/healthy"
}
check 'too few descriptors, address space, /dev/shm' limits

signals() {
    before=(bash -c 'for n in {35..64}; do trap "" $n; done; exec "$@"' -)
    finds problem signal 'no real-time signal is free' "$scratch/healthy"
}
check 'no free signal' signals

programs() {
    mkdir "$scratch/noprograms"
    before=(env CALF_PG="$scratch/noprograms")
    finds problem programs 'do not run.*noprograms' "$scratch/healthy"
}
check "PostgreSQL's programs are missing" programs

# ---- what only PostgreSQL knows -------------------------------------------------------------------------------

extensions() {
    mkdir "$scratch/own"
    echo "default_version = '1.0'" >"$scratch/own/mine.control"
    echo 'select 1;' >"$scratch/own/mine--1.0.sql"
    start_server "$scratch/ext" --extension-path "$scratch/own"
    sql "create database other"
    sql "create extension hstore version '1.4'" -d other
    sql 'create extension mine'
    look=true
    finds warning extensions 'in database other: the extension hstore has version 1.4, and 1.8 .* alter extension hstore update' "$scratch/ext"
    stop_server
    doctor 0 "$scratch/ext"
    says ok session 'not opened.*--open'
    finds problem extensions 'in database postgres: the files of the extension mine are not there.*--extension-path' "$scratch/ext" --open
    doctor 0 "$scratch/ext" --open --extension-path "$scratch/own"
}
check 'an extension with an old version, one without its files' extensions

collations() {
    start_server "$scratch/coll"
    sql "update pg_collation set collversion = '1.2.3' where collname = 'de-x-icu'"
    look=true
    finds warning collations 'sorting by de-x-icu was version 1.2.3 .* refresh version' "$scratch/coll"
    stop_server
}
check 'a collation of another version' collations

slots() {
    start_server "$scratch/slots"
    sql "select pg_create_physical_replication_slot('standby', true)"
    look=true
    finds warning 'replication slots' "nobody uses the slot standby.*pg_drop_replication_slot\('standby'\)" "$scratch/slots"
    stop_server
}
check 'a slot that holds back WAL' slots

archiving() {
    start_server "$scratch/arch" -c archive_mode=on -c archive_command='exit 3'
    sql 'select pg_switch_wal()'
    until_sql 'select failed_count > 0 from pg_stat_archiver' t
    look=true
    finds problem archiving 'archive_command failed .* times.*exit 3' "$scratch/arch"
    stop_server
}
check 'an archive_command that fails' archiving

finish

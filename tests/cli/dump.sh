#!/bin/bash
#
# dump.sh - `calf dump` and `calf restore`: what was dumped in any format is what comes back
#
# The database is every_object.sql.  What is in one is compared by compare.sh, without calf.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
# shellcheck source=tests/cli/compare.sh
. "$(dirname "$0")/compare.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$scratch" || exit 1
data=$scratch/data
dumps=$scratch/dumps
mkdir "$dumps"

start_server "$data" -c fsync=off || exit 1
client psql -Xq -v ON_ERROR_STOP=1 -f "$here/every_role.sql" &&
    client createdb everything &&
    client psql -Xq -v ON_ERROR_STOP=1 -d everything -o /dev/null -f "$here/every_object.sql" &&
    whole everything >"$scratch/want" || exit 1

drop() {
    sql 'alter subscription follows disable' -d "$1" && sql 'alter subscription follows set (slot_name = none)' -d "$1" &&
        sql 'drop subscription follows' -d "$1"
    client dropdb "$1"
}

# same DATABASE: it is what `everything` is
same() {
    whole "$1" >"$scratch/got"
    drop "$1"
    diff "$scratch/want" "$scratch/got"
}

# ---- every format there and back --------------------------------------------------------------------

# PostgreSQL 15's pg_dump compresses by gzip only, and knows levels: none is 0
methods=(none gzip zstd lz4)
none=none
[ "$major" -ge 16 ] || methods=(none gzip) none=0

# dump_to FILE [dump's options...]: what it cannot compress is compressed afterwards
dump_to() {
    local file=$1
    shift
    case $major:$file in
    15:*.sql.zst) refused calf dump "$data" -o "$file" "$@" && calf dump "$data" -F plain "$@" | zstd -q >"$file" ;;
    15:*.sql.lz4) refused calf dump "$data" -o "$file" "$@" && calf dump "$data" -F plain "$@" | lz4 -q >"$file" ;;
    *) calf dump "$data" -o "$file" "$@" ;;
    esac
}

there_and_back() { # FILE [dump's options...]
    local file=$dumps/$1
    shift
    dump_to "$file" -d everything "$@"
    [ ! -e "$file.part" ]
    calf restore "$data" "$file" -d again 2>/dev/null
    same again
}
check 'custom' there_and_back e.dump
check 'plain' there_and_back e.sql
check 'plain, gzip' there_and_back e.sql.gz
check 'plain, zstd' there_and_back e.sql.zst
check 'plain, lz4' there_and_back e.sql.lz4
check 'tar' there_and_back e.tar
check 'directory' there_and_back e.dir --format directory
for z in "${methods[@]:2}"; do check "directory, $z" there_and_back "e.$z.dir" -F d -- --compress "$z"; done
check 'directory, not compressed' there_and_back e.none.dir -F d -- --compress $none
check 'plain, with INSERT' there_and_back e.insert.sql -- --rows-per-insert 7
check 'directory, with INSERT' there_and_back e.insert.dir -F d -- --inserts --compress $none

# What newer servers keep with every column, an older pg_dump writes, and older servers refuse; a newer pg_dump leaves it
# out. Here the catalog is made to say so; rows and functions that only look like it are kept.
column_versions() {
    local file looks='ALTER TABLE ONLY t ALTER COLUMN b SET (pg_attver=5);'
    client createdb versions
    cat >versions.sql <<END
create table t (a int primary key, b text);
create table "two
lines" ("x'y" int, "SET (pg_attver=1)" int);
create materialized view m as select a from t;
alter table t alter a set (n_distinct = 5);
create function f() returns text language sql as \$\$
select '$looks'
\$\$;
END
    client psql -Xq -v ON_ERROR_STOP=1 -d versions -f versions.sql
    sql "insert into t values (1, E'first\n$looks\nlast'), (2, '$looks')" -d versions
    client pg_dump -d versions | grep -v restrict >plain.want
    calf dump "$data" -d versions -F plain >plain.sql
    sql "set allow_system_table_mods = on; update pg_attribute set attoptions = array['pg_attver=7'] || coalesce(attoptions, '{}')
        where attnum > 0 and attrelid in ('t'::regclass, 'm'::regclass, E'\"two\\nlines\"'::regclass)" -d versions
    for file in v.dump v.tar v.sql v.sql.gz; do calf dump "$data" -d versions -o $file; done
    calf dump "$data" -d versions -F directory -o v.dir
    # as an older pg_dump does, whichever is here
    sed -E 's/^(ALTER TABLE ONLY public.t ALTER COLUMN a SET \()(n_dist.*)/\1pg_attver=7, \2\n\1n_distinct=5, pg_attver=8);\n\1pg_attver=9);/' \
        plain.sql >v.older.sql
    fails grep -q 'pg_attver=[789]' plain.sql
    [ "$(grep -c 'pg_attver=[789]' v.older.sql)" = 3 ]
    for file in v.dump v.tar v.sql v.sql.gz v.dir 'v.dump --jobs 2' v.older.sql; do
        # shellcheck disable=SC2086
        calf restore "$data" ${file} -d again 2>said || { echo "$file"; cat said; return 1; }
        [ "$file" != v.older.sql ] || grep -q 'v.older.sql was dumped from a newer PostgreSQL .* pg_attver, .* was left out' said
        client pg_dump -d again | grep -v restrict | sed 's/pg_attver=[0-9]*, //' | diff plain.want -
        client dropdb again
    done
    # into one that is there: all of it or nothing
    client createdb again
    sql 'create table t (a int)' -d again
    fails calf restore "$data" v.dump -d again 2>said
    grep -q 'the database again is as it was' said
    is 'select count(*) from pg_class where relnamespace = 2200' 1 -d again
    client dropdb again
    client dropdb versions
}
check 'column versions of newer servers are left out' column_versions

is_what_it_says() {
    [ "$(head -c 5 "$dumps/e.dump")" = PGDMP ]
    gunzip -t "$dumps/e.sql.gz"
    zstd -tq "$dumps/e.sql.zst"
    tar -tf "$dumps/e.tar" | grep -qx toc.dat
    client pg_dump -d everything | grep -v restrict | diff - <(grep -v restrict "$dumps/e.sql")
}
check 'the files are what their names say, and SQL is what pg_dump writes' is_what_it_says

parallel() {
    local file
    for file in e.dump e.dir ${methods[2]:+e.${methods[2]}.dir}; do
        calf restore "$data" "$dumps/$file" -d again --jobs 3
        same again
    done
}
check 'several programs restore at the same time' parallel

packed() {
    gzip -c "$dumps/e.dump" >"$dumps/e.dump.gz"
    zstd -qc "$dumps/e.tar" >"$dumps/e.tar.zst"
    # in two pieces, as by cat
    { head -c 100000 "$dumps/e.sql" | gzip; tail -c +100001 "$dumps/e.sql" | gzip; } >"$dumps/two.gz"
    for file in e.dump.gz e.tar.zst two.gz; do
        calf restore "$data" "$dumps/$file" -d again 2>/dev/null
        same again
    done
    calf restore "$data" "$dumps/e.dump.gz" -d again -j 2
    same again
}
check 'archives that were compressed as a whole' packed

pipes() {
    calf dump "$data" -d everything | calf restore "$data" - -d again
    same again
    calf dump "$data" -d everything -F plain | zstd -q | calf restore "$data" -d again 2>/dev/null
    same again
    calf dump "$data" -d everything -F tar | cat | calf restore "$data" -d again
    same again
    calf restore "$data" -d again <"$dumps/e.dump"
    same again
}
check 'through pipes' pipes

stock() {
    client createdb again --template template0
    client pg_restore -d again "$dumps/e.dump"
    same again
    client createdb again --template template0
    client pg_restore -d again -j 2 "$dumps/e.dir"
    same again
    client pg_dump -d everything -Fd -j 2 -f "$dumps/stock.dir"
    client pg_dump -d everything -Fc -f "$dumps/stock.dump"
    client pg_dump -d everything >"$dumps/stock.sql"
    for file in stock.dir stock.dump stock.sql; do
        calf restore "$data" "$dumps/$file" -d again 2>/dev/null
        same again
    done
}
check "the stock programs read calf's dumps, and calf reads theirs" stock

select_some() {
    calf dump "$data" -d everything -F plain -- --table app.base --data-only | grep -c '^COPY' | grep -qx 1
    calf restore "$data" "$dumps/e.dump" -d again -- --section pre-data --no-owner --no-subscriptions
    is "select count(*), pg_get_userbyid(relowner) from app.base right join pg_class on true where relname = 'base' group by 2" '1|postgres' -d again
    client dropdb again
}
check "the programs' own switches" select_some

# ---- SQL of all kinds --------------------------------------------------------------------------------------

any_sql() {
    printf '\xef\xbb\xbf%s\n' '-- a byte order mark' >some.sql
    cat >>some.sql <<'END'
\set n 1
create table t (a int, b text);
copy t from stdin;
1	one\ttab
2	\N
\.
\copy t from stdin csv
3,"a,b"
\.
\if :n
insert into t values (:n, :'n');
\else
insert into nowhere values (1);
\endif
\echo nothing else is printed
select 'not this';
END
    printf 'insert into t values (6, $$no newline at the end$$)' >>some.sql
    [ "$(calf restore "$data" some.sql -d again)" = 'nothing else is printed' ]
    is 'select sum(a), count(b) from t' '13|4' -d again
    calf restore "$data" -d again <<<'insert into t values (7)'
    is 'select sum(a) from t' 20 -d again
}
check 'plain SQL: COPY, meta-commands, no newline at the end' any_sql

# ---- failures leave nothing half done ------------------------------------------------------------------------

client createdb small
client psql -Xq -d small -c "create table t as select g, md5(g::text) m from generate_series(1, 3000) g" \
    -c "create table u (x int); insert into u select generate_series(1, 100); create index on t (g)"
for f in s.sql s.sql.gz s.sql.zst s.sql.lz4; do dump_to "$dumps/$f" -d small; done >/dev/null
client psql -Xq -d small -c "select lo_from_bytea(0, 'abc'), lo_from_bytea(0, 'def')" -o /dev/null
for f in s.dump s.tar lo.sql; do calf dump "$data" -d small -o "$dumps/$f"; done
calf dump "$data" -d small -o "$dumps/tables.dump" -- --no-blobs # for 15 these are made before the data
for z in "${methods[@]}"; do
    case $major:$z in 15:none) level=0 ;; 15:gzip) level=6 ;; *) level=$z ;; esac
    calf dump "$data" -d small -F d -o "$dumps/s.$z.dir" -- -Z $level
done
gzip -c "$dumps/s.dump" >"$dumps/s.dump.gz"

# nothing_came FILE: an absent database stays absent, one that is there stays empty.  It is called
# where set -e does not hold.
nothing_came() {
    refused calf restore "$data" "$1" -d gone &&
        is "select count(*) from pg_database where datname = 'gone'" 0 &&
        refused calf restore "$data" "$1" -d bystander &&
        is "select count(*) from pg_class where oid >= 16384 and relname in ('t', 'u')" 0 -d bystander &&
        is 'select count(*) from pg_largeobject_metadata' 0 -d bystander
}

truncated() {
    local file=$1 size at
    size=$(stat -c %s "$dumps/$file")
    for at in 1 4 100 $((size / 5)) $((size / 2)) $((size * 9 / 10)) $((size - ${2:-20})); do
        head -c "$at" "$dumps/$file" >"$scratch/cut"
        nothing_came "$scratch/cut" || { echo "cut at $at of $size"; return 1; }
    done
}
client createdb bystander
for f in s.sql.gz s.sql.zst s.sql.lz4 s.dump.gz s.dump; do
    check "a truncated file is refused: $f" truncated $f
done
check 'a truncated file is refused: s.sql' truncated s.sql 120
# tar ends with two blocks of zeros, before them comes restore.sql, which nobody needs
check 'a truncated file is refused: s.tar' truncated s.tar $((32 << 10))

truncated_directory() {
    local dir=$1 file size
    for file in "$dumps/$dir"/*; do
        size=$(stat -c %s "$file")
        rm -rf cut.dir
        cp -r "$dumps/$dir" cut.dir
        [[ $file != */blob_*.dat ]] || continue # has no end that can be known
        if [ "$dir" = s.none.dir ] && [[ $file != */toc.dat ]]; then # pg_restore would not see it
            head -n -5 "$file" >"cut.dir/${file##*/}"
        else
            truncate -s $((size / 2)) "cut.dir/${file##*/}"
        fi
        nothing_came cut.dir || { echo "${file##*/} cut at $((size / 2)) of $size"; return 1; }
        rm "cut.dir/${file##*/}"
        nothing_came cut.dir || { echo "without ${file##*/}"; return 1; }
    done
}
for z in "${methods[@]}"; do
    check "a truncated file in a directory is refused: $z" truncated_directory s.$z.dir
done

damaged() {
    local at size
    size=$(stat -c %s "$dumps/s.sql.gz") # zstd and lz4 need not have check sums
    for at in 12 $((size / 3)) $((size - 3)); do
        cp "$dumps/s.sql.gz" bad
        printf '\xff\x00\xff' | dd of=bad bs=1 seek="$at" conv=notrunc status=none
        nothing_came bad || { echo "damaged at $at"; return 1; }
    done
    : >empty
    nothing_came empty
    head -c 5000 "$calf" >binary
    nothing_came binary
    tar -cf other.tar binary
    nothing_came other.tar
    mkdir no.dump
    nothing_came no.dump
    nothing_came "$scratch/is/not/there"
}
check 'damaged files and what is no dump are refused' damaged

conflicts() {
    sql 'create table u (mine int); insert into u values (1)' -d bystander
    refused calf restore "$data" "$dumps/s.dump" -d bystander
    refused calf restore "$data" "$dumps/s.sql.gz" -d bystander
    is "select string_agg(relname, ',') from pg_class where oid >= 16384 and relkind = 'r'" u -d bystander
    refused calf restore "$data" "$dumps/s.dump" -d bystander --keep-going
    is 'select count(*) from t' 3000 -d bystander
    is 'select mine from u' 1 -d bystander
    sql 'drop table t' -d bystander
    refused calf restore "$data" "$dumps/s.sql" -d bystander --keep-going
    is 'select count(*) from t' 3000 -d bystander
    sql 'drop table t' -d bystander
    refused calf restore "$data" "$dumps/s.none.dir" -d bystander --jobs 2
    head -c -120 "$dumps/lo.sql" >cut.sql # pg_dump has BEGIN and COMMIT around large objects
    client createdb large
    refused calf restore "$data" cut.sql -d large
    grep -q 'COMMIT' said
    refused calf restore "$data" cut.sql -d gone
    echo 'create table w (); select 1 / 0; create table v ();' >fails.sql
    { sed '/dump complete/i select 1 / 0;' "$dumps/e.sql"; } >fails2.sql # it has a subscription
    refused calf restore "$data" fails2.sql -d gone
    refused calf restore "$data" fails.sql -d gone
    is "select count(*) from pg_database where datname = 'gone'" 0
}
check 'an error changes nothing, unless --keep-going' conflicts

replaces() {
    client createdb old --owner dump_owner
    sql 'create table old (a int)' -d old
    refused calf restore "$data" fails.sql -d old --clean
    client createdb old_calf_restore # what would be made anew
    head -c 2000 "$dumps/s.dump" >cut.dump
    refused calf restore "$data" cut.dump -d old --clean
    grep -q 'cannot be restored' said
    is "select count(*) from pg_database where datname ~ '^old'" 2
    client dropdb old_calf_restore
    is "select count(*) from pg_class where relname = 'old'" 1 -d old
    client psql -Xq -d old -c 'select pg_sleep(1000)' 2>/dev/null & # it is in the way
    until_sql "select count(*) from pg_stat_activity where datname = 'old'" 1
    calf restore "$data" "$dumps/s.dump" -d old --clean
    is "select string_agg(relname, ',' order by relname) from pg_class where oid >= 16384 and relkind = 'r'" t,u -d old
    is "select string_agg(datname || pg_get_userbyid(datdba), ',') from pg_database where datname like 'old%'" olddump_owner
    calf restore "$data" "$dumps/s.sql" -d old --clean
    wait $! || :
}
check '--clean replaces a database, or leaves it' replaces

output_files() {
    echo precious >precious.dump
    refused calf dump "$data" -d no_such_database -o precious.dump
    [ "$(cat precious.dump)" = precious ]
    [ ! -e precious.dump.part ]
    ln -sf precious.dump link
    calf dump "$data" -d small -o link
    [ -L link ]
    client pg_restore -l precious.dump >/dev/null
    mkdir -p full empty.dir
    : >full/file
    refused calf dump "$data" -F d -o full
    calf dump "$data" -d small -F d -o empty.dir
    [ -e empty.dir/toc.dat ]
    refused calf dump "$data" -F d
    refused calf dump "$data" -o full
    refused calf dump "$data" -F nonsense -o x
    refused calf dump "$data" --all -F custom -o x
    refused calf dump "$data" --all -o x.sql.gz
    for jobs in '--jobs 2' '-j2' '-F d -- -j 2' '-F d -- --jobs=2'; do
        # shellcheck disable=SC2086
        refused calf dump "$data" -o x $jobs
        grep -q 'cannot have several jobs inside.*outside' said
    done
    refused calf dump "$scratch/absent" -o x
    [ ! -e x ]
    refused calf restore "$data" "$dumps/s.sql" --jobs 2
    refused calf restore "$data" "$dumps/s.dump" --jobs 0
    calf dump "$data" --all >"$dumps/all.sql"
    refused calf restore "$data" "$dumps/all.sql" -d x
    refused calf restore "$data" "$dumps/s.dump" -- --no-such-switch
}
check 'a file is only replaced by a whole dump; refusals' output_files

# ---- Ctrl-C -----------------------------------------------------------------------------------------------------

end_sleepers() { sql "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'"; }
waits_for() { until_sql "select count(*) > 0 from pg_stat_activity where $1" t; }

interrupted_dump() {
    local holder
    client psql -Xq -d small -c 'begin; lock table t; select pg_sleep(1000)' >/dev/null 2>&1 &
    holder=$!
    waits_for "query like '%pg_sleep%' and wait_event = 'PgSleep'"
    for file in i.dump i.sql; do
        env --default-signal=INT "$calf" dump "$data" -d small -o $file &
        waits_for "wait_event_type = 'Lock'"
        [ $file != i.dump ] || [ -e $file.part ]
        kill -INT $!
        ends $! 130
        [ ! -e $file ] && [ ! -e $file.part ]
    done
    env --default-signal=INT "$calf" dump "$data" -d small -F d -o i.dir &
    waits_for "wait_event_type = 'Lock'"
    kill -TERM $!
    ends $! 143
    [ ! -e i.dir ] && [ ! -e i.dir.part ]
    end_sleepers
    wait $holder || :
}
check 'Ctrl-C ends a dump and leaves no file' interrupted_dump
end_sleepers # of one that failed

interrupted_restore() {
    { cat "$dumps/s.sql"; } | sed '/database dump complete/i select pg_sleep(1000);' >slow.sql
    for db in gone postgres; do
        env --default-signal=INT "$calf" restore "$data" slow.sql -d $db &
        waits_for "wait_event = 'PgSleep'"
        kill -INT $!
        ends $! 130
        is "select count(*) from pg_database where datname = 'gone'" 0
        is "select count(*) from pg_class where relname = 't'" 0
    done
    # several programs: an index that waits for somebody's lock
    calf restore "$data" "$dumps/tables.dump" -d held -- --section pre-data
    client psql -Xq -d held -c 'begin; lock table t; select pg_sleep(1000)' >/dev/null 2>&1 &
    waits_for "datname = 'held' and wait_event = 'PgSleep'"
    env --default-signal=INT "$calf" restore "$data" "$dumps/tables.dump" -d held --jobs 2 -- --data-only &
    waits_for "datname = 'held' and wait_event_type = 'Lock'"
    kill -INT $!
    ends $! 130
    end_sleepers
    # into a database that was made for it, also one that is to replace another
    client createdb slow
    sql "create function slowly(int) returns int immutable language plpgsql as
        \$\$ begin if current_database() <> 'slow' then perform pg_sleep(1000); end if; return \$1; end \$\$;
        create table a as select 1 x; create table b as select 1 x; create index on a (slowly(x)); create index on b (slowly(x))" -d slow
    calf dump "$data" -d slow -o slow.dump
    client createdb replaced
    sql 'create table mine ()' -d replaced
    for more in '-d gone' '-d gone --jobs 2' '-d replaced --clean' '-d replaced --clean --jobs 2'; do
        # shellcheck disable=SC2086
        env --default-signal=INT "$calf" restore "$data" slow.dump $more &
        waits_for "datname in ('gone', 'replaced_calf_restore') and wait_event = 'PgSleep'"
        kill -INT $!
        ends $! 130
        is "select count(*) from pg_database where datname in ('gone', 'replaced_calf_restore')" 0
        is "select count(*) from pg_class where relname = 'mine'" 1 -d replaced
    done
    mkfifo never
    sleep 1000 >never & # a pipe that says nothing
    holder=$!
    env --default-signal=INT "$calf" restore "$data" -d gone < <(cat "$dumps/s.sql" never) &
    waits_for "datname = 'gone'"
    kill -INT $!
    ends $! 130
    kill $holder
    is "select count(*) from pg_database where datname = 'gone'" 0
}
check 'Ctrl-C ends a restore and leaves the database as it was' interrupted_restore
end_sleepers # of one that failed

# ---- a terminal ----------------------------------------------------------------------------------------------------

on_terminal() {
    local out
    out=$(script -qec "'$calf' dump '$data' -d everything" /dev/null || :)
    grep -q 'not for a terminal' <<<"$out"
    fails grep -q PGDMP <<<"$out"
    # a table that nobody gets before the line was drawn
    client psql -Xq -d small -c 'begin; lock table t; select pg_sleep(1000)' >/dev/null 2>&1 &
    waits_for "wait_event = 'PgSleep'"
    script -qfec "'$calf' dump '$data' -d small -o t.dump" typescript >/dev/null &
    until_true grep -q 'dumping: ' typescript
    end_sleepers
    wait $!
    calf restore "$data" t.dump -d terminal
    calf dump "$data" -d small -o t.sql 2>quiet
    calf restore "$data" t.sql -d terminal2 2>>quiet
    [ ! -s quiet ]
}
check 'progress on a terminal, none in a pipe, no archive on a terminal' on_terminal
end_sleepers # of one that failed

# shows LINE: it was on the terminal
shows() { until_true grep -qE "$1" typescript; }

how_far() {
    local left='[1-9][0-9]? %, [0-9]+:[0-9]+, about [0-9]+:[0-9]+ left'
    client createdb far
    sql "create table far as select g, repeat(md5(g::text), 8) from generate_series(1, 30000) g; create table so (a int)" -d far
    mkfifo slow # who reads it stops in the middle of the first table
    script -qfec "'$calf' dump '$data' -d far -F plain -o slow" typescript >/dev/null &
    exec 8<slow
    head -c 4000000 <&8 >far.sql
    shows "dumping: [0-9.]+ MB, table 1 of 2, $left"
    cat <&8 >>far.sql
    exec 8<&-
    wait $!
    client createdb far2
    sql 'create table held (a int)' -d far2
    client psql -Xq -d far2 -c 'begin; lock table held; select pg_sleep(1000)' >/dev/null 2>&1 &
    waits_for "datname = 'far2' and wait_event = 'PgSleep'"
    { cat far.sql; echo 'insert into public.held values (1);'; sed s/public.far/public.far2/ far.sql; } >twice.sql
    script -qfec "'$calf' restore '$data' twice.sql -d far2" typescript >/dev/null &
    shows "restoring: [0-9.]+ MB, $left"
    end_sleepers
    wait
    calf restore "$data" "$dumps/tables.dump" -d far3 -- --section pre-data
    client psql -Xq -d far3 -c 'begin; lock table u; select pg_sleep(1000)' >/dev/null 2>&1 &
    waits_for "datname = 'far3' and wait_event = 'PgSleep'"
    script -qfec "'$calf' restore '$data' '$dumps/tables.dump' -d far3 -- --data-only" typescript >/dev/null &
    shows "restoring: [0-9.]+ MB, object [0-9]+ of [0-9]+, 50 %, [0-9]+:[0-9]+, about [0-9]+:[0-9]+ left"
    end_sleepers
    wait
    is 'select count(*) from u' 100 -d far3
}
check 'how far it is: bytes, tables, per cent, the time that is left' how_far

# ---- closed directories ------------------------------------------------------------------------------------------------

stop_server || exit 1
closed() {
    calf dump "$data" -d everything -o "$dumps/closed.sql"
    diff <(grep -v restrict "$dumps/e.sql") <(grep -v restrict "$dumps/closed.sql")
    [ ! -e "$data/postmaster.pid" ]
    CALF_DATA=$scratch/other calf restore "$dumps/s.dump"
    CALF_DATA=$scratch/other calf dump -F plain | grep -v restrict | diff - <(grep -v restrict "$dumps/lo.sql")
    refused calf restore "$scratch/other" "$dumps/s.dump"
    calf restore "$scratch/other" "$dumps/s.dump" --clean
    calf dump "$scratch/other" -F plain | grep -v restrict | diff - <(grep -v restrict "$dumps/lo.sql")
    [ ! -e "$scratch/other/postmaster.pid" ]
}
check 'directories that nobody serves' closed

all_databases() {
    local new=$scratch/all
    start_server "$data"
    client pg_dumpall | grep -v restrict >native.sql
    calf dump "$data" --all | grep -v restrict | diff native.sql -
    stop_server
    calf dump "$data" --all -o all.sql
    gzip all.sql
    calf restore "$new" all.sql.gz 2>/dev/null # creates it; the role postgres is there
    start_server "$new"
    whole everything | diff "$scratch/want" -
    client pg_dumpall | grep -v restrict | diff native.sql -
    stop_server
}
check 'all databases and roles, into a new directory' all_databases

finish

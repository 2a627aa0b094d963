#!/bin/bash
#
# backup.sh - `calf backup` and `calf clone`: a copy is the original, also when sessions write
#
# What is in a copy is compared by compare.sh, and pg_amcheck walks through its tables and indexes.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
# shellcheck source=tests/cli/compare.sh
. "$(dirname "$0")/compare.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$scratch" || exit 1
data=$scratch/data

# A database with everything in it, and whole() of it in `want`.
make_data() {
    start_server "$data" -c fsync=off
    client psql -Xq -v ON_ERROR_STOP=1 -f "$here/every_role.sql"
    client createdb everything
    client psql -Xq -v ON_ERROR_STOP=1 -d everything -o /dev/null -f "$here/every_object.sql"
    client pgbench -i -q -s 3 2>/dev/null
    whole everything >want
    sed 's/^app.not_logged|.*/app.not_logged|d41d8cd98f00b204e9800998ecf8427e|0/' want >want.running
    stop_server
}
check 'a database with everything' make_data

# is_the_original DIR [WANT]
is_the_original() {
    start_server "$1"
    whole everything | diff "${2:-want}" -
    client pg_amcheck --all --install-missing
    stop_server
    rm -rf "$1"
}

closed() {
    calf "$1" "$data" copy | tee said
    grep -q 'is copied to .*/copy: .* in .* s$' said
    [ ! -e copy.part ]
    is_the_original copy
    mkdir copy # an empty one will do
    CALF_DATA=$data calf "$1" "$data" copy/
    is_the_original copy
}
check 'backup of a closed directory' closed backup
check 'clone of a closed directory' closed clone

crashed() {
    start_server "$data"
    sql 'create table crashed as select generate_series(1, 1000) g'
    kill -KILL "$server"
    gone "$server"
    calf backup "$data" copy
    start_server copy
    is 'select count(*) from crashed' 1000
    stop_server
    rm -rf copy
    calf psql "$data" -Xqc 'drop table crashed'
}
check 'backup of a directory that crashed' crashed

# What pgbench keeps true at every moment: all four sums are the same.
balanced() {
    is "select count(distinct s) from (select sum(abalance) s from pgbench_accounts union all select sum(tbalance)
        from pgbench_tellers union all select sum(bbalance) from pgbench_branches union all
        select coalesce(sum(delta), 0) from pgbench_history) x" 1
}

running() { # COMMAND SERVER-COMMAND...
    local command=$1 writer before after
    shift
    serve=("$@")
    start_server "$data"
    client pgbench -n -c 4 -T 1000 >pgbench.out 2>&1 &
    writer=$!
    until_sql 'select count(*) > 50 from pgbench_history' t
    before=$(sql 'select count(*) from pgbench_history')
    calf "$command" "$data" copy | tee said
    [ "$command" = clone ] || grep -q 'its files are what the server sent.*checksums' said
    after=$(sql 'select count(*) from pgbench_history')
    kill "$writer"
    wait "$writer" || :
    [ "$after" -gt "$before" ] # they did write meanwhile
    is 'select count(*) from pg_replication_slots' 0
    stop_server
    serve=("$calf" serve)
    [ ! -e copy/backup_manifest ]
    start_server copy
    balanced
    is "select count(*) between $before and $after from pgbench_history" t
    sql 'truncate pgbench_history; update pgbench_accounts set abalance = 0 where abalance <> 0;
        update pgbench_tellers set tbalance = 0; update pgbench_branches set bbalance = 0'
    stop_server
    is_the_original copy want.running
}
check 'backup while sessions write' running backup "$calf" serve
check 'clone while sessions write' running clone "$calf" serve

# the same programs natively, as an ordinary user
stock() {
    export STOCK_PG=$pgsql
    cp -a "$data" "$scratch/stock"
    give_away "$scratch/stock"
    data=$scratch/stock
    running backup "$repo/tests/server/stock-serve.sh"
}
check 'backup of a stock server' stock
rm -rf "$scratch/stock"

damaged() {
    local file
    calf clone "$data" bad
    calf psql bad -Xqc 'checkpoint'
    file=bad/$(calf psql bad -XAtqc "select pg_relation_filepath('pgbench_accounts')")
    printf 'damage' | dd of="$file" bs=1 seek=30000 conv=notrunc status=none
    refused calf backup bad copy
    grep -q 'damaged' said
    [ ! -e copy ] && [ ! -e copy.part ]
    start_server bad
    refused calf backup bad copy
    stop_server
    [ ! -e copy ] && [ ! -e copy.part ]
    rm -rf bad
}
check 'damaged pages are found, and no backup is left' damaged

refusals() {
    mkdir full other
    : >full/file
    refused calf backup "$data" full
    refused calf backup "$data" "$data/inside"
    refused calf backup "$data" "$data"
    refused calf backup "$scratch/absent" copy
    refused calf backup other copy
    refused calf backup full copy
    refused calf backup "$data" no/parent/copy
    refused calf backup "$data"
    mkdir copy.part
    refused calf backup "$data" copy
    rmdir copy.part
    mkdir "$scratch/space"
    start_server "$data"
    sql "create tablespace elsewhere location '$scratch/space'"
    refused calf backup "$data" copy
    grep -q elsewhere said
    sql 'drop tablespace elsewhere'
    sql "alter system set log_connections = on"
    stop_server
    [ ! -e copy ] && [ ! -e copy.part ]
    # a copy must not archive the original's WAL
    echo "archive_mode = on" >>"$data/postgresql.auto.conf"
    echo "archive_command = 'touch $scratch/archived; cp %p /dev/null'" >>"$data/postgresql.auto.conf"
    calf backup "$data" copy
    [ ! -e archived ]
    grep -q archive_mode copy/postgresql.auto.conf
    rm -rf copy
    : >"$data/postgresql.auto.conf"
}
check 'refusals; a copy archives nothing' refusals

embedded() { # a program that lets nobody in
    cat >holds.c <<'END'
#include <calf.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    calf_db *db;
    if (calf_open(argv[argc - 1], NULL, &db, NULL) != CALF_OK)
        return 1;
    puts("open");
    fflush(stdout);
    getchar();
    return calf_close(db, CALF_FAST, NULL);
}
END
    gcc -I"$repo/include" holds.c -o holds -L"$lib" -lcalf -Wl,-rpath,"$lib"
    mkfifo in out
    ./holds "$data" <in >out &
    exec 9>in
    read -r _ <out
    refused calf backup "$data" copy
    grep -q "process $!" said
    refused calf dump "$data" -o x.dump
    exec 9>&-
    ends $! 0
    [ ! -e copy ] && [ ! -e copy.part ] && [ ! -e x.dump ]
}
check 'a database inside another program, which lets nobody in' embedded

# A file of 20 GB without blocks takes seconds to copy; it is ended as soon as it has begun.
interrupted() {
    truncate -s 20G "$data/base/large"
    env --default-signal=INT "$calf" backup "$data" copy &
    until_true test -e copy.part/base
    kill -INT $!
    ends $! 130
    [ ! -e copy ] && [ ! -e copy.part ]
    start_server "$data"
    mkdir copy
    env --default-signal=INT "$calf" clone "$data" copy &
    until_true test -e copy.part/base
    kill -TERM $!
    ends $! 143
    [ -d copy ] && [ ! -e copy.part ]
    env --default-signal=INT "$calf" backup "$data" copy2 &
    until_true test -e copy2.part/base
    kill -INT $!
    ends $! 130
    [ ! -e copy2 ] && [ ! -e copy2.part ]
    until_sql 'select count(*) from pg_replication_slots' 0
    until_sql "select count(*) from pg_stat_activity where backend_type = 'walsender'" 0
    stop_server
    rm -r "$data/base/large" copy
    calf psql "$data" -XAtqc 'select count(*) from pgbench_branches' | grep -qx 3
}
check 'Ctrl-C ends it and leaves nothing' interrupted

finish

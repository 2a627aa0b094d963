#!/bin/bash
#
# sessions.sh - a hundred sessions at once under the usual limit of 1,024 descriptors
#
# calf does not raise the limit.  Sessions that read the same files share the
# host's descriptors, so each may have hundreds of relations open.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"
tables=300

ulimit -n 1024
start_server "$scratch/data" -c max_connections=120 -c max_locks_per_transaction=512 || exit 1
client pgbench -i -q -s 5 2>/dev/null

descriptors() { ls "/proc/$server/fd" | wc -l; }
quiet() { fails grep -aE '(ERROR|FATAL|PANIC): .*(Too many|out of)|terminated by signal' "$log"; }

select_only() {
    : >"$log"
    client pgbench -n -S -M prepared -c 100 -j 2 -T 5
    quiet
}
check '100 clients read' select_only

read_write() {
    : >"$log"
    client pgbench -n -c 100 -j 2 -T 5
    quiet
}
check '100 clients write' read_write

many_relations() {
    : >"$log"
    sql "do \$\$ begin for i in 1..$tables loop
             execute format('create table many_%s (id int primary key, v text)', i);
             execute format('insert into many_%s values (1, %L)', i, i);
         end loop; end \$\$"
    cat >"$scratch/many.sql" <<END
do \$\$ declare n int; total bigint := 0; begin
    for i in 1..$tables loop
        execute format('select v::int from many_%s where id = 1', i) into n;
        total := total + n;
    end loop;
    if total <> $tables * ($tables + 1) / 2 then raise 'wrong: %', total; end if;
end \$\$;
END
    client pgbench -n -c 100 -j 2 -t 3 -f "$scratch/many.sql" &
    local load=$! most=0 now
    while kill -0 $load 2>/dev/null; do
        now=$(descriptors)
        [ "$now" -le "$most" ] || most=$now
        sleep 0.05
    done
    wait $load
    echo "at most $most descriptors" | tee "$scratch/said"
    [ "$most" -le 1024 ]
    quiet
}
check "100 sessions, each reads $tables tables through their indexes" many_relations
cat "$scratch/said" 2>/dev/null

writes_many() {
    : >"$log"
    cat >"$scratch/writes.sql" <<END
\\set n random(1, $tables)
begin;
update many_:n set v = v where id = 1;
select count(*) from many_1 join many_2 using (id) join many_3 using (id);
create temp table mine (v text) on commit drop;
insert into mine select repeat('x', 1000) from generate_series(1, 100);
end;
END
    client pgbench -n -c 100 -j 2 -t 20 -f "$scratch/writes.sql"
    quiet
}
check '100 sessions write to many tables and to temporary ones' writes_many

too_many() {
    : >"$log"
    until_sql "select count(*) from pg_stat_activity where backend_type = 'client backend'" 1
    LD_LIBRARY_PATH=$pgsql/lib "$bin/pgbench" -n -S -c 120 -j 2 -T 600 -P 1 >/dev/null 2>"$scratch/progress" &
    local load=$!
    trap "kill $load 2>/dev/null || :" EXIT
    until_true grep -q progress: "$scratch/progress" # all are connected; who asks for it takes a place
    fails sql 'select 1' 2>"$scratch/full"
    grep 'too many clients' "$scratch/full"
    kill $load
    wait $load || :
    trap - EXIT
    until_sql 'select 1' 1
    quiet
}
check 'the session after the last is refused, and then all is well' too_many

stop_server
finish

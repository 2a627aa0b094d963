#!/bin/bash
#
# flood.sh - whoever may send signals as fast as he likes ends nothing but what he may end
#
# Every signal that SQL can send, by many sessions at once, at sessions that compute, sort with ICU,
# listen and wait.  The facts at the end: no process died, the server never started anew, and each
# victim went on.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"

start_server "$scratch/data" -c max_connections=60 -c autovacuum_naptime=1 || exit 1
sql "create role plain login; create table enough (x int); grant select on enough to plain;
     create collation icu (provider = icu, locale = 'en')"
began=$(sql 'select pg_postmaster_start_time()')
sound() {
    is 'select pg_postmaster_start_time()' "$began"
    fails grep -aE 'terminated by signal|PANIC|all server processes' "$log"
}
caught() { # caught STATEMENT: a session that does this until there is enough, whatever cancels it
    local said # where a cancel is not caught, between two of the blocks, the session begins again
    until said=$(sql "set application_name = 'victim'; do \$\$ begin loop begin
                          exit when exists (select from enough); $1;
                      exception when query_canceled then null; end; end loop; end \$\$; select 'went on'" \
                     -U plain 2>&1) || ! grep -q 'canceling statement' <<<"$said"; do
        :
    done
    echo "$said"
}
victims=(
    "perform sum(g) from generate_series(1, 20000) g"
    "perform count(*) from (select g::text collate icu t from generate_series(1, 5000) g order by t) s"
    "perform regexp_count(repeat('ab', 20000), '(a|b)*b')"
    "perform pg_sleep(0.001)"
    "perform pg_notify('news', 'x')"
)
# flooded QUERY USER: many sessions run QUERY while the victims work; all go on
flooded() {
    local pids=() senders=() i
    sql 'delete from enough'
    for i in "${!victims[@]}"; do
        caught "${victims[$i]}" >"$scratch/victim$i" 2>&1 &
        pids+=($!)
    done
    until_sql "select count(*) from pg_stat_activity where application_name = 'victim' and state = 'active'" \
        "${#victims[@]}"
    for i in 1 2 3; do
        sql "$1" -U "$2" >"$scratch/sender$i" 2>&1 &
        senders+=($!)
    done
    for i in "${senders[@]}"; do wait "$i" || { cat "$scratch"/sender?; return 1; }; done
    sql 'insert into enough values (1)'
    for i in "${!victims[@]}"; do
        wait "${pids[$i]}" || :
        grep -qx 'went on' "$scratch/victim$i" || { cat "$scratch/victim$i"; return 1; }
    done
    sound
}
of_victims="from pg_stat_activity, generate_series(1, 20000) where application_name = 'victim'"
check 'a role cancels its own sessions a hundred thousand times' \
    flooded "select count(pg_cancel_backend(pid)) $of_victims" plain
check 'the configuration is read again fifty thousand times' \
    flooded 'select count(pg_reload_conf()) from generate_series(1, 50000)' postgres
check 'memory contexts are asked for' \
    flooded "select count(pg_log_backend_memory_contexts(pid)) from pg_stat_activity, generate_series(1, 300)
             where application_name = 'victim'" postgres
check 'the log is to be rotated' \
    flooded 'select count(pg_rotate_logfile()) from generate_series(1, 20000)' postgres

notified() { # thousands of commits that notify, by eight sessions, and eight that listen
    echo 'notify news' >"$scratch/notify.sql"
    client pgbench -n -c 8 -j 2 -t 500 -f "$scratch/notify.sql" -U plain >/dev/null 2>&1 &
    local load=$! i listeners=()
    for i in 1 2 3 4; do
        sql "listen news; do \$\$ begin for i in 1 .. 300 loop perform pg_sleep(0.001); end loop; end \$\$;
             select 'heard'" >"$scratch/listener$i" 2>&1 &
        listeners+=($!)
    done
    for i in 1 2 3 4; do
        wait "${listeners[$((i - 1))]}"
        grep -q heard "$scratch/listener$i"
    done
    wait $load
    sound
}
check 'many commits notify many sessions' notified

terminated() { # sessions that end by it, and are there again, while others are cancelled
    local i
    for i in $(seq 30); do
        sql "select pg_sleep(1000)" -U plain >/dev/null 2>&1 &
    done
    until_sql "select count(*) from pg_stat_activity where usename = 'plain' and state = 'active'" 30
    sql "select count(pg_terminate_backend(pid)), count(pg_cancel_backend(pid))
         from pg_stat_activity, generate_series(1, 2000) where usename = 'plain' and pid <> pg_backend_pid()" -U plain
    until_sql "select count(*) from pg_stat_activity where usename = 'plain'" 0
    wait
    sound
}
check 'a role ends its own sessions, each thousands of times' terminated

stop_server
finish

#!/bin/bash
#
# crash.sh - kill -9 of the server: the next start just works, and nothing committed is lost
#
# A client counts as acknowledged what its psql printed.  A killed server leaves
# a postmaster.pid, a socket file and nothing else; whoever has its pid by
# then, the next start must not care.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"
writers=3
rounds=3

# An endless insert of numbers, one per transaction; $1.acked has those that were acknowledged.
write_numbers() {
    seq 1 100000000 | sed "s/.*/insert into acked values ($1, &) returning n;/" |
        client psql -XAtq >>"$scratch/$1.acked" 2>/dev/null
}
enough() { # lines in all files together
    [ "$(cat "$scratch"/*.acked | wc -l)" -ge "$1" ]
}

kill_server() {
    if [ -z "${CALF_SERVE:-}" ]; then
        kill -KILL "$server"
    else # stock: the postmaster; its children and the script end by themselves
        kill -KILL "$(head -n 1 "$scratch/data/postmaster.pid")"
        until_true nobody_there
    fi
    wait "$server" 2>/dev/null || :
    forget_server
}
nobody_there() { ! readlink /proc/[0-9]*/cwd 2>/dev/null | grep -qx "$scratch/data"; }

under_load() {
    local i round pids begun

    start_server "$scratch/data"
    client pgbench -i -q -s 3
    sql 'create table acked (writer int, n bigint)'
    for ((round = 1; round <= rounds; round++)); do
        rm -f "$scratch"/*.acked
        sql 'truncate acked'
        client pgbench -n -c 4 -T 600 >/dev/null 2>&1 &
        pids=$!
        for ((i = 1; i <= writers; i++)); do
            : >"$scratch/$i.acked"
            write_numbers "$i" &
            pids="$pids $!"
        done
        until_true enough 2000
        kill_server
        # shellcheck disable=SC2086 # all of them
        wait $pids || :
        begun=$(date +%s%N)
        start_server "$scratch/data"
        is 'select 1' 1
        echo "round $round: answered $((($(date +%s%N) - begun) / 1000000)) ms after the start"
        grep -q 'automatic recovery in progress' "$log"
        for ((i = 1; i <= writers; i++)); do
            echo "writer $i: $(wc -l <"$scratch/$i.acked") acknowledged," \
                "$(sql "select count(*) from acked where writer = $i") there"
            { echo 'create temp table a (n bigint); copy a from stdin;'
              cat "$scratch/$i.acked"
              echo '\.'
              echo "select count(*) from a where n not in (select n from acked where writer = $i);"
            } >"$scratch/missing.sql"
            [ "$(client psql -XAtq -v ON_ERROR_STOP=1 -f "$scratch/missing.sql")" = 0 ]
        done
        # What the four clients of pgbench did adds up.
        is "select sum(abalance) = (select sum(bbalance) from pgbench_branches)
                and sum(abalance) = (select sum(tbalance) from pgbench_tellers)
            from pgbench_accounts" t
        is 'create extension if not exists amcheck; select count(*) from (
                select bt_index_check(oid) from pg_class where relkind = $$i$$ and relam = 403
                    and relpersistence <> $$t$$) s' \
           "$(sql 'select count(*) from pg_class where relkind = $$i$$ and relam = 403')"
    done
    stop_server
}
check "kill -9 under load, $rounds times: all that was acknowledged is there" under_load

# ---- what is left behind ---------------------------------------------------------------

nothing_left() {
    start_server "$scratch/data"
    sql 'select count(*) from pg_class'
    # memory that outlives a process has a name in the system
    fails grep -E "/dev/shm/PostgreSQL|/SYSV" "/proc/$server/maps"
    kill_server
    is_gone "$server"
    fails ps -o pid=,args= -s "$server"
}
if [ -z "${CALF_SERVE:-}" ]; then # stock leaves processes and shared memory, for the next to clear up
    check 'kill -9 leaves no process and no shared memory behind' nothing_left
fi

# ---- a postmaster.pid that names somebody else -----------------------------------------

names_another() {
    local other
    start_server "$scratch/data"
    kill_server
    sleep 1000 &
    other=$!
    sed -i "1s/.*/$other/" "$scratch/data/postmaster.pid"
    start_server "$scratch/data"
    is 'select 1' 1
    stop_server
    kill -0 $other
    kill $other
}
names_itself() { # exec keeps the pid: the shell writes its own and becomes the server
    start_server "$scratch/data"
    kill_server
    cat >"$scratch/become" <<'END'
sed -i "1s/.*/$$/" "$3/postmaster.pid"
exec "$@"
END
    serve=(bash "$scratch/become" "${serve[@]}")
    start_server "$scratch/data"
    is 'select 1' 1
    stop_server
}
socket_names_another() { # the socket's lock file, in a directory of its own
    local other
    start_server "$scratch/data"
    kill_server
    rm "$scratch/data/postmaster.pid"
    sleep 1000 &
    other=$!
    sed -i "1s/.*/$other/" "$socket/.s.PGSQL.5432.lock"
    start_server "$scratch/data"
    is 'select 1' 1
    stop_server
    kill $other
}
if [ -z "${CALF_SERVE:-}" ]; then
    check 'a stale socket lock file that names another live process' socket_names_another
    check 'a stale postmaster.pid that names another live process' names_another
    check 'a stale postmaster.pid that names the new process itself' names_itself
fi

as_pid_1() {
    local round inner
    serve=(unshare --pid --fork --mount-proc "${serve[@]}")
    for round in 1 2 3; do
        start_server "$scratch/data"
        [ "$(head -n 1 "$scratch/data/postmaster.pid")" = 1 ]
        is 'select 1' 1
        sql "create table if not exists rounds (n int); insert into rounds values ($round)"
        inner=$(ps -o pid= --ppid "$server")
        kill -KILL "${inner// /}"
        wait "$server" || :
        forget_server
    done
    start_server "$scratch/data"
    is 'select count(*) from rounds' 3
    inner=$(ps -o pid= --ppid "$server")
    kill -TERM "${inner// /}" # a container's stop: SIGTERM to pid 1
    wait "$server"
    forget_server
}
if [ -n "${CALF_SERVE:-}" ]; then
    :
elif unshare --pid --fork --mount-proc true 2>/dev/null; then
    check 'pid 1 of a container, killed three times' as_pid_1
else
    skip 'pid 1 of a container' 'unshare --pid is not allowed here'
fi

finish

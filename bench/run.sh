#!/bin/bash
#
# run.sh - calf against the same PostgreSQL built the normal way, side by side in one run
#
#   BENCH_SECONDS=5   of each pgbench run
#   BENCH_RUNS=5      of each kind; the medians count
#   BENCH_DIR=...     where the data directories are (in memory when there is room)
#   BENCH_OUT=...     the page that is written (bench/results/YYYY-MM-DD.md)
#
# Both servers run as the same ordinary user on copies of one directory, with the
# same settings, and take turns; the order changes from round to round.  Their
# programs are copied first, so that nobody else's server shares their memory.
#
# Something else that runs does not disturb both alike: with the kernel's autogroups
# each session of stock gets a share of the processors of its own (it calls setsid), and all of
# calf together one.  So such runs are repeated, and the CPU time of a transaction is shown as well.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../tests/server/lib.sh"
seconds=${BENCH_SECONDS:-5}
runs=${BENCH_RUNS:-5}
date=$(date +%F)
page=${BENCH_OUT:-$repo/bench/results/$date.md}
scale=16
memory_sessions=10
rests=3 # seconds after which a server is idle; calf's sessions give memory back after one or two
stock_tree=$repo/build/pg$major-stock/pgsql
[ -x "$stock_tree/bin/postgres" ] || { echo "no stock server; run: pg/build.sh $major stock" >&2; exit 2; }
load_before=$(cut -d ' ' -f 1-3 /proc/loadavg)

data=$scratch/data
if [ -n "${BENCH_DIR:-}" ]; then
    data=$(mktemp -d "$BENCH_DIR/calf-bench.XXXXXX") || exit 2
    trap 'cleanup; rm -rf "$data"' EXIT
fi
mkdir -p "$data" "$scratch/numbers"
chmod 755 "$data"

# ---- two servers --------------------------------------------------------------------

cp -a "$stock_tree" "$scratch/stock-pgsql"
cp "$calf" "$scratch/calf"
chmod 755 "$scratch/calf"
export STOCK_PG=$scratch/stock-pgsql
bin=$STOCK_PG/bin
pgsql=$STOCK_PG

stock_serve=("$repo/tests/server/stock-serve.sh")
calf_serve=("${as_user[@]}" "$scratch/calf" serve)

# on KIND: which server the following is about
on() {
    kind=$1
    socket=$scratch/s-$kind
    export PGHOST=$socket
    log=$scratch/$kind.log
    dir=$data/$kind
    if [ "$kind" = calf ]; then serve=("${calf_serve[@]}"); else serve=("${stock_serve[@]}"); fi
}
start() {
    on "$1"
    start_server "$dir" || exit 1
    pids[$kind]=$server
}
stop() {
    on "$1"
    server=${pids[$kind]}
    stop_server TERM
}
declare -A pids
for kind in calf stock; do
    mkdir "$scratch/s-$kind"
    chmod 777 "$scratch/s-$kind"
done

echo "preparing a database of scale $scale ..."
start stock
client pgbench -i -q -s $scale >/dev/null 2>&1 || exit 1
sql checkpoint
stop stock
cat >>"$data/stock/postgresql.conf" <<'END'
max_wal_size = 8GB
checkpoint_timeout = 1h
autovacuum = off
END
cp -a "$data/stock" "$data/calf"

# ---- numbers --------------------------------------------------------------------------

# note NAME VALUE: one measurement of the server that `on` named
note() { echo "$2" >>"$scratch/numbers/$1.$kind"; }

median() { # NAME KIND
    sort -g "$scratch/numbers/$1.$2" | awk '{ v[NR] = $1 }
        END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
range() { # NAME KIND: the least and the most
    sort -g "$scratch/numbers/$1.$2" | awk 'NR == 1 { least = $1 }
        END { d = $1 < 100; printf "%.*f–%.*f", d, least, d, $1 }'
}

# in_turns FUNCTION...: once for each server, and the other first next time
turn=0
in_turns() {
    local order="calf stock"
    turn=$((turn + 1))
    [ $((turn % 2)) = 0 ] || order="stock calf"
    for k in $order; do
        on "$k"
        "$@" || { echo "$k: $* failed" >&2; exit 1; }
    done
}

# ---- throughput -------------------------------------------------------------------------

# The CPU time of the server, its children and those that have ended, in units of 10 ms
ticks() {
    local top=${pids[$kind]} pid
    until_sql "select count(*) from pg_stat_activity where backend_type = 'client backend'" 1
    sleep 0.1 # and the last ones are reaped
    [ "$kind" = calf ] || top=$(head -n 1 "$dir/postmaster.pid")
    for pid in $top $(ps -o pid= --ppid "$top"); do
        sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null
    done | awk -v clk="$(getconf CLK_TCK)" '{ n += $12 + $13 + $14 + $15 } END { printf "%d", n * 100 / clk }'
}

# What all processors did since the start, in the same units: busy (with what a hypervisor took), all
machine() {
    awk -v clk="$(getconf CLK_TCK)" '/^cpu / { busy = $2 + $3 + $4 + $7 + $8 + $9
        printf "%d %d", busy * 100 / clk, (busy + $5 + $6) * 100 / clk }' /proc/stat
}

# A second in which the machine has next to nothing to do, or two minutes later
wait_for_quiet() {
    local i busy all busy0 all0
    for ((i = 0; i < 120; i++)); do
        read -r busy0 all0 <<<"$(machine)"
        sleep 1
        read -r busy all <<<"$(machine)"
        [ $(((busy - busy0) * 100)) -gt $(((all - all0) * 5)) ] || return 0
    done
}

# A run during which others had more than 5 % of the processors does not count, unless
# that happens $tries times.
disturbed=0
tries=5
TIMEFORMAT='%U %S'
bench() { # NAME PGBENCH'S OPTIONS...
    local name=$1 threads=2 try before used own busy all busy0 all0
    shift
    case " $* " in *' -c 1 '*) threads=1 ;; esac
    for ((try = 1; try <= tries; try++)); do
        wait_for_quiet
        before=$(ticks)
        read -r busy0 all0 <<<"$(machine)"
        { time client pgbench -n -j $threads -T "$seconds" "$@" >"$scratch/pgbench" 2>&1; } 2>"$scratch/time"
        read -r busy all <<<"$(machine)"
        used=$(($(ticks) - before))
        own=$(awk '{ printf "%d", ($1 + $2) * 100 }' "$scratch/time")
        grep -q '^tps' "$scratch/pgbench" || { cat "$scratch/pgbench"; return 1; }
        [ $(((busy - busy0 - used - own) * 100)) -gt $(((all - all0) * 5)) ] || break
    done
    [ $try -le $tries ] || disturbed=$((disturbed + 1))
    note "$name-cpu" "$(awk -v ticks=$used '/actually processed: / { print ticks * 1e4 / $NF }' "$scratch/pgbench")"
    note "$name" "$(awk '/^tps = / { print $3 }' "$scratch/pgbench")"
}

start calf
start stock
for k in calf stock; do # both have read everything once
    on $k
    sql 'create extension pg_prewarm; select sum(pg_prewarm(oid)) from pg_class where relname like $$pgbench%$$' >/dev/null
done
for ((run = 1; run <= runs; run++)); do
    echo "throughput, round $run of $runs ..."
    for clients in 1 4 16; do in_turns bench "select-$clients" -S -M prepared -c $clients; done
    for clients in 1 4 16; do in_turns bench "tpcb-$clients" -c $clients; done
    for clients in 1 4; do in_turns bench "connect-$clients" -C -S -c $clients; done
done
stop calf
stop stock

# ---- starting -----------------------------------------------------------------------------

for program in first_query idle_sessions; do
    ${CC:-gcc} -O2 -I"$pgsql/include" "$repo/bench/$program.c" -o "$scratch/$program" -L"$pgsql/lib" -lpq || exit 1
done
chmod 755 "$scratch/first_query"

first_query() { # NAME ARGUMENTS...
    local name=$1 ms
    shift
    ms=$("${as_user[@]}" env LD_LIBRARY_PATH="$pgsql/lib" "$scratch/first_query" "$@" 2>>"$log") ||
        { tail "$log"; return 1; }
    note "$name" "$ms"
}
starts() {
    if [ "$kind" = calf ]; then
        first_query start "$dir" /usr/bin/env -u LD_LIBRARY_PATH "$scratch/calf" serve "$dir" --socket "$socket"
    else
        first_query start -w "$dir" "$bin/pg_ctl" -w -s -l /dev/null -D "$dir" -o "-k $socket -h ''" start &&
            first_query direct "$dir" "$bin/postgres" -D "$dir" -k "$socket" -h ''
    fi
}
echo "starting ..."
for ((run = 0; run < runs * 4; run++)); do in_turns starts; done

# ---- memory ---------------------------------------------------------------------------------

pss_kb() { # of the server and its children
    local top=$server pid sum=0 n
    [ "$kind" = calf ] || top=$(head -n 1 "$dir/postmaster.pid")
    for pid in $top $(ps -o pid= --ppid "$top"); do
        n=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup" 2>/dev/null)
        sum=$((sum + ${n:-0}))
    done
    echo $sum
}
memory() {
    local idle loaded
    start "$kind"
    LD_LIBRARY_PATH=$pgsql/lib "$scratch/idle_sessions" 1 </dev/null >/dev/null || return 1 # the first one's costs
    until_sql "select count(*) from pg_stat_activity where backend_type = 'client backend'" 1
    sleep $rests # that session is gone as well
    idle=$(pss_kb)
    mkfifo "$scratch/hold"
    LD_LIBRARY_PATH=$pgsql/lib "$scratch/idle_sessions" $memory_sessions <"$scratch/hold" >"$scratch/held" &
    exec 8>"$scratch/hold"
    until_true test -s "$scratch/held"
    note session-at-once $((($(pss_kb) - idle) / memory_sessions))
    sleep $rests
    loaded=$(pss_kb)
    exec 8>&-
    wait $!
    rm "$scratch/hold" "$scratch/held"
    note idle "$idle"
    note session $(((loaded - idle) / memory_sessions))
    stop "$kind"
}
echo "memory ..."
for ((run = 0; run < 3; run++)); do in_turns memory; done

# ---- opening in a host's process ---------------------------------------------------------------

echo "opening ..."
${CC:-gcc} -O2 -I"$repo/include" -I"$pgsql/include" "$repo/bench/open.c" -o "$scratch/open" \
    -L"$lib" -lcalf -Wl,-rpath,"$lib" || exit 1
"$scratch/open" "$scratch/opened" 20 >"$scratch/opening" || exit 1
"$programs/examples/fixture" >"$scratch/fixture" || exit 1

# ---- the page ---------------------------------------------------------------------------------

# row TITLE NAME UNIT TARGET [STOCK'S NAME]: target ">= x" or "<= x" is about the ratio
row() {
    local a b
    a=$(median "$2" calf)
    b=$(median "${5:-$2}" stock)
    awk -v title="$1" -v a="$a" -v b="$b" -v unit="$3" -v target="$4" \
        -v ra="$(range "$2" calf)" -v rb="$(range "${5:-$2}" stock)" 'BEGIN {
        split(target, t, " ")
        ratio = a / b
        met = t[1] == "" ? "" : t[1] == ">=" ? (ratio >= t[2]) : (ratio <= t[2])
        printf "| %s | %.*f %s (%s) | %.*f %s (%s) | %.2f | %s | %s |\n", title, a < 100, a, unit, ra,
            b < 100, b, unit, rb, ratio, target, met == "" ? "" : met ? "yes" : "no"
    }'
}
table() {
    echo '| what | calf | stock | ratio | target | met |'
    echo '|---|--:|--:|--:|---|---|'
    for n in 1 4 16; do row "pgbench -S -M prepared, $n clients" select-$n tps '>= 0.95'; done
    for n in 1 4 16; do row "pgbench, TPC-B-like, $n clients" tpcb-$n tps '>= 0.95'; done
    for n in 1 4; do row "pgbench -C -S, $n clients" connect-$n tps '>= 1.00'; done
    row 'start to first answer, stock by pg_ctl -w' start ms '<= 1.00'
    row 'start to first answer, stock by postgres' start ms '' direct
    row 'memory at idle (PSS)' idle KiB '<= 1.00'
    row "memory of one more session (PSS, of $memory_sessions)" session KiB '<= 1.00'
    row "the same at once, not after $rests s" session-at-once KiB ''
    awk -v ms="$(median start calf)" 'BEGIN {
        printf "| start to first answer | %.1f ms | | | <= 60 ms | %s |\n", ms, ms <= 60 ? "yes" : "no" }'
}
cpu_row() { # TITLE NAME
    awk -v title="$1" -v a="$(median "$2-cpu" calf)" -v b="$(median "$2-cpu" stock)" 'BEGIN {
        printf "| %s | %.*f µs | %.*f µs | %.2f |\n", title, a < 100, a, b < 100, b, a / b }'
}
cpu_table() {
    echo "| the server's CPU time of a transaction | calf | stock | ratio |"
    echo '|---|--:|--:|--:|'
    for n in 1 4 16; do cpu_row "-S -M prepared, $n clients" select-$n; done
    for n in 1 4 16; do cpu_row "TPC-B-like, $n clients" tpcb-$n; done
    for n in 1 4; do cpu_row "-C -S, $n clients" connect-$n; done
}
commit=$(git -C "$repo" rev-parse --short HEAD 2>/dev/null)
[ -z "$(git -C "$repo" status --porcelain -- src cli pg 2>/dev/null)" ] || commit="$commit and uncommitted changes"
mkdir -p "$(dirname "$page")"
{
    echo "# calf against stock, $date"
    echo
    echo "One run of \`make bench\`: both servers take turns on one machine, so the ratios mean"
    echo "something and the numbers beside them little.  Stock is the same source with the same"
    echo "switches, built the normal way; calf's server is compiled by a profile (pg/train.sh), of"
    echo "which pgbench is a part.  Medians, and in brackets the least and the most.  With one client"
    echo "much depends on whether the kernel puts both ends on one core."
    echo
    table
    echo
    cpu_table
    echo
    cat "$scratch/opening"
    echo "- examples/fixture: $(cat "$scratch/fixture"), target 6 s"
    echo
    echo "- medians of $runs runs of $seconds s each (starting: $((runs * 4)) runs, memory: 3);" \
        "something else took more than 5 % of the machine in $disturbed of $((runs * 16))"
    echo "- PostgreSQL: $(sed -n 's/^#define PG_VERSION "\(.*\)"/\1/p' "$pgsql/include/pg_config.h"), calf: ${commit:-unknown}"
    echo "- CPU: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores," \
        "memory: $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)"
    echo "- Linux $(uname -r), load before: $load_before," \
        "autogroups: $(cat /proc/sys/kernel/sched_autogroup_enabled 2>/dev/null || echo none)"
    echo "- scale $scale, data on $(stat -f -c %T "$data"), max_wal_size 8GB, autovacuum off, else default settings"
} >"$page"
cat "$page"

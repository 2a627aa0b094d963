#!/bin/bash
#
# run.sh - PostgreSQL's own test suites against a server inside calf
#
#   tests/pg/run.sh [MAJOR] SUITE...      core, isolation, plpgsql, contrib, contrib/NAME, vector
#   CALF_SERVE=tests/server/stock-serve.sh tests/pg/run.sh core       the same, stock
#
# The drivers are PostgreSQL's: pg_regress, pg_isolation_regress and what they
# start run natively; the server is `calf serve` on a fresh data directory with
# the settings that pg_regress gives to the servers it makes itself.  A contrib module that
# asks for more (--temp-config in its Makefile) gets a server of its own.
#
# During the core suite the server's session and descendants are sampled: they
# must be one process.
#
# Everything stays in build/tests/pg/SUITE: server.log, regression.diffs, results/; of core also the
# cluster.

set -u

case ${1:-} in
    [0-9]*) export PG_MAJOR=$1; shift ;;
esac
[ $# -gt 0 ] || { echo "usage: run.sh [MAJOR] core|isolation|plpgsql|contrib|contrib/NAME|vector ..." >&2; exit 2; }

# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"

tests=$repo/build/tests/pg
[ "$major" = 17 ] || tests=$repo/build/tests/pg$major
open_conf='' # the additional settings of the server that is open
as_server=(env) # what the clients are: both sides write into one directory
[ -z "${CALF_SERVE:-}" ] || as_server=("${as_user[@]}")

# ---- servers: one cluster is made, every server gets a copy ----------------------------

make_template() {
    log=$tests/template.log
    mkdir -p "$tests"
    : >"$log"
    start_server "$scratch/template" || exit 1
    stop_server || { echo "the server stopped with exit code $?; see $log" >&2; exit 1; }
    # what pg_regress.c puts there
    cat >>"$scratch/template/postgresql.conf" <<'END'
log_autovacuum_min_duration = 0
log_checkpoints = on
log_line_prefix = '%m %b[%p] %q%a '
log_lock_waits = on
log_temp_files = 128kB
max_prepared_transactions = 2
fsync = off
END
}

# open_server SUITE [CONF]: a server with these additional settings
open_server() {
    local out=$tests/$1 conf=${2:-}

    close_server
    [ -d "$scratch/template" ] || make_template
    cp -a "$scratch/template" "$scratch/data"
    [ -z "$conf" ] || cat "$conf" >>"$scratch/data/postgresql.conf"
    log=$out/server.log
    : >"$log"
    start_server "$scratch/data" || return 1
    is_open=1
    # Failed tests explain themselves in this log.
    say "$1: server $server, log in ${log#"$repo"/}"
}

is_open=0
close_server() {
    if [ $is_open = 1 ]; then
        is_open=0
        stop_server || count "server (exit code $?)" 0 1
    fi
    rm -rf "$scratch/data"
}

# ---- one process? ---------------------------------------------------------------------

# Every process in the server's session or below it, except itself, as "pid args"
others() {
    ps -eo pid=,ppid=,sid=,args= | awk -v root="$server" '
        { pid[NR] = $1; parent[$1] = $2; sid[$1] = $3; line[$1] = $0 }
        END { for (n = 1; n <= NR; n++) {
                  p = pid[n]
                  for (a = p; a in parent && a != root; a = parent[a]) ;
                  if (p != root && (a == root || sid[p] == root)) print line[p]
              } }'
}

watch_processes() {
    : >"$1"
    while sleep 0.2; do
        others >>"$1"
        echo sample >>"$1"
    done
}

report_processes() {
    local samples
    samples=$(grep -c '^sample$' "$1")
    if [ "$samples" -gt 0 ] && ! grep -qv '^sample$' "$1"; then
        say "one process in all of $samples samples"
        count 'one process' 1 0
    else
        say "FAILED one process: these were seen beside it in $samples samples:"
        grep -v '^sample$' "$1" | sort | uniq -c | sort -rn | head -n 20
        count 'one process' 0 1
    fi
}

# ---- results -------------------------------------------------------------------------

count() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    say "$1: $2 passed, $3 failed"
}

# read_results FILE: "passed failed", then the names of the failed; TAP, and what 15 prints
read_results() {
    awk '/^ok /                      { ok++ }
         /^not ok /                  { bad++; sub(/^not ok [0-9]+ *[-+] /, ""); names = names " " $1 }
         /\.\.\. ok /                { ok++ }
         /\.\.\. (FAILED|failed)/    { bad++; sub(/^test /, ""); names = names " " $1 }
         END { print ok + 0, bad + 0, names }' "$1"
}

# regress SUITE DRIVER INPUTDIR OPTIONS...: run it against the open server
regress() {
    local suite=$1 driver=$2 input=$3 out=$tests/$1 rc ok bad names
    shift 3

    [ ! -d "$input/data" ] || ln -sfn "$input/data" "$out/data"
    mkdir -p "$out/results"
    [ -z "${CALF_SERVE:-}" ] || give_away "$out"
    (cd "$out" && "${as_server[@]}" env LD_LIBRARY_PATH="$pgsql/lib" "$driver" --inputdir="$input" --outputdir=. \
        --bindir="$bin" --host="$socket" --port=5432 --user=postgres "$@" \
        --dlpath="$objects/src/test/regress") >"$out/output.$(basename "$driver")" 2>&1 </dev/null
    rc=$?
    read -r ok bad names <<<"$(read_results "$out/output.$(basename "$driver")")"
    if [ $rc != 0 ] && [ "$bad" = 0 ]; then
        bad=1 names='(the driver itself)'
        tail -n 20 "$out/output.$(basename "$driver")"
    elif [ $rc = 0 ] && [ "$ok" = 0 ]; then
        bad=1 names='(no test ran)'
    fi
    [ "$bad" = 0 ] || say "FAILED in $suite: $names (see ${out#"$repo"/}/regression.diffs)"
    count "$suite" "$ok" "$bad"
}

fresh() {
    rm -rf "${tests:?}/$1"
    mkdir -p "$tests/$1"
}

pg_regress=$objects/src/test/regress/pg_regress
pg_isolation_regress=$objects/src/test/isolation/pg_isolation_regress

run_core() {
    local watcher
    fresh core
    open_server core || return
    watch_processes "$scratch/processes" &
    watcher=$!
    regress core "$pg_regress" "$source/src/test/regress" --max-concurrent-tests=20 \
        --schedule="$source/src/test/regress/parallel_schedule"
    kill $watcher
    wait $watcher 2>/dev/null
    report_processes "$scratch/processes"
    stop_server || count "server (exit code $?)" 0 1
    is_open=0
    mv "$scratch/data" "$tests/core/cluster" # tests/cli/regression.sh dumps it
}

run_isolation() {
    fresh isolation
    open_server isolation || return
    regress isolation "$pg_isolation_regress" "$source/src/test/isolation" \
        --schedule="$source/src/test/isolation/isolation_schedule"
    close_server
}

# ask_make DIR VARIABLE: what a Makefile of PostgreSQL says
ask_make() {
    make -s --no-print-directory -C "$objects/$1" --eval "calf-print: ; @echo '\$($2)'" calf-print
}

# run_module SUITE DIR: the REGRESS and ISOLATION lists of its Makefile
run_module() {
    local suite=$1 dir=$2 tests_of specs_of options iso_options conf

    tests_of=$(ask_make "$dir" REGRESS)
    specs_of=$(ask_make "$dir" ISOLATION)
    if [ -z "$tests_of$specs_of" ]; then
        without="$without ${suite#contrib/}"
        return
    fi
    read -ra options <<<"$(ask_make "$dir" 'pg_regress_locale_flags) $(REGRESS_OPTS')"
    read -ra iso_options <<<"$(ask_make "$dir" 'ISOLATION_OPTS')"
    conf=$(printf '%s\n' "${options[@]}" "${iso_options[@]}" |
        sed -n 's/^--temp-config=//p; /^--temp-config$/{ n; p }' | head -n 1)
    fresh "$suite"
    if [ $is_open = 0 ] || [ -n "$conf" ] || [ -n "$open_conf" ]; then
        open_server "$suite" "$conf" || { count "$suite (no server)" 0 1; return; }
        open_conf=$conf
    else
        ln -sf "$log" "$tests/$suite/server.log"
    fi
    # shellcheck disable=SC2086 # lists of names
    [ -z "$tests_of" ] || regress "$suite" "$pg_regress" "$source/$dir" "${options[@]}" $tests_of
    # shellcheck disable=SC2086
    [ -z "$specs_of" ] || regress "$suite/isolation" "$pg_isolation_regress" "$source/$dir" \
        "${iso_options[@]}" $specs_of
}

run_contrib() {
    local module
    without=''
    for module in $(ask_make contrib SUBDIRS); do
        run_module "contrib/$module" "contrib/$module"
    done
    close_server
    say "contrib modules without such suites:$without"
}

# pgvector's own
run_vector() {
    local test=$repo/build/pg$major/pgvector/src/test
    fresh vector
    open_server vector || return
    # shellcheck disable=SC2046 # a list of names
    regress vector "$pg_regress" "$test" --load-extension=vector $(basename -s .sql "$test"/sql/*.sql)
    close_server
}

for suite in "$@"; do
    without=''
    case $suite in
        core | isolation | contrib | vector) "run_$suite" ;;
        plpgsql)   run_module plpgsql src/pl/plpgsql/src; close_server ;;
        contrib/*) run_module "$suite" "$suite"; close_server
                   [ -z "$without" ] || say "$suite has no such suite" ;;
        *) echo "run.sh: no suite $suite" >&2; exit 2 ;;
    esac
done
finish

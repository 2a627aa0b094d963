#!/bin/bash
# run.sh [--all] - every test; a closing line adds up those of the suites.
#
# A suite is a command that ends with a line 'N passed, N failed'.  What it
# printed before stands in build/tests/NAME.log and is shown when it failed.
# --all adds what takes long: PostgreSQL 15 and 18, Debian's own extension modules, every fault.
set -u
cd "$(dirname "$0")/.."
mkdir -p build/tests
passed=0 failed=0 broken=()

suite() { # suite NAME COMMAND...
    local name=$1 log=build/tests/${1//[ \/]/-}.log started=$SECONDS line rc
    shift
    "$@" >"$log" 2>&1 </dev/null
    rc=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    printf '%-16s %s (%d s)\n' "$name" "${line:-did not finish, exit code $rc}" $((SECONDS - started))
    if [ -n "$line" ]; then
        passed=$((passed + ${line%% *}))
        line=${line#*, }
        failed=$((failed + ${line%% *}))
    fi
    if [ -z "$line" ] || [ $rc != 0 ]; then
        broken+=("$name")
        [ -n "$line" ] || failed=$((failed + 1))
        grep -v '^ok ' "$log" | tail -n 60 | sed 's/^/    /'
    fi
}

major=${PG_MAJOR:-17}
make -s -C tests/os OUT=../../build/tests/os native || exit 1
suite tidy tests/tidy.sh
suite unit tests/unit/run.sh
[ "$major" != 17 ] || # they use what the default version imports
    suite 'os imports' make -s -C tests/os OUT=../../build/tests/os imports
suite 'os native' tests/os/run.sh native
suite 'os inside' tests/os/run.sh inside
suite runtime tests/runtime/run.sh
suite api tests/api/run.sh
suite package tests/package/run.sh
suite fuzz tests/fuzz/run.sh
suite faults tests/faults/run.sh
suite server tests/server/run.sh
[ "$major" != 17 ] || suite clients tests/clients/run.sh # of which much is what 17 says to clients of 15
for s in core isolation plpgsql contrib vector; do
    suite "pg $s" tests/pg/run.sh "$major" "$s"
done
suite cli tests/cli/run.sh # after core, whose database it dumps
if [ "${1-}" = --all ]; then
    for m in 15 18; do
        suite "pg$m build" bash -c "make PG_MAJOR=$m all && echo '1 passed, 0 failed'"
        for s in core vector; do
            CALF=$PWD/build/calf$m suite "pg$m $s" tests/pg/run.sh $m $s
        done
    done
    suite 'pg15 debs' tests/pg/debs.sh
    suite 'all faults' tests/faults/run.sh --all
    suite 'upgrade 15' env CALF_KILL_TIMES=20 tests/cli/run.sh upgrade
    suite 'upgrade calf15' env CALF_OLD=build/calf15 CALF_KILL_TIMES=20 tests/cli/run.sh upgrade
fi

[ ${#broken[@]} = 0 ] || echo "failed: ${broken[*]}; the logs are in build/tests"
echo "$passed passed, $failed failed"
[ ${#broken[@]} = 0 ] && [ $failed = 0 ]

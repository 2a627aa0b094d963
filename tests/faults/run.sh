#!/bin/bash
# run.sh [--all | KIND N] - what is short ends in an answer or a sentence, never in a dead or hanging host
#
# faults.c lets one call after the other fail: some of them, chosen by CALF_FAULTS_SEED (1), or with
# --all each one (hours), or call N of KIND.  Then a host under the limits of its process.
set -u
cd "$(dirname "$0")/../.."
. tests/built.sh
seed=${CALF_FAULTS_SEED:-1} points=${CALF_FAULTS_POINTS:-48} passed=0 failed=0
room=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1) # each run has a cluster and a copy
[ "${room:-0}" -gt 500000 ] && [ -w /dev/shm ] && TMPDIR=/dev/shm
scratch=$(mktemp -d "${TMPDIR:-/tmp}/calf-faults.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
chmod 711 "$scratch"
ulimit -c 0
host=$scratch/faults
gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -rdynamic -o "$host" tests/faults/faults.c \
    -Iinclude -I"$pgsql/include" -L"$lib" -lcalf -Wl,-rpath,"$lib" -ldl -pthread || exit 1

case ${1-} in
--all) "$host" "$scratch" all >"$scratch/points.log" ;;
?*) exec "$host" "$scratch" "$@" ;;
*) "$host" "$scratch" "$points" "$seed" >"$scratch/points.log" ;;
esac
sed '$d' "$scratch/points.log"
read -r ok _ bad _ <<<"$(tail -n 1 "$scratch/points.log")"
passed=$((passed + ${ok:-0})) failed=$((failed + ${bad:-1}))

# under LIMIT VALUE - the host's own limit (ulimit's letter); 22 is an error that stays one
under() {
    local dir=$scratch/under rc
    mkdir "$dir"
    (
        if [ "$1" = u ]; then
            chown 65531 "$dir"
            exec timeout -s KILL 150 setpriv --reuid 65531 --regid 65531 --clear-groups \
                bash -c 'ulimit -u '"$2"'; exec "$1" --child "$2" none 0' - "$host" "$dir"
        fi
        ulimit "-$1" "$2" && exec timeout -s KILL 150 "$host" --child "$dir" none 0
    ) >"$scratch/log" 2>&1
    rc=$?
    case $rc in
    0 | 10 | 11 | 22)
        echo "ok ulimit -$1 $2"
        passed=$((passed + 1))
        ;;
    *)
        echo "FAILED ulimit -$1 $2 (exit code $rc)"
        tail -n 12 "$scratch/log" | sed 's/^/    /'
        failed=$((failed + 1))
        ;;
    esac
    rm -rf "$dir"
}
for kb in 200000 260000 320000 350000 390000 420000 450000 500000 600000; do
    under v "$kb"
done
for n in 8 16 24 40 64 100; do
    under n "$n"
done
for blocks in 1 64 4000; do # of 1 KB, in a file
    under f "$blocks"
done
# root, whom the limit does not bind, is another user for it, who must be able to read libcalf
if [ "$(id -u)" = 0 ] && setpriv --reuid 65531 --clear-groups test -r "$lib/libcalf.so"; then
    for n in 1 2 3 5 7 9 12; do
        under u "$n"
    done
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]

#!/bin/bash
# run.sh native|inside [PROGRAM...] - run the programs of tests/os, all when none is named.
# Natively they prove the tests right; inside (through $CALF_EXEC) they prove calf right.
# Each runs in an empty directory of its own with at most 60 seconds.
set -u
mode=${1:-}
shift
case $mode in native | inside) ;; *) echo "usage: run.sh native|inside [PROGRAM...]" >&2; exit 2 ;; esac
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "${OUT:-$here/../../build/tests/os}" && pwd) || exit 2
if [ "$mode" = inside ]; then
    start=${CALF_EXEC:-$here/../../build/calf-exec}
    start=$(realpath "$start") || exit 2
    export CALF_INSIDE=1
else
    start=
    unset CALF_INSIDE
fi
[ $# -gt 0 ] || set -- $(cd "$here" && ls ./*.c | sed 's|^\./||; s|\.c$||' | grep -v -e '^mod_' -e '^calf-')
scratch=$(mktemp -d "${TMPDIR:-/tmp}/calf-os.XXXXXX") || exit 2
scratch=$(realpath "$scratch")
trap 'rm -rf "$scratch"' EXIT
ulimit -c 0
umask 022
passed=0
failed=0
for name in "$@"; do
    mkdir "$scratch/$name"
    # A caller may ignore SIGPIPE and the like; the programs expect the defaults.
    (cd "$scratch/$name" && exec env --default-signal LC_ALL=C timeout 60 $start "$out/$name") \
        >"$scratch/$name.log" 2>&1 </dev/null
    rc=$?
    if [ $rc = 0 ]; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        echo "FAILED $name (exit code $rc)"
        sed 's/^/    /' "$scratch/$name.log" | tail -n 40
        failed=$((failed + 1))
    fi
    rm -rf "${scratch:?}/$name"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]

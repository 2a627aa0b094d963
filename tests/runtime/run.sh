#!/bin/bash
# run.sh - programs that use src/runtime as a host would, each in a directory of its own
set -u
cd "$(dirname "$0")/../.."
. tests/built.sh
passed=0 failed=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/calf-rt.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
for name in two restart; do
    mkdir -p "$scratch/$name"
    if timeout 600 "$programs/tests/runtime/$name" "$scratch/$name" 2>"$scratch/$name.log"; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        echo "FAILED $name"
        failed=$((failed + 1))
    fi
    sed 's/^/    /' "$scratch/$name.log"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]

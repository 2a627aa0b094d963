#!/bin/bash
# run.sh [NAME...] - the tests of libcalf: programs that use calf.h, the examples, drop-in users
set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
. tests/built.sh
export CALF_LIBRARY=$lib/libcalf.so
passed=0 failed=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/calf-api.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
ulimit -c 0
temporary() { ls -d /dev/shm/calf-temp.* "${TMPDIR:-/tmp}"/calf-temp.* 2>/dev/null | sort; }
temporary >"$scratch/before"

try() { # try NAME COMMAND...
    local name=$1
    shift
    mkdir "$scratch/$name"
    if timeout 600 "$@" >"$scratch/$name.log" 2>&1 </dev/null; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        echo "FAILED $name (exit code $?)"
        tail -n 30 "$scratch/$name.log" | sed 's/^/    /'
        failed=$((failed + 1))
    fi
    rm -rf "${scratch:?}/$name"
}

[ $# -gt 0 ] || set -- lifecycle options doors listen look wire snapshot guest signals plugin fork threads cycles
for name in "$@"; do
    try "$name" "$programs/tests/api/$name" "$scratch/$name"
done
for example in "$programs"/examples/*; do
    try "example_${example##*/}" "$example" "$scratch/example_${example##*/}/data"
done
try bindings_python env PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=bindings/python \
    /usr/bin/python3 -m pytest -q -p no:cacheprovider bindings/python/tests
try bindings_node "$here/node.sh" "$scratch/bindings_node"
try bindings_go env -C bindings/go GOCACHE="$PWD/build/bindings/go" GOPROXY=off \
    CGO_CFLAGS="-I$PWD/include -I$pgsql/include" CGO_LDFLAGS="-L$lib -Wl,-rpath,$lib" \
    go test -count=1
try bindings_rust env -C bindings/rust CALF_LIB_DIR="$lib" LD_LIBRARY_PATH="$lib" \
    CARGO_TARGET_DIR="$PWD/build/bindings/rust" \
    bash -c 'cargo test --offline --locked && cargo run --offline --locked --example hello'
"$here/dropin.sh" >"$scratch/dropin.log" 2>&1
cat "$scratch/dropin.log" | sed '$d'
read -r ok _ bad _ <<<"$(tail -n 1 "$scratch/dropin.log" | grep -E '^[0-9]+ passed, [0-9]+ failed$' || echo 0 passed, 1 failed)"
passed=$((passed + ok)) failed=$((failed + bad))
try temporary_databases_are_gone diff <(comm -13 "$scratch/before" <(temporary)) /dev/null
echo "$passed passed, $failed failed"
[ $failed = 0 ]

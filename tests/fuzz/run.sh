#!/bin/bash
# run.sh [NAME...] - damaged input is an error and a sentence, never a crash: images, the archive,
# data directories.  The same cases every time, unless they are to be others or more:
#
#   CALF_FUZZ_SEED=7 CALF_FUZZ_TIMES=100 tests/fuzz/run.sh image
set -u
cd "$(dirname "$0")/../.."
. tests/built.sh
export ASAN_OPTIONS=allocator_may_return_null=1 # a size that is damaged is an allocation that fails
seed=${CALF_FUZZ_SEED:-1} times=${CALF_FUZZ_TIMES:-1} passed=0 failed=0
room=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1) # a data directory is copied for each case
[ "${room:-0}" -gt 500000 ] && [ -w /dev/shm ] && TMPDIR=/dev/shm
scratch=$(mktemp -d "${TMPDIR:-/tmp}/calf-fuzz.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
ulimit -c 0

# program NAME FLAGS...
program() {
    local source=tests/fuzz/$1_fuzz.c
    # shellcheck disable=SC2046 # words
    gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -o "$scratch/$1" "$source" \
        $(sed -n 's#^ \* with: \(.*\)#src/\1.c#p' "$source") "${@:2}" -pthread
}

sanitized=(-fsanitize=address,undefined -fno-sanitize-recover=undefined)
image() {
    program image "${sanitized[@]}" && "$scratch/image" "$seed" $((600 * times)) \
        build/tests/os/{module,mod_counter.so,mod_tls.so} "$pgsql/lib/hstore.so"
}
archive() {
    mkdir -p "$scratch/packed/below/deep"
    cp include/calf.h README.md src/kernel/stdio.c "$scratch/packed"
    cp docs/limits.md docs/architecture.md "$scratch/packed/below"
    cp docs/tour.sql "$scratch/packed/below/deep"
    head -c 700000 "$lib/libcalf.so" >"$scratch/packed/binary"
    seq 700000 >"$scratch/packed/numbers" # in several frames, as postgres is
    seq 400000 >"$scratch/packed/below/numbers"
    : >"$scratch/packed/empty"
    "build/obj$major/pack" "$scratch/packed" "$scratch/archive.tar.zst" &&
        program archive "${sanitized[@]}" -lcrypto -lzstd &&
        "$scratch/archive" "$seed" $((400 * times)) "$scratch/archive.tar.zst" "$scratch/packed"
}
directory() {
    mkdir "$scratch/directories"
    program directory -Iinclude -I"$pgsql/include" -L"$lib" -lcalf -Wl,-rpath,"$lib" &&
        "$scratch/directory" "$seed" $((25 * times)) "$scratch/directories"
}

[ $# -gt 0 ] || set -- image archive directory
for name in "$@"; do
    "$name" >"$scratch/$name.log" 2>&1
    rc=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$scratch/$name.log" | tail -n 1)
    head -n 1 "$scratch/$name.log"
    if [ $rc != 0 ]; then
        echo "FAILED $name"
        tail -n 60 "$scratch/$name.log" | sed 's/^/    /'
        line=${line:-0 passed, 1 failed}
    fi
    passed=$((passed + ${line%% *})) line=${line#*, }
    failed=$((failed + ${line%% *}))
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]

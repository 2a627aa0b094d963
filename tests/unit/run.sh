#!/bin/bash
# run.sh - parts of the kernel alone, each test program linked with the one file it tests
set -u
cd "$(dirname "$0")/../.."
mkdir -p build/tests/unit
passed=0 failed=0
for t in tests/unit/*_test.c; do
    name=$(basename "$t" _test.c)
    if gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -fsanitize=address,undefined \
           -o "build/tests/unit/$name" "$t" "src/kernel/$name.c" -pthread &&
       out=$(timeout 300 "build/tests/unit/$name" 2>&1); then
        echo "ok $name"
    else
        echo "FAILED $name"
        out=${out:-0 passed, 1 failed}
        printf '%s\n' "$out"
    fi
    line=$(printf '%s\n' "$out" | grep -E '^[0-9]+ passed, [0-9]+ failed$' | tail -n 1)
    line=${line:-0 passed, 1 failed}
    passed=$((passed + ${line%% *}))
    line=${line#*, }
    failed=$((failed + ${line%% *}))
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]

#!/bin/bash
# run.sh - parts of the kernel alone: each test program says in "with:" which files it is linked with
set -u
cd "$(dirname "$0")/../.."
mkdir -p build/tests/unit
passed=0 failed=0
for t in tests/unit/*_test.c; do
    name=$(basename "$t" _test.c)
    out=
    # shellcheck disable=SC2046 # words
    if gcc -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -g -fsanitize=address,undefined \
           -o "build/tests/unit/$name" "$t" $(sed -n 's/^ \* with: //p' "$t" | tr ' ' '\n' | sed 's#.*#src/kernel/&.c#') \
           -lcrypto -l:libzstd.a -pthread &&
       out=$(timeout 300 "build/tests/unit/$name" 2>&1); then
        echo "ok $name"
    else
        echo "FAILED $name"
        printf '%s\n' "$out" | tail -n 60
        failed=$((failed + 1))
    fi
    line=$(printf '%s\n' "$out" | grep -E '^[0-9]+ passed, [0-9]+ failed$' | tail -n 1)
    line=${line:-0 passed, 0 failed}
    passed=$((passed + ${line%% *}))
    line=${line#*, }
    failed=$((failed + ${line%% *}))
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]

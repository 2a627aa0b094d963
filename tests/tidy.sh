#!/bin/bash
# tidy.sh - our C under gcc and clang with all warnings as errors, and clang-format
set -u
cd "$(dirname "$0")/.."
passed=0 failed=0
check() { # check WHAT COMMAND...
    local what=$1 out
    shift
    if out=$("$@" 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $what"
        printf '%s\n' "$out" | head -n 30
    fi
}
include=build/pg${PG_MAJOR:-17}/pgsql/include # libpq-fe.h
flags=(-Iinclude -I"$include" -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -fsyntax-only -DCALF_PG_MAJOR=17 -DCALF_VERSION='"0"')
for f in src/*/*.c cli/*.c tools/*.c tests/os/calf-exec.c tests/api/*.c tests/clients/*.c examples/*.c bench/open.c; do
    check "gcc $f" gcc "${flags[@]}" "$f"
    check "clang $f" clang "${flags[@]}" "$f"
done
for f in include/*.h src/*/*.[ch] cli/*.c tools/*.c examples/*.c bench/*.c tests/*/*.[ch] pg/*.h; do
    [ -e "$f" ] || continue
    check "clang-format $f (run clang-format -i on it)" clang-format --dry-run -Werror "$f"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]

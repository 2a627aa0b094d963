#!/bin/bash
# imports.sh PG_INSTALL FILE... - fails when a test uses a libc function that PostgreSQL does not.
# Allowed besides: the printf family, what the C start-up code needs, and __tls_get_addr (modules).
set -eu
export LC_ALL=C
install=$1
shift
undefined() { nm -D --undefined-only "$@" | sed -n 's/.* [Uw] \([A-Za-z_0-9]*\)@GLIBC.*/\1/p' | sort -u; }
allowed=$(mktemp)
trap 'rm -f "$allowed"' EXIT
{
    undefined $(find "$install" -type f \( -path '*/bin/*' -o -name '*.so*' \))
    printf '%s\n' printf fprintf snprintf vsnprintf __tls_get_addr
} | sort -u >"$allowed"
passed=0 failed=0
for file in "$@"; do
    extra=$(undefined "$file" | comm -23 - "$allowed")
    if [ -n "$extra" ]; then
        echo "FAILED $(basename "$file"): PostgreSQL does not import:" $extra
        failed=$((failed + 1))
    else
        passed=$((passed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]

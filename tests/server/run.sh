#!/bin/bash
#
# run.sh [NAME...] - the tests of this directory, all when none is named
#
#   CALF_SERVE=tests/server/stock-serve.sh tests/server/run.sh    proves the tests right first

set -u
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- refusals crash containment sessions flood libraries rest leak programs features
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for name in "$@"; do
    echo "== $name"
    "$here/$name.sh" >"$out" 2>&1 </dev/null
    if tail -n 1 "$out" | grep -qE '^[0-9]+ passed, [0-9]+ failed$'; then
        sed '$d' "$out"
        tail -n 1 "$out" >>"$out.sum"
    else
        cat "$out"
        echo "FAILED $name did not finish"
        echo '0 passed, 1 failed' >>"$out.sum"
    fi
done
awk '{ passed += $1; failed += $3 }
     END { print passed + 0 " passed, " failed + 0 " failed"; exit failed > 0 }' "$out.sum"
rc=$?
rm -f "$out.sum"
exit $rc

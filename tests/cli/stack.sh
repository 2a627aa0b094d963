#!/bin/bash
#
# stack.sh - examples/stack: a database and a web service without containers; docs/calf.service

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
unset CALF_DATA CALF_EXTENSION_PATH PGHOST PGUSER PGDATABASE PGPORT
export CALF=$calf PATH=/usr/bin:$PATH # psycopg2 is Debian's

web() { # METHOD [BODY]
    python3 - "$address" "$@" <<'END'
import sys, urllib.request
body = sys.argv[3].encode() if len(sys.argv) > 3 else None
print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], body, method=sys.argv[2])).read().decode())
END
}
start() {
    : >"$scratch/out"
    PORT=0 setsid "$repo/examples/stack/stack.sh" "$scratch/stack" >"$scratch/out" 2>"$scratch/err" </dev/null &
    stack=$!
    echo $stack >>"$scratch/servers"
    until_true grep -q 'http://' "$scratch/out" || { cat "$scratch/err" "$scratch/stack/database.log"; return 1; }
    address=$(sed -n 's/^notes: //p' "$scratch/out")
}
stop() {
    kill -TERM $stack
    gone $stack
    grep -q 'stack/data is closed' "$scratch/out"
    "$calf" status "$scratch/stack/data" | grep -q ': closed'
}

round() {
    start
    [ "$(web GET)" = '[]' ]
    web POST "it's one"
    for n in 1 2 3 4 5 6 7 8; do
        web POST "note $n" >"$scratch/web.$n" &
        jobs[n]=$!
    done
    for n in 1 2 3 4 5 6 7 8; do wait "${jobs[n]}"; done
    web GET | python3 -c 'import json, sys
rows = json.load(sys.stdin); assert len(rows) == 9 and rows[0]["text"] == "it'"'"'s one", rows'
    [ "$("$calf" psql "$scratch/stack/data" -XAtc 'select count(*) from notes')" = 9 ]
    [ "$(stat -c %a "$scratch/stack/password")" = 600 ]
    stop
    start # the data, the password are still there
    [ "$(web GET | grep -o '"id"' | wc -l)" = 9 ]
    stop
}
check 'the web service and its database start, work, stop, start again' round

units() {
    sed "s,/usr/local/bin/calf,$calf," "$repo/docs/calf.service" | grep -v ^Documentation >"$scratch/calf.service"
    cp "$repo/docs/calf.socket" "$scratch"
    systemd-analyze verify "$scratch/calf.service" "$scratch/calf.socket" >"$scratch/out" 2>&1 || { cat "$scratch/out"; return 1; }
    fails grep -E 'calf\.(service|socket)' "$scratch/out"
}
if command -v systemd-analyze >/dev/null; then
    check 'docs/calf.service and calf.socket are units' units
else
    skip 'docs/calf.service' 'systemd-analyze is not installed'
fi

finish

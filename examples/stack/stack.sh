#!/bin/sh
#
# stack.sh [DIR] - a database and a web service that uses it, without containers; Ctrl-C ends both
#
#   examples/stack/stack.sh ./stack
#   curl -d 'a note' http://127.0.0.1:8000/
#   curl http://127.0.0.1:8000/
#
# DIR (./stack) keeps the database, its password and its messages. PORT is the service's (8000),
# DB_PORT the database's (a free one), CALF the command (calf).

set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-./stack}
calf=${CALF:-calf}
mkdir -p "$dir"
[ -e "$dir/password" ] || (umask 077 && head -c 18 /dev/urandom | base64 >"$dir/password")

# returns when the database serves
"$calf" serve "$dir/data" --detach --log "$dir/database.log" \
    --tcp "${DB_PORT:-0}" --password-file "$dir/password" >/dev/null
trap '"$calf" stop "$dir/data"' EXIT

DATABASE_URL=$("$calf" url "$dir/data") PGPASSWORD=$(cat "$dir/password") \
    python3 "$here/service.py" "${PORT:-8000}" &
service=$!
trap 'kill $service' INT TERM
wait $service || :

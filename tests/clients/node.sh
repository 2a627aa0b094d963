#!/bin/bash
#
# node.sh - pg, postgres and knex of npm, in build/clients/node

set -u
# shellcheck source=tests/clients/lib.sh
. "$(dirname "$0")/lib.sh"
modules=$repo/build/clients/node
mkdir -p "$modules"
cp "$here"/node/* "$modules"
cd "$modules" || exit 1
# the registry is only asked when package.json is another one than before
if ! cmp -s package.json node_modules/installed.json; then
    npm install --no-package-lock --ignore-scripts --no-audit --no-fund || exit 1
    cp package.json node_modules/installed.json
fi
serve_clients "$scratch/data" || exit 1
node() { timeout 120 node "$@"; }

check 'pg: values, a pool of ten, COPY, cursors, timeouts, LISTEN' node pg.js "$uri"
check 'postgres: 2,000 queries in pipelines, COPY, cancel, LISTEN' node postgres.js "$uri"
check 'knex: migrations up and down, 200 transactions on ten connections' node knex.js "$uri"

across() { # psycopg2 listens, node notifies
    cat >"$scratch/listen.py" <<'PY'
import select, sys, psycopg2
conn = psycopg2.connect(sys.argv[1])
conn.autocommit = True
conn.cursor().execute("listen news")
print("listens", flush=True)
while not conn.notifies:
    assert select.select([conn], [], [], 60)[0], "heard nothing"
    conn.poll()
print(conn.notifies[0].channel, conn.notifies[0].payload)
PY
    mkfifo "$scratch/listener"
    /usr/bin/python3 "$scratch/listen.py" "$uri" >"$scratch/listener" &
    exec 9<"$scratch/listener"
    read -r line <&9
    [ "$line" = listens ]
    node notify.js "$uri" 'milk ü'
    read -r line <&9
    [ "$line" = 'news milk ü' ]
    wait $!
    # and the other way round; asyncpg and JDBC hear in their own tests
    old() { timeout "$deadline" "$debian/psql" -XAtq "$uri" "$@"; }
    { echo 'listen news;'; until_true grep -q told "$scratch/told" 2>/dev/null; echo 'select 1;'; } |
        old >"$scratch/psql.out" &
    until_sql "select count(*) from pg_stat_activity where application_name = 'psql' and query ilike 'listen%'" 1
    node notify.js "$uri" 'to psql'
    echo told >"$scratch/told"
    wait $!
    grep -q 'Asynchronous notification "news" with payload "to psql"' "$scratch/psql.out"
}
check 'NOTIFY from node reaches psycopg2 and psql' across
check 'nothing went wrong inside' sound

stop_server
finish

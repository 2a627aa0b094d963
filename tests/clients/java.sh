#!/bin/bash
#
# java.sh - the JDBC driver

set -u
# shellcheck source=tests/clients/lib.sh
. "$(dirname "$0")/lib.sh"
serve_clients "$scratch/data" || exit 1
url="jdbc:postgresql://localhost:$port/app?user=app&password=$password&sslmode=verify-full&sslrootcert=$ca"

check 'JDBC: prepared statements, batches, cursors, COPY, cancel and timeouts, 20 threads' \
    timeout 120 java -XX:-UsePerfData -cp /usr/share/java/postgresql.jar "$here/java/Clients.java" "$url"
check 'nothing went wrong inside' sound

stop_server
finish

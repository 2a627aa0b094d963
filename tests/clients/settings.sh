#!/bin/bash
#
# settings.sh - what postgresql.conf and pg_hba.conf say about connections holds

set -u
# shellcheck source=tests/clients/lib.sh
. "$(dirname "$0")/lib.sh"
by=by_settings serve_clients "$scratch/data" -c listen_addresses='127.0.0.1, ::1' -c unix_socket_permissions=0770 \
    -c client_connection_check_interval=200 -c log_connections=on -c log_disconnections=on || exit 1
until_log() { until_true grep -aqE -- "$1" "$log"; }
old() { timeout "$deadline" "$debian/psql" -XAtq -v ON_ERROR_STOP=1 "$uri" "$@"; }

# hba LINE...: these rules and no others, but for the socket
hba() {
    printf '%s\n' "$@" 'local all postgres trust' >"$scratch/data/pg_hba.conf"
    sql 'select pg_reload_conf()'
    is 'select count(*) from pg_hba_file_rules where error is not null' 0
    until_sql 'select count(*) from pg_hba_file_rules' $(($# + 1))
}

addresses() {
    local row='select host(client_addr), host(inet_server_addr()), ssl from pg_stat_activity join pg_stat_ssl using (pid) where pid = pg_backend_pid()'
    [ "$(old -c "$row")" = '127.0.0.1|127.0.0.1|t' ]
    [ "$("$debian/psql" -XAtq "${uri}&hostaddr=::1" -c "$row")" = '::1|::1|t' ]
    [ "$(stat -c %a "$socket_file")" = 770 ]
    refused "could not bind IPv4 address \"127.0.0.1\": Address already in use\|could not create any TCP/IP sockets" \
        "${serve[@]}" "$scratch/second" --socket "$scratch" -c listen_addresses=127.0.0.1 -c port="$port"
}
check 'IPv4 and IPv6, the permissions of the socket, and a taken port is named' addresses

gone_client() { # noticed while the server is busy and would not read for long
    local pid
    "$debian/psql" -XAtq "$uri" -c "select 'waits', pg_sleep(1000)" 2>/dev/null &
    pid=$!
    until_sql "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" 1
    kill -KILL $pid
    until_sql "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" 0
    PGHOST=$socket "$debian/psql" -XAtq -c "select 'waits', pg_sleep(1000)" 2>/dev/null &
    pid=$!
    until_sql "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" 1
    kill -KILL $pid
    until_sql "select count(*) from pg_stat_activity where wait_event = 'PgSleep'" 0
    until_log 'connection to client lost'
}
check 'client_connection_check_interval ends the query of a client that is gone' gone_client

timeouts() {
    { echo 'set idle_in_transaction_session_timeout = 200; begin; select 1;'; until_log 'idle-in-transaction timeout'; echo 'select 2;'; } |
        fails old >"$scratch/out" 2>&1
    grep -q 'terminating connection due to idle-in-transaction timeout' "$scratch/out"
    { echo 'set idle_session_timeout = 200; select 1;'; until_log 'due to idle-session timeout'; echo 'select 2;'; } |
        fails old >"$scratch/out" 2>&1
    grep -q 'terminating connection due to idle-session timeout' "$scratch/out"
    { echo 'set transaction_timeout = 200; begin; select 1;'; until_log 'due to transaction timeout'; echo 'select 2;'; } |
        fails old >"$scratch/out" 2>&1
    grep -q 'terminating connection due to transaction timeout' "$scratch/out"
}
check 'sessions that idle are ended when they should be' timeouts

keepalive() {
    is "show tcp_keepalives_idle" 0 # a Unix socket has none
    old -c 'set tcp_keepalives_idle = 77' -c 'set tcp_keepalives_interval = 7' -c 'set tcp_keepalives_count = 3' \
        -c 'set tcp_user_timeout = 9000' -c "select string_agg(setting, ' ' order by name) from pg_settings where name ~ '^tcp_'" |
        tee "$scratch/out"
    [ "$(cat "$scratch/out")" = '3 77 7 9000' ]
}
check 'the keepalives of TCP are set in its socket' keepalive

direct() { # of 17: TLS without a request for it
    [ "$(client psql -XAtq "$uri&sslnegotiation=direct" -c 'select version from pg_stat_ssl where pid = pg_backend_pid()')" = TLSv1.3 ]
    [ "$(client psql -XAtq "$uri&require_auth=scram-sha-256&channel_binding=require" -c 'select system_user')" = scram-sha-256:app ]
}
check 'direct TLS, as psql 17 can' direct

peer() {
    hba 'local all app peer map=who' 'local all nobody peer'
    printf 'who %s app\n' "$(id -un)" >"$scratch/data/pg_ident.conf"
    sql 'create role nobody login'
    sql 'select pg_reload_conf()'
    [ "$("$debian/psql" -XAtq -h "$socket" -U app app -c 'select system_user')" = "peer:$(id -un)" ]
    refused 'Peer authentication failed for user "nobody"' "$debian/psql" -h "$socket" -U nobody -c 'select 1'
    [ "$(id -u)" != 0 ] || {
        chmod 777 "$socket_file"
        [ "$("${as_user[@]}" "$debian/psql" -XAtq -h "$socket" -U nobody postgres -c 'select system_user')" = peer:nobody ]
        refused 'Peer authentication failed for user "app"' "${as_user[@]}" "$debian/psql" -h "$socket" -U app -c 'select 1'
    }
}
check 'peer: who the client is on the Unix socket' peer

names() { # rules by name, by this machine's own addresses, by @file
    hba 'hostssl all app localhost scram-sha-256' 'host all all all reject'
    old -c 'select 1'
    echo app >"$scratch/data/dbs"
    hba 'hostnossl all all samehost reject' 'hostssl @dbs app samenet scram-sha-256'  'hostssl all /^um.* samehost trust'
    until_true old -c 'select 1'
    refused 'pg_hba.conf rejects connection\|no pg_hba.conf entry' "$debian/psql" "${uri/verify-full/disable}" -c 'select 1'
    refused 'no pg_hba.conf entry for host "127.0.0.1", user "app", database "postgres", SSL encryption' \
        "$debian/psql" "${uri/\/app\?//postgres?}" -c 'select 1'
    echo 'host all all nonsense' >>"$scratch/data/pg_hba.conf"
    kill -HUP "$server"
    until_log 'CONTEXT:  line 5 of configuration file ".*pg_hba.conf"'
    sed -i '$d' "$scratch/data/pg_hba.conf"
    old -c 'select 1'
}
check 'rules of pg_hba.conf by name, by samehost and from a file; a wrong one is named' names

new_certificate() {
    hba 'host all all all scram-sha-256'
    openssl rsa -aes256 -passout pass:sesame -in "$scratch/tls/server.key" -out "$scratch/tls/locked.key"
    openssl req -new -x509 -days 2 -nodes -subj '/CN=a new authority' -keyout "$scratch/ca2.key" -out "$scratch/ca2.crt"
    openssl x509 -req -in "$scratch/tls/server.csr" -CA "$scratch/ca2.crt" -CAkey "$scratch/ca2.key" -days 2 -copy_extensions copy \
        -out "$scratch/tls/server2.crt"
    chmod 600 "$scratch/tls/locked.key"
    [ -z "${CALF_SERVE:-}" ] || give_away "$scratch/tls"
    cp "$scratch/tls/server.crt" "$scratch/saved.crt"; cp "$scratch/tls/server.key" "$scratch/saved.key"
    cat "$scratch/tls/server2.crt" >"$scratch/tls/server.crt"
    cat "$scratch/tls/locked.key" >"$scratch/tls/server.key"
    sql "alter system set ssl_passphrase_command = 'echo sesame'"
    sql "alter system set ssl_passphrase_command_supports_reload = on"
    sql 'select pg_reload_conf()'
    uri2=${uri/"$ca"/$scratch/ca2.crt}
    until_true "$debian/psql" "$uri2" -c 'select 1'
    refused 'certificate verify failed' "$debian/psql" "$uri" -c 'select 1'
    echo nonsense >"$scratch/tls/server.crt" # a broken one is named, and what mends it is the next one
    kill -HUP "$server"
    until_log 'could not load server certificate file'
    cat "$scratch/tls/server2.crt" >"$scratch/tls/server.crt"
    "$debian/psql" "$uri2" -c 'select 1'
}
check 'a new certificate and a key with a passphrase, by reload' new_certificate

logs() {
    mkdir "$scratch/collector"
    [ -z "${CALF_SERVE:-}" ] || give_away "$scratch/collector"
    start_server "$scratch/collector/data" -c port="$port" -c logging_collector=on -c log_destination=csvlog,jsonlog,stderr \
        -c log_directory="$scratch/collector/logs" -c log_rotation_size=64kB -c log_hostname=on -c log_connections=on \
        -c listen_addresses=127.0.0.1
    rotated() { # a file's name has the second in it
        fails sql "select '$(printf '%060000d' 7)' from nowhere" 2>/dev/null
        [ "$(ls "$scratch/collector/logs" | wc -l)" -ge 6 ]
    }
    until_true rotated
    for kind in log csv json; do
        cat "$scratch/collector/logs/"*.$kind | grep -q 'relation .*nowhere.* does not exist'
    done
    fails "$debian/psql" -XAtqw "host=127.0.0.1 port=$port user=postgres" 2>/dev/null
    hostname_logged() { cat "$scratch/collector/logs/"*.csv | grep -q 'connection received: host=localhost port='; }
    until_true hostname_logged
    stop_server
}
check 'nothing went wrong inside' sound
stop_server
mkdir "$scratch/sockets" && chmod 777 "$scratch/sockets"
socket=$scratch/sockets PGHOST=$scratch/sockets port=$(free_port)
[ -z "${CALF_SERVE:-}" ] || export PGPORT=$port
check 'the log collector: three formats, rotation, names of hosts' logs

finish

# shellcheck shell=bash disable=SC2034 # sourced by the scripts beside it
#
# lib.sh - a server as programs of other people reach it: by TCP, with TLS and a password
#
# The rule that matters: what a client is given is $uri or the variables beside it, as
# docs/clients.md has them, and all of it is on 127.0.0.1 or on the Unix socket.

# shellcheck source=tests/server/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../server/lib.sh"
here=$repo/tests/clients
debian=/usr/lib/postgresql/15/bin
password=milk-2-eggs
ca=$scratch/tls/ca.crt

free_port() {
    /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# An authority, and a certificate of it for localhost and nothing else.
certificates() {
    local tls=$scratch/tls
    mkdir "$tls"
    {
        openssl req -new -x509 -days 2 -nodes -subj '/CN=an authority' -keyout "$tls/ca.key" -out "$ca"
        openssl req -new -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost \
            -keyout "$tls/server.key" -out "$tls/server.csr"
        openssl x509 -req -in "$tls/server.csr" -CA "$ca" -CAkey "$tls/ca.key" -days 2 -copy_extensions copy \
            -out "$tls/server.crt"
    } 2>"$scratch/openssl.log" || { cat "$scratch/openssl.log" >&2; return 1; }
    chmod 600 "$tls/server.key"
    [ -z "${CALF_SERVE:-}" ] || give_away "$tls"
}

# by_tcp: the options by which a server is reached by TCP on $port, with TLS, into $tcp
by_tcp() {
    tcp=(--tcp "$port" --password-file "$scratch/password" --tls-cert "$scratch/tls/server.crt"
         --tls-key "$scratch/tls/server.key")
    echo "$password" >"$scratch/password"
    [ -z "${CALF_SERVE:-}" ] || by_settings
}

# The same in PostgreSQL's own words.
by_settings() {
    tcp=(-c listen_addresses=127.0.0.1 -c port="$port" -c ssl=on -c ssl_cert_file="$scratch/tls/server.crt"
         -c ssl_key_file="$scratch/tls/server.key")
}

# serve_clients DIR [serve's options...]: by TCP on $port, with TLS; a role and a database app of it
serve_clients() {
    local dir=$1
    shift
    [ -e "$scratch/tls" ] || certificates || return 1
    port=$(free_port)
    ${by:-by_tcp}
    start_server "$dir" "${tcp[@]}" "$@" || return 1
    [ -z "${CALF_SERVE:-}" ] || export PGPORT=$port # stock's socket has it in its name, too
    socket_file=$socket/.s.PGSQL.$PGPORT
    if [ "$(sql "select count(*) from pg_roles where rolname = 'app'")" = 0 ]; then
        sql "create role app login createdb password '$password'"
        sql 'create database app owner app'
    fi
    uri="postgresql://app:$password@localhost:$port/app?sslmode=verify-full&sslrootcert=$ca"
}

# refused MESSAGE COMMAND...: it fails and says so
refused() {
    local message=$1
    shift
    fails timeout "$deadline" "$@" >"$scratch/message" 2>&1
    cat "$scratch/message"
    grep -q -- "$message" "$scratch/message"
}

# Nothing went wrong inside since the log was emptied last.
sound() { fails grep -aE 'PANIC|terminated by signal|was terminated|TRAP:|^calf: image' "$log"; }

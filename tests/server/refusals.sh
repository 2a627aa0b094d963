#!/bin/bash
#
# refusals.sh - what `calf serve` refuses: one readable line, and nothing touched
#
# Exit code 1 and exactly one line on standard error that names the thing (for
# misuse exit code 2), nothing on standard output, and every file below the data
# directory as before.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"
if [ -n "${CALF_SERVE:-}" ]; then
    skip refusals "the sentences are calf's, not stock's"
    finish
fi

# Everything about a directory that a refused start could change.
facts() {
    find "$1" -printf '%y %m %U %s %T@ %C@ %p\n' 2>/dev/null | sort
    find "$1" -type f -exec sha256sum {} + 2>/dev/null | sort
}

# A server that holds the directory may write there, so only its files are compared.
names() { find "$1" -not -path '*/pg*_*/*' -printf '%y %m %U %p\n' | sort; cat "$1/postmaster.pid"; }

# refused CODE DIR "word|word|..." COMMAND...: every word must be in the line
refused() {
    local want=$1 dir=$2 words=$3 rc=0 word before after look=${look:-facts}
    shift 3

    before=$($look "$dir")
    timeout "$deadline" "$@" >"$scratch/out" 2>"$scratch/err" || rc=$?
    after=$($look "$dir")
    cat "$scratch/out" "$scratch/err"
    [ $rc = "$want" ] || { echo "exit code $rc, not $want"; return 1; }
    [ ! -s "$scratch/out" ] || { echo "it printed on standard output"; return 1; }
    [ "$(wc -l <"$scratch/err")" = 1 ] || { echo "it did not print one line"; return 1; }
    IFS='|' read -ra words <<<"$words"
    for word in "${words[@]}"; do
        grep -qF -- "$word" "$scratch/err" || { echo "nothing says: $word"; return 1; }
    done
    [ "$before" = "$after" ] ||
        { diff <(echo "$before") <(echo "$after"); echo "it changed the directory"; return 1; }
}

copy_cluster() { cp -a "$scratch/cluster" "$1"; }

copy_for_user() {
    copy_cluster "$1"
    give_away "$1"
}

log=$scratch/cluster.log
start_server "$scratch/cluster" && stop_server TERM || exit 1
c=("$calf" serve)

# ---- the directory --------------------------------------------------------------------

other_files() {
    mkdir "$scratch/files"
    echo hello >"$scratch/files/letter.txt"
    refused 1 "$scratch/files" "$scratch/files|not a PostgreSQL data directory" \
        "${c[@]}" "$scratch/files"
}
check 'a directory with other files in it' other_files

one_file() {
    echo hello >"$scratch/letter.txt"
    refused 1 "$scratch/letter.txt" "$scratch/letter.txt|irectory" "${c[@]}" "$scratch/letter.txt"
}
check 'a file instead of a directory' one_file

foreign_version() {
    copy_cluster "$scratch/foreign"
    echo 9.6 >"$scratch/foreign/PG_VERSION"
    refused 1 "$scratch/foreign" "$scratch/foreign|PostgreSQL 9.6|PostgreSQL $major" \
        "${c[@]}" "$scratch/foreign"
    echo $((major + 1)) >"$scratch/foreign/PG_VERSION"
    refused 1 "$scratch/foreign" "$scratch/foreign|PostgreSQL $((major + 1))" \
        "${c[@]}" "$scratch/foreign"
}
check 'a cluster of another major version' foreign_version

damaged_version() {
    copy_cluster "$scratch/noversion"
    : >"$scratch/noversion/PG_VERSION"
    refused 1 "$scratch/noversion" "$scratch/noversion" "${c[@]}" "$scratch/noversion"
    rm "$scratch/noversion/PG_VERSION"
    refused 1 "$scratch/noversion" "$scratch/noversion" "${c[@]}" "$scratch/noversion"
}
check 'a cluster without its version' damaged_version

not_writable() {
    copy_for_user "$scratch/readonly"
    chmod 500 "$scratch/readonly"
    refused 1 "$scratch/readonly" "$scratch/readonly|not writable" \
        "${as_user[@]}" "${c[@]}" "$scratch/readonly" --socket "$socket"
}
check 'a directory that an ordinary user cannot write to' not_writable

not_readable() {
    copy_for_user "$scratch/closed"
    chmod 000 "$scratch/closed"
    refused 1 "$scratch/closed" "$scratch/closed|ermission denied" \
        "${as_user[@]}" "${c[@]}" "$scratch/closed" --socket "$socket"
}
check 'a directory that an ordinary user cannot read' not_readable

no_parent() {
    refused 1 "$scratch" "$scratch/no/such" "${c[@]}" "$scratch/no/such" --socket "$socket"
    mkdir "$scratch/parent"
    chmod 555 "$scratch/parent"
    refused 1 "$scratch/parent" "$scratch/parent/new|ermission denied" \
        "${as_user[@]}" "${c[@]}" "$scratch/parent/new" --socket "$socket"
}
look=names_of_parent
names_of_parent() { find "$1" -maxdepth 1 -name no -o -maxdepth 1 -name new; }
check 'a directory that cannot be created' no_parent
look=facts

# ---- held by somebody else ------------------------------------------------------------

held_by_calf() {
    copy_cluster "$scratch/held"
    start_server "$scratch/held"
    look=names
    refused 1 "$scratch/held" "$scratch/held|$server" "${c[@]}" "$scratch/held"
    mkdir "$scratch/s2"
    refused 1 "$scratch/held" "$scratch/held|$server" "${c[@]}" "$scratch/held" --socket "$scratch/s2"
    is 'select 1' 1
    stop_server
    start_server "$scratch/held" # and afterwards it is free
    stop_server
}
check 'a directory that another calf serves' held_by_calf

stock_bin=$repo/build/pg$major-stock/pgsql
[ -x "$stock_bin/bin/postgres" ] || stock_bin=$pgsql # a native program is a stock server, too
stock() {
    "${as_user[@]}" env LD_LIBRARY_PATH="$stock_bin/lib" "$stock_bin/bin/postgres" -D "$1" -h '' -k "$socket"
}

held_by_stock() {
    local postmaster
    copy_for_user "$scratch/stock"
    stock "$scratch/stock" 2>"$scratch/stock.log" &
    echo $! >>"$scratch/servers"
    until_sql 'select 1' 1
    postmaster=$(head -n 1 "$scratch/stock/postmaster.pid")
    look=names
    mkdir "$scratch/s3" && chmod 777 "$scratch/s3"
    refused 1 "$scratch/stock" "$scratch/stock|$postmaster" \
        "${c[@]}" "$scratch/stock" --socket "$scratch/s3"
    refused 1 "$scratch/stock" "$scratch/stock|$postmaster" \
        "${as_user[@]}" "${c[@]}" "$scratch/stock" --socket "$scratch/s3"
    is 'select 1' 1
    kill -INT "$postmaster"
    gone "$postmaster"
}
check 'a directory that a stock server serves' held_by_stock

stock_refuses() {
    copy_for_user "$scratch/ours"
    serve=("${as_user[@]}" "${c[@]}")
    start_server "$scratch/ours"
    look=names
    mkdir "$scratch/s4" && chmod 777 "$scratch/s4"
    socket=$scratch/s4
    fails stock "$scratch/ours" >"$scratch/err" 2>&1
    cat "$scratch/err"
    grep -q "lock file \"postmaster.pid\" already exists" "$scratch/err"
    grep -q "PID $server" "$scratch/err"
    is 'select 1' 1
    stop_server
}
check 'stock refuses a directory that calf serves' stock_refuses

# ---- the socket -----------------------------------------------------------------------

long_socket() {
    local long
    copy_cluster "$scratch/one"
    long=$scratch/$(printf 'x%.0s' {1..100})
    mkdir "$long"
    refused 1 "$scratch/one" "$long|107" "${c[@]}" "$scratch/one" --socket "$long"
}
check 'a socket path that is too long' long_socket

busy_socket() {
    copy_cluster "$scratch/two"
    copy_cluster "$scratch/three"
    start_server "$scratch/two"
    refused 1 "$scratch/three" "$socket/.s.PGSQL.5432" "${c[@]}" "$scratch/three" --socket "$socket"
    is 'select 1' 1
    stop_server
}
check 'a socket on which another server answers' busy_socket

no_socket_dir() {
    copy_for_user "$scratch/four"
    refused 1 "$scratch/four" "$scratch/nowhere" "${as_user[@]}" "${c[@]}" "$scratch/four" --socket "$scratch/nowhere"
    mkdir "$scratch/sealed" && chmod 555 "$scratch/sealed"
    refused 1 "$scratch/four" "$scratch/sealed|ermission denied" \
        "${as_user[@]}" "${c[@]}" "$scratch/four" --socket "$scratch/sealed"
    refused 1 "$scratch/four" "$scratch/letter" "${c[@]}" "$scratch/four" --socket "$scratch/letter.txt"
}
check 'a socket directory that is missing or closed' no_socket_dir

dead_socket() {
    copy_cluster "$scratch/five"
    start_server "$scratch/five"
    kill -KILL "$server"
    gone "$server"
    [ -S "$socket/.s.PGSQL.5432" ]
    start_server "$scratch/five"
    stop_server
}
check 'but not the socket file of a server that was killed' dead_socket

# ---- the images -----------------------------------------------------------------------

# damaged PROGRAM COMMAND...: a tree in which COMMAND (of standard input) made PROGRAM
damaged() {
    local program=$1
    shift
    rm -rf "$scratch/pgsql"
    cp -as "$(realpath "$pgsql")" "$scratch/pgsql"
    rm "$scratch/pgsql/bin/$program"
    "$@" <"$pgsql/bin/$program" >"$scratch/pgsql/bin/$program"
    chmod 755 "$scratch/pgsql/bin/$program"
    refused 1 "$scratch/cluster" "$scratch/pgsql" env CALF_PG="$scratch/pgsql" \
        "${c[@]}" "$scratch/cluster"
    [ ! -e "$scratch/new" ]
    refused 1 "$scratch/cluster" "$scratch/pgsql" env CALF_PG="$scratch/pgsql" "${c[@]}" "$scratch/new"
    [ ! -e "$scratch/new" ]
}
quarter() { head -c $(($(stat -c %s "$pgsql/bin/postgres") / 4)); } # the rest may be debug information
junk() { head -c 100000 /dev/urandom; }
sparc() { head -c 18; printf '\2\0'; cat; } # e_machine, and all after it moved
sh_script() { echo '#!/bin/sh'; }
check 'an image of 1,000 bytes' damaged postgres head -c 1000
check 'an image of which three quarters are missing' damaged postgres quarter
check 'an image that is empty' damaged postgres head -c 0
check 'an image of random bytes' damaged postgres junk
check 'an image of another kind of machine' damaged postgres sparc
check 'a script instead of an image' damaged postgres sh_script
check 'an initdb of 1,000 bytes' damaged initdb head -c 1000

no_images() {
    mkdir "$scratch/empty"
    refused 1 "$scratch/cluster" "$scratch/empty|CALF_PG" env CALF_PG="$scratch/empty" \
        "${c[@]}" "$scratch/cluster"
}
check 'a CALF_PG without images' no_images

# flipped PATTERN COMMAND...: a calf in whose archive the last byte of the frame with PATTERN is another
flipped() {
    local pattern=$1 archive
    shift
    archive=$repo/build/obj$major/archive.tar.zst
    tar --zstd -xOf "$archive" MANIFEST >"$scratch/manifest" || return 1
    perl -e '
        my ($pattern, $manifest, $archive, $from, $to) = @ARGV;
        local $/; my @text = map { open my $f, "<", $_ or die "$_: $!"; <$f> } $manifest, $archive, $from;
        my $end = length($text[1]) - 65; # of the manifest, before the trailer
        if ($pattern) {
            $text[0] =~ /.*^frame (\d+) (\d+) [^\n]*\n(?:(?!frame )[^\n]*\n)*?[^\n]* $pattern\n/ms or die "no $pattern";
            $end = $1 + $2 - 1;
        }
        my $at = index($text[2], substr($text[1], 0, 1000)) + $end;
        substr($text[2], $at, 1) ^= "\x01";
        open my $f, ">", $to or die; print $f $text[2]; close $f or die' \
        "$pattern" "$scratch/manifest" "$archive" "$calf" "$scratch/flipped" || return 1
    chmod 755 "$scratch/flipped"
    "$@"
    rm "$scratch/flipped"
}
flipped_calf() {
    refused 1 "$scratch/cluster" 'damaged|install' "$scratch/flipped" serve "$scratch/cluster"
}
flipped_template() {
    fails timeout "$deadline" "$scratch/flipped" serve "$scratch/new" 2>"$scratch/err" || return 1
    grep 'template.*damaged.*install' "$scratch/err" && [ ! -e "$scratch/new" ]
}
check 'a calf whose postgres has a flipped bit' flipped bin/postgres flipped_calf
check 'a calf whose manifest has a flipped bit' flipped '' flipped_calf
check 'a calf whose template has a flipped bit' flipped template/base/1/1255 flipped_template
flipped_extension() {
    start_server "$scratch/some" || return 1
    fails sql 'create extension hstore' && sql 'create extension ltree'
    stop_server
}
serve_flipped() {
    local serve=("$scratch/flipped" serve)
    flipped_extension
}
check 'a calf whose hstore has a flipped bit: only that is missing' flipped lib/hstore.so serve_flipped

# ---- PostgreSQL's own refusals: its lines, then calf's ----------------------------------

postgres_refuses() {
    local rc=0
    copy_cluster "$scratch/six"
    timeout "$deadline" "${c[@]}" "$scratch/six" --socket "$socket" "$@" >"$scratch/out" 2>"$scratch/err" || rc=$?
    cat "$scratch/err"
    [ $rc = 1 ]
    [ ! -s "$scratch/out" ]
    tail -n 1 "$scratch/err" | grep -q "^calf: .*$scratch/six"
    rm -rf "$scratch/six"
}
check 'a setting that does not exist' postgres_refuses -c no_such_setting=1

foreign_owner() {
    copy_for_user "$scratch/eight"
    fails timeout "$deadline" "${c[@]}" "$scratch/eight" --socket "$socket" >"$scratch/out" 2>"$scratch/err"
    cat "$scratch/err"
    grep -q "$scratch/eight.*has wrong ownership" "$scratch/err"
}
[ "$(id -u)" != 0 ] || check 'a cluster of another user' foreign_owner

no_control() {
    copy_cluster "$scratch/seven"
    head -c 100 "$scratch/cluster/global/pg_control" >"$scratch/seven/global/pg_control"
    fails timeout "$deadline" "${c[@]}" "$scratch/seven" --socket "$socket" >"$scratch/out" 2>"$scratch/err"
    cat "$scratch/err"
    tail -n 1 "$scratch/err" | grep -q "^calf: .*$scratch/seven"
}
check 'a cluster with a damaged control file' no_control

# ---- misuse ---------------------------------------------------------------------------

misuse() {
    local word=$1
    shift
    refused 2 "$scratch/cluster" "$word" "$calf" "$@"
}
check 'an unknown command' misuse 'dance' dance "$scratch/cluster"
check 'an unknown option' misuse '--dance' serve "$scratch/cluster" --dance
check 'an option without its value' misuse '--socket' serve "$scratch/cluster" --socket
check 'a setting without a value' misuse 'name=value' serve "$scratch/cluster" -c fsync
check 'a second directory' misuse "$scratch/files" serve "$scratch/cluster" "$scratch/files"

no_command() {
    local rc=0
    "$calf" >"$scratch/out" 2>"$scratch/err" || rc=$?
    [ $rc = 2 ] && [ ! -s "$scratch/out" ] && grep -q 'calf serve' "$scratch/err"
    "$calf" --help | grep -q 'calf serve'
    "$calf" --version | grep -q "PostgreSQL $major"
}
check 'no command at all gives the usage' no_command

finish

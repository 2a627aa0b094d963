#!/bin/bash
#
# libraries.sh - ICU, libxml2 and LZ4 are loaded by the first call of one of their functions
#
# Sessions share the host's libraries, so one session's call loads them for all; that of others
# must find what their own copies of the libraries' variables lead to (xmlFree in postgres).

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/lib.sh"
lazy='libicu|libxml2|liblz4|libzstd|libstdc'

is_stock() { [ -n "${CALF_SERVE:-}" ]; }
loaded() { grep -qE "$lazy" "/proc/$server/maps"; }

# A module whose library is gone when it is used; it names LZ4's only to be of the lazy ones.
gone=$scratch/gone
mkdir "$gone"
cat >"$gone/lz4.c" <<'END'
int LZ4_gone(void) { return 1; }
END
cat >"$gone/gone.c" <<'END'
#include "postgres.h"
#include "fmgr.h"
PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(gone);
extern int LZ4_gone(void);
Datum gone(PG_FUNCTION_ARGS)
{
    PG_RETURN_INT32(LZ4_gone());
}
END
gcc -fPIC -shared -Wl,-soname,liblz4.so.77 "$gone/lz4.c" -o "$gone/liblz4.so.77" &&
    gcc -fPIC -shared -I"$pgsql/include/server" "$gone/gone.c" -o "$gone/gone.so" "$gone/liblz4.so.77" || exit 2
rm "$gone/liblz4.so.77"
chmod -R a+rX "$scratch"

start_server "$scratch/data" -c max_parallel_workers_per_gather=0 || exit 1

# A session that is there before the libraries are, and does nothing yet
mkfifo "$scratch/early"
client psql -XAtq -v ON_ERROR_STOP=1 <"$scratch/early" >"$scratch/early.out" 2>&1 &
early=$!
exec 7>"$scratch/early"
echo "select 'begun';" >&7
until_true grep -q begun "$scratch/early.out"

not_yet() {
    client pgbench -i -q -s 1
    client pgbench -n -t 10
    is "select lower('ÄB'), 'a' < 'B', length(repeat('x', 100000)), '2024-02-29'::timestamptz + '1 year' > now()" \
        'äb|f|100000|f'
    fails loaded
}
if is_stock; then skip 'not loaded before' 'stock loads them at once'; else
    check 'sessions that do not use them do not load them' not_yet
fi

xml="select xmlelement(name \"ä b\", xmlattributes('x' as \"é\"), 'hi'), xpath('/a/text()', '<a>7</a>'),
            xmlserialize(content '<b>b</b>'::xml as text indent)"
xml_is='<ä_x0020_b é="x">hi</ä_x0020_b>|{7}|<b>b</b>'
use_xml() {
    is "$xml" "$xml_is"
    fails sql "select xmlparse(document '<broken>')" 2>"$scratch/message"
    grep -q 'invalid XML document' "$scratch/message"
}
use_icu() {
    is "select 'a' < 'B' collate \"en-x-icu\", upper('straße' collate \"de-x-icu\"), initcap('éa b' collate \"fr-x-icu\")" \
        't|STRASSE|Éa B'
    is "select lower(normalize(U&'\\0061\\0308', nfc) collate \"und-x-icu\")" 'ä'
}
use_lz4() {
    is "create temp table t (v text compression lz4); insert into t select repeat('calf', 10000);
        select length(v), pg_column_compression(v) from t" '40000|lz4'
}
check 'libxml2 works when it is first used' use_xml
check 'ICU works when it is first used' use_icu
check 'LZ4 works when it is first used' use_lz4
is_stock || check 'now they are loaded' loaded

from_before() {
    cat >&7 <<END
$xml;
select count(xmlelement(name "ö")) from generate_series(1, 1000);
select upper('ß' collate "de-x-icu");
select 'the end';
END
    until_true grep -q 'the end' "$scratch/early.out"
    sed 1d "$scratch/early.out" | tee /dev/stderr | diff - <(printf '%s\n' "$xml_is" 1000 SS 'the end')
}
check 'a session from before uses what another has loaded' from_before
exec 7>&-
wait $early

again() {
    use_xml
    use_icu
    client pgbench -n -C -c 4 -t 20 -f <(echo "$xml;")
}
check 'and so do later ones' again

is_missing() {
    local before

    before=$(sql "select pid from pg_stat_activity where backend_type = 'checkpointer'")
    sql "create function gone() returns int language c as '$gone/gone.so', 'gone'"
    fails sql 'select gone()'
    until_true grep -q 'needs LZ4_gone of liblz4.so.77: .*cannot open' "$log"
    is "select pid from pg_stat_activity where backend_type = 'checkpointer'" "$before" # no crash
}
if is_stock; then skip 'a library is missing' 'stock says so when it loads the module'; else
    check 'where one is missing the session ends, and only that' is_missing
fi
finish

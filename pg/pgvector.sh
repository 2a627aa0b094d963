#!/bin/bash
#
# pgvector.sh - pgvector from its unmodified source, into the PostgreSQL that build.sh made for calf
#
#   pg/pgvector.sh MAJOR
#
# The rule that matters: the result depends on this file, calf_pg.h, its source and
# that PostgreSQL.  A hash of these is in build/pgMAJOR/pgvector/built; while it
# matches, there is nothing to do.  PostgreSQL itself is never built again for it.
#
# Without -march=native, which upstream's Makefile would add: what is built must run on any machine.
# Where newer instructions matter, pgvector chooses among variants when it is loaded.
#
# sql/ and expected/ of its tests stay in build/pgMAJOR/pgvector/src/test.

set -eu

major=${1:?usage: pgvector.sh MAJOR}
repo=$(cd "$(dirname "$0")/.." && pwd)
here=$repo/pg
pgsql=$repo/build/pg$major/pgsql
top=$repo/build/pg$major/pgvector
log=$top/build.log

# as in build.sh
unset MAKEFLAGS GNUMAKEFLAGS MFLAGS MAKELEVEL CC CFLAGS CPPFLAGS LDFLAGS LIBS COPT PROFILE CPATH DESTDIR
export LC_ALL=C CPATH=$here

build() {
    make -C "$top/objects" -j"$(nproc)" PG_CONFIG="$pgsql/bin/pg_config" OPTFLAGS='' \
        COPT='-gz -include calf_pg.h' "$@"
}

# In a copy: its Makefile looks for files of its own in the current directory.
build_and_install() {
    rm -rf "$top/objects" && cp -rL --no-preserve=mode "$top/src" "$top/objects" && build clean && build &&
        rm -rf "$pgsql"/share/extension/vector* "$pgsql"/include/server/extension/vector && build install
}

mkdir -p "$top"
exec 9>"$top/lock"
flock 9

"$here/fetch.sh" "$major" pgvector
key=$(cat "$top/source" "$here/pgvector.sh" "$here/calf_pg.h" "$repo/build/pg$major/built" | sha256sum | cut -c 1-64)
if [ "$(cat "$top/built" 2>/dev/null)" = "$key" ] && [ -e "$pgsql/lib/vector.so" ]; then
    exit 0
fi
rm -f "$top/built"

start=$SECONDS
printf 'pgvector: compile for PostgreSQL %s (details in %s) ... ' "$major" "${log#"$repo"/}"
if ! build_and_install >"$log" 2>&1 </dev/null; then
    printf 'failed\n'
    tail -n 20 "$log" >&2
    echo "pgvector: compile failed, the last lines of ${log#"$repo"/} are above" >&2
    exit 1
fi
printf '%d s\n' $((SECONDS - start))
echo "$key" >"$top/built"

#!/bin/bash
# archive.sh PGSQL CALF PACK ARCHIVE - all that libcalf carries of PostgreSQL, in one file
#
# PGSQL is what pg/build.sh and pg/pgvector.sh installed, CALF a calf that carries nothing, PACK the program of
# tools/pack.c.  Inside: programs and modules, stripped; share; a cluster that initdb made inside
# calf and that was closed in order.  Left out: what only compiles against PostgreSQL needs.
set -euo pipefail
pgsql=$1 calf=$2 pack=$3 archive=$4
log=$archive.log
stage=$(mktemp -d "$archive.XXXXXX")
trap 'rm -rf "$stage"' EXIT

mkdir "$stage/bin" "$stage/lib"
cp "$pgsql"/bin/* "$stage/bin"
rm -f "$stage"/bin/{ecpg,pg_config,pg_isolation_regress,pg_regress,isolationtester}
cp -L "$pgsql"/lib/*.so "$pgsql"/lib/libpq.so.5 "$stage/lib"
rm -f "$stage"/lib/lib{pq,ecpg,ecpg_compat,pgtypes}.so
strip --strip-unneeded "$stage"/bin/* "$stage"/lib/*
cp -r "$pgsql/share" "$stage"
rm -rf "$stage/share/doc" "$stage/share/man"
find "$stage" -type f -not -path "$stage/bin/*" -exec chmod 644 {} +

# the WAL begins anew, so that initdb's need not be copied
TZ=Etc/UTC CALF_PG=$pgsql "$calf" psql --config wal_recycle=off "$stage/template" -Xqc 'select pg_switch_wal()' -c checkpoint \
    >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
rm -f "$stage"/template/{postmaster.opts,global/config_exec_params} # of that run; they name its directories
# src/runtime/template.c puts the zeros at its end back
perl -0777 -pi -e 's/\0+\z//' "$stage"/template/pg_wal/0*
"$pack" "$stage" "$archive"

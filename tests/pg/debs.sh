#!/bin/bash
#
# debs.sh - Debian's prebuilt extension modules work in calf's PostgreSQL of the same version
#
# They are found by CALF_EXTENSION_PATH, in unpacked packages; calf carries the rest.
#
# hll (C), pg_cron (background workers, libpq) and PostGIS (C++, exceptions,
# GEOS, PROJ, SFCGAL, GDAL), as this Debian's PostgreSQL 15 has them.

set -u
export PG_MAJOR=15
here=$(cd "$(dirname "$0")" && pwd)
"$here/../../pg/debs.sh" 15 postgresql-15-hll postgresql-15-cron postgresql-15-postgis-3 || exit 1
export CALF_EXTENSION_PATH=$here/../../build/pg15/debs/root STOCK_PG=$here/../../build/pg15/pgsql-debs
# shellcheck source=tests/server/lib.sh
. "$here/../server/lib.sh"
deadline=130 # pg_cron's shortest interval is a minute

start_server "$scratch/data" -c shared_preload_libraries=pg_cron -c cron.database_name=postgres \
    -c cron.host="$socket" -c cron.launch_active_jobs=on || exit 1

cron_begins() { # both ways that pg_cron knows: a connection, and a background worker
    sql "create extension pg_cron; create table ticks (how text);
         select cron.schedule('connection', '* * * * *', \$\$insert into ticks values ('connection')\$\$)"
}
check 'pg_cron can be created' cron_begins

hll() {
    sql 'create extension hll'
    is "select abs(hll_cardinality(hll_add_agg(hll_hash_integer(i))) - 100000) < 5000
        from generate_series(1, 100000) i" t
    sql "create table daily (day int, users hll); insert into daily
             select d, hll_add_agg(hll_hash_integer(d * 500 + i)) from generate_series(1, 5) d, generate_series(1, 1000) i
             group by d"
    is "select round(hll_cardinality(hll_union_agg(users))) between 2800 and 3200 from daily" t
}
check 'hll counts' hll

postgis() {
    sql 'create extension postgis'
    is "select postgis_lib_version() ~ '^3'" t
    is "select st_astext(st_intersection('POLYGON((0 0,0 2,2 2,2 0,0 0))'::geometry, 'LINESTRING(1 1,3 1)'))" \
       'LINESTRING(1 1,2 1)'
    is "select round(st_area(st_buffer('POINT(0 0)'::geometry, 10, 100)))" 314
    is "select round(st_distance('POINT(13.4 52.5)'::geography, 'POINT(2.35 48.86)'::geography) / 1000)" 878
    is "select st_asgeojson('POINT(1 2)'::geometry)" '{"type":"Point","coordinates":[1,2]}'
    sql "create table places as select i, st_point(i % 100, i / 100) g from generate_series(1, 10000) i;
         create index on places using gist (g); analyze places"
    is "set enable_seqscan = off; select count(*) from places where g && st_makeenvelope(9.5, 9.5, 19.5, 19.5)" 100
}
check 'PostGIS computes with GEOS and indexes' postgis

proj() {
    is "select round(st_x(st_transform(st_setsrid('POINT(15 0)'::geometry, 4326), 25833)))" 500000
}
check 'PostGIS transforms with PROJ' proj

sfcgal() {
    sql 'create extension postgis_sfcgal'
    is "select st_astext(st_straightskeleton('POLYGON((0 0,2 0,2 2,0 2,0 0))'::geometry)) like 'MULTILINESTRING%'" t
    fails sql "select st_extrude('POLYGON((0 0,2 2,2 0,0 2,0 0))'::geometry, 0, 0, 1)" # a C++ exception
    is 'select 1' 1
}
check 'PostGIS throws and catches C++ exceptions in SFCGAL' sfcgal

others() {
    sql 'create extension postgis_raster; create extension postgis_topology;
         create extension address_standardizer; create extension fuzzystrmatch; create extension postgis_tiger_geocoder'
    is "select st_value(st_setvalue(st_addband(st_makeemptyraster(10, 10, 0, 0, 1), '8BUI'::text, 0, 0), 1, 3, 3, 42), 1, 3, 3)" 42
    is "select topology.createtopology('town') > 0" t
    is "select num from parse_address('1 Devonshire Place, Boston, MA 02109')" 1
}
check 'raster, topology, tiger, address_standardizer' others

reload_by_new_session() { is "select st_npoints(st_buffer('POINT(0 0)'::geometry, 1)) > 8" t; }
check 'a new session loads it again' reload_by_new_session

ticked() { until_sql "select count(*) > 0 from ticks where how = '$1'" t; }
check 'pg_cron runs a job through a connection' ticked connection
stop_server || exit 1

start_server "$scratch/data" -c shared_preload_libraries=pg_cron -c cron.database_name=postgres \
    -c cron.use_background_workers=on || exit 1
sql "select cron.schedule('worker', '* * * * *', \$\$insert into ticks values ('worker')\$\$)" >/dev/null
check 'pg_cron runs a job in a background worker' ticked worker
stop_server

finish

# shellcheck shell=bash # sourced by the tests of dumps and backups
#
# compare.sh - what a database contains, as text: two databases are equal when their texts are
#
# And how these tests call calf and see it refuse.
#
# Three views of it, none of which is calf's: pg_dump's, run natively; the rows of every table,
# sorted by the server; and the names of all objects and their privileges, from the catalogs.

# The rows of every table and matview, sequences, large objects: an md5 sum each.
rows_query="
    select format('select %L, md5(coalesce(string_agg(x::text, E''\n'' order by x::text collate \"C\"), '''')), count(*) from only %s x',
                  n.nspname || '.' || c.relname, c.oid::regclass)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'm') and (c.relkind = 'r' or c.relispopulated) and n.nspname not like 'pg\_%'
    and n.nspname <> 'information_schema'
    union all
    select format('select %L, last_value::text, is_called::int from %s', n.nspname || '.' || c.relname, c.oid::regclass)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'S'
    union all
    select format('select %L, md5(lo_get(%s)), 0', 'large object ' || oid, oid) from pg_largeobject_metadata
    order by 1"

# Everything that was not there when the database was made.
objects_query="
    select (i).type, (i).identity from (
        select pg_identify_object(d.classid, d.objid, d.objsubid) i from (
            select classid, objid, objsubid from pg_depend union select refclassid, refobjid, refobjsubid from pg_depend
        ) d where d.objid >= 16384) x
    where (i).identity !~ '(pg_toast|_ConstraintTrigger_)' order by 1, 2"
acls_query="
    select 'acl', c.oid::regclass::text, c.relacl::text, pg_get_userbyid(c.relowner), c.reloptions::text, c.relpersistence, c.relreplident,
        c.relrowsecurity, c.relforcerowsecurity, c.relhasindex, c.relhasrules, c.relhastriggers, c.relispopulated
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname !~ '^pg_(toast|temp)' and c.relkind <> 't' and c.oid >= 16384
    union all select 'acl', p.oid::regprocedure::text, p.proacl::text, pg_get_userbyid(p.proowner), p.proconfig::text, null, null, null, null, null, null, null, null
    from pg_proc p where p.oid >= 16384
    order by 1, 2"

# schema [pg_dump's options]
schema() { client pg_dump --schema-only "$@" | grep -vE '^\\(un)?restrict '; }

# contents DATABASE: rows, objects
contents() {
    client psql -XAtq -v ON_ERROR_STOP=1 -d "$1" <<<"$rows_query \gexec" && sql "$objects_query" -d "$1" &&
        sql "$acls_query" -d "$1"
}

# whole DATABASE: all of it
whole() { schema -d "$1" && contents "$1"; }

limit=$deadline # seconds for one command
calf() { timeout -k 5 "$limit" "$calf" "$@"; }

# refused COMMAND...: it fails with exit code 1 or 2, and says why
refused() {
    local rc=0
    "$@" 2>"$scratch/said" || rc=$?
    cat "$scratch/said"
    [ "$rc" = 1 ] || [ "$rc" = 2 ] || { echo "exit code $rc: $*"; return 1; }
    grep -q '^calf: ' "$scratch/said"
}

# ends PID CODE
ends() {
    local rc=0
    wait "$1" || rc=$?
    [ $rc = "$2" ] || { echo "exit code $rc, not $2"; return 1; }
}

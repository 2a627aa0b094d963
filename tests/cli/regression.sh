#!/bin/bash
#
# regression.sh - the database that PostgreSQL's core suite leaves, dumped, restored and dumped again
#
# tests/pg/run.sh core keeps its cluster for this.  Two dumps are equal but for the order of columns
# of tables that inherit, which pg_dump does not keep where a parent got a column later; PostgreSQL's
# own comparison of such dumps (AdjustDump.pm) allows for the same.

set -u
# shellcheck source=tests/server/lib.sh
. "$(dirname "$0")/../server/lib.sh"
# shellcheck source=tests/cli/compare.sh
. "$(dirname "$0")/compare.sh"
limit=$((deadline * 5))
core=$repo/build/tests/pg/core
[ "$major" = 17 ] || core=$repo/build/tests/pg$major/core
if [ ! -d "$core/cluster" ]; then
    skip regression 'tests/pg/run.sh core leaves the database for it'
    finish
fi
cd "$scratch" || exit 1
data=$scratch/data

# The columns of every table in the order of their names, in CREATE TABLE and in COPY.
by_column() {
    perl -ne '
        next if /^\\(un)?restrict /;
        if ($copy) {
            if (/^\\\.$/) { undef $copy }
            else { chomp; my @row = split /\t/, $_, -1; $_ = join("\t", @row[@$copy]) . "\n" }
        } elsif (/^COPY (\S+) \((.*)\) FROM stdin;$/) {
            my @names = split /, /, $2;
            $copy = [sort { $names[$a] cmp $names[$b] } 0 .. $#names];
            $_ = "COPY $1 (" . join(", ", @names[@$copy]) . ") FROM stdin;\n";
        } elsif (/^CREATE .*TABLE .*\($/) { @lines = (); $table = 1 }
        elsif ($table && /^    /) { s/,$//; push @lines, $_; next }
        elsif ($table) { print sort @lines; $table = 0 }
        print' "$1"
}

first_dump() {
    cp -a "$core/cluster" "$data"
    calf dump "$data" -d regression -o first.dump
    calf dump "$data" -d regression -o first.sql
    calf dump "$data" -d regression -o first.tar
    calf dump "$data" -d regression -F directory -o first.dir
    by_column first.sql >want
    [ "$(grep -c '^CREATE ' want)" -gt 1000 ] && [ "$(grep -c '^COPY ' want)" -gt 200 ]
}
check 'the regression database is dumped' first_dump

restored() { # FILE [restore's options...]
    local file=$1
    shift
    calf restore "$data" "$file" -d again "$@" >said 2>&1 || { cat said; return 1; }
    calf dump "$data" -d again -o again.sql
    by_column again.sql | diff want -
    [ -e second.sql ] || cp again.sql second.sql
    diff <(grep -v restrict second.sql) <(grep -v restrict again.sql) # without by_column
    calf run dropdb "$data" -- again
}
check 'custom' restored first.dump
check 'custom, three programs at a time' restored first.dump --jobs 3
check 'directory' restored first.dir
check 'directory, three programs at a time' restored first.dir --jobs 3
check 'tar' restored first.tar
check 'plain' restored first.sql
check 'what was restored, dumped, restored and dumped' restored second.sql

# pg_dump itself leaves some out (operators added to built-in families), so against the stock programs
catalogs() {
    calf restore "$data" first.dump -d again -j 2
    start_server "$data"
    client pg_dump -Fc -d regression -f stock.dump
    client createdb stock --template template0
    client pg_restore -d stock stock.dump
    for db in stock again; do
        sql "$objects_query" -d $db >objects.$db
        sql "$acls_query" -d $db >acls.$db
    done
    [ "$(wc -l <objects.again)" -gt 3000 ]
    diff objects.stock objects.again
    diff acls.stock acls.again
    stop_server
}
check 'objects and privileges are those that the stock programs restore' catalogs
finish

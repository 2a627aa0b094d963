#!/bin/bash
#
# dropin.sh - programs that were built for libpq find libcalf in its place, unchanged
#
# Debian's clients run once with libcalf.so preloaded and once with a libpq.so.5 that is a link to
# it; what they connect to is `host=calf:`, inside their own process.
set -u
cd "$(dirname "$0")/../.."
. tests/built.sh
lib=$lib/libcalf.so
scratch=$(mktemp -d "${TMPDIR:-/tmp}/calf-dropin.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/lib"
ln -s "$lib" "$scratch/lib/libpq.so.5"
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGOPTIONS PGSERVICE PGPASSWORD
export LC_ALL=C.UTF-8
passed=0 failed=0

check() { # check SENTENCE FUNCTION [WAY...]: with both ways to find libcalf
    local what=$1 test=$2 way out=$scratch/out
    shift 2
    for way in ${@:-preload link}; do
        if [ $way = preload ]; then with=(env "LD_PRELOAD=$lib"); else with=(env "LD_LIBRARY_PATH=$scratch/lib"); fi
        if (set -eu; "$test") >"$out" 2>&1 </dev/null; then
            passed=$((passed + 1))
            echo "ok $what ($way)"
        else
            failed=$((failed + 1))
            echo "FAILED $what ($way)"
            tail -n 20 "$out" | sed 's/^/    /'
        fi
    done
}

psql() { "${with[@]}" timeout 60 /usr/lib/postgresql/*/bin/psql -XAtq -v ON_ERROR_STOP=1 "$@"; }

debian_psql() {
    rm -rf "$scratch/data"
    [ "$(psql "host=calf:$scratch/data" -c 'create table t as select 42 as n' -c 'select n from t')" = 42 ]
    [ "$(psql "postgresql:///postgres?host=calf:$scratch/data" -c 'select n from t')" = 42 ]
    [ "$(PGHOST=calf:$scratch/data psql -c 'select current_user')" = postgres ]
    [ "$(PGHOST=calf: psql -c 'select 1')" = 1 ]
    seq 1 1000 | psql "host=calf:$scratch/data" -c 'create temp table s (n int)' -c '\copy s from pstdin' \
        -c 'select sum(n) from s' | grep -qx 500500
    ! psql "host=calf:/etc" -c 'select 1' 2>"$scratch/err"
    grep -q '/etc is not a PostgreSQL data directory' "$scratch/err"
    ! psql "host=/nonexistent" -c 'select 1' 2>"$scratch/err" # any other host as ever
    grep -q '/nonexistent/.s.PGSQL.5432' "$scratch/err"
}
check "Debian's psql" debian_psql

forked_workers() { # what multiprocessing and preloading servers do: a parent connects, its children want to
    rm -rf "$scratch/forked"
    "${with[@]}" timeout 120 /usr/bin/python3 - "$scratch/forked" <<'END'
import multiprocessing, os, sys, psycopg2
dsn = "host=calf:" + sys.argv[1]
def worker(n):
    try:
        psycopg2.connect(dsn)
    except psycopg2.OperationalError as e:
        return "was forked from one that had a database open" in str(e)
conn = psycopg2.connect(dsn)
cur = conn.cursor()
cur.execute("create table w as select 1 as n")
conn.commit()
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert pool.map(worker, range(6)) == [True] * 6
pid = os.fork()
if pid == 0:
    sys.exit(0) # not os._exit(): with all that exit() runs
assert os.waitpid(pid, 0)[1] == 0
cur.execute("select count(*) from w")
assert cur.fetchone() == (1,)
conn.close()
def counter(_):
    c = psycopg2.connect(dsn)
    k = c.cursor()
    k.execute("select count(*) from w")
    return k.fetchone()[0]
with multiprocessing.get_context("fork").Pool(1) as pool: # nothing is open any more
    assert pool.map(counter, [0]) == [1]
END
}
check 'forked workers are refused while the parent has a database open' forked_workers

dump() {
    local bin=$pgsql/bin
    [ "$major" != 15 ] || bin=/usr/lib/postgresql/15/bin # Debian's, which refuse newer servers
    "${with[@]}" "$bin"/pg_dump "host=calf:$scratch/data" >"$scratch/dump.sql"
    grep -q 'COPY public.t' "$scratch/dump.sql"
    "${with[@]}" "$bin"/pg_dump -Fc -f "$scratch/dump.custom" "host=calf:$scratch/data"
    rm -rf "$scratch/other"
    "${with[@]}" "$bin"/pg_restore -d "host=calf:$scratch/other" "$scratch/dump.custom"
    [ "$(psql "host=calf:$scratch/other" -c 'select n from t')" = 42 ]
}
check 'pg_dump and pg_restore' dump

python() {
    "${with[@]}" /usr/bin/python3 - "$scratch/data" <<'END'
import sys, threading, psycopg2, psycopg2.extensions
dsn = "host=calf:" + sys.argv[1]
conn = psycopg2.connect(dsn)
cur = conn.cursor()
cur.execute("create temp table p (n int, t text)")
cur.executemany("insert into p values (%s, %s)", [(i, str(i)) for i in range(100)])
cur.execute("select sum(n), count(distinct t) from p")
assert cur.fetchone() == (4950, 100)
conn.rollback()
def session(i, out):
    c = psycopg2.connect(dsn)
    k = c.cursor()
    k.execute("select pg_backend_pid(), %s", (i,))
    out.append(k.fetchone())
    k.execute("select pg_sleep(0.2)")
    c.close()
out = []
threads = [threading.Thread(target=session, args=(i, out)) for i in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
assert len({pid for pid, _ in out}) == 8
try:
    cur.execute("select 1 / 0")
    assert False
except psycopg2.errors.DivisionByZero:
    pass
conn.close()
END
}
check 'psycopg2, eight threads' python

psycopg3() { # psycopg without its C part: by ctypes, past the global scope
    "${with[@]}" /usr/bin/python3 - "$scratch/data" <<'END'
import sys, psycopg
with psycopg.connect("host=calf:" + sys.argv[1]) as conn:
    assert psycopg.pq.__impl__ == "python"
    assert conn.execute("select n + %s from t", (1,)).fetchone() == (43,)
    with conn.cursor().copy("copy (select n from t) to stdout") as copy:
        assert list(copy.rows()) == [("42",)]
assert "libpq.so.5." not in open("/proc/self/maps").read() # the system's
END
}
check 'psycopg 3 in Python' psycopg3

perl_dbd() {
    "${with[@]}" perl -MDBI -e '
        my $d = DBI->connect("dbi:Pg:host=calf:$ARGV[0];dbname=postgres", undef, undef, {RaiseError => 1});
        my $s = $d->prepare("select n + ? from t");
        $s->execute(1);
        die unless $s->fetchrow_array == 43;
        $s->finish;
        $d->do("create temp table c (n int)");
        $d->do("copy c from stdin");
        $d->pg_putcopydata("$_\n") for 1 .. 10;
        $d->pg_putcopyend;
        die unless $d->selectrow_array("select sum(n) from c") == 55;
        $d->disconnect' "$scratch/data"
}
check 'DBD::Pg' perl_dbd

ruby_pg() {
    "${with[@]}" ruby -e '
        require "pg"
        c = PG.connect(host: "calf:" + ARGV[0], user: "postgres", dbname: "postgres") # else it fills in its own
        raise unless c.exec_params("select n + $1::int as m from t", [1])[0]["m"] == "43"
        c.exec("listen news"); c.exec("notify news")
        raise unless c.wait_for_notify(10) == "news"
        c.close' "$scratch/data"
}
check 'ruby-pg' ruby_pg

php_pgsql() {
    "${with[@]}" php -r '
        $c = pg_connect("host=calf:$argv[1]");
        $r = pg_query_params($c, "select n + $1::int from t", [1]);
        if (pg_fetch_result($r, 0, 0) !== "43") exit(1);
        pg_close($c);
        $p = new PDO("pgsql:host=calf:$argv[1];dbname=postgres", "postgres");
        if ($p->query("select n from t")->fetchColumn() != 42) exit(1);' "$scratch/data"
}
check 'php-pgsql and PDO' php_pgsql link # PHP loads its modules with RTLD_DEEPBIND, past what is preloaded

# A program that has both libpqs, in either order, and hosts that load libcalf by themselves.
beside() {
    local where=$scratch/beside build=$PWD
    mkdir -p "$where"
    cd "$where"
    cat >both.c <<'END'
#include <calf.h>
#include <libpq-fe.h>
#include <stdio.h>
int main(void)
{
    calf_db *db;
    PGconn *conn;
    if (calf_open(NULL, NULL, &db, NULL) || calf_listen(db, "tcp:0", NULL))
        return 1;
    conn = PQconnectdb(calf_dsn(db));
    printf("%d %s\n", PQstatus(conn), PQstatus(conn) == CONNECTION_OK ? "" : PQerrorMessage(conn));
    PQfinish(conn);
    printf("%d\n", PQping(calf_uri(db)));
    return calf_close(db, CALF_FAST, NULL);
}
END
    cat >loads.c <<'END'
#include <dlfcn.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>
struct calf_error { int code; char text[1024]; } err;
int main(int n, char **v) /* loads LIBCALF [global] [late] */
{
    void *early = strcmp(v[n - 1], "late") == 0 ? dlopen("libpq.so.5", RTLD_NOW) : NULL;
    void *calf = dlopen(v[1], RTLD_NOW | (n > 2 && strcmp(v[2], "global") == 0 ? RTLD_GLOBAL : 0)), *libpq;
    int code = ((int (*)(struct calf_error *))dlsym(calf, "calf_replace_libpq"))(&err);
    PGconn *conn;
    libpq = dlopen("libpq.so.5", RTLD_NOW);
    conn = ((__typeof__(&PQconnectdb))dlsym(libpq, "PQconnectdb"))("host=calf:");
    printf("%d %d %s\n", code, ((__typeof__(&PQstatus))dlsym(libpq, "PQstatus"))(conn), err.text);
    ((__typeof__(&PQfinish))dlsym(libpq, "PQfinish"))(conn);
    return !early != !code;
}
END
    local cc=(gcc -I"$build/include" -I"$pgsql/include" -Wl,--no-as-needed,-rpath,"${lib%/*}" -L"${lib%/*}")
    "${cc[@]}" both.c -o calf-first -lcalf -lpq
    "${cc[@]}" both.c -o libpq-first -lpq -lcalf
    "${cc[@]}" loads.c -o loads -ldl
    timeout 60 ./calf-first >out
    diff out - <<<$'0 \n0'
    timeout 60 ./libpq-first >out
    grep -q '^1 .*calf:' out
    [ "$(tail -n 1 out)" = 0 ] # another libpq, as any other client
    [ "$(timeout 60 ./loads "$lib")" = '0 0 ' ]
    [ "$(timeout 60 ./loads "$lib" global)" = '0 0 ' ]
    timeout 60 ./loads "$lib" late >out
    grep -q '^1 1 another libpq is loaded already (.*libpq.so.5)' out
}
check 'beside another libpq' beside once

# Every function of libpq is there under its name, and nothing of ours beside calf.h's.
symbols() {
    nm -D --defined-only --format=posix "$lib" | cut -d ' ' -f 1 | grep -v '^libcalf' | sort >"$scratch/has"
    { nm -D --defined-only --format=posix "$pgsql"/lib/libpq.so.5 | cut -d ' ' -f 1
      grep -oE '\bcalf_[a-z_]+\(' include/calf.h | tr -d '(' ; } | sort -u >"$scratch/wants"
    diff "$scratch/wants" "$scratch/has"
}
check 'the exported symbols' symbols

echo "$passed passed, $failed failed"
[ $failed = 0 ]

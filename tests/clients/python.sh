#!/bin/bash
#
# python.sh - psycopg2, asyncpg, SQLAlchemy and Django, as Debian has them

set -u
# shellcheck source=tests/clients/lib.sh
. "$(dirname "$0")/lib.sh"
serve_clients "$scratch/data" || exit 1
python=(env PYTHONDONTWRITEBYTECODE=1 timeout 120 /usr/bin/python3)

check 'psycopg2 and asyncpg: values, COPY, cursors, cancel, LISTEN, pools' "${python[@]}" "$here/python/drivers.py" "$uri"

check '40 sessions hear 500 notifications each; cancel requests without a pause' "${python[@]}" "$here/python/many.py" "$uri"

check 'SQLAlchemy: tables, relations, a pool that threads share and that heals' "${python[@]}" "$here/python/alchemy.py" "$uri"

django() {
    cp -r "$here/python/django" "$scratch/django"
    cd "$scratch/django"
    manage() { "${python[@]}" -m django "$@"; }
    export DATABASE_URL=$uri PYTHONPATH=. DJANGO_SETTINGS_MODULE=settings
    manage makemigrations shop
    manage migrate
    manage migrate --check
    manage test --noinput -v 2 2>&1 | tee "$scratch/out"
    grep -q 'Destroying test database' "$scratch/out"
    grep -q '^Ran 8 tests' "$scratch/out"
    grep -q '^OK' "$scratch/out"
    is "select count(*) from pg_database where datname = 'test_app'" 0
    manage test --noinput --parallel 2 # copies of the test database, by CREATE DATABASE ... TEMPLATE
    manage inspectdb | grep -q 'class ShopProduct'
    manage migrate shop zero
    manage dumpdata auth >/dev/null
    sound
}
check "Django: migrations, a test database that comes and goes, its TestCases" django

stop_server
finish

"""Each test has a database of its own."""

import calf  # before psycopg2, which then has its libpq
import psycopg2
import pytest


@pytest.mark.parametrize("n", range(5))
def test_own_database(calf_dsn, n):
    conn = psycopg2.connect(calf_dsn)
    cursor = conn.cursor()
    cursor.execute("create table only_mine as select %s as n", (n,))
    conn.commit()
    cursor.execute("select n from only_mine")
    assert cursor.fetchone() == (n,)
    conn.close()

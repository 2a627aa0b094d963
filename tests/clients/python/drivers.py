#!/usr/bin/python3
"""drivers.py URI - psycopg2 and asyncpg: parameters, COPY, cursors, cancelling, notifications, pools"""
import asyncio
import datetime
import decimal
import io
import json
import ssl
import sys
import threading
import urllib.parse
import uuid

import asyncpg
import psycopg2
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool

uri = sys.argv[1]
SOON = 20
ROWS = 200_000


def with_psycopg2():
    conn = psycopg2.connect(uri)
    assert conn.info.ssl_in_use and conn.info.ssl_attribute("protocol") == "TLSv1.3"
    cur = conn.cursor()
    values = (1, "ü'\\", None, True, decimal.Decimal("1.50"), datetime.date(2024, 2, 29), [1, 2], b"\0\xff")
    cur.execute("select %s, %s, %s::text, %s, %s, %s, %s, %s::bytea", values)
    *got, data = cur.fetchone()
    assert tuple(got) + (bytes(data),) == values

    with conn:  # a transaction
        cur.execute("create table if not exists events (id int, t text, at timestamptz default now())")
        psycopg2.extras.execute_values(cur, "insert into events (id, t) values %s", [(i, str(i)) for i in range(1000)])
    try:
        with conn:
            cur.execute("delete from events")
            cur.execute("insert into events values ('x')")
    except psycopg2.errors.InvalidTextRepresentation as e:
        assert e.pgcode == "22P02"
    cur.execute("select count(*) from events")
    assert cur.fetchone() == (1000,)

    cur.execute("create temp table c (id int, t text)")
    lines = "".join(f"{i}\t{'x' * 100}{i}\n" for i in range(ROWS))
    cur.copy_expert("copy c from stdin", io.StringIO(lines), size=1 << 16)
    back = io.StringIO()
    cur.copy_expert("copy (select * from c order by id) to stdout", back)
    assert back.getvalue() == lines and len(lines) > 20_000_000

    named = conn.cursor("in_the_server")  # rows in portions
    named.itersize = 10_000
    named.execute("select id from c order by id")
    assert sum(row[0] for row in named) == ROWS * (ROWS - 1) // 2
    conn.rollback()

    done = threading.Event()

    def cancel():  # one that comes before the query has begun is lost
        while not done.wait(0.05):
            conn.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        cur.execute("select pg_sleep(%s)", (SOON,))
        raise SystemExit("not cancelled")
    except psycopg2.errors.QueryCanceled:
        conn.rollback()
    done.set()
    canceller.join()

    pool = psycopg2.pool.ThreadedConnectionPool(1, 10, uri)
    room, sums = threading.Semaphore(10), []

    def work(i):
        with room:
            c = pool.getconn()
            with c, c.cursor() as k:
                k.execute("update events set t = t || %s where id = 7 returning length(t)", ("+",))
                sums.append(k.fetchone()[0])
            pool.putconn(c)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(50)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(sums) == list(range(2, 52)), sorted(sums)
    pool.closeall()
    conn.close()


async def with_asyncpg():
    conn = await asyncpg.connect(uri)
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    row = await conn.fetchrow(  # asyncpg has binary formats only
        "select $1::int8 a, $2::timestamptz b, $3::uuid c, $4::jsonb d, $5::numeric e, $6::text[] f, $7::interval g, $8::inet h",
        1 << 40, (now := datetime.datetime.now(datetime.timezone.utc)), (u := uuid.uuid4()), {"k": [1, None]},
        decimal.Decimal("12345678901234567890.5"), ["a", None], datetime.timedelta(days=1, microseconds=5), "10.0.0.1")
    assert (row["a"], row["b"], row["c"], row["d"], row["f"]) == (1 << 40, now, u, {"k": [1, None]}, ["a", None])

    await conn.execute("drop table if exists many; create table many (id int primary key, t text)")
    rows = [(i, "y" * 100) for i in range(ROWS)]
    assert await conn.copy_records_to_table("many", records=rows) == f"COPY {ROWS}"  # binary COPY
    out = io.BytesIO()
    await conn.copy_from_query("select id, t from many", output=out, format="binary")
    assert len(out.getvalue()) > ROWS * 110
    await conn.execute("truncate many")
    out.seek(0)
    await conn.copy_to_table("many", source=out, format="binary")

    async with conn.transaction():
        total = 0
        async for r in conn.cursor("select id from many", prefetch=5000):
            total += r["id"]
    assert total == ROWS * (ROWS - 1) // 2
    try:
        async with conn.transaction():
            await conn.execute("delete from many where id < 10")
            async with conn.transaction():  # a savepoint
                await conn.execute("insert into many values (10, 'twice')")
    except asyncpg.UniqueViolationError as e:
        assert e.constraint_name == "many_pkey"
    assert await conn.fetchval("select count(*) from many") == ROWS

    try:  # asyncpg cancels when the time is over
        await conn.fetch("select pg_sleep(1000)", timeout=0.3)
        raise SystemExit("not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await conn.fetchval("select 1") == 1

    heard = asyncio.get_running_loop().create_future()
    await conn.add_listener("news", lambda c, pid, channel, text: heard.done() or heard.set_result((pid, text)))
    async with asyncpg.create_pool(uri, min_size=2, max_size=10) as pool:
        pids = await asyncio.gather(*(pool.fetchval("select pg_backend_pid() from many where id = $1", i) for i in range(200)))
        assert 2 <= len(set(pids)) <= 10
        async with pool.acquire() as other:
            await other.execute("select pg_notify('news', 'hello')")
            assert await asyncio.wait_for(heard, SOON) == (other.get_server_pid(), "hello")
    await conn.close()

    # a wrong host name is refused, and so is a wrong password
    for wrong, error in ((uri.replace("@localhost", "@127.0.0.1"), ssl.SSLCertVerificationError),
                         (uri.replace(":milk", ":silk"), asyncpg.InvalidPasswordError)):
        assert wrong != uri
        try:
            await asyncpg.connect(wrong)
            raise SystemExit("let in")
        except error:
            pass


with_psycopg2()
asyncio.run(with_asyncpg())

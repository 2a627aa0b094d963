#!/usr/bin/python3
"""many.py URI - many at once: 40 sessions that listen to five that notify; cancel requests without a pause"""
import select
import sys
import threading

import psycopg2

uri = sys.argv[1]
LISTENERS, SENDERS, MESSAGES = 40, 5, 100
wrong = []


def in_threads(*calls):
    def guarded(call, args):
        try:
            call(*args)
        except BaseException as e:
            wrong.append(repr(e))

    threads = [threading.Thread(target=guarded, args=(call, args)) for call, *args in calls]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong, wrong[:3]


def connect():
    conn = psycopg2.connect(uri)
    conn.autocommit = True
    return conn


ready = threading.Barrier(LISTENERS + SENDERS, timeout=60)


def listen():
    conn, got = connect(), []
    conn.cursor().execute("listen news")
    ready.wait()
    while len(got) < SENDERS * MESSAGES:
        assert select.select([conn], [], [], 60)[0], f"heard {len(got)}"
        conn.poll()
        got += [n.payload for n in conn.notifies]
        conn.notifies.clear()
    for s in range(SENDERS):  # those of one sender in their order
        assert [g for g in got if g.startswith(f"{s}:")] == [f"{s}:{m}" for m in range(MESSAGES)]


def send(s):
    cur = connect().cursor()
    ready.wait()
    for m in range(MESSAGES):
        cur.execute("select pg_notify('news', %s)", (f"{s}:{m}",))


def cancel():
    conn, done = connect(), threading.Event()
    cur = conn.cursor()

    def without_a_pause():
        while not done.is_set():
            conn.cancel()

    storm = threading.Thread(target=without_a_pause)
    storm.start()
    try:
        for _ in range(15):
            try:
                cur.execute("select count(*) from generate_series(1, 1000000000000)")
                raise AssertionError("not cancelled")
            except psycopg2.errors.QueryCanceled:
                pass
    finally:
        done.set()
        storm.join()
    for _ in range(100):  # one that is under way may still come
        try:
            cur.execute("select 42")
            assert cur.fetchone() == (42,)
            return
        except psycopg2.errors.QueryCanceled:
            pass
    raise AssertionError("cancelled for ever")


in_threads(*[(listen,)] * LISTENERS, *[(send, s) for s in range(SENDERS)])
in_threads(*[(cancel,)] * 4)

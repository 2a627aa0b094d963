import asyncio
import ctypes
import datetime
import functools
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest
import unittest.mock

import calf  # before the drivers, so that they connect without a socket
import psycopg
import psycopg2


class WithADriver:
    """Of a `driver`, which db.connect() uses for them."""

    def setUp(self):
        connect = unittest.mock.patch.object(calf.Database, "connect", functools.partialmethod(
            calf.Database.connect, driver=self.driver))
        connect.start()
        self.addCleanup(connect.stop)

    def test_temporary(self):
        with calf.open() as db:
            conn = db.connect()
            cursor = conn.cursor()
            cursor.execute("select 6 * 7, current_user")
            self.assertEqual(cursor.fetchone(), (42, "postgres"))
            conn.close()
            directory = db.directory
            self.assertTrue(db.healthy and os.path.isdir(directory))
        self.assertFalse(os.path.exists(directory))

    def test_kept_and_shared(self):
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "data ü")
            with calf.open(path, settings={"work_mem": "9MB"}) as one, calf.open(path) as two:
                a, b = one.connect(), two.connect()
                a.cursor().execute("create table t as select 1 as n")
                a.commit()
                cursor = b.cursor()
                cursor.execute("select n, current_setting('work_mem') from t")
                self.assertEqual(cursor.fetchone(), (1, "9MB"))
                a.close(), b.close()
            conn = self.driver.connect("host='calf:%s'" % path)
            cursor = conn.cursor()
            cursor.execute("select n from t")
            self.assertEqual(cursor.fetchone(), (1,))
            conn.close()

    def test_errors(self):
        with self.assertRaises(calf.Error) as raised:
            calf.open("/etc")
        self.assertEqual(raised.exception.code, calf.FOREIGN)
        self.assertIn("/etc", str(raised.exception))
        db = calf.open()
        with self.assertRaises(calf.Error) as raised:
            db.close(7)
        self.assertTrue(raised.exception.code == calf.MISUSE and db.healthy)
        db.close()
        db.close()
        self.assertIsNone(db.dsn)
        for use in lambda: db.run("psql", "-V"), lambda: db.run_signal(signal.SIGINT), lambda: db.listen("tcp:0"), db.wire:
            with self.assertRaises(calf.Error) as raised:
                use()
            self.assertEqual(raised.exception.code, calf.MISUSE)

    def test_threads(self):
        with calf.open() as db:
            pids = set()

            def session():
                conn = db.connect()
                pids.add(conn.info.backend_pid)
                conn.cursor().execute("select pg_sleep(0.1)")
                conn.close()

            threads = [threading.Thread(target=session) for _ in range(8)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            self.assertEqual(len(pids), 8)

    def test_listen_and_run(self):
        with calf.open() as db, tempfile.TemporaryFile() as out:
            uri = db.listen("tcp:0")
            self.assertTrue(uri.startswith("postgresql://postgres@127.0.0.1:"))
            db.unlisten()
            self.assertEqual(db.run("psql", "-XAtc", "select 42", stdout=out.fileno()), 0)
            out.seek(0)
            self.assertEqual(out.read(), b"42\n")

    def test_listens_from_the_beginning(self):
        with tempfile.TemporaryDirectory() as scratch, socket.create_server(("127.0.0.1", 0)) as mine:
            with calf.open(listen=[scratch, "fd:%d" % mine.fileno()]) as db:
                self.assertIn("@127.0.0.1:%d/" % mine.getsockname()[1], db.uri)
                db.unlisten("fd:%d" % mine.fileno())
                self.driver.connect(db.uri).close()
            with self.assertRaises(calf.Error) as raised:
                calf.open(listen=["nowhere"])
            self.assertEqual(raised.exception.code, calf.MISUSE)

    def test_look(self):
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "data")
            self.assertEqual(calf.look(path), (calf.ABSENT, None, False, None, None, None))
            with calf.open(path) as db:
                seen = calf.look(path)
                self.assertEqual((seen.state, seen.pid, seen.stock, seen.uri), (calf.OPEN, os.getpid(), False, None))
                age = datetime.datetime.now(datetime.timezone.utc) - seen.since
                self.assertLess(abs(age.total_seconds()), 600)
                db.listen(scratch)
                uri = db.listen("tcp:0")
                seen = calf.look(path)
                self.assertEqual(seen.uri, uri)
                self.assertIn("?host=", seen.socket_uri)
                db.close(calf.IMMEDIATE)
            self.assertEqual(calf.look(path).state, calf.CRASHED)
            calf.open(path).close()
            self.assertEqual(calf.look(path).state, calf.CLOSED)
            with tempfile.TemporaryFile() as out: # a program without a database
                self.assertEqual(calf.run("pg_controldata", path, stdout=out.fileno()), 0)
                out.seek(0)
                self.assertIn(b"shut down", out.read())
            calf.run_signal(signal.SIGINT) # nobody's
            with self.assertRaises(calf.Error) as raised:
                calf.look(scratch)
            self.assertEqual(raised.exception.code, calf.FOREIGN)

    def test_signal_and_hurry(self):
        with calf.open() as db:
            conn = db.connect()
            conn.autocommit = True
            cursor = conn.cursor()
            codes = []

            def sleep():
                with open(os.devnull, "w") as null:
                    codes.append(db.run("psql", "-Xc", "select pg_sleep(1000)", stderr=null.fileno()))

            thread = threading.Thread(target=sleep)
            thread.start()
            slept = 0
            while not slept:
                cursor.execute("select count(*) from pg_stat_activity where wait_event = 'PgSleep'")
                slept = cursor.fetchone()[0]
            db.run_signal(signal.SIGINT) # psql cancels its query
            thread.join()
            self.assertEqual(codes, [1])
            with self.assertRaises(calf.Error) as raised:
                db.run_signal(0)
            self.assertEqual(raised.exception.code, calf.MISUSE)

            thread = threading.Thread(target=db.close, args=[calf.SMART]) # waits for conn
            thread.start()
            while db.healthy:
                pass
            db.close(calf.FAST)
            thread.join()
            with self.assertRaises(self.driver.OperationalError):
                cursor.execute("select 1")

    def test_options(self):
        with tempfile.TemporaryDirectory() as scratch:
            with open(os.path.join(scratch, "one.control"), "w") as control:
                control.write("default_version = '1'\n")
            with open(os.path.join(scratch, "one--1.sql"), "w") as script:
                script.write("create function one() returns int return 1;\n")
            lines = []
            with calf.open(superuser="anna", encoding="LATIN1", locale="C", checksums=False,
                           log=lines.append, extension_path=scratch) as db:
                conn = db.connect()
                cursor = conn.cursor()
                cursor.execute("create extension one")
                cursor.execute("select current_user, one(),"
                               " current_setting('server_encoding'), current_setting('data_checksums')")
                self.assertEqual(cursor.fetchone(), ("anna", 1, "LATIN1", "off"))
                cursor.execute("do $$ begin raise log 'hello, log'; end $$")
                conn.close()
            self.assertTrue(any("hello, log" in line for line in lines), lines)
            with self.assertRaises(calf.Error) as raised:
                calf.open(extension_path=os.path.join(scratch, "absent"))
            self.assertEqual(raised.exception.code, calf.MISUSE)
            with self.assertRaises(ValueError):
                calf.open(log=print, linger_ms=1)
        if "icu" in calf.features():
            with calf.open(icu_locale="sv") as db:
                conn = db.connect()
                cursor = conn.cursor()
                cursor.execute("select string_agg(c, '' order by c) from unnest('{z,ä,ö}'::text[]) c")
                self.assertEqual(cursor.fetchone(), ("zäö",))
                conn.close()

    def test_lingers(self):
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "data")
            begun = []
            for mode in calf.FAST, calf.IMMEDIATE:
                with calf.open(path, linger_ms=600000) as db:
                    conn = db.connect()
                    cursor = conn.cursor()
                    cursor.execute("select pg_postmaster_start_time()")
                    begun += cursor.fetchone()
                    conn.close()
                    db.close(mode)
            self.assertEqual(begun[0], begun[1])
            self.assertFalse(os.path.exists(os.path.join(path, "postmaster.pid")))

    def test_python_ends_with_a_log_function(self):
        program = """if True:
            import calf, sys
            db = calf.open(sys.argv[1], log=lambda line: print(line, flush=True))
            """
        with tempfile.TemporaryDirectory() as scratch:
            ran = subprocess.run([sys.executable, "-c", program, os.path.join(scratch, "data")],
                                 capture_output=True, text=True)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertIn("database system is shut down", ran.stdout)

    def test_copies(self):
        with tempfile.TemporaryDirectory() as scratch:
            path, copy, clone = (os.path.join(scratch, name) for name in ("data", "copy", "clone"))
            with calf.open(path) as db:
                conn = db.connect()
                conn.cursor().execute("create table t as select 42 as n")
                conn.commit()
                db.snapshot(copy)
                with self.assertRaises(calf.Error) as raised:
                    calf.clone(path, clone)
                self.assertEqual(raised.exception.code, calf.HELD)
                conn.close()
            calf.clone(copy, clone)
            with calf.open(clone) as db:
                conn = db.connect()
                cursor = conn.cursor()
                cursor.execute("select n from t")
                self.assertEqual(cursor.fetchone(), (42,))
                conn.close()

    def test_wire(self):
        parameters = b"user\0postgres\0database\0postgres\0\0"
        with calf.open() as db, db.wire() as wire:
            self.assertEqual(wire.exchange(timeout_ms=0), (0, b""))

            def talk(data):
                answer = b""
                while data or not answer.endswith(b"Z\0\0\0\5I"):
                    taken, came = wire.exchange(data, 100)
                    data, answer = data[taken:], answer + came
                return answer

            talk(struct.pack(">II", len(parameters) + 8, 3 << 16) + parameters)
            sql = b"select 'forty-' || 'two'\0"
            self.assertIn(b"forty-two", talk(b"Q" + struct.pack(">I", len(sql) + 4) + sql))
            db.close()
            with self.assertRaises(calf.Error) as raised:
                while True:
                    wire.exchange()
            self.assertEqual(raised.exception.code, calf.ENDED)

    def test_example(self):
        example = os.path.join(os.path.dirname(__file__), "../example/notes.py")
        with tempfile.TemporaryDirectory() as scratch:
            env = dict(os.environ, NOTES=os.path.join(scratch, "notes"))
            for words in ["remember", "the milk"], []:
                said = subprocess.check_output([sys.executable, example, *words], env=env, text=True)
                self.assertTrue(said.endswith(" remember the milk\n"), said)

    def test_plain_functions(self):
        self.assertIn("PostgreSQL", calf.version())
        self.assertEqual(calf.features(), sorted(calf.features()))
        self.assertIn("zlib", calf.features())
        self.assertTrue(calf.data_dir("acme", "notes").endswith("/acme/notes"))
        self.assertTrue(calf.data_dir("acme", "notes", qualifier="com").endswith("/acme/notes"))
        with self.assertRaises(calf.Error) as raised:
            calf.data_dir("a/b", "notes")
        self.assertEqual(raised.exception.code, calf.MISUSE)

    def test_subprocess_beside_sessions(self):
        with calf.open() as db:
            conn = db.connect()
            self.assertEqual(subprocess.check_output(["echo", "yes"]), b"yes\n")
            conn.close()

    def test_the_drivers_libpq_is_libcalf(self):
        self.assertIn("'calf:", "'" + connected_to(self.driver.__name__, "import calf, {0}"))
        with self.assertRaises(AttributeError):  # nobody else's functions are
            ctypes.CDLL(None).PQconnectdb

    def test_a_driver_with_another_libpq_connects_through_a_socket(self):
        where = connected_to(self.driver.__name__, "import {0}, calf")
        self.assertIn("/calf-", where)
        self.assertFalse(os.path.exists(where))  # Python has ended, with the database open

    def test_socket(self):
        with calf.open(superuser="anna") as db:
            dsn = db.socket_dsn()
            self.assertEqual(dsn, db.socket_dsn())
            db.listen("tcp:0")  # is db.uri, not dsn
            conn = self.driver.connect(dsn)
            cursor = conn.cursor()
            cursor.execute("select current_user")
            self.assertEqual(cursor.fetchone(), ("anna",))
            conn.close()
            directory = os.path.dirname(calf.look(db.directory).socket_uri.partition("?host=")[2].partition("&")[0] + "/")
            self.assertEqual(os.stat(directory).st_mode & 0o777, 0o700)
            db.unlisten()
            self.assertFalse(os.path.exists(directory))
            self.driver.connect(db.socket_dsn()).close()
        with self.assertRaises(calf.Error) as raised:
            db.socket_dsn()
        self.assertEqual(raised.exception.code, calf.MISUSE)

    def test_forked_children(self):
        fork = multiprocessing.get_context("fork")
        with calf.open() as db:
            def child(dsn):
                with db:  # its end is nothing to the parent
                    conn = self.driver.connect(dsn)
                    conn.cursor().execute("create table t as select 42 as n")
                    conn.commit()
                    conn.close()
                db.close()

            process = fork.Process(target=child, args=[db.socket_dsn()])
            process.start()
            process.join()
            self.assertEqual(process.exitcode, 0)
            for conn in db.connect(), self.driver.connect(db.socket_dsn()):
                cursor = conn.cursor()
                cursor.execute("select n from t")
                self.assertEqual(cursor.fetchone(), (42,))
                conn.close()


class WithPsycopg2(WithADriver, unittest.TestCase):
    driver = psycopg2


class WithPsycopg3(WithADriver, unittest.TestCase):
    driver = psycopg

    def test_async(self):
        async def answer(dsn):
            async with await psycopg.AsyncConnection.connect(dsn) as conn:
                return await (await conn.execute("select 6 * 7")).fetchone()

        with calf.open() as db:
            self.assertEqual(asyncio.run(answer(db.socket_dsn())), (42,))


def connected_to(driver, imports):
    """Where db.connect() goes in a Python that has these imports, which ends with its database open."""
    program = imports + """
conn = calf.open().connect(driver={0})
cursor = conn.cursor()
cursor.execute("select 6 * 7")
assert cursor.fetchone() == (42,)
print((conn.info.dsn_parameters if hasattr(conn.info, "dsn_parameters") else conn.info.get_parameters())["host"])
conn.close()
"""
    return subprocess.check_output([sys.executable, "-c", program.format(driver)], text=True).strip()


if __name__ == "__main__":
    unittest.main()

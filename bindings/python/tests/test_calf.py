import os
import subprocess
import tempfile
import threading
import unittest

import calf  # before psycopg2
import psycopg2


class Calf(unittest.TestCase):
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
            conn = psycopg2.connect("host='calf:%s'" % path)
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
        db.close()
        self.assertIsNone(db.dsn)

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

    def test_subprocess_beside_sessions(self):
        with calf.open() as db:
            conn = db.connect()
            self.assertEqual(subprocess.check_output(["echo", "yes"]), b"yes\n")
            conn.close()


if __name__ == "__main__":
    unittest.main()

"""service.py PORT - notes over HTTP, in the database that DATABASE_URL names (python3-psycopg2)

POST / adds the body as a note, GET / gives all of them as JSON.
"""
import http.server, json, os, sys

import psycopg2


def connect():
    return psycopg2.connect(os.environ["DATABASE_URL"])


class Notes(http.server.BaseHTTPRequestHandler):
    def answer(self, code, rows):
        body = json.dumps(rows).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def query(self, code, sql, *values):
        db = connect()  # a session for each request: they run side by side
        try:
            with db, db.cursor() as cursor:
                cursor.execute(sql, values)
                rows = [{"id": row[0], "text": row[1]} for row in cursor]
        finally:
            db.close()
        self.answer(code, rows)

    def do_GET(self):
        self.query(200, "select id, text from notes order by id")

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.query(201, "insert into notes (text) values (%s) returning id, text", text)


db = connect()
with db, db.cursor() as cursor:
    cursor.execute("create table if not exists notes (id serial primary key, text text not null)")
db.close()
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Notes)
print("notes: http://127.0.0.1:%d/" % server.server_port, flush=True)
server.serve_forever()

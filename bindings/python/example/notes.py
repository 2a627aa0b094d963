"""A program that keeps its notes in ./notes: notes.py [a note]"""

import os
import sys

import calf


def main(directory, text):
    with calf.open(directory) as db:
        conn = db.connect()
        cursor = conn.cursor()
        cursor.execute("create table if not exists notes (at timestamptz default now(), text text)")
        if text:
            cursor.execute("insert into notes (text) values (%s)", (text,))
        cursor.execute("select * from notes order by at")
        for at, note in cursor:
            print(at.strftime("%c"), note)
        conn.commit()
        conn.close()


main(os.environ.get("NOTES", "./notes"), " ".join(sys.argv[1:]))

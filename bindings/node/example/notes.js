// notes.js - a program that keeps its notes in ./notes: node notes.js [a note]
'use strict'

const calf = require('calf')
const { Pool } = require('pg')

async function main (directory, text) {
  const db = await calf.open(directory)
  const pool = new Pool(db.config())

  await pool.query('create table if not exists notes (at timestamptz default now(), text text)')
  if (text) await pool.query('insert into notes (text) values ($1)', [text])
  for (const note of (await pool.query('select * from notes order by at')).rows) {
    console.log(note.at.toLocaleString(), note.text)
  }
  await pool.end()
  await db.close()
}

main(process.env.NOTES || './notes', process.argv.slice(2).join(' '))

// pg.js URI - node-postgres: parameters, a pool, COPY, a cursor, cancelling, notifications
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import pg from 'pg'
import Cursor from 'pg-cursor'
import copy from 'pg-copy-streams'

const uri = process.argv[2]
const ROWS = 200000

const pool = new pg.Pool({ connectionString: uri, max: 10 })
const client = await pool.connect()
assert.equal((await client.query('select ssl from pg_stat_ssl where pid = pg_backend_pid()')).rows[0].ssl, true)

const values = [42, "ü'\\", null, true, new Date(0), { a: [1, null] }, ['x', null], Buffer.from([0, 255])]
const text = 'select $1::int, $2::text, $3::text, $4::bool, $5::timestamptz, $6::jsonb, $7::text[], $8::bytea'
for (let i = 0; i < 3; i++) // prepared once, used again
    assert.deepEqual((await client.query({ name: 'all', text, values, rowMode: 'array' })).rows[0], values)
await assert.rejects(client.query('select 1 / $1::int', [0]), { code: '22012' })
const both = await client.query("select 1 as n; select 'two' as s") // several statements in one message
assert.deepEqual(both.map(r => r.rows[0]), [{ n: 1 }, { s: 'two' }])

await client.query('create temp table c (id int, v text)')
const lines = function * () {
    for (let i = 0; i < ROWS; i += 100)
        yield Array.from({ length: 100 }, (_, k) => `${i + k}\t${'z'.repeat(100)}\n`).join('')
}
await pipeline(Readable.from(lines()), client.query(copy.from('copy c from stdin')))
let size = 0
for await (const chunk of client.query(copy.to('copy c to stdout'))) size += chunk.length
assert.equal(size, 101 * ROWS + Array.from({ length: ROWS }, (_, i) => `${i}\t`.length).reduce((a, b) => a + b))

const cursor = client.query(new Cursor('select id from c order by id'))
let sum = 0
for (let rows; (rows = await cursor.read(10000)).length;) sum += rows.reduce((a, r) => a + r.id, 0)
assert.equal(sum, ROWS * (ROWS - 1) / 2)
await cursor.close()

// 200 queries at once on 10 connections, half of them in transactions
await pool.query('drop table if exists counters')
await pool.query('create table counters (id int primary key, n int not null)')
await pool.query('insert into counters select g, 0 from generate_series(0, 9) g')
const add = async i => {
    if (i % 2) return pool.query('update counters set n = n + 1 where id = $1', [i % 10])
    const c = await pool.connect()
    try {
        await c.query('begin')
        const { rows: [{ n }] } = await c.query('select n from counters where id = $1 for update', [i % 10])
        await c.query('update counters set n = $2 where id = $1', [i % 10, n + 1])
        await c.query(i % 4 ? 'commit' : 'rollback')
    } finally { c.release() }
}
await Promise.all(Array.from({ length: 200 }, (_, i) => add(i)))
assert.equal(pool.totalCount, 10)
assert.equal((await pool.query('select sum(n)::int from counters')).rows[0].sum, 150)

// an end from outside is an error event, and the pool goes on
const lost = new Promise(resolve => client.once('error', resolve))
const { rows: [{ pid }] } = await client.query('select pg_backend_pid() as pid')
await pool.query('select pg_terminate_backend($1)', [pid])
assert.equal((await lost).code, '57P01')
client.release(true)
await assert.rejects(pool.query({ text: 'select pg_sleep(1000)', query_timeout: 300 }), /timeout/)
const limited = new pg.Client({ connectionString: uri, statement_timeout: 300 })
await limited.connect()
await assert.rejects(limited.query('select pg_sleep(1000)'), { code: '57014' })

await limited.query('listen news')
const heard = new Promise(resolve => limited.once('notification', resolve))
await pool.query("select pg_notify('news', 'from the pool')")
assert.equal((await heard).payload, 'from the pool')
await limited.end()

for (const [wrong, error] of [
    [uri.replace('@localhost', '@127.0.0.1'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }],
    [uri.replace(':milk', ':silk'), { code: '28P01' }]
]) await assert.rejects(new pg.Client(wrong).connect(), error)
await pool.end()

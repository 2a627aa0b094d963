// postgres.js URI - the client of that name, which sends all its queries in pipelines
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import postgres from 'postgres'

const uri = new URL(process.argv[2])
const ca = readFileSync(uri.searchParams.get('sslrootcert'))
uri.search = ''
const sql = postgres(uri.href, { max: 10, ssl: { ca }, onnotice: () => {} })
const ROWS = 100000

assert.equal((await sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`)[0].ssl, true)
const [row] = await sql`select ${42}::int as a, ${'ü'} as b, ${null}::text as c, ${sql.json({ k: 1 })}::jsonb as d,
    ${sql.array([1, 2])}::int[] as e, ${Buffer.from([0, 255])}::bytea as f`
assert.deepEqual({ ...row }, { a: 42, b: 'ü', c: null, d: { k: 1 }, e: [1, 2], f: Buffer.from([0, 255]) })

await sql`drop table if exists songs`
await sql`create table songs (id int primary key, name text, plays int default 0)`
await sql`insert into songs ${sql(Array.from({ length: 1000 }, (_, id) => ({ id, name: 'song ' + id })))}`

const pids = await Promise.all(Array.from({ length: 2000 }, (_, i) =>
    sql`select name, pg_backend_pid() as pid from songs where id = ${i % 1000}`.then(([r]) => {
        assert.equal(r.name, 'song ' + i % 1000)
        return r.pid
    })))
assert.equal(new Set(pids).size, 10)

await assert.rejects(sql.begin(async sql => {
    await sql`delete from songs`
    await sql.savepoint(sql => sql`insert into songs values (1), (1)`).catch(e => assert.equal(e.code, '23505'))
    throw new Error('changed my mind')
}), /changed my mind/)
assert.equal((await sql`select count(*)::int from songs`)[0].count, 1000)

const writable = await sql`copy songs (id, name) from stdin`.writable()
await pipeline(Readable.from(function * () {
    for (let i = 1000; i < ROWS; i++) yield `${i}\t${'la '.repeat(30)}\n`
}()), writable)
let size = 0
for await (const chunk of await sql`copy (select id from songs) to stdout`.readable()) size += chunk.length
assert.equal(size, Array.from({ length: ROWS }, (_, i) => `${i}\n`.length).reduce((a, b) => a + b))

let sum = 0
await sql`select id from songs order by id`.cursor(5000, rows => { for (const r of rows) sum += r.id })
assert.equal(sum, ROWS * (ROWS - 1) / 2)

const slow = sql`select pg_sleep(1000)`.execute()
const again = setInterval(() => slow.cancel(), 50) // one that comes before the query has begun is lost
await assert.rejects(slow, { code: '57014' })
clearInterval(again)

const heard = new Promise(resolve => sql.listen('news', resolve).then(() => sql.notify('news', 'la')))
assert.equal(await heard, 'la')
await sql.end()

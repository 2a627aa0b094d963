// Live queries: what is told, and when.
'use strict'

const assert = require('node:assert')
const { test, before, after } = require('node:test')
const { Pool } = require('pg')
const calf = require('calf')

let db, pool
before(async () => {
  db = await calf.open()
  pool = new Pool({ ...db.config(), max: 4 })
  await pool.query('create table notes (id int primary key, text text); create table tags (note int, tag text)')
  await pool.query("create view tagged as select id, text, tag from notes left join tags on note = id")
})
after(async () => {
  await pool.end()
  await db.close()
})

// A callback, and what it was called with, one after the other.
function heard () {
  const [come, wanted] = [[], []]
  return {
    callback: value => wanted.length ? wanted.shift()(value) : come.push(value),
    next: () => come.length ? Promise.resolve(come.shift()) : new Promise(resolve => wanted.push(resolve)),
    come
  }
}

test('a query is asked again when a table that it reads changes, by a view or with parameters', async () => {
  const live = calf.live(pool)
  const [viewed, counted] = [heard(), heard()]
  const a = await live.query('select * from tagged order by id;', [], viewed.callback)
  const b = await live.query({ query: 'select count(*)::int as n from notes where id < $1', params: [10], callback: counted.callback })
  assert.deepStrictEqual([a.initialResults.rows, b.initialResults.rows], [[], [{ n: 0 }]])
  await pool.query("insert into notes values (1, 'milk')")
  assert.deepStrictEqual((await viewed.next()).rows, [{ id: 1, text: 'milk', tag: null }])
  assert.deepStrictEqual((await counted.next()).rows, [{ n: 1 }])
  await pool.query("insert into tags values (1, 'white')") // not what b reads
  assert.deepStrictEqual((await viewed.next()).rows, [{ id: 1, text: 'milk', tag: 'white' }])
  await a.unsubscribe()
  await pool.query('truncate notes')
  assert.deepStrictEqual((await counted.next()).rows, [{ n: 0 }])
  await b.refresh()
  assert.strictEqual((await counted.next()).rows[0].n, 0)
  assert.deepStrictEqual([viewed.come, counted.come], [[], []])
  await live.close()
})

test('rows that did not change stay the same objects', async () => {
  const live = calf.live(pool)
  const { callback, next } = heard()
  await pool.query("insert into notes values (1, 'milk'), (2, 'bread')")
  const { initialResults: { rows: first } } = await live.incrementalQuery('select * from notes order by id', [], 'id', callback)
  await pool.query("update notes set text = 'rye bread' where id = 2")
  const { rows } = await next()
  assert.deepStrictEqual(rows, [{ id: 1, text: 'milk' }, { id: 2, text: 'rye bread' }])
  assert.ok(rows[0] === first[0] && rows[1] !== first[1])
  await live.close()
})

test('changes', async () => {
  const live = calf.live(pool)
  const { callback, next } = heard()
  const { initialChanges, fields } = await live.changes('select * from notes order by text', [], 'id', callback)
  assert.deepStrictEqual(fields.map(f => f.name), ['id', 'text'])
  assert.deepStrictEqual(initialChanges.map(c => [c.__op__, c.id, c.__after__]), [['INSERT', 1, null], ['INSERT', 2, 1]])
  await pool.query("delete from notes where id = 1; insert into notes values (3, 'tea')") // one transaction
  assert.deepStrictEqual(await next(), [
    { __op__: 'DELETE', id: 1, __changed_columns__: [], __after__: null },
    { __op__: 'UPDATE', id: 2, text: 'rye bread', __changed_columns__: ['__after__'], __after__: null },
    { __op__: 'INSERT', id: 3, text: 'tea', __changed_columns__: ['id', 'text'], __after__: 2 }])
  await pool.query("update notes set text = 'tee' where id = 3")
  assert.deepStrictEqual((await next()).map(c => [c.__op__, c.text, c.__changed_columns__]), [['UPDATE', 'tee', ['text']]])
  await live.close()
})

test('what is wrong is an error, and later queries work', async () => {
  const live = calf.live(pool)
  await assert.rejects(live.query('select * from nowhere'), { code: '42P01' })
  await assert.rejects(live.query('select 1 / $1::int as n', [0]), { code: '22012' })
  assert.throws(() => calf.live(new Pool({ max: 1 })), /max: 2/)
  assert.strictEqual((await live.query('select 1 as n')).initialResults.rows[0].n, 1)
  const said = new Promise(resolve => pool.once('error', resolve))
  await live.query('select 1 / (count(*) - 3) from notes')
  await pool.query("insert into notes values (4, 'jam')")
  assert.strictEqual((await said).code, '22012')
  await live.close()
})

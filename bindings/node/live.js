// Queries that are asked again when the tables that they read change, for a Pool of pg.
//
// query(), incrementalQuery() and changes() have the arguments and results of PGlite's extension `live`.  A trigger of
// each table that a query reads notifies when a transaction that changed it commits, and one connection of the pool
// listens.  The rule that matters: it listens, and the triggers are committed, before a query is asked first, so that
// no change is missed.  The triggers stay with their tables, and make nothing but an empty notification.
'use strict'

const { isDeepStrictEqual } = require('node:util')

const NAME = 'calf_live' // of the schema, the channel and the triggers
const SETUP = `
  select pg_advisory_xact_lock(hashtext('${NAME}'));
  create schema if not exists ${NAME};
  grant usage on schema ${NAME} to public;
  create or replace function ${NAME}.changed() returns trigger language plpgsql as
    $$ begin perform pg_notify('${NAME}', tg_relid::text); return null; end $$`
// What the body of a function depends on, views and what they read included.
const TABLES = `
  with recursive reads (class, oid) as (
    select 'pg_proc'::regclass, 'pg_temp.${NAME}'::regproc::oid
    union
    select case when d.refclassid = 'pg_class'::regclass and r.oid is not null then 'pg_rewrite'::regclass
                else d.refclassid end, coalesce(r.oid, d.refobjid)
      from reads join pg_depend d on d.classid = reads.class and d.objid = reads.oid
      left join pg_rewrite r on d.refclassid = 'pg_class'::regclass and r.ev_class = d.refobjid
     where d.refclassid in ('pg_class'::regclass, 'pg_rewrite'::regclass)
  )
  select c.oid::text as oid, c.oid::regclass::text as name,
         exists (select from pg_trigger where tgrelid = c.oid and tgname = '${NAME}') as watched
    from reads join pg_class c using (oid)
   where reads.class = 'pg_class'::regclass and c.relkind in ('r', 'p')
     and c.relnamespace <> 'pg_catalog'::regnamespace`

async function transaction (pool, end, work) {
  const client = await pool.connect()
  try {
    await client.query('begin')
    const result = await work(client)
    await client.query(end)
    return result
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}

// The oids of the tables that a query reads, as text; each has its trigger then.
async function watchTables (pool, sql) {
  const tables = await transaction(pool, 'rollback', async client => {
    await client.query(`prepare ${NAME} as ${sql}`)
    const { rows: [{ types }] } = await client.query(
      `select array_to_string(parameter_types, ', ') as types from pg_prepared_statements where name = '${NAME}'`)
    await client.query(`deallocate ${NAME}`)
    await client.query(`create function pg_temp.${NAME}(${types}) returns setof record begin atomic ${sql}; end`)
    return (await client.query(TABLES)).rows
  })
  if (tables.some(table => !table.watched)) {
    await transaction(pool, 'commit', async client => {
      await client.query(SETUP)
      for (const { name } of tables.filter(table => !table.watched)) {
        await client.query(`create or replace trigger ${NAME} after insert or update or delete or truncate on ${name}
          for each statement execute function ${NAME}.changed()`)
      }
    })
  }
  return new Set(tables.map(table => table.oid))
}

// What turns the rows of before into those of now, as PGlite says it.
function difference (before, now, key) {
  const changes = []
  const rows = new Map(now.map(row => [row[key], row]))
  for (const id of before.keys()) {
    if (!rows.has(id)) changes.push({ __op__: 'DELETE', [key]: id, __changed_columns__: [], __after__: null })
  }
  let after = null
  for (const [id, row] of rows) {
    const old = before.get(id)
    const columns = Object.keys(row).filter(name => !old || !isDeepStrictEqual(row[name], old.row[name]))
    if (old && old.after !== after) columns.push('__after__')
    if (columns.length) changes.push({ ...row, __op__: old ? 'UPDATE' : 'INSERT', __changed_columns__: columns, __after__: after })
    after = id
  }
  return changes
}

function indexed (rows, key) {
  let after = null
  return new Map(rows.map(row => {
    const entry = [row[key], { row, after }]
    after = row[key]
    return entry
  }))
}

class Live {
  #pool
  #listener = null // a promise of a client
  #queries = new Set()

  constructor (pool) {
    if (pool.options.max < 2) throw new Error('live queries hold one connection of their pool; it needs max: 2 or more')
    this.#pool = pool
  }

  // The callback gets pg's result whenever a table changed.
  async query (query, params, callback) {
    if (typeof query === 'object') ({ query, params, callback } = query)
    const { first, ...rest } = await this.#watch(query, params, callback, result => result)
    return { initialResults: first, ...rest }
  }

  // The same; rows that did not change are the objects of the time before.
  async incrementalQuery (query, params, key, callback) {
    if (typeof query === 'object') ({ query, params, key, callback } = query)
    let before = new Map()
    const { first, ...rest } = await this.#watch(query, params, callback, result => {
      result.rows = result.rows.map(row => {
        const old = before.get(row[key])
        return old && isDeepStrictEqual(old.row, row) ? old.row : row
      })
      before = indexed(result.rows, key)
      return result
    })
    return { initialResults: first, ...rest }
  }

  // The callback gets what changed, when something did.
  async changes (query, params, key, callback) {
    if (typeof query === 'object') ({ query, params, key, callback } = query)
    let before = new Map()
    let fields
    const { first, ...rest } = await this.#watch(query, params, callback, result => {
      const changes = difference(before, result.rows, key)
      before = indexed(result.rows, key)
      fields = result.fields
      return changes.length ? changes : null
    })
    return { fields, initialChanges: first ?? [], ...rest }
  }

  // Ends all of them, and gives the pool its connection back.
  async close () {
    const listener = this.#listener
    this.#queries.clear()
    this.#listener = null
    if (listener) (await listener).release(true)
  }

  async #watch (query, params, callback, look) {
    const sql = query.replace(/;\s*$/, '')
    this.#listener ??= this.#listen()
    await this.#listener
    const entry = { oids: await watchTables(this.#pool, sql), changed: null }
    const ask = async () => look(await this.#pool.query(sql, params ?? []))
    let turn = Promise.resolve() // one time after the other; changes meanwhile are one
    let waiting = false
    const refresh = () => {
      if (waiting) return turn
      waiting = true
      turn = turn.catch(() => {}).then(async () => {
        waiting = false
        const result = await ask()
        if (result && this.#queries.has(entry)) callback?.(result)
      })
      return turn
    }
    entry.changed = () => refresh().catch(error => this.#pool.emit('error', error))
    this.#queries.add(entry)
    try {
      let first
      await (turn = ask().then(result => { first = result }))
      return { first, refresh, unsubscribe: async () => { this.#queries.delete(entry) } }
    } catch (error) {
      this.#queries.delete(entry)
      throw error
    }
  }

  async #listen () {
    try {
      const client = await this.#pool.connect()
      client.on('error', error => this.#pool.emit('error', error, client))
      client.on('notification', ({ channel, payload }) => {
        if (channel !== NAME) return
        for (const entry of this.#queries) if (entry.oids.has(payload)) entry.changed()
      })
      await client.query(`listen ${NAME}`)
      return client
    } catch (error) {
      this.#listener = null
      throw error
    }
  }
}

module.exports = pool => new Live(pool)

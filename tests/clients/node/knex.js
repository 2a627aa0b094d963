// knex.js URI - migrations up and down, transactions and queries with a pool of ten
import assert from 'node:assert/strict'
import Knex from 'knex'

const migrations = {
    first: {
        up: async knex => {
            await knex.schema.createTable('teams', t => {
                t.increments()
                t.string('name').notNullable().unique()
                t.timestamps(true, true)
            })
            await knex.schema.createTable('players', t => {
                t.increments()
                t.integer('team_id').notNullable().references('teams.id').onDelete('CASCADE').index()
                t.string('name').notNullable()
                t.jsonb('facts').defaultTo('{}')
                t.specificType('badges', 'text[]')
            })
        },
        down: async knex => { await knex.schema.dropTable('players'); await knex.schema.dropTable('teams') }
    },
    second: {
        up: knex => knex.schema.alterTable('players', t => {
            t.integer('goals').notNullable().defaultTo(0)
            t.check('goals >= 0', {}, 'goals_check')
        }),
        down: knex => knex.schema.alterTable('players', t => { t.dropColumn('goals') })
    },
    broken: {
        up: async knex => { await knex.schema.createTable('half', t => t.increments()); await knex.raw('select 1 / 0') },
        down: async () => {}
    }
}
const source = names => ({
    getMigrations: async () => names,
    getMigrationName: name => name,
    getMigration: async name => migrations[name]
})

const knex = Knex({ client: 'pg', connection: process.argv[2], pool: { min: 0, max: 10 } })
const migrate = names => knex.migrate.latest({ migrationSource: source(names) })

// two who migrate at the same time: one does it, the other finds the lock or nothing to do
const both = await Promise.allSettled([migrate(['first', 'second']), migrate(['first', 'second'])])
assert.ok(both.some(r => r.status === 'fulfilled'))
await assert.rejects(migrate(['first', 'second', 'broken']), /division by zero/)
assert.equal(await knex.schema.hasTable('half'), false) // a migration is a transaction
assert.deepEqual((await knex('knex_migrations').orderBy('id')).map(m => m.name), ['first', 'second'])

const teams = await knex('teams').insert([{ name: 'red' }, { name: 'blue' }]).returning('id')
await knex.batchInsert('players', Array.from({ length: 1000 }, (_, i) => ({
    team_id: teams[i % 2].id, name: 'p' + i, facts: JSON.stringify({ n: i }), badges: i % 10 ? null : ['gold', 'ü']
})), 100)
await Promise.all(Array.from({ length: 200 }, (_, i) => knex.transaction(async trx => {
    const player = await trx('players').where({ name: 'p7' }).forUpdate().first()
    await trx('players').where({ id: player.id }).update({ goals: player.goals + 1 })
    if (i % 2) throw new Error('undone')
}).catch(e => assert.equal(e.message, 'undone'))))
const best = await knex('players as p').join('teams as t', 't.id', 'p.team_id').select('t.name')
    .sum('p.goals as goals').count('* as n').groupBy('t.name').orderBy('t.name')
assert.deepEqual(best, [{ name: 'blue', goals: '100', n: '500' }, { name: 'red', goals: '0', n: '500' }])
assert.equal((await knex('players').whereRaw("facts @> '{\"n\": 500}'")).length, 1)
let seen = 0
for (const row of await knex('players').select('badges').whereNotNull('badges')) seen += row.badges.length
assert.equal(seen, 200)
await knex('teams').where({ name: 'red' }).delete()
assert.equal((await knex('players').count())[0].count, '500')

await knex.migrate.rollback({ migrationSource: source(['first', 'second']) }, true)
assert.equal(await knex.schema.hasTable('players'), false)
await knex.destroy()

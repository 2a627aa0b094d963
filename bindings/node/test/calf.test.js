'use strict'

const assert = require('node:assert')
const { execFile } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test, before, after } = require('node:test')
const { promisify } = require('node:util')
const { Client, Pool } = require('pg')
const calf = require('calf')

let scratch
before(() => { scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'calf-test-')) })
after(() => fs.rmSync(scratch, { recursive: true }))

async function connect (db) {
  const client = new Client(db.config())
  await client.connect()
  return client
}

test('a temporary database and its socket are there until close()', async () => {
  const db = await calf.open()
  const client = await connect(db)
  const { rows } = await client.query('select 6 * 7 as n, current_user as who, $1::text as said', ['ü'])
  assert.deepStrictEqual(rows, [{ n: 42, who: 'postgres', said: 'ü' }])
  const { directory } = db
  const { host } = db.config()
  assert.ok(db.healthy && fs.existsSync(directory))
  assert.strictEqual(fs.statSync(host).mode & 0o777, 0o700)
  await client.end()
  await db.close()
  assert.ok(!db.healthy && !fs.existsSync(directory) && !fs.existsSync(host))
  assert.deepStrictEqual([db.dsn, db.uri, db.directory], [null, null, null])
  assert.match(calf.version(), /PostgreSQL/)
})

test('a directory is kept, and shared by those who open it', async () => {
  const dir = path.join(scratch, 'data ü')
  const one = await calf.open(dir, { settings: { work_mem: '9MB' }, durability: 'relaxed' })
  const two = await calf.open(dir)
  const a = await connect(one)
  await a.query('create table t as select 1 as n')
  await a.end()
  await one.close()
  const b = await connect(two)
  assert.strictEqual(two.directory, dir)
  assert.deepStrictEqual((await b.query("select n, current_setting('work_mem') as w from t")).rows, [{ n: 1, w: '9MB' }])
  assert.deepStrictEqual((await b.query('show synchronous_commit')).rows, [{ synchronous_commit: 'off' }])
  await b.end()
  await two.close()
})

test('opening does not hold up the event loop', async () => {
  let turns = 0
  const turn = setInterval(() => turns++, 1)
  const db = await calf.open(path.join(scratch, 'slow'))
  assert.ok(turns > 0)
  clearInterval(turn)
  await db.close()
})

test('two databases at once know nothing of each other', async () => {
  const dbs = await Promise.all([calf.open(), calf.open()])
  const clients = await Promise.all(dbs.map(connect))
  await Promise.all(clients.map((c, i) => c.query(`create table mine as select ${i} as n`)))
  const answers = await Promise.all(clients.map(c => c.query('select n from mine')))
  assert.deepStrictEqual(answers.map(a => a.rows[0].n), [0, 1])
  await Promise.all(clients.map(c => c.end()))
  await Promise.all(dbs.map(db => db.close()))
})

test('a pool of ten', async () => {
  const db = await calf.open()
  const pool = new Pool({ ...db.config(), max: 10 })
  const clients = await Promise.all(Array.from({ length: 10 }, () => pool.connect()))
  const pids = await Promise.all(clients.map(c => c.query('select pg_backend_pid() as pid')))
  assert.strictEqual(new Set(pids.map(r => r.rows[0].pid)).size, 10)
  clients.forEach(c => c.release())
  await pool.query('create table t (n int)')
  await Promise.all(Array.from({ length: 200 }, (_, n) => pool.query('insert into t values ($1)', [n])))
  assert.deepStrictEqual((await pool.query('select count(distinct n)::int from t')).rows, [{ count: 200 }])
  await pool.end()
  await db.close()
})

test('LISTEN, NOTIFY and PostgreSQL\'s errors', async () => {
  const db = await calf.open()
  const a = await connect(db)
  const b = await connect(db)
  await a.query('listen news')
  const heard = once(a, 'notification')
  await b.query("notify news, 'x'")
  assert.strictEqual((await heard)[0].payload, 'x')
  await assert.rejects(a.query('select 1/0'), { code: '22012', message: 'division by zero' })
  await Promise.all([a.end(), b.end()])
  await db.close()
})

test('options', async () => {
  const dir = path.join(scratch, 'extensions')
  fs.mkdirSync(dir)
  fs.writeFileSync(path.join(dir, 'one.control'), "default_version = '1'\n")
  fs.writeFileSync(path.join(dir, 'one--1.sql'), 'create function one() returns int return 1;\n')
  const db = await calf.open(null, { superuser: 'anna@home', icuLocale: 'sv', extensionPath: dir, listen: ['tcp:0'] })
  assert.match(db.uri, /^postgresql:\/\/anna%40home@127\.0\.0\.1:/)
  const client = await connect(db)
  await client.query('create extension one')
  const { rows } = await client.query(
    "select current_user as who, one(), string_agg(c, '' order by c) as sorted from unnest('{z,ä,ö}'::text[]) c")
  assert.deepStrictEqual(rows, [{ who: 'anna@home', one: 1, sorted: 'zäö' }])
  await client.end()
  await db.close()
  await assert.rejects(calf.open(null, { extensionPath: path.join(dir, 'absent') }), { code: 'MISUSE', message: /absent/ })
  await assert.rejects(calf.open(null, { listen: ['nowhere'] }), { code: 'MISUSE', message: /nowhere/ })
})

test('who has a directory open, and it lingers', async () => {
  const dir = path.join(scratch, 'looked at')
  assert.deepStrictEqual(calf.look(dir),
    { state: 'absent', pid: null, stock: false, since: null, uri: null, socketUri: null })
  const db = await calf.open(dir, { lingerMs: 3600000 })
  const { state, pid, stock, since, uri } = calf.look(dir)
  assert.deepStrictEqual([state, pid, stock, uri], ['open', process.pid, false, null])
  assert.ok(Math.abs(Date.now() - since) < 600000)
  const { host } = db.config()
  const tcp = db.listen('tcp:0')
  const seen = calf.look(dir)
  assert.strictEqual(seen.uri, tcp)
  assert.ok(seen.socketUri.includes(encodeURI(host)))
  await db.close('fast')
  assert.strictEqual(calf.look(dir).state, 'open')
  await (await calf.open(dir)).close('immediate')
  assert.strictEqual(calf.look(dir).state, 'crashed')
  await (await calf.open(dir)).close()
  assert.strictEqual(calf.look(dir).state, 'closed')
  assert.throws(() => calf.look(scratch), { code: 'FOREIGN' })
})

test('copies', async () => {
  const [dir, copy, clone] = ['copied', 'copy', 'clone'].map(name => path.join(scratch, name))
  const db = await calf.open(dir)
  const client = await connect(db)
  await client.query('create table t as select 42 as n')
  await client.end()
  await db.snapshot(copy)
  await assert.rejects(calf.clone(dir, clone), { code: 'HELD' })
  await db.close()
  await calf.clone(copy, clone)
  const cloned = await calf.open(clone)
  const other = await connect(cloned)
  assert.deepStrictEqual((await other.query('select n from t')).rows, [{ n: 42 }])
  await other.end()
  await cloned.close()
})

test('a signal for a program, and a closing that is hurried', async () => {
  const db = await calf.open()
  const client = await connect(db)
  const stderr = fs.openSync('/dev/null', 'w')
  const ended = db.run(['psql', '-Xc', 'select pg_sleep(1000)'], { stderr })
  let sleeping
  do {
    ({ rows: [{ sleeping }] } = await client.query("select count(*)::int as sleeping from pg_stat_activity where wait_event = 'PgSleep'"))
  } while (!sleeping)
  calf.runSignal('SIGINT') // nobody's
  db.runSignal('SIGINT') // psql cancels its query
  assert.strictEqual(await ended, 1)
  fs.closeSync(stderr)
  for (const signal of [0, 'SIGNONE']) assert.throws(() => db.runSignal(signal), { code: 'MISUSE' })
  const said = []
  client.on('error', error => said.push(error.code))
  const over = new Promise(resolve => client.once('end', resolve))
  const closed = db.close() // waits for the client
  while (db.healthy) await new Promise(resolve => setImmediate(resolve))
  await db.close('fast')
  await closed
  await over
  assert.strictEqual(said[0], '57P01')
  assert.throws(() => db.runSignal('SIGINT'), { code: 'MISUSE' })
  await assert.rejects(db.run(['psql', '-V']), { code: 'MISUSE' })
})

test('the bytes of the protocol', async () => {
  const db = await calf.open()
  const wire = db.wire()
  const nothing = await wire.exchange(undefined, { timeoutMs: 0 })
  assert.deepStrictEqual([nothing.taken, nothing.data.length], [0, 0])

  async function talk (data) {
    let answer = Buffer.alloc(0)
    while (data.length || !answer.toString('latin1').endsWith('Z\0\0\0\x05I')) {
      const moved = await wire.exchange(data, { room: 100 })
      data = data.subarray(moved.taken)
      answer = Buffer.concat([answer, moved.data])
    }
    return answer.toString('latin1')
  }

  function sized (text) {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(text.length + 4)
    return Buffer.concat([length, Buffer.from(text)])
  }

  await talk(sized('\0\x03\0\0user\0postgres\0database\0postgres\0\0'))
  const answer = await talk(Buffer.concat([Buffer.from('Q'), sized("select 'forty-' || 'two'\0")]))
  assert.match(answer, /forty-two/)
  await db.close('fast')
  await assert.rejects(async () => { for (;;) await wire.exchange() }, { code: 'ENDED' })
  wire.close()
  assert.throws(() => wire.close(), { code: 'MISUSE' })
})

test('what needs no database', async () => {
  assert.ok(calf.features().includes('zlib'))
  assert.deepStrictEqual(calf.features(), calf.features().sort())
  assert.match(calf.dataDir('acme', 'notes'), /\/acme\/notes$/)
  assert.match(calf.dataDir(null, 'notes'), /\/notes$/)
  assert.match(calf.dataDir('acme', 'notes', 'com'), /\/acme\/notes$/)
  assert.throws(() => calf.dataDir('a/b', 'notes'), { code: 'MISUSE' })
  const stdout = fs.openSync('/dev/null', 'w')
  assert.strictEqual(await calf.run(['pg_controldata', '-V'], { stdout }), 0)
  fs.closeSync(stdout)
})

test('libpq.so.5 is calf\'s for modules that are loaded later', async () => {
  calf.replaceLibpq()
  calf.replaceLibpq() // nothing more
  const maps = fs.readFileSync('/proc/self/maps', 'utf8').split('\n').filter(line => line.includes('libpq.so.5'))
  assert.ok(maps.length > 0 && maps.every(line => line.includes('memfd:libpq.so.5')), maps.join('\n'))
})

test('errors have a name and a sentence', async () => {
  const { CalfError } = calf
  await assert.rejects(calf.open('/etc'), error =>
    error instanceof CalfError && error.code === 'FOREIGN' && error.message.includes('/etc'))
  await assert.rejects(calf.open(null, { settings: { work_mem: 'nonsense' } }), { code: 'FAILED', message: /nonsense/ })
  await assert.rejects(calf.open(null, { durability: 'high' }), { code: 'MISUSE', message: /high/ })
  const dir = path.join(scratch, 'held')
  const db = await calf.open(dir)
  const other = `require("calf").open(process.argv[1]).catch(e => console.log(e.code, e.message))`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', other, dir], { cwd: __dirname })
  assert.match(stdout, new RegExp(`^HELD .*${process.pid}`))
  assert.throws(() => db.listen('nowhere'), { code: 'MISUSE', message: /nowhere/ })
  await db.close()
  await assert.rejects(db.close(), { name: 'CalfError', code: 'MISUSE' })
  assert.throws(() => db.config(), { code: 'MISUSE' })
})

test('fast ends the sessions, and pg says so', async () => {
  const db = await calf.open()
  const client = await connect(db)
  const said = []
  client.on('error', error => said.push(error.code))
  const ended = new Promise(resolve => client.once('end', resolve))
  await db.close('fast')
  await ended
  assert.strictEqual(said[0], '57P01')
})

test('other processes, by TCP and with a password', async () => {
  const db = await calf.open()
  const admin = await connect(db)
  await admin.query("alter role postgres password 'secret'")
  await admin.end()
  const uri = db.listen('tcp:0')
  assert.match(uri, /^postgresql:\/\/postgres@127\.0\.0\.1:/)
  const secret = uri.replace('postgres@', 'postgres:secret@')
  const client = new Client(secret)
  await client.connect()
  assert.deepStrictEqual((await client.query('select host(inet_client_addr())')).rows, [{ host: '127.0.0.1' }])
  await client.end()
  db.unlisten('tcp:0')
  await assert.rejects(new Client(secret).connect(), { code: 'ECONNREFUSED' })
  const { host } = db.config()
  db.unlisten()
  assert.ok(!fs.existsSync(host))
  await (await connect(db)).end() // config() listens again
  await db.close()
})

test('TLS from one end to the other of a process with two OpenSSLs', async () => {
  const [cert, key] = ['cert', 'key'].map(name => path.join(scratch, name))
  await promisify(execFile)('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost',
    '-out', cert, '-keyout', key])
  fs.chmodSync(key, 0o600)
  const db = await calf.open(null, { settings: { ssl: 'on', ssl_cert_file: cert, ssl_key_file: key } })
  const admin = await connect(db)
  await admin.query("alter role postgres password 'secret'")
  await admin.end()
  const [, host, port] = /@(.*):(.*)\//.exec(db.listen('tcp:0'))
  const ssl = { ca: fs.readFileSync(cert), servername: 'localhost' }
  const client = new Client({ ...db.config(), host, port, password: 'secret', ssl })
  await client.connect()
  const { rows } = await client.query('select ssl, version from pg_stat_ssl where pid = pg_backend_pid()')
  assert.deepStrictEqual(rows, [{ ssl: true, version: 'TLSv1.3' }])
  await client.end()
  await db.close()
})

test('import, and a library that is not there', async () => {
  assert.strictEqual((await import('calf')).open, calf.open)
  const env = { ...process.env, CALF_LIBRARY: 'libnowhere.so' }
  const load = promisify(execFile)(process.execPath, ['-e', 'require("calf")'], { cwd: __dirname, env })
  await assert.rejects(load, { stderr: /cannot load libnowhere.so; set CALF_LIBRARY/ })
})

test('PostgreSQL\'s programs, with descriptors of ours', async () => {
  const db = await calf.open()
  const file = path.join(scratch, 'out')
  const stdout = fs.openSync(file, 'w')
  assert.strictEqual(await db.run(['psql', '-XAtc', 'select 42', '-c', '\\getenv home HOME', '-c', '\\echo :home'], { stdout }), 0)
  assert.strictEqual(fs.readFileSync(file, 'utf8'), `42\n${process.env.HOME}\n`)
  assert.strictEqual(await db.run(['psql', '-Xc', 'select 1/0'], { stderr: stdout }), 1)
  await assert.rejects(db.run(['no-such-program']), { code: 'INSTALL' })
  fs.closeSync(stdout)
  await db.close()
})

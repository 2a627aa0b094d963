// host.js WHAT DIR - processes that guest.test.js starts and watches: what one does with a database open
'use strict'

const calf = require('calf')
const { Worker, isMainThread, workerData } = require('node:worker_threads')
const { Pool } = require('pg')

const parts = {
  // node's own handler hears SIGINT; then nothing of calf keeps the event loop alive
  async interrupted (db) {
    const alive = setInterval(() => {}, 1000)
    const heard = new Promise(resolve => process.once('SIGINT', resolve))
    process.kill(process.pid, 'SIGINT')
    console.log(await heard)
    clearInterval(alive)
    await db.close()
    process.exitCode = 7
  },
  // without a handler SIGINT ends the process as ever
  async killed () {
    process.kill(process.pid, 'SIGINT')
    setInterval(() => {}, 1000)
  },
  async exits () {
    process.exit(3)
  },
  // with a pool that nobody ends: its idle sessions end, and nothing else is waited for
  async forgets (db) {
    const pool = new Pool({ ...db.config(), idleTimeoutMillis: 1 })
    await pool.query('select 1')
    console.log('done')
  },
  async throws () {
    throw new Error('nobody catches this')
  },
  // V8 catches WebAssembly's out of bounds accesses by SIGSEGV, for which calf has a handler too
  async traps (db) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array([
      0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 5, 3, 1, 0, 1,
      7, 8, 1, 4, 0x6c, 0x6f, 0x61, 0x64, 0, 0, 10, 9, 1, 7, 0, 0x20, 0, 0x28, 2, 0, 0x0b])))
    console.log(exports.load(0))
    try {
      exports.load(1 << 20)
    } catch (error) {
      console.log(error.name)
    }
    await db.close()
  },
  // a worker ends with its database open; that lives on with the process
  async worker (db, dir) {
    for (const how of ['returns', 'exits', 'terminated']) {
      const worker = new Worker(__filename, { workerData: { how, dir: `${dir}-${how}` } })
      const gone = new Promise(resolve => worker.once('exit', resolve))
      await new Promise(resolve => worker.once('message', resolve))
      if (how === 'terminated') worker.terminate()
      await gone
      const shared = await calf.open(`${dir}-${how}`)
      const pool = new Pool(shared.config())
      console.log((await pool.query('select said from heard')).rows[0].said)
      await pool.end()
      await shared.close()
    }
    await db.close()
  }
}

async function worker ({ how, dir }) {
  const { parentPort } = require('node:worker_threads')
  const db = await calf.open(dir)
  const pool = new Pool(db.config())
  await pool.query(`create table heard as select '${how}' as said`)
  await pool.end()
  parentPort.postMessage('ready')
  if (how === 'exits') process.exit()
  if (how === 'terminated') setInterval(() => {}, 1000)
}

if (isMainThread) {
  const [what, dir] = process.argv.slice(2)
  calf.open(dir).then(db => parts[what](db, dir))
} else {
  worker(workerData)
}

// What the host sees of a database in its process.
'use strict'

const assert = require('node:assert')
const { execFile, execFileSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test, before, after } = require('node:test')
const calf = require('calf')

let scratch
before(() => { scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'calf-test-')) })
after(() => fs.rmSync(scratch, { recursive: true }))

// Runs a part of host.js to its end; its sockets' directories are in `scratch`, to see whether one is left.
async function host (what) {
  const tmp = path.join(scratch, `${what}-tmp`)
  fs.mkdirSync(tmp)
  const result = await new Promise(resolve => {
    execFile(process.execPath, [path.join(__dirname, 'host.js'), what, path.join(scratch, what)],
      { env: { ...process.env, TMPDIR: tmp } },
      (error, stdout, stderr) => resolve({ code: error ? error.code : 0, signal: error?.signal, stdout, stderr }))
  })
  result.left = fs.readdirSync(tmp)
  return result
}

test('SIGINT reaches the handler of node, the loop ends by itself, the exit code is the host\'s', async () => {
  const { code, stdout, stderr } = await host('interrupted')
  assert.deepStrictEqual([code, stdout, stderr], [7, 'SIGINT\n', ''])
})

test('SIGINT without a handler ends the process', async () => {
  assert.strictEqual((await host('killed')).signal, 'SIGINT')
})

test('exit() and an uncaught error with a database open', async () => {
  assert.strictEqual((await host('exits')).code, 3)
  const { code, stderr } = await host('throws')
  assert.strictEqual(code, 1)
  assert.match(stderr, /nobody catches this/)
})

test('an open database does not keep the process alive, and leaves no socket', async () => {
  const { code, stdout, stderr, left } = await host('forgets')
  assert.deepStrictEqual([code, stdout, stderr, left], [0, 'done\n', '', []])
})

test('WebAssembly traps, which are SIGSEGV, are still V8\'s', async () => {
  const { code, stdout, stderr } = await host('traps')
  assert.deepStrictEqual([code, stdout, stderr], [0, '0\nRuntimeError\n', ''])
})

test('a worker ends with its database open', async () => {
  const { code, stdout, stderr } = await host('worker')
  assert.deepStrictEqual([code, stdout, stderr], [0, 'returns\nexits\nterminated\n', ''])
})

test('child processes run beside sessions; umask, directory and environment stay', async () => {
  const look = () => [process.umask(), process.cwd(), { ...process.env }, process.listenerCount('SIGINT')]
  const mine = look()
  const db = await calf.open()
  assert.strictEqual(execFileSync('echo', ['yes']).toString(), 'yes\n')
  assert.deepStrictEqual(look(), mine)
  await db.close()
})

// PostgreSQL inside the Node process, with pg's connections.
//
//     const calf = require('calf')
//     const { Pool } = require('pg')
//
//     const db = await calf.open('./data')         // calf.open() is a temporary database
//     const pool = new Pool(db.config())
//     console.log((await pool.query('select 6 * 7 as n')).rows)
//     await pool.end()
//     await db.close()
//
// Everything here is a thin layer over calf.h, which is the manual: results, threads, errors by
// name.  What waits (open, run, close ...) does so on a thread of libuv's pool, not in the event loop.
// Of calf.h only the log function is left out: what calf's thread logs while node ends has nobody to hear it.
'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { promisify } = require('node:util')
const koffi = require('koffi')

const CODES = ['OK', 'MISUSE', 'HELD', 'FOREIGN', 'MAJOR', 'ACCESS', 'INSTALL', 'FAILED', 'SYSTEM', 'ENDED']
const DURABILITY = { durable: 0, relaxed: 1, none: 2 }
const STATES = ['absent', 'closed', 'crashed', 'open']
const MODES = { fast: 0, smart: 1, immediate: 2 }

function load () {
  const names = [process.env.CALF_LIBRARY, path.join(__dirname, 'libcalf.so'), 'libcalf.so.0']
  const name = names.find(name => name && (!name.includes('/') || fs.existsSync(name)))

  try {
    // deep: node exports an OpenSSL of its own, which libcalf's must not mix with
    return koffi.load(name, { deep: true })
  } catch (cause) {
    throw new Error(`cannot load ${name}; set CALF_LIBRARY to the path of libcalf.so`, { cause })
  }
}

const lib = load()
const CalfErrorStruct = koffi.struct({ code: 'int', text: koffi.array('char', 1024, 'String') })
const Options = koffi.struct({
  size: 'size_t',
  durability: 'int',
  settings: 'const char **',
  log_file: 'const char *',
  encoding: 'const char *',
  locale: 'const char *',
  no_checksums: 'int',
  superuser: 'const char *',
  icu_locale: 'const char *',
  log: 'void *',
  log_context: 'void *',
  linger_ms: 'int',
  extension_path: 'const char *',
  listen: 'const char **'
})
const Status = koffi.struct({
  state: 'int',
  pid: 'long',
  stock: 'int',
  since: 'long long',
  uri: koffi.array('char', 4096, 'String'),
  socket_uri: koffi.array('char', 4096, 'String')
})
const handle = 'uintptr_t' // a number in truth (calf.h: a closed one is answered, never a crash)
const err = koffi.out(koffi.pointer(CalfErrorStruct))
const out = type => koffi.out(koffi.pointer(type))
const calf = {
  open: lib.func('calf_open', 'int', ['str', koffi.pointer(Options), out(handle), err]),
  close: lib.func('calf_close', 'int', [handle, 'int', err]),
  healthy: lib.func('calf_healthy', 'int', [handle]),
  dsn: lib.func('calf_dsn', 'str', [handle]),
  replace_libpq: lib.func('calf_replace_libpq', 'int', [err]),
  directory: lib.func('calf_directory', 'str', [handle]),
  listen: lib.func('calf_listen', 'int', [handle, 'str', err]),
  unlisten: lib.func('calf_unlisten', 'int', [handle, 'str', err]),
  uri: lib.func('calf_uri', 'str', [handle]),
  run: lib.func('calf_run', 'int', [handle, 'const char **', 'int *', out('int'), err]),
  run_signal: lib.func('calf_run_signal', 'int', [handle, 'int', err]),
  snapshot: lib.func('calf_snapshot', 'int', [handle, 'str', err]),
  clone: lib.func('calf_clone', 'int', ['str', 'str', err]),
  wire_open: lib.func('calf_wire_open', 'int', [handle, out(handle), err]),
  wire_exchange: lib.func('calf_wire_exchange', 'int',
    [handle, 'const void *', koffi.inout(koffi.pointer('size_t')), 'void *', koffi.inout(koffi.pointer('size_t')), 'int', err]),
  wire_close: lib.func('calf_wire_close', 'int', [handle, err]),
  look: lib.func('calf_look', 'int', ['str', out(Status), err]),
  data_dir: lib.func('calf_data_dir', 'int', ['str', 'str', 'str', 'void *', 'size_t', err]),
  features: lib.func('calf_features', 'void *', [])
}

const version = lib.func('calf_version', 'str', [])

// What calf refused, in a sentence; `code` is the name of one of calf.h's ('HELD' ...).
class CalfError extends Error {
  constructor (code, text) {
    super(text)
    this.name = 'CalfError'
    this.code = code
  }
}

function check (code, err) {
  if (code !== 0) throw new CalfError(CODES[code], err.text)
}

function call (name, ...args) {
  const err = {}
  check(calf[name](...args, err), err)
}

async function callAsync (name, ...args) {
  const err = {}
  check(await promisify(calf[name].async)(...args, err), err)
  return args // so that they are there until now: koffi does not hold buffers while a call lasts
}

function choose (what, choices, name) {
  if (!Object.hasOwn(choices, name)) throw new CalfError('MISUSE', `there is no ${what} "${name}"`)
  return choices[name]
}

async function runOn (handle, argv, { stdin = 0, stdout = 1, stderr = 2 } = {}) {
  const code = [0]
  await callAsync('run', handle, [...argv, null], [stdin, stdout, stderr], code)
  return code[0]
}

const signalNumber = name => typeof name === 'number' ? name : os.constants.signals[name] ?? 0

const directories = new Set() // of sockets that config() made; none outlives the process
process.on('exit', () => directories.forEach(remove))

function remove (directory) {
  fs.rmSync(directory, { recursive: true, force: true })
  directories.delete(directory)
}

// The bytes of one session, of PostgreSQL's protocol; one call at a time.
class Wire {
  #handle

  constructor (handle) {
    this.#handle = handle
  }

  // Sends and receives: how many bytes of `data` were taken, and the bytes that came, at most `room`.
  async exchange (data = Buffer.alloc(0), { room = 65536, timeoutMs = -1 } = {}) {
    const [taken, came, bytes] = [[data.length], [room], Buffer.alloc(room)]
    await callAsync('wire_exchange', this.#handle, data, taken, bytes, came, timeoutMs)
    return { taken: taken[0], data: bytes.subarray(0, came[0]) }
  }

  close () {
    call('wire_close', this.#handle)
  }
}

// An open data directory; close() gives it back.
class Database {
  #handle
  #directory = null // of config()'s socket
  #user = null

  constructor (handle) {
    this.#handle = handle
  }

  // A connection string for libpq in this process.
  get dsn () {
    return calf.dsn(this.#handle)
  }

  // For other processes, of the address that was listened on last; else null.
  get uri () {
    return calf.uri(this.#handle)
  }

  get directory () {
    return calf.directory(this.#handle)
  }

  get healthy () {
    return calf.healthy(this.#handle) === 1
  }

  // What pg's Client and Pool want to know.  The socket is in a directory that only this user can
  // enter; it is made by the first call and removed by close().
  config () {
    if (!this.#directory) {
      const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'calf-'))
      directories.add(directory)
      try {
        call('listen', this.#handle, directory)
      } catch (error) {
        remove(directory)
        throw error
      }
      this.#directory = directory
      this.#user = decodeURIComponent(/\/\/([^@]*)@/.exec(this.uri)[1])
    }
    return { host: this.#directory, port: 5432, user: this.#user, database: 'postgres', ssl: false }
  }

  // Lets other processes in; returns the URI for them.
  listen (address) {
    call('listen', this.#handle, address)
    return this.uri
  }

  // Without an address: all, config()'s too.
  unlisten (address = null) {
    call('unlisten', this.#handle, address)
    if (address === null) this.#forget()
  }

  // Runs one of PostgreSQL's programs; file descriptors; resolves to its exit code.
  run (argv, fds) {
    return runOn(this.#handle, argv, fds)
  }

  // Gives a signal ('SIGINT' ...) to the programs that run() runs just now.
  runSignal (signal) {
    call('run_signal', this.#handle, signalNumber(signal))
  }

  // Copies it, while sessions go on.
  async snapshot (path) {
    await callAsync('snapshot', this.#handle, path)
  }

  wire () {
    const handle = [0]
    call('wire_open', this.#handle, handle)
    return new Wire(handle[0])
  }

  // 'smart', 'fast' or 'immediate'.  Smart, because pg's end() does not wait for the sessions that it ends: to
  // 'fast', which ends them, pg may still say 'error'.
  async close (mode = 'smart') {
    await callAsync('close', this.#handle, choose('mode of closing', MODES, mode))
    this.#forget()
  }

  #forget () {
    if (this.#directory) remove(this.#directory)
    this.#directory = null
  }
}

// Opens the data directory `path`, created when absent; null: a temporary database.
async function open (path = null, options = {}) {
  const { durability = 'durable', settings = {}, logFile, encoding, locale, checksums = true } = options
  const { superuser, icuLocale, lingerMs = 0, extensionPath, listen = [] } = options
  const handle = [0]
  await callAsync('open', path, {
    size: koffi.sizeof(Options),
    durability: choose('durability', DURABILITY, durability),
    settings: [...Object.entries(settings).map(pair => pair.join('=')), null],
    log_file: logFile ?? null,
    encoding: encoding ?? null,
    locale: locale ?? null,
    no_checksums: checksums ? 0 : 1,
    superuser: superuser ?? null,
    icu_locale: icuLocale ?? null,
    log: null,
    log_context: null,
    linger_ms: lingerMs,
    extension_path: extensionPath ?? null,
    listen: [...listen, null]
  }, handle)
  return new Database(handle[0])
}

// Who has a data directory open, this process or another; nothing is changed.
function look (path) {
  const s = {}
  call('look', path, s)
  return {
    state: STATES[s.state],
    pid: s.pid || null,
    stock: s.stock !== 0,
    since: s.since ? new Date(s.since * 1000) : null,
    uri: s.uri || null,
    socketUri: s.socket_uri || null
  }
}

// Runs one of PostgreSQL's programs without a database (pg_controldata ...), as Database's run() does.
function run (argv, fds) {
  return runOn(0, argv, fds)
}

function runSignal (signal) {
  call('run_signal', 0, signalNumber(signal))
}

// Modules that are loaded later and want libpq.so.5 (pg-native) get calf's, which knows db.dsn.
function replaceLibpq () {
  call('replace_libpq')
}

// Copies a closed data directory.
async function clone (from, to) {
  await callAsync('clone', from, to)
}

// The directory for an application's own data, not created.
function dataDir (organisation, application, qualifier = null) {
  const buf = Buffer.alloc(4096)
  call('data_dir', qualifier, organisation, application, buf, buf.length)
  return buf.toString('utf8', 0, buf.indexOf(0))
}

// The optional parts that were built into PostgreSQL: ['icu', 'openssl' ...]
function features () {
  const [names, all] = [[], calf.features()]
  for (let name; (name = koffi.decode(all, names.length * koffi.sizeof('char *'), 'const char *')) !== null;) names.push(name)
  return names
}

module.exports = { open, live: require('./live'), look, run, runSignal, replaceLibpq, clone, dataDir, features, version, CalfError, Database, Wire }

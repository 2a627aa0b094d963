/** PostgreSQL inside the Node process; calf.h is the manual. */

export interface Options {
  /** What a crash can lose: nothing that was committed (the default), its last fraction of a second, all. */
  durability?: 'durable' | 'relaxed' | 'none'
  /** PostgreSQL's settings, as after `postgres -c`. */
  settings?: Record<string, string | number | boolean>
  /** Appended to; without it the last 64 KB are kept for errors. */
  logFile?: string
  /** UTF8 unless given; when the cluster is created. */
  encoding?: string
  /** C.UTF-8 unless given; when the cluster is created. */
  locale?: string
  /** True unless given; when the cluster is created. */
  checksums?: boolean
  /** Postgres unless given; of a new cluster, and the user of config(). */
  superuser?: string
  /** ICU compares and sorts by it ('de-AT'); when the cluster is created. */
  icuLocale?: string
  /** How long the directory stays open after the last close('fast'). */
  lingerMs?: number
  /** Directories with extensions of one's own: 'dir:dir'. */
  extensionPath?: string
  /** Addresses as for listen(), from the beginning. */
  listen?: string[]
}

/** What pg's Client and Pool want to know. */
export interface Config {
  host: string
  port: number
  user: string
  database: string
  ssl: boolean
}

/** What calf refused, in a sentence. */
export class CalfError extends Error {
  code: 'MISUSE' | 'HELD' | 'FOREIGN' | 'MAJOR' | 'ACCESS' | 'INSTALL' | 'FAILED' | 'SYSTEM' | 'ENDED'
}

/** Descriptors for a program; the process's own unless given. */
export interface Descriptors {
  stdin?: number
  stdout?: number
  stderr?: number
}

/** What look() saw; all but the state is of an open directory, null is unknown, or nowhere. */
export interface Status {
  state: 'absent' | 'closed' | 'crashed' | 'open'
  pid: number | null
  /** A stock PostgreSQL server has it open. */
  stock: boolean
  since: Date | null
  /** The address that was listened on last. */
  uri: string | null
  /** The last one that is a Unix socket. */
  socketUri: string | null
}

/** The bytes of one session, of PostgreSQL's protocol; one call at a time. */
export class Wire {
  private constructor ()
  /** Resolves as soon as anything moved, or after timeoutMs (-1: never), to what was taken and what came. */
  exchange (data?: Uint8Array, options?: { room?: number, timeoutMs?: number }): Promise<{ taken: number, data: Buffer }>
  close (): void
}

/** An open data directory; close() gives it back. */
export class Database {
  private constructor ()
  /** A connection string for libpq in this process; null when closed. */
  readonly dsn: string | null
  /** For other processes, of the address that was listened on last; else null. */
  readonly uri: string | null
  readonly directory: string | null
  readonly healthy: boolean
  /** For `new Pool(db.config())`: a socket that only this user can reach, removed by close(). */
  config (): Config
  /** A directory (absolute), 'tcp:PORT', 'tcp:ADDRESS:PORT' or 'fd:N' (a socket that listens); returns the URI for other processes. */
  listen (address: string): string
  /** Without an address: all, config()'s too. */
  unlisten (address?: string): void
  /** Runs psql, pg_dump ...; standard input, output and error are descriptors; resolves to the exit code. */
  run (argv: string[], fds?: Descriptors): Promise<number>
  /** To the programs that run() runs just now. */
  runSignal (signal: NodeJS.Signals | number): void
  /** Copies it, while sessions go on. */
  snapshot (path: string): Promise<void>
  wire (): Wire
  /**
   * Smart (the default) waits for the sessions to end, fast ends them, immediate leaves recovery to the next open. Once
   * more meanwhile: hurries the first.
   */
  close (mode?: 'smart' | 'fast' | 'immediate'): Promise<void>
}

/** Opens the data directory, created when absent; null: a temporary database. */
export function open (path?: string | null, options?: Options): Promise<Database>

/** Who has a data directory open, this process or another; nothing is changed. */
export function look (path: string): Status

/** As Database's run(), without a database (pg_controldata ...). */
export function run (argv: string[], fds?: Descriptors): Promise<number>
export function runSignal (signal: NodeJS.Signals | number): void

/** Modules that are loaded later and want libpq.so.5 (pg-native) get calf's, which knows db.dsn; for the whole process. */
export function replaceLibpq (): void

/** Copies a closed data directory. */
export function clone (from: string, to: string): Promise<void>

/** The directory for an application's own data, not created. */
export function dataDir (organisation: string | null, application: string, qualifier?: string | null): string

/** The optional parts that were built into PostgreSQL: ['icu', 'openssl' ...] */
export function features (): string[]

export function version (): string

/** How to end a live query, and how to ask it at once. */
export interface LiveHandle {
  unsubscribe (): Promise<void>
  refresh (): Promise<void>
}

/** pg's QueryResult. */
export interface LiveResults<T> {
  rows: T[]
  fields: { name: string, dataTypeID: number }[]
}

/** A row, or of a deleted one the key; __after__ is the key of the row before it. */
export type LiveChange<T> = Partial<T> & {
  __op__: 'INSERT' | 'UPDATE' | 'DELETE'
  __changed_columns__: string[]
  __after__: any
}

/** Queries that are asked again when the tables that they read change; as PGlite's extension of that name. */
export interface Live {
  query<T = any> (query: string, params?: any[] | null, callback?: (results: LiveResults<T>) => void):
    Promise<LiveHandle & { initialResults: LiveResults<T> }>
  query<T = any> (options: { query: string, params?: any[] | null, callback?: (results: LiveResults<T>) => void }):
    Promise<LiveHandle & { initialResults: LiveResults<T> }>
  /** Rows that did not change stay the same objects. */
  incrementalQuery<T = any> (query: string, params: any[] | null | undefined, key: string, callback?: (results: LiveResults<T>) => void):
    Promise<LiveHandle & { initialResults: LiveResults<T> }>
  incrementalQuery<T = any> (options: { query: string, params?: any[] | null, key: string, callback?: (results: LiveResults<T>) => void }):
    Promise<LiveHandle & { initialResults: LiveResults<T> }>
  changes<T = any> (query: string, params: any[] | null | undefined, key: string, callback?: (changes: LiveChange<T>[]) => void):
    Promise<LiveHandle & { fields: LiveResults<T>['fields'], initialChanges: LiveChange<T>[] }>
  changes<T = any> (options: { query: string, params?: any[] | null, key: string, callback?: (changes: LiveChange<T>[]) => void }):
    Promise<LiveHandle & { fields: LiveResults<T>['fields'], initialChanges: LiveChange<T>[] }>
  /** Ends all of them; before pool.end(). */
  close (): Promise<void>
}

/** For a Pool of pg, of which it holds one connection while it is open. */
export function live (pool: object): Live

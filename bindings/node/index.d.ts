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
  code: 'MISUSE' | 'HELD' | 'FOREIGN' | 'MAJOR' | 'ACCESS' | 'INSTALL' | 'FAILED' | 'SYSTEM'
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
  /** A directory (absolute), 'tcp:PORT' or 'tcp:ADDRESS:PORT'; returns the URI for other processes. */
  listen (address: string): string
  /** Without an address: all, config()'s too. */
  unlisten (address?: string): void
  /** Runs psql, pg_dump ...; standard input, output and error are descriptors; resolves to the exit code. */
  run (argv: string[], fds?: { stdin?: number, stdout?: number, stderr?: number }): Promise<number>
  /** Smart (the default) waits for the sessions to end, fast ends them, immediate leaves recovery to the next open. */
  close (mode?: 'smart' | 'fast' | 'immediate'): Promise<void>
}

/** Opens the data directory, created when absent; null: a temporary database. */
export function open (path?: string | null, options?: Options): Promise<Database>

export function version (): string

// notify.js URI PAYLOAD - sends one notification on the channel news
import pg from 'pg'

const client = new pg.Client(process.argv[2])
await client.connect()
await client.query('select pg_notify($1, $2)', ['news', process.argv[3]])
await client.end()

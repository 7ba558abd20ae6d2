// What strangers can take: handshakes, abandoned polls, unread answers, half bodies and tokens that are none, 2,000 a second, from one
// address and from 500. The server has its default configuration; two people go on writing to each other meanwhile.
//
//   node abuse/strangers.mjs            every kind from 1 address and from 500, a minute each; about half an hour
//   KINDS=polls,mix ADDRESSES=1 SECONDS=10 RATE=500 node abuse/strangers.mjs
//   AUTH=introspect KINDS=tokens …      with a backend that is asked for each token; run by itself at the end otherwise
//
// It ends with 1 when a bound is passed.
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { sleep, token } from '../e2e/support/server.mjs'
import { Bystanders, Helper, MIB, Pulse, Table, Usage, addresses, defaultServer, descriptorLimit, metrics, number, rowsOfBystanders, warmUp } from './watch.mjs'

/** `limits.anonymous_per_minute`, `limits.backend_requests` and `limits.connections_per_network` as config.toml has them. */
const [ANONYMOUS, IN_FLIGHT, CONNECTIONS] = [60, 32, 200]
/** Descriptors that the program needs whatever comes: its store, logs, timers and media. */
const OWN = 128

/** A backend that vouches for two people, takes 50 ms for everybody else, and counts. */
export async function countingBackend() {
  const seen = { asked: 0, now: 0, most: 0 }
  const answer = (response, status, body) => {
    seen.now -= 1
    response.statusCode = status
    response.end(JSON.stringify(body))
  }
  const backend = createServer((request, response) => {
    const known = request.headers.authorization?.match(/^Bearer known-(\d+)$/)?.[1]
    seen.now += 1
    seen.most = Math.max(seen.most, seen.now)
    if (known) return answer(response, 200, { data: { user_id: Number(known), uid: `u-${known}`, name: `User ${known}`, email: `u${known}@example.net` } })
    seen.asked += 1
    setTimeout(() => answer(response, 401, {}), 50) // paces the backend: it is slower than who asks
  })
  await new Promise((resolve) => backend.listen(0, '127.0.0.1', resolve))
  return { seen, url: `http://127.0.0.1:${backend.address().port}`, end: () => (backend.close(), backend.closeAllConnections()) }
}

/** One kind for so many seconds; gives the table. Where `judged` is false, what depends on the speed of the machine is shown only. */
export async function strangers({ kind, from, seconds, rate, introspect = false, judged = true, patience = 60, held = 15_000 }) {
  const backend = introspect ? await countingBackend() : undefined
  const server = await defaultServer(backend ? { SWITCHBOARD_AUTH__MODE: 'introspect', DJANGO_BASE_URL: backend.url } : {})
  const table = new Table(`${kind}: ${rate}/s for ${seconds} s from ${from} address${from > 1 ? 'es' : ''}${introspect ? ', tokens are introspected' : ''}`)
  let strangers
  try {
    const bystanders = (await Bystanders.of(server, [1, 2], introspect ? (user) => `known-${user}` : token)).begin()
    const pulse = new Pulse(server.url)
    await warmUp(Math.min(5, seconds))
    const usage = new Usage(server.process.pid)
    const begun = Date.now()
    strangers = new Helper('load-strangers.mjs', { port: server.port, addresses: addresses(from), rate, kind, held })
    await sleep(seconds * 1000) // paces the load: so long it lasts
    const [report, lasted] = [{ ...strangers.report }, (Date.now() - begun) / 1000]
    const refused = introspect ? {} : heldNow(await metrics(server).catch(() => ({})))
    await strangers.end()
    await bystanders.rest()
    const back = await usage.back(16 * MIB, patience)
    usage.end()
    pulse.end()
    rowsOfLoad(table, report, lasted)
    table[judged ? 'most' : 'note']('resident memory, MiB more at the most', (usage.peak.memory - usage.base.memory) / MIB, 48)
    table.note('resident memory at the beginning, MiB', usage.base.memory / MIB)
    table.note('resident memory at the end, MiB more', (usage.samples.at(-1).memory - usage.base.memory) / MIB)
    table[judged ? 'most' : 'note']('seconds until resident memory is back to 16 MiB more', back, patience)
    rowsOfDescriptors(table, usage, from, server.process.pid)
    table.note('threads, at the beginning and at the most', `${usage.base.threads}, ${usage.peak.threads}`)
    rowsOfBystanders(table, pulse, bystanders, judged)
    for (const [name, value] of Object.entries(refused)) table.note(name, value)
    if (backend) rowsOfBackend(table, backend.seen, from, lasted, judged)
    table.most('panics', server.log.includes('panicked') ? 1 : 0, 0)
    bystanders.end()
    return table
  } finally {
    await strangers?.end()
    backend?.end()
    await server.stop('SIGKILL')
  }
}

function rowsOfLoad(table, report, lasted) {
  table.note('attempts a second', (report.attempts ?? 0) / lasted)
  table.note('answers, by status', JSON.stringify(report.statuses))
  table.note('connections open at the end, as the strangers see it', report.open)
  table.note('errors of the strangers', JSON.stringify(report.errors))
}

function rowsOfDescriptors(table, { base, peak, samples }, from, pid) {
  const limit = descriptorLimit(pid)
  // From few addresses, each has its connections; from many, what the process may open bounds all, and some stay free.
  const bound = Math.min(base.descriptors + from * CONNECTIONS + OWN, limit - OWN)
  table.most('descriptors at the most', peak.descriptors, bound)
  table.note('descriptors, at the beginning and at the end', `${base.descriptors}, ${samples.at(-1).descriptors}`)
  table.note('descriptors that may be open', limit)
}

function rowsOfBackend(table, seen, from, lasted, judged) {
  table.most('questions to the backend at a time', seen.most, IN_FLIGHT)
  table[judged ? 'most' : 'note']('questions to the backend', seen.asked, from * Math.ceil(ANONYMOUS + ANONYMOUS * lasted / 60 + 1))
}

/** What the ledger says, where it says something. */
const heldNow = (all) => Object.fromEntries(Object.entries(all).filter(([name, value]) => /^rtc_(held|rate_limited)/.test(name) && value > 0))

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const list = (name, fallback) => (process.env[name] ?? fallback).split(',')
  const [seconds, rate] = [number('SECONDS', 60), number('RATE', 2000)]
  const runs = list('ADDRESSES', '1,500').map(Number).flatMap((from) => list('KINDS', 'handshakes,polls,unread,bodies,tokens,mix').map((kind) => ({ kind, from, introspect: process.env.AUTH === 'introspect' })))
  if (!process.env.AUTH && !process.env.KINDS) for (const from of list('ADDRESSES', '1,500').map(Number)) runs.push({ kind: 'tokens', from, introspect: true })
  const faults = []
  for (const run of runs) {
    const table = await strangers({ ...run, seconds, rate })
    table.print()
    faults.push(...table.faults.map((fault) => `${table.title}: ${fault}`))
  }
  console.log(faults.length ? `\n${faults.length} bounds are passed:\n${faults.join('\n')}` : '\nall bounds are kept')
  process.exit(faults.length ? 1 : 0)
}

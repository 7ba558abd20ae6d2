// Does anything grow? For an hour five hundred people come, go, write, call, meet, misbehave and lose their accounts by chance, at a tenth
// of the limits. Once warm, resident memory has to stay where it is; at the end everything that was held has to be given back.
//
//   node abuse/soak.mjs                 one hour; not in CI
//   SECONDS=120 PEOPLE=100 SEED=7 node abuse/soak.mjs     the slope is shown and not judged below half an hour
//
// It ends with 1 when a bound is passed.
import { secret, sleep, token, until } from '../e2e/support/server.mjs'
import { Bystanders, Helper, MIB, Pulse, Table, Usage, defaultServer, metrics, number, rowsOfBystanders, usage as usageOf } from './watch.mjs'

const [SECONDS, PEOPLE, SEED] = [number('SECONDS', 3600), number('PEOPLE', 500), number('SEED', Math.floor(Math.random() * 2 ** 31))]
/** Seconds until the load is what it stays; the first sixth, ten minutes at the most. */
const WARM = Math.min(600, SECONDS / 6)
/** Bytes an hour. */
const SLOPE = MIB
/** What has to be what it was before anybody came. */
const GAUGES = /^rtc_(socket_connections|users_online|presence_subscriptions|calls_active|calls_ringing|rooms|participants|tracks|held|turn_allocations|recording_active)(\{|$)/

/** Bytes an hour by which memory grows, by least squares. */
function slope(samples) {
  const mean = (of) => samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length
  const [at, memory] = [mean((sample) => sample.at), mean((sample) => sample.memory)]
  const over = samples.reduce((sum, sample) => sum + (sample.at - at) * (sample.memory - memory), 0)
  return over / samples.reduce((sum, sample) => sum + (sample.at - at) ** 2, 0) * 3_600_000
}

const gauges = async (server) => Object.fromEntries(Object.entries(await metrics(server)).filter(([name]) => GAUGES.test(name)))

const server = await defaultServer()
const table = new Table(`${PEOPLE} people for ${SECONDS} s, seed ${SEED}`)
console.log(`seed ${SEED}`)
const bystanders = (await Bystanders.of(server)).begin()
const pulse = new Pulse(server.url)
const before = { ...usageOf(server.process.pid), gauges: await gauges(server) }
const people = new Helper('load-soak.mjs', { port: server.port, people: PEOPLE, seed: SEED, secret, arrive: WARM * 500 })
const begun = Date.now()
const admin = { authorization: `Bearer ${token(9, { role: 'admin' })}` }
let closed = 0

/** Every half minute somebody's account is closed. */
const closing = setInterval(async () => {
  const user = people.report.users?.[closed * 7919 % PEOPLE]
  if (!user) return
  closed += 1
  await server.rest(undefined, 'DELETE', `/api/users/${user}`, undefined, admin).catch(() => {})
  people.child.send({ erase: [user] })
}, Math.min(30_000, SECONDS * 100))
/** A line now and then, so that whoever watches sees that it goes on. */
const showing = setInterval(() => {
  const { memory, descriptors, threads } = usageOf(server.process.pid)
  const { connected, sessions, events } = people.report
  console.log(`${Math.round((Date.now() - begun) / 1000)} s: ${(memory / MIB).toFixed(1)} MiB, ${descriptors} descriptors, ${threads} threads, ${connected} connected, ${sessions} visits, ${events} events`)
}, Math.max(10_000, SECONDS * 1000 / 60))

await sleep(WARM * 1000) // paces the load: until all have come
const usage = new Usage(server.process.pid)
await sleep((SECONDS - WARM) * 1000) // paces the load: so long it lasts
usage.end()
const { report } = people
clearInterval(closing)
clearInterval(showing)
await bystanders.rest()
people.child.send({ over: true })
await sleep(2000) // paces the end: they say goodbye
await people.end()

// Calls ring out, lost places in rooms are given up and empty rooms are closed within two minutes.
let after
await until(async () => {
  // On a machine that is too busy to answer, it is asked again.
  const now = await gauges(server).catch(() => undefined)
  if (!now) return false
  after = { ...usageOf(server.process.pid), gauges: now }
  // The store's readers stay once they have been needed; other threads of the pool end a while later.
  return after.threads <= usage.base.threads && Object.keys(now).every((name) => now[name] <= (before.gauges[name] ?? 0))
}, 'everything is given back', 180_000).catch(() => {})

table.note('visits', report.sessions)
table.note('events and requests', `${report.events}, ${report.requests}`)
table.note('misbehaviour', report.misbehaved)
table.note('accounts closed', closed)
table.note('refusals of events, by reason', JSON.stringify(report.failures))
table.note('visits that failed, by reason', JSON.stringify(report.refused))
table.note('resident memory at the beginning, once warm, at the most, MiB', [before.memory, usage.base.memory, usage.peak.memory].map((bytes) => (bytes / MIB).toFixed(1)).join(', '))
const grows = slope(usage.samples) / MIB
if (SECONDS >= 1800) table.most('MiB an hour by which memory grows', grows, SLOPE / MIB)
else table.note('MiB an hour by which memory grows (not judged: too short)', grows)
table.note('descriptors at the beginning and at the most', `${before.descriptors}, ${usage.peak.descriptors}`)
// The store may have opened a reader more.
table.most('descriptors more at the end than at the beginning', after.descriptors - before.descriptors, 4)
table.note('threads at the beginning and at the most', `${before.threads}, ${usage.peak.threads}`)
table.most('threads more at the end than once warm', after.threads - usage.base.threads, 0)
for (const [name, value] of Object.entries(after.gauges)) table.most(name, value, before.gauges[name] ?? 0)
rowsOfBystanders(table, pulse, bystanders, false)
table.most('panics', server.log.includes('panicked') ? 1 : 0, 0)
table.print()
console.log(table.good ? '\nall bounds are kept' : `\n${table.faults.length} bounds are passed:\n${table.faults.join('\n')}`)
await server.stop('SIGKILL')
process.exit(table.good ? 0 : 1)

// What guests of a room can take: twenty whom one link let in send data, metadata and reactions, ten at the limits and ten above them,
// in a room of fifty, eight of whom read slowly. Two people outside the room go on writing to each other.
//
//   node abuse/room-data.mjs            five minutes
//   SECONDS=20 node abuse/room-data.mjs
//
// It ends with 1 when a bound is passed.
import { fileURLToPath } from 'node:url'
import { sleep, token, until } from '../e2e/support/server.mjs'
import { Bystanders, Helper, MIB, Pulse, Table, Usage, addresses, defaultServer, metrics, number, rowsOfBystanders, warmUp } from './watch.mjs'

const GUESTS = 20
/** Bytes a second that a slow reader takes. */
const SLOW = 32 * 1024

/** A room that the application has opened, and fifty rights to come in: one link for all guests, one token for each of the others. */
async function rights(server, members) {
  const admin = { authorization: `Bearer ${token(9, { role: 'admin' })}` }
  const post = async (path, body) => {
    const answer = await server.rest(undefined, 'POST', path, body, admin)
    if (answer.status >= 300) throw new Error(`${path}: ${answer.text}`)
    return answer.json.data
  }
  await post('/api/rooms', { roomId: 'busy' })
  const link = (await post('/api/rooms/busy/tokens', { name: 'Guest', ttl: 7200 })).token
  const from = addresses(members)
  const guests = from.slice(0, GUESTS).map((address, n) => ({ port: server.port, address, auth: { token: link, deviceId: `guest-${n}` }, join: { roomId: 'busy' } }))
  const others = []
  for (let n = GUESTS; n < members; n += 1) {
    const user = 100 + n
    const own = (await post('/api/rooms/busy/tokens', { userId: user, ttl: 7200 })).token
    others.push({ port: server.port, address: from[n], auth: { token: token(user), cursor: 'new' }, join: { roomId: 'busy', token: own } })
  }
  return { guests, others }
}

export async function roomData({ seconds, members = 50, slow = 8, judged = true }) {
  const server = await defaultServer()
  const table = new Table(`room:data, room:metadata and room:reaction of ${GUESTS} guests in a room of ${members} for ${seconds} s`)
  const helpers = []
  try {
    const { guests, others } = await rights(server, members)
    for (const [part, list] of [['guests', guests], ['others', others]]) helpers.push(new Helper('load-room.mjs', { part, members: list, slow, rate: SLOW }))
    const [speakers, listeners] = helpers
    const inside = ({ report }) => { if (report.failed) throw new Error(report.failed); return report.entered }
    await until(() => helpers.every(inside), 'all are in the room', 60_000)
    const bystanders = (await Bystanders.of(server)).begin()
    const pulse = new Pulse(server.url)
    await warmUp(Math.min(5, seconds))
    const usage = new Usage(server.process.pid)
    speakers.child.send({})
    await sleep(seconds * 1000) // paces the load: so long it lasts
    const [said, heard] = [{ ...speakers.report }, { ...listeners.report }]
    await bystanders.rest()
    const gauges = await metrics(server).catch(() => ({}))
    await speakers.end()
    const back = await usage.back(16 * MIB, 60)
    usage.end()
    pulse.end()
    table.note('sent a second', said.sent / seconds)
    table.note('acknowledged with ok', said.acknowledged)
    table.note('refusals, by reason', JSON.stringify(said.refusals))
    table.note('guests that were cut', said.cut)
    table.note('MiB that the others received', heard.received / MIB)
    table.most('others whose connection was cut', heard.cut, 0)
    table.note('others inside at the end', heard.open)
    table[judged ? 'most' : 'note']('resident memory, MiB more at the most', (usage.peak.memory - usage.base.memory) / MIB, 32)
    table.note('resident memory at the beginning, MiB', usage.base.memory / MIB)
    table.note('seconds until resident memory is back to 16 MiB more', back)
    table.note('descriptors, at the beginning and at the most', `${usage.base.descriptors}, ${usage.peak.descriptors}`)
    rowsOfBystanders(table, pulse, bystanders, false)
    for (const name of ['rtc_slow_consumers_total', 'rtc_room_busy_total', 'rtc_participants']) table.note(name, gauges[name] ?? 'unknown')
    table.most('panics', server.log.includes('panicked') ? 1 : 0, 0)
    bystanders.end()
    return table
  } finally {
    for (const helper of helpers) await helper.end()
    await server.stop('SIGKILL')
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const table = await roomData({ seconds: number('SECONDS', 300) })
  table.print()
  console.log(table.good ? '\nall bounds are kept' : `\n${table.faults.length} bounds are passed:\n${table.faults.join('\n')}`)
  process.exit(table.good ? 0 : 1)
}

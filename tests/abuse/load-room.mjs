// The members of a room, in processes of their own: `part: "guests"` speaks at the limits and above them, `part: "others"` listens, some
// of them slowly. Orders come as a message; how it goes is reported once a second.
import { RawClient } from './raw.mjs'

const report = { inside: 0, cut: 0, refusals: {}, sent: 0, acknowledged: 0, received: 0, slowest: 0 }
const clients = []
const count = (key) => (report.refusals[key] = (report.refusals[key] ?? 0) + 1)
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms)) // paces load: the pace of those who speak

/** 15 KiB as JSON that are as much in memory as can be, and 2 KiB of the same. */
const PAYLOAD = Array(7000).fill(0)
const METADATA = Array(1000).fill(0)

async function enter({ port, address, auth, join }) {
  const client = await RawClient.connect(port, auth, { address })
  const ack = await client.ask('room:join', join)
  if (!ack?.ok) throw new Error(`cannot enter: ${JSON.stringify(ack)}`)
  client.session = ack.sessionId
  client.socket.on('close', () => (report.cut += 1))
  clients.push(client)
  report.inside += 1
  return client
}

const SAYS = [
  (sessionId) => ['room:data', { sessionId, topic: 'load', payload: PAYLOAD }],
  (sessionId) => ['room:metadata', { sessionId, metadata: { list: METADATA } }],
  (sessionId) => ['room:reaction', { sessionId, emoji: '👍' }],
]

/** At the limits: one after the other is acknowledged, and a refusal is waited out. */
async function within(client, n) {
  for (let turn = n; client.open; turn += 1) {
    const ack = await client.ask(...SAYS[turn % 3](client.session))
    report.sent += 1
    if (ack?.ok) report.acknowledged += 1
    else count(ack?.reason ?? 'no answer')
    await wait(ack?.ok ? 5 : Math.max(20, ack?.details?.retryAfterMs ?? 100))
  }
}

/** Above them: 300 a second, half as many again as a connection may send in all, whatever is answered. */
async function above(client, n) {
  for (let turn = n; client.open; turn += 1) {
    for (let more = 0; more < 3 && client.free; more += 1) {
      client.ask(...SAYS[(turn + more) % 3](client.session)).then((ack) => (ack?.ok ? (report.acknowledged += 1) : count(ack?.reason ?? 'no answer')))
      report.sent += 1
    }
    await wait(10)
  }
}

process.on('message', async ({ part, members, slow, rate }) => {
  if (!members) return clients.forEach((client, n) => (n % 2 ? above : within)(client, n))
  setInterval(() => {
    report.received = clients.reduce((all, client) => all + client.received, 0)
    process.send({ ...report, open: clients.filter(({ open }) => open).length })
  }, 1000)
  try {
    for (const member of members) await enter(member)
    if (part === 'others') clients.slice(0, slow).forEach((client) => client.readSlowly(rate))
    return process.send({ entered: true })
  } catch (error) {
    return process.send({ failed: error.message })
  }
})
process.on('disconnect', () => process.exit())

// The database behind the server dies, stands still and comes back: clear errors meanwhile, nothing acknowledged that is not
// kept, and no restart of ours. Runs with TEST_STORE=mongo.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { Server, ask, sleep, until } from '../support/server.mjs'

let server
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_LIMITS__RATE_LIMITS: 'false' } })
  await server.people(1, ...Array.from({ length: 10 }, (_, n) => 100 + n))
})
after(() => server?.stop())

/** Ten people send to one, each message after the answer to the one before; what came of it. */
function load() {
  const outcome = { acked: [], failed: [], slowest: 0, stop: () => {} }
  let running = true
  const send = async (user) => {
    const socket = await server.connect(user, { auth: { cursor: 0 } })
    for (let n = 0; running; n += 1) {
      const begun = Date.now()
      const clientId = `${user}-${begun}-${n}`
      const ack = await ask(socket, 'message:send', { toUserId: 1, content: `text of ${clientId}`, clientId }, 20_000)
      outcome.slowest = Math.max(outcome.slowest, Date.now() - begun)
      if (ack.ok) outcome.acked.push({ user, clientId, messageId: ack.messageId, at: Date.now() })
      else { outcome.failed.push(ack); await sleep(50) }
    }
    socket.close()
  }
  const senders = Array.from({ length: 10 }, (_, n) => send(100 + n))
  outcome.stop = async () => { running = false; await Promise.all(senders) }
  return outcome
}

async function everythingAckedIsThere(acked) {
  for (const user of new Set(acked.map((ack) => ack.user))) {
    const all = []
    for (let cursor = ''; ;) {
      const { json } = await server.rest(user, 'GET', `/api/chat/messages/1?limit=200&markRead=false${cursor && `&before=${cursor}`}`)
      all.unshift(...json.data)
      if (!json.meta.prevCursor) break
      cursor = json.meta.prevCursor
    }
    const kept = new Map(all.map((message) => [message.clientId, message.messageId]))
    assert.equal(kept.size, all.length, 'each key once')
    assert.deepEqual(all.map((message) => message.seq), all.map((_, n) => n + 1), 'seq without gaps')
    for (const ack of acked.filter((ack) => ack.user === user)) assert.equal(kept.get(ack.clientId), ack.messageId)
  }
}

test('the database is killed under load: errors within 5 s, not ready, and back by itself', async () => {
  const outcome = load()
  await until(() => outcome.acked.length > 20, 'the load runs')
  await server.killEngine()
  const [killed, before] = [Date.now(), outcome.acked.length]
  await until(async () => (await server.rest(null, 'GET', '/readyz')).status === 503, 'not ready')
  await until(() => outcome.failed.length >= 10, 'errors', 6000)
  await sleep(Math.max(0, 5000 - (Date.now() - killed)))
  assert.ok(outcome.acked.slice(before).every((ack) => ack.at - killed < 1000), 'nothing is acknowledged without the database')
  for (const ack of outcome.failed) assert.deepEqual([ack.reason, ack.code], ['UNAVAILABLE', 503])
  const away = outcome.acked.length
  await server.startEngine()
  const returned = Date.now()
  await until(() => outcome.acked.length > away + 10, 'messages are stored again', 10_000)
  await until(async () => (await server.rest(null, 'GET', '/readyz')).status === 200, 'ready', 10_000 - (Date.now() - returned))
  await outcome.stop()
  assert.ok(outcome.slowest < 5000, `the slowest answer took ${outcome.slowest} ms`)
  await everythingAckedIsThere(outcome.acked)
})

test('the database stands still for 20 s: answers within 5 s, memory bounded, and back by itself', async () => {
  const memory = () => Number(readFileSync(`/proc/${server.process.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1])
  const outcome = load()
  await until(() => outcome.acked.length > 20, 'the load runs')
  const before = memory()
  server.engine.kill('SIGSTOP')
  await sleep(1000)
  const still = outcome.acked.length
  let most = 0
  for (let second = 0; second < 19; second += 1) {
    await sleep(1000)
    most = Math.max(most, memory())
  }
  assert.equal(outcome.acked.length, still, 'nothing is acknowledged meanwhile')
  assert.ok(outcome.failed.length >= 20, `${outcome.failed.length} errors`)
  assert.ok(most - before < 64 * 1024, `memory grew by ${most - before} KiB`)
  server.engine.kill('SIGCONT')
  await until(() => outcome.acked.length > still + 10, 'messages are stored again', 10_000)
  await outcome.stop()
  assert.ok(outcome.slowest < 5500, `the slowest answer took ${outcome.slowest} ms`)
  await everythingAckedIsThere(outcome.acked)
})

test('a server that takes over ends the writing of the one before', async (context) => {
  const ada = await server.connect(100, { auth: { cursor: 0 } })
  assert.equal((await ask(ada, 'message:send', { toUserId: 1, content: 'mine' })).ok, true)
  const second = new Server()
  Object.assign(second, { data: server.data, env: { ...server.env, SWITCHBOARD_SERVER__PORT: '0' }, args: [], enginePort: server.enginePort })
  context.after(async () => { second.process.kill('SIGKILL'); await second.exited })
  await second.run()
  const refused = await ask(ada, 'message:send', { toUserId: 1, content: 'late' })
  assert.deepEqual([refused.ok, refused.reason], [false, 'UNAVAILABLE'])
  assert.match(refused.error, /taken over/)
  assert.equal((await server.rest(null, 'GET', '/readyz')).status, 503)
  const sent = await second.rest(100, 'POST', '/api/chat/messages', { toUserId: 1, content: 'of the second' })
  assert.equal(sent.status, 200, sent.text)
  ada.close()
})

// The database behind the server dies, stands still and comes back: clear errors meanwhile, nothing acknowledged that is not
// kept, and no restart of ours. Runs with TEST_STORE=mongo.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Server, ask, binary, freePort, secret, sleep, until } from '../support/server.mjs'

let server
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_LIMITS__RATE_LIMITS: 'false' } })
  await server.people(1, ...Array.from({ length: 10 }, (_, n) => 100 + n))
})
after(() => server?.stop())

/** Ten people send to one, each message after the answer to the one before; what came of it. */
function load() {
  const outcome = { acked: [], failed: [], refused: new Map(), stop: () => {} }
  let running = true
  const send = async (user) => {
    const socket = await server.connect(user, { auth: { cursor: 0 } })
    for (let n = 0; running; n += 1) {
      const clientId = `${user}-${Date.now()}-${n}`
      // Whatever becomes of the database, the answer is promised within five seconds.
      const ack = await ask(socket, 'message:send', { toUserId: 1, content: `text of ${clientId}`, clientId }, 5500)
      if (ack.ok) {
        outcome.acked.push({ user, clientId, messageId: ack.messageId })
        continue
      }
      outcome.failed.push(ack)
      outcome.refused.set(user, (outcome.refused.get(user) ?? 0) + 1)
      await sleep(50) // paces load: what was refused is followed by another
    }
    socket.close()
  }
  const senders = Array.from({ length: 10 }, (_, n) => send(100 + n))
  senders.forEach((sender) => sender.catch(() => {}))
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
  const before = outcome.acked.length
  await until(async () => (await server.rest(null, 'GET', '/readyz')).status === 503, 'not ready')
  await until(() => [...outcome.refused.values()].filter((times) => times >= 3).length === 10, 'errors for everybody, again and again', 30_000)
  // Of each sender one message was on its way when the database died.
  for (let user = 100; user < 110; user += 1) {
    assert.ok(outcome.acked.slice(before).filter((ack) => ack.user === user).length <= 1, 'nothing is acknowledged without the database')
  }
  for (const ack of outcome.failed) assert.deepEqual([ack.reason, ack.code], ['UNAVAILABLE', 503])
  const away = outcome.acked.length
  await server.startEngine()
  await until(() => outcome.acked.length > away + 10, 'messages are stored again', 10_000)
  await until(async () => (await server.rest(null, 'GET', '/readyz')).status === 200, 'ready')
  await outcome.stop()
  await everythingAckedIsThere(outcome.acked)
})

test('the database stands still for 20 s: answers within 5 s, memory bounded, and back by itself', async () => {
  const memory = () => Number(readFileSync(`/proc/${server.process.pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1])
  const outcome = load()
  await until(() => outcome.acked.length > 20, 'the load runs')
  const before = memory()
  server.engine.kill('SIGSTOP')
  await sleep(1000) // paces the fault: what was on its way is answered
  const still = outcome.acked.length
  let most = 0
  for (let second = 0; second < 19; second += 1) {
    await sleep(1000) // paces the fault: the database stands still for 20 s
    most = Math.max(most, memory())
  }
  assert.equal(outcome.acked.length, still, 'nothing is acknowledged meanwhile')
  assert.ok(outcome.failed.length >= 20, `${outcome.failed.length} errors`)
  assert.ok(most - before < 64 * 1024, `memory grew by ${most - before} KiB`)
  server.engine.kill('SIGCONT')
  await until(() => outcome.acked.length > still + 10, 'messages are stored again', 10_000)
  await outcome.stop()
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

test('a database that does not answer at the start is one sentence, without its password', async () => {
  const env = {
    PATH: process.env.PATH, JWT_SECRET: secret, MONGODB_URI: `mongodb://u:hunter2@127.0.0.1:${await freePort()}/chat`, SWITCHBOARD_STORE__MONGODB_PATIENCE: '1',
    SWITCHBOARD_SERVER__HOST: '127.0.0.1', SWITCHBOARD_SERVER__PORT: '0', SWITCHBOARD_MEDIA__UDP_PORT: '0',
  }
  const { status, stderr } = spawnSync(binary, ['serve'], { cwd: mkdtempSync(join(tmpdir(), 'switchboard-test-')), env, encoding: 'utf8', timeout: 60_000 })
  assert.equal(status, 1, stderr)
  assert.ok(stderr.includes('store.mongodb_uri') && stderr.trim().split('\n').length === 1, stderr)
  assert.equal(stderr.includes('hunter2'), false)
})

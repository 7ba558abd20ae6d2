// Webhooks to a receiver that refuses, dies and comes back, while the server is killed, too: nothing is lost, what happened to a call comes in
// its order, and whatever comes twice has the same id. Signatures are checked by the official library of Standard Webhooks.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { Server, ask, freePort, next, token, until } from './support/server.mjs'

const secret = `whsec_${randomBytes(32).toString('base64')}`
const admin = { authorization: `Bearer ${token(9, { role: 'admin' })}` }

/** An application's backend: it verifies what it gets, and answers as `mode` says. */
class Receiver {
  constructor(port) {
    this.port = port
    this.mode = 'take'
    this.received = []
    this.taken = []
  }

  start() {
    const webhook = new Webhook(secret)
    this.server = createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      const event = webhook.verify(body, request.headers)
      const entry = { id: request.headers['webhook-id'], agent: request.headers['user-agent'], event }
      this.received.push(entry)
      if (this.mode === 'refuse') return response.writeHead(503).end()
      // What is not answered is not taken, as far as the server can know.
      if (this.mode === 'hang') return undefined
      this.taken.push(entry)
      return response.writeHead(204).end()
    })
    return new Promise((resolve) => this.server.listen(this.port, '127.0.0.1', resolve))
  }

  die() {
    this.server.closeAllConnections()
    return new Promise((resolve) => this.server.close(resolve))
  }
}

let [server, receiver] = []
before(async () => {
  receiver = new Receiver(await freePort())
  await receiver.start()
  const file = join(mkdtempSync(join(tmpdir(), 'switchboard-webhooks-')), 'config.toml')
  writeFileSync(file, `[[webhooks.endpoints]]\nname = "backend"\nurl = "http://127.0.0.1:${receiver.port}/hooks"\nsecret = "${secret}"\n`)
  server = await Server.start({ args: ['--config', file], env: { SWITCHBOARD_LIMITS__RATE_LIMITS: 'false' } })
  await server.people(1, 2)
})
after(async () => {
  await server.stop()
  await receiver.die()
})

const operate = (method, path, body) => server.rest(null, method, path, body, admin)

/** Ada calls Ben, who declines. */
async function call(ada, ben) {
  const { call: { callId } } = await ask(ada, 'call:initiate', { toUserId: 2 })
  await next(ben, 'call:incoming', (incoming) => (incoming.call?.callId ?? incoming.callId) === callId)
  assert.equal((await ask(ben, 'call:respond', { callId, response: 'reject' })).ok, true)
  return callId
}

/** The facts that the store has, in their order. */
async function facts() {
  const { stdout } = await server.program('export')
  const rows = stdout.trim().split('\n').map((line) => JSON.parse(line))
  return rows.filter((row) => row.t === 'fact').map(({ fact }) => fact)
}

test('nothing is lost and the order of each call is kept, whoever dies', { timeout: 180_000 }, async () => {
  let [ada, ben] = [await server.connect(1), await server.connect(2)]
  receiver.mode = 'refuse'
  await call(ada, ben)
  await until(() => receiver.received.length >= 1, 'a refused request')
  receiver.mode = 'take'
  for (let n = 0; n < 5; n += 1) await call(ada, ben)
  // The receiver dies with requests in its hands, and the server goes on queueing.
  receiver.mode = 'hang'
  for (let n = 0; n < 3; n += 1) await call(ada, ben)
  await until(() => receiver.received.length > receiver.taken.length + 2, 'requests that are not answered')
  await receiver.die()
  for (let n = 0; n < 3; n += 1) await call(ada, ben)
  receiver.mode = 'take'
  await receiver.start()
  for (let n = 0; n < 3; n += 1) await call(ada, ben)
  // The server is killed while requests are under way.
  receiver.mode = 'hang'
  const before = receiver.received.length
  for (let n = 0; n < 3; n += 1) await call(ada, ben)
  await until(() => receiver.received.length > before, 'requests under way')
  await server.crash()
  receiver.mode = 'take';
  [ada, ben] = [await server.connect(1), await server.connect(2)]
  for (let n = 0; n < 3; n += 1) await call(ada, ben)

  const listed = async (state) => (await operate('GET', `/api/admin/webhooks/deliveries?state=${state}`)).json.data
  await until(async () => (await listed('pending')).length === 0, 'nothing is pending', 90_000)
  const happened = await facts()
  const position = new Map(happened.map((fact, n) => [fact.id, n]))
  assert.deepEqual(new Set(receiver.taken.map((it) => it.id)), new Set(position.keys()), 'every fact was taken, and nothing else')
  const newest = new Map()
  for (const { id, event } of receiver.taken) {
    const fact = happened[position.get(id)]
    assert.equal(event.type, fact.kind)
    assert.equal(event.data.callId, fact.call)
    const last = newest.get(fact.call) ?? -1
    assert.ok(position.get(id) > last || receiver.taken.filter((it) => it.id === id).length > 1, `${event.type} after ${happened[last]?.kind}`)
    newest.set(fact.call, Math.max(last, position.get(id)))
  }
  const doubles = receiver.taken.length - position.size
  console.log(`${receiver.received.length} requests for ${position.size} facts, ${doubles} taken twice`)
  assert.ok(doubles <= 8, `${doubles} were taken twice; only what was under way at the kill may be`)
  assert.equal((await listed('failed')).length, 0)
  ada.close()
  ben.close()
})

test('operators list, test and send again; others do not', async () => {
  const { json: { data: [endpoint] } } = await operate('GET', '/api/admin/webhooks')
  assert.deepEqual([endpoint.name, endpoint.pending, endpoint.disabledAt], ['backend', 0, null])
  const tested = await operate('POST', '/api/admin/webhooks/test', {})
  assert.deepEqual([tested.json.data.delivered, tested.json.data.status], [true, 204])
  assert.equal(receiver.taken.at(-1).event.type, 'webhook.test')
  assert.match(receiver.taken.at(-1).agent, /^switchboard\/\d/)
  const page = await operate('GET', '/api/admin/webhooks/deliveries?limit=2')
  assert.equal(page.json.data.length, 2)
  const older = await operate('GET', `/api/admin/webhooks/deliveries?limit=2&cursor=${page.json.meta.nextCursor}`)
  assert.ok(older.json.data[0].deliveryId < page.json.data[1].deliveryId)
  const [{ deliveryId, webhookId }] = page.json.data
  const had = receiver.taken.filter((it) => it.id === webhookId).length
  assert.equal((await operate('POST', `/api/admin/webhooks/deliveries/${deliveryId}/resend`)).status, 200)
  await until(() => receiver.taken.filter((it) => it.id === webhookId).length === had + 1, 'the same once more')
  for (const [method, path] of [['GET', ''], ['GET', '/deliveries'], ['POST', '/test'], ['POST', `/deliveries/${deliveryId}/resend`]]) {
    assert.equal((await server.rest(1, method, `/api/admin/webhooks${path}`)).status, 403, path)
  }
  const { text } = await operate('GET', '/metrics')
  assert.match(text, /^rtc_webhook_deliveries_total\{outcome="delivered"\} [1-9]/m)
  assert.match(text, /^rtc_webhook_pending 0$/m)
})

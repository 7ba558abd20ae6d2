// Acknowledged means durable: the server is killed under load again and again, and nothing acknowledged is lost or doubled.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { io } from 'socket.io-client'
import { Server, ask, grown, next, observe, onMongo, settled, sleep, token, until } from './support/server.mjs'

const ROUNDS = Number(process.env.KILL_ROUNDS ?? 20)
let server
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_LIMITS__RATE_LIMITS: 'false' } })
  await server.people(1, 2, 3, 4, ...Array.from({ length: 20 }, (_, n) => 100 + n))
})
after(() => server.stop())

/** All messages of a conversation, oldest first. */
async function stored(me, peer) {
  const all = []
  for (let cursor = ''; ;) {
    const { json } = await server.rest(me, 'GET', `/api/chat/messages/${peer}?limit=200&markRead=false${cursor && `&before=${cursor}`}`)
    all.unshift(...json.data)
    if (!json.meta.prevCursor) return all
    cursor = json.meta.prevCursor
  }
}

test(`${ROUNDS} rounds of kill -9 under load lose and double nothing`, async (context) => {
  const senders = Array.from({ length: 20 }, (_, n) => ({ user: 100 + n, next: 0, acked: new Map(), open: [] }))
  for (const sender of senders) {
    sender.socket = io(server.url, { transports: ['websocket'], forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50, auth: { token: token(sender.user), cursor: 'new' } })
    // A client that was refused, as by a server whose database is away, comes again only when it is told to
    // (https://socket.io/docs/v4/client-api/#event-connect_error).
    sender.socket.on('connect_error', () => sender.socket.active || setTimeout(() => over || sender.socket.connect(), 50)) // paces load: as above
    observe(sender.socket, server.descriptions)
  }
  let [running, over] = [true, false]
  // A round that fails must not leave the load running.
  context.after(() => { over = true; senders.forEach((sender) => sender.socket.close()) })
  /** Sends one after the other; what was not acknowledged is sent again under the same key. */
  const load = async (sender) => {
    while (!over && (running || sender.open.length > 0)) {
      const clientId = sender.open[0] ?? `${sender.user}-${sender.next++}`
      sender.open = [clientId]
      try {
        const ack = await sender.socket.timeout(2000).emitWithAck('message:send', { toUserId: 1, content: `text of ${clientId}`, clientId })
        if (!ack.ok) {
          await sleep(10) // paces load: what was refused comes again
          continue
        }
        const known = sender.acked.get(clientId)
        if (known) assert.equal(known.messageId, ack.messageId)
        sender.acked.set(clientId, ack)
        sender.open = []
      } catch {
        await sleep(10) // paces load: what was not answered comes again
      }
    }
  }
  const loads = senders.map(load)
  const acknowledged = () => senders.reduce((sum, { acked }) => sum + acked.size, 0)
  for (let round = 0; round < ROUNDS; round += 1) {
    // Killed in the middle of the load, each time at another point of it.
    const more = onMongo ? 5 + Math.floor(Math.random() * 50) : 20 + Math.floor(Math.random() * 200)
    await grown(acknowledged, more, 'acknowledgements', 60_000)
    // With a database beside it, that one dies every second time.
    if (onMongo && round % 2 === 1) {
      await server.killEngine()
      await server.startEngine()
    } else {
      await server.crash()
    }
  }
  await grown(acknowledged, 20, 'acknowledgements after the last round', 30_000)
  running = false
  await Promise.all(loads)
  let total = 0
  for (const sender of senders) {
    const messages = await stored(sender.user, 1)
    assert.deepEqual(messages.map((message) => message.seq), messages.map((_, n) => n + 1), 'seq without gaps')
    const ids = new Map(messages.map((message) => [message.clientId, message.messageId]))
    assert.equal(ids.size, messages.length, 'each key once')
    for (const [clientId, ack] of sender.acked) assert.equal(ids.get(clientId), ack.messageId, `${clientId} was acknowledged`)
    assert.equal(messages.length, sender.next, 'after the resends, everything is there')
    total += messages.length
    sender.socket.close()
  }
  assert.ok(total > ROUNDS * (onMongo ? 5 : 20), `only ${total} messages`)
})

test('an offline receiver gets 500 missed messages in order, once, and then live ones', async () => {
  const ben = await server.connect(2, { auth: { cursor: 'new' } })
  const { cursor } = ben.ready
  ben.close()
  const ada = await server.connect(1, { auth: { cursor: 'new' } })
  for (let n = 0; n < 500; n += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, k) => ask(ada, 'message:send', { toUserId: 2, content: `m${n + k}` })))
  }
  const got = []
  const back = io(server.url, { transports: ['websocket'], forceNew: true, auth: { token: token(2), cursor } })
  observe(back, server.descriptions)
  back.on('sync:batch', (batch) => {
    for (const { event, payload } of batch.events) if (event === 'message:received') got.push(payload.content)
    back.emit('sync:ack', { cursor: batch.cursor })
  })
  back.on('message:received', (message) => got.push(message.content))
  // While it catches up.
  await until(() => got.length > 0, 'the first batch')
  await ask(ada, 'message:send', { toUserId: 2, content: 'live' })
  await until(() => got.includes('live'), 'the live message')
  assert.deepEqual(got, [...Array.from({ length: 500 }, (_, n) => `m${n}`), 'live'])
  back.close(); ada.close()
})

test('a client that is away too long is told to reload, and pull says the same', async () => {
  const ada = await server.connect(1, { auth: { cursor: 'new' } })
  const stale = await server.connect(3, { auth: { cursor: '999999' } })
  assert.equal((await next(stale, 'sync:reset')).cursor, '0')
  assert.equal((await ask(stale, 'sync:pull', { cursor: '5' })).reason, 'CURSOR_TOO_OLD')
  await ask(ada, 'message:send', { toUserId: 3, content: 'one' })
  await next(stale, 'message:received')
  const pulled = await ask(stale, 'sync:pull', { cursor: '0' })
  assert.deepEqual([pulled.events.length, pulled.cursor, pulled.more], [1, '1', false])
  const polled = await server.rest(3, 'GET', '/api/sync?cursor=0')
  assert.equal(polled.json.data.events[0].payload.content, 'one')
  ada.close(); stale.close()
})

test('a client of the original gets what it missed once, and two devices converge', async () => {
  const ada = await server.connect(1, { auth: { cursor: 'new' } })
  for (let n = 0; n < 205; n += 1) await ask(ada, 'message:send', { toUserId: 4, content: `m${n}` })
  const original = await server.connect(4)
  await until(() => original.events.filter(({ name }) => name === 'message:received').length === 200, 'the newest 200')
  const texts = original.events.filter(({ name }) => name === 'message:received').map(({ payload }) => payload.content)
  assert.deepEqual(texts, Array.from({ length: 200 }, (_, n) => `m${n + 5}`))
  original.close()
  // How far a client without a cursor was sent is stored together with when it was last seen.
  await until(async () => {
    const { data } = (await server.rest(1, 'GET', '/api/chat/users/4')).json
    return !data.isOnline && Date.parse(data.lastSeen) > Date.parse(original.ready.serverTime)
  }, 'the server has noted how far it was')
  const again = await server.connect(4)
  // What was missed comes before the states of others.
  await next(again, 'presence:snapshot')
  assert.equal(again.events.filter(({ name }) => name === 'message:received').length, 0, 'not once more')
  again.close()

  const [phone, tablet] = [await server.connect(4, { auth: { cursor: 'new', deviceId: 'p' } }), await server.connect(4, { auth: { cursor: 'new', deviceId: 't' } })]
  await Promise.all(Array.from({ length: 60 }, (_, n) => ask(n % 2 ? ada : phone, 'message:send', { toUserId: n % 2 ? 4 : 1, content: `x${n}` })))
  const seen = (socket) => socket.events.filter(({ name }) => name === 'message:received' || name === 'message:sent').map(({ payload }) => payload.seq)
  await until(() => seen(phone).length === 60 && seen(tablet).length === 60, 'both have all')
  assert.deepEqual(seen(phone), seen(tablet))
  assert.deepEqual(seen(phone), [...seen(phone)].sort((a, b) => a - b))
  const cursors = tablet.events.filter(({ payload }) => payload?.cursor && payload.seq).map(({ payload }) => Number(payload.cursor))
  assert.deepEqual(cursors, cursors.map((_, n) => cursors[0] + n), 'cursors without gaps')
  ada.close(); phone.close(); tablet.close()
})

test('a hundred repeats of one clientId store one message', async () => {
  const ada = await server.connect(1, { auth: { cursor: 'new' } })
  const acks = await Promise.all(Array.from({ length: 100 }, () => ask(ada, 'message:send', { toUserId: 3, content: 'once', clientId: 'same' })))
  assert.equal(new Set(acks.map((ack) => ack.messageId)).size, 1)
  assert.equal(acks.filter((ack) => !ack.duplicate).length, 1)
  assert.equal((await ask(ada, 'message:send', { toUserId: 3, content: 'other', clientId: 'same' })).reason, 'CLIENT_ID_CONFLICT')
  const rest = await server.rest(1, 'POST', '/api/chat/messages', { toUserId: 3, content: 'once', clientId: 'same' })
  assert.deepEqual([rest.json.meta.duplicate, rest.json.data.messageId], [true, acks[0].messageId])
  ada.close()
})

test('a device that acknowledges message:received counts as delivery', async () => {
  const ada = await server.connect(1, { auth: { cursor: 'new' } })
  const ben = await server.connect(3, { auth: { cursor: 'new' } })
  ben.on('message:received', (_, ack) => typeof ack === 'function' && ack())
  const sent = await ask(ada, 'message:send', { toUserId: 3, content: 'did it arrive?' })
  const delivered = await next(ada, 'message:delivered')
  assert.deepEqual([delivered.byUserId, delivered.upToSeq, delivered.conversationId], [3, sent.seq, sent.conversationId])
  ada.close(); ben.close()
})

// The client against a real Socket.IO server that plays the other side of the contract move by move.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { Server } from 'socket.io'

globalThis.MediaStream ??= class { #tracks = []; addTrack(track) { this.#tracks.push(track) } getTracks() { return this.#tracks } }
const { createClient, HandlerError, SwitchboardError } = await import('../dist/index.js')

let io
let url
let script
before(async () => {
  const http = createServer((request, response) => {
    response.setHeader('content-type', 'application/json')
    response.statusCode = request.headers.authorization === 'Bearer good' ? 200 : 401
    response.end(JSON.stringify(response.statusCode === 200 ? { data: [{ userId: 8 }] } : { error: 'Invalid token', code: 401, reason: 'TOKEN_INVALID' }))
  })
  io = new Server(http)
  io.use((socket, next) => next(socket.handshake.auth.token === 'good' ? undefined : new Error('Authentication error: Invalid token [TOKEN_EXPIRED]')))
  io.on('connection', (socket) => script(socket))
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${http.address().port}`
})
after(() => {
  io.disconnectSockets(true)
  io.close()
})

const ready = (socket, cursor = '0') => socket.emit('session:ready', { sessionId: 's', userId: 7, cursor, resumed: true, protocol: 2 })
const make = (more = {}) => createClient({ url, token: 'good', socket: { transports: ['websocket'], reconnectionDelay: 20 }, ...more })
const connect = async (more = {}) => {
  const client = make(more)
  await client.connect()
  return client
}
const until = async (check) => {
  for (let n = 0; !check(); n += 1) {
    assert.ok(n < 1000, 'it did not happen')
    await new Promise((resolve) => setTimeout(resolve, 5)) // paces looks: one every 5 ms, a thousand at most
  }
}

test('a refused token rejects with its reason', async () => {
  script = () => {}
  await assert.rejects(connect({ token: 'bad' }), (error) =>
    error instanceof SwitchboardError && error.reason === 'TOKEN_EXPIRED' && error.message === 'Authentication error: Invalid token')
})

test('a message is sent again under the same clientId until it is acknowledged', async () => {
  const seen = []
  script = (socket) => {
    ready(socket)
    socket.on('message:send', (message, ack) => {
      seen.push(message.clientId)
      if (seen.length === 1) return socket.disconnect(true)
      if (seen.length === 2) return ack({ ok: false, error: 'slow down', code: 429, reason: 'RATE_LIMITED', details: { retryAfterMs: 20 } })
      ack({ ok: true, messageId: 'm', conversationId: 'c', seq: 1, createdAt: '', duplicate: false })
    })
  }
  const me = await connect()
  const stop = me.on('connection', ({ connected }) => connected || queueMicrotask(() => me.socket.connect()))
  const sent = await me.send(8, 'hello')
  assert.equal(sent.messageId, 'm')
  assert.equal(new Set(seen).size, 1)
  assert.ok(seen.length >= 2)
  stop()
  me.close()
})

test('a refusal that trying again does not cure is thrown', async () => {
  script = (socket) => {
    ready(socket)
    socket.on('message:send', (_, ack) => ack({ ok: false, error: 'Nobody has the user id 9', code: 404, reason: 'UNKNOWN_USER' }))
  }
  const me = await connect()
  await assert.rejects(me.send(9, 'hello'), (error) => error.reason === 'UNKNOWN_USER' && error.status === 404)
  me.close()
})

test('what was missed is shown in order and once, from the first one on, and the cursor is kept', async () => {
  const kept = new Map()
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) }
  const cursors = []
  const delivered = []
  script = (socket) => {
    cursors.push(socket.handshake.auth.cursor)
    ready(socket, '4')
    const entry = (n) => ({ cursor: String(n), event: 'message:received', payload: { messageId: `m${n}` }, at: '' })
    socket.emit('sync:batch', { events: [entry(1), entry(2)], cursor: '2', more: true })
    socket.on('message:delivered', ({ messageIds }, ack) => { delivered.push(...messageIds); ack({ ok: true, count: 1 }) })
    socket.on('sync:ack', ({ cursor }, ack) => {
      ack({ ok: true })
      socket.emit('sync:batch', { events: [entry(2), entry(3)], cursor: '3', more: false })
      socket.emit('message:received', { messageId: 'm3', cursor: '3' })
      socket.emit('message:received', { messageId: 'm4', cursor: '4' })
      assert.equal(cursor, '2')
    })
  }
  const shown = []
  const me = make({ storage, deviceId: 'd' })
  me.on('message:received', ({ messageId }) => shown.push(messageId))
  await me.connect()
  await until(() => delivered.length === 4)
  assert.deepEqual(shown, ['m1', 'm2', 'm3', 'm4'])
  assert.deepEqual(delivered, ['m1', 'm2', 'm3', 'm4'])
  me.close()
  const again = await connect({ storage, deviceId: 'd' })
  assert.deepEqual(cursors, ['new', '4'])
  again.close()
})

const message = (n) => ({ messageId: `m${n}`, cursor: String(n), content: 'text' })
const memory = (kept) => ({ getItem: async (key) => kept.get(key) ?? null, setItem: async (key, value) => void kept.set(key, value) })

test('a message that nobody listens for is not acknowledged, and comes to the first handlers that do', async () => {
  const acknowledged = []
  const kept = new Map()
  script = (socket) => {
    socket.emit('sync:reset', { cursor: '0' })
    ready(socket)
    socket.on('message:delivered', ({ messageIds }, ack) => { acknowledged.push(...messageIds); ack({ ok: true, count: 1 }) })
    socket.on('session:ping', ({ t }, ack) => ack({ ok: true, t, serverTime: '' }))
    socket.emit('sync:batch', { events: [{ cursor: '1', event: 'message:received', payload: message(1), at: '' }], cursor: '1', more: false })
    socket.emit('message:received', message(2), () => acknowledged.push('m2'))
  }
  const me = await connect({ storage: memory(kept) })
  await me.ask('session:ping', { t: 1 })
  assert.deepEqual(acknowledged, [])
  assert.deepEqual([...kept.values()], ['0'], 'a reload would get them again')
  const [first, second] = [[], []]
  me.on('message:received', ({ messageId }) => first.push(messageId))
  me.on('message:received', ({ messageId }) => second.push(messageId))
  await until(() => acknowledged.length === 2)
  assert.deepEqual([first, second, acknowledged], [['m1', 'm2'], ['m1', 'm2'], ['m1', 'm2']])
  await until(() => [...kept.values()][0] === '2')
  me.close()
})

test('when more waits for a handler than may, the handler gets the oldest and the client says reset', async () => {
  script = (socket) => {
    ready(socket)
    const events = Array.from({ length: 600 }, (_, n) => ({ cursor: String(n + 1), event: 'message:received', payload: message(n + 1), at: '' }))
    socket.on('session:ping', ({ t }, ack) => ack({ ok: true, t, serverTime: '' }))
    socket.on('message:delivered', (_, ack) => ack({ ok: true, count: 1 }))
    socket.emit('sync:batch', { events, cursor: '600', more: false })
  }
  const me = await connect()
  await me.ask('session:ping', { t: 1 })
  const shown = []
  const reset = new Promise((resolve) => me.once('reset', resolve))
  me.on('message:received', ({ messageId }) => shown.push(messageId))
  assert.deepEqual(await reset, { cursor: '600' })
  assert.equal(shown.length, 500)
  assert.deepEqual([shown[0], shown.at(-1)], ['m1', 'm500'])
  me.close()
})

test('a handler that throws keeps no other from the event and is reported on error', async () => {
  const acknowledged = []
  script = (socket) => {
    ready(socket)
    socket.emit('message:received', message(1), () => acknowledged.push('m1'))
  }
  const me = make()
  const [seen, errors] = [[], []]
  me.on('message:received', () => { throw new Error('broken') })
  me.on('message:received', async () => { throw new Error('later') })
  me.on('message:received', ({ messageId }) => seen.push(messageId))
  me.on('error', (error) => errors.push(error))
  await me.connect()
  await until(() => errors.length === 2 && acknowledged.length === 1)
  assert.deepEqual(seen, ['m1'])
  for (const [n, text] of ['broken', 'later'].entries()) {
    assert.ok(errors[n] instanceof HandlerError)
    assert.deepEqual([errors[n].code, errors[n].event, errors[n].cause.message], ['HANDLER_FAILED', 'message:received', text])
  }
  me.close()
})

test('handlers are removed by off and by what on returns, and once is called once', async () => {
  let emit
  script = (socket) => {
    ready(socket)
    emit = (n) => socket.emit('typing:start', { fromUserId: n, conversationId: 'c' })
  }
  const me = make()
  const [a, b, c, all] = [[], [], [], []]
  const first = ({ fromUserId }) => a.push(fromUserId)
  me.on('typing:start', first)
  const stop = me.on('typing:start', ({ fromUserId }) => b.push(fromUserId))
  me.once('typing:start', ({ fromUserId }) => c.push(fromUserId))
  me.on('typing:start', ({ fromUserId }) => all.push(fromUserId))
  await me.connect()
  emit(1)
  await until(() => all.length === 1)
  me.off('typing:start', first)
  stop()
  emit(2)
  await until(() => all.length === 2)
  assert.deepEqual([a, b, c], [[1], [1], [1]])
  me.close()
})

test('after a failed connect nothing goes on, and it can be called again', async () => {
  const refused = make({ url: 'http://127.0.0.1:9', socket: { reconnectionDelay: 1, reconnectionDelayMax: 1 } })
  await assert.rejects(refused.connect())
  assert.equal(refused.socket.active, false)
  assert.equal(refused.socket.io._reconnecting, false)

  let token = 'bad'
  script = (socket) => ready(socket)
  const me = make({ token: () => token })
  await assert.rejects(me.connect(), (error) => error.reason === 'TOKEN_EXPIRED')
  assert.equal(me.socket.active, false)
  token = 'good'
  const [one, other] = [me.connect(), me.connect()]
  assert.equal(one, other)
  await one
  assert.equal(me.userId, 7)
  me.close()
  await me.connect()
  me.close()

  const lost = make({ token: () => { throw new Error('no login') } })
  await assert.rejects(lost.connect(), /no login/)
  assert.equal(lost.socket.active, false)

  script = () => {}
  await assert.rejects(make({ connectTimeoutMs: 50 }).connect(), /did not answer within 50 ms/)
  const closed = make()
  const closing = assert.rejects(closed.connect(), /was closed/)
  closed.close()
  await closing
  assert.equal(closed.socket.active, false)
})

test('a refusal after the first connection is final, and says so', async () => {
  let token = 'good'
  script = (socket) => {
    ready(socket)
    socket.on('session:ping', () => { token = 'bad'; socket.conn.close() })
  }
  const me = make({ token: () => token })
  const final = new Promise((resolve) => me.on('connection', (state) => state.final && resolve(state)))
  await me.connect()
  me.socket.emit('session:ping', { t: 1 })
  assert.deepEqual(await final, { connected: false, reason: 'TOKEN_EXPIRED', final: true })
  assert.equal(me.socket.active, false)
})

test('nothing rings where nobody listens for calls', async () => {
  const ringing = []
  script = (socket) => {
    ready(socket)
    socket.on('call:ringing', ({ callId }, ack) => { ringing.push(callId); ack({ ok: true }) })
    socket.on('session:ping', ({ t }, ack) => ack({ ok: true, t, serverTime: '' }))
    socket.emit('call:incoming', { callId: 'c1', fromUserId: 8, callType: 'voice' })
  }
  const me = await connect()
  await me.ask('session:ping', { t: 1 })
  assert.deepEqual(ringing, [])
  me.close()
  const other = make()
  const incoming = new Promise((resolve) => other.on('incoming', resolve))
  await other.connect()
  assert.equal((await incoming).callId, 'c1')
  await until(() => ringing.length === 1)
  other.close()
})

test('storage, random numbers, WebRTC and fetch come from the options', async () => {
  let sent
  script = (socket) => {
    ready(socket)
    socket.on('message:send', (payload, ack) => { sent = payload; ack({ ok: true, messageId: 'm', conversationId: 'c', seq: 1, createdAt: '', duplicate: false }) })
    socket.on('call:initiate', (_, ack) => ack({ ok: true, call: { callId: 'c', fromUserId: 7, toUserId: 8, callType: 'voice' } }))
  }
  class Media {}
  const me = await connect({
    crypto: { getRandomValues: (bytes) => bytes.fill(0xff) },
    fetch: async (address) => new Response(JSON.stringify({ data: address })),
    webrtc: { MediaStream: Media, RTCPeerConnection: class {}, mediaDevices: {} },
  })
  await me.send(8, 'hello')
  assert.equal(sent.clientId, 'ffffffff-ffff-4fff-bfff-ffffffffffff')
  assert.equal(await me.rest('GET', '/x'), `${url}/x`)
  assert.ok((await me.call(8)).remote instanceof Media)
  me.close()
})

test('an expiring token is replaced', async () => {
  let fresh
  script = (socket) => {
    ready(socket)
    socket.on('session:refresh', ({ token }, ack) => { fresh = token; ack({ ok: true, expiresAt: '' }) })
    socket.emit('session:token-expiring', { expiresAt: '' })
  }
  const me = await connect()
  await until(() => fresh !== undefined)
  assert.equal(fresh, 'good')
  me.close()
})

test('the client comes back when the server says when', async () => {
  let connections = 0
  script = (socket) => {
    connections += 1
    ready(socket)
    if (connections > 1) return
    socket.emit('session:closed', { reason: 'SERVER_DRAIN', reconnectAfterMs: 30 })
    socket.disconnect()
  }
  const me = await connect()
  await until(() => connections === 2)
  me.close()
})

test('a call is taken from the list when it is over', async () => {
  script = (socket) => {
    ready(socket)
    socket.on('call:initiate', (_, ack) => ack({ ok: true, call: { callId: 'c', fromUserId: 7, toUserId: 8, callType: 'voice', status: 'initiated', rev: 1 } }))
    socket.on('session:ping', () => socket.emit('call:ended', { callId: 'c', endReason: 'rejected', duration: 0, call: { callId: 'c', status: 'rejected' } }))
  }
  const me = await connect()
  const call = await me.call(8)
  const ended = new Promise((resolve) => call.on('ended', resolve))
  me.socket.emit('session:ping', { t: 1 })
  assert.deepEqual(await ended, { reason: 'rejected', duration: 0 })
  assert.equal(me.calls.size, 0)
  me.close()
})

test('REST answers with data or throws the reason', async () => {
  script = (socket) => ready(socket)
  const me = await connect()
  assert.deepEqual(await me.users(), [{ userId: 8 }])
  me.close()
})

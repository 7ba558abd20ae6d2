// The client against a real Socket.IO server that plays the other side of the contract move by move.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { Server } from 'socket.io'

globalThis.MediaStream ??= class { #tracks = []; addTrack(track) { this.#tracks.push(track) } getTracks() { return this.#tracks } }
const { Switchboard, SwitchboardError } = await import('../dist/index.js')

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
const connect = (more = {}) => Switchboard.connect({ url, token: 'good', socket: { transports: ['websocket'], reconnectionDelay: 20, forceNew: true }, ...more })
const soon = (ms = 50) => new Promise((resolve) => setTimeout(resolve, ms))

test('a refused token rejects with its reason', async () => {
  script = () => {}
  await assert.rejects(connect({ token: 'bad', socket: { reconnection: false, forceNew: true } }), (error) =>
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
  const stop = me.on('connection', ({ connected }) => connected || setTimeout(() => me.socket.connect(), 20))
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

test('what was missed is told in order and once, and the cursor is kept', async () => {
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
  const told = []
  const me = await connect({ storage, deviceId: 'd' })
  me.on('message:received', ({ messageId }) => told.push(messageId))
  await soon(150)
  assert.deepEqual(told.slice(-2), ['m3', 'm4'])
  assert.deepEqual(delivered, ['m1', 'm2', 'm3', 'm4'])
  me.close()
  const again = await connect({ storage, deviceId: 'd' })
  assert.deepEqual(cursors, ['new', '4'])
  again.close()
})

test('an expiring token is replaced', async () => {
  let fresh
  script = (socket) => {
    ready(socket)
    socket.on('session:refresh', ({ token }, ack) => { fresh = token; ack({ ok: true, expiresAt: '' }) })
    socket.emit('session:token-expiring', { expiresAt: '' })
  }
  const me = await connect()
  await soon()
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
  await soon(200)
  assert.equal(connections, 2)
  me.close()
})

test('a call is taken from the list when it is over', async () => {
  script = (socket) => {
    ready(socket)
    socket.on('call:initiate', (_, ack) => {
      ack({ ok: true, call: { callId: 'c', fromUserId: 7, toUserId: 8, callType: 'voice', status: 'initiated', rev: 1 } })
      setTimeout(() => socket.emit('call:ended', { callId: 'c', endReason: 'rejected', duration: 0, call: { callId: 'c', status: 'rejected' } }), 20)
    })
  }
  const me = await connect()
  const call = await me.call(8)
  const ended = new Promise((resolve) => call.on('ended', resolve))
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

// Input that means harm: every event with the wrong argument, operator objects as ids, floods, slow readers, raw frames,
// foreign origins, forged tokens. The answer is a clear error; the process and everybody else go on.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { after, before, test } from 'node:test'
import WebSocket from 'ws'
import { Server, ask, next, sleep, token, until } from './support/server.mjs'

let server
let bystander
before(async () => {
  server = await Server.start({ env: { ALLOWED_ORIGINS: 'https://app.example', SWITCHBOARD_SOCKET__QUEUE_SECONDS: '1', SWITCHBOARD_LIMITS__MESSAGES_PER_MINUTE: '100000', SWITCHBOARD_LIMITS__CONNECTIONS_PER_NETWORK: '0', SWITCHBOARD_LIMITS__HANDSHAKES_PER_NETWORK: '0', SWITCHBOARD_LIMITS__HANDSHAKES: '0', SWITCHBOARD_LIMITS__STRANGERS: '0', SWITCHBOARD_LIMITS__UPLOAD_BYTES_PER_NETWORK: '0' } })
  await server.people(1, 2, 3)
  bystander = await server.connect(3, { auth: { cursor: 0 } })
})
after(async () => {
  // Whatever happened above, the bystander's connection is the one from the beginning, and works.
  assert.equal((await ask(bystander, 'session:ping', { t: 1 })).t, 1)
  assert.equal(server.log.includes('panicked'), false, server.log)
  bystander.close()
  await server.stop()
})

const deep = (depth) => JSON.parse('{"a":'.repeat(depth) + '1' + '}'.repeat(depth))

test('every event with every wrong argument gets a clear error', async () => {
  const { json } = await server.rest(null, 'GET', '/api/asyncapi.json')
  const events = Object.keys(json.components.messages).filter((key) => key.startsWith('client.')).map((key) => key.slice(7))
  assert.ok(events.length >= 29)
  const ada = await server.connect(1, { auth: { cursor: 0 } })
  const wrong = [[], [null], [7], ['x'.repeat(100_000)], [deep(100)], [[]], [Buffer.from('binary')], [{ a: Buffer.from('b') }]]
  for (const event of [...events, 'no:such-event']) {
    for (const argument of wrong) {
      const ack = await ada.timeout(5000).emitWithAck(event, ...argument)
      const optional = ['session:ping', 'recording:list'].includes(event) && argument[0] && !Array.isArray(argument[0]) && typeof argument[0] === 'object'
      if (!(optional && ack.ok)) {
        assert.deepEqual([ack.ok, ack.reason, ack.code, typeof ack.error, typeof ack.timestamp], [false, 'INVALID_DATA', 400, 'string', 'string'], `${event} ${JSON.stringify(argument).slice(0, 40)}`)
      }
      ada.emit(event, ...argument)
    }
    await sleep(100) // paces load: below 200 events a second
  }
  await until(() => ada.events.some(({ name }) => name === 'error') && ada.events.some(({ name }) => name === 'call:failed'), 'error events without ack')
  assert.equal(ada.connected, true)
  ada.close()
})

test('a packet of a megabyte ends its connection and nothing else', async () => {
  const ada = await server.connect(1)
  ada.emit('message:send', { toUserId: 2, content: 'x'.repeat(1_000_000) })
  await until(() => !ada.connected, 'the connection is ended')
})

test('operator objects and other nonsense as ids are refused by type', async () => {
  const ada = await server.connect(1, { auth: { cursor: 0 } })
  const operators = [{ $gt: '' }, { $ne: null }, { $where: '1' }, { 'a.b': 1 }, [], true, -1, 0, 1.5, 2 ** 53, 'x', '']
  const id = '0198f1d0-1111-7222-8333-444455556666'
  const fields = [
    ['message:send', 'toUserId', { content: 'x' }], ['message:send', 'conversationId', { content: 'x' }],
    ['message:send', 'content', { toUserId: 2 }], ['message:send', 'clientId', { toUserId: 2, content: 'x' }],
    ['message:send', 'replyTo', { toUserId: 2, content: 'x' }], ['message:send', 'mentions', { toUserId: 2, content: 'x' }],
    ['message:markRead', 'withUserId', {}], ['message:markRead', 'upTo', { withUserId: 2 }], ['message:delivered', 'messageIds', {}],
    ['message:history', 'withUserId', {}], ['typing:start', 'toUserId', {}], ['presence:subscribe', 'userIds', {}],
    ['call:initiate', 'toUserId', {}], ['call:respond', 'callId', { response: 'accept' }], ['call:end', 'callId', {}],
    ['call:rejoin', 'callId', {}], ['webrtc:offer', 'callId', { offer: {} }], ['webrtc:ice-candidate', 'callId', {}],
    ['call:ack-missed', 'callIds', {}], ['call:end', 'toUserId', { callId: id }],
  ]
  for (const [event, field, rest] of fields) {
    for (const value of operators) {
      const legal = (field === 'content' && typeof value === 'string' && value) || (field === 'clientId' && value === 'x') ||
        (Array.isArray(value) && ['mentions', 'userIds', 'callIds'].includes(field))
      if (legal) continue
      const ack = await ask(ada, event, { ...rest, [field]: value })
      assert.deepEqual([ack.ok, ack.code], [false, 400], `${event}.${field} = ${JSON.stringify(value)}: ${JSON.stringify(ack)}`)
    }
    await sleep(60) // paces load: below 200 events a second
  }
  for (const value of operators.filter((value) => typeof value === 'object')) {
    for (const [method, path, body] of [
      ['POST', '/api/chat/messages', { toUserId: value, content: 'x' }], ['POST', '/api/chat/messages', { toUserId: 2, content: value }],
      ['POST', '/api/chat/messages/read', { withUserId: value }], ['POST', '/api/calls/initiate', { toUserId: value }],
      ['PATCH', `/api/calls/${id}/status`, { status: value }], ['PATCH', '/api/me', { name: value }],
    ]) {
      const { status, json } = await server.rest(1, method, path, body)
      assert.deepEqual([status, json.reason], [400, 'INVALID_DATA'], `${method} ${path} ${JSON.stringify(body)}`)
    }
  }
  for (const path of ['/api/chat/messages/%7B%22$gt%22:%22%22%7D', '/api/chat/messages?with[$gt]=', '/api/chat/users?ids={$gt}', '/api/calls/x', '/api/chat/conversations?cursor=%00', '/api/calls/history?limit=-1']) {
    const { status, json } = await server.rest(1, 'GET', path)
    assert.deepEqual([status, typeof json.error], [400, 'string'], path)
  }
  ada.close()
})

test('texts are kept exactly or refused', async () => {
  const [ada, ben] = [await server.connect(1, { auth: { cursor: 'new' } }), await server.connect(2, { auth: { cursor: 'new' } })]
  for (const content of ['\u0000nul', '\u202eabc', '👩‍👩‍👧‍👦', '{"$gt":""}', '<script>', 'a'.repeat(8000), '🙂'.repeat(8000)]) {
    const ack = await ask(ada, 'message:send', { toUserId: 2, content })
    assert.equal(ack.ok, true, content.slice(0, 20))
    assert.equal((await next(ben, 'message:received', (message) => message.messageId === ack.messageId)).content, content)
  }
  for (const [content, unit] of [['a'.repeat(8001), 'characters'], ['🙂'.repeat(8200), 'bytes']]) {
    const ack = await ask(ada, 'message:send', { toUserId: 2, content })
    assert.deepEqual([ack.reason, ack.code, ack.details.unit], ['CONTENT_TOO_LONG', 413, unit])
  }
  assert.equal((await ask(ada, 'message:send', { toUserId: 1, content: 'me' })).reason, 'INVALID_DATA')
  assert.equal((await ask(ada, 'message:send', { toUserId: 999, content: 'x' })).reason, 'UNKNOWN_USER')
  assert.equal((await ask(ada, 'message:send', { toUserId: 2, content: 'x', messageType: 'call' })).reason, 'INVALID_DATA')
  assert.equal((await ask(ada, 'message:send', { toUserId: 2, content: 'x', messageType: 'nonsense' })).details.field, 'messageType')
  const foreign = await server.rest(2, 'GET', '/api/chat/conversations')
  const conversationId = foreign.json.data[0].conversationId
  assert.equal((await ask(bystander, 'message:send', { conversationId, content: 'x' })).reason, 'NOT_A_MEMBER')
  assert.equal((await server.rest(3, 'GET', `/api/chat/conversations/${conversationId}/messages`)).json.reason, 'NOT_A_MEMBER')
  assert.equal((await server.rest(3, 'GET', '/api/chat/conversations/0198f1d0-1111-7222-8333-444455556666')).json.reason, 'NOT_A_MEMBER')
  ada.close(); ben.close()
})

test('senders, signals and floods are limited, and others do not notice', async () => {
  const ada = await server.connect(4, { auth: { cursor: 'new' } })
  const acks = await Promise.all(Array.from({ length: 80 }, (_, n) => ask(ada, 'message:send', { toUserId: 2, content: `m${n}` })))
  const refused = acks.filter((ack) => !ack.ok)
  assert.ok(refused.length > 0 && acks.length - refused.length >= 40, `${refused.length} refused`)
  assert.deepEqual([refused[0].reason, refused[0].code], ['RATE_LIMITED', 429])
  assert.ok(refused[0].details.retryAfterMs > 0)

  const flood = setInterval(() => { for (let n = 0; n < 500; n += 1) ada.emit('session:ping', { t: n }) }, 20)
  // One ping after the other: each is answered while the flood goes on.
  let answered = 0
  for (; ada.connected; answered += 1) {
    await ask(bystander, 'session:ping', { t: answered })
    await sleep(20) // paces load: the bystander is no flood
  }
  clearInterval(flood)
  assert.ok(answered > 2, `${answered} pings of a bystander were answered during the flood`)
})

test('a client that does not read is cut at a bound', async () => {
  const slow = new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
  await new Promise((resolve) => slow.on('open', resolve))
  slow.send(`40${JSON.stringify({ token: token(2), cursor: 'new' })}`)
  await new Promise((resolve) => slow.on('message', (data) => String(data).includes('session:ready') && resolve()))
  slow._socket.pause()
  const before = await memory()
  const sessions = async () => (await server.rest(2, 'GET', '/api/sessions')).json.data.length
  assert.equal(await sessions(), 1)
  // Several at once, each no faster than it may: who floods is cut itself.
  let [sent, cut] = [0, false]
  const senders = [1, 4, 5, 6, 7]
  await server.people(...senders)
  await Promise.all(senders.map(async (id) => {
    const sender = await server.connect(id, { auth: { cursor: 'new' } })
    while (!cut && sent < 6000) {
      const ack = await sender.timeout(10_000).emitWithAck('message:send', { toUserId: 2, content: 'x'.repeat(8000) })
      if (ack.ok) sent += 1
      else await sleep(ack.details.retryAfterMs) // paces load: as fast as is allowed
      if (sent % 20 === 0) cut = await sessions() === 0
    }
    sender.close()
  }))
  assert.equal(await sessions(), 0, `still connected after ${sent} messages`)
  assert.ok(await memory() - before < 64 * 1024 * 1024)
  slow.terminate()
})

async function memory() {
  const { readFile } = await import('node:fs/promises')
  const status = await readFile(`/proc/${server.process.pid}/status`, 'utf8')
  return Number(status.match(/VmRSS:\s+(\d+)/)[1]) * 1024
}

test('broken frames and packets end their own connection only', async () => {
  const open = async () => {
    const raw = new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
    await new Promise((resolve, reject) => { raw.on('open', resolve); raw.on('error', reject) })
    raw.send(`40${JSON.stringify({ token: token(1) })}`)
    await new Promise((resolve) => raw.on('message', (data) => String(data).includes('session:ready') && resolve()))
    return raw
  }
  const junk = [
    '42["a"', '42[', '9', '4', '49', '42', '42{}', '42[]', '42[7]', '42[null]', `42${'['.repeat(100_000)}`, '451-["x",{"_placeholder":true,"num":0}]',
    '4599999-["x"]', `42/${'n'.repeat(65536)},["a"]`, '40/unknown,{}', '41', '43[]', '430[]', '42999999999999999999999["session:ping",{}]', '\ud800', '3', '2', '6',
  ]
  const closed = (raw) => raw.readyState === WebSocket.CLOSED
  // Frames are read in order: when a ping behind it is answered, or the connection is closed, it has been dealt with.
  const read = async (raw, bytes) => {
    let answered = false
    raw.on('error', () => {}).on('pong', () => (answered = true))
    raw.send(bytes)
    raw.ping()
    await until(() => answered || closed(raw), `an answer behind ${String(bytes).slice(0, 40)}`)
    raw.terminate()
  }
  for (const text of junk) await read(await open(), text)
  await read(await open(), Buffer.from([0xff, 0xfe, 0x00]))
  for (const [what, bytes] of [
    ['invalid UTF-8', [0x81, 0x84, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]],
    ['a frame of 2^63-1 bytes', [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]],
  ]) {
    const raw = await open()
    raw._socket.write(Buffer.from(bytes))
    await until(() => closed(raw), `${what} ends its connection`)
  }
})

test('pages of foreign origins are refused, on websockets, on polling and on REST', async () => {
  for (const origin of ['https://evil.example', 'null', 'https://app.example.evil', 'http://app.example', 'https://app.example:444']) {
    const raw = new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { origin })
    const status = await new Promise((resolve) => { raw.on('unexpected-response', (_, response) => resolve(response.statusCode)); raw.on('open', () => resolve('open')); raw.on('error', () => {}) })
    assert.equal(status, 403, origin)
    raw.terminate()
    const rest = await server.rest(1, 'GET', '/api/me', undefined, { origin })
    assert.equal(rest.status, 403)
    assert.equal(rest.headers.get('access-control-allow-origin'), null)
    const preflight = await fetch(`${server.url}/api/me`, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'GET' } })
    assert.equal(preflight.headers.get('access-control-allow-origin'), null)
  }
  const good = await server.rest(1, 'GET', '/api/me', undefined, { origin: 'https://app.example' })
  assert.equal(good.status, 200)
  assert.equal(good.headers.get('access-control-allow-origin'), 'https://app.example')
})

test('identities that a client claims count for nothing', async () => {
  const forged = await server.rest(1, 'GET', '/api/me', undefined, { 'x-user-id': '2' })
  assert.deepEqual([forged.status, forged.json.reason], [403, 'IDENTITY_MISMATCH'])
  assert.equal((await server.rest(1, 'GET', '/api/me', undefined, { 'x-user-id': '1' })).json.data.userId, 1)
  const refusal = (auth) => server.connect(1, { auth }).then(() => 'connected', (error) => error.message)
  assert.match(await refusal({ userId: 2 }), /\[IDENTITY_MISMATCH\]$/)
  assert.match(await refusal({ token: undefined }), /^Authentication error: Token required \[TOKEN_MISSING\]$/)
  assert.match(await refusal({ token: 'x.y.z' }), /^Authentication error: Invalid token \[TOKEN_INVALID\]$/)
  assert.match(await refusal({ token: token(1, { exp: 1000 }) }), /^Authentication error: Invalid token \[TOKEN_EXPIRED\]$/)
  assert.match(await refusal({ token: { a: 1 } }), /\[TOKEN_INVALID\]$/)
  assert.match(await refusal({ token: token(1, { uid: 'u-2' }) }), /\[TOKEN_INVALID\]$/)
  const bodies = new Set()
  for (const bad of ['x', token(1, {}, { alg: 'none' }), token(1, {}, { alg: 'HS512' }), token(1, {}, undefined, 'other secret'), `${token(1)}x`, 'a'.repeat(100_000)]) {
    const { status, json } = await server.rest(null, 'GET', '/api/me', undefined, { authorization: `Bearer ${bad.slice(0, 12000)}` })
    bodies.add(JSON.stringify([status, json.error, json.reason]))
  }
  assert.deepEqual([...bodies], ['[401,"Invalid token","TOKEN_INVALID"]'])
  const inUrl = await server.rest(null, 'GET', `/api/me?token=${token(1)}`)
  assert.equal(inUrl.json.reason, 'TOKEN_MISSING')
  const self = (await server.rest(1, 'GET', '/api/chat/users')).json.data
  assert.ok(self.length > 0 && self.every((user) => user.email === undefined && user.userId !== 1), 'no contact data of others')
})

test('REST says in one shape what is wrong', async () => {
  for (const [method, path, body, status, headers] of [
    ['GET', '/nowhere', undefined, 404], ['GET', '/api/chat//messages', undefined, 404], ['DELETE', '/health', undefined, 405],
    ['POST', '/api/chat/messages', '{"a":', 400], ['POST', '/api/chat/messages', '[]', 400], ['POST', '/api/chat/messages', 'x', 415, { 'content-type': 'text/plain' }],
    ['POST', '/api/chat/messages', '{"toUserId":2,"toUserId":3,"content":"x"}', 400], ['POST', '/api/chat/messages', '['.repeat(100_000), 400],
    ['POST', '/api/chat/messages', JSON.stringify({ toUserId: 2, content: 'x'.repeat(2_000_000) }), 413], ['GET', '/api/chat/messages/%00', undefined, 400],
    ['GET', '/api/chat/messages/1e3', undefined, 400], ['GET', '/api/chat/messages', undefined, 400], ['GET', '/%2e%2e/etc/passwd', undefined, 404],
    ['GET', '/assets/..%2f..%2fCargo.toml', undefined, 404], ['PUT', '/api/users/9', { uid: 'x' }, 403], ['GET', '/api/admin/dev-token?userId=1', undefined, 404],
  ]) {
    const answer = await server.rest(1, method, path, body, headers)
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text.slice(0, 200)}`)
    assert.deepEqual([typeof answer.json.error, answer.json.code, typeof answer.json.reason, typeof answer.json.timestamp], ['string', status, 'string', 'string'], path)
  }
})

test('slow and silent connections are closed', async () => {
  const socket = createConnection(server.port, '127.0.0.1')
  socket.write('GET /health HTTP/1.1\r\nHost: x\r\n')
  const drip = setInterval(() => socket.write('X: y\r\n'), 3000)
  await until(() => socket.destroyed, 'the dripping connection is closed', 30_000).finally(() => clearInterval(drip))
})

test('2,000 connections that send their headers slowly cost nobody else anything, and are closed', async () => {
  const slow = Array.from({ length: 2000 }, () => createConnection(server.port, '127.0.0.1'))
  let [open, closed] = [0, 0]
  for (const connection of slow) {
    connection.on('error', () => {})
    connection.on('connect', () => open++)
    connection.on('close', () => closed++)
    connection.write('GET /api/me HTTP/1.1\r\nhost: x\r\nx-slow: ')
  }
  const timer = setInterval(() => slow.forEach((connection) => connection.writable && connection.write('a')), 1000)
  try {
    // Opening them is work of this process, which the answer would wait for.
    await until(() => open === 2000, 'all are open', 30000)
    const asked = await server.rest(3, 'GET', '/api/me')
    assert.equal(asked.status, 200)
    assert.equal((await ask(bystander, 'session:ping', { t: 2 })).t, 2)
    assert.ok(closed < 2000, 'others are answered while slow ones are open')
    await until(() => closed === 2000, 'all are closed', 30000)
  } finally {
    clearInterval(timer)
    slow.forEach((connection) => connection.destroy())
  }
})

test('10,000 reconnects at once all succeed, and others do not notice', async (context) => {
  const limit = Number(readFileSync('/proc/self/limits', 'utf8').match(/^Max open files\s+(\d+)/m)[1])
  // The server may hold the old connections and the new ones at once.
  const count = Math.min(10_000, Math.floor((limit - 500) / 2))
  if (count < 10_000) context.diagnostic(`ONLY ${count} connections: raise the limit of open files (ulimit -n 21000) for all 10,000`)
  // What is tried is whether all get in, not how fast an unoptimised build is: the time to show a token is long.
  const own = await Server.start({ env: { SWITCHBOARD_SOCKET__CONNECT_TIMEOUT: '300', SWITCHBOARD_LIMITS__CONNECTIONS_PER_NETWORK: '0', SWITCHBOARD_LIMITS__HANDSHAKES_PER_NETWORK: '0', SWITCHBOARD_LIMITS__HANDSHAKES: '0', SWITCHBOARD_LIMITS__STRANGERS: '0' } })
  const bystander = await own.connect(3, { auth: { cursor: 0 } })
  let turnedAway = 0
  const attempt = (n) => new Promise((resolve) => {
    const socket = new WebSocket(`ws://127.0.0.1:${own.port}/socket.io/?EIO=4&transport=websocket`, { perMessageDeflate: false })
    socket.on('error', () => {})
    socket.on('close', () => resolve(undefined))
    socket.on('open', () => socket.send(`40${JSON.stringify({ token: token(1000 + (n % 2000)), cursor: 'new' })}`))
    socket.on('message', (data) => {
      const text = String(data)
      // The first heartbeat comes with the connection: who does not answer it is taken for gone.
      if (text === '2') socket.send('3')
      if (text.startsWith('42["session:ready"')) resolve(socket)
    })
  })
  // As the official client does, one that is turned away comes again: after a second, then two, four and five, give or take a half.
  const open = async (n) => {
    for (let wait = 1000; ; wait = Math.min(2 * wait, 5000)) {
      const socket = await attempt(n)
      if (socket) return socket
      turnedAway += 1
      await sleep(wait * (0.5 + Math.random())) // paces load: as the official client does
    }
  }
  const all = () => Promise.all(Array.from({ length: count }, (_, n) => open(n)))
  const before = await all()
  before.forEach((socket) => socket.terminate())
  // Nobody waits: the server still closes the old ones while the new ones come.
  // The bystander lives in this process, which is as busy as the server until all are there: it asks then, with the deadline of every question.
  const again = await all()
  assert.equal((await ask(bystander, 'session:ping', { t: 3 })).t, 3)
  context.diagnostic(`${2 * count} connections, ${turnedAway} turned away at first`)
  again.forEach((socket) => socket.terminate())
  bystander.close()
  assert.equal(own.log.includes('panicked'), false, own.log)
  await own.stop()
})

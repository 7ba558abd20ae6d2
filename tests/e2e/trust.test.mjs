// Hostile inputs that the other files do not have; docs/security.md ("What is tested") says which test shows which. Everybody else goes on.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import WebSocket from 'ws'
import { Server, ask, next, root, token, until } from './support/server.mjs'
import { plainOffer } from './support/whip-client.mjs'

let server
let bystander
before(async () => {
  server = await Server.start({ env: {
    SWITCHBOARD_SOCKET__CONNECT_TIMEOUT: '5', SWITCHBOARD_SOCKET__QUEUE_BYTES: '65536', SWITCHBOARD_LIMITS__MESSAGES_PER_MINUTE: '100000', SWITCHBOARD_ROOMS__CREATE: 'anyone',
    SWITCHBOARD_SERVER__LOG_LEVEL: 'debug', SWITCHBOARD_LIMITS__CALLS_PER_MINUTE: '10000',
    SWITCHBOARD_LIMITS__MESSAGES_PER_SECOND: '10000', SWITCHBOARD_LIMITS__MESSAGES_BURST: '10000',
  } })
  await server.people(1, 2, 3, 4)
  bystander = await server.connect(3, { auth: { cursor: 'new' } })
})
after(async () => {
  assert.equal((await ask(bystander, 'session:ping', { t: 1 })).t, 1)
  assert.equal(server.log.includes('panicked'), false, server.log)
  bystander.close()
  await server.stop()
})

const websocket = (options = {}) => new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, options)

/** Numbers that are the same for the same seed (a linear congruential generator). */
function random(seed) {
  let state = seed
  return () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648
}

test('a receiver that is cut a hundred times in the middle of what it is sent shows what is stored, in order and once', async (context) => {
  const seed = Number(process.env.SEED ?? 9)
  context.diagnostic(`seed ${seed}`)
  const dice = random(seed)
  const ada = await server.connect(1, { auth: { cursor: 'new' } })
  let ben = await server.connect(2, { auth: { cursor: 'new' } })
  let { cursor } = ben.ready
  const shown = new Map()
  const show = (message, at) => {
    shown.set(message.messageId, message.seq)
    if (at) cursor = at
  }
  const listen = (socket) => {
    socket.on('message:received', (message) => show(message, message.cursor))
    socket.on('sync:batch', (batch) => {
      for (const { event, payload } of batch.events) if (event === 'message:received') show(payload)
      cursor = batch.cursor
      socket.emit('sync:ack', { cursor })
    })
  }
  listen(ben)
  const sent = []
  for (let cut = 0; cut < 100; cut += 1) {
    // Some of these are on their way when the connection breaks, without a goodbye.
    const acks = Array.from({ length: 4 }, (_, n) => ask(ada, 'message:send', { toUserId: 2, content: `${cut}-${n}` }))
    await acks[Math.floor(dice() * 4)]
    ben.io.engine.transport.ws.terminate()
    sent.push(...(await Promise.all(acks)).map((ack) => (assert.equal(ack.ok, true, JSON.stringify(ack)), ack.messageId)))
    ben.removeAllListeners()
    ben.close()
    ben = await server.connect(2, { auth: { cursor } })
    // What came before the handlers were there is kept by name.
    for (const { name, payload } of ben.events) {
      if (name === 'message:received') show(payload, payload.cursor)
      if (name === 'sync:batch') {
        for (const entry of payload.events) if (entry.event === 'message:received') show(entry.payload)
        cursor = payload.cursor
        ben.emit('sync:ack', { cursor })
      }
    }
    listen(ben)
  }
  await until(() => sent.every((id) => shown.has(id)), 'everything that was acknowledged is shown')
  const numbers = [...shown.entries()].sort(([, a], [, b]) => a - b)
  assert.deepEqual(numbers.map(([id]) => id), sent.toSorted((a, b) => shown.get(a) - shown.get(b)), 'nothing else is')
  assert.deepEqual(numbers.map(([, seq]) => seq), numbers.map((_, n) => numbers[0][1] + n), 'without a gap')
  ada.close(); ben.close()
})

test("a client's clock counts for nothing: messages are in the order of their numbers, with the server's time", async () => {
  const ada = await server.connect(1, { auth: { cursor: 'new' } })
  const day = 86_400_000
  const acks = []
  for (const [content, off] of [['first', day], ['second', -day], ['third', 0]]) {
    const time = new Date(Date.now() + off).toISOString()
    acks.push(await ask(ada, 'message:send', { toUserId: 4, content, sentAt: time, timestamp: time, createdAt: time }))
  }
  assert.ok(acks.every(({ ok }) => ok), JSON.stringify(acks))
  const { json } = await server.rest(4, 'GET', `/api/chat/conversations/${acks[0].conversationId}/messages?limit=3`)
  const messages = json.data.toSorted((a, b) => a.seq - b.seq)
  assert.deepEqual(messages.map(({ content }) => content), ['first', 'second', 'third'])
  for (const { sentAt, createdAt } of messages) assert.ok(Math.abs(Date.parse(sentAt ?? createdAt) - Date.now()) < day / 2)
  ada.close()
})

test('ninety-nine who do not read cost at most what may wait for each, and others nothing', async () => {
  const slow = []
  for (let n = 0; n < 99; n += 1) {
    slow.push(await new Promise((resolve, reject) => {
      const raw = websocket({ perMessageDeflate: false })
      raw.on('error', reject).on('open', () => raw.send(`40${JSON.stringify({ token: token(1000 + n), cursor: 'new' })}`))
      raw.on('message', (data) => String(data).includes('session:ready') && resolve(raw))
    }))
  }
  const before = server.memory()
  // A full room of a hundred carries each event to all of them.
  const ada = await server.connect(1, { auth: { cursor: 'new' } })
  const acknowledged = (raw) => new Promise((resolve) => raw.on('message', (data) => String(data).startsWith('430') && resolve(JSON.parse(String(data).slice(3))[0])))
  const { self, ...room } = await ask(ada, 'room:join', { roomId: 'crowd' })
  assert.ok(self, JSON.stringify(room))
  const admin = { authorization: `Bearer ${token(9, { role: 'admin' })}` }
  for (const [n, raw] of slow.entries()) {
    const made = await server.rest(undefined, 'POST', '/api/rooms/crowd/tokens', { userId: 1000 + n }, admin)
    const joined = acknowledged(raw)
    raw.send(`420${JSON.stringify(['room:join', { roomId: 'crowd', token: made.json.data.token }])}`)
    assert.ok((await joined).ok)
    raw._socket.pause()
  }
  // What the kernel takes for each is full after some megabytes; whoever does not read is cut, or is not sent data any more.
  for (let n = 0; n < 60; n += 1) {
    const ack = await ask(ada, 'room:data', { sessionId: room.sessionId, topic: 'x', payload: 'x'.repeat(15_000) })
    if (!ack.ok) assert.ok(['RATE_LIMITED', 'ROOM_BUSY'].includes(ack.reason), JSON.stringify(ack))
  }
  const grown = server.memory() - before
  assert.ok(grown < 100 * 64 + 48 * 1024, `memory grew by ${grown} KiB`)
  assert.equal((await ask(bystander, 'session:ping', { t: 2 })).t, 2)
  slow.forEach((raw) => raw.terminate())
  ada.close()
})

test('a hundred who join and leave a room, and as many calls, leave nothing behind', async () => {
  const figures = async () => {
    const { text } = await server.rest(9, 'GET', '/metrics', undefined, { authorization: `Bearer ${token(9, { role: 'admin' })}` })
    return Object.fromEntries([...text.matchAll(/^(rtc_(?:participants|calls_active|calls_ringing|socket_connections|held\S*)) (\d+)$/gm)].map(([, name, value]) => [name, Number(value)]))
  }
  const [ada, ben] = [await server.connect(1, { auth: { cursor: 'new' } }), await server.connect(2, { auth: { cursor: 'new' } })]
  await ask(ada, 'room:join', { roomId: 'turnstile' })
  const right = (await server.rest(1, 'POST', '/api/rooms/turnstile/tokens', { userId: 2 })).json.data.token
  const before = await figures()
  const descriptors = () => readdirSync(`/proc/${server.process.pid}/fd`).length
  const open = descriptors()
  for (let n = 0; n < 100; n += 1) {
    const joined = await ask(ben, 'room:join', { roomId: 'turnstile', token: right })
    assert.ok(joined.ok, JSON.stringify(joined))
    assert.ok((await ask(ben, 'room:leave', { sessionId: joined.sessionId })).ok)
    const { call, ...other } = await ask(ada, 'call:initiate', { toUserId: 2, callType: 'voice' })
    assert.ok(call, JSON.stringify(other))
    assert.ok((await ask(ada, 'call:end', { callId: call.callId })).ok)
  }
  let now
  await until(async () => {
    now = await figures()
    return Object.keys(before).every((name) => now[name] <= before[name]) && descriptors() <= open + 2
  }, 'everything is given back', 60_000).catch((error) => { throw new Error(`${error.message}: ${JSON.stringify({ before, now, open, descriptors: descriptors() })}`) })
  ada.close(); ben.close()
})

test('connections that never show a token are closed, and no account comes of them', async () => {
  const silent = Array.from({ length: 20 }, () => websocket())
  for (const raw of silent) raw.on('error', () => {})
  const { data } = (await server.rest(1, 'GET', '/api/chat/users?limit=500')).json
  await until(() => silent.every(({ readyState }) => readyState === WebSocket.CLOSED), 'all are closed', 30_000)
  assert.equal((await server.rest(1, 'GET', '/api/chat/users?limit=500')).json.data.length, data.length)
})

test('of two polls at once with one id the second is refused, the session is over, and neither hangs', async () => {
  const polling = `${server.url}/socket.io/?EIO=4&transport=polling`
  const sid = (await (await fetch(polling)).text()).match(/"sid":"([^"]+)"/)[1]
  const at = `${polling}&sid=${sid}`
  const post = async (packet) => assert.equal((await fetch(at, { method: 'POST', body: packet })).status, 200)
  await post(`40${JSON.stringify({ token: token(4), cursor: 'new' })}`)
  const poll = () => new Promise((resolve) => {
    request(at, { agent: false }, (answer) => { answer.resume(); answer.on('end', () => resolve(answer.statusCode)) }).on('error', (error) => resolve(error.code)).end()
  })
  assert.equal(await poll(), 200, 'what came with the connection')
  await post('3')
  // An event that came just now answers the first before the second is there: once more then.
  let ended = []
  for (let tries = 5; tries > 0 && !ended.includes(400); tries -= 1) ended = await Promise.all([poll(), poll()])
  assert.ok(ended.includes(400), `${ended}`)
  assert.equal(await poll(), 400)
})

test('compressed frames are not agreed on, so that none can be a bomb', async () => {
  const raw = websocket({ perMessageDeflate: true })
  await new Promise((resolve, reject) => raw.on('open', resolve).on('error', reject))
  assert.equal(raw.extensions, '')
  const closed = new Promise((resolve) => raw.on('close', resolve))
  raw.on('error', () => {})
  // A frame that says that it is compressed (RSV1) without an agreement.
  raw._socket.write(Buffer.from([0xc1, 0x84, 0, 0, 0, 0, 1, 2, 3, 4]))
  await closed
})

test('lone surrogates are refused, a thousand headers are too many, and a body in chunks is measured', async () => {
  const surrogate = await server.rest(1, 'POST', '/api/chat/messages', '{"toUserId":2,"content":"\\ud800"}')
  assert.deepEqual([surrogate.status, surrogate.json.reason], [400, 'INVALID_DATA'])
  const answer = (head, body = '') => new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(server.port, '127.0.0.1', () => socket.write(head.join('\r\n') + '\r\n\r\n' + body))
    socket.on('data', (data) => (text += data)).on('close', () => resolve(text)).on('error', () => resolve(text))
    socket.setTimeout(60_000, () => reject(new Error('no end'))) // paces nothing: a deadline
  })
  const many = await answer(['GET /api/me HTTP/1.1', 'Host: 127.0.0.1', 'Connection: close', ...Array.from({ length: 1000 }, (_, n) => `X-${n}: y`)])
  assert.match(many, /^HTTP\/1\.1 4\d\d /)
  const chunk = `8000\r\n${'x'.repeat(0x8000)}\r\n`
  const long = await answer(['POST /api/chat/messages HTTP/1.1', 'Host: 127.0.0.1', 'Connection: close', 'Content-Type: application/json', `Authorization: Bearer ${token(1)}`, 'Transfer-Encoding: chunked'], chunk.repeat(40))
  assert.match(long, /^HTTP\/1\.1 413 /)
})

test('a token is taken in one header of one scheme, whose case does not matter', async () => {
  const status = (...values) => new Promise((resolve, reject) => {
    request(`${server.url}/api/me`, { headers: ['Host', new URL(server.url).host, ...values.flatMap((value) => ['Authorization', value])] }, (answer) => { answer.resume(); resolve(answer.statusCode) }).on('error', reject).end()
  })
  assert.equal(await status(`Bearer ${token(1)}`), 200)
  assert.equal(await status(`bearer ${token(1)}`), 200)
  for (const odd of [[`Basic ${token(1)}`], [token(1)], ['Bearer'], [`Bearer  ${token(1)} x`]]) assert.equal(await status(...odd), 401, `${odd}`.slice(0, 20))
  // Of two, it is the first or none that counts, never a mixture of both.
  assert.ok([200, 400, 401].includes(await status(`Bearer ${token(1)}`, `Bearer ${token(2)}`)))
  assert.ok([400, 401].includes(await status('Bearer x.y.z', `Bearer ${token(2)}`)))
})

test('a search is for text, not for a pattern', async () => {
  for (const q of ['(a+)+$', '.*', '^', '[', '\\', '%', '_', '*']) {
    const { status, json } = await server.rest(1, 'GET', `/api/chat/users?q=${encodeURIComponent(q)}`)
    assert.equal(status, 200, q)
    assert.deepEqual(json.data, [], `nobody is called ${q}`)
  }
})

test('line breaks and control characters from outside make no lines of their own in the log', async () => {
  const odd = 'evil\r\n{"level":"ERROR","message":"forged"}\u001b[31m'
  await server.rest(1, 'PATCH', '/api/me', { name: odd })
  await server.rest(1, 'GET', `/api/calls/${encodeURIComponent(odd)}`, undefined, { 'user-agent': 'x'.repeat(4000), 'x-request-id': 'forged' })
  const ada = await server.connect(1, { auth: { deviceId: odd.replace(/[\r\n\u001b]/g, ' '), deviceName: odd } }).catch(() => undefined)
  if (ada) await ask(ada, 'call:end', { callId: odd })
  ada?.close()
  // What is written after all of that is there.
  const lines = server.log.split('\n').length
  assert.equal((await server.rest(null, 'GET', '/no/such/page')).status, 404)
  await until(() => server.log.split('\n').length > lines && server.log.endsWith('\n'), 'the log of it')
  for (const line of server.log.trim().split('\n')) {
    assert.notEqual(JSON.parse(line).message, 'forged')
    assert.equal(/[\u0000-\u001f]/.test(line), false, 'control characters are escaped')
    assert.ok(line.length < 8192, `a line of ${line.length} characters`)
  }
})

test('a description that names the addresses of others has nothing sent to them', async () => {
  const victim = createSocket('udp4')
  const came = []
  victim.on('message', (message) => came.push(message))
  await new Promise((resolve) => victim.bind(0, '127.0.0.1', resolve))
  const { port } = victim.address()
  const candidates = [`127.0.0.1 ${port}`, `169.254.169.254 80`, '::1 53', '::ffff:127.0.0.1 7', `0b6a6a5c-7d0e-4c8e-9a7d-6f3b0d6c7e11.local ${port}`, '10.0.0.1 0']
    .flatMap((at, n) => Array.from({ length: 20 }, (_, k) => `a=candidate:${n}${k} 1 udp ${n * 20 + k + 1} ${at} typ host\r\n`)).join('')
  const made = await server.rest(1, 'POST', '/whip/reflected', plainOffer('audio') + candidates, { 'content-type': 'application/sdp' })
  assert.equal(made.status, 201, made.text)
  assert.match(made.text, /a=ice-lite/)
  const at = made.headers.get('location')
  const fragment = `a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n${candidates}a=end-of-candidates\r\n`
  const patch = (ufrag = 'abcd') => server.rest(1, 'PATCH', at, fragment.replace('abcd', ufrag), { 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': made.headers.get('etag') })
  // The end of candidates twice is no error, and neither is anything sent for it.
  assert.deepEqual([(await patch()).status, (await patch()).status], [204, 204])
  // A peer is given up when it has not connected; whoever was to be reached would have been by then.
  assert.equal((await server.rest(1, 'DELETE', at)).status, 200)
  assert.equal((await patch()).status, 404, 'a candidate for a session that is over')
  assert.deepEqual(came, [])
  victim.close()
})

test('a wall clock that is set by an hour, forth and back, disconnects nobody and misses no call', async () => {
  const [library, offset] = [join(server.data, 'other-clock.so'), join(server.data, 'ahead')]
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, `${root}/tests/e2e/support/other-clock.c`, '-ldl'])
  writeFileSync(offset, '0')
  const own = await Server.start({ env: { LD_PRELOAD: library, CLOCK_AHEAD: offset } })
  try {
    const day = { token: token(1, { exp: Math.floor(Date.now() / 1000) + 86_400 }) }
    const [ada, ben] = [await own.connect(1, { auth: { ...day, cursor: 'new' } }), await own.connect(2, { auth: { token: token(2, { exp: Math.floor(Date.now() / 1000) + 86_400 }), cursor: 'new' } })]
    const serverTime = async () => (await ask(ada, 'session:ping', { t: 1 })).serverTime
    const { call } = await ask(ada, 'call:initiate', { toUserId: 2, callType: 'voice' })
    const seqs = []
    for (const ahead of [3600, -3600, 0]) {
      writeFileSync(offset, String(ahead))
      await until(async () => Math.abs(Date.parse(await serverTime()) - Date.now() - ahead * 1000) < 600_000, `the server's clock is ${ahead} s ahead`)
      const ack = await ask(ada, 'message:send', { toUserId: 2, content: `at ${ahead}` })
      assert.equal(ack.ok, true, JSON.stringify(ack))
      await next(ben, 'message:received', ({ messageId }) => messageId === ack.messageId)
      seqs.push(ack.seq)
    }
    assert.deepEqual(seqs, [1, 2, 3])
    assert.ok(ada.connected && ben.connected)
    assert.equal(ben.events.some(({ name }) => name === 'call:missed'), false, 'it still rings')
    assert.equal((await ask(ben, 'call:respond', { callId: call.callId, response: 'accept' })).call.status, 'accepted')
    ada.close(); ben.close()
  } finally {
    await own.stop()
  }
})

test('every test that docs/security.md names is there', () => {
  const rows = readFileSync(join(root, 'docs/security.md'), 'utf8').split('\n').filter((line) => /^\| [HML]?\d+ \|/.test(line))
  assert.deepEqual(rows.map((row) => row.split(' ')[1]).filter((number) => /^\d/.test(number)).map(Number), Array.from({ length: 95 }, (_, n) => n + 1))
  let named = 0
  for (const row of rows) {
    const [, , , tests] = row.split('|')
    // A file, and behind it the names of tests in it.
    let file
    for (const [, e2e, path, name] of tests.matchAll(/(e2e\/[\w/-]+)|\b((?:src|media|turn|tests)\/[\w/-]+\.(?:rs|mjs))|`([^`]+)`/g)) {
      if (e2e || path) file = join(root, e2e ? `tests/${e2e}.test.mjs` : path)
      if (file && !name) assert.ok(existsSync(file), `${row}: ${file}`)
      if (!file || !name) continue
      const text = readFileSync(file, 'utf8')
      assert.ok(text.includes(file.endsWith('.rs') ? `fn ${name}(` : name), `${row}: ${name} is not in ${file}`)
      named += 1
    }
  }
  assert.ok(named > 120, `${named} names`)
})

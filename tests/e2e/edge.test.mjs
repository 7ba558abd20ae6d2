// What strangers take of the HTTP side, with raw sockets: descriptors, memory, bodies that stop, answers that nobody reads, names.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { Server, ask, token, until } from './support/server.mjs'

let server
let bystander
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_LIMITS__ANONYMOUS_PER_MINUTE: '60', SWITCHBOARD_LIMITS__HANDSHAKES_PER_MINUTE: '600', SWITCHBOARD_LIMITS__HANDSHAKES_BURST: '200', SWITCHBOARD_SERVER__TRUSTED_PROXIES: '["127.0.0.2"]' } })
  await server.people(1, 2, 3)
  bystander = await server.connect(3, { auth: { cursor: 0 } })
})
after(async () => {
  assert.equal((await ask(bystander, 'session:ping', { t: 1 })).t, 1, 'the bystander is connected as it was in the beginning')
  assert.equal(server.log.includes('panicked'), false, server.log)
  bystander.close()
  await server.stop()
})

const polling = '/socket.io/?EIO=4&transport=polling'
const descriptors = () => readdirSync(`/proc/${server.process.pid}/fd`).length
const get = (path, more = '') => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${more}\r\n`
const status = (answer) => Number(answer.match(/^HTTP\/1\.1 (\d+)/)?.[1])

/** A connection that keeps what comes in `text`; each test says from which of this machine's addresses. */
function raw(bytes = '', localAddress = '127.0.0.1') {
  const socket = connect({ port: server.port, host: '127.0.0.1', localAddress })
  socket.text = ''
  socket.ended = false
  socket.on('data', (data) => (socket.text += data)).on('error', () => {}).on('close', () => (socket.ended = true))
  if (bytes) socket.write(bytes)
  return socket
}

/** What is answered to these bytes, up to the end of the connection. */
async function answer(bytes, localAddress) {
  const socket = raw(bytes, localAddress)
  await until(() => socket.ended, `an end of ${bytes.slice(0, 60)}`, 40_000)
  return socket.text
}

test('500 handshakes whose connections are closed leave no descriptor behind', async () => {
  const before = descriptors()
  for (let n = 0; n < 10; n += 1) {
    await Promise.all(Array.from({ length: 50 }, () => answer(get(polling, 'Connection: close\r\n'), '127.0.0.3')))
  }
  assert.equal((await server.rest(1, 'GET', '/api/me')).status, 200)
  await until(() => descriptors() <= before + 20, `${descriptors()} descriptors, ${before} before`, 15_000)
})

test('thousands of handshakes are refused, their connections end, and memory stays', async () => {
  const before = server.memory()
  const count = 5000
  const answers = []
  for (let sent = 0; sent < count; sent += 500) {
    const socket = raw(get(polling).repeat(500), '127.0.0.4')
    // Whoever is refused comes again by another connection; what it asked behind the refused one is not answered.
    await until(() => socket.ended, 'the connection of who was refused ends', 30_000)
    answers.push(...socket.text.split('HTTP/1.1 ').slice(1))
    socket.destroy()
  }
  const good = answers.filter((text) => text.startsWith('200')).length
  assert.ok(good >= 1 && good <= 100, `${good} of ${count} handshakes were taken`)
  const refused = answers.filter((text) => text.startsWith('429'))
  assert.equal(refused.length, count / 500, 'one on each connection')
  for (const text of refused) {
    assert.match(text, /\r\nretry-after: \d+\r\n/i)
    assert.match(text, /\r\nconnection: close\r\n/i)
    assert.equal(JSON.parse(text.slice(text.indexOf('{'))).code, 4)
  }
  assert.ok(server.memory() - before < 16 * 1024, `${server.memory() - before} KiB more`)
  assert.equal(status(await answer(get(polling, 'Connection: close\r\n'), '127.0.0.5')), 200, 'other addresses go on')
})

test('a body that stops, or drips, is given up', async () => {
  const head = (length) => `POST /api/chat/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token(1)}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n{`
  const open = await answer(get(polling, 'Connection: close\r\n'), '127.0.0.6')
  const { sid } = JSON.parse(open.slice(open.indexOf('{')))
  const dripping = raw(head(100_000), '127.0.0.6')
  const drip = setInterval(() => dripping.writable && dripping.write(' '), 2000) // paces the drops
  try {
    const [rest, poll] = await Promise.all([
      answer(head(100), '127.0.0.6'),
      answer(`POST ${polling}&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4`, '127.0.0.6'),
    ])
    for (const text of [rest, poll]) {
      assert.equal(status(text), 408, text)
      assert.equal(JSON.parse(text.slice(text.indexOf('{'))).reason, 'REQUEST_TIMEOUT')
    }
    await until(() => dripping.ended, 'the dripping body is given up', 40_000)
    assert.equal(status(dripping.text), 408, dripping.text)
  } finally {
    clearInterval(drip)
    dripping.destroy()
  }
})

test('who does not read answers is cut', async () => {
  const socket = raw('', '127.0.0.7')
  await until(() => !socket.connecting, 'a connection')
  const port = socket.localPort
  socket.pause()
  const request = get('/api/openapi.json')
  const fill = setInterval(() => socket.writable && socket.writableLength < 1 << 20 && socket.write(request.repeat(50)), 50) // paces the requests
  try {
    await until(() => !holds(port), 'the connection is cut', 60_000)
  } finally {
    clearInterval(fill)
    socket.destroy()
  }
})

/** Whether the server has a connection to this port of a client, by the table of the kernel. */
function holds(port) {
  const end = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return server.connections().some((line) => line.remote.endsWith(end))
}

test('the 201st connection of an address is answered why, and others go on', async () => {
  const silent = Array.from({ length: 200 }, () => raw('', '127.0.0.8'))
  await until(() => silent.every((socket) => !socket.connecting), '200 connections')
  const text = await answer('', '127.0.0.8')
  assert.equal(status(text), 429, text)
  const body = JSON.parse(text.slice(text.indexOf('{')))
  assert.equal(body.details.limit, 'limits.connections_per_network')
  assert.match(text, /\r\nretry-after: 5\r\n/i)
  assert.match(server.log, /server\.trusted_proxies/)
  assert.equal(status(await answer(get('/livez', 'Connection: close\r\n'), '127.0.0.9')), 200)
  silent.forEach((socket) => socket.destroy())
  let again
  await until(async () => status(again = await answer(get('/livez', 'Connection: close\r\n'), '127.0.0.8')) === 200, `room again: ${again}`)
})

test('a body over the limit is refused before it comes, and Expect waits for the limits', async () => {
  const head = (more) => `POST /api/chat/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${more}\r\n`
  const good = `Authorization: Bearer ${token(1)}\r\n`
  for (const [more, expected] of [
    [`${good}Content-Length: 2000000\r\n`, 413], [`${good}Content-Length: 2000000\r\nExpect: 100-continue\r\n`, 413],
    ['Authorization: Bearer x.y.z\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n', 401],
  ]) {
    assert.equal(status(await answer(head(more), '127.0.0.10')), expected, more)
  }
  const body = JSON.stringify({ toUserId: 2, content: 'expected' })
  const socket = raw(head(`${good}Content-Length: ${body.length}\r\nExpect: 100-continue\r\nConnection: close\r\n`), '127.0.0.10')
  await until(() => socket.text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'), 'the body is asked for')
  socket.write(body)
  await until(() => socket.ended, 'an answer')
  assert.match(socket.text, /HTTP\/1\.1 20[01] /)
  // Whoever sends the whole body all the same can read the answer.
  const text = await answer(head(`${good}Content-Length: 8000000\r\n`) + 'x'.repeat(8_000_000), '127.0.0.10')
  assert.equal(status(text), 413, text)
})

test('a request names its host once', async () => {
  for (const [head, expected] of [
    ['GET /health HTTP/1.1\r\n', 400], ['GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n', 400], ['GET /health HTTP/1.1\r\nHost: a\r\n', 200],
  ]) assert.equal(status(await answer(`${head}Connection: close\r\n\r\n`, '127.0.0.11')), expected, head)
})

test('X-Forwarded-For on two lines is one list, and its last foreign address is the client', async () => {
  const from = (first, second) => get('/api/me', `X-Forwarded-For: ${first}\r\nX-Forwarded-For: ${second}\r\nConnection: close\r\n`)
  let last
  for (let n = 0; n < 70; n += 1) last = status(await answer(from(`198.51.100.${n}`, '203.0.113.7:4711'), '127.0.0.2'))
  assert.equal(last, 429, 'what the client wrote itself makes it no other client')
  assert.equal(status(await answer(from('203.0.113.7', '203.0.113.8'), '127.0.0.2')), 401)
  for (let n = 0; n < 70; n += 1) last = status(await answer(from('x', `2001:db8::${n.toString(16)}`), '127.0.0.2'))
  assert.equal(last, 429, 'the addresses of a /64 are one client')
})

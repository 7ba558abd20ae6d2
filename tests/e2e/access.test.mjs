// What a person holds ends within a second when the account, the role, the session or the token ends: measured from the answer that
// says so to the last packet or event. `FIGURES=1` prints the table of docs/security.md.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, before, test } from 'node:test'
import { WebSocket } from 'ws'
import { Server, ask, freePort, next, secret, settled, token, until } from './support/server.mjs'
import { TurnClient } from './support/turn-client.mjs'
import { whipClient } from './support/whip-client.mjs'

/** How long what was held may go on. */
const BOUND = 1000
const operator = { authorization: 'ApiKey k7Qm2v9Zr4Tx8Wb3Np6Lc1Hd5Js0Gy-Fe' }
const figures = []
let server
const clients = []

before(async () => {
  server = await Server.start({
    env: {
      SWITCHBOARD_AUTH__API_KEY: 'k7Qm2v9Zr4Tx8Wb3Np6Lc1Hd5Js0Gy-Fe',
      SWITCHBOARD_AUTH__LEEWAY: '1',
      SWITCHBOARD_ROOMS__CREATE: 'anyone',
      SWITCHBOARD_RECORDINGS__MIN_FREE_BYTES: '0',
      SWITCHBOARD_LIMITS__CALLS_PER_MINUTE: '1000',
      SWITCHBOARD_LIMITS__SESSIONS_PER_USER: '4',
      SWITCHBOARD_PRESENCE__AUDIENCE: 'all',
      SWITCHBOARD_TURN__MODE: 'open',
      SWITCHBOARD_TURN__SECRET: secret,
      SWITCHBOARD_TURN__HOST: '127.0.0.1',
      SWITCHBOARD_TURN__PORT: String(await freePort()),
      SWITCHBOARD_TURN__ADVERTISED_IPS: '["127.0.0.1"]',
      SWITCHBOARD_TURN__ALLOW_PEERS: '["127.0.0.0/8"]',
    },
  })
})
after(async () => {
  for (const client of clients) client.kill()
  await server?.stop()
  if (!process.env.FIGURES) return
  console.log('\n| what ends | what is held | ms |\n|---|---|---|')
  for (const { cause, thing, ms } of figures) console.log(`| ${cause} | ${thing} | ${ms} |`)
})

/** Notes when something was over, after the moment at which the answer came. */
function over(cause, thing, answered, at) {
  const ms = Math.max(0, at - answered)
  figures.push({ cause, thing, ms })
  assert.ok(ms <= BOUND, `${thing} ended ${ms} ms after ${cause}`)
}

const put = (user, disabled) => server.rest(undefined, 'PUT', `/api/users/${user}`, { uid: `u-${user}`, name: `User ${user}`, disabled }, operator)
const connect = (user, options = {}) => {
  const { claims, ...rest } = options
  return server.connect(user, { ...rest, auth: { token: token(user, claims ?? {}), deviceId: rest.deviceId ?? `d${user}`, cursor: 0 } })
}
/** When a client's connection ended. */
const closing = (socket) => new Promise((resolve) => socket.io.engine.on('close', () => resolve(Date.now())))
const media = (kind, user, room) => {
  const client = whipClient(server, kind, user, room)
  clients.push(client)
  return client
}

/** An account with everything that a person can hold, and what others see of it. */
async function holder(me, other) {
  const room = `held-${me}`
  const held = { me, other, room }
  held.websocket = await connect(me, { deviceId: 'phone' })
  held.polling = await connect(me, { transports: ['polling'], deviceId: 'old' })
  held.second = await connect(me, { deviceId: 'tablet' })
  held.bystander = await connect(other)
  held.socketEnds = ['websocket', 'polling', 'second'].map((name) => [name, closing(held[name])])

  held.publisher = media('publish', me, room)
  await until(() => held.publisher.says('connected'), () => `the publisher is connected: ${held.publisher.errors}`, 20_000)
  held.sees = media('view', other, room)
  held.source = media('publish', other, `of-${me}`)
  await until(() => held.source.says('connected'), () => `the other publisher is connected: ${held.source.errors}`, 20_000)
  held.viewer = media('view', me, `of-${me}`)
  await until(() => held.sees.frames('video') >= 20 && held.viewer.frames('video') >= 20, 'pictures at both viewers', 20_000)
  await ask(held.bystander, 'room:join', { roomId: room })
  const joined = await ask(held.websocket, 'room:join', { roomId: room })
  assert.equal(joined.ok, true, JSON.stringify(joined))
  held.participant = joined.self.participantId
  await next(held.bystander, 'room:joined', ({ participant }) => participant.participantId === held.participant)

  const config = await server.rest(me, 'GET', '/api/calls/webrtc-config')
  held.ice = config.json.data.iceServers.find(({ username }) => username)
  held.turn = await TurnClient.open(held.ice)
  await until(() => held.turn.count >= 3, 'relayed packets')

  const device = { deviceId: 'phone', platform: 'ios', pushToken: 'push' }
  assert.equal((await server.rest(me, 'POST', '/api/devices', device)).status, 200)
  assert.equal((await ask(held.bystander, 'presence:subscribe', { userIds: [me] })).ok, true)
  assert.equal((await ask(held.websocket, 'presence:subscribe', { userIds: [other] })).ok, true)
  const { call } = await ask(held.websocket, 'call:initiate', { toUserId: other })
  assert.equal((await ask(held.bystander, 'call:respond', { callId: call.callId, response: 'accept' })).ok, true)
  held.call = call.callId
  held.bystander.events.length = 0
  return held
}

/** The latest moment at which the last picture of a viewer can have come, once none comes any more: it reports each tenth of twenty a
 * second. Sound does not do for this: libwebrtc makes some up where none comes. */
async function still(client) {
  const read = () => client.frames('video')
  let [count, at, last] = [read(), Date.now(), Date.now()]
  await until(() => {
    if (read() !== count) [count, last] = [read(), Date.now()]
    at = Date.now()
    return at - last > 1500
  }, 'frames end', 10_000)
  return last + 500
}

for (const [cause, me, act] of [
  ['disable', 21, (me) => put(me, true)],
  ['erase', 22, (me) => server.rest(undefined, 'DELETE', `/api/users/${me}`, undefined, operator)],
]) {
  test(`${cause}: everything that a person holds is over within a second`, { timeout: 120_000 }, async () => {
    const held = await holder(me, me + 10)
    const events = (name, matches = () => true) => held.bystander.events.find((event) => event.name === name && matches(event.payload))
    const from = held.turn.count
    await until(() => held.turn.count > from, 'packets until the end')
    const answer = await act(me)
    const answered = Date.now()
    const pictures = Promise.all([still(held.sees), still(held.viewer)])
    assert.ok([200, 202].includes(answer.status), answer.text)

    assert.equal((await server.rest(me, 'GET', '/api/me')).status, 403)
    over(cause, 'REST with the old token', answered, answered)
    for (const [name, end] of held.socketEnds) over(cause, { websocket: 'websocket', polling: 'polling session', second: 'second device' }[name], answered, await end)
    for (const socket of [held.websocket, held.polling, held.second]) assert.equal((await next(socket, 'session:closed')).reason, 'USER_DISABLED')
    await assert.rejects(connect(me), /\[USER_DISABLED\]/)

    const call = await until(() => events('call:ended', ({ callId }) => callId === held.call), 'the call ends for the other')
    assert.deepEqual([call.payload.endReason, call.payload.fromUserId], ['kicked', me])
    over(cause, 'running call', answered, call.at)
    const status = await until(() => events('user:status', ({ userId, isOnline }) => userId === me && !isOnline), 'others see that the person is gone')
    over(cause, 'presence subscriptions', answered, status.at)
    const left = await until(() => events('room:left', ({ participantId }) => participantId === held.participant), 'the participant leaves')
    over(cause, 'room member by socket, data', answered, left.at)

    const [published, viewed] = await pictures
    over(cause, 'publisher by WHIP', answered, published)
    over(cause, 'viewer by WHEP', answered, viewed)
    over(cause, 'allocation of the relay', answered, held.turn.last)
    assert.equal(await held.turn.allocate(), 401, 'the credential that was handed out before')
    held.turn.close()

    await settled(held.bystander)
    assert.equal((await put(me, false)).status, 200)
    const devices = (await server.rest(me, 'GET', '/api/devices')).json.data
    assert.equal(devices.length, cause === 'erase' ? 0 : 1, 'an erased person has no device to be pushed to')
    held.bystander.close()
    for (const client of [held.publisher, held.sees, held.source, held.viewer]) client.kill()
  })
}

test('a verdict that is cached does not let a disabled account in', { timeout: 60_000 }, async () => {
  let asked = 0
  const backend = createServer((request, response) => {
    asked += 1
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ data: { user_id: 5, uid: 'u-5', name: 'User 5' } }))
  })
  await new Promise((resolve) => backend.listen(0, '127.0.0.1', resolve))
  const own = await Server.start({
    env: {
      SWITCHBOARD_AUTH__API_KEY: 'k7Qm2v9Zr4Tx8Wb3Np6Lc1Hd5Js0Gy-Fe',
      SWITCHBOARD_AUTH__MODE: 'introspect',
      SWITCHBOARD_AUTH__INTROSPECT_URL: `http://127.0.0.1:${backend.address().port}`,
    },
  })
  try {
    const me = () => fetch(`${own.url}/api/me`, { headers: { authorization: 'Bearer opaque' } })
    assert.deepEqual([(await me()).status, (await me()).status, asked], [200, 200, 1])
    const put = await own.rest(undefined, 'PUT', '/api/users/5', { uid: 'u-5', name: 'User 5', disabled: true }, operator)
    const answered = Date.now()
    assert.equal(put.status, 200, put.text)
    assert.deepEqual([(await me()).status, asked], [403, 1], 'the backend is not asked again')
    over('disable', 'cached verdict of the backend', answered, answered)
  } finally {
    await own.stop()
    backend.close()
  }
})

test('a session that its person ends takes its connection along, and the call that it is in', async () => {
  const [phone, laptop, other] = [await connect(41, { deviceId: 'phone' }), await connect(41, { deviceId: 'laptop' }), await connect(42)]
  const { call } = await ask(phone, 'call:initiate', { toUserId: 42 })
  assert.equal((await ask(other, 'call:respond', { callId: call.callId, response: 'accept' })).ok, true)
  const ends = closing(phone)
  assert.equal((await server.rest(41, 'DELETE', `/api/sessions/${phone.ready.sessionId}`)).status, 200)
  const answered = Date.now()
  assert.equal((await next(phone, 'session:closed')).reason, 'KICKED')
  assert.equal((await next(other, 'call:ended')).endReason, 'kicked')
  over('kick of a session', 'running call', answered, Date.now())
  over('kick of a session', 'websocket', answered, await ends)
  await settled(laptop)
  for (const socket of [laptop, other]) socket.close()
})

test('a token that ends takes its socket along when the leeway is over', { timeout: 30_000 }, async () => {
  const exp = Math.floor(Date.now() / 1000) + 3
  const socket = await connect(43, { claims: { exp } })
  const end = await closing(socket)
  assert.equal((await next(socket, 'session:closed')).reason, 'TOKEN_EXPIRED')
  // A second is looked at once: it may be over when the next look comes.
  over('end of the token', 'websocket, beyond leeway and the look each second', (exp + 1) * 1000 + BOUND, end)
  assert.ok(end >= (exp + 1) * 1000, 'not before the leeway is over')
})

test('a newer token without the role takes operators\' rights from the older ones and their sockets', async () => {
  const issued = Math.floor(Date.now() / 1000) - 10
  const [older, newer] = [token(44, { role: 'admin', iat: issued }), token(44, { iat: issued + 5 })]
  const as = (bearer) => server.rest(undefined, 'GET', '/api/admin/turn/allocations', undefined, { authorization: `Bearer ${bearer}` })
  const socket = await connect(44, { claims: { role: 'admin', iat: issued } })
  assert.equal((await as(older)).status, 200)
  assert.equal((await ask(socket, 'session:refresh', { token: older })).ok, true)
  assert.equal((await as(newer)).status, 403)
  const answered = Date.now()
  assert.equal((await as(older)).status, 403, 'the older token is a user\'s now')
  over('demotion', 'REST with the old token', answered, answered)
  const calls = await ask(socket, 'recording:list', {})
  assert.equal(calls.ok, true)
  socket.close()
})

/** A client of WebSocket that does nothing by itself: it stays when its session is over. */
async function stubborn(bearer) {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
  const client = { socket, packets: [], closed: new Promise((resolve) => socket.addEventListener('close', () => resolve(Date.now()))) }
  socket.addEventListener('message', ({ data }) => client.packets.push(String(data)))
  socket.addEventListener('error', () => {})
  await until(() => client.packets.some((packet) => packet.startsWith('0')), 'the connection opens')
  client.connect = (bearer) => socket.send(`40${JSON.stringify({ token: bearer, cursor: '0' })}`)
  client.connect(bearer)
  return client
}
const came = (client, start) => until(() => client.packets.find((packet) => packet.startsWith(start)), `a packet ${start}`)

test('clients that ignore the end of their session are cut a second later, and count until then', { timeout: 60_000 }, async () => {
  const open = async () => (await (await fetch(`${server.url}/metrics`, { headers: operator })).text()).match(/^rtc_socket_connections (\d+)/m)[1]
  const before = Number(await open())
  const all = []
  for (let n = 0; n < 20; n += 1) {
    const client = await stubborn(token(45))
    await came(client, '42["session:ready"')
    all.push(client)
    assert.ok(Number(await open()) - before <= 8, 'four that are open, and as many that are ending')
  }
  const gone = await Promise.all(all.slice(0, 16).map(async (client) => {
    await came(client, '42["session:closed",{"reason":"REPLACED"')
    return client.closed
  }))
  assert.equal(gone.length, 16)
  await until(async () => Number(await open()) - before <= 4, 'four are left')
  for (const client of all) client.socket.close()
})

test('a client that is refused and stays is cut, by websocket and by polling', { timeout: 30_000 }, async () => {
  const client = await stubborn('nonsense')
  await came(client, '44')
  const refused = Date.now()
  over('refusal', 'websocket, beyond the second of grace', refused, await client.closed - BOUND)

  const at = `${server.url}/socket.io/?EIO=4&transport=polling`
  const opened = await (await fetch(at)).text()
  const { sid } = JSON.parse(opened.slice(1))
  assert.equal((await fetch(`${at}&sid=${sid}`, { method: 'POST', body: '40{"token":"nonsense"}' })).status, 200)
  await until(async () => (await fetch(`${at}&sid=${sid}`)).status === 400, 'the session by polling is gone', 4000)
})

test('a client that only leaves the namespace, and one that goes over to a websocket, are cut too', { timeout: 30_000 }, async () => {
  const leaver = await stubborn(token(46))
  await came(leaver, '42["session:ready"')
  leaver.socket.send('41')
  over('leaving the namespace', 'websocket, beyond the second of grace', Date.now() + BOUND, await leaver.closed)

  const at = `${server.url}/socket.io/?EIO=4`
  const opened = await (await fetch(`${at}&transport=polling`)).text()
  const { sid } = JSON.parse(opened.slice(1))
  await fetch(`${at}&transport=polling&sid=${sid}`, { method: 'POST', body: `40${JSON.stringify({ token: token(47), cursor: '0' })}` })
  await until(async () => (await server.rest(47, 'GET', '/api/sessions')).json.data.length === 1, 'the session is open')
  const socket = new WebSocket(`${at.replace('http', 'ws')}&transport=websocket&sid=${sid}`)
  const packets = []
  const closed = new Promise((resolve) => socket.addEventListener('close', () => resolve(Date.now())))
  socket.addEventListener('open', () => socket.send('2probe'))
  socket.addEventListener('message', ({ data }) => {
    packets.push(String(data))
    if (data === '3probe') socket.send('5')
  })
  await until(() => packets.some((packet) => packet.startsWith('42["session:ready"')), 'events by websocket')
  await put(47, true)
  over('disable', 'websocket that began by polling and stays, beyond the second of grace', Date.now() + BOUND, await closed)
})

test('a room token that is taken back, and a room that is closed, end the sockets of their guests', async () => {
  const room = 'held-guests'
  const admin = { authorization: `Bearer ${token(990, { role: 'admin' })}` }
  assert.equal((await server.rest(undefined, 'POST', '/api/rooms', { roomId: room }, admin)).status, 201)
  const link = async () => (await server.rest(undefined, 'POST', `/api/rooms/${room}/tokens`, { name: 'Guest' }, admin)).json.data
  const [one, two] = [await link(), await link()]
  const guest = async ({ token }, deviceId) => {
    const socket = await server.connect(undefined, { auth: { token, deviceId } })
    assert.ok((await ask(socket, 'room:join', { roomId: room, token })).ok)
    return { socket, closed: next(socket, 'session:closed'), end: closing(socket) }
  }
  const [first, second] = [await guest(one, 'a'), await guest(two, 'b')]
  const left = next(second.socket, 'room:left')
  const revoked = await server.rest(undefined, 'DELETE', `/api/rooms/${room}/tokens/${one.tokenId}`, undefined, admin)
  assert.equal(revoked.status, 200)
  let answered = Date.now()
  assert.equal((await left).reason, 'revoked')
  over('a room token is taken back', 'the room, as others see it', answered, Date.now())
  assert.equal((await first.closed).reason, 'TOKEN_EXPIRED')
  over('a room token is taken back', "the guest's session", answered, Date.now())
  await first.end
  assert.equal(second.socket.connected, true, 'another token is good')
  assert.equal((await server.rest(undefined, 'DELETE', `/api/rooms/${room}`, undefined, admin)).status, 200)
  assert.equal((await second.closed).reason, 'TOKEN_EXPIRED')
  await second.end
})

// The program itself: start, refusal to start, health, metrics, stopping, tokens that end, presence, export and import.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Server, ask, gone, next, root, secret, settled, token, until } from './support/server.mjs'

const binary = process.env.SWITCHBOARD_BIN ?? join(root, 'target/debug/switchboard')
const folder = () => mkdtempSync(join(tmpdir(), 'switchboard-test-'))

function run(args, env = {}, cwd = folder()) {
  return new Promise((resolve) => {
    const options = { cwd, env: { PATH: process.env.PATH, SWITCHBOARD_SERVER__PORT: '0', ...env }, timeout: 10_000 }
    execFile(binary, args, options, (error, stdout, stderr) => resolve({ code: error ? error.code ?? 'killed' : 0, stdout, stderr }))
  })
}

let server
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_PRESENCE__GRACE: '1', SWITCHBOARD_METRICS__TOKEN: 'scrape-me-with-this-token', SWITCHBOARD_TURN__EXTERNAL_URLS: '["turn:turn.example:3478?transport=udp"]', SWITCHBOARD_TURN__SECRET: 'coturn-has-it-too-Zk4vQ81w', SWITCHBOARD_SERVER__LOG_LEVEL: 'debug' } })
  await server.people(1, 2, 3, 4)
})
after(() => server.stop())

test('it refuses to start with a missing, short, well-known or impossible setting, and names it', async () => {
  for (const [env, told] of [
    [{}, 'auth.jwt_secret: is not set'], [{ JWT_SECRET: 'short' }, 'auth.jwt_secret: has 5 bytes'],
    [{ JWT_SECRET: 'your-256-bit-secret-your-256-bit-secret' }, 'auth.jwt_secret: begins like a secret'],
    [{ JWT_SECRET: secret, MONGODB_URI: 'postgres://u:hunter2@h/d' }, 'store.mongodb_uri'], [{ JWT_SECRET: secret, PORT: 'x', SWITCHBOARD_SERVER__PORT: '' }, 'server.port'],
    [{ JWT_SECRET: secret, SWITCHBOARD_SERVER__NO_SUCH: '1' }, 'no_such'], [{ JWT_SECRET: secret, SWITCHBOARD_CALL__MEDIA: 'pigeon' }, 'call.media'],
    [{ JWT_SECRET: secret, ALLOWED_ORIGINS: '*' }, 'server.allowed_origins'],
  ]) {
    const { code, stderr } = await run(['serve'], env)
    assert.equal(code, 2, stderr)
    assert.ok(stderr.includes(told) && stderr.trim().split('\n').length === 1, `${told}: ${stderr}`)
    assert.equal(stderr.includes('hunter2'), false)
  }
  const cwd = folder()
  writeFileSync(join(cwd, 'config.toml'), '[server]\nport = "many"\n')
  assert.match((await run(['serve'], { JWT_SECRET: secret, SWITCHBOARD_SERVER__PORT: '' }, cwd)).stderr, /port/)
  assert.equal((await run(['serve', '--config', 'absent.toml'], { JWT_SECRET: secret })).code, 2)
  assert.equal((await run(['serve', '--dev'], { NODE_ENV: 'production' })).code, 2)
  const busy = await run(['serve'], { JWT_SECRET: secret, SWITCHBOARD_SERVER__HOST: '127.0.0.1', SWITCHBOARD_SERVER__PORT: String(server.port) })
  assert.deepEqual([busy.code, busy.stderr.includes('cannot listen on 127.0.0.1')], [1, true])
})

test('data that other users may read is a refusal with the remedy; --dev mends it; what is written is private', async () => {
  const mode = (path) => statSync(path).mode & 0o777
  const cwd = folder()
  mkdirSync(join(cwd, 'data'))
  chmodSync(join(cwd, 'data'), 0o755)
  const unused = await run(['export'], { JWT_SECRET: secret }, cwd)
  assert.deepEqual([unused.code, mode(join(cwd, 'data')), /data has mode 0755: .* nothing is in it yet$/m.test(unused.stderr)], [0, 0o700, true], unused.stderr)
  chmodSync(join(cwd, 'data'), 0o755)
  const refused = await run(['serve'], { JWT_SECRET: secret }, cwd)
  assert.deepEqual([refused.code, /data has mode 0755: .*; run: chmod 700 data$/m.test(refused.stderr)], [1, true], refused.stderr)
  const examined = await run(['doctor'], { JWT_SECRET: secret, SWITCHBOARD_ICE__STUN_SERVERS: '[]' }, cwd)
  assert.match(examined.stdout, /^BAD +at rest +data has mode 0755/m)
  chmodSync(join(cwd, 'data'), 0o700)
  // Whoever starts the program may have any umask, and the dump may be there already.
  const before = process.umask(0o000)
  writeFileSync(join(cwd, 'dump'), 'old')
  const exported = await run(['export', 'dump'], { JWT_SECRET: secret }, cwd)
  const developed = await run(['export', '--dev', 'dump-dev'], {}, cwd)
  process.umask(before)
  assert.deepEqual([exported.code, developed.code], [0, 0], exported.stderr + developed.stderr)
  for (const name of ['dump', 'dump-dev', 'data/switchboard.db', 'data-dev/switchboard.db', 'data-dev/dev-secret']) assert.equal(mode(join(cwd, name)), 0o600, name)
  assert.equal(mode(join(cwd, 'data-dev')), 0o700)
  chmodSync(join(cwd, 'data/switchboard.db'), 0o640)
  const wide = await run(['export'], { JWT_SECRET: secret }, cwd)
  assert.deepEqual([wide.code, wide.stdout, wide.stderr.includes('chmod 600 data/switchboard.db')], [1, '', true], wide.stderr)
  chmodSync(join(cwd, 'data-dev'), 0o755)
  const mended = await run(['export', '--dev', 'dump-dev'], {}, cwd)
  assert.deepEqual([mended.code, mode(join(cwd, 'data-dev')), mended.stderr.includes('data-dev has mode 0755')], [0, 0o700, true], mended.stderr)
})

test('check-config hides what is secret in addresses, and secrets that anybody guesses are refused', async () => {
  const { code, stdout } = await run(['check-config'], { JWT_SECRET: secret, SWITCHBOARD_AUTH__JWKS_URL: 'https://u:hunter2@keys.example/jwks?key=hunter2', DJANGO_BASE_URL: 'https://u:hunter2@backend.example' })
  assert.deepEqual([code, stdout.includes('hunter2')], [0, false])
  const { auth } = JSON.parse(stdout)
  assert.deepEqual([auth.jwks_url, auth.introspect_url], ['https://***@keys.example/jwks?key=***', 'https://***@backend.example'])
  for (const weak of ['abcdefghijklmnopqrstuvwxyz012345', 'passwordpasswordpasswordpassword']) {
    const { code, stderr } = await run(['check-config'], { JWT_SECRET: weak })
    assert.deepEqual([code, stderr.includes('auth.jwt_secret: '), stderr.includes('openssl rand -base64 32'), stderr.includes(weak)], [2, true, true, false], stderr)
  }
})

test('a log that nobody reads any more ends nothing', async () => {
  const process = spawn(binary, ['serve'], { cwd: folder(), env: { PATH: '/usr/bin', JWT_SECRET: secret, SWITCHBOARD_SERVER__PORT: '0', SWITCHBOARD_SERVER__HOST: '127.0.0.1', SWITCHBOARD_SERVER__DRAIN_DELAY: '0', SWITCHBOARD_SERVER__LOG_LEVEL: 'debug', SWITCHBOARD_MEDIA__UDP_PORT: '0' } })
  const address = await new Promise((resolve) => process.stdout.on('data', (text) => {
    const ready = String(text).match(/ready http=(\S+)/)
    if (ready) resolve(ready[1])
  }))
  process.stderr.destroy()
  const ended = new Promise((resolve) => process.on('exit', resolve))
  // Each of these answers is logged.
  for (let n = 0; n < 20; n += 1) assert.equal((await fetch(`http://${address}/readyz`)).status, 200)
  process.kill('SIGTERM')
  assert.equal(await ended, 0)
})

test('check-config shows what is in force without secrets; secrets come from files too', async () => {
  const cwd = folder()
  writeFileSync(join(cwd, 'secret'), `${secret}\n`)
  const { code, stdout } = await run(['check-config'], { SWITCHBOARD_AUTH__JWT_SECRET_FILE: join(cwd, 'secret'), ALLOWED_ORIGINS: 'https://a.example, https://b.example', STUN_SERVER: 'stun:s.example' }, cwd)
  assert.equal(code, 0)
  const config = JSON.parse(stdout)
  assert.deepEqual([config.auth.jwt_secret, config.server.allowed_origins, config.ice.stun_servers], ['***', ['https://a.example', 'https://b.example'], ['stun:s.example']])
})

test('token makes what the server accepts, doctor explains, export and import move a store', async () => {
  const minted = await run(['token', '--user', '1', '--name', 'Ada', '--role', 'admin'], { JWT_SECRET: secret })
  const me = await fetch(`${server.url}/api/me`, { headers: { authorization: `Bearer ${minted.stdout.trim()}` } })
  assert.equal((await me.json()).data.role, 'admin')
  const doctor = await run(['doctor'], { JWT_SECRET: secret, SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_SERVER__HOST: '127.0.0.1' })
  assert.equal(doctor.code, 0, doctor.stdout)
  for (const line of ['store', 'port', 'keys', 'origins', 'stun', 'turn']) assert.match(doctor.stdout, new RegExp(`^(ok|note|BAD) +${line}`, 'm'))
  const beside = await run(['doctor'], { JWT_SECRET: secret, SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_SERVER__HOST: '127.0.0.1', SWITCHBOARD_SERVER__PORT: String(server.port) })
  assert.match(beside.stdout, /^ok +port +\S+ is in use by switchboard \S+, up for \d+ s: OK, store Embedded$/m)

  const cwd = folder()
  const exported = await run(['export', join(cwd, 'dump'), '--data', server.data], { JWT_SECRET: secret })
  assert.equal(exported.code, 0, exported.stderr)
  const imported = await run(['import', join(cwd, 'dump'), '--data', join(cwd, 'copy')], { JWT_SECRET: secret })
  assert.equal(imported.code, 0, imported.stderr)
  await run(['export', join(cwd, 'again'), '--data', join(cwd, 'copy')], { JWT_SECRET: secret })
  assert.equal(readFileSync(join(cwd, 'again'), 'utf8'), readFileSync(join(cwd, 'dump'), 'utf8'))
  assert.match((await run(['import', join(cwd, 'dump'), '--data', join(cwd, 'copy')], { JWT_SECRET: secret })).stderr, /not empty/)
})

test('health, readiness, info, metrics and the descriptions answer', async () => {
  assert.equal((await server.rest(null, 'GET', '/livez')).text, 'ok')
  assert.deepEqual((await server.rest(null, 'GET', '/readyz')).json, { checks: { store: true, draining: false } })
  const admin = { authorization: `Bearer ${token(9, { role: 'admin' })}` }
  const opened = await server.rest(null, 'POST', '/api/rooms', { roomId: 'counted' }, admin)
  assert.deepEqual([opened.status, opened.json.meta.code, opened.headers.get('location')], [201, 201, '/api/rooms/counted'])
  const { json: health } = await server.rest(null, 'GET', '/health')
  assert.deepEqual([health.storage, health.statistics.activeRooms], ['sqlite', 1])
  assert.deepEqual([health.status, health.database, typeof health.statistics.onlineUsers], ['OK', 'Embedded', 'number'])
  const detailed = await fetch(`${server.url}/health`, { headers: { authorization: `Bearer ${token(9, { role: 'admin' })}` } })
  assert.ok(Array.isArray((await detailed.json()).statistics.onlineUsers))
  const { json: about } = await server.rest(null, 'GET', '/api/info')
  assert.equal(about.protocol, 2)
  for (const part of ['rooms', 'recording', 'whip', 'whep']) assert.equal(about.features[part], true, part)
  assert.equal((await server.rest(null, 'GET', '/metrics')).status, 401)
  assert.equal((await server.rest(1, 'GET', '/metrics')).status, 403)
  const scraped = await fetch(`${server.url}/metrics`, { headers: { authorization: 'Bearer scrape-me-with-this-token' } })
  const text = await scraped.text()
  for (const name of ['calls_active', 'call_setup_seconds', 'socket_connections', 'message_ack_seconds', 'slow_consumers_total', 'auth_failures_total', 'rtp_packets_total', 'recording_active', 'build_info', 'draining', 'process_memory_bytes']) {
    assert.match(text, new RegExp(`^rtc_${name}`, 'm'), name)
  }
  assert.doesNotMatch(text, /^rtc_turn_/m, 'the embedded relay is off')
  const openapi = (await server.rest(null, 'GET', '/api/openapi.json')).json
  assert.match(openapi.openapi, /^3\.1/)
  assert.ok(openapi.paths['/api/chat/messages/{withUserId}'].get && openapi.paths['/api/calls/webrtc-config'].get)
  const refs = [...JSON.stringify(openapi).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name)
  for (const name of refs) assert.ok(openapi.components.schemas[name], `schema ${name}`)
  const asyncapi = (await server.rest(null, 'GET', '/api/asyncapi.json')).json
  const events = [...JSON.stringify(asyncapi).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name)
  for (const name of events) assert.ok(asyncapi.components.schemas[name], `schema ${name}`)
})

test('ICE servers carry a credential that coturn would accept', async () => {
  const { json } = await server.rest(1, 'GET', '/api/calls/webrtc-config')
  const relay = json.data.iceServers.at(-1)
  const { createHmac } = await import('node:crypto')
  assert.equal(relay.credential, createHmac('sha1', 'coturn-has-it-too-Zk4vQ81w').update(relay.username).digest('base64'))
  const [expiry, user] = relay.username.split(':')
  assert.ok(Number(expiry) > Date.now() / 1000 + 3500 && user === '1')
})

test('people are told of each other once they know each other, with a grace', async () => {
  const [ada, ben] = [await server.connect(1, { auth: { cursor: 'new' } }), await server.connect(2, { auth: { cursor: 'new' } })]
  // Others are notified after the newcomer has the states of them.
  await next(ben, 'presence:snapshot')
  await settled(ben)
  await settled(ada)
  assert.equal(ada.events.filter(({ name }) => name === 'user:status').length, 0, 'strangers are not told')
  await ask(ada, 'message:send', { toUserId: 2, content: 'hello' })
  // One who is away for less than the grace was there all the time.
  await gone(server, 2, ben)
  const within = await server.connect(2, { auth: { cursor: 'new' } })
  await next(within, 'presence:snapshot')
  await settled(within)
  await settled(ada)
  assert.equal(ada.events.filter(({ name }) => name === 'user:status').length, 0, 'not within the grace')
  within.close()
  const left = await next(ada, 'user:status')
  assert.deepEqual([left.userId, left.isOnline, left.presence], [2, false, 'offline'])
  const back = await server.connect(2, { auth: { cursor: 'new' } })
  assert.equal((await next(ada, 'user:status')).isOnline, true)
  assert.deepEqual((await next(back, 'presence:snapshot')).states.map((state) => [state.userId, state.isOnline]), [[1, true]])
  await ask(back, 'presence:set', { presence: 'dnd', statusText: 'in a meeting' })
  const dnd = await next(ada, 'user:status', (state) => state.presence === 'dnd')
  assert.equal(dnd.statusText, 'in a meeting')
  // Asking gives nobody more than the audience does.
  assert.deepEqual((await ask(ada, 'presence:subscribe', { userIds: [4] })).states, [])
  assert.ok((await ask(ada, 'message:send', { toUserId: 4, content: 'hello' })).ok)
  const { states } = await ask(ada, 'presence:subscribe', { userIds: [4] })
  assert.deepEqual(states.map((state) => [state.userId, state.isOnline]), [[4, false]])
  const dora = await server.connect(4, { auth: { cursor: 'new' } })
  assert.equal((await next(ada, 'user:status', (state) => state.userId === 4)).isOnline, true)

  const { call } = await ask(ada, 'call:initiate', { toUserId: 2 })
  await ask(back, 'call:respond', { callId: call.callId, response: 'accept' })
  assert.equal((await next(back, 'user:status', (state) => state.userId === 1)).inCall, true)
  await ask(ada, 'call:end', { callId: call.callId })
  assert.equal((await next(back, 'user:status', (state) => state.userId === 1 && !state.inCall)).inCall, false)
  ada.close(); back.close(); dora.close()
})

test('a session ends with its token, unless it brings a fresh one', async () => {
  const soon = () => Math.floor(Date.now() / 1000) + 2
  const lasting = await server.connect(1, { auth: { token: token(1, { exp: soon() }) } })
  await next(lasting, 'session:token-expiring')
  assert.equal((await ask(lasting, 'session:refresh', { token: token(2) })).reason, 'IDENTITY_MISMATCH')
  const refreshed = await ask(lasting, 'session:refresh', { token: token(1) })
  assert.ok(Date.parse(refreshed.expiresAt) > Date.now() + 60_000)
  const ending = await server.connect(2, { auth: { token: token(2, { exp: Math.floor(Date.now() / 1000) - 28 }) } })
  assert.equal((await next(ending, 'session:closed', () => true, 6000)).reason, 'TOKEN_EXPIRED')
  await until(() => !ending.connected, 'the session is over')
  assert.equal(lasting.connected, true)
  lasting.close()
})

test('the eleventh session replaces the oldest, and one can be ended by REST', async () => {
  const sockets = []
  for (let n = 0; n < 11; n += 1) sockets.push(await server.connect(3, { auth: { deviceId: `d${n}` } }))
  assert.equal((await next(sockets[0], 'session:closed')).reason, 'REPLACED')
  const { json } = await server.rest(3, 'GET', '/api/sessions')
  assert.equal(json.data.length, 10)
  await server.rest(3, 'DELETE', `/api/sessions/${sockets[5].ready.sessionId}`)
  assert.equal((await next(sockets[5], 'session:closed')).reason, 'KICKED')
  sockets.forEach((socket) => socket.close())
})

test('devices are registered, listed without their tokens, and forgotten by their owner only', async () => {
  const made = await server.rest(1, 'POST', '/api/devices', { deviceId: 'phone', platform: 'ios', pushToken: 'secret-push-token', name: 'Phone' })
  assert.deepEqual([made.json.data.hasPush, made.json.data.hasVoip, made.text.includes('secret-push-token')], [true, false, false])
  assert.deepEqual((await server.rest(1, 'GET', '/api/devices')).json.data.map((device) => device.deviceId), ['phone'])
  assert.equal((await server.rest(1, 'POST', '/api/devices', { deviceId: 'x', platform: 'toaster' })).json.details.field, 'platform')
  assert.equal((await server.rest(2, 'DELETE', '/api/devices/phone')).status, 404)
  assert.equal((await server.rest(1, 'DELETE', '/api/devices/phone')).status, 200)
  assert.deepEqual((await server.rest(1, 'GET', '/api/devices')).json.data, [])
})

test('nothing secret and no text of a message is in the log', async () => {
  const canary = 'canary-in-a-message'
  const ada = await server.connect(1, { auth: { cursor: 'new' } })
  await ask(ada, 'message:send', { toUserId: 2, content: canary })
  await server.rest(1, 'POST', '/api/chat/messages', { toUserId: 2, content: canary, x: '\r\nforged' })
  await server.rest(null, 'GET', `/api/me?token=${token(1)}&x=canary-in-a-query`)
  ada.close()
  // What is written after all of that is there.
  const lines = server.log.split('\n').length
  assert.equal((await server.rest(null, 'GET', '/no/such/page')).status, 404)
  await until(() => server.log.split('\n').length > lines && server.log.endsWith('\n'), 'the log of it')
  for (const canary of ['canary-in', secret, 'shared-with-coturn', 'scrape-me', token(1).slice(0, 60), 'u1@example.net']) {
    assert.equal(server.log.includes(canary), false, canary)
  }
  for (const line of server.log.trim().split('\n')) assert.equal(typeof JSON.parse(line).level, 'string')
})

test('the backend writes accounts with its key or a service token', async () => {
  const answer = await fetch(`${server.url}/api/users/77`, { method: 'PUT', headers: { authorization: `Bearer ${token(9, { role: 'service' })}`, 'content-type': 'application/json' }, body: JSON.stringify({ uid: 'u-77', email: 'x@example.net', name: 'Xenia' }) })
  assert.equal((await answer.json()).data.name, 'Xenia')
  const ack = await server.rest(1, 'POST', '/api/chat/messages', { toUserId: 77, content: 'welcome' })
  assert.equal(ack.status, 200)
})

test('SIGTERM: not ready, sockets told to come back, running requests answered, exit 0; a second signal at once', async () => {
  const own = await Server.start({ env: { SWITCHBOARD_SERVER__DRAIN_DELAY: '1' } })
  await own.people(1, 2)
  const ada = await own.connect(1, { auth: { cursor: 'new' } })
  own.process.kill('SIGTERM')
  await until(async () => (await own.rest(null, 'GET', '/readyz')).status === 503, 'not ready')
  assert.equal((await own.rest(null, 'GET', '/health')).json.status, 'DRAINING')
  const sent = await ask(ada, 'message:send', { toUserId: 2, content: 'still served' })
  assert.equal(sent.ok, true)
  assert.match(await own.connect(2).then(() => 'connected', (error) => error.message), /\[DRAINING\]$/)
  const closed = await next(ada, 'session:closed')
  assert.deepEqual([closed.reason, closed.reconnectAfterMs], ['SERVER_DRAIN', 2000])
  assert.deepEqual(await own.exited, { code: 0, signal: null })

  const hasty = await Server.start({ env: { SWITCHBOARD_SERVER__DRAIN_DELAY: '60' } })
  hasty.process.kill('SIGINT')
  await until(async () => (await hasty.rest(null, 'GET', '/readyz')).status === 503, 'it drains, for a minute')
  let ended
  hasty.stop('SIGTERM').then((how) => (ended = how))
  assert.deepEqual(await until(() => ended, 'the end at the second signal'), { code: 0, signal: null })
})

test('introspection asks the backend, takes the identity from its answer only, and keeps it', async () => {
  const { createServer } = await import('node:http')
  let asked = 0
  const backend = createServer((request, response) => {
    asked += 1
    assert.equal(request.url, '/get-other-parent/')
    const good = request.headers.authorization === 'Bearer opaque-7'
    response.statusCode = good ? 200 : 401
    response.end(JSON.stringify(good ? { data: { user_id: 7, email: 'a@example.net', name: 'Ada', parent_type: 'residing_parent', uid: 'u7' } } : {}))
  })
  await new Promise((resolve) => backend.listen(0, '127.0.0.1', resolve))
  const own = await Server.start({ env: { SWITCHBOARD_AUTH__MODE: 'introspect', DJANGO_BASE_URL: `http://127.0.0.1:${backend.address().port}` } })
  const me = (bearer) => fetch(`${own.url}/api/me`, { headers: { authorization: `Bearer ${bearer}` } }).then(async (answer) => ({ status: answer.status, json: await answer.json() }))
  const first = await me('opaque-7')
  assert.deepEqual([first.json.data.userId, first.json.data.name, first.json.data.userType], [7, 'Ada', 'residing_parent'])
  await me('opaque-7')
  assert.equal(asked, 1, 'the answer is kept')
  assert.equal((await me('other')).status, 401)
  backend.close()
  backend.closeAllConnections()
  const down = await me('third')
  assert.deepEqual([down.status, down.json.reason], [503, 'UNAVAILABLE'])
  await own.stop()
})

test('an account that is new, a poll, a page by cursor and the unread counts agree', async () => {
  const own = server
  for (let n = 0; n < 5; n += 1) await own.rest(2, 'POST', '/api/chat/messages', { toUserId: 3, content: `r${n}` })
  const count = (await own.rest(3, 'GET', '/api/chat/messages/unread/count')).json.data
  assert.equal(count.unreadCount, 5)
  const [conversation] = (await own.rest(3, 'GET', '/api/chat/conversations')).json.data
  assert.deepEqual([conversation._id, conversation.unreadCount, conversation.lastMessage, conversation.otherUser.name], [2, 5, 'r4', 'User 2'])
  assert.equal(count.byConversation[conversation.conversationId], 5)
  const page = await own.rest(3, 'GET', '/api/chat/messages/2?limit=2&page=2&markRead=false')
  assert.deepEqual(page.json.data.map((message) => message.content), ['r1', 'r2'])
  assert.deepEqual([page.json.meta.page, page.json.meta.total], [2, 5])
  const newer = await own.rest(3, 'GET', `/api/chat/messages/2?after=${page.json.meta.nextCursor}&markRead=false`)
  assert.deepEqual(newer.json.data.map((message) => message.content), ['r3', 'r4'])
  assert.equal((await own.rest(3, 'GET', '/api/chat/messages/2?before=nonsense')).json.reason, 'INVALID_CURSOR')
  const sender = await own.connect(2, { auth: { cursor: 'new' } })
  await own.rest(3, 'GET', '/api/chat/messages/2')
  assert.equal((await next(sender, 'message:read')).byUserId, 3, 'reading tells the sender')
  assert.equal((await own.rest(3, 'GET', '/api/chat/messages/unread/count')).json.data.unreadCount, 0)
  sender.close()
})

test('an erased person is gone, also after a restart in the middle, and cannot come back', async () => {
  const own = await Server.start()
  await own.people(61, 62)
  const [ada, ben] = [await own.connect(61, { auth: { cursor: 0 } }), await own.connect(62, { auth: { cursor: 0 } })]
  await own.rest(61, 'POST', '/api/devices', { deviceId: 'phone', platform: 'ios', pushToken: 'a push token' })
  for (let n = 0; n < 30; n++) {
    await ask(ada, 'message:send', { toUserId: 62, content: `personal ${n}` })
    await ask(ben, 'message:send', { toUserId: 61, content: `of the other ${n}` })
  }
  const service = { authorization: `Bearer ${token(1, { role: 'service' })}` }
  assert.equal((await own.rest(61, 'DELETE', '/api/users/61')).status, 403)
  assert.equal((await own.rest(null, 'DELETE', '/api/users/999', undefined, service)).json.reason, 'UNKNOWN_USER')
  assert.equal((await own.rest(null, 'DELETE', '/api/users/61?erase=everything', undefined, service)).json.details.field, 'erase')
  const begun = await own.rest(null, 'DELETE', '/api/users/61?erase=messages,recordings', undefined, service)
  assert.equal(begun.status, 202)
  await own.crash()
  const { jobId } = begun.json.data
  const done = await until(async () => {
    const { data } = (await own.rest(null, 'GET', `/api/jobs/${jobId}`, undefined, service)).json
    return data.state === 'done' && data
  }, 'the job is done')
  assert.deepEqual(done, { jobId, state: 'done', progress: 100 })
  assert.equal((await own.rest(61, 'GET', '/api/me')).json.reason, 'USER_DISABLED')
  const left = (await own.rest(62, 'GET', '/api/chat/users/61')).json.data
  assert.deepEqual([left.name, left.email], [null, undefined], JSON.stringify(left))
  const { data: messages } = (await own.rest(62, 'GET', '/api/chat/messages/61?limit=200&markRead=false')).json
  assert.equal(messages.length, 60)
  for (const message of messages) {
    assert.equal(message.content === '' && Boolean(message.deletedAt), message.fromUserId === 61, JSON.stringify(message))
  }
  ben.close()
  await own.stop()
})

// The media port and the negotiation under attack, while a live room goes on: libwebrtc sends, libwebrtc receives, and every attack
// is judged by whether pictures and sound kept arriving.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHmac, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { after, before, test } from 'node:test'
import { Server, ask, grown, until } from './support/server.mjs'
import { plainOffer, whipClient } from './support/whip-client.mjs'

/** Random datagrams a second; 100000 is for an optimized server on a quiet machine. */
const FLOOD = Number(process.env.FLOOD_PPS ?? 20_000)
let server
let port
let publisher
let viewer
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_TURN__MODE: 'off', SWITCHBOARD_MEDIA__WORKERS: '2' } })
  port = Number(server.media.split(':').pop())
  await server.people(7, 8, 9)
  publisher = whipClient(server, 'publish', 7, 'live')
  await until(() => publisher.says('connected'), 'the publisher is connected')
  viewer = whipClient(server, 'view', 8, 'live')
  await until(() => viewer.frames('video') >= 10, 'pictures arrive')
})
after(async () => {
  publisher?.kill()
  viewer?.kill()
  await server?.stop()
})

/** Runs an attack; what the publisher sent meanwhile and after it arrived. */
async function unaffected(attack) {
  const kinds = { video: 0.5, audio: 0.7 }
  const count = () => Object.keys(kinds).map((kind) => [publisher.sent(kind), viewer.frames(kind)])
  const before = count()
  await attack()
  await grown(() => publisher.sent('video'), 20, 'pictures sent after the attack')
  await grown(() => viewer.frames('video'), 10, 'pictures seen after the attack')
  count().forEach(([sent, seen], n) => {
    const [kind, share] = Object.entries(kinds)[n]
    const [more, arrived] = [sent - before[n][0], seen - before[n][1]]
    assert.ok(arrived > more * share, `${arrived} of ${more} pieces of ${kind} arrived`)
  })
}

/** A binding request (RFC 8489), with an integrity of any password. */
function check(username, password, { attributes = [], lie = 0 } = {}) {
  const attribute = (type, value) => {
    const padded = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4)
    padded.writeUInt16BE(type, 0)
    padded.writeUInt16BE(value.length, 2)
    value.copy(padded, 4)
    return padded
  }
  const body = Buffer.concat([attribute(6, Buffer.from(username)), ...attributes.map(([type, value]) => attribute(type, value))])
  const header = Buffer.concat([Buffer.from([0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]), randomBytes(12)])
  header.writeUInt16BE(body.length + 24, 2)
  const integrity = createHmac('sha1', password).update(header).update(body).digest()
  const message = Buffer.concat([header, body, attribute(8, integrity)])
  message.writeUInt16BE(message.length - 20 + lie, 2)
  return message
}

/** Sends a check that is in order until its answer comes: what the socket sent before has been dealt with then. */
async function answered(socket, replies, { ufrag, pwd }) {
  const markers = []
  const ours = (message) => markers.some((marker) => message.subarray(4, 20).equals(marker.subarray(4, 20)))
  await until(() => {
    const marker = check(`${ufrag}:abcd`, pwd)
    markers.push(marker)
    socket.send(marker, port, '127.0.0.1')
    return replies.some(ours)
  }, 'the answer to a check in order')
  return replies.filter((message) => !ours(message))
}

/** Sends datagrams and gives what came back before the answer to a check of the session `known` that was sent after them. */
async function exchange(datagrams, known) {
  const socket = createSocket('udp4')
  const replies = []
  socket.on('message', (message) => replies.push(message))
  for (const [n, datagram] of datagrams.entries()) {
    socket.send(datagram, port, '127.0.0.1')
    if (n % 100 === 0) await new Promise(setImmediate)
  }
  const others = await answered(socket, replies, known)
  socket.close()
  return others
}

/** A session by WHIP that nobody has connected to yet: what its checks are made of. */
async function session() {
  const made = await server.rest(9, 'POST', '/whip/attacked', offer(), { 'content-type': 'application/sdp' })
  assert.equal(made.status, 201, made.text)
  const [, ufrag] = made.text.match(/a=ice-ufrag:(\S+)/)
  const [, pwd] = made.text.match(/a=ice-pwd:(\S+)/)
  assert.ok(ufrag.length >= 4 && pwd.length >= 22)
  return { ufrag, pwd }
}

test(`${FLOOD} random datagrams a second`, () => unaffected(async () => {
  const before = server.memory()
  const script = `
import os, socket, sys, time, random
out = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(64)]
for s in out: s.connect(("127.0.0.1", ${port}))
firsts = [bytes([f]) for f in (0, 1, 22, 23, 63, 128, 144, 191, 255)]
noise = [random.choice(firsts) + os.urandom(random.randrange(0, 1500)) for _ in range(999)] + [b""]
sent, begun = 0, time.monotonic()
while time.monotonic() < begun + 4:
    for n in range(200):
        try: out[sent % 64].send(noise[sent % 1000])
        except OSError: pass
        sent += 1
    ahead = begun + sent / ${FLOOD} - time.monotonic()
    if ahead > 0: time.sleep(ahead) # paces load: so many datagrams a second
print(int(sent / (time.monotonic() - begun)))
`
  const child = spawn('python3', ['-c', script])
  let rate = ''
  child.stdout.on('data', (text) => (rate += text))
  await new Promise((resolve) => child.on('exit', resolve))
  assert.ok(Number(rate) > FLOOD * 0.8, `the flood itself reached ${rate}/s only`)
  assert.ok(server.memory() - before < 16_384, `memory grew by ${server.memory() - before} KiB`)
}))

test('checks with guessed names, wrong passwords, and lengths that lie get no answer', () => unaffected(async () => {
  const guesses = Array.from({ length: 5000 }, () => check(`${randomBytes(6).toString('base64')}:abcd`, randomBytes(18)))
  const known = await session()
  assert.deepEqual(await exchange(guesses, known), [])
  const { ufrag, pwd } = known
  const name = `${ufrag}:abcd`
  const wrong = {
    'another password': check(name, 'wrong'), 'a length too great': check(name, pwd, { lie: 4 }), 'a length too small': check(name, pwd, { lie: -4 }),
    'a length beyond all': check(name, pwd, { lie: 60_000 }), 'cut off': check(name, pwd).subarray(0, 30),
    '300 attributes': check(name, pwd, { attributes: Array.from({ length: 300 }, (_, n) => [0x7f00 + (n % 200), Buffer.alloc(0)]) }),
  }
  for (const [what, datagram] of Object.entries(wrong)) assert.deepEqual(await exchange([datagram], known), [], what)
  const right = check(name, pwd)
  const [answer] = await exchange([right], known)
  assert.equal(answer.readUInt16BE(0), 0x0101, 'the right password is answered')
  assert.ok(answer.length <= right.length * 1.5, 'an answer is not much longer than its question')
}))

test('DTLS and media from nobody, and from a source that only knows the password', () => unaffected(async () => {
  const known = await session()
  const record = (type, fragment) => Buffer.concat([Buffer.from([type, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0]), Buffer.from([fragment.length >> 8, fragment.length & 255]), fragment])
  const hello = (offset, length, part) => record(22, Buffer.concat([Buffer.from([1, length >> 16, (length >> 8) & 255, length & 255, 0, 0, 0, offset >> 8, offset & 255, 0, part.length >> 8, part.length & 255]), part]))
  const fragments = Array.from({ length: 3000 }, (_, n) => hello(n, 60_000, Buffer.from([0])))
  const media = Array.from({ length: 500 }, (_, n) => Buffer.concat([Buffer.from([128, 96, n >> 8, n & 255]), randomBytes(100)]))
  const alert = record(21, Buffer.from([1, 0]))
  assert.deepEqual(await exchange([...fragments, ...media, alert], known), [], 'nobody is answered who has not passed a check')

  const socket = createSocket('udp4')
  const replies = []
  socket.on('message', (message) => replies.push(message))
  await answered(socket, replies, known)
  for (const datagram of [...fragments, hello(0, 0xffffff, randomBytes(64)), hello(0, 0, Buffer.alloc(0)), alert, ...media]) socket.send(datagram, port, '127.0.0.1')
  await answered(socket, replies, known)
  assert.ok(replies.reduce((sum, reply) => sum + reply.length, 0) < 5000, 'little goes out for much that comes in')
  socket.close()
}))

test('TCP connections that are silent, babble, or send frames that are too long', () => unaffected(async () => {
  const silent = Array.from({ length: 300 }, () => connect(port, '127.0.0.1').on('error', () => {}))
  const closed = (bytes) => new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    socket.on('close', resolve).on('error', () => {})
  })
  await closed(Buffer.concat([Buffer.from([0x20, 0]), Buffer.alloc(100)]))
  await closed(Buffer.from([0, 0, 0, 0]))
  await closed(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
  await until(() => silent.slice(0, 200).every((socket) => socket.destroyed), 'silent connections are closed', 20_000)
}))

const offer = (change = (text) => text) => change(plainOffer('audio'))

test('descriptions that are bombs or nonsense are refused in words or answered quickly', () => unaffected(async () => {
  const add = (line, count) => (text) => text + Array.from({ length: count }, (_, n) => `${line(n)}\r\n`).join('')
  const swap = (from, to) => (text) => text.replace(from, to)
  const before = server.memory()
  const bombs = {
    'too long': [add(() => `a=x:${'y'.repeat(1000)}`, 140), [413]],
    '10 MB': [add(() => `a=x:${'y'.repeat(1000)}`, 10_000), [413]],
    'many sections': [add((n) => `m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:${n + 1}`, 1000), [400, 413, 422]],
    'many candidates': [add((n) => `a=candidate:${n} 1 udp 1 10.0.0.1 ${n + 1} typ host`, 1000), [201]],
    'many lines': [add(() => 'a=x', 10_000), [400]],
    'many codecs': [add((n) => `a=rtpmap:${n % 128} X/8000`, 1000), [201]],
    'many extensions': [add((n) => `a=extmap:${n} urn:x:${n}`, 500), [201]],
    'the same name twice': [(text) => text + text.slice(text.indexOf('m=audio')), [400, 201]],
    'a long name': [swap('a=mid:0', `a=mid:${'m'.repeat(10_000)}`), [400, 201]],
    'a bundle of nobody': [swap('BUNDLE 0', 'BUNDLE 7 8 9'), [400, 201]],
    'payload type 200': [swap(/111/g, '200'), [400, 422]],
    'clock 0': [swap('48000', '0'), [201, 400]],
    'extension 0': [add(() => 'a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid', 1), [201]],
    'extension 256': [add(() => 'a=extmap:256 urn:ietf:params:rtp-hdrext:sdes:mid', 1), [201]],
    'ssrc beyond 32 bits': [add(() => 'a=ssrc:4294967296 cname:x', 1), [201, 400]],
    'a fingerprint of md5': [swap(/sha-256 \S+/, 'md5 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99'), [400]],
    'no fingerprint': [swap(/a=fingerprint.*\r\n/, ''), [400]],
    'no password (a lite side needs none of the other)': [swap(/a=ice-pwd.*\r\n/, ''), [201, 400]],
    'a short fingerprint': [swap(/sha-256 \S+/, 'sha-256 AA:BB'), [400]],
    'nothing': [() => '', [400]],
    'zeroes': [() => '\0'.repeat(1000), [400]],
  }
  for (const [what, [change, wanted]] of Object.entries(bombs)) {
    const answer = await server.rest(9, 'POST', '/whip/attacked', offer(change), { 'content-type': 'application/sdp' })
    assert.ok(wanted.includes(answer.status), `${what}: ${answer.status} ${answer.text.slice(0, 200)}`)
    if (answer.status === 201) await server.rest(9, 'DELETE', answer.headers.get('location'))
    else assert.ok(answer.json?.error.length > 10, `${what} is refused in words, not ${answer.text.slice(0, 100)}`)
  }
  assert.ok(server.memory() - before < 65_536, `memory grew by ${server.memory() - before} KiB`)
}))

/** openssl's own client as the peer of a connection: its datagrams go through a socket that has passed the check of ICE. */
async function handshake(options, folder) {
  const pem = `${folder}/client.pem`
  if (!existsSync(pem)) execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=t', '-days', '2', '-keyout', pem, '-out', `${pem}.crt`], { stdio: 'ignore' })
  const fingerprint = execFileSync('openssl', ['x509', '-in', `${pem}.crt`, '-noout', '-fingerprint', '-sha256'], { encoding: 'utf8' }).trim().split('=')[1]
  const made = await server.rest(9, 'POST', '/whip/openssl', plainOffer('video').replace(/(a=fingerprint:sha-256 )\S+/g, `$1${fingerprint}`), { 'content-type': 'application/sdp' })
  assert.equal(made.status, 201, made.text)
  const [[, ufrag], [, password]] = [made.text.match(/a=ice-ufrag:(\S+)/), made.text.match(/a=ice-pwd:(\S+)/)]
  const [outside, inside] = [createSocket('udp4'), createSocket('udp4')]
  let client
  let passed = false
  outside.on('message', (datagram) => {
    if (datagram[0] <= 3) passed = true
    else if (client) inside.send(datagram, client.port, client.address)
  })
  inside.on('message', (datagram, from) => {
    client = from
    outside.send(datagram, port, '127.0.0.1')
  })
  await new Promise((resolve) => inside.bind(0, '127.0.0.1', resolve))
  outside.send(check(`${ufrag}:abcd`, password), port, '127.0.0.1')
  await until(() => passed, 'the check is answered')
  const openssl = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${inside.address().port}`, '-cert', `${pem}.crt`, '-key', pem, ...options])
  let said = ''
  for (const stream of [openssl.stdout, openssl.stderr]) stream.on('data', (text) => (said += text))
  // A handshake that is through says so, and one that an alert ends does; one that is left without an answer is given up.
  let over = false
  openssl.on('exit', () => (over = true))
  await until(() => over || /Cipher is \S+\n/.test(said), 'the end of the handshake', 2500).catch(() => {})
  openssl.kill('SIGKILL')
  for (const socket of [outside, inside]) socket.close()
  await server.rest(9, 'DELETE', made.headers.get('location'))
  return { cipher: said.match(/Cipher is (\S+)/)?.[1] ?? '(NONE)', said }
}

test('old versions of DTLS, weak ciphers and handshakes without SRTP are refused', () => unaffected(async () => {
  const folder = mkdtempSync(`${tmpdir()}/openssl-`)
  try {
    const srtp = ['-use_srtp', 'SRTP_AEAD_AES_128_GCM']
    const sound = await handshake(['-dtls1_2', ...srtp], folder)
    assert.match(sound.cipher, /GCM|CHACHA20/, `the client itself works: ${sound.said}`)
    for (const weak of [
      ['-dtls1', ...srtp, '-cipher', 'ALL:@SECLEVEL=0'],
      ['-dtls1_2', ...srtp, '-cipher', 'aNULL:@SECLEVEL=0'],
      ['-dtls1_2', ...srtp, '-cipher', 'eNULL:@SECLEVEL=0'],
      ['-dtls1_2', ...srtp, '-cipher', 'AES128-SHA:AES256-SHA:DES-CBC3-SHA:@SECLEVEL=0'],
      ['-dtls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
    ]) {
      const { cipher, said } = await handshake(weak, folder)
      assert.equal(cipher, '(NONE)', `${weak}: ${said}`)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}))

test('a certificate that is not the one of the description gets no connection', () => unaffected(async () => {
  const impostor = whipClient(server, 'publish', 9, 'live', { env: { SPOIL_FINGERPRINT: '1' } })
  await until(() => impostor.says('failed') || impostor.says('closed') || impostor.says('disconnected'), 'the connection fails', 30_000)
  assert.ok(!impostor.says('connected'))
  impostor.kill()
}))

test('sessions, tracks and rights of others are out of reach', () => unaffected(async () => {
  const [ada, eve] = [await server.connect(7), await server.connect(9)]
  const mine = await ask(ada, 'room:join', { roomId: 'live' })
  const theirs = await ask(eve, 'room:join', { roomId: 'live' })
  assert.ok(mine.ok && theirs.ok)
  const { sessionId } = mine
  const track = theirs.participants.flatMap(({ tracks }) => tracks)[0].trackId
  for (const [name, payload] of Object.entries({
    'room:leave': {}, 'room:publish': { offer: { type: 'offer', sdp: offer() }, tracks: [] }, 'room:answer': { rev: 1, answer: { type: 'answer', sdp: offer() } },
    'room:subscribe': { trackIds: [track] }, 'room:ice-restart': { target: 'subscribe' }, 'room:ice-candidate': { target: 'publish', candidate: null },
    'room:data': { topic: 'x', payload: 'y' }, 'room:hand': { raised: true }, 'room:metadata': { metadata: {} },
  })) {
    const refused = await ask(eve, name, { sessionId, ...payload })
    assert.equal(refused.ok, false, `${name} with a session of somebody else`)
    assert.equal(refused.reason, 'NOT_FOUND', name)
  }
  const own = theirs.sessionId
  for (const [name, payload] of Object.entries({
    'room:kick': { participantId: mine.self.participantId }, 'room:mute-remote': { participantId: mine.self.participantId, kind: 'audio' },
    'room:lock': { locked: true }, 'room:end': {}, 'room:admit': { participantId: mine.self.participantId, admit: true },
  })) {
    assert.equal((await ask(eve, name, { sessionId: own, ...payload })).reason, 'NOT_A_MODERATOR', name)
  }
  assert.equal((await ask(eve, 'room:mute', { sessionId: own, trackId: track, muted: true })).ok, false, 'a track of somebody else')
  assert.equal((await ask(eve, 'room:join', { roomId: 'live', resume: { sessionId, secret: 'guessed', lastSeq: 0 } })).reason, 'RESUME_FAILED')
  for (const socket of [ada, eve]) socket.close()
}))

test('a hundred renegotiations at once, and answers to nothing', () => unaffected(async () => {
  const eve = await server.connect(9)
  const { sessionId } = await ask(eve, 'room:join', { roomId: 'busy' })
  const tracks = [{ mid: '0', source: 'microphone' }]
  const all = await Promise.all(Array.from({ length: 100 }, () => ask(eve, 'room:publish', { sessionId, offer: { type: 'offer', sdp: offer() }, tracks })))
  for (const answer of all) assert.ok(answer.ok || answer.reason === 'RATE_LIMITED', JSON.stringify(answer))
  assert.ok(all.some(({ ok }) => ok))
  const [{ room }] = [await ask(eve, 'room:join', { roomId: 'busy' })]
  assert.equal(room.tracks, 1, 'one section is one track, however often it is offered')
  assert.equal((await ask(eve, 'room:answer', { sessionId, rev: 99, answer: { type: 'answer', sdp: offer() } })).ok, false)
  const other = await ask(eve, 'room:publish', { sessionId, offer: { type: 'offer', sdp: offer((text) => text.replace('a=mid:0', 'a=mid:1').replace('BUNDLE 0', 'BUNDLE 1')) }, tracks })
  assert.equal(other.ok, false, 'a section does not turn into another')
  eve.close()
}))

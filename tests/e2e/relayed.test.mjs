// Calls of two through the server (`media: "relay"`), by clients that do not know of it: the original's phone code with
// libwebrtc, and tabs of Chromium.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { frames, launch, page, seeing, videoCall } from './support/browser.mjs'
import { phone } from './support/phones.mjs'
import { Server, ask, next, root, until } from './support/server.mjs'

const shots = `${root}/test-results`
let server
before(async () => {
  mkdirSync(shots, { recursive: true })
  server = await Server.start({ env: { STUN_SERVER: '', SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_CALL__MEDIA: 'relay' } })
  await server.people(7, 8)
})
after(() => server?.stop())

/** Both phones are in a call, hear each other, and see each other where they send pictures. */
async function connected(ada, ben, pictures) {
  await Promise.all([next(ada, 'connect'), next(ben, 'connect')])
  ada.say({ dial: 8 })
  const { callId } = await next(ben, 'call:incoming')
  for (const side of [ada, ben]) {
    await next(side, 'state', (state) => state === 'connected', 15000)
    await next(side, 'hears', () => true, 15000)
    if (pictures) await next(side, 'sees', () => true, 15000)
  }
  return callId
}

test('two clients of the original complete a call through the server', async () => {
  const [ada, ben] = [phone(server, 7, 'video'), phone(server, 8, 'video')]
  try {
    const callId = await connected(ada, ben, true)
    for (const side of [ada, ben]) {
      side.say({ where: true })
      const { port, directions } = await next(side, 'where')
      assert.equal(String(port), server.media.split(':').pop(), 'the way ends at our media port')
      assert.deepEqual(directions, ['sendrecv', 'sendrecv'])
    }
    const call = await server.rest(7, 'GET', `/api/calls/${callId}`)
    assert.equal(call.json.data.media, 'relay')
    ada.say({ hangup: true })
    assert.equal((await next(ben, 'call:ended')).endReason, 'hangup')
  } finally {
    ada.close(); ben.close()
  }
})

test('hold, video that is added and ICE restarts go through to the other side', async () => {
  const [ada, ben] = [phone(server, 7), phone(server, 8)]
  try {
    await connected(ada, ben, false)
    ben.say({ add: true })
    await next(ada, 'sees', () => true, 15000)
    const directions = async (side) => {
      side.say({ where: true })
      return (await next(side, 'where')).directions
    }
    ada.say({ hold: true })
    await until(async () => (await directions(ben)).every((one) => one === 'inactive'), 'ben is on hold')
    ada.say({ hold: false })
    await until(async () => (await directions(ben))[0] === 'sendrecv', 'ben is back')
    for (const side of [ada, ben]) side.events.length = 0
    ada.say({ restart: true })
    await next(ada, 'answered')
    ben.say({ add: true })
    await next(ben, 'answered')
    ben.events.length = 0
    ada.say({ add: true })
    await next(ben, 'sees', () => true, 15000)
    ada.say({ hangup: true })
    await next(ben, 'call:ended')
  } finally {
    ada.close(); ben.close()
  }
})

test('two tabs of Chromium, and one with the original, complete a call through the server', async () => {
  const own = await Server.start({ args: ['--dev'], env: { SWITCHBOARD_CALL__MEDIA: 'relay' } })
  const browser = await launch()
  const tab = (user, other) => page(browser, `${own.url}/demo?u=${user}&with=${other}&media=test`)
  try {
    const [ada, ben] = [await tab(101, 102), await tab(102, 101)]
    await videoCall(ada, ben)
    await seeing([ada, ben])
    await ada.screenshot({ path: `${shots}/call-relayed.png` })
    await ada.click('#hangup')
    await ben.locator('#call').waitFor({ state: 'hidden' })
    await ben.context().close()

    const old = phone(own, 102, 'video')
    await next(old, 'connect')
    await ada.click('#video')
    await next(old, 'call:incoming')
    await next(old, 'hears', () => true, 20000)
    await next(old, 'sees', () => true, 20000)
    await until(async () => await frames(ada, '#remote') > 20, 'decoded frames of the original', 20000)
    old.close()
    assert.deepEqual(ada.errors, [])
  } finally {
    await browser.close()
    await own.stop()
  }
})

/** Has a page's connections know no candidates of the other side but those that stand in descriptions. */
const cutOff = [() => {
  RTCPeerConnection.prototype.addIceCandidate = () => Promise.resolve()
}]

test('two tabs that find no way to each other go through the server', async () => {
  const own = await Server.start({ args: ['--dev'], env: { SWITCHBOARD_TURN__MODE: 'off' } })
  const browser = await launch()
  const tab = (user, other) => page(browser, `${own.url}/demo?u=${user}&with=${other}&media=test`, {}, cutOff)
  try {
    const [ada, ben] = [await tab(101, 102), await tab(102, 101)]
    const watch = await own.connect(0, { auth: { token: await devToken(own, 101), cursor: '0' } })
    await videoCall(ada, ben)
    const path = await next(watch, 'call:media-path', ({ media }) => media === 'relay', 20000)
    assert.equal(path.reason, 'ice-failed')
    await seeing([ada, ben])
    watch.close()
  } finally {
    await browser.close()
    await own.stop()
  }
})

const devToken = async (own, user) => (await (await fetch(`${own.url}/api/admin/dev-token?userId=${user}`)).json()).data.token

const sdp = (print, media) => [
  'v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', ...media.flatMap(([kind, codec], mid) => [
    `m=${kind} 9 UDP/TLS/RTP/SAVPF 96`, `a=mid:${mid}`, `a=rtpmap:96 ${codec}`, 'a=sendrecv', 'a=setup:actpass', 'a=rtcp-mux',
    'a=ice-ufrag:abcd', 'a=ice-pwd:0123456789012345678901', `a=fingerprint:sha-256 ${Array(32).fill(print).join(':')}`,
  ]), '',
].join('\r\n')

test('those who share no codec are told why, and the call is over', async () => {
  const [ada, ben] = [await server.connect(7), await server.connect(8)]
  const call = async () => {
    const { call } = await ask(ada, 'call:initiate', { toUserId: 8, callType: 'video' })
    assert.equal(call.media, 'relay')
    assert.ok((await ask(ben, 'call:respond', { callId: call.callId, response: 'accept' })).ok)
    return call.callId
  }
  const first = await call()
  const odd = await ask(ada, 'webrtc:offer', { callId: first, offer: { type: 'offer', sdp: sdp('AA', [['audio', 'speex/16000']]) } })
  assert.equal(odd.reason, 'CODEC_MISMATCH')
  assert.match(odd.error, /supported are opus/)
  assert.equal((await next(ben, 'call:failed')).code, 'CODEC_MISMATCH')
  assert.equal((await next(ben, 'call:ended')).endReason, 'failed')

  const second = await call()
  ada.emit('webrtc:offer', { callId: second, toUserId: 8, offer: { type: 'offer', sdp: sdp('AA', [['video', 'VP8/90000']]) } })
  const { offer } = await next(ben, 'webrtc:offer')
  assert.match(offer.sdp, /a=rtpmap:96 VP8\/90000/)
  const answer = sdp('BB', [['video', 'AV1/90000']]).replace(/actpass/g, 'active')
  const refused = await ask(ben, 'webrtc:answer', { callId: second, toUserId: 7, answer: { type: 'answer', sdp: answer } })
  assert.equal(refused.reason, 'CODEC_MISMATCH')
  assert.match((await next(ada, 'call:failed')).message, /vp8.*nothing is transcoded/)
  assert.equal((await next(ada, 'call:ended', ({ callId }) => callId === second)).endReason, 'failed')
  ada.close(); ben.close()
})

test('an offer before the acceptance waits for it; strangers and answers to nothing are refused; nobody escapes the policy', async () => {
  const [ada, ben] = [await server.connect(7), await server.connect(8)]
  await server.people(9)
  const eve = await server.connect(9)
  const { call } = await ask(ada, 'call:initiate', { toUserId: 8, callType: 'voice', media: 'p2p' })
  assert.equal(call.media, 'relay')
  const { callId } = call
  const offer = { type: 'offer', sdp: sdp('AA', [['audio', 'opus/48000/2']]) }
  assert.deepEqual(await ask(ada, 'webrtc:offer', { callId, toUserId: 8, offer }), { ok: true, delivered: false, buffered: true })
  await ask(ben, 'call:respond', { callId, response: 'accept' })
  assert.equal((await next(ben, 'call:media-path')).media, 'relay')
  const told = await next(ben, 'webrtc:offer')
  assert.deepEqual([told.fromUserId, told.toUserId], [7, 8])
  assert.match(told.offer.sdp, /a=ice-lite/)
  const answer = { type: 'answer', sdp: sdp('BB', [['audio', 'opus/48000/2']]).replace(/actpass/g, 'active') }
  assert.equal((await ask(eve, 'webrtc:answer', { callId, toUserId: 7, answer })).reason, 'CALL_NOT_FOUND')
  assert.ok((await ask(ben, 'webrtc:answer', { callId, toUserId: 7, answer })).ok)
  assert.match((await next(ada, 'webrtc:answer')).answer.sdp, /a=setup:passive/)
  assert.equal((await ask(ben, 'webrtc:answer', { callId, toUserId: 7, answer })).ok, false)
  for (const bad of ['v=0\r\n', 'v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n']) {
    assert.equal((await ask(ada, 'webrtc:offer', { callId, toUserId: 8, offer: { type: 'offer', sdp: bad } })).reason, 'SDP_INVALID')
  }
  ada.emit('call:end', { callId, toUserId: 8 })
  await next(ben, 'call:ended')
  for (const socket of [ada, ben, eve]) socket.close()
})

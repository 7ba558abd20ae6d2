// Group rooms through the SFU: tabs of Chromium, and Firefox beside them. Screenshots go to test-results/.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { advancing, launch, page } from './support/browser.mjs'
import { firefox } from './support/firefox.mjs'
import { plainOffer } from './support/whip-client.mjs'
import { Server, ask, next, root, token, until } from './support/server.mjs'

const shots = `${root}/test-results`
let server
let browser
before(async () => {
  mkdirSync(shots, { recursive: true })
  // Two workers, so that packets and connections arrive at the one that does not have their peer.
  server = await Server.start({ args: ['--dev'], env: { SWITCHBOARD_MEDIA__WORKERS: '2' } })
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

const tab = (user, room, options) => page(browser, `${server.url}/demo/room?u=${user}&room=${room}&width=960`, options)

/** Frames that each received picture of a tab has shown, by participant. */
const shown = (made) =>
  made.$$eval('.tile:not([data-mine]) video:not([hidden])', (videos) => videos.map((video) => ({
    who: video.closest('.tile').dataset.participant, frames: video.getVideoPlaybackQuality().totalVideoFrames, width: video.videoWidth,
  })))

/** Waits until a tab shows this many pictures, and all of them move. */
const moving = (made, count, within = 20_000) =>
  advancing(async () => (await shown(made)).map(({ who, frames }, n) => [`${n} ${who}`, frames]), count, 2, `${count} moving pictures`, within)

const stats = (made, which) => made.evaluate(async (which) => {
  const report = (await window.switchboardRoom().stats())[which]
  // A connection that is not opened yet has no report.
  return [...report?.values() ?? []].map((one) => ({ ...one }))
}, which)

/** Waits until this many received pictures are decoded, and go on being so: what Firefox tells of its video elements is no use. */
async function decoding(made, count, within = 20_000) {
  const pictures = async () => (await stats(made, 'receiving')).filter(({ type, kind, frameWidth }) => type === 'inbound-rtp' && kind === 'video' && frameWidth > 0)
  const first = new Map()
  await until(async () => {
    const now = await pictures()
    for (const { id, framesDecoded } of now) if (!first.has(id)) first.set(id, framesDecoded)
    return now.filter(({ id, framesDecoded }) => framesDecoded > first.get(id) + 2).length === count
  }, `${count} pictures decoded`, within)
}

test('three tabs in a room see and hear each other; layers, mute, late joiners, leaving', async () => {
  const ada = await tab(101, 'three')
  const ben = await tab(102, 'three')
  const cem = await tab(103, 'three', { colorScheme: 'dark' })
  for (const made of [ada, ben, cem]) await moving(made, 2)
  for (const made of [ada, ben, cem]) {
    const heard = (await stats(made, 'receiving')).filter(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio')
    assert.equal(heard.filter(({ packetsReceived }) => packetsReceived > 10).length, 2, 'hears both others')
  }
  await ada.screenshot({ path: `${shots}/room-grid.png` })
  await cem.click('#view')
  await cem.screenshot({ path: `${shots}/room-speaker.png` })

  // The publisher sends three layers; a viewer chooses.
  await until(async () => (await stats(ada, 'sending')).filter(({ type, kind, framesSent }) => type === 'outbound-rtp' && kind === 'video' && framesSent > 0).length === 3, 'three layers: a browser that was busy at the start takes a while to believe in its network', 60_000)
  const of = await ada.evaluate(() => window.switchboardRoom().own.participantId)
  const menu = ben.locator(`.tile[data-participant="${of}"] .size`)
  const width = async () => (await shown(ben)).find(({ who }) => who === of).width
  await menu.selectOption('f')
  await until(async () => (await width()) === 960, 'the high layer', 20_000)
  await menu.selectOption('q')
  await until(async () => (await width()) === 240, 'the low layer', 20_000)
  await menu.selectOption('f')
  await until(async () => (await width()) === 960, 'the high layer', 20_000)
  const encoders = (await stats(ada, 'sending')).filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video')
  assert.ok(encoders.some(({ pliCount }) => pliCount > 0), 'a new viewer asks the publisher for a keyframe')

  // A late joiner sees pictures within two seconds of entering.
  await cem.click('#leave')
  await until(async () => (await shown(ada)).length === 1, 'one picture less')
  await cem.locator('#enter').waitFor()
  await cem.click('#enter button.main')
  await moving(cem, 2, 4000)

  // Muting and a reload of the page.
  await ben.click('#mic')
  await ada.locator('.tile .marks', { hasText: '🔇' }).waitFor()
  await ben.reload()
  for (const made of [ada, ben, cem]) await moving(made, 2)
  for (const made of [ada, ben, cem]) assert.deepEqual(made.errors, [])
  for (const made of [ada, ben, cem]) await made.context().close()
})

test('one stream of three layers (VP9, AV1) is thinned for those who want less', async () => {
  for (const [n, [codec, mode]] of [['vp9', 'L3T3_KEY'], ['av1', 'L3T3']].entries()) {
    const ada = await tab(111, `scalable-${n}`)
    const ben = await tab(112, `scalable-${n}`)
    for (const made of [ada, ben]) await moving(made, 1)
    const trackId = await ada.evaluate(async ([codec, mode]) => {
      const room = window.switchboardRoom()
      const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } })
      const [video] = media.getVideoTracks()
      window.scalable = media
      const tracks = await room.publish(media, 'screen', { codec, scalability: mode })
      return tracks.at(-1).trackId
    }, [codec, mode])
    const coming = async () => (await stats(ben, 'receiving')).filter(({ type, kind, codecId }) => type === 'inbound-rtp' && kind === 'video' && codecId)
    const codecs = async () => Object.fromEntries((await stats(ben, 'receiving')).filter(({ type }) => type === 'codec').map(({ id, mimeType }) => [id, mimeType]))
    const width = async () => {
      const names = await codecs()
      return (await coming()).find(({ codecId }) => names[codecId]?.toLowerCase() === `video/${codec}`)?.frameWidth
    }
    const choose = (rid) => ben.evaluate(([trackId, rid]) => window.switchboardRoom().layer(trackId, rid), [trackId, rid])
    await until(async () => (await width()) === 640, `${codec} ${mode} whole`, 40_000)
    await choose('s0')
    await until(async () => (await width()) < 640, `${codec} ${mode} at its lowest layer`, 20_000)
    await choose('auto')
    await until(async () => (await width()) === 640, `${codec} ${mode} whole again`, 40_000)
    // A quarter of the pictures: the lowest temporal layer.
    await ben.evaluate((trackId) => window.switchboardRoom().layer(trackId, 'auto', { maxFps: 8 }), trackId)
    const rate = async () => (await coming()).find(({ frameWidth }) => frameWidth === 640)?.framesPerSecond
    await until(async () => (await rate()) > 0 && (await rate()) <= 12, `${codec} ${mode} with fewer pictures`, 20_000)
    await moving(ben, 2)
    for (const made of [ada, ben]) await made.context().close()
  }
})

test('Firefox and Chromium are in one room', async () => {
  const url = (user) => `${server.url}/demo/room?u=${user}&room=both&width=640`
  const ada = await tab(101, 'both')
  const { browser: fox, made: ben } = await firefox(url(102))
  try {
    const cem = await tab(103, 'both')
    for (const made of [ada, ben, cem]) await decoding(made, 2)
    await ben.screenshot({ path: `${shots}/room-firefox.png` })
    const heard = (await stats(ben, 'receiving')).filter(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio')
    assert.equal(heard.filter(({ packetsReceived }) => packetsReceived > 10).length, 2, 'Firefox hears both others')
    const sent = (await stats(ben, 'sending')).filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video')
    assert.ok(sent.some(({ pliCount }) => pliCount > 0), 'a new viewer asks Firefox for a keyframe')
    await ben.reload()
    await until(() => ben.evaluate(() => window.switchboardRoom?.() !== undefined), 'Firefox is in the room again', 20_000)
    for (const made of [ada, ben, cem]) await decoding(made, 2)
    for (const made of [ada, ben, cem]) assert.deepEqual(made.errors, [])
    for (const made of [ada, cem]) await made.context().close()
  } finally {
    await fox.close()
  }
})

test('who waits in the lobby is let in by a moderator, or is not', async () => {
  const admin = token(106, { role: 'admin', name: 'Ada' })
  const opened = await server.rest(undefined, 'POST', '/api/rooms', { roomId: 'lobby', lobby: true }, { authorization: `Bearer ${admin}` })
  assert.equal(opened.status, 201, opened.text)
  const ada = await page(browser, `${server.url}/demo/room`)
  await ada.fill('#name', 'lobby')
  await ada.$eval('#token', (field, token) => (field.value = token), admin)
  await ada.click('#enter button.main')
  await ada.locator('#room:not([hidden])').waitFor()
  const ben = await tab(107, 'lobby')
  await ben.locator('#problem', { hasText: 'Waiting' }).waitFor()
  await ada.screenshot({ path: `${shots}/room-lobby.png` })
  await ada.locator('#lobby button', { hasText: 'Let in' }).click()
  for (const made of [ada, ben]) await moving(made, 1)
  const cem = await tab(108, 'lobby')
  await ada.locator('#lobby button', { hasText: 'Refuse' }).click()
  await cem.locator('#problem', { hasText: 'not let you in' }).waitFor()
  for (const made of [ada, ben, cem]) await made.context().close()
})

test('somebody without an account comes in by a link, and into that room alone', async () => {
  const ada = await tab(113, 'guests')
  await ada.locator('#room:not([hidden])').waitFor()
  await ada.click('#invite')
  await ada.locator('#notice', { hasText: 'token=' }).waitFor()
  const link = (await ada.locator('#notice').textContent()).match(/http\S+/)[0]
  const eve = await page(browser, `${link.replace('?', '?width=320&')}`)
  for (const made of [ada, eve]) await moving(made, 1)
  await ada.screenshot({ path: `${shots}/room-guest.png` })
  const seen = await ada.evaluate(() => [...window.switchboardRoom().participants.values()].find(({ name }) => name === 'Guest'))
  assert.equal(seen.userId, null)
  // After a reload the same guest goes on.
  await eve.reload()
  for (const made of [ada, eve]) await moving(made, 1)

  const admin = { authorization: `Bearer ${token(106, { role: 'admin' })}` }
  assert.equal((await server.rest(undefined, 'POST', '/api/rooms', { roomId: 'elsewhere' }, admin)).status, 201)
  const room = new URLSearchParams(new URL(link).hash.slice(1)).get('token')
  const socket = await server.connect(0, { auth: { token: room, deviceId: 'one' } })
  assert.equal(socket.ready.userId, null)
  assert.equal((await ask(socket, 'message:send', { toUserId: 113, content: 'hello' })).reason, 'FORBIDDEN')
  assert.equal((await ask(socket, 'call:initiate', { toUserId: 113, callType: 'voice' })).reason, 'FORBIDDEN')
  for (const roomId of ['elsewhere', 'nowhere']) assert.equal((await ask(socket, 'room:join', { roomId })).ok, false, roomId)
  assert.ok((await ask(socket, 'room:join', { roomId: 'guests' })).ok)
  for (const path of ['/api/me', '/api/rooms/guests', '/api/chat/conversations']) {
    assert.equal((await server.rest(undefined, 'GET', path, undefined, { authorization: `Bearer ${room}` })).status, 401, path)
  }
  const health = await server.rest(113, 'GET', '/health')
  assert.doesNotMatch(health.text, /null,|-\d{6,}/, 'guests are nobody online')
  // By WHEP and WHIP as well.
  const headers = { authorization: `Bearer ${room}`, 'content-type': 'application/sdp' }
  assert.equal((await fetch(`${server.url}/whep/elsewhere`, { method: 'POST', headers, body: plainOffer('video').replace('a=sendonly', 'a=recvonly') })).status, 401)
  const viewing = await fetch(`${server.url}/whep/guests`, { method: 'POST', headers, body: plainOffer('video').replace('a=sendonly', 'a=recvonly') })
  assert.equal(viewing.status, 201, await viewing.clone().text())
  assert.equal((await fetch(new URL(viewing.headers.get('location'), server.url), { method: 'DELETE', headers })).status, 200)
  socket.close()
  // The moderator's menu.
  await ada.locator('.tile .moderation').first().selectOption('Remove')
  await eve.locator('#problem', { hasText: 'no longer in the room' }).waitFor()
  for (const made of [ada, eve]) await made.context().close()
})

test('a moderator puts somebody in the middle; figures are taken; a server that goes down says so', async () => {
  const own = await Server.start({ env: { SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_TURN__MODE: 'off', SWITCHBOARD_SERVER__DRAIN_DELAY: '1' } })
  await own.people(1, 2)
  const [ada, ben] = [await own.connect(1), await own.connect(2)]
  const [mine, theirs] = [await ask(ada, 'room:join', { roomId: 'small' }), await ask(ben, 'room:join', { roomId: 'small' })]
  const again = await ask(ada, 'room:join', { roomId: 'small' })
  assert.deepEqual([again.sessionId, again.participants.length], [mine.sessionId, 1], 'joining twice is being in once')
  const { participantId } = theirs.self
  assert.ok((await ask(ada, 'room:spotlight', { sessionId: mine.sessionId, participantId })).ok)
  assert.equal((await next(ben, 'room:spotlight')).participantId, participantId)
  assert.equal((await ask(ben, 'room:spotlight', { sessionId: theirs.sessionId })).reason, 'NOT_A_MODERATOR')
  assert.equal((await ask(ada, 'room:spotlight', { sessionId: mine.sessionId, participantId: mine.sessionId })).ok, false)
  assert.ok((await ask(ben, 'room:stats', { sessionId: theirs.sessionId, subs: [{ rttMs: 20, lossPct: 0.5 }] })).ok)
  assert.equal((await ask(ada, 'room:stats', { sessionId: theirs.sessionId, subs: [] })).reason, 'NOT_FOUND')
  const stopped = own.stop()
  assert.ok(Date.parse((await next(ben, 'room:drain')).deadline) > Date.now() - 2000)
  await stopped
})

test('a device that changes networks goes on without a break', async () => {
  const ada = await tab(109, 'moves')
  const ben = await tab(110, 'moves')
  for (const made of [ada, ben]) await moving(made, 1)
  const path = async (which) => (await stats(ada, which)).find(({ type }) => type === 'transport')
  const before = { sending: await path('sending'), receiving: await path('receiving') }
  const decoded = async () => (await stats(ada, 'receiving')).find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video')
  const frozen = (await decoded()).freezeCount
  await ada.evaluate(() => window.dispatchEvent(new Event('online')))
  for (const which of ['sending', 'receiving']) {
    await until(async () => (await path(which)).iceLocalUsernameFragment !== before[which].iceLocalUsernameFragment, `${which}: other credentials`)
    await until(async () => ['connected', 'completed'].includes((await path(which)).iceState), `${which} is connected`)
  }
  for (const made of [ada, ben]) await moving(made, 1)
  assert.equal((await decoded()).freezeCount, frozen, 'no freeze')
  for (const made of [ada, ben]) await made.context().close()
})

/** Has a page's connections take only one way: `relay-udp` and `relay-tcp` through the relay, `tcp` straight to the media port. */
const forced = [(way) => {
  const Plain = window.RTCPeerConnection
  window.RTCPeerConnection = class extends Plain {
    constructor(config = {}) {
      const urls = (server) => [server.urls].flat().filter((url) => url.endsWith(`transport=${way.slice(6)}`))
      const iceServers = (config.iceServers ?? []).map((server) => ({ ...server, urls: urls(server) })).filter(({ urls }) => urls.length)
      super(way === 'tcp' ? { ...config, iceServers: [] } : { ...config, iceServers, iceTransportPolicy: 'relay' })
    }

    setRemoteDescription(description) {
      const sdp = way === 'tcp' ? description.sdp.replace(/a=candidate:\S+ 1 udp .*\r\n/g, '') : description.sdp
      return super.setRemoteDescription({ type: description.type, sdp })
    }
  }
}]

for (const way of ['relay-udp', 'relay-tcp', 'tcp']) {
  test(`who gets through by ${way} only is in the room all the same`, async () => {
    const url = (user) => `${server.url}/demo/room?u=${user}&room=by-${way}&width=640`
    const far = await page(browser, url(104), {}, [...forced, way])
    const near = await tab(105, `by-${way}`)
    for (const made of [far, near]) await moving(made, 1)
    for (const which of ['sending', 'receiving']) {
      const report = await stats(far, which)
      const selected = report.find(({ type }) => type === 'transport').selectedCandidatePairId
      const pair = report.find(({ id }) => id === selected)
      const ends = [pair.localCandidateId, pair.remoteCandidateId].map((id) => report.find((one) => one.id === id))
      if (way === 'tcp') {
        assert.equal(ends[1].protocol, 'tcp')
      } else {
        assert.equal(ends[0].candidateType, 'relay')
        assert.equal(ends[0].relayProtocol, way.slice(6))
      }
    }
    for (const made of [far, near]) await made.context().close()
  })
}

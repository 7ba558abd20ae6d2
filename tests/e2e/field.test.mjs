// Descriptions as clients in the field write them: taken and answered in kind, or refused in words that name the section, what
// was offered and what would do. By WHIP, by WHEP and in a room alike.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { launch } from './support/browser.mjs'
import { Member, prepare, sections } from './support/lab.mjs'
import { Server, ask, next, until } from './support/server.mjs'

let server
let browser
let made
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_TURN__MODE: 'off', SWITCHBOARD_LIMITS__RATE_LIMITS: 'false', } })
  await server.people(7, 8, 9)
  browser = await launch(['--allow-loopback-in-peer-connection'])
  made = await browser.newPage()
  await prepare(made)
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

const DIGEST = Array(32).fill('AB').join(':')
const FINGERPRINT = `a=fingerprint:sha-256 ${DIGEST}`

/** The lines of a section: `formats` are those of its codecs, payload type first. */
const section = (kind, mid, formats, { transport = 'abcd', fingerprints = [FINGERPRINT], mux = true, direction = 'sendonly', port = 9 } = {}) => [
  `m=${kind} ${port} UDP/TLS/RTP/SAVPF ${formats.map(([type]) => type).join(' ')}`, 'c=IN IP4 0.0.0.0', `a=mid:${mid}`,
  `a=ice-ufrag:${transport}`, `a=ice-pwd:${transport.repeat(6)}`, 'a=setup:actpass', ...mux ? ['a=rtcp-mux'] : [], ...fingerprints, `a=${direction}`,
  ...formats.flatMap(([type, name, ...lines]) => [`a=rtpmap:${type} ${name}`, ...lines]),
]

const description = (sections, { bundle = sections.map((_, n) => n), session = [] } = {}) =>
  ['v=0', 'o=- 1 1 IN IP4 0.0.0.0', 's=-', 't=0 0', ...bundle.length ? [`a=group:BUNDLE ${bundle.join(' ')}`] : [], ...session, ...sections.flat(), ''].join('\r\n')

const OPUS = ['111', 'opus/48000/2']
const VP8 = ['96', 'VP8/90000', 'a=rtcp-fb:96 nack', 'a=rtcp-fb:96 nack pli', 'a=rtcp-fb:96 ccm fir']
const H264 = (fmtp) => ['102', 'H264/90000', ...fmtp ? [`a=fmtp:102 ${fmtp}`] : []]
const LEVELS = 'level-asymmetry-allowed=1;'

let rooms = 0

/** Offers by HTTP in a room of its own, or in the one that is named; what came of it in one form, whichever way. */
async function byHttp(kind, sdp, room = `field-${rooms += 1}`, user = 7) {
  const answer = await server.rest(user, 'POST', `/${kind}/${room}`, sdp, { 'content-type': 'application/sdp' })
  return { status: answer.status, error: answer.json?.error, reason: answer.json?.reason, sdp: answer.status === 201 ? answer.text : undefined }
}

async function inRoom(sdp) {
  const socket = await server.connect(7)
  const { sessionId } = await ask(socket, 'room:join', { roomId: `field-${rooms += 1}` })
  const tracks = sections(sdp).filter(({ first }) => /^m=(audio|video)/.test(first)).map(({ first, mid }) => ({ mid, source: first.startsWith('m=audio') ? 'microphone' : 'camera' }))
  const ack = await ask(socket, 'room:publish', { sessionId, offer: { type: 'offer', sdp }, tracks })
  socket.close()
  return { status: ack.ok ? 201 : ack.code, error: ack.error, reason: ack.reason, sdp: ack.answer?.sdp }
}

const ways = {
  WHIP: (sdp) => byHttp('whip', sdp),
  WHEP: (sdp) => byHttp('whep', sdp.replaceAll('a=sendonly', 'a=recvonly')),
  'room:publish': inRoom,
}

/** A refusal, by this status where one is named, whose words have all of these. */
function refused({ status, error }, wanted, ...words) {
  if (wanted) assert.equal(status, wanted, `${status}: ${error}`)
  else assert.ok(status >= 400 && status < 500, `${status}: ${error}`)
  for (const word of words) assert.match(error, word)
}

/** The lines of an answer's section, each once checked to be of what was offered. */
function answered({ status, error, sdp }, offer, n = 0) {
  assert.equal(status, 201, error)
  const [mine, theirs] = [sections(offer)[n], sections(sdp)[n]]
  assert.equal(theirs.mid, mine.mid)
  assert.notEqual(theirs.first.split(' ')[1], '0', `section ${n} is taken: ${theirs.first}`)
  for (const line of theirs.lines.filter((line) => line.startsWith('a=rtcp-fb:'))) assert.ok(mine.lines.includes(line), `${line} was not offered`)
  const types = (first) => first.split(' ').slice(3)
  for (const type of types(theirs.first)) assert.ok(types(mine.first).includes(type), `payload type ${type} was not offered`)
  return theirs.lines
}

const variants = {
  'without a line of parameters': { fmtp: '', offered: /packetization-mode|profile/ },
  'High': { fmtp: `${LEVELS}packetization-mode=1;profile-level-id=640032`, taken: true },
  'Main': { fmtp: `${LEVELS}packetization-mode=1;profile-level-id=4d0029`, taken: true },
  'single units': { fmtp: `${LEVELS}packetization-mode=0;profile-level-id=42e01f`, offered: /packetization-mode=0/ },
  'without a profile': { fmtp: 'packetization-mode=1', taken: true },
  'a profile of seven digits': { fmtp: `${LEVELS}packetization-mode=1;profile-level-id=422001f`, offered: /422001f/ },
}

for (const [name, { fmtp, taken, offered }] of Object.entries(variants)) {
  for (const way of ['WHIP', 'room:publish']) {
    test(`H.264 alone, ${name}, by ${way}: taken as this variant, or refused in its words`, async () => {
      const offer = description([section('video', 0, [H264(fmtp)])])
      const outcome = await ways[way](offer)
      if (taken || outcome.status === 201) {
        const lines = answered(outcome, offer)
        assert.ok(lines.some((line) => line.toLowerCase() === 'a=rtpmap:102 h264/90000'), lines.join('\n'))
        const parameters = (text) => Object.fromEntries((text ?? '').split(';').map((one) => one.trim().split('=')))
        const [mine, theirs] = [parameters(fmtp), parameters(lines.find((line) => line.startsWith('a=fmtp:102 '))?.slice(11))]
        // RFC 6184 §8.2.2: mode and profile are symmetric, and what is left out is 0 and baseline.
        assert.equal(theirs['packetization-mode'] ?? '0', mine['packetization-mode'] ?? '0')
        if (/^[0-9a-f]{6}$/.test(mine['profile-level-id'] ?? '')) assert.equal(theirs['profile-level-id']?.slice(0, 2).toLowerCase(), mine['profile-level-id'].slice(0, 2))
        else assert.match(theirs['profile-level-id'] ?? '42', /^42/)
      } else {
        refused(outcome, 406, /section (0|"0")/, /h\.?264/i, /packetization-mode[= ]1/, offered)
      }
    })
  }
}

for (const [way, offering] of Object.entries(ways)) {
  test(`one fingerprint that is understood is enough, by ${way} (RFC 8122 §5)`, async () => {
    const others = [`a=fingerprint:sha-512 ${Array(64).fill('CD').join(':')}`, `a=fingerprint:sha-1 ${Array(20).fill('CD').join(':')}`]
    for (const fingerprints of [[others[0], FINGERPRINT], [FINGERPRINT, others[0]], [others[1], FINGERPRINT], [...others, FINGERPRINT]]) {
      const offer = description([section('video', 0, [VP8], { fingerprints })])
      answered(await offering(offer), offer)
    }
    const outcome = await offering(description([section('video', 0, [VP8], { fingerprints: others })]))
    refused(outcome, undefined, /fingerprint/, /sha-(512|1)/, /sha-256/)
  })

  test(`sections with transports of their own and no bundle are not taken as one, by ${way}`, async () => {
    const two = [section('audio', 0, [OPUS]), section('video', 1, [VP8], { transport: 'efgh', fingerprints: [FINGERPRINT.replaceAll('AB', 'EF')] })]
    const outcome = await offering(description(two, { bundle: [] }))
    if (outcome.status === 201) {
      assert.deepEqual(sections(outcome.sdp).map(({ first }) => first.split(' ')[1] !== '0'), [true, false], 'one transport is for one section')
      assert.doesNotMatch(outcome.sdp, /a=group:BUNDLE/, 'no bundle was offered')
    } else {
      refused(outcome, undefined, /BUNDLE/)
    }
    // With a bundle the transport is the first section's; and one section needs none.
    const one = description([section('video', 0, [VP8])], { bundle: [] })
    const single = await offering(one)
    answered(single, one)
    assert.doesNotMatch(single.sdp, /a=group:BUNDLE/, 'no bundle was offered')
  })

  test(`an offer without rtcp-mux is refused, by ${way}`, async () => {
    refused(await offering(description([section('video', 0, [VP8], { mux: false })])), undefined, /section (0|"0")/, /rtcp-mux/)
    const both = description([section('audio', 0, [OPUS], { mux: false }), section('video', 1, [VP8], { mux: false })])
    refused(await offering(both), undefined, /section (0|"0")/, /rtcp-mux/)
  })

  test(`an offer of another lite side is refused, by ${way}`, async () => {
    refused(await offering(description([section('video', 0, [VP8])], { session: ['a=ice-lite'] })), undefined, /ice-lite/i, /full|both/i)
  })

  test(`feedback that was not offered is not answered, by ${way} (RFC 4585)`, async () => {
    const feedback = (lines) => description([section('video', 0, [['96', 'VP8/90000', ...lines.map((line) => `a=rtcp-fb:96 ${line}`)]])])
    for (const lines of [[], ['ccm fir', 'transport-cc'], ['nack'], ['nack pli'], ['goog-remb', 'transport-cc', 'ccm fir', 'nack', 'nack pli']]) {
      const offer = feedback(lines)
      const got = answered(await offering(offer), offer).filter((line) => line.startsWith('a=rtcp-fb:'))
      if (lines.length === 0) assert.deepEqual(got, [])
      if (lines.includes('ccm fir') && !lines.includes('nack pli')) assert.ok(got.includes('a=rtcp-fb:96 ccm fir'), 'keyframes are asked for in the one way that there is')
      if (lines.includes('nack pli')) assert.ok(got.includes('a=rtcp-fb:96 nack pli'))
    }
  })

  test(`a data channel is rejected in the form of its offer, by ${way}`, async () => {
    for (const [first, ...lines] of [
      ['DTLS/SCTP 5000', 'a=sctpmap:5000 webrtc-datachannel 1024'], ['UDP/DTLS/SCTP webrtc-datachannel', 'a=sctp-port:5000'], ['TCP/DTLS/SCTP webrtc-datachannel', 'a=sctp-port:5000'],
    ]) {
      const transport = ['c=IN IP4 0.0.0.0', 'a=mid:1', 'a=ice-ufrag:abcd', `a=ice-pwd:${'abcd'.repeat(6)}`, 'a=setup:actpass', FINGERPRINT]
      const offer = description([section('video', 0, [VP8]), [`m=application 9 ${first}`, ...transport, ...lines]])
      const outcome = await offering(offer)
      answered(outcome, offer)
      assert.equal(sections(outcome.sdp)[1].first, `m=application 0 ${first}`)
    }
  })
}

test('a viewer by WHEP without a codec in common is refused in the codecs of both, and not when there is one', async () => {
  const [high, vp9] = [H264(`${LEVELS}packetization-mode=1;profile-level-id=42e01f`), ['98', 'VP9/90000']]
  const named = [[high, VP8, /h\.?264/i, /vp8/i], [VP8, high, /vp8/i, /h\.?264/i], [vp9, VP8, /vp9/i, /vp8/i]]
  for (const [n, [published, offered, ...words]] of named.entries()) {
    const room = `codecs-${n}`
    const offer = (formats) => description([section('video', 0, formats, { direction: 'recvonly' })])
    assert.equal((await byHttp('whip', description([section('video', 0, [published])]), room)).status, 201)
    const outcome = await byHttp('whep', offer([offered]), room, 8)
    if (outcome.status === 201) assert.ok(sections(outcome.sdp)[0].lines.includes('a=inactive'), 'a section into which nothing can be sent is not sendonly')
    else refused(outcome, 406, ...words)
    const both = offer([offered, published])
    const lines = answered(await byHttp('whep', both, room, 8), both)
    assert.ok(lines.includes('a=sendonly'), lines.join('\n'))
  }
})

for (const [how, change] of Object.entries({
  'as before': (sdp) => sdp,
  'without its transport': (sdp) => sdp.replace(/a=(ice-ufrag|ice-pwd|fingerprint|setup):.*\r\n/g, ''),
})) {
  test(`the last section of a publisher is stopped, its lines ${how}: the track ends for the others`, async () => {
    const [ada, ben] = [await server.connect(7), await server.connect(8)]
    const roomId = `stop-${how.replaceAll(' ', '-')}`
    const { sessionId } = await ask(ada, 'room:join', { roomId })
    assert.ok((await ask(ben, 'room:join', { roomId })).ok)
    const offer = (port) => description([section('video', 0, [VP8], { port })], { bundle: port ? [0] : [] })
    const publish = (sdp, tracks) => ask(ada, 'room:publish', { sessionId, offer: { type: 'offer', sdp }, tracks })
    const begun = await publish(offer(9), [{ mid: '0', source: 'camera' }])
    assert.ok(begun.ok, JSON.stringify(begun))
    await next(ben, 'room:track-published')
    const stopped = await publish(change(offer(0)), [])
    assert.ok(stopped.ok, JSON.stringify(stopped))
    assert.match(sections(stopped.answer.sdp)[0].first, /^m=video 0 /)
    assert.equal((await next(ben, 'room:track-unpublished')).trackId, begun.tracks[0].trackId)
    for (const socket of [ada, ben]) socket.close()
  })
}

test('Chromium stops its last transceiver: the track ends for the others, and another one comes', async () => {
  const [ada, ben] = [await Member.join(server, made, 7, 'stop'), await Member.join(server, made, 8, 'stop')]
  await ben.receive()
  const n = await ada.send({ width: 160, height: 120 })
  const track = await ada.track(n)
  await ben.seeing(track)
  await ada.stop(n)
  await ada.publish()
  assert.equal((await next(ben.socket, 'room:track-unpublished')).trackId, track)
  const again = await ada.send({ width: 160, height: 120 })
  const fresh = await ada.track(again)
  assert.notEqual(fresh, track)
  await ben.seeing(fresh)
  for (const member of [ada, ben]) await member.leave()
})

for (const rids of [['f', 'q'], ['q', 'f']]) {
  test(`simulcast that lists its encodings as ${rids} is seen at its best (RFC 8853 §5.1)`, async () => {
    const room = `order-${rids.join('')}`
    const [ada, ben] = [await Member.join(server, made, 7, room), await Member.join(server, made, 8, room)]
    await ben.receive()
    // Chromium sends two encodings of this size, and believes in these bit rates from the beginning.
    const encodings = { f: [1, 350_000], q: [4, 60_000] }
    const n = await ada.send({ width: 640, height: 480, encodings: rids.map((rid) => ({ rid, scaleResolutionDownBy: encodings[rid][0], maxBitrate: encodings[rid][1] })) })
    const track = await ada.track(n)
    let since
    const stays = async () => {
      const now = await ben.pictures(track)
      if (now?.frameWidth !== 640) since = undefined
      else since ??= now.framesDecoded
      return since !== undefined && now.framesDecoded > since + 45
    }
    await until(stays, 'three seconds of the best encoding', 40_000)
    for (const member of [ada, ben]) await member.leave()
  })
}

test('streams that are named by nothing but their payload types arrive (RFC 8843 §9.2)', async () => {
  const [ada, ben] = [await Member.join(server, made, 7, 'unnamed'), await Member.join(server, made, 8, 'unnamed')]
  await ben.receive()
  ada.change = (sdp) => sdp.replace(/a=(ssrc|ssrc-group|extmap|extmap-allow-mixed|msid|msid-semantic)(:.*)?\r\n/g, '')
  await ada.send({ kind: 'audio' })
  const n = await ada.send({ width: 160, height: 120 })
  await ben.seeing(await ada.track(n))
  await until(async () => (await ben.receiving.do('sound')).some(({ packetsReceived }) => packetsReceived > 20), 'sound')
  for (const member of [ada, ben]) await member.leave()
})

test('an answer is taken though more has been published since the offer, and the rest is offered then', async () => {
  const [ada, ben, cem] = [await Member.join(server, made, 7, 'meanwhile'), await Member.join(server, made, 8, 'meanwhile'), await Member.join(server, made, 9, 'meanwhile')]
  const first = await ada.track(await ada.send({ width: 160, height: 120 }))
  await until(() => ben.socket.events.some(({ name }) => name === 'room:offer'), 'an offer')
  const second = await cem.track(await cem.send({ width: 160, height: 120 }))
  // Only now is the first offer answered.
  await ben.receive()
  for (const track of [first, second]) await ben.seeing(track)
  assert.deepEqual(ben.problems, [])
  for (const member of [ada, ben, cem]) await member.leave()
})

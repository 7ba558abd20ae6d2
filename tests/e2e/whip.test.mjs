// WHIP and WHEP with clients that know nothing of this server: libwebrtc for Node and aiortc; and what the RFC asks of the answers.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { Server, until } from './support/server.mjs'
import { plainOffer, python, whipClient } from './support/whip-client.mjs'

let server
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_TURN__MODE: 'off', ALLOWED_ORIGINS: 'https://yourapp.example', STUN_SERVER: 'stun:stun.example:3478' } })
  await server.people(7, 8, 9, 10)
})
after(() => server?.stop())

const pairs = [['libwebrtc', 'libwebrtc']]
if (existsSync(python)) pairs.push(['aiortc', 'aiortc'], ['libwebrtc', 'aiortc'], ['aiortc', 'libwebrtc'])
else test(`SKIPPED: aiortc is not at ${python}; "make e2e" puts it there where Python has venv`, { skip: true }, () => {})

for (const [from, to] of pairs) {
  test(`${from} publishes by WHIP, ${to} receives by WHEP`, async () => {
    const room = `from-${from}-to-${to}`
    const publisher = whipClient(server, 'publish', 7, room, { program: from })
    await until(() => publisher.says('connected'), () => `the publisher is connected: ${publisher.errors}`, 20_000)
    const viewer = whipClient(server, 'view', 8, room, { program: to })
    await until(() => viewer.frames('audio') >= 50 && viewer.frames('video') >= 20, () => `sound and pictures: ${viewer.errors} ${JSON.stringify(viewer.events.at(-1))}`, 20_000)
    await viewer.end()
    await publisher.end()
  })
}

test('a publisher that vanishes gives its place to the next one of the same account within seconds', async () => {
  const first = whipClient(server, 'publish', 7, 'vanished')
  await until(() => first.says('connected'), () => `the publisher is connected: ${first.errors}`, 20_000)
  const viewer = whipClient(server, 'view', 8, 'vanished')
  await until(() => viewer.frames('video') >= 20, () => `pictures: ${viewer.errors}`, 20_000)
  first.kill()
  const second = whipClient(server, 'publish', 7, 'vanished')
  await until(() => second.says('connected'), () => `the next one is connected: ${second.errors}`, 20_000)
  const before = viewer.frames('video')
  await until(() => viewer.frames('video') >= before + 20, () => `pictures of the next one: ${JSON.stringify(viewer.events.at(-1))}`, 12_000)
  await viewer.end()
  await second.end()
})

const offer = plainOffer('audio', 'video')
const sdp = { 'content-type': 'application/sdp' }

test('what RFC 9725 asks: Location, ETag, Link, PATCH, DELETE, and errors that say what is wrong', async () => {
  const made = await server.rest(7, 'POST', '/whip/rfc', offer, sdp)
  assert.equal(made.status, 201)
  assert.equal(made.headers.get('content-type'), 'application/sdp')
  assert.match(made.headers.get('accept-patch'), /trickle-ice-sdpfrag/)
  assert.match(made.text, /a=ice-lite[^]*a=setup:passive[^]*a=recvonly/)
  const at = made.headers.get('location')
  const etag = made.headers.get('etag')

  const fragment = 'a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n'
  const patch = (headers, body = fragment, user = 7) => server.rest(user, 'PATCH', at, body, { 'content-type': 'application/trickle-ice-sdpfrag', ...headers })
  assert.equal((await patch({ 'if-match': etag })).status, 204)
  assert.equal((await patch({ 'if-match': '"another"' })).status, 412)
  assert.equal((await patch({}, fragment, 8)).status, 404, 'a session of somebody else is not there')
  assert.equal((await server.rest(7, 'PATCH', at, fragment, sdp)).status, 415)
  const restart = await patch({ 'if-match': '*' }, fragment.replace('abcd\r', 'efgh\r'))
  assert.equal(restart.status, 200)
  assert.notEqual(restart.headers.get('etag'), etag)
  assert.match(restart.text, /a=ice-ufrag:/)

  assert.equal((await server.rest(8, 'DELETE', at)).status, 404)
  assert.equal((await server.rest(7, 'DELETE', at)).status, 200)
  assert.equal((await server.rest(7, 'DELETE', at)).status, 404)
  assert.equal((await server.rest(undefined, 'POST', '/whip/rfc', offer, sdp)).status, 401)
  assert.equal((await server.rest(7, 'POST', '/whip/rfc', offer, { 'content-type': 'application/json' })).status, 415)
  assert.equal((await server.rest(7, 'POST', '/whip/rfc', 'hello', sdp)).status, 400)
  assert.equal((await server.rest(7, 'GET', at)).status, 405)
})

test('pages of other origins read what they need, and OPTIONS that is no preflight reaches its route', async () => {
  const origin = 'https://yourapp.example'
  const made = await server.rest(7, 'POST', '/whip/pages', offer, { ...sdp, origin })
  assert.equal(made.status, 201)
  assert.equal(made.headers.get('access-control-allow-origin'), origin)
  const exposed = made.headers.get('access-control-expose-headers').toLowerCase().split(',')
  for (const name of ['location', 'etag', 'link', 'content-range', 'accept-ranges']) assert.ok(exposed.includes(name), `${name}: ${exposed}`)
  const preflight = await server.rest(null, 'OPTIONS', made.headers.get('location'), undefined, { origin, 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'authorization,if-match' })
  assert.equal(preflight.status, 200)
  assert.match(preflight.headers.get('access-control-allow-headers'), /if-match/i)
  assert.equal((await server.rest(7, 'DELETE', made.headers.get('location'))).status, 200)
  for (const path of ['/whip/pages', '/whep/pages', '/whep/pages/0190c2f4-7f6e-7000-8000-000000000000']) {
    const options = await server.rest(7, 'OPTIONS', path, undefined, { origin })
    assert.deepEqual([options.status, options.headers.get('accept-post')], [204, 'application/sdp'], path)
    assert.equal(options.headers.get('access-control-allow-origin'), origin)
    assert.match(options.headers.get('link'), /rel="ice-server"/)
    assert.equal((await server.rest(null, 'OPTIONS', path)).status, 401, path)
  }
})

test('a viewer that takes nothing of what the room has is told so, and one that holds a section keeps it', async () => {
  const h264 = plainOffer('video').replace(/ 96\r/, ' 102\r').replace('96 VP8/90000', '102 H264/90000\r\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f')
  assert.equal((await server.rest(7, 'POST', '/whip/uncommon', h264, sdp)).status, 201)
  const viewing = (text) => server.rest(8, 'POST', '/whep/uncommon', text.replaceAll('a=sendonly', 'a=recvonly'), sdp)
  const refused = await viewing(plainOffer('video'))
  assert.deepEqual([refused.status, refused.json.reason], [406, 'CODEC_UNSUPPORTED'])
  assert.match(refused.json.error, /vp8[^]*h264/)
  const held = await viewing(h264.replace('BUNDLE 0', 'BUNDLE 0 1') + plainOffer('audio').split('t=0 0\r\n')[1].replace(/^a=group.*\r\n/, '').replace('a=mid:0', 'a=mid:1').replace('a=sendonly', 'a=inactive'))
  assert.equal(held.status, 201, held.text)
  assert.doesNotMatch(held.text, /m=audio 0/)
})

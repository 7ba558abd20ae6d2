// WHIP and WHEP with clients that know nothing of this server: libwebrtc for Node and aiortc; and what the RFC asks of the answers.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { Server, until } from './support/server.mjs'
import { plainOffer, python, whipClient } from './support/whip-client.mjs'

let server
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_ROOMS__CREATE: 'anyone', SWITCHBOARD_TURN__MODE: 'off' } })
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

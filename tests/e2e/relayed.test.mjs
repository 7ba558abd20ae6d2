// Calls of two through the server (`media: "relay"`), by clients that do not know of it: the original's phone code with
// libwebrtc, and tabs of Chromium.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { frames, launch, page } from './support/browser.mjs'
import { phone } from './support/phones.mjs'
import { Server, ask, next, root, sleep, until } from './support/server.mjs'

const shots = `${root}/test-results`
let server
let browser
before(async () => {
  mkdirSync(shots, { recursive: true })
  server = await Server.start({ env: { STUN_SERVER: '', SWITCHBOARD_ICE__STUN_SERVERS: '[]', SWITCHBOARD_CALL__MEDIA: 'relay' } })
  await server.people(7, 8)
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

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
    ada.say({ restart: true })
    await sleep(500)
    ben.say({ add: true })
    await sleep(500)
    ben.events.length = 0
    ada.say({ add: true })
    await next(ben, 'sees', () => true, 15000)
    ada.say({ hangup: true })
    await next(ben, 'call:ended')
  } finally {
    ada.close(); ben.close()
  }
})

// The official client, taken literally as the original service's README shows it: websocket only, `auth: {token}`, no
// acknowledgements. It chats and completes a call with real WebRTC peers.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { phone } from './support/phones.mjs'
import { Server, ask, next, settled } from './support/server.mjs'

let server
before(async () => {
  server = await Server.start({ env: { STUN_SERVER: '', SWITCHBOARD_ICE__STUN_SERVERS: '[]' } })
  await server.people(7, 8)
})
after(() => server.stop())

test('chats without acknowledgements', async () => {
  const [ada, ben] = [await server.connect(7), await server.connect(8)]
  ada.emit('message:send', { toUserId: 8, content: 'hello', messageType: 'text' })
  const sent = await next(ada, 'message:sent')
  const received = await next(ben, 'message:received')
  assert.equal(received.content, 'hello')
  assert.equal(received.fromUserId, 7)
  assert.equal(received.toUserId, 8)
  assert.equal(received.messageType, 'text')
  assert.equal(received._id, received.messageId)
  assert.equal(sent.messageId, received.messageId)
  assert.equal(sent.isRead, false)

  ben.emit('typing:start', { toUserId: 7 })
  assert.equal((await next(ada, 'typing:start')).fromUserId, 8)
  ben.emit('message:markRead', { withUserId: 7 })
  assert.equal((await next(ada, 'message:read')).byUserId, 8)
  assert.equal((await next(ben, 'message:markedRead')).withUserId, 7)
  ada.close(); ben.close()
})

test('an error without acknowledgement comes as the original error event', async () => {
  const ada = await server.connect(7)
  ada.emit('message:send', { toUserId: 8 })
  const error = await next(ada, 'error')
  assert.equal(error.code, 'INVALID_DATA')
  assert.equal(error.message, 'toUserId and content are required')
  ada.emit('call:initiate', {})
  assert.equal((await next(ada, 'call:failed')).code, 'INVALID_DATA')
  ada.close()
})

test('completes a call with libwebrtc on both sides and hears the other', async () => {
  const [ada, ben] = [phone(server, 7), phone(server, 8)]
  try {
    await Promise.all([next(ada, 'connect'), next(ben, 'connect')])
    ada.say({ dial: 8 })
    const initiated = await next(ada, 'call:initiated')
    const incoming = await next(ben, 'call:incoming')
    assert.equal(incoming.callId, initiated.callId)
    assert.equal(incoming.fromUserId, 7)
    assert.equal(incoming.status, 'initiated')
    assert.equal(incoming.fromUser.name, 'User 7')
    const response = await next(ada, 'call:response')
    assert.deepEqual([response.response, response.call.status], ['accept', 'accepted'])
    assert.equal((await next(ben, 'call:responded')).response, 'accept')
    for (const side of [ada, ben]) {
      await next(side, 'state', (state) => state === 'connected', 15000)
      await next(side, 'hears', () => true, 15000)
    }
    ada.say({ hangup: true })
    const ended = await next(ben, 'call:ended')
    assert.equal(ended.callId, incoming.callId)
    assert.equal(ended.fromUserId, 7)
    await next(ada, 'call:ended')
    const { json: { data: call } } = await server.rest(7, 'GET', `/api/calls/${ended.callId}`)
    assert.ok(Date.parse(call.endTime) > Date.parse(call.startTime))
    assert.equal(ended.duration, Math.floor((Date.parse(call.endTime) - Date.parse(call.startTime)) / 1000))
  } finally {
    ada.close(); ben.close()
  }
  const page = await server.rest(7, 'GET', '/api/chat/messages/8')
  assert.equal(page.json.data.at(-1).messageType, 'call')
  assert.equal(page.json.data.at(-1).call.status, 'ended')
})

test('an offer that comes before the acceptance waits for it', async () => {
  const [ada, ben] = [await server.connect(7), await server.connect(8)]
  ada.emit('call:initiate', { toUserId: 8, callType: 'video' })
  const { callId } = await next(ben, 'call:incoming')
  ada.emit('webrtc:offer', { callId, toUserId: 8, offer: { type: 'offer', sdp: 'v=0\r\nfirst' } })
  ada.emit('webrtc:offer', { callId, toUserId: 8, offer: { type: 'offer', sdp: 'v=0\r\nsecond' } })
  ada.emit('webrtc:ice-candidate', { callId, toUserId: 8, candidate: { candidate: 'candidate:1 1 udp 1 192.0.2.1 9 typ host', sdpMid: '0' } })
  await settled(ada)
  await settled(ben)
  assert.equal(ben.events.filter((event) => event.name.startsWith('webrtc:')).length, 0)
  ben.emit('call:respond', { callId, response: 'accept', toUserId: 7 })
  const offer = await next(ben, 'webrtc:offer')
  assert.equal(offer.offer.sdp, 'v=0\r\nsecond')
  assert.deepEqual([offer.callId, offer.fromUserId, offer.toUserId], [callId, 7, 8])
  assert.equal((await next(ben, 'webrtc:ice-candidate')).fromUserId, 7)
  ben.emit('call:end', { callId, toUserId: 7 })
  await next(ada, 'call:ended')
  ada.close(); ben.close()
})

test('long polling does as well', async () => {
  const [ada, ben] = [await server.connect(7, { transports: ['polling'] }), await server.connect(8, { transports: ['polling'] })]
  ada.emit('message:send', { toUserId: 8, content: 'slowly' })
  assert.equal((await next(ben, 'message:received', (message) => message.messageType === 'text')).content, 'slowly')
  ada.close(); ben.close()
})

test('the aliases and the bare array of the original front end answer', async () => {
  const bare = await server.rest(7, 'GET', '/v1/messages?with=8')
  assert.equal(bare.status, 200)
  assert.ok(Array.isArray(bare.json))
  const [first] = bare.json
  assert.deepEqual([first.from, first.to, first.text, first.sender], ['7', '8', 'hello', 'user'])
  assert.equal(first.status, 'read')
  const history = await server.rest(7, 'GET', '/v1/calls/history')
  assert.equal(history.json.meta.code, 200)
  assert.equal(history.json.data[0].fromUser.name, 'User 7')
})

// Several devices of one person, glare, busy, waiting, and calls that outlive a lost connection or a restart.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Server, ask, gone, next, settled } from './support/server.mjs'

let server
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_CALL__RING_TIMEOUT: '3', SWITCHBOARD_CALL__RECONNECT_WINDOW: '2', SWITCHBOARD_LIMITS__CALLS_PER_MINUTE: '1000' } })
  await server.people(1, 2, 3)
})
after(() => server.stop())

const connect = (user, deviceId, auth = {}) => server.connect(user, { auth: { deviceId, cursor: 0, ...auth } })
const close = (...sockets) => sockets.forEach((socket) => socket.close())

test('accepting on one device stops the other before anything that follows', async () => {
  const [ada, phone, tablet] = [await connect(1, 'a'), await connect(2, 'phone', { deviceName: 'Phone' }), await connect(2, 'tablet')]
  const { call } = await ask(ada, 'call:initiate', { toUserId: 2, callType: 'video' })
  await Promise.all([next(phone, 'call:incoming'), next(tablet, 'call:incoming')])
  assert.equal((await ask(phone, 'call:ringing', { callId: call.callId })).ok, true)
  assert.equal((await next(ada, 'call:ringing')).userId, 2)
  const accepted = await ask(phone, 'call:respond', { callId: call.callId, response: 'accept' })
  assert.equal(accepted.call.status, 'accepted')
  // Whoever has the acceptance acknowledged can count on the other device: what it has up to now shows the call answered.
  await settled(tablet)
  const elsewhere = tablet.events.find(({ name }) => name === 'call:answered-elsewhere')?.payload
  assert.ok(elsewhere, 'the tablet still rings')
  assert.deepEqual([elsewhere.response, elsewhere.deviceName], ['accept', 'Phone'])
  const late = await ask(tablet, 'call:respond', { callId: call.callId, response: 'accept' })
  assert.deepEqual([late.ok, late.reason, late.code], [false, 'ANSWERED_ELSEWHERE', 409])

  const moved = await ask(tablet, 'call:move', { callId: call.callId })
  assert.equal(moved.ok, true)
  assert.equal((await next(phone, 'call:moved')).callId, call.callId)
  assert.equal((await ask(phone, 'webrtc:offer', { callId: call.callId, offer: { type: 'offer', sdp: 'v=0' } })).reason, 'ANSWERED_ELSEWHERE')

  assert.equal((await ask(ada, 'call:stats', { callId: call.callId, interval: 10, legs: [{ rttMs: 40, jitterMs: 3, lossPct: 0.5 }] })).ok, true)
  assert.equal((await ask(ada, 'call:hold', { callId: call.callId })).ok, true)
  assert.equal((await next(tablet, 'call:held')).userId, 1)
  assert.equal((await ask(ada, 'call:resume-hold', { callId: call.callId })).ok, true)
  await next(tablet, 'call:unheld')
  await ask(ada, 'call:update', { callId: call.callId, callType: 'voice' })
  assert.equal((await next(tablet, 'call:update-request')).callType, 'voice')

  const ended = await ask(tablet, 'call:end', { callId: call.callId })
  assert.deepEqual([ended.call.status, ended.call.endReason], ['ended', 'hangup'])
  await Promise.all([next(ada, 'call:ended'), next(phone, 'call:ended'), next(tablet, 'call:ended')])
  assert.equal((await ask(ada, 'call:end', { callId: call.callId })).ok, true, 'ending an ended call is no error')
  assert.equal((await ask(ada, 'call:rate', { callId: call.callId, stars: 4, issues: ['echo'], comment: 'fine' })).ok, true)
  assert.equal((await ask(ada, 'call:rate', { callId: call.callId, stars: 6 })).details.field, 'stars')
  close(ada, phone, tablet)
})

test('an unanswered call is missed, told to both, and acknowledged once', async () => {
  const [ada, ben] = [await connect(1, 'a'), await connect(2, 'b')]
  const { call } = await ask(ada, 'call:initiate', { toUserId: 2 })
  const again = await ask(ada, 'call:initiate', { toUserId: 3 })
  assert.equal(again.reason, 'CALL_IN_PROGRESS')
  const noAnswer = await next(ada, 'call:no-answer', () => true, 6000)
  assert.deepEqual([noAnswer.callId, noAnswer.reason], [call.callId, 'timeout'])
  assert.equal((await next(ada, 'call:ended')).endReason, 'timeout')
  const missed = await next(ben, 'call:missed', (missed) => missed.callId === call.callId)
  assert.equal(missed.status, 'missed')
  close(ada)
  await gone(server, 2, ben)

  const original = await server.connect(2)
  const list = await next(original, 'call:missed-calls')
  assert.ok(list.calls.some((missed) => missed.callId === call.callId))
  assert.equal(list.calls[0].fromUser.name, 'User 1')
  await ask(original, 'call:ack-missed', { callIds: list.calls.map((missed) => missed.callId) })
  close(original)
  const once = await server.connect(2)
  // Missed calls come before the states of others.
  await next(once, 'presence:snapshot')
  assert.equal(once.events.filter((event) => event.name === 'call:missed-calls').length, 0)
  close(once)
})

test('a cancelled call stops ringing and counts as missed', async () => {
  const [ada, ben] = [await connect(1, 'a'), await connect(2, 'b')]
  const { call } = await ask(ada, 'call:initiate', { toUserId: 2 })
  await next(ben, 'call:incoming')
  await ask(ada, 'call:cancel', { callId: call.callId })
  assert.equal((await next(ben, 'call:ended')).endReason, 'cancelled')
  await next(ben, 'call:cancelled')
  await next(ben, 'call:missed', (missed) => missed.callId === call.callId)
  close(ada, ben)
})

test('when both call each other there is one accepted call', async () => {
  const [ada, ben] = [await connect(1, 'a'), await connect(2, 'b')]
  const [one, two] = await Promise.all([ask(ada, 'call:initiate', { toUserId: 2 }), ask(ben, 'call:initiate', { toUserId: 1 })])
  const [first, merged] = one.ok ? [one, two] : [two, one]
  assert.equal(first.ok, true)
  assert.deepEqual([merged.ok, merged.reason], [false, 'CALL_MERGED'])
  assert.equal(merged.details.call.callId, first.call.callId)
  assert.equal(merged.details.call.status, 'accepted')
  await ask(ada, 'call:end', { callId: first.call.callId })
  close(ada, ben)
})

test('a person in a call is rung waiting, or is busy', async () => {
  const [ada, ben, cem] = [await connect(1, 'a'), await connect(2, 'b'), await connect(3, 'c')]
  const { call } = await ask(ada, 'call:initiate', { toUserId: 2 })
  await ask(ben, 'call:respond', { callId: call.callId, response: 'accept' })
  const busy = await ask(cem, 'call:initiate', { toUserId: 2, waiting: false })
  assert.equal(busy.reason, 'USER_BUSY')
  assert.equal((await next(cem, 'call:response')).reason, 'busy')
  assert.equal((await next(cem, 'call:ended')).endReason, 'busy')
  await next(ben, 'call:missed', (missed) => missed.fromUserId === 3)
  const second = await ask(cem, 'call:initiate', { toUserId: 2 })
  assert.equal((await next(ben, 'call:incoming', (incoming) => incoming.fromUserId === 3)).waiting, true)
  await ask(ben, 'call:respond', { callId: second.call.callId, response: 'accept', holdOther: true })
  assert.equal((await next(ada, 'call:held')).userId, 2)
  for (const { callId } of [call, second.call]) await ask(ben, 'call:end', { callId })
  close(ada, ben, cem)
})

test('a lost side comes back and gets what waited; one that does not ends the call', async () => {
  const [ada, ben] = [await connect(1, 'a'), await connect(2, 'b')]
  const { call } = await ask(ada, 'call:initiate', { toUserId: 2 })
  await ask(ben, 'call:respond', { callId: call.callId, response: 'accept' })
  close(ben)
  assert.equal((await next(ada, 'call:reconnecting')).userId, 2)
  const kept = await ask(ada, 'webrtc:offer', { callId: call.callId, offer: { type: 'offer', sdp: 'v=0' }, iceRestart: true })
  assert.deepEqual([kept.delivered, kept.buffered], [false, true])
  const back = await connect(2, 'b')
  const rejoined = await ask(back, 'call:rejoin', { callId: call.callId, lastRev: 1 })
  assert.equal(rejoined.buffered[0].event, 'webrtc:offer')
  assert.equal(rejoined.buffered[0].payload.iceRestart, true)
  assert.equal((await next(ada, 'call:reconnected')).userId, 2)
  close(back)
  const ended = await next(ada, 'call:ended', () => true, 5000)
  assert.equal(ended.endReason, 'network')
  const gone = await connect(2, 'b')
  assert.equal((await ask(gone, 'call:rejoin', { callId: call.callId })).reason, 'CALL_GONE')
  close(ada, gone)
})

test('a call that rings while the server dies is missed at its deadline; an accepted one is taken up again', async () => {
  const [ada, ben, cem] = [await connect(1, 'a'), await connect(2, 'b'), await connect(3, 'c')]
  const running = (await ask(ada, 'call:initiate', { toUserId: 3 })).call
  await ask(cem, 'call:respond', { callId: running.callId, response: 'accept' })
  const ringing = (await ask(ben, 'call:initiate', { toUserId: 3 })).call
  await server.crash()
  const [a, c] = [await connect(1, 'a'), await connect(3, 'c')]
  assert.equal((await ask(a, 'call:rejoin', { callId: running.callId })).call.status, 'accepted')
  assert.equal((await ask(c, 'call:rejoin', { callId: running.callId })).call.status, 'accepted')
  const missed = await next(c, 'call:missed', (missed) => missed.callId === ringing.callId, 6000)
  assert.deepEqual([missed.status, missed.endReason], ['missed', 'timeout'])
  const history = await server.rest(2, 'GET', '/api/calls/history?limit=1')
  assert.equal(history.json.data[0].status, 'missed')
  assert.equal((await ask(a, 'call:end', { callId: running.callId })).call.status, 'ended')
  close(ada, ben, cem, a, c)
})

test('nobody outside a call can do anything with it', async () => {
  const [ada, ben, cem] = [await connect(1, 'a'), await connect(2, 'b'), await connect(3, 'c')]
  const { call } = await ask(ada, 'call:initiate', { toUserId: 2 })
  const foreign = { callId: call.callId }
  const unknown = { callId: '0198f1d0-1111-7222-8333-444455556666' }
  const sdp = { type: 'offer', sdp: 'v=0' }
  for (const [name, more] of [
    ['call:ringing', {}], ['call:respond', { response: 'accept' }], ['call:end', {}], ['call:cancel', {}], ['call:hold', {}], ['call:rate', { stars: 1 }], ['call:stats', { legs: [] }],
    ['call:update', { callType: 'video' }], ['call:move', {}], ['call:rejoin', {}], ['webrtc:offer', { offer: sdp }],
    ['webrtc:answer', { answer: { ...sdp, type: 'answer' } }], ['webrtc:ice-candidate', { candidate: null }],
  ]) {
    const [refused, absent] = [await ask(cem, name, { ...foreign, ...more }), await ask(cem, name, { ...unknown, ...more })]
    assert.deepEqual([refused.ok, refused.reason, refused.error], [false, 'CALL_NOT_FOUND', absent.error], name)
  }
  assert.equal((await ask(ada, 'webrtc:offer', { ...foreign, toUserId: 3, offer: sdp })).reason, 'INVALID_DATA')
  assert.equal((await server.rest(3, 'GET', `/api/calls/${call.callId}`)).status, 404)
  assert.equal((await server.rest(3, 'PATCH', `/api/calls/${call.callId}/status`, { status: 'ended' })).status, 404)
  assert.equal((await server.rest(1, 'GET', `/api/calls/${call.callId}`)).json.data.status, 'initiated')
  await ask(ben, 'call:respond', { ...foreign, response: 'reject' })
  assert.equal((await next(ada, 'call:response')).response, 'reject')
  close(ada, ben, cem)
})

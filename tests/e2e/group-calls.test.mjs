// A call of two becomes a call of several, and several are called at once: ringing, answers, and the room where they meet.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Server, ask, next } from './support/server.mjs'

let server
let [ada, ben, cem, dora, eve] = []
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_TURN__MODE: 'off', SWITCHBOARD_PRESENCE__AUDIENCE: 'all' } })
  await server.people(1, 2, 3, 4, 5)
  ;[ada, ben, cem, dora, eve] = await Promise.all([1, 2, 3, 4, 5].map((user) => server.connect(user)))
})
after(async () => {
  for (const socket of [ada, ben, cem, dora, eve]) socket?.close()
  await server?.stop()
})

const accept = (socket, callId) => ask(socket, 'call:respond', { callId, response: 'accept' })

test('people are added to a call: they ring, meet the others in its room, and leave by themselves', async () => {
  const { call } = await ask(ada, 'call:initiate', { toUserId: 2, callType: 'video' })
  const early = await ask(ada, 'call:add', { callId: call.callId, userIds: [3] })
  assert.deepEqual([early.ok, early.reason], [false, 'CALL_STATE'], 'not before it is accepted')
  await accept(ben, call.callId)
  assert.equal((await ask(eve, 'call:add', { callId: call.callId, userIds: [3] })).reason, 'CALL_NOT_FOUND', 'not by strangers')
  assert.equal((await ask(ada, 'call:add', { callId: call.callId, userIds: [] })).reason, 'INVALID_DATA')

  const added = await ask(ben, 'call:add', { callId: call.callId, userIds: [3, 4, 1, 999] })
  assert.ok(added.ok, JSON.stringify(added))
  assert.deepEqual([added.call.media, added.roomId, added.calls.map(({ toUserId }) => toUserId)], ['sfu', call.roomId, [3, 4]])
  assert.deepEqual(added.refused.map(({ userId, reason }) => [userId, reason]), [[999, 'UNKNOWN_USER']])
  const path = await next(ada, 'call:media-path', ({ media }) => media === 'sfu')
  assert.deepEqual([path.callId, path.reason], [call.callId, 'group'])

  const [toCem, toDora] = await Promise.all([cem, dora].map((socket) => next(socket, 'call:incoming')))
  assert.deepEqual([toCem.roomId, toCem.fromUserId, toCem.callType, toCem.media], [call.roomId, 2, 'video', 'sfu'])
  assert.ok((await accept(cem, toCem.callId)).ok)
  for (const socket of [ada, ben]) assert.deepEqual(await next(socket, 'call:member-joined'), { callId: call.callId, userId: 3, roomId: call.roomId })
  assert.ok((await ask(dora, 'call:respond', { callId: toDora.callId, response: 'reject' })).ok)
  assert.equal((await next(ben, 'call:response', ({ response }) => response === 'reject')).fromUserId, 4)

  // Each comes in by the call that it knows, or by the room; who is not in it has no room.
  const ways = [[ada, { callId: call.callId }], [ben, { roomId: call.roomId }], [cem, { callId: toCem.callId }]]
  const rooms = await Promise.all(ways.map(([socket, way]) => ask(socket, 'room:join', way)))
  assert.deepEqual(rooms.map(({ ok, room }) => [ok, room?.roomId]), Array(3).fill([true, call.roomId]))
  for (const payload of [{ callId: call.callId }, { roomId: call.roomId }]) assert.equal((await ask(eve, 'room:join', payload)).ok, false)

  // Ben goes; Cem, whom he added, stays until he goes himself.
  await ask(ben, 'call:end', { callId: toCem.callId })
  await ask(ben, 'call:end', { callId: call.callId })
  await next(ada, 'call:ended', ({ callId }) => callId === call.callId)
  assert.equal((await server.rest(3, 'GET', `/api/calls/${toCem.callId}`)).json.data.status, 'accepted')
  assert.ok((await ask(ada, 'room:data', { sessionId: rooms[0].sessionId, topic: 'chat', payload: 'still here' })).ok)
  await next(cem, 'room:data')
  assert.ok((await ask(cem, 'call:end', { callId: toCem.callId })).ok)
  await next(ben, 'call:ended', ({ callId }) => callId === toCem.callId)
  // Who left is in no call, though he still has the room; who is in the room is.
  const inCall = async (user) => (await ask(eve, 'presence:subscribe', { userIds: [user] })).states[0].inCall
  assert.equal(await inCall(1), true, 'the call is over, and the room goes on')
  for (const [n, socket] of [ada, ben, cem].entries()) await ask(socket, 'room:leave', { sessionId: rooms[n].sessionId })
  for (const user of [1, 2, 3]) assert.equal(await inCall(user), false)
  assert.equal((await ask(ada, 'room:join', { callId: call.callId })).reason, 'CALL_STATE', 'a call that is over has no room')
})

test('several are called at once; one answer does not end the ringing of the others', async () => {
  const made = await ask(ada, 'call:initiate', { toUserIds: [2, 3, 4], callType: 'voice' })
  assert.ok(made.ok, JSON.stringify(made))
  assert.equal(made.calls.length, 3)
  assert.equal(new Set(made.calls.map(({ roomId }) => roomId)).size, 1)
  const incoming = await Promise.all([ben, cem, dora].map((socket) => next(socket, 'call:incoming')))
  await accept(ben, incoming[0].callId)
  await accept(cem, incoming[1].callId)
  assert.equal((await next(ben, 'call:member-joined', ({ userId }) => userId === 3)).roomId, made.call.roomId)
  assert.ok(!dora.events.some(({ name, payload }) => name === 'call:ended' && payload.callId === incoming[2].callId))
  await ask(ada, 'call:cancel', { callId: incoming[2].callId })
  await next(dora, 'call:cancelled')
  await ask(cem, 'call:end', { callId: incoming[1].callId })
  assert.equal((await next(ben, 'call:member-left')).userId, 3)
  await ask(ben, 'call:end', { callId: incoming[0].callId })
  const history = (await server.rest(1, 'GET', '/api/calls/history')).json.data
  assert.equal(history.filter(({ roomId }) => roomId === made.call.roomId).length, 3)
})

test('more people than may be, and nobody', async () => {
  const many = await ask(ada, 'call:initiate', { toUserIds: Array.from({ length: 51 }, (_, n) => n + 100) })
  assert.deepEqual([many.reason, many.details.limit], ['INVALID_DATA', 50])
  assert.equal((await ask(ada, 'call:initiate', { toUserIds: [] })).reason, 'INVALID_DATA')
  assert.equal((await ask(ada, 'call:initiate', { toUserIds: [998, 999] })).reason, 'UNKNOWN_USER')
})

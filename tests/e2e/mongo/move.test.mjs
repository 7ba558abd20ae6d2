// A store moves from one engine to the other and back, and nothing of it changes. Runs with TEST_STORE=mongo.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Server, ask, binary, next, secret } from '../support/server.mjs'

test('export and import carry a store from MongoDB to the embedded engine and back, byte for byte', async (context) => {
  const server = await Server.start()
  const folder = mkdtempSync(join(tmpdir(), 'switchboard-move-'))
  context.after(async () => { await server.stop(); rmSync(folder, { recursive: true, force: true }) })
  const run = (args, uri) => promisify(execFile)(binary, ['--data', folder, ...args], {
    env: { PATH: process.env.PATH, JWT_SECRET: secret, ...(uri ? { MONGODB_URI: uri } : {}) },
  })
  const uri = (name) => `mongodb://127.0.0.1:${server.enginePort}/${name}`

  await server.people(1, 2)
  const [ada, ben] = [await server.connect(1, { auth: { cursor: 0 } }), await server.connect(2, { auth: { cursor: 0 } })]
  for (let n = 0; n < 40; n += 1) await ask(ada, 'message:send', { toUserId: 2, content: `number ${n} \u{1f600}`, clientId: `k${n}` })
  await ask(ben, 'message:markRead', { withUserId: 1 })
  const { call } = await ask(ada, 'call:initiate', { toUserId: 2, callType: 'voice', clientId: 'c1' })
  await next(ben, 'call:incoming')
  await ask(ada, 'call:cancel', { callId: call.callId })
  await server.rest(2, 'POST', '/api/devices', { deviceId: 'phone', platform: 'android', pushToken: 'x' })

  // The dump does not take the turn to write from the server that runs.
  await run(['export', join(folder, 'one.jsonl')], uri('chat'))
  assert.equal((await ask(ada, 'message:send', { toUserId: 2, content: 'still writing' })).ok, true)
  ada.close()
  ben.close()
  server.process.kill('SIGTERM')
  assert.equal((await server.exited).code, 0)

  await run(['export', join(folder, 'mongo.jsonl')], uri('chat'))
  await run(['import', join(folder, 'mongo.jsonl')])
  await run(['export', join(folder, 'sqlite.jsonl')])
  await run(['import', join(folder, 'sqlite.jsonl')], uri('moved'))
  await run(['export', join(folder, 'back.jsonl')], uri('moved'))
  const [mongo, sqlite, back] = ['mongo', 'sqlite', 'back'].map((name) => readFileSync(join(folder, `${name}.jsonl`), 'utf8'))
  assert.ok(mongo.split('\n').length > 100, `${mongo.split('\n').length} lines`)
  assert.equal(sqlite, mongo)
  assert.equal(back, mongo)
  await assert.rejects(run(['import', join(folder, 'mongo.jsonl')], uri('moved')), /not empty/)

  // The moved store serves.
  server.env.MONGODB_URI = uri('moved')
  await server.run()
  const { json } = await server.rest(2, 'GET', '/api/chat/messages/1?limit=200&markRead=false')
  assert.equal(json.data.filter((message) => message.messageType === 'text').length, 41)
})

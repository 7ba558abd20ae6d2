// python-socketio, whose asyncio client waits for the poll that is under way when its connection is refused.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { Server, root, token } from './support/server.mjs'
import { python } from './support/whip-client.mjs'

const run = promisify(execFile)
const TRIES = 12

let server
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_TURN__MODE: 'off', SWITCHBOARD_LIMITS__RATE_LIMITS: 'false' } })
  await server.people(1)
})
after(() => server?.stop())

const missing = await run(python, ['-c', 'import socketio, aiohttp']).then(() => false, () => true)
if (missing) test(`SKIPPED: python-socketio is not in ${python}; "make e2e" puts it there where Python has venv`, { skip: true }, () => {})

async function connect(token, transport, tries) {
  const { stdout } = await run(python, [`${root}/tests/e2e/support/python-client.py`, server.url, token, transport, String(tries)])
  return stdout.trim().split('\n').map((line) => JSON.parse(line))
}

for (const transport of missing ? [] : ['polling', 'websocket']) {
  test(`a refused token ends connect() of python-socketio over ${transport}, each time`, async () => {
    for (const outcome of await connect('not.a.token', transport, TRIES)) {
      assert.equal(outcome.outcome, 'refused')
      assert.deepEqual(outcome.refusals.map((it) => it.message), ['Authentication error: Invalid token [TOKEN_INVALID]'])
    }
  })

  test(`a good token connects python-socketio over ${transport}, which is answered`, async () => {
    const [outcome] = await connect(token(1), transport, 1)
    assert.equal(outcome.outcome, 'connected')
    assert.deepEqual([outcome.answer.ok, outcome.answer.t], [true, 1])
  })
}

// What the server says of itself: both descriptions are valid by foreign validators, the client's types are made from them, and
// what is sent (here and in every other test, see support/server.mjs) is as they say.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Parser } from '@asyncapi/parser'
import { Validator } from '@seriousme/openapi-schema-validator'
import Ajv from 'ajv'
import formats from 'ajv-formats'
import { generate } from '../../web/client/generate.mjs'
import { Server, ask, next, root } from './support/server.mjs'

let server
let openapi
let asyncapi
before(async () => {
  server = await Server.start({ env: { SWITCHBOARD_ICE__STUN_SERVERS: '[]' } })
  await server.people(7, 8)
  openapi = (await server.rest(undefined, 'GET', '/api/openapi.json')).json
  asyncapi = (await server.rest(undefined, 'GET', '/api/asyncapi.json')).json
})
after(() => server.stop())

test('OpenAPI is valid by the validator of seriousme', async () => {
  const result = await new Validator().validate(structuredClone(openapi))
  assert.ok(result.valid, JSON.stringify(result.errors))
})

const validator = join(root, 'target/venv/bin/openapi-spec-validator')
const missing = !existsSync(validator) && `SKIPPED: openapi-spec-validator is not at ${validator}; make aiortc installs it`
test('OpenAPI is valid by openapi-spec-validator', { skip: missing }, () => {
  const file = join(server.data, 'openapi.json')
  writeFileSync(file, JSON.stringify(openapi))
  execFileSync(validator, [file], { stdio: ['ignore', 'pipe', 'pipe'] })
})

test('AsyncAPI is valid by two validators', async () => {
  const problems = await new Parser().validate(JSON.stringify(asyncapi))
  assert.deepEqual(problems.filter(({ severity }) => severity === 0), [])
  const require = createRequire(import.meta.url)
  const schema = JSON.parse(readFileSync(require.resolve(`@asyncapi/specs/schemas/${asyncapi.asyncapi}.json`), 'utf8'))
  const ajv = formats(new Ajv({ strict: false, allErrors: true, meta: false, validateSchema: false, logger: false }))
  const check = ajv.compile(schema)
  assert.ok(check(asyncapi), JSON.stringify(check.errors?.slice(0, 5)))
})

test("the client's types are those of the descriptions", () => {
  const file = join(root, 'web/client/src/generated.ts')
  assert.equal(readFileSync(file, 'utf8'), generate(openapi, asyncapi), `${file} is stale: node web/client/generate.mjs <address of a server>`)
})

test('a value that is not as described is found', async () => {
  const { descriptions } = server
  const ada = await server.connect(7)
  const good = await ask(ada, 'message:send', { toUserId: 8, content: 'hello' })
  const message = await next(ada, 'message:sent')
  assert.equal(descriptions.event('message:sent', message), undefined)
  assert.match(descriptions.event('message:sent', { ...message, seq: 'one' }), /message:sent.*\/seq must be integer/)
  assert.match(descriptions.event('message:sent', { ...message, extra: 1 }), /unevaluated.*extra/)
  const { content: _, ...rest } = message
  assert.match(descriptions.event('message:sent', rest), /required property 'content'/)
  assert.match(descriptions.event('message:unknown', {}), /not described/)
  assert.match(descriptions.acknowledgement('message:send', { ...good, extra: 1 }), /unevaluated.*extra/)
  assert.match(descriptions.acknowledgement('message:send', { ok: false, error: 'no' }), /required property 'reason'/)
  const me = (await server.rest(7, 'GET', '/api/me')).json
  assert.match(descriptions.answer('GET', '/api/me', 200, 'application/json', { ...me, data: { ...me.data, extra: 1 } }), /unevaluated.*extra/)
  assert.match(descriptions.answer('GET', '/api/me', 299, 'application/json', me), /not described/)
  ada.close()
})

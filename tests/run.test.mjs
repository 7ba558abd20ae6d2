// The runner of the end-to-end tests says what it should: a file that passes at the second try only, and what was skipped.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'

const folder = mkdtempSync(join(tmpdir(), 'switchboard-runner-'))
const notes = join(folder, 'notes')
after(() => rmSync(folder, { recursive: true }))

/** Runs a file of tests; gives how it ended and the last lines. */
async function run(name, body, { CI = '', pattern = '' } = {}) {
  const file = join(folder, `${name}.test.mjs`)
  writeFileSync(file, `import { existsSync, writeFileSync } from 'node:fs'\nimport { test } from 'node:test'\n${body}`)
  rmSync(notes, { force: true })
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const ended = await new Promise((resolve) => {
    const options = { cwd: folder, env: { ...env, CI, TEST_NOTES: notes } }
    execFile(process.execPath, [join(import.meta.dirname, 'run.mjs'), file + pattern], options, (error, stdout) => resolve({ code: error ? error.code : 0, stdout }))
  })
  let noted = ''
  try { noted = readFileSync(notes, 'utf8') } catch { /* nothing was noted */ }
  return { ...ended, noted, last: ended.stdout.trim().split('\n').at(-1) }
}

const good = "test('good', () => {})\n"

test('a file that passes at the second try is FLAKY, and one that fails twice fails the run', async () => {
  const flag = JSON.stringify(join(folder, 'flag'))
  const flaky = await run('flaky', `${good}test('first time', () => { if (!existsSync(${flag})) { writeFileSync(${flag}, ''); throw new Error('once') } })`)
  assert.deepEqual([flaky.code, flaky.last, flaky.noted], [0, '2 passed, 0 failed, 0 skipped', 'FLAKY: flaky.test.mjs\n'])
  const broken = await run('broken', `${good}test('never', () => { throw new Error('always') })`)
  assert.deepEqual([broken.code, broken.last, broken.noted], [1, '1 passed, 1 failed, 0 skipped', ''])
  const silent = await run('silent', 'process.exit(3)')
  assert.equal(silent.code, 1)
})

test('what is skipped is said with its reason, and fails the run in CI', async () => {
  const body = `${good}test('engine', (context) => context.skip('no engine'))\ntest('SKIPPED: other; install it', { skip: true }, () => {})`
  const here = await run('skips', body)
  assert.deepEqual([here.code, here.last], [0, '1 passed, 0 failed, 2 skipped'])
  assert.equal(here.noted, 'SKIPPED: skips.test.mjs: engine: no engine\nSKIPPED: skips.test.mjs: other; install it\n')
  assert.equal((await run('skips', body, { CI: 'true' })).code, 1)
  const asked = await run('skips', body, { CI: 'true', pattern: '#good' })
  assert.deepEqual([asked.code, asked.last], [0, '1 passed, 0 failed, 0 skipped'], 'a test that was not asked for is not skipped')
})

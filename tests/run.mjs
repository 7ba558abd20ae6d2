// Runs files of end-to-end tests one after the other, each in a process of its own with node's test runner:
//
//   node run.mjs [--timeout MS] FILE[#PATTERN] ...
//
// With a pattern only the tests whose names have it run.
// A file that fails is run once more by itself. If it then passes it is printed as FLAKY and the run goes on; if it fails again,
// the run has failed. Each test that was skipped is printed as SKIPPED with its reason, and fails the run where `CI` is `true`:
// there everything is installed. FLAKY and SKIPPED also go to the file that `TEST_NOTES` names, which `make test` prints at its very
// end. The last line sums the tests of all files, as they ended at last.
import { spawn } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'

const { values, positionals: files } = parseArgs({ options: { timeout: { type: 'string', default: '600000' } }, allowPositionals: true })
if (files.length === 0) {
  console.error('no file is named: node run.mjs [--timeout MS] FILE[#PATTERN] ...')
  process.exit(2)
}
const folder = mkdtempSync(join(tmpdir(), 'switchboard-run-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

let running
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    running?.kill(signal)
    process.exit(1)
  })
}

/** What a report (TAP, https://testanything.org) says: the figures at its end, and the tests that were skipped. */
function read(report) {
  const figure = (word) => Number(report.match(new RegExp(`^# ${word} (\\d+)$`, 'm'))?.[1] ?? NaN)
  const [passed, failed, cancelled] = ['pass', 'fail', 'cancelled'].map(figure)
  const skipped = [...report.matchAll(/^\s*ok \d+ - (.*?) # SKIP ?(.*)$/gm)].filter(([, , reason]) => reason !== 'test name does not match pattern')
  // A name or a reason may say it already.
  const notes = skipped.map(([, name, reason]) => [name, reason].filter(Boolean).map((text) => text.replace(/^SKIPPED: /, '').replaceAll('\\#', '#')).join(': '))
  return { passed, failed: failed + cancelled, skipped: skipped.length, notes, whole: Number.isFinite(passed + failed) }
}

/** Runs one file; its report is passed on as it comes. */
async function run(named) {
  const [file, pattern] = named.split('#')
  const report = join(folder, 'report.tap')
  const reporters = [process.stdout.isTTY ? 'spec' : 'tap', 'stdout', 'tap', report]
  const options = ['--test', '--test-concurrency=1', `--test-timeout=${values.timeout}`]
  reporters.forEach((value, n) => options.push(`--test-reporter${n % 2 ? '-destination' : ''}=${value}`))
  if (pattern) options.push(`--test-name-pattern=${pattern}`)
  const begun = Date.now()
  // A runner inside a test of node's own would speak to that one instead of printing.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const child = spawn(process.execPath, [...options, file], { env, stdio: 'inherit' })
  running = child
  const code = await new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)))
  const { passed, failed, whole, ...rest } = read(readFileSync(report, 'utf8'))
  // A file that ends without a report is a failure of itself.
  const unsaid = (code !== 0 && !failed) || !whole ? 1 : 0
  return { ...rest, seconds: (Date.now() - begun) / 1000, passed: passed || 0, failed: (failed || 0) + unsaid }
}

const results = []
for (const file of files) {
  const name = relative(process.cwd(), file)
  let result = await run(file)
  let { seconds } = result
  let word = result.failed ? 'FAILED' : 'ok'
  if (result.failed) {
    console.log(`\n${name}: ${result.failed} failed; once more by itself\n`)
    result = await run(file)
    seconds += result.seconds
    if (!result.failed) word = 'FLAKY'
  }
  results.push({ ...result, name, word, seconds })
  console.log(`\n${word}: ${name}: ${result.passed} passed, ${result.failed} failed, ${result.skipped} skipped, ${seconds.toFixed(1)} s\n`)
}

const sum = (what) => results.reduce((all, result) => all + result[what], 0)
if (results.length > 1) for (const { name, word, seconds } of results) console.log(`${word.padEnd(6)} ${seconds.toFixed(1).padStart(6)} s  ${name}`)
const notes = results.flatMap(({ name, word, notes }) => [...(word === 'FLAKY' ? [`FLAKY: ${name}`] : []), ...notes.map((note) => `SKIPPED: ${name}: ${note}`)])
for (const note of notes) console.log(note)
if (process.env.TEST_NOTES && notes.length) appendFileSync(process.env.TEST_NOTES, `${notes.join('\n')}\n`)
const refused = process.env.CI === 'true' && sum('skipped') > 0
if (refused) console.log('Where CI is true nothing may be skipped: install what is missing in .ci/run')
console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`)
process.exitCode = sum('failed') || refused ? 1 : 0

// Runs files of end-to-end tests one after the other, each in a process of its own with node's test runner:
//
//   node run.mjs [--timeout MS] FILE[#PATTERN] ...
//
// With a pattern only the tests whose names have it run.
// A file that fails is run once more by itself. If it then passes it is printed as FLAKY and the run goes on; if it fails again,
// the run has failed. The last line sums the tests of all files, as they ended at last.
import { spawn } from 'node:child_process'
import { relative } from 'node:path'
import { parseArgs } from 'node:util'

const { values, positionals: files } = parseArgs({ options: { timeout: { type: 'string', default: '300000' } }, allowPositionals: true })
if (files.length === 0) {
  console.error('no file is named: node run.mjs [--timeout MS] FILE[#PATTERN] ...')
  process.exit(2)
}

// The figures at the end of a file's report. Both reporters write them, each with a mark of its own before the word.
const figure = (output, word) => Number(output.match(new RegExp(`^(?:#|\\u2139) ${word} (\\d+)$`, 'm'))?.[1])

let running
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    running?.kill(signal)
    process.exit(1)
  })
}

/** Runs one file; its report is passed on as it comes. */
async function run(named) {
  const [file, pattern] = named.split('#')
  const options = ['--test', '--test-concurrency=1', `--test-timeout=${values.timeout}`, `--test-reporter=${process.stdout.isTTY ? 'spec' : 'tap'}`]
  if (pattern) options.push(`--test-name-pattern=${pattern}`)
  const begun = Date.now()
  // A runner inside a test of node's own would speak to that one instead of printing.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const child = spawn(process.execPath, [...options, file], { env, stdio: ['inherit', 'pipe', 'inherit'] })
  running = child
  let output = ''
  child.stdout.on('data', (text) => {
    process.stdout.write(text)
    output += text
  })
  const code = await new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)))
  const [passed, failed, cancelled, skipped] = ['pass', 'fail', 'cancelled', 'skipped'].map((word) => figure(output, word))
  const unasked = output.match(/# (?:SKIP )?test name does not match pattern$/gm)?.length ?? 0
  const counted = Number.isFinite(passed) && Number.isFinite(failed)
  return {
    seconds: (Date.now() - begun) / 1000,
    passed: passed || 0,
    // A file that ends without a report is a failure of itself.
    failed: (failed || 0) + (cancelled || 0) + (code !== 0 && !(failed || cancelled) || !counted ? 1 : 0),
    skipped: (skipped || 0) - unasked,
    missing: [...new Set(output.match(/SKIPPED: [^\n]*?(?= # SKIP| \([\d.]+ms\)|$)/gm) ?? [])],
  }
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
for (const { missing } of results) for (const line of missing) console.log(line)
for (const { name, word } of results) if (word === 'FLAKY') console.log(`FLAKY: ${name}`)
console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`)
process.exitCode = sum('failed') ? 1 : 0

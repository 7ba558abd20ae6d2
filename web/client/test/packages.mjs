// Packs the client as it would be published and installs it into fresh projects: Node (ESM and CommonJS, with their types), Vite and
// Metro, the bundler of React Native. Says SKIPPED where the package registry cannot be reached.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const client = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'switchboard-packages-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
const npm = ['--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline', '--fetch-retries=1', '--fetch-timeout=20000']

function skip(why) {
  const note = `SKIPPED: the packed client in fresh projects: ${why}`
  console.log(note)
  if (process.env.TEST_NOTES) appendFileSync(process.env.TEST_NOTES, `${note}\n`)
  process.exit(0)
}

const registry = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim()
await fetch(`${registry.replace(/\/$/, '')}/socket.io-client/latest`, { signal: AbortSignal.timeout(5000) })
  .catch(({ message }) => skip(`${registry} cannot be reached (${message})`))

const [packed] = JSON.parse(execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: client, encoding: 'utf8' }))
const archive = join(folder, packed.filename)
const files = packed.files.map(({ path }) => path)
for (const file of ['package.json', 'README.md', 'LICENSE-MIT', 'LICENSE-APACHE', 'dist/index.js', 'dist/index.cjs', 'dist/index.d.ts', 'dist/index.d.cts']) {
  assert.ok(files.includes(file), `the package has no ${file}`)
}
assert.deepEqual(files.filter((file) => /^(src|test)\//.test(file)), [])

/** A fresh project with the packed client and other packages. */
function project(name, packages, sources) {
  const place = join(folder, name)
  mkdirSync(place)
  writeFileSync(join(place, 'package.json'), JSON.stringify({ name, private: true, version: '1.0.0' }))
  for (const [file, text] of Object.entries(sources)) writeFileSync(join(place, file), text)
  execFileSync('npm', ['install', ...npm, archive, ...packages], { cwd: place, stdio: ['ignore', 'ignore', 'inherit'] })
  return place
}

const run = (place, file, ...words) => promisify(execFile)(process.execPath, [file, ...words], { cwd: place, encoding: 'utf8' })
  .catch(({ message, stdout }) => assert.fail(`${message}\n${stdout}`))

const typed = `
const client = createClient({ token: 'x' })
const stop: () => void = client.on('message:received', ({ content }) => content.length)
client.once('incoming', async (call) => { await call.accept() })
// @ts-expect-error there is no such event
client.on('message:recieved', () => undefined)
// @ts-expect-error the payload is incomplete
client.ask('call:add', { callId: 'c' })
stop()
export type Seen = wire.Message
`

async function node() {
  const place = project('node', [], {
    'esm.mjs': "import { createClient } from '@switchboard/client'\ncreateClient({ token: 'x' }).on('error', () => {})\nconsole.log(typeof createClient)\n",
    'cjs.cjs': "const { createClient } = require('@switchboard/client')\ncreateClient({ token: 'x' }).on('error', () => {})\nconsole.log(typeof createClient)\n",
    'typed.mts': `import { createClient, type wire } from '@switchboard/client'${typed}`,
    'typed.cts': `import { createClient, type wire } from '@switchboard/client'${typed}`,
    'tsconfig.json': JSON.stringify({
      compilerOptions: { module: 'nodenext', target: 'es2022', lib: ['es2023', 'dom'], strict: true, noEmit: true, types: [] }, include: ['*.mts', '*.cts'],
    }),
  })
  for (const file of ['esm.mjs', 'cjs.cjs']) assert.equal((await run(place, file)).stdout.trim(), 'function', file)
  await run(place, tsc, '-p', '.')
}

async function vite() {
  const place = project('vite', ['vite@7'], {
    'index.html': '<script type="module" src="/main.js"></script>',
    'main.js': "import { createClient } from '@switchboard/client'\nglobalThis.client = createClient({ token: 'x' })\n",
    'unused.html': '<script type="module" src="/unused.js"></script>',
    'unused.js': "import '@switchboard/client'\nglobalThis.nothing = true\n",
    'vite.config.mjs': "export default { build: { rollupOptions: { input: ['index.html', 'unused.html'] } } }\n",
  })
  await run(place, 'node_modules/vite/bin/vite.js', 'build', '--logLevel', 'warn')
  const built = readdirSync(join(place, 'dist/assets')).map((name) => [name, readFileSync(join(place, 'dist/assets', name), 'utf8')])
  assert.ok(built.some(([name, text]) => /^index/.test(name) && text.includes('message:delivered')), 'the client is not in the bundle')
  assert.ok(!built.some(([name, text]) => /^unused/.test(name) && text.includes('message:delivered')), 'the client has side effects')
}

async function metro() {
  const place = project('metro', ['metro@0.83', '@react-native/babel-preset@0.81', '@babel/runtime@7'], {
    'index.js': "import { createClient } from '@switchboard/client'\nglobalThis.client = createClient({ token: 'x' })\n",
    'bundle.cjs': `
const Metro = require('metro')
Metro.loadConfig({ cwd: __dirname }, {
  projectRoot: __dirname, maxWorkers: 1, resetCache: true, reporter: { update() {} }, resolver: { platforms: ['ios', 'android'], useWatchman: false },
}).then((config) => Metro.runBuild(config, { entry: 'index.js', platform: 'ios', dev: false, minify: false, out: 'bundle.js' }))
  .then(() => process.exit(0), (error) => { console.error(error); process.exit(1) })
`,
  })
  await run(place, 'bundle.cjs')
  assert.ok(readFileSync(join(place, 'bundle.js'), 'utf8').includes('message:delivered'), 'the client is not in the bundle')
}

for (const check of [node, vite, metro]) {
  const since = Date.now()
  await check()
  console.log(`the packed client works in a fresh project: ${check.name} (${Math.round((Date.now() - since) / 1000)} s)`)
}

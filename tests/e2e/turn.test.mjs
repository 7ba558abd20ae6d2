// The embedded relay with other people's clients: coturn's own, and Chromium that may use nothing but a relay.
import assert from 'node:assert/strict'
import { execFile, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connect as secure } from 'node:tls'
import { promisify } from 'node:util'
import { launch, page, seeing, videoCall } from './support/browser.mjs'
import { Server, freePort, token, until } from './support/server.mjs'

const run = promisify(execFile)
const hasCoturn = spawnSync('which', ['turnutils_uclient']).status === 0
const skip = hasCoturn ? false : 'SKIPPED LOUDLY: turnutils_uclient is not here; install the Debian package coturn'
if (skip) console.error(`\n${skip}\n`)

let server
let browser
let echo
let ice
const peerPort = await freePort()
const folder = mkdtempSync(join(tmpdir(), 'switchboard-cert-'))

before(async () => {
  await certificate(folder)
  server = await Server.start({
    args: ['--dev'],
    env: {
      SWITCHBOARD_TURN__MODE: 'open',
      SWITCHBOARD_TURN__HOST: '::',
      SWITCHBOARD_TURN__PORT: String(await freePort()),
      SWITCHBOARD_TURN__TLS_PORT: String(await freePort()),
      SWITCHBOARD_TURN__TLS_CERT: join(folder, 'cert.pem'),
      SWITCHBOARD_TURN__TLS_KEY: join(folder, 'key.pem'),
      SWITCHBOARD_TURN__ADVERTISED_IPS: '["127.0.0.1","::1"]',
      SWITCHBOARD_TURN__ALLOW_PEERS: '["127.0.0.0/8","::1/128"]',
      SWITCHBOARD_TURN__OLD_CHANNELS: 'true',
      SWITCHBOARD_TURN__DRAIN_LIMIT: '0',
      SWITCHBOARD_ICE__RELAY_ONLY: 'true',
    },
  })
  const config = await server.rest(101, 'GET', '/api/calls/webrtc-config')
  ice = config.json.data.iceServers[0]
  if (hasCoturn) echo = spawn('turnutils_peer', ['-L', '127.0.0.1', '-L', '::1', '-p', String(peerPort)], { stdio: 'ignore' })
  browser = await launch(['--ignore-certificate-errors', '--allow-loopback-in-peer-connection'])
})
after(async () => {
  echo?.kill()
  await browser?.close()
  await server?.stop()
  rmSync(folder, { recursive: true })
})

async function certificate(folder) {
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem'), ...subject])
}

const port = (scheme) => ice.urls.find((url) => url.startsWith(`${scheme}:127.0.0.1:`)).match(/:(\d+)\?/)[1]
const outside = (ip) => ['-e', ip, '-r', String(peerPort)]
for (const [name, options, to = '127.0.0.1'] of [
  ['channels over UDP', ['-c', ...outside('127.0.0.1')]],
  ['indications', ['-c', '-s', ...outside('127.0.0.1')]],
  ['EVEN-PORT pairs with a reservation', outside('127.0.0.1')],
  ['TCP', ['-t', '-c', ...outside('127.0.0.1')]],
  ['TLS', ['-t', '-S', '-c', ...outside('127.0.0.1')]],
  ['IPv6', ['-x', '-c', ...outside('::1')], '::1'],
  ['IPv6 relayed for an IPv4 client', ['-x', '-c', ...outside('::1')]],
  ['a dual allocation', ['-Z', '-y']],
  ['DONT-FRAGMENT', ['-g', '-c', ...outside('127.0.0.1')]],
  ['client to client over channels', ['-y', '-c']],
  ['client to client over indications', ['-y', '-c', '-s']],
]) {
  test(`coturn's client: ${name}, with credentials of webrtc-config`, { skip, timeout: 60000 }, async () => {
    const at = options.includes('-S') ? port('turns') : port('turn')
    const args = ['-n', '20', '-l', '200', '-m', '2', '-u', ice.username, '-w', ice.credential, ...options, '-p', at, to]
    const { stdout, stderr } = await run('turnutils_uclient', args, { timeout: 50000 })
    const lost = `${stdout}${stderr}`.match(/Total lost packets (\d+) \(([\d.]+)%\), total send dropped (\d+)/)
    assert.ok(lost, `no summary in ${stdout}${stderr}`)
    assert.deepEqual(lost.slice(1), ['0', '0.000000', '0'], stdout)
  })
}

test('a wrong password is refused, and twenty clients with one are one line in the log', { skip, timeout: 60000 }, async () => {
  const args = ['-n', '1', '-m', '1', '-u', ice.username, '-w', 'guess', '-c', ...outside('127.0.0.1'), '-p', port('turn'), '127.0.0.1']
  const guess = () => run('turnutils_uclient', args, { timeout: 3000 }).then(() => 'let in', () => 'refused')
  assert.deepEqual(new Set(await Promise.all([...Array(20)].map(guess))), new Set(['refused']))
  const lines = server.log.split('\n').filter((line) => line.includes('credential was refused'))
  assert.equal(lines.length, 1, server.log)
  assert.ok(!server.log.includes(ice.credential))
})

test('a TLS handshake that stops half-way is given up', { timeout: 30000 }, async () => {
  const started = Date.now()
  const ended = [0, 1, 2].map((length) => new Promise((resolve) => {
    const half = connect(Number(port('turns')), '127.0.0.1', () => half.write(Buffer.from([22, 3, 1, 2, 0, 1].slice(0, length * 3))))
    half.resume().on('error', () => {}).on('close', () => resolve(Date.now() - started))
  }))
  for (const after of await Promise.all(ended)) assert.ok(after > 8000 && after < 14000, `closed after ${after} ms`)
})

test('a renewed certificate is used without a restart', { timeout: 60000 }, async () => {
  const seen = () => new Promise((resolve, reject) => {
    const line = secure({ port: Number(port('turns')), host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(line.getPeerCertificate().fingerprint256)
      line.end()
    })
    line.on('error', reject)
  })
  const before = await seen()
  await certificate(folder)
  await until(async () => await seen() !== before, 'the new certificate', 25000)
})

for (const [name, wanted] of [
  ['TCP', 'turn:127.0.0.1:[0-9]+\\?transport=tcp'],
  ['TLS', 'turns:127.0.0.1:[0-9]+\\?transport=tcp'],
  ['UDP', 'turn:127.0.0.1:[0-9]+\\?transport=udp'],
]) {
  test(`Chromium completes a call through the relay alone, over ${name}`, { timeout: 90000 }, async () => {
    const only = (pattern) => {
      const Native = window.RTCPeerConnection
      window.RTCPeerConnection = class extends Native {
        constructor(config) {
          const fits = (url) => new RegExp(`^${pattern}$`).test(url)
          super({ ...config, iceServers: config.iceServers.map((one) => ({ ...one, urls: one.urls.filter(fits) })) })
          window.peer = this
          window.policy = config.iceTransportPolicy
        }
      }
    }
    const ada = await page(browser, `${server.url}/demo?u=101&with=102`, {}, [only, wanted])
    const ben = await page(browser, `${server.url}/demo?u=102&with=101&media=test`, {}, [only, wanted])
    await videoCall(ada, ben)
    await seeing([ada, ben], 30000)
    for (const tab of [ada, ben]) {
      const pair = await tab.evaluate(async () => {
        const stats = [...(await window.peer.getStats()).values()]
        const pair = stats.find((one) => one.type === 'candidate-pair' && one.nominated)
        const local = stats.find((one) => one.id === pair.localCandidateId)
        const remote = stats.find((one) => one.id === pair.remoteCandidateId)
        return { policy: window.policy, types: [local.candidateType, remote.candidateType], protocol: local.relayProtocol }
      })
      assert.deepEqual(pair, { policy: 'relay', types: ['relay', 'relay'], protocol: name.toLowerCase() })
    }
    // The last of them, because it closes an account.
    if (name === 'UDP') await watched()
    await ada.context().close(); await ben.context().close()
  })
}

/** What an operator sees while two people talk through the relay, and how a closed account ends it. */
async function watched() {
  const admin = { authorization: `Bearer ${token(1, { role: 'admin' })}` }
  const seen = async () => (await server.rest(null, 'GET', '/api/admin/turn/allocations', undefined, admin)).json.data
  const all = await seen()
  for (const user of ['101', '102']) {
    const busy = all.find((one) => one.user === user && one.bytesToPeers > 10000 && one.bytesToClient > 10000)
    assert.ok(busy, JSON.stringify(all))
    assert.equal(busy.transport, 'udp')
  }
  assert.equal((await server.rest(101, 'GET', '/api/admin/turn/allocations')).status, 403)
  await until(async () => {
    const metrics = await (await fetch(`${server.url}/metrics`, { headers: admin })).text()
    const figure = (name) => Number(metrics.match(new RegExp(`^${name} (\\S+)`, 'm'))?.[1])
    return figure('rtc_turn_allocations') >= 2 && figure('rtc_turn_packets_inside_total') > 100
  }, 'the figures of the relay')
  assert.equal((await server.rest(null, 'DELETE', '/api/users/102', undefined, admin)).status, 202)
  await until(async () => !(await seen()).some((one) => one.user === '102'), 'the allocations of a closed account to end')
}

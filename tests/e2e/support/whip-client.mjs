// WHIP and WHEP for the tests: clients in processes of their own, and a plain offer.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { root, token, until } from './server.mjs'

export const python = process.env.AIORTC_PYTHON ?? `${root}/target/venv/bin/python`

/** A client that publishes into a room, or views it: libwebrtc, or aiortc where `program` says so. */
export function whipClient(server, kind, user, room, { program = 'libwebrtc', env = {} } = {}) {
  const [command, script] = program === 'aiortc' ? [python, 'whip.py'] : [process.execPath, 'whip.mjs']
  const url = `${server.url}/${kind === 'publish' ? 'whip' : 'whep'}/${room}`
  const child = spawn(command, [`${root}/tests/e2e/support/${script}`, kind, url, token(user)], { env: { ...process.env, ...env } })
  const client = {
    events: [], errors: '',
    says: (wanted) => client.events.some(({ event, state }) => event === 'state' && state === wanted),
    frames: (of) => client.events.findLast(({ event, kind }) => event === 'frames' && kind === of)?.count ?? 0,
    kill: () => child.kill('SIGKILL'),
    async end() {
      child.stdin.end()
      await until(() => client.events.some(({ event }) => event === 'ended'), `${program} ends its session`)
      client.kill()
    },
  }
  child.stderr.on('data', (text) => (client.errors += text))
  createInterface({ input: child.stdout }).on('line', (line) => client.events.push(JSON.parse(line)))
  return client
}

const CODECS = { audio: '111 opus/48000/2', video: '96 VP8/90000' }

/** An offer as a plain client makes it: one fingerprint, and a section of each kind. */
export const plainOffer = (...kinds) => [
  'v=0', 'o=- 1 1 IN IP4 0.0.0.0', 's=-', 't=0 0', `a=group:BUNDLE ${kinds.map((_, mid) => mid).join(' ')}`,
  ...kinds.flatMap((kind, mid) => [
    `m=${kind} 9 UDP/TLS/RTP/SAVPF ${CODECS[kind].split(' ')[0]}`, 'c=IN IP4 0.0.0.0', `a=mid:${mid}`, 'a=ice-ufrag:abcd',
    'a=ice-pwd:abcdefghijklmnopqrstuvwx', 'a=setup:actpass', 'a=rtcp-mux', `a=fingerprint:sha-256 ${Array(32).fill('AA').join(':')}`,
    'a=sendonly', `a=rtpmap:${CODECS[kind]}`,
  ]), '',
].join('\r\n')

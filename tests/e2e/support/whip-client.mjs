// WHIP and WHEP for the tests: clients in processes of their own, and a plain offer.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { root, token, until } from './server.mjs'

export const python = process.env.AIORTC_PYTHON ?? `${root}/target/venv/bin/python`

export const pion = `${root}/target/pion`
/** Debian's own Python: the bindings of GStreamer belong to it. */
export const systemPython = '/usr/bin/python3'

const support = `${root}/tests/e2e/support`
const PROGRAMS = {
  libwebrtc: [process.execPath, `${support}/whip.mjs`],
  aiortc: [python, `${support}/whip.py`],
  pion: [pion],
  gstreamer: [systemPython, `${support}/whip-gstreamer.py`],
}

/** A client that publishes into a room, or views it: libwebrtc, or another where `program` says so; `words` are what it takes beside. */
export function whipClient(server, kind, user, room, { program = 'libwebrtc', env = {}, words = [] } = {}) {
  const [command, ...script] = PROGRAMS[program]
  const url = `${server.url}/${kind === 'publish' ? 'whip' : 'whep'}/${room}`
  const child = spawn(command, [...script, kind, url, token(user), ...words], { env: { ...process.env, ...env } })
  const client = {
    events: [], errors: '',
    says: (wanted) => client.events.some(({ event, state }) => event === 'state' && state === wanted),
    frames: (of) => client.events.findLast(({ event, kind }) => event === 'frames' && kind === of)?.count ?? 0,
    /** What a publisher with libwebrtc has given to its encoder. */
    sent: (of) => client.events.findLast(({ event, kind }) => event === 'sent' && kind === of)?.count ?? 0,
    /** The codecs in which pictures came. */
    codecs: () => [...new Set(client.events.filter(({ event, kind }) => event === 'frames' && kind === 'video').map(({ codec }) => codec))],
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

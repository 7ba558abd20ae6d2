// Publishes into a room by WHIP or receives one by WHEP with libwebrtc: `whip.mjs publish|view URL TOKEN`. What happens goes out
// as lines of JSON; the end of standard input ends the session. A process of its own, as libwebrtc for Node wants it.
import wrtc from '@roamhq/wrtc'

const [kind, url, token] = process.argv.slice(2)
const { RTCAudioSource, RTCVideoSource, RTCAudioSink, RTCVideoSink } = wrtc.nonstandard
const tell = (event, data = {}) => process.stdout.write(`${JSON.stringify({ event, ...data })}\n`)
const ask = (method, at, body) => fetch(at, { method, body, headers: { authorization: `Bearer ${token}`, 'content-type': 'application/sdp' } })

const peer = new wrtc.RTCPeerConnection({ iceServers: [] })
peer.onconnectionstatechange = () => tell('state', { state: peer.connectionState })
if (kind === 'publish') {
  const [audio, video] = [new RTCAudioSource(), new RTCVideoSource()]
  peer.addTransceiver(audio.createTrack(), { direction: 'sendonly' })
  peer.addTransceiver(video.createTrack(), { direction: 'sendonly' })
  const samples = new Int16Array(480).map((_, n) => Math.sin(n / 7.6) * 12000)
  const given = { audio: 0, video: 0 }
  const counted = (kind) => (given[kind] += 1) % 10 === 0 && tell('sent', { kind, count: given[kind] })
  setInterval(() => {
    audio.onData({ samples, sampleRate: 48000, bitsPerSample: 16, channelCount: 1, numberOfFrames: 480 })
    counted('audio')
  }, 10)
  const [width, height] = [320, 240]
  let shade = 0
  setInterval(() => {
    video.onFrame({ width, height, data: new Uint8ClampedArray(width * height * 1.5).fill((shade += 3) % 255) })
    counted('video')
  }, 50)
} else {
  for (const kind of ['audio', 'video']) peer.addTransceiver(kind, { direction: 'recvonly' })
}
peer.ontrack = ({ track }) => {
  let count = 0
  const noted = ({ frame }) => {
    if (track.kind === 'audio' || frame) count += 1
    if (count % 10 === 0) tell('frames', { kind: track.kind, count, ...(frame && { width: frame.width }) })
  }
  if (track.kind === 'audio') new RTCAudioSink(track).ondata = noted
  else new RTCVideoSink(track).onframe = noted
}
await peer.setLocalDescription(await peer.createOffer())
// Somebody else's certificate, for a test.
const spoilt = process.env.SPOIL_FINGERPRINT ? peer.localDescription.sdp.replace(/(a=fingerprint:\S+ )(\S\S)/g, (_, name, first) => name + (first === '00' ? '01' : '00')) : peer.localDescription.sdp
const answered = await ask('POST', url, spoilt)
if (answered.status !== 201) throw new Error(`${answered.status}: ${await answered.text()}`)
await peer.setRemoteDescription({ type: 'answer', sdp: await answered.text() })
process.stdin.resume().on('end', async () => {
  await ask('DELETE', new URL(answered.headers.get('location'), url))
  tell('ended')
})

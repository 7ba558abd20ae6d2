// One side of a call as the original service's README codes it, with a real libwebrtc peer, in a process of its own (the
// native module does not survive the end of a process gracefully, so the parent ends this one).
// Commands come as lines of JSON on standard input, results go out as lines of JSON.
import { createInterface } from 'node:readline'
import wrtc from '@roamhq/wrtc'
import { io } from 'socket.io-client'

const [url, token, ...kinds] = process.argv.slice(2)
const socket = io(url, { transports: ['websocket'], auth: { token } })
const peer = new wrtc.RTCPeerConnection()
const source = new wrtc.nonstandard.RTCAudioSource()
peer.addTrack(source.createTrack())
const samples = new Int16Array(480).map((_, n) => Math.sin(n / 7.6) * 12000)
setInterval(() => source.onData({ samples, sampleRate: 48000, bitsPerSample: 16, channelCount: 1, numberOfFrames: 480 }), 10)

/** A picture that moves, sent from now on. */
function addVideo() {
  const camera = new wrtc.nonstandard.RTCVideoSource()
  const [width, height] = [320, 240]
  const data = new Uint8ClampedArray((width * height * 3) / 2)
  let shade = 0
  setInterval(() => {
    data.fill((shade += 4) % 256)
    camera.onFrame({ width, height, data })
  }, 40)
  peer.addTrack(camera.createTrack())
}
if (kinds.includes('video')) addVideo()

const tell = (event, data = {}) => process.stdout.write(`${JSON.stringify({ event, data })}\n`)
process.on('unhandledRejection', (error) => tell('problem', String(error)))
const early = []
const received = { audio: 0, video: 0 }
let listen = () => {}
let call
let other

peer.ontrack = ({ track }) => {
  if (track.kind === 'video') {
    const sink = new wrtc.nonstandard.RTCVideoSink(track)
    let seen = 0
    sink.onframe = ({ frame }) => {
      received.video += 1
      if (++seen === 20) tell('sees', { width: frame.width, height: frame.height })
    }
    return
  }
  const sink = new wrtc.nonstandard.RTCAudioSink(track)
  let listening = true
  listen = () => (listening = true)
  sink.ondata = ({ samples: heard }) => {
    received.audio += 1
    if (!listening || !heard.some((sample) => Math.abs(sample) > 1000)) return
    listening = false
    tell('hears')
  }
}
peer.onconnectionstatechange = () => tell('state', peer.connectionState)
peer.onicecandidate = ({ candidate }) => {
  if (candidate) socket.emit('webrtc:ice-candidate', { callId: call, toUserId: other, candidate })
}
socket.on('connect', () => tell('connect'))
socket.on('call:initiated', (data) => { call = data.callId; tell('call:initiated', data) })
socket.on('call:incoming', (data) => {
  call = data.callId
  other = data.fromUserId
  tell('call:incoming', data)
  socket.emit('call:respond', { callId: call, response: 'accept', toUserId: other })
})
socket.on('call:response', async (data) => {
  tell('call:response', data)
  const offer = await peer.createOffer()
  await peer.setLocalDescription(offer)
  socket.emit('webrtc:offer', { callId: call, toUserId: other, offer })
})
for (const name of ['call:responded', 'recording:started', 'recording:stopped', 'recording:ready', 'recording:failed', 'recording:consent-request']) {
  socket.on(name, (data) => tell(name, data))
}
socket.on('call:ended', (data) => tell('call:ended', data))
socket.on('webrtc:offer', async (data) => {
  await peer.setRemoteDescription(data.offer)
  const answer = await peer.createAnswer()
  await peer.setLocalDescription(answer)
  socket.emit('webrtc:answer', { callId: data.callId, toUserId: data.fromUserId, answer })
  for (const candidate of early.splice(0)) await peer.addIceCandidate(candidate)
})
socket.on('webrtc:answer', async (data) => {
  await peer.setRemoteDescription(data.answer)
  for (const candidate of early.splice(0)) await peer.addIceCandidate(candidate)
  tell('answered')
})
socket.on('webrtc:ice-candidate', async (data) => {
  if (peer.remoteDescription) await peer.addIceCandidate(data.candidate)
  else early.push(data.candidate)
})

createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line)
  const { dial, hangup, add, restart, hold, where } = command
  if (command.listen) listen()
  if (command.count) tell('count', received)
  const offer = async (options) => {
    await peer.setLocalDescription(await peer.createOffer(options))
    socket.emit('webrtc:offer', { callId: call, toUserId: other, offer: peer.localDescription })
  }
  if (add) {
    addVideo()
    void offer()
  }
  if (hold !== undefined) {
    for (const transceiver of peer.getTransceivers()) transceiver.direction = hold ? 'inactive' : 'sendrecv'
    void offer()
  }
  if (restart) void offer({ iceRestart: true })
  if (where) {
    void peer.getStats().then((report) => {
      const all = [...report.values()]
      const selected = all.find(({ type }) => type === 'transport')?.selectedCandidatePairId
      const pair = all.find(({ id }) => id === selected)
      const remote = all.find(({ id }) => id === pair?.remoteCandidateId)
      tell('where', { port: remote?.port, address: remote?.address ?? remote?.ip, directions: peer.getTransceivers().map((one) => one.currentDirection) })
    })
  }
  if (dial) {
    other = dial
    socket.emit('call:initiate', { toUserId: dial, callType: 'voice' })
  }
  if (hangup) socket.emit('call:end', { callId: call, toUserId: other })
})

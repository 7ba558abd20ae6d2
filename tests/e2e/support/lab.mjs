// Peer connections of a real browser under a test's hand: the page makes descriptions and counts pictures, the test does the
// signalling. Chromium's pages and Firefox's go alike, and a page holds as many connections as the test wants.
import { ask, token, until } from './server.mjs'

/** What runs in the page: `window.lab`. */
function inPage() {
  const peers = new Map()

  /** A moving picture without a camera: each frame differs from the one before in every block. */
  async function picture({ width = 320, height = 240, rate = 15 }) {
    // Firefox draws no canvas that nobody looks at; its made-up camera goes on.
    if (/Firefox/.test(navigator.userAgent)) {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width, height, frameRate: rate } })
      return stream.getVideoTracks()[0]
    }
    const canvas = document.createElement('canvas')
    Object.assign(canvas, { width, height })
    const pen = canvas.getContext('2d')
    let at = 0
    const draw = () => {
      at += 1
      pen.fillStyle = `hsl(${at * 5 % 360} 60% 50%)`
      pen.fillRect(0, 0, width, height)
      pen.fillStyle = 'white'
      pen.fillRect(at * 4 % width, 0, width / 8, height)
    }
    draw()
    setInterval(draw, 1000 / rate)
    return canvas.captureStream(rate).getVideoTracks()[0]
  }

  /** A tone. */
  function tone() {
    const context = new AudioContext()
    const end = context.createMediaStreamDestination()
    const source = context.createOscillator()
    source.connect(end)
    source.start()
    return end.stream.getAudioTracks()[0]
  }

  /** Puts the formats of this codec first; the others follow. */
  function prefer(transceiver, codec) {
    const { codecs } = RTCRtpSender.getCapabilities('video')
    const first = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${codec}`)
    if (!first.length) throw new Error(`this browser cannot send ${codec}`)
    transceiver.setCodecPreferences([...first, ...codecs.filter((one) => !first.includes(one))])
  }

  async function pictures({ peer }) {
    const report = [...(await peer.getStats()).values()]
    const codecs = Object.fromEntries(report.filter(({ type }) => type === 'codec').map(({ id, mimeType }) => [id, mimeType]))
    return report.filter(({ type, kind }) => type === 'inbound-rtp' && kind === 'video').map(({ mid, framesDecoded = 0, frameWidth, codecId }) => ({ mid, framesDecoded, frameWidth, codec: codecs[codecId] }))
  }

  window.lab = {
    open(name) {
      const peer = new RTCPeerConnection()
      const opened = { peer, sent: [], shown: [] }
      peer.addEventListener('track', ({ track }) => {
        const element = Object.assign(document.createElement('video'), { muted: true, autoplay: true, srcObject: new MediaStream([track]) })
        document.body.append(element)
        opened.shown.push(element)
        void element.play().catch(() => undefined)
      })
      peers.set(name, opened)
    },

    /** Adds what is sent, a picture or `kind: 'audio'`; its number is given. */
    async send(name, { kind, encodings, codec, ...size }) {
      const { peer, sent } = peers.get(name)
      const transceiver = peer.addTransceiver(kind === 'audio' ? tone() : await picture(size), { direction: 'sendonly', ...(encodings && { sendEncodings: encodings }) })
      if (codec) prefer(transceiver, codec)
      return sent.push(transceiver) - 1
    },

    receive(name, kinds) {
      for (const kind of kinds) peers.get(name).peer.addTransceiver(kind, { direction: 'recvonly' })
    },

    mid: (name, n) => peers.get(name).sent[n].mid,
    prefer: (name, n, codec) => prefer(peers.get(name).sent[n], codec),
    direct: (name, n, direction) => (peers.get(name).sent[n].direction = direction),
    stop: (name, n) => peers.get(name).sent[n].stop(),

    /** Switches one of several encodings on or off. */
    async encode(name, n, rid, active) {
      const { sender } = peers.get(name).sent[n]
      const parameters = sender.getParameters()
      const encoding = parameters.encodings.find((one) => one.rid === rid)
      if (!encoding) throw new Error(`no encoding ${rid} among ${parameters.encodings.map((one) => one.rid)}`)
      encoding.active = active
      await sender.setParameters(parameters)
    },

    async offer(name, options) {
      const { peer } = peers.get(name)
      await peer.setLocalDescription(await peer.createOffer(options))
      return peer.localDescription.sdp
    },

    answered: (name, sdp) => peers.get(name).peer.setRemoteDescription({ type: 'answer', sdp }),

    async take(name, sdp) {
      const { peer } = peers.get(name)
      await peer.setRemoteDescription({ type: 'offer', sdp })
      await peer.setLocalDescription(await peer.createAnswer())
      return peer.localDescription.sdp
    },

    pictures: (name) => pictures(peers.get(name)),
    sound: async (name) => [...(await peers.get(name).peer.getStats()).values()].filter(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio').map(({ mid, packetsReceived }) => ({ mid, packetsReceived })),
    states: (name) => ({ connection: peers.get(name).peer.connectionState, ice: peers.get(name).peer.iceConnectionState }),

    /** Looks at the decoded pictures every 250 ms and notes, for each section, when there were more than a look before. */
    watch(name) {
      const watched = peers.get(name)
      Object.assign(watched, { looks: [], seen: new Map() })
      let busy = false
      watched.timer = setInterval(async () => {
        if (busy) return
        busy = true
        const all = await pictures(watched)
        const now = Date.now()
        watched.looks.push(now)
        for (const { mid, framesDecoded } of all) {
          const seen = watched.seen.get(mid) ?? { times: [] }
          if (framesDecoded > (seen.framesDecoded ?? 0)) seen.times.push(now)
          // A section that is used again begins anew.
          watched.seen.set(mid, { ...seen, framesDecoded })
        }
        busy = false
      }, 250)
    },

    /** When it looked, and when each section had more. */
    watched: (name) => ({ looks: peers.get(name).looks, more: Object.fromEntries([...peers.get(name).seen].map(([mid, { times }]) => [mid, times])) }),

    close(name) {
      clearInterval(peers.get(name).timer)
      peers.get(name).peer.close()
      peers.delete(name)
    },
  }
}

/** Makes a page ready for connections. */
export const prepare = (made) => made.evaluate(inPage)

let names = 0

/** One connection in a page. Playwright and Puppeteer hand a function one value, or several: it is one here. */
export class Peer {
  static async open(made) {
    const peer = new Peer()
    peer.made = made
    peer.name = `peer-${names += 1}`
    await peer.do('open')
    return peer
  }

  do(what, ...words) {
    return this.made.evaluate(([what, ...words]) => window.lab[what](...words), [what, this.name, ...words])
  }

  /** WHIP and WHEP: one offer by HTTP; gives the answer's text. */
  async byHttp(server, user, path) {
    const response = await fetch(server.url + path, { method: 'POST', body: await this.do('offer'), headers: { authorization: `Bearer ${token(user)}`, 'content-type': 'application/sdp' } })
    const text = await response.text()
    if (response.status !== 201) throw new Error(`${path}: ${response.status} ${text}`)
    await this.do('answered', text)
    return text
  }
}

/** A participant of a room whose connections are in a page. */
export class Member {
  static async join(server, made, user, roomId, options = {}) {
    const member = new Member()
    Object.assign(member, { made, sent: [], stopped: new Set(), rejected: [], trackOf: new Map(), problems: [] })
    member.socket = await server.connect(user)
    const joined = await ask(member.socket, 'room:join', { roomId, ...options })
    if (!joined.ok) throw new Error(JSON.stringify(joined))
    Object.assign(member, { sessionId: joined.sessionId, self: joined.self })
    member.queue = Promise.resolve()
    return member
  }

  /** Publishes `what`, as `lab.send` takes it; gives its number. */
  async send(what) {
    this.sending ??= await Peer.open(this.made)
    const n = await this.sending.do('send', what)
    this.sent.push(what)
    await this.publish()
    return n
  }

  /** Offers what is sent, as it is now; gives the tracks of the answer. A section that is rejected and was not stopped is noted. */
  async publish(options) {
    const sdp = this.change(await this.sending.do('offer', options))
    const tracks = []
    for (const [n, { kind }] of this.sent.entries()) {
      if (!this.stopped.has(n)) tracks.push({ mid: await this.sending.do('mid', n), source: kind === 'audio' ? 'microphone' : 'camera' })
    }
    const ack = await ask(this.socket, 'room:publish', { sessionId: this.sessionId, offer: { type: 'offer', sdp }, tracks })
    if (!ack.ok) throw new Error(`room:publish: ${JSON.stringify(ack)}`)
    this.note(sdp, ack.answer.sdp)
    await this.sending.do('answered', ack.answer.sdp)
    for (const { mid, trackId } of ack.tracks) this.trackOf.set(mid, trackId)
    return ack.tracks
  }

  /** What becomes of an offer before the server gets it. */
  change = (sdp) => sdp

  async stop(n) {
    this.stopped.add(n)
    await this.sending.do('stop', n)
  }

  async restart() {
    const sdp = await this.sending.do('offer', { iceRestart: true })
    const ack = await ask(this.socket, 'room:ice-restart', { sessionId: this.sessionId, target: 'publish', offer: { type: 'offer', sdp } })
    if (!ack.ok) throw new Error(`room:ice-restart: ${JSON.stringify(ack)}`)
    this.note(sdp, ack.answer.sdp)
    await this.sending.do('answered', ack.answer.sdp)
  }

  note(offer, answer) {
    const ports = (sdp) => sections(sdp).map(({ first, mid }) => ({ mid, port: first.split(' ')[1] }))
    const offered = ports(offer)
    ports(answer).forEach(({ port }, n) => {
      if (port === '0' && offered[n].port !== '0') this.rejected.push(offered[n].mid)
    })
  }

  /** The track of what was sent as number `n`. */
  track = async (n) => this.trackOf.get(await this.sending.do('mid', n))

  /** Takes what the server offers, one offer after the other, from now on. */
  async receive() {
    this.receiving = await Peer.open(this.made)
    this.mids = new Map()
    const taken = async ({ rev, offer, tracks }) => {
      const sdp = await this.receiving.do('take', offer.sdp)
      for (const { mid, trackId } of tracks) this.mids.set(trackId, mid)
      const ack = await ask(this.socket, 'room:answer', { sessionId: this.sessionId, rev, answer: { type: 'answer', sdp } })
      // An offer that came meanwhile takes the place of this one.
      if (!ack.ok && ack.reason !== 'CONFLICT') throw new Error(`room:answer: ${JSON.stringify(ack)}`)
    }
    const enqueue = (payload) => (this.queue = this.queue.then(() => taken(payload)).catch((error) => this.problems.push(String(error))))
    for (const { name, payload } of this.socket.events) if (name === 'room:offer') enqueue(payload)
    this.socket.on('room:offer', enqueue)
  }

  /** The pictures that come of a track; undefined as long as it has no section. */
  async pictures(trackId) {
    const mid = this.mids.get(trackId)
    return (await this.receiving.do('pictures')).find((one) => one.mid === mid)
  }

  /** Waits until the pictures of a track go on: at least `more` of them from now. */
  async seeing(trackId, more = 5, within = 15_000) {
    const from = (await this.pictures(trackId))?.framesDecoded ?? 0
    let now
    return until(async () => {
      now = await this.pictures(trackId)
      return now?.framesDecoded >= from + more && now
    }, `pictures of ${trackId} go on`, within).catch(async (error) => {
      throw new Error(`${error.message}: ${JSON.stringify({ now, from, problems: this.problems, sections: [...this.mids], states: await this.receiving.do('states') })}`)
    })
  }

  /** Waits until pictures of a track, of which some may still be on their way, have stopped: twenty looks in a row show no more. */
  async still(trackId) {
    let [count, looks] = [undefined, 0]
    await until(async () => {
      const now = (await this.pictures(trackId))?.framesDecoded
      looks = now === count ? looks + 1 : 0
      count = now
      return looks === 20
    }, `pictures of ${trackId} stop`, 15_000)
  }

  async leave() {
    await ask(this.socket, 'room:leave', { sessionId: this.sessionId }).catch(() => undefined)
    this.socket.close()
    for (const peer of [this.sending, this.receiving]) await peer?.do('close')
  }
}

/** The sections of a description: the first line, the name and the lines of each. */
export const sections = (sdp) => sdp.split(/\r\n(?=m=)/).slice(1).map((text) => {
  const lines = text.split('\r\n').filter(Boolean)
  return { first: lines[0], mid: lines.find((line) => line.startsWith('a=mid:'))?.slice(6), lines }
})

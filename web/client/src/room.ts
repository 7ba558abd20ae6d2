/**
 * A group room: one connection for what is published, one for what is received; all negotiation stays in here.
 *
 *     const room = await board.join('standup')
 *     await room.publish(await navigator.mediaDevices.getUserMedia({ audio: true, video: true }))
 *     room.on('track', ({ track, participant, media }) => show(participant.name, media))
 */
import { Emitter } from './emitter.js'
import type { Client } from './client.js'
import type { TextStorage, WebRtc } from './platform.js'
import type {
  ClientEvents, Description, Participant, PublishedTrack, RoomEvents, RoomInfo, RoomTrack, RunningRecording, TrackSource,
} from './types.js'

/** What a room tells. */
export interface RoomSignals {
  /** Somebody came, left, or is otherwise than before. */
  participants: Participant[]
  /** A track arrives: put `media` into an element. */
  track: { track: RoomTrack; participant: Participant | undefined; media: MediaStream }
  /** A track no longer arrives. */
  untrack: { trackId: string }
  /** A track was muted or is no longer, is paused for want of bandwidth or goes on. */
  flow: { trackId: string; muted?: boolean; paused?: boolean }
  layer: RoomEvents['room:layer-changed']
  speakers: RoomEvents['room:speakers']
  data: RoomEvents['room:data']
  hand: RoomEvents['room:hand']
  spotlight: RoomEvents['room:spotlight']
  reaction: RoomEvents['room:reaction']
  moderated: RoomEvents['room:moderated']
  lobby: RoomEvents['room:lobby']
  /** One is no longer in the room. */
  closed: { reason: string }
}

export interface JoinOptions {
  /** A room token of the owner. */
  token?: string
  /** The name that is shown; by default that of the account. */
  name?: string
  /** Whether to receive every track. */
  autoSubscribe?: boolean
  /** Somebody has to open first: `join` waits until a moderator does, or rejects when the wait is aborted. */
  onLobby?: () => void
  signal?: AbortSignal
  /** Keeps the session across reloads of the page, for example `sessionStorage`: one comes back as the same participant. */
  storage?: TextStorage
}

export interface PublishOptions {
  /** The codec of pictures, where the browser has it: `vp8`, `vp9`, `h264`, `av1`. By default the browser's first. */
  codec?: string
  /** All layers in one stream instead of one stream each, with VP9 or AV1: for example `L3T3_KEY`. */
  scalability?: string
}

/** What TypeScript's library does not know yet (W3C WebRTC-SVC). */
type Encoding = RTCRtpEncodingParameters & { scalabilityMode?: string | undefined }

/** The layers of a camera: a third, two thirds and all of its size. */
const LAYERS: (RTCRtpEncodingParameters & { scale: number })[] = [
  { rid: 'q', scale: 4, maxBitrate: 150_000 },
  { rid: 'h', scale: 2, maxBitrate: 500_000 },
  { rid: 'f', scale: 1, maxBitrate: 1_700_000 },
]

/** One is in it as long as it is not `closed`. */
export class Room extends Emitter<RoomSignals> {
  readonly participants = new Map<string, Participant>()
  /** What is received, by track id. */
  readonly received = new Map<string, MediaStream>()
  #sending: RTCPeerConnection | undefined
  #receiving: RTCPeerConnection | undefined
  #published = new Map<string, { transceiver: RTCRtpTransceiver; source: TrackSource; scalability?: string; trackId?: string }>()
  #work: Promise<unknown> = Promise.resolve()
  #seq: number
  #left = false
  #stop: (() => void)[] = []

  /** The recording that ran when one came in; `recording:started` and `recording:stopped` tell of the next ones. */
  recording: RunningRecording | null = null

  private constructor(
    readonly board: Client, readonly info: RoomInfo, readonly sessionId: string,
    readonly own: Participant, private secret: string, private config: RTCConfiguration, seq: number,
  ) {
    super()
    this.#seq = seq
  }

  protected override failed(event: string, error: unknown): void {
    this.board.report(`a room's ${event}`, error)
  }

  /**
   * Comes into a room, after a wait in its lobby where it has one; rejects with `ROOM_LOCKED`, `ROOM_FULL` or `ROOM_NOT_FOUND` where
   * that is not possible.
   */
  static async join(board: Client, roomId: string, { storage, onLobby, signal, ...options }: JoinOptions = {}): Promise<Room> {
    const early: [keyof RoomEvents, RoomEvents[keyof RoomEvents]][] = []
    const catching = board.on('room', ([event, payload]) => early.push([event, payload]))
    const key = `switchboard-room-${roomId}`
    const kept = await storage?.getItem(key)
    const resume = kept ? { ...(JSON.parse(kept) as { sessionId: string; secret: string }), fresh: true } : undefined
    const ack = await (resume ? board.ask('room:join', { roomId, resume }).catch(() => undefined) : undefined)
      ?? await Room.#enter(board, { roomId, autoSubscribe: true, ...options }, onLobby, signal)
    void Promise.resolve(storage?.setItem(key, JSON.stringify({ sessionId: ack.sessionId, secret: ack.resumeSecret }))).catch((error: unknown) => board.report('storage', error))
    const config: RTCConfiguration = {
      iceServers: ack.iceServers as RTCIceServer[], iceTransportPolicy: ack.iceTransportPolicy as RTCIceTransportPolicy, bundlePolicy: 'max-bundle',
    }
    const room = new Room(board, ack.room, ack.sessionId, ack.self, ack.resumeSecret, config, ack.seq)
    for (const participant of ack.participants) room.participants.set(participant.participantId, participant)
    room.participants.set(ack.self.participantId, ack.self)
    room.recording = ack.recording ?? null
    catching()
    room.#stop.push(() => void storage?.removeItem?.(key))
    room.#stop.push(board.on('room', ([event, payload]) => room.#take(event, payload)))
    room.#stop.push(board.on('session:ready', () => void room.#resume()))
    for (const [event, payload] of early) room.#take(event, payload)
    if (typeof window !== 'undefined' && typeof window.addEventListener === 'function') {
      const online = (): void => void room.reconnect().catch(() => undefined)
      window.addEventListener('online', online)
      room.#stop.push(() => window.removeEventListener('online', online))
    }
    return room
  }

  static async #enter(board: Client, wanted: ClientEvents['room:join'][0], onLobby?: () => void, signal?: AbortSignal): Promise<ClientEvents['room:join'][1]> {
    let heard = (): void => {}
    let refused = (_: Error): void => {}
    const stop = board.on('room', ([event, payload]) => {
      if (event === 'room:joined') heard()
      if (event === 'room:moderated' && (payload as RoomEvents['room:moderated']).action === 'refused') refused(new Error('A moderator did not let you in'))
      if (event === 'room:closed') refused(new Error('The room was closed'))
    })
    try {
      for (let first = true; ; first = false) {
        const admitted = new Promise<void>((resolve, reject) => {
          heard = resolve
          refused = reject
          signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
        })
        admitted.catch(() => undefined)
        try {
          return await board.ask('room:join', wanted)
        } catch (error) {
          if ((error as { reason?: string }).reason !== 'LOBBY_WAIT') throw error
          if (first) onLobby?.()
          await admitted
        }
      }
    } finally {
      stop()
    }
  }

  /** Sends every track of a stream; pictures of a camera in three sizes. Gives the names of the published tracks. */
  async publish(media: MediaStream, source?: TrackSource, { codec, scalability }: PublishOptions = {}): Promise<PublishedTrack[]> {
    const peer = this.#sending ??= this.#open('publish')
    for (const track of media.getTracks()) {
      const camera = track.kind === 'video' && source !== 'screen'
      const { width } = track.getSettings()
      const sizes = camera && (width ?? 0) >= 320 ? LAYERS.map(({ scale, ...layer }) => ({ ...layer, scaleResolutionDownBy: scale })) : undefined
      const scalable = track.kind === 'video' && scalability ? { scalability } : {}
      const encodings: Encoding[] | undefined = 'scalability' in scalable ? [{ scalabilityMode: scalability }] : sizes
      const transceiver = peer.addTransceiver(track, { direction: 'sendonly', streams: [media], ...(encodings && { sendEncodings: encodings }) })
      if (track.kind === 'video' && codec) prefer(transceiver, codec, this.board.webrtc.RTCRtpReceiver)
      const shown = source ?? (track.kind === 'audio' ? 'microphone' : 'camera')
      this.#published.set(track.id, { transceiver, ...scalable, source: track.kind === 'audio' && shown === 'screen' ? 'screen-audio' : shown })
      track.addEventListener('ended', () => void this.unpublish(track.id).catch(() => undefined))
    }
    return this.#negotiate(peer)
  }

  /** Stops sending a track that was published. */
  async unpublish(mediaTrackId: string): Promise<void> {
    const published = this.#published.get(mediaTrackId)
    if (!published || !this.#sending) return
    this.#published.delete(mediaTrackId)
    published.transceiver.direction = 'inactive'
    await published.transceiver.sender.replaceTrack(null)
    await this.#negotiate(this.#sending, 'room:unpublish')
  }

  /** Mutes what is published of a kind, or no longer: nothing is sent meanwhile. */
  async mute(kind: 'audio' | 'video', muted: boolean): Promise<void> {
    for (const { transceiver, trackId } of this.#published.values()) {
      const track = transceiver.sender.track
      if (track?.kind !== kind || !trackId) continue
      track.enabled = !muted
      await this.board.ask('room:mute', { sessionId: this.sessionId, trackId, muted })
    }
  }

  /** Says which layer of a track to receive: `auto`, `off`, or its name; or how large it is shown. */
  async layer(trackId: string, rid: string, shown: { maxWidth?: number; maxHeight?: number; maxFps?: number; priority?: number } = {}): Promise<void> {
    await this.board.ask('room:layer', { sessionId: this.sessionId, trackId, rid, ...shown })
  }

  /** Wants tracks, or no longer. */
  async subscribe(trackIds: string[], wanted = true): Promise<void> {
    await this.board.ask(wanted ? 'room:subscribe' : 'room:unsubscribe', { sessionId: this.sessionId, trackIds })
  }

  async send(topic: string, payload: unknown, to?: string[]): Promise<void> {
    await this.board.ask('room:data', { sessionId: this.sessionId, topic, payload, ...(to && { to }) })
  }

  async raise(raised: boolean): Promise<void> {
    await this.board.ask('room:hand', { sessionId: this.sessionId, raised })
  }

  async react(emoji: string): Promise<void> {
    await this.board.ask('room:reaction', { sessionId: this.sessionId, emoji })
  }

  /** What only a moderator may do. */
  async moderate(action: 'kick' | 'mute-remote' | 'admit', participantId: string, more: { kind?: 'audio' | 'video'; reason?: string; admit?: boolean } = {}): Promise<void> {
    await this.board.ask(`room:${action}`, { sessionId: this.sessionId, participantId, ...more })
  }

  /** Puts somebody in the middle for everybody, or nobody; for moderators. */
  async spotlight(participantId?: string): Promise<void> {
    await this.board.ask('room:spotlight', { sessionId: this.sessionId, ...(participantId && { participantId }) })
  }

  async leave(): Promise<void> {
    this.#end('left')
    await this.board.ask('room:leave', { sessionId: this.sessionId }).catch(() => undefined)
  }

  /** The statistics of both connections, for those who show them. */
  async stats(): Promise<{ sending: RTCStatsReport | undefined; receiving: RTCStatsReport | undefined }> {
    return { sending: await this.#sending?.getStats(), receiving: await this.#receiving?.getStats() }
  }

  /** Looks for the way to the server anew, as when the device has changed networks; media goes on meanwhile. */
  async reconnect(): Promise<void> {
    await Promise.all([
      this.#sending && this.#restart(this.#sending, 'publish'),
      this.#receiving && this.#restart(this.#receiving, 'subscribe'),
    ])
  }

  #open(target: 'publish' | 'subscribe'): RTCPeerConnection {
    const peer = new this.board.webrtc.RTCPeerConnection(this.config)
    peer.addEventListener('iceconnectionstatechange', () => {
      if (peer.iceConnectionState === 'failed') void this.#restart(peer, target).catch(() => undefined)
    })
    if (target === 'subscribe') {
      peer.addEventListener('track', ({ transceiver, track }) => this.#arrived(transceiver, track))
    }
    return peer
  }

  /** Offers what is sent; one negotiation after the other. */
  #negotiate(peer: RTCPeerConnection, event: 'room:publish' | 'room:unpublish' = 'room:publish'): Promise<PublishedTrack[]> {
    return this.#next(async () => {
      await peer.setLocalDescription(await peer.createOffer())
      const tracks = [...this.#published.values()].map(({ transceiver, source, scalability }) => ({
        mid: transceiver.mid as string, source, encodings: this.#sizes(transceiver, scalability), ...(scalability && { scalability }),
      }))
      const offer = peer.localDescription as RTCSessionDescription
      const ack = await this.board.ask(event, {
        sessionId: this.sessionId, offer: { type: 'offer', sdp: offer.sdp }, tracks,
      })
      await peer.setRemoteDescription(ack.answer as RTCSessionDescriptionInit)
      for (const published of this.#published.values()) {
        const trackId = ack.tracks.find(({ mid }) => mid === published.transceiver.mid)?.trackId
        if (trackId) published.trackId = trackId
      }
      return ack.tracks
    })
  }

  #sizes({ sender }: RTCRtpTransceiver, scalability?: string): { rid: string; width?: number; height?: number }[] {
    const { width, height } = sender.track?.getSettings() ?? {}
    const spatial = Number(/^L(\d)/.exec(scalability ?? '')?.[1] ?? 1)
    // The layers of one stream are half, or with an "h" two thirds, of the next one.
    const step = /h/.test(scalability ?? '') ? 1.5 : 2
    const encodings: RTCRtpEncodingParameters[] = spatial > 1
      ? Array.from({ length: spatial }, (_, level) => ({ rid: `s${level}`, scaleResolutionDownBy: step ** (spatial - 1 - level) }))
      : sender.getParameters().encodings
    return encodings.filter(({ rid }) => rid).map(({ rid, scaleResolutionDownBy = 1 }) => ({
      rid: rid as string,
      ...(width && height && { width: Math.round(width / scaleResolutionDownBy), height: Math.round(height / scaleResolutionDownBy) }),
    }))
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work, work)
    this.#work = done.catch(() => undefined)
    return done
  }

  async #restart(peer: RTCPeerConnection, target: 'publish' | 'subscribe'): Promise<void> {
    if (this.#left) return
    if (target === 'subscribe') {
      await this.board.ask('room:ice-restart', { sessionId: this.sessionId, target })
      return
    }
    await this.#next(async () => {
      await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }))
      const sdp = (peer.localDescription as RTCSessionDescription).sdp
      const { answer } = await this.board.ask('room:ice-restart', {
        sessionId: this.sessionId, target, offer: { type: 'offer', sdp },
      })
      await peer.setRemoteDescription(answer as RTCSessionDescriptionInit)
    })
  }

  #names = new Map<string, string>()

  async #offered({ rev, offer, tracks }: RoomEvents['room:offer']): Promise<void> {
    const peer = this.#receiving ??= this.#open('subscribe')
    const shown = new Map(tracks.map(({ mid, trackId }) => [mid, trackId]))
    for (const [mid, trackId] of this.#names) {
      if (shown.get(mid) !== trackId) this.#gone(trackId)
    }
    this.#names = shown
    await peer.setRemoteDescription(offer as RTCSessionDescriptionInit)
    await peer.setLocalDescription(await peer.createAnswer())
    const sdp = (peer.localDescription as RTCSessionDescription).sdp
    await this.board.ask('room:answer', { sessionId: this.sessionId, rev, answer: { type: 'answer', sdp } as Description })
    // A section that shows another track now fires no event of its own.
    for (const transceiver of peer.getTransceivers()) {
      if (transceiver.receiver.track && this.#names.has(transceiver.mid as string)) this.#arrived(transceiver, transceiver.receiver.track)
    }
  }

  #arrived({ mid }: RTCRtpTransceiver, media: MediaStreamTrack): void {
    const trackId = this.#names.get(mid as string)
    if (!trackId || this.received.has(trackId)) return
    for (const participant of this.participants.values()) {
      const track = participant.tracks.find((one) => one.trackId === trackId)
      if (!track) continue
      const stream = new this.board.webrtc.MediaStream([media])
      this.received.set(trackId, stream)
      this.emit('track', { track, participant, media: stream })
    }
  }

  #gone(trackId: string): void {
    if (this.received.delete(trackId)) this.emit('untrack', { trackId })
  }

  /** After a lost connection: the session is still there for half a minute. */
  async #resume(): Promise<void> {
    if (this.#left) return
    const resume = { sessionId: this.sessionId, secret: this.secret, lastSeq: this.#seq }
    await this.board.ask('room:join', { roomId: this.info.roomId, resume }).catch(() => this.#end('network'))
  }

  #end(reason: string): void {
    if (this.#left) return
    this.#left = true
    for (const stop of this.#stop) stop()
    this.#sending?.close()
    this.#receiving?.close()
    for (const trackId of [...this.received.keys()]) this.#gone(trackId)
    this.emit('closed', { reason })
  }

  #take<Name extends keyof RoomEvents>(event: Name, payload: RoomEvents[Name]): void {
    const { sessionId, seq } = payload
    if (sessionId !== this.sessionId || seq <= this.#seq) return
    this.#seq = seq
    this.#handle([event, payload] as RoomEvent)
  }

  #handle([event, payload]: RoomEvent): void {
    switch (event) {
      case 'room:joined':
      case 'room:participant-updated':
        this.participants.set(payload.participant.participantId, payload.participant)
        break
      case 'room:left':
        this.participants.delete(payload.participantId)
        // What it came by has ended.
        if (payload.participantId === this.own.participantId) this.#end(payload.reason)
        break
      case 'room:track-published':
        this.participants.get(payload.participantId)?.tracks.push(payload.track)
        break
      case 'room:track-unpublished': {
        const participant = this.participants.get(payload.participantId)
        if (participant) participant.tracks = participant.tracks.filter(({ trackId }) => trackId !== payload.trackId)
        this.#gone(payload.trackId)
        break
      }
      case 'room:track-muted':
        for (const { tracks } of this.participants.values()) {
          for (const track of tracks) if (track.trackId === payload.trackId) track.muted = payload.muted
        }
        this.emit('flow', { trackId: payload.trackId, muted: payload.muted })
        break
      case 'room:spotlight':
        this.emit('spotlight', payload)
        break
      case 'room:hand': {
        const participant = this.participants.get(payload.participantId)
        if (participant) participant.handRaised = payload.raised
        this.emit('hand', payload)
        break
      }
      case 'room:offer':
        void this.#next(() => this.#offered(payload)).catch(() => undefined)
        return
      case 'room:publish-layers':
        this.#switchLayers(payload)
        return
      case 'room:track-paused':
      case 'room:track-resumed':
        this.emit('flow', { trackId: payload.trackId, paused: event === 'room:track-paused' })
        return
      case 'room:state':
        this.participants.clear()
        for (const participant of payload.participants) this.participants.set(participant.participantId, participant)
        break
      case 'room:layer-changed': return this.emit('layer', payload)
      case 'room:speakers': return this.emit('speakers', payload)
      case 'room:data': return this.emit('data', payload)
      case 'room:reaction': return this.emit('reaction', payload)
      case 'room:lobby': return this.emit('lobby', payload)
      case 'room:moderated':
        this.emit('moderated', payload)
        if (payload.action === 'kick' || payload.action === 'refused') this.#end(payload.action)
        return
      case 'room:closed': return this.#end(payload.reason)
    }
    this.emit('participants', [...this.participants.values()])
  }

  /** Layers that nobody wants are not sent. */
  #switchLayers({ trackId, layers }: RoomEvents['room:publish-layers']): void {
    const published = [...this.#published.values()].find((one) => one.trackId === trackId)
    if (!published) return
    const { sender } = published.transceiver
    const parameters = sender.getParameters()
    for (const encoding of parameters.encodings) {
      const wanted = layers.find(({ rid }) => rid === encoding.rid)
      if (wanted) encoding.active = wanted.active
    }
    void sender.setParameters(parameters).catch(() => undefined)
  }
}

/** Puts a codec before all others. */
function prefer(transceiver: RTCRtpTransceiver, codec: string, receiver: WebRtc['RTCRtpReceiver']): void {
  const all = receiver?.getCapabilities('video')?.codecs ?? []
  const is = ({ mimeType }: { mimeType: string }): boolean => mimeType.toLowerCase() === `video/${codec.toLowerCase()}`
  if (all.some(is)) transceiver.setCodecPreferences([...all.filter(is), ...all.filter((one) => !is(one))])
}

type RoomEvent = { [Name in keyof RoomEvents]: [Name, RoomEvents[Name]] }[keyof RoomEvents]

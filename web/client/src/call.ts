import { Emitter } from './emitter.js'
import type { Client } from './client.js'
import type { Call, Candidate, ClientEvents, Description, EndReason, ServerEvents, UserId } from './types.js'

export interface CallOptions {
  video?: boolean
  /** What to send; asked for with `getUserMedia` when left out. */
  stream?: MediaStream
}

export interface CallEvents {
  /** Where the call stands: ringing, connecting, connected, reconnecting, held or ended. */
  state: CallState
  /** The other side's media. */
  remote: MediaStream
  /** It is over, and why. */
  ended: { reason: EndReason; duration: number }
}

export type CallState = 'ringing' | 'connecting' | 'connected' | 'reconnecting' | 'held' | 'ended'

/** A call, from the first ring to the end. The caller makes the offers; both may ask for new ones (perfect negotiation). */
export class ActiveCall extends Emitter<CallEvents> {
  state: CallState = 'ringing'
  #remote: MediaStream | undefined
  /** What this side sends, once it is open. */
  local: MediaStream | undefined
  /** The connection to the other side, or to the server that forwards between the two. */
  peer: RTCPeerConnection | undefined
  #board: Client
  #outgoing: boolean
  #options: CallOptions
  #early: (Candidate | null)[] = []
  #making = false
  #answered = false
  /** The server has come between the two: what it offers is for a new connection. */
  #moved = false
  #patience: ReturnType<typeof setTimeout> | undefined
  #queue: Promise<void> = Promise.resolve()

  constructor(board: Client, public info: Call, outgoing: boolean, options: CallOptions = {}) {
    super()
    this.#board = board
    this.#outgoing = outgoing
    this.#options = options
  }

  /** The other side's media. */
  get remote(): MediaStream {
    return (this.#remote ??= new this.#board.webrtc.MediaStream())
  }

  protected override failed(event: string, error: unknown): void {
    this.#board.report(`a call's ${event}`, error)
  }

  get callId(): string {
    return this.info.callId
  }

  /** Whether this side called. */
  get isOutgoing(): boolean {
    return this.#outgoing
  }

  get isVideo(): boolean {
    return this.info.callType === 'video'
  }

  /** The other person. */
  get with(): UserId {
    return this.#outgoing ? this.info.toUserId ?? 0 : this.info.fromUserId
  }

  /** Takes an incoming call. */
  async accept(options: CallOptions = {}): Promise<void> {
    this.#options = { video: this.isVideo, ...options }
    this.local = await this.#media()
    const { call } = await this.#ask('call:respond', { callId: this.callId, response: 'accept' })
    this.info = call
    this.#set('connecting')
  }

  /** For the client: both called each other, and this call, the other side's, goes on. */
  adopt(options: CallOptions): this {
    this.#options = { video: this.isVideo, ...options }
    this.#set('connecting')
    return this
  }

  /** Refuses an incoming call. */
  async reject(reason: 'busy' | 'declined' = 'declined'): Promise<void> {
    await this.#ask('call:respond', { callId: this.callId, response: 'reject', reason })
  }

  /** Ends the call, or cancels it while it rings. */
  async end(): Promise<void> {
    await this.#ask('call:end', { callId: this.callId })
  }

  /** Stops sending sound or picture; the other side gets silence or black. */
  mute(kind: 'audio' | 'video', muted: boolean): void {
    for (const track of this.local?.getTracks() ?? []) if (track.kind === kind) track.enabled = !muted
  }

  /** Tells the other side that one is away for a moment. */
  async hold(on: boolean): Promise<void> {
    await this.#ask(on ? 'call:hold' : 'call:resume-hold', { callId: this.callId })
    for (const track of this.local?.getTracks() ?? []) track.enabled = !on
    this.#set(on ? 'held' : 'connected')
  }

  /** Shows the screen instead of the camera, until the browser or `stop` ends it. Gives the function that ends it. */
  async shareScreen(): Promise<() => Promise<void>> {
    const screen = await this.#board.webrtc.mediaDevices.getDisplayMedia?.({ video: true })
    const [track] = screen?.getVideoTracks() ?? []
    if (!track || !this.peer) throw new Error('there is nothing to share, or no call to share it in')
    const camera = this.local?.getVideoTracks()[0] ?? null
    const sender = this.peer.getSenders().find((sender) => sender.track?.kind === 'video') ?? this.peer.addTrack(track)
    await sender.replaceTrack(track)
    const stop = async (): Promise<void> => {
      track.stop()
      await sender.replaceTrack(camera)
    }
    track.onended = () => void stop()
    return stop
  }

  /** For the client: an event of this call came. */
  receive(event: keyof ServerEvents, payload: unknown): void {
    switch (event) {
      case 'call:response': {
        const { response, call } = payload as ServerEvents['call:response']
        this.info = call
        if (response === 'accept') this.#inOrder(async () => void (await this.#open()))
        break
      }
      case 'call:responded':
        // Both called each other: this side's call was merged into the other's, and is accepted.
        this.info = (payload as ServerEvents['call:responded']).call
        break
      case 'call:answered-elsewhere':
      case 'call:moved':
        this.#finish('hangup', 0)
        break
      case 'call:ended': {
        const { endReason, duration, call } = payload as ServerEvents['call:ended']
        this.info = call
        this.#finish(endReason, duration)
        break
      }
      case 'call:media-path': {
        const { media, reason } = payload as ServerEvents['call:media-path']
        this.info = { ...this.info, media }
        this.#moved ||= media === 'relay' && reason !== 'policy'
        break
      }
      case 'call:held': return this.#set('held')
      case 'call:unheld': return this.#set('connected')
      case 'call:reconnecting': return this.#set('reconnecting')
      case 'call:reconnected': return this.#set('connected')
      case 'webrtc:offer':
        return this.#inOrder(() => this.#describe((payload as ServerEvents['webrtc:offer']).offer))
      case 'webrtc:answer':
        return this.#inOrder(() => this.#describe((payload as ServerEvents['webrtc:answer']).answer))
      case 'webrtc:ice-candidate':
        return this.#inOrder(() => this.#candidate((payload as ServerEvents['webrtc:ice-candidate']).candidate))
    }
  }

  /** For the client: the connection to the server is back. */
  async rejoin(): Promise<void> {
    if (this.state === 'ended' || this.state === 'ringing') return
    try {
      const { call, buffered } = await this.#ask('call:rejoin', { callId: this.callId, lastRev: this.info.rev })
      this.info = call
      for (const { event, payload } of buffered) this.receive(event as keyof ServerEvents, payload)
      if (this.peer?.iceConnectionState === 'failed') this.peer.restartIce()
    } catch {
      this.#finish('network', 0)
    }
  }

  /** Ends this side without telling anybody. */
  stop(): void {
    clearTimeout(this.#patience)
    this.peer?.close()
    for (const track of this.local?.getTracks() ?? []) track.stop()
  }

  #ask<Name extends keyof ClientEvents>(name: Name, payload: ClientEvents[Name][0]): Promise<ClientEvents[Name][1]> {
    return this.#board.ask(name, payload)
  }

  /** Signals are applied one after the other. */
  #inOrder(step: () => Promise<void>): void {
    this.#queue = this.#queue.then(step).catch((error: unknown) => console.warn('switchboard: a signal failed', error))
  }

  async #media(): Promise<MediaStream> {
    const { stream, video = this.isVideo } = this.#options
    return stream ?? this.#board.webrtc.mediaDevices.getUserMedia({ audio: true, video })
  }

  async #open(): Promise<RTCPeerConnection> {
    if (this.peer) return this.peer
    this.#set('connecting')
    const peer = new this.#board.webrtc.RTCPeerConnection(await this.#board.iceServers(this.callId))
    this.peer = peer
    peer.onicecandidate = ({ candidate }) => {
      void this.#ask('webrtc:ice-candidate', { callId: this.callId, candidate: candidate?.toJSON() as Candidate ?? null }).catch(() => undefined)
    }
    peer.ontrack = ({ track }) => {
      this.remote.addTrack(track)
      this.emit('remote', this.remote)
    }
    peer.onconnectionstatechange = () => {
      if (peer !== this.peer) return
      if (peer.connectionState === 'connected') {
        clearTimeout(this.#patience)
        this.#set('connected')
      }
      if (peer.connectionState === 'failed') void this.#goAround(peer)
    }
    // Who finds no way to the other in this time goes through the server, where it has one to offer.
    clearTimeout(this.#patience)
    this.#patience = setTimeout(() => void this.#goAround(peer), 8000)
    peer.onnegotiationneeded = () => void this.#offer(peer)
    this.local ??= await this.#media()
    if (this.#outgoing && !this.#moved) for (const track of this.local.getTracks()) peer.addTrack(track, this.local)
    return peer
  }

  /** There is no way from one to the other: asks for one through the server, or looks for one again. */
  async #goAround(peer: RTCPeerConnection): Promise<void> {
    if (peer !== this.peer || peer.connectionState === 'connected' || this.state === 'ended') return
    if (this.info.media === 'p2p' && !this.#moved) {
      const through = await this.#ask('call:update', { callId: this.callId, media: 'relay' }).catch(() => undefined)
      if (through) return
    }
    if (peer === this.peer) peer.restartIce()
  }

  async #offer(peer: RTCPeerConnection): Promise<void> {
    // The first offer is the caller's; before it, the other side has nothing to negotiate.
    if (!this.#outgoing && !this.#answered) return
    try {
      this.#making = true
      await peer.setLocalDescription()
      await this.#ask('webrtc:offer', { callId: this.callId, offer: peer.localDescription as Description })
    } catch (error) {
      console.warn('switchboard: an offer failed', error)
    } finally {
      this.#making = false
    }
  }

  async #describe(description: Description): Promise<void> {
    const moves = this.#moved && description.type === 'offer'
    if (moves) {
      this.peer?.close()
      this.peer = undefined
      for (const track of this.remote.getTracks()) this.remote.removeTrack(track)
      this.#early = []
    }
    const peer = await this.#open()
    const collision = description.type === 'offer' && (this.#making || peer.signalingState !== 'stable')
    if (collision && this.#outgoing) return
    await peer.setRemoteDescription(description)
    if (description.type === 'offer') {
      if (moves || (!this.#outgoing && !this.#answered)) this.#sendOwn(peer)
      if (moves) this.#moved = false
      await peer.setLocalDescription()
      this.#answered = true
      await this.#ask('webrtc:answer', { callId: this.callId, answer: peer.localDescription as Description })
    }
    for (const candidate of this.#early.splice(0)) await this.#candidate(candidate)
  }

  /** Fills the caller's sections, so that the first answer already carries both ways. */
  #sendOwn(peer: RTCPeerConnection): void {
    for (const track of this.local?.getTracks() ?? []) peer.addTrack(track, this.local as MediaStream)
  }

  async #candidate(candidate: Candidate | null): Promise<void> {
    if (!this.peer?.remoteDescription) this.#early.push(candidate)
    else if (candidate) await this.peer.addIceCandidate(candidate)
  }

  #set(state: CallState): void {
    if (this.state === state || this.state === 'ended') return
    this.state = state
    this.emit('state', state)
  }

  #finish(reason: EndReason, duration: number): void {
    if (this.state === 'ended') return
    this.#set('ended')
    this.#board.calls.delete(this.callId)
    this.stop()
    this.emit('ended', { reason, duration })
  }
}

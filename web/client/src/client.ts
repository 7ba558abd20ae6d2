import { io, type Socket } from 'socket.io-client'
import { ActiveCall, type CallOptions } from './call.js'
import { Emitter } from './emitter.js'
import { HandlerError, refusal, SwitchboardError } from './errors.js'
import { Place } from './place.js'
import { type RandomSource, type TextStorage, uuid, type WebRtc, webRtc } from './platform.js'
import { type JoinOptions, Room } from './room.js'
import type { Call, ClientEvents, Conversation, Incoming, Message, Recording, RecordingMode, Refused, RoomEvents, ServerEvents, User, UserId } from './types.js'

export interface Options {
  /** Where the server is; in a page of its own, leave it out. */
  url?: string
  /** The token of the application's login, or how to get a fresh one. */
  token: string | (() => string | Promise<string>)
  /** Names this device, so that the server knows it again. */
  deviceId?: string
  deviceName?: string
  /** What kind of device this is; `web` by default. */
  platform?: 'web' | 'ios' | 'android' | 'desktop' | 'server'
  /** Keeps the place in the event log across reloads, for example `localStorage` or React Native's `AsyncStorage`. */
  storage?: TextStorage
  /** Random ids for messages; `globalThis.crypto` by default. */
  crypto?: RandomSource
  /** WebRTC for calls and rooms; that of the browser by default, `react-native-webrtc` in React Native. */
  webrtc?: WebRtc
  /** HTTP; `globalThis.fetch` by default. */
  fetch?: typeof globalThis.fetch
  /** How many milliseconds `connect()` waits for the server; 20,000 by default. */
  connectTimeoutMs?: number
  /** Passed on to the Socket.IO client. */
  socket?: Record<string, unknown>
}

export interface LocalEvents {
  /** The connection to the server came or went. After `final` the client does not try again by itself: `connect()` does. */
  connection: { connected: boolean; reason?: string; final?: boolean }
  /** Somebody calls: `accept()` or `reject()`. */
  incoming: ActiveCall
  /** More was missed than can be replayed: load lists and conversations again. */
  reset: { cursor: string }
  /** Something in one of the rooms one is in; `Room` sorts it out. */
  room: [keyof RoomEvents, RoomEvents[keyof RoomEvents]]
  /** Every event that was sent or received, for logs and curiosity. */
  traffic: { direction: 'in' | 'out'; event: string; payload: unknown; ack?: unknown }
  /** The server refused something that was sent without an acknowledgement, or a handler threw. */
  error: Refused | HandlerError
}

const RESEND_AFTER = 10_000
/** Reasons for which a connection is refused and another try does not help. */
const FINAL = /^(TOKEN_|IDENTITY_|USER_DISABLED|FORBIDDEN)/

/** Makes a client. Nothing is sent or received before `connect()`: attach handlers first. */
export function createClient(options: Options): Client {
  return new Client(options)
}

/** What `createClient` makes. */
export class Client extends Emitter<Omit<ServerEvents, 'error'> & LocalEvents> {
  readonly socket: Socket
  /** Who the token says one is, once connected; 0 for a guest of a room. */
  userId: UserId = 0
  readonly calls = new Map<string, ActiveCall>()
  #options: Options
  #place: Place
  #base: string
  /** No connection will come by itself. */
  #over = true
  #opening: Promise<void> | undefined
  /** Ends the wait of `connect()`. */
  #settle: ((error?: Error) => void) | undefined
  #retry: ReturnType<typeof setTimeout> | undefined
  #reporting = false

  constructor(options: Options) {
    super()
    this.#options = options
    this.#base = (options.url ?? '').replace(/\/$/, '')
    const key = `switchboard.cursor.${this.#base}.${options.deviceId ?? ''}`
    this.#place = new Place(key, options.storage, (error) => this.failed('storage', error))
    this.socket = io(options.url ?? '/', {
      autoConnect: false,
      forceNew: true,
      transports: ['websocket', 'polling'],
      tryAllTransports: true,
      randomizationFactor: 0.5,
      ...options.socket,
      auth: (give: (auth: object) => void) => void this.#auth().then(give, (error: Error) => this.#lost(error, true)),
    })
    this.socket.onAny((event: string, payload: unknown, ack?: unknown) => this.#receive(event, payload, ack))
    this.socket.on('connect_error', (error: Error) => this.#lost(refusal(error)))
    this.socket.on('connect', () => this.emit('connection', { connected: true }))
    this.socket.on('disconnect', (reason: string) => {
      this.#settle?.(new Error(`The connection was lost before the server was ready: ${reason}`))
      this.emit('connection', { connected: false, reason })
      // The server has closed without a word about when to come back.
      if (reason === 'io server disconnect' && !this.#over) this.#later(1000)
    })
  }

  /**
   * Connects, and resolves when the server has accepted the token. From then on the client comes back by itself after a lost
   * connection. When it rejects, nothing goes on in the background, and it may be called again.
   */
  connect(): Promise<void> {
    if (this.#opening) return this.#opening
    const opening = this.#open().catch((error: unknown) => {
      // Not after `close()` and a `connect()` that is newer.
      if (this.#opening === opening) this.#halt()
      throw error
    })
    return (this.#opening = opening)
  }

  async #open(): Promise<void> {
    this.#over = false
    const ready = new Promise<void>((resolve, reject) => {
      const patience = this.#options.connectTimeoutMs ?? 20_000
      const timer = setTimeout(() => settle(new Error(`The server did not answer within ${patience} ms`)), patience)
      const settle = (error?: Error): void => {
        clearTimeout(timer)
        if (this.#settle === settle) this.#settle = undefined
        if (error) reject(error)
        else resolve()
      }
      this.#settle = settle
      this.#place.load().then(() => this.#settle === settle && this.socket.connect(), settle)
    })
    await ready
  }

  /** Nothing goes on in the background. */
  #halt(): void {
    this.#over = true
    this.#opening = undefined
    clearTimeout(this.#retry)
    this.#retry = undefined
    this.socket.disconnect()
  }

  /** A try to connect has failed. */
  #lost(error: Error, noToken = false): void {
    if (this.#settle) return this.#settle(error)
    if (this.#over) return
    const reason = error instanceof SwitchboardError ? error.reason : error.message
    if (error instanceof SwitchboardError && FINAL.test(reason)) {
      this.#halt()
      this.emit('connection', { connected: false, reason, final: true })
    } else if (noToken || !this.socket.active) {
      // Socket.IO tries again by itself where the server could not be reached, and no more where it refused.
      this.socket.disconnect()
      this.#later(2000)
    }
  }

  #later(delayMs: number): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined
      if (!this.#over) this.socket.connect()
    }, delayMs * (0.5 + Math.random()))
  }

  /** A handler threw: `error` says so, or the console where nobody listens for that. */
  protected override failed(event: string, error: unknown): void {
    if (event !== 'error' && this.listens('error')) this.emit('error', new HandlerError(event, error))
    else super.failed(event, error)
  }

  /** For calls and rooms: a handler of theirs threw. */
  report(event: string, error: unknown): void {
    this.failed(event, error)
  }

  /** Messages that waited for a handler are shown to every handler that is attached in the same turn. */
  protected override attached(name: string): void {
    if (name === 'message:received') queueMicrotask(() => this.#release())
  }

  #release(): void {
    while (this.listens('message:received')) {
      const message = this.#place.shift()
      if (!message) break
      this.#show(message)
    }
    if (!this.listens('message:received')) return
    if (this.#place.overflowed()) this.emit('reset', { cursor: this.#place.cursor ?? '0' })
    this.#place.save()
    this.#reportSeen()
  }

  #show(message: Message): void {
    this.#place.seen(message.messageId)
    this.emit('message:received', message)
  }

  async #token(): Promise<string> {
    const { token } = this.#options
    return typeof token === 'function' ? token() : token
  }

  async #auth(): Promise<object> {
    const { deviceId, deviceName, platform = 'web' } = this.#options
    return { token: await this.#token(), deviceId, deviceName, platform, cursor: this.#place.cursor ?? 'new', capabilities: ['call/relay'] }
  }

  #receive(event: string, payload: unknown, ack: unknown): void {
    this.emit('traffic', { direction: 'in', event, payload })
    if (event === 'sync:batch') return this.#replay(payload as ServerEvents['sync:batch'])
    const cursor = (payload as { cursor?: string } | null)?.cursor
    const logged = cursor !== undefined && (event.startsWith('message:') || event === 'call:missed')
    const known = logged && !this.#place.advance(cursor)
    if (event === 'message:received') this.#message(payload as Message, known, ack)
    else if (!known) this.#handle(event as keyof ServerEvents, payload)
    if (logged) this.#place.save()
  }

  /** The acknowledgement says that the message has arrived; so does `message:delivered`. Neither is said before a handler has it. */
  #message(message: Message, known: boolean, ack: unknown): void {
    if (known && this.#place.isHeld(message.messageId)) return
    if (!known && !this.listens('message:received')) return this.#place.hold(message)
    if (!known) this.#show(message)
    if (typeof ack === 'function') {
      this.#place.reported([message.messageId])
      ack()
    }
    this.#reportSeen()
  }

  /** What was missed, as if it came now, each once. */
  #replay({ events, cursor, more }: ServerEvents['sync:batch']): void {
    for (const entry of events) {
      if (!this.#place.advance(entry.cursor)) continue
      if (entry.event !== 'message:received') this.#handle(entry.event as keyof ServerEvents, entry.payload)
      else if (this.listens('message:received')) this.#show(entry.payload as unknown as Message)
      else this.#place.hold(entry.payload as unknown as Message)
    }
    this.#reportSeen()
    this.#place.advance(cursor)
    this.#place.save()
    this.emit('sync:batch', { events, cursor, more })
    if (more) void this.ask('sync:ack', { cursor }).catch(() => undefined)
  }

  /** Reports what was shown; what cannot be reported now is, after the next connection. */
  #reportSeen(): void {
    const messageIds = this.#place.unreported()
    if (this.#reporting || messageIds.length === 0 || !this.socket.connected) return
    this.#reporting = true
    this.ask('message:delivered', { messageIds }).then(() => this.#reported(messageIds, true), (error: unknown) =>
      this.#reported(messageIds, error instanceof SwitchboardError && error.status < 429))
  }

  #reported(messageIds: string[], done: boolean): void {
    this.#reporting = false
    if (!done) return
    this.#place.reported(messageIds)
    this.#reportSeen()
  }

  #handle(event: keyof ServerEvents, payload: unknown): void {
    switch (event) {
      case 'session:ready':
        this.#ready(payload as ServerEvents['session:ready'])
        break
      case 'session:token-expiring':
        void this.#token().then((token) => this.ask('session:refresh', { token })).catch(() => undefined)
        break
      case 'session:closed':
        this.#closed(payload as ServerEvents['session:closed'])
        break
      case 'sync:reset': {
        const { cursor } = payload as ServerEvents['sync:reset']
        this.#place.reset(cursor)
        this.emit('reset', { cursor })
        break
      }
      case 'call:incoming':
        this.#incoming(payload as Incoming)
        break
    }
    this.emit(event, payload as never)
    if (event.startsWith('room:')) this.emit('room', [event as keyof RoomEvents, payload as never])
    const callId = (payload as { callId?: string } | null)?.callId
    if (callId) this.calls.get(callId)?.receive(event, payload)
  }

  #ready(ready: ServerEvents['session:ready']): void {
    this.userId = ready.userId ?? 0
    this.#settle?.()
    for (const call of this.calls.values()) void call.rejoin()
    this.#reportSeen()
  }

  /** The server closes for a while: come back when it says so. */
  #closed({ reason, reconnectAfterMs }: ServerEvents['session:closed']): void {
    if (this.#settle) return this.#settle(new SwitchboardError(reason, `The server closed the session: ${reason}`, 503))
    if (['REPLACED', 'KICKED', 'USER_DISABLED'].includes(reason)) {
      this.#halt()
      this.emit('connection', { connected: false, reason, final: true })
    } else {
      this.#later(reconnectAfterMs ?? 1000)
    }
  }

  #incoming(incoming: Incoming): void {
    if (this.calls.has(incoming.callId)) return
    const call = this.#keep(new ActiveCall(this, incoming, false))
    // Where nobody listens, nothing rings.
    if (!this.listens('incoming') && !this.listens('call:incoming')) return
    void this.ask('call:ringing', { callId: incoming.callId }).catch(() => undefined)
    this.emit('incoming', call)
  }

  /** Comes into a group room. */
  join(roomId: string, options: JoinOptions = {}): Promise<Room> {
    return Room.join(this, roomId, options)
  }

  /** Sends any event and waits for its acknowledgement. */
  async ask<Name extends keyof ClientEvents>(
    name: Name, payload: ClientEvents[Name][0], timeout = 10_000,
  ): Promise<ClientEvents[Name][1]> {
    const ack = await this.socket.timeout(timeout).emitWithAck(name, payload) as
      ClientEvents[Name][1] & { ok: boolean; reason: string; error: string; code: number; details?: Record<string, unknown> }
    this.emit('traffic', { direction: 'out', event: name, payload, ack })
    if (!ack.ok) throw new SwitchboardError(ack.reason, ack.error, ack.code, ack.details)
    return ack
  }

  /**
   * Sends a message and resolves when it is stored. While the connection is away it is tried again under the same
   * `clientId`, so that it arrives once.
   */
  async send(
    to: UserId, content: string, more: { replyTo?: string; clientId?: string } = {},
  ): Promise<ClientEvents['message:send'][1]> {
    const clientId = more.clientId ?? uuid(this.#options.crypto)
    for (;;) {
      try {
        return await this.ask('message:send', { toUserId: to, content, ...more, clientId }, RESEND_AFTER)
      } catch (error) {
        if (error instanceof SwitchboardError) {
          if (error.reason !== 'RATE_LIMITED' && error.status < 500) throw error
          await sleep(error.retryAfterMs ?? 1000)
        } else if (this.#over) {
          throw error
        }
      }
    }
  }

  typing(to: UserId, on: boolean): void {
    void this.ask(on ? 'typing:start' : 'typing:stop', { toUserId: to }).catch(() => undefined)
  }

  markRead(withUserId: UserId): Promise<ClientEvents['message:markRead'][1]> {
    return this.ask('message:markRead', { withUserId })
  }

  /** Messages with one person, oldest first; `prevCursor` as `before` leads on to older ones. */
  history(withUserId: UserId, page: { before?: string; after?: string; limit?: number } = {}): Promise<ClientEvents['message:history'][1]> {
    return this.ask('message:history', { withUserId, ...page })
  }

  conversations(): Promise<Conversation[]> {
    return this.rest('GET', '/api/chat/conversations')
  }

  users(): Promise<User[]> {
    return this.rest('GET', '/api/chat/users')
  }

  /** STUN and TURN servers for a call. */
  async iceServers(callId?: string): Promise<RTCConfiguration> {
    return this.rest('GET', `/api/calls/webrtc-config${callId ? `?callId=${callId}` : ''}`)
  }

  /** Calls somebody. The call rings at once; media flows when the other side accepts. */
  async call(to: UserId, options: CallOptions = {}): Promise<ActiveCall> {
    try {
      const { call } = await this.ask('call:initiate', { toUserId: to, callType: options.video ? 'video' : 'voice' })
      return this.#keep(new ActiveCall(this, call, true, options))
    } catch (error) {
      if (!(error instanceof SwitchboardError) || error.reason !== 'CALL_MERGED') throw error
      const call = error.details?.['call'] as Call
      return (this.calls.get(call.callId) ?? this.#keep(new ActiveCall(this, call, false))).adopt(options)
    }
  }

  #keep(call: ActiveCall): ActiveCall {
    this.calls.set(call.callId, call)
    return call
  }

  /** Records a call or a room; everybody there is told before the first byte is written. */
  async record(what: { callId: string } | { roomId: string }, mode?: RecordingMode): Promise<Recording> {
    return (await this.ask('recording:start', { ...what, ...(mode && { mode }) })).recording
  }

  async stopRecording(recordingId: string): Promise<void> {
    await this.ask('recording:stop', { recordingId })
  }

  /** Agrees to be recorded, or no longer, where the server asks. */
  async consent(recordingId: string, consent: boolean): Promise<void> {
    await this.ask('recording:consent', { recordingId, consent })
  }

  /** Recordings that one may see, newest first. */
  recordings(of: { callId?: string; roomId?: string; cursor?: string } = {}): Promise<ClientEvents['recording:list'][1]> {
    return this.ask('recording:list', of)
  }

  /** An address of a file for a player, good for some minutes without a token. */
  async fileAddress(recordingId: string, fileId: string): Promise<string> {
    const { url } = await this.rest<{ url: string }>('GET', `/api/recordings/${recordingId}/files/${fileId}?link=1`)
    return this.#base + url
  }

  deleteRecording(recordingId: string): Promise<unknown> {
    return this.rest('DELETE', `/api/recordings/${recordingId}`)
  }

  /** A request to the REST API with the session's token; gives `data`. */
  async rest<T>(method: string, path: string, body?: unknown): Promise<T> {
    const request = this.#options.fetch ?? globalThis.fetch
    const answer = await request(this.#base + path, {
      method,
      headers: {
        authorization: `Bearer ${await this.#token()}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const json = await answer.json()
    if (!answer.ok) throw new SwitchboardError(json.reason, json.error, answer.status, json.details)
    return json.data
  }

  /** The WebRTC of the options, or of the browser. */
  get webrtc(): WebRtc {
    return webRtc(this.#options.webrtc)
  }

  /** Ends the connection and every call on this side. `connect()` begins anew. */
  close(): void {
    const settle = this.#settle
    this.#halt()
    settle?.(new Error('The client was closed'))
    for (const call of this.calls.values()) call.stop()
    this.calls.clear()
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Chat and calls through a Switchboard server.
 *
 *     const me = await Switchboard.connect({ url: 'https://chat.example.net', token: () => fetchToken() })
 *     me.on('message:received', (message) => show(message))
 *     await me.send(4711, 'hello')
 *     const call = await me.call(4711, { video: true })
 */
import { io, type Socket } from 'socket.io-client'
import { ActiveCall, type CallOptions } from './call.js'
import { Emitter } from './emitter.js'
import { type JoinOptions, Room } from './room.js'
import type { Call, ClientEvents, Conversation, IceServer, Incoming, Message, Recording, RecordingMode, RoomEvents, ServerEvents, User, UserId } from './types.js'

export * from './call.js'
export * from './room.js'
export * from './types.js'

/** Why the server said no. */
export class SwitchboardError extends Error {
  constructor(
    /** The stable machine code, such as `RATE_LIMITED`. */ readonly reason: string,
    message: string,
    /** The HTTP status that goes with it. */ readonly status: number,
    readonly details?: Record<string, unknown>,
  ) {
    super(message)
    this.name = 'SwitchboardError'
  }

  /** Milliseconds after which a try may succeed. */
  get retryAfterMs(): number | undefined {
    return this.details?.['retryAfterMs'] as number | undefined
  }
}

export interface Options {
  /** Where the server is; in a page of its own, leave it out. */
  url?: string
  /** The token of the application's login, or how to get a fresh one. */
  token: string | (() => string | Promise<string>)
  /** Names this device, so that the server knows it again. */
  deviceId?: string
  deviceName?: string
  /** Keeps the place in the event log across reloads, for example `localStorage`. */
  storage?: Pick<Storage, 'getItem' | 'setItem'>
  /** Passed on to the Socket.IO client. */
  socket?: Record<string, unknown>
}

export interface LocalEvents {
  /** The connection to the server came or went. */
  connection: { connected: boolean; reason?: string }
  /** Somebody calls: `accept()` or `reject()`. */
  incoming: ActiveCall
  /** More was missed than can be replayed: load lists and conversations again. */
  reset: { cursor: string }
  /** Something in one of the rooms one is in; `Room` sorts it out. */
  room: [keyof RoomEvents, RoomEvents[keyof RoomEvents]]
  /** Every event that was sent or received, for logs and curiosity. */
  traffic: { direction: 'in' | 'out'; event: string; payload: unknown; ack?: unknown }
}

const RESEND_AFTER = 10_000

export class Switchboard extends Emitter<ServerEvents & LocalEvents> {
  readonly socket: Socket
  /** Who the token says one is; set once connected. */
  userId: UserId = 0
  readonly calls = new Map<string, ActiveCall>()
  #options: Options
  #cursor: string | undefined
  /** No connection will come any more. */
  #over = false
  #base: string

  /** Resolves when the server has accepted the token. */
  static async connect(options: Options): Promise<Switchboard> {
    const board = new Switchboard(options)
    await new Promise<void>((resolve, reject) => {
      board.on('session:ready', () => resolve())
      board.socket.on('connect_error', (error: Error) => reject(refusal(error)))
      board.socket.connect()
    })
    return board
  }

  private constructor(options: Options) {
    super()
    this.#options = options
    this.#base = (options.url ?? '').replace(/\/$/, '')
    this.#cursor = options.storage?.getItem(this.#key) ?? undefined
    this.socket = io(options.url ?? '/', {
      autoConnect: false,
      transports: ['websocket', 'polling'],
      randomizationFactor: 0.5,
      ...options.socket,
      auth: (give: (auth: object) => void) => void this.#auth().then(give, () => give({})),
    })
    this.socket.onAny((event: string, payload: unknown, ack?: unknown) => {
      const fresh = this.#receive(event, payload)
      // The acknowledgement tells the sender that the message has arrived; so does `message:delivered`.
      if (typeof ack === 'function') ack()
      else if (fresh && event === 'message:received') this.#delivered([(payload as Message).messageId])
    })
    this.socket.on('connect', () => this.tell('connection', { connected: true }))
    this.socket.on('disconnect', (reason) => this.tell('connection', { connected: false, reason }))
  }

  get #key(): string {
    return `switchboard.cursor.${this.#base}.${this.#options.deviceId ?? ''}`
  }

  async #token(): Promise<string> {
    const { token } = this.#options
    return typeof token === 'function' ? token() : token
  }

  async #auth(): Promise<object> {
    const { deviceId, deviceName } = this.#options
    return { token: await this.#token(), deviceId, deviceName, platform: 'web', cursor: this.#cursor ?? 'new', capabilities: ['call/relay'] }
  }

  /** False for an event that is known already. */
  #receive(event: string, payload: unknown): boolean {
    this.tell('traffic', { direction: 'in', event, payload })
    if (event === 'sync:batch') {
      this.#replay(payload as ServerEvents['sync:batch'])
      return true
    }
    const cursor = (payload as { cursor?: string } | null)?.cursor
    const logged = cursor !== undefined && (event.startsWith('message:') || event === 'call:missed')
    if (logged && !this.#advance(cursor)) return false
    this.#handle(event as keyof ServerEvents, payload)
    return true
  }

  /** What was missed, as if it came now, each once. */
  #replay({ events, cursor, more }: ServerEvents['sync:batch']): void {
    const arrived: string[] = []
    for (const entry of events) {
      if (!this.#advance(entry.cursor)) continue
      if (entry.event === 'message:received') arrived.push((entry.payload as Message).messageId)
      this.#handle(entry.event as keyof ServerEvents, entry.payload)
    }
    if (arrived.length > 0) this.#delivered(arrived)
    this.#advance(cursor)
    this.tell('sync:batch', { events, cursor, more })
    if (more) void this.ask('sync:ack', { cursor }).catch(() => undefined)
  }

  #delivered(messageIds: string[]): void {
    void this.ask('message:delivered', { messageIds }).catch(() => undefined)
  }

  /** Notes a place in the event log; false when it is known already. */
  #advance(cursor: string): boolean {
    if (this.#cursor !== undefined && Number(cursor) <= Number(this.#cursor)) return false
    this.#cursor = cursor
    this.#options.storage?.setItem(this.#key, cursor)
    return true
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
      case 'sync:reset':
        this.#cursor = (payload as ServerEvents['sync:reset']).cursor
        this.#options.storage?.setItem(this.#key, this.#cursor)
        this.tell('reset', { cursor: this.#cursor })
        break
      case 'call:incoming':
        this.#incoming(payload as Incoming)
        break
    }
    this.tell(event, payload as never)
    if (event.startsWith('room:')) this.tell('room', [event as keyof RoomEvents, payload as never])
    const callId = (payload as { callId?: string } | null)?.callId
    if (callId) this.calls.get(callId)?.receive(event, payload)
  }

  #ready(ready: ServerEvents['session:ready']): void {
    this.userId = ready.userId
    for (const call of this.calls.values()) void call.rejoin()
  }

  /** The server closes for a while: come back when it says so. */
  #closed({ reason, reconnectAfterMs }: ServerEvents['session:closed']): void {
    const final = ['REPLACED', 'KICKED', 'USER_DISABLED'].includes(reason)
    if (final) this.#over = true
    else setTimeout(() => this.socket.connect(), (reconnectAfterMs ?? 1000) * (0.5 + Math.random()))
  }

  #incoming(incoming: Incoming): void {
    if (this.calls.has(incoming.callId)) return
    const call = this.#keep(new ActiveCall(this, incoming, false))
    void this.ask('call:ringing', { callId: incoming.callId }).catch(() => undefined)
    this.tell('incoming', call)
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
    this.tell('traffic', { direction: 'out', event: name, payload, ack })
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
    const clientId = more.clientId ?? crypto.randomUUID()
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
  async iceServers(callId?: string): Promise<{ iceServers: IceServer[]; iceTransportPolicy: RTCIceTransportPolicy }> {
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
    const answer = await fetch(this.#base + path, {
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

  close(): void {
    this.#over = true
    for (const call of this.calls.values()) call.stop()
    this.socket.disconnect()
  }
}

/** `Authentication error: Invalid token [TOKEN_EXPIRED]` → its parts. */
function refusal(error: Error): Error {
  const [, text, reason] = error.message.match(/^(.*) \[([A-Z_]+)\]$/) ?? []
  return text && reason ? new SwitchboardError(reason, text, 401) : error
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

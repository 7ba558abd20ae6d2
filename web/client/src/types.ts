// The objects and events of the wire. The server describes the same at /api/asyncapi.json.

export type UserId = number
export type CallType = 'voice' | 'video'
export type CallStatus = 'initiated' | 'ringing' | 'accepted' | 'rejected' | 'ended' | 'missed'
export type EndReason =
  | 'hangup' | 'rejected' | 'busy' | 'cancelled' | 'timeout' | 'network' | 'failed' | 'kicked' | 'unreachable' | 'drain'
export type MessageType = 'text' | 'image' | 'audio' | 'video' | 'file' | 'call' | 'system'

export interface UserStatus {
  userId: UserId
  isOnline: boolean
  lastSeen: string
  presence: 'online' | 'away' | 'dnd' | 'offline'
  inCall: boolean
  statusText?: string
}

export interface User extends UserStatus {
  uid: string
  name: string | null
  userType: string | null
  email?: string
}

export interface CallEntry {
  callId: string
  callType: CallType
  status: CallStatus
  endReason: EndReason | null
  duration: number
}

export interface Message {
  messageId: string
  clientId?: string
  conversationId: string
  seq: number
  fromUserId: UserId
  toUserId: UserId | null
  content: string
  messageType: MessageType
  replyTo?: string
  mentions: UserId[]
  isRead: boolean
  readAt?: string
  deliveredAt?: string
  version: number
  createdAt: string
  updatedAt: string
  call?: CallEntry
  cursor?: string
}

export interface Conversation {
  conversationId: string
  type: 'direct' | 'group'
  lastMessage: string
  lastMessageTime: string
  lastMessageType: MessageType
  lastSeq: number
  unreadCount: number
  readUpToSeq: number
  otherUser?: User
}

export interface Person { userId: UserId; name: string | null; userType: string | null }

export interface Call {
  callId: string
  fromUserId: UserId
  toUserId: UserId | null
  conversationId: string
  callType: CallType
  status: CallStatus
  endReason?: EndReason
  rev: number
  roomId: string
  media: 'p2p' | 'relay' | 'sfu'
  createdAt: string
  startTime?: string
  endTime?: string
  duration: number
  expiresAt?: string
  recordingStatus: Recording['status']
  recordingId?: string
  fromUser?: Person
  toUser?: Person
}

export interface CallMember { callId: string; userId: UserId; roomId: string }

export interface Incoming extends Call { waiting: boolean; recordPolicy: 'off' | 'requested' | 'accepted' }
export interface IceServer { urls: string[]; username?: string; credential?: string }
/** What a client says of a track that it publishes. */
export interface TrackOrder {
  mid: string; source?: TrackSource; name?: string; muted?: boolean; scalability?: string
  encodings?: { rid: string; width?: number; height?: number }[]
}
export interface Description { type: 'offer' | 'answer' | 'pranswer'; sdp: string }
export interface Candidate { candidate: string; sdpMid?: string | null; sdpMLineIndex?: number | null }
export interface Refused {
  message: string; code: string; error: string; status: number; event: string; timestamp: string
  details?: Record<string, unknown>
}
export interface LogEntry { cursor: string; event: string; payload: unknown; at: string }
export interface SyncBatch { events: LogEntry[]; cursor: string; more: boolean }

interface Signal { callId: string; fromUserId: UserId; toUserId: UserId }

/** What the server sends. */
export type TrackSource = 'microphone' | 'camera' | 'screen' | 'screen-audio' | 'custom'

/** A published track. */
export interface RoomTrack {
  trackId: string; participantId: string; kind: 'audio' | 'video'; source: TrackSource; name: string | null; muted: boolean
  codec: string; layers: { rid: string; width?: number; height?: number; fps?: number; active: boolean }[]
}

/** Somebody in a room. */
export interface Participant {
  participantId: string; userId: UserId | null; name: string; joinedAt: string; tracks: RoomTrack[]
  permissions: { canPublish: boolean; canSubscribe: boolean; canData: boolean; sources: TrackSource[] }
  moderator: boolean; handRaised: boolean; connection: 'new' | 'connected' | 'reconnecting'; metadata?: unknown
}

export interface RoomInfo {
  roomId: string; name: string | null; owner: UserId | null; createdAt: string; expiresAt: string | null; locked: boolean
  lobby: boolean; maxParticipants: number; participants: number; tracks: number; codecs: string[]
}

export interface PublishedTrack { mid: string; trackId: string; codec: string }

export type RecordingMode = 'tracks' | 'audio-mix' | 'both'
export interface RecordingFile {
  fileId: string; kind: 'audio' | 'video' | 'mix' | 'manifest'; userId: UserId | null; participantId?: string; name?: string
  source?: 'camera' | 'screen'; codecs: string[]; codec: string; container: 'webm' | 'mkv' | 'json'; bytes: number
  startOffsetMs: number; durationMs: number; sha256: string
  /** By how many degrees its pictures have to be turned clockwise: 0, 90, 180, 270. Players that read the file's projection do so. */
  rotation?: number
}
export interface Recording {
  recordingId: string; callId?: string; roomId: string; mode: RecordingMode
  status: 'pending' | 'recording' | 'processing' | 'completed' | 'failed' | 'no_recording'
  startedAt: string; stoppedAt?: string; stopReason?: string; startedBy: UserId | null; userIds: UserId[]
  files: RecordingFile[]; retentionUntil?: string
}
/** What everybody in a room sees of a recording that runs there. */
export interface RunningRecording { recordingId: string; mode: RecordingMode; startedAt: string; by: UserId | null; consent: boolean }

interface Stamp { seq: number; sessionId: string }

/** What is told in rooms; every event has its place (`seq`) and the session it is for. */
export interface RoomEvents {
  'room:joined': Stamp & { participant: Participant }
  'room:left': Stamp & { participantId: string; reason: string }
  'room:participant-updated': Stamp & { participant: Participant }
  'room:track-published': Stamp & { participantId: string; track: RoomTrack }
  'room:track-unpublished': Stamp & { participantId: string; trackId: string }
  'room:track-muted': Stamp & { trackId: string; muted: boolean; by: string }
  'room:offer': Stamp & { rev: number; offer: Description; tracks: { mid: string; trackId: string; participantId: string }[] }
  'room:layer-changed': Stamp & { trackId: string; rid: string; width?: number; height?: number; reason: string }
  'room:publish-layers': Stamp & { trackId: string; layers: { rid: string; active: boolean }[] }
  'room:track-paused': Stamp & { trackId: string; reason: string }
  'room:track-resumed': Stamp & { trackId: string; reason: string }
  'room:speakers': Stamp & { speakers: { participantId: string; level: number }[]; dominant: string | null }
  'room:data': Stamp & { participantId: string; topic: string; payload: unknown }
  'room:hand': Stamp & { participantId: string; raised: boolean }
  'room:reaction': Stamp & { participantId: string; emoji: string }
  'room:lobby': Stamp & { waiting: Participant[] }
  'room:spotlight': Stamp & { participantId: string | null }
  'room:drain': Stamp & { deadline: string }
  'room:moderated': Stamp & { action: string; by: string | null; reason: string | null }
  'room:recording': Stamp & { recordingId: string; state: 'recording' | 'stopped'; mode?: RecordingMode; by: UserId | null }
  'room:closed': Stamp & { reason: string }
  'room:state': Stamp & { room: RoomInfo; participants: Participant[] }
}

interface Moderate { sessionId: string; participantId: string; kind?: 'audio' | 'video'; reason?: string; admit?: boolean }

export interface ServerEvents extends RoomEvents {
  'recording:started': { recording: Recording; by: UserId | null }
  'recording:stopped': { recording: Recording; by: UserId | null }
  'recording:ready': { recording: Recording }
  'recording:failed': { recordingId: string; reason: string }
  'recording:consent-request': { recording: Recording }
  'session:ready': {
    sessionId: string; userId: UserId; serverTime: string; cursor: string; resumed: boolean; protocol: 2
    limits: Record<string, unknown>; iceTtl: number
  }
  'session:token-expiring': { expiresAt: string }
  'session:closed': {
    reason: 'REPLACED' | 'SLOW_CONSUMER' | 'KICKED' | 'USER_DISABLED' | 'SERVER_DRAIN' | 'TOKEN_EXPIRED' | 'PROTOCOL_ERROR'
    reconnectAfterMs?: number
  }
  'session:replaced': { reason: 'REPLACED' }
  'message:received': Message
  'message:sent': Message
  'message:delivered': { conversationId: string; upToSeq: number; byUserId: UserId; deliveredAt: string; cursor?: string }
  'message:read': { byUserId: UserId; conversationId: string; upToSeq: number; readAt: string; cursor?: string }
  'message:markedRead': {
    withUserId: UserId | null; conversationId: string; upToSeq: number; unreadCount: number; cursor?: string
  }
  'typing:start': { fromUserId: UserId; conversationId: string }
  'typing:stop': { fromUserId: UserId; conversationId: string }
  'user:status': UserStatus
  'presence:snapshot': { states: UserStatus[] }
  'sync:batch': SyncBatch
  'sync:reset': { cursor: string }
  'call:incoming': Incoming
  'call:initiated': Incoming
  'call:ringing': { callId: string; userId: UserId; devices: number; rev: number }
  'call:response': {
    callId: string; response: 'accept' | 'reject'; fromUserId: UserId; reason?: 'busy' | 'declined'; call: Call
  }
  'call:responded': { callId: string; response: 'accept' | 'reject'; call: Call }
  'call:answered-elsewhere': { callId: string; deviceName?: string; response: 'accept' | 'reject' }
  'call:ended': { callId: string; fromUserId?: UserId; endReason: EndReason; duration: number; call: Call }
  'call:cancelled': { callId: string; userId: UserId; fromUserId: UserId }
  'call:no-answer': { callId: string; message: string; reason: 'timeout' | 'offline' }
  'call:missed': Call
  'call:missed-calls': { count: number; calls: Call[] }
  'call:reconnecting': { callId: string; userId: UserId; fromUserId: UserId }
  'call:reconnected': { callId: string; userId: UserId; fromUserId: UserId }
  'call:media-path': { callId: string; media: 'p2p' | 'relay' | 'sfu'; reason: string }
  'call:held': { callId: string; userId: UserId; fromUserId: UserId }
  'call:unheld': { callId: string; userId: UserId; fromUserId: UserId }
  'call:update-request': { callId: string; fromUserId: UserId; callType: CallType; call: Call }
  'call:moved': { callId: string }
  'call:member-joined': CallMember
  'call:member-left': CallMember
  'webrtc:offer': Signal & { offer: Description; iceRestart?: boolean }
  'webrtc:answer': Signal & { answer: Description }
  'webrtc:ice-candidate': Signal & { candidate: Candidate | null }
  'call:failed': Refused
  error: Refused
}

interface Place { toUserId?: UserId; conversationId?: string }
export interface Leg { rttMs?: number; jitterMs?: number; lossPct?: number }
interface OneCall { call: Call }
interface Delivery { delivered: boolean; buffered: boolean }
type Nothing = Record<never, never>

/** What a client sends, and the fields of the acknowledgement beside `ok`. */
export interface ClientEvents {
  'recording:start': [{ callId?: string; roomId?: string; mode?: RecordingMode }, { recording: Recording }]
  'recording:stop': [{ recordingId: string }, { recording: Recording }]
  'recording:list': [{ callId?: string; roomId?: string; cursor?: string; limit?: number }, { recordings: Recording[]; nextCursor: string | null }]
  'recording:consent': [{ recordingId: string; consent: boolean }, object]
  'room:join': [
    { roomId?: string; callId?: string; token?: string; name?: string; autoSubscribe?: boolean; metadata?: unknown
      resume?: { sessionId: string; secret: string; lastSeq?: number; fresh?: boolean } },
    { sessionId: string; resumeSecret: string; room: RoomInfo; self: Participant; participants: Participant[]
      iceServers: IceServer[]; iceTransportPolicy: 'all' | 'relay'; seq: number; recording: RunningRecording | null },
  ]
  'room:leave': [{ sessionId: string }, object]
  'room:publish': [{ sessionId: string; offer: Description; tracks: TrackOrder[] }, { answer: Description; rev: number; tracks: PublishedTrack[] }]
  'room:unpublish': [{ sessionId: string; offer: Description; tracks?: TrackOrder[] }, { answer: Description; rev: number; tracks: PublishedTrack[] }]
  'room:subscribe': [{ sessionId: string; trackIds: string[] }, { accepted: string[]; rejected: { trackId: string; reason: string }[] }]
  'room:unsubscribe': [{ sessionId: string; trackIds: string[] }, { accepted: string[]; rejected: { trackId: string; reason: string }[] }]
  'room:answer': [{ sessionId: string; rev: number; answer: Description }, object]
  'room:ice-candidate': [{ sessionId: string; target: 'publish' | 'subscribe'; candidate: Candidate | null }, object]
  'room:ice-restart': [{ sessionId: string; target: 'publish' | 'subscribe'; offer?: Description }, { answer?: Description }]
  'room:layer': [{ sessionId: string; trackId: string; rid: string; maxWidth?: number; maxHeight?: number; maxFps?: number; priority?: number }, object]
  'room:mute': [{ sessionId: string; trackId: string; muted: boolean }, object]
  'room:mute-remote': [Moderate, object]
  'room:kick': [Moderate, object]
  'room:admit': [Moderate, object]
  'room:spotlight': [{ sessionId: string; participantId?: string }, object]
  'room:stats': [{ sessionId: string; pubs?: Leg[]; subs?: Leg[] }, object]
  'room:lock': [{ sessionId: string; locked: boolean }, object]
  'room:end': [{ sessionId: string }, object]
  'room:hand': [{ sessionId: string; raised: boolean }, object]
  'room:reaction': [{ sessionId: string; emoji: string }, object]
  'room:data': [{ sessionId: string; topic: string; payload: unknown; to?: string[] }, object]
  'room:metadata': [{ sessionId: string; metadata?: unknown; name?: string }, object]
  'message:send': [
    Place & { content: string; messageType?: MessageType; clientId?: string; replyTo?: string; mentions?: UserId[] },
    { messageId: string; conversationId: string; seq: number; createdAt: string; clientId?: string; duplicate: boolean },
  ]
  'message:delivered': [{ messageIds: string[] } | { conversationId: string; upToSeq: number }, { count: number }]
  'message:markRead': [
    { withUserId: UserId } | { conversationId: string; upTo?: string }, { upToSeq: number; unreadCount: number },
  ]
  'message:history': [
    { withUserId?: UserId; conversationId?: string; before?: string; after?: string; limit?: number },
    { messages: Message[]; nextCursor: string | null; prevCursor: string | null },
  ]
  'typing:start': [Place, Nothing]
  'typing:stop': [Place, Nothing]
  'presence:subscribe': [{ userIds: UserId[] }, { states: UserStatus[] }]
  'presence:unsubscribe': [{ userIds: UserId[] }, Nothing]
  'presence:set': [{ presence: 'auto' | 'away' | 'dnd'; statusText?: string }, Nothing]
  'sync:pull': [{ cursor: string; limit?: number }, SyncBatch]
  'sync:ack': [{ cursor: string }, Nothing]
  'session:refresh': [{ token: string }, { expiresAt: string }]
  'session:ping': [{ t: number }, { t: number; serverTime: string }]
  'call:initiate': [{ toUserId?: UserId; toUserIds?: UserId[]; callType?: CallType; clientId?: string; waiting?: boolean; media?: 'auto' | 'p2p' | 'relay'; record?: boolean }, OneCall & { calls?: Call[] }]
  'call:add': [{ callId: string; userIds: UserId[] }, OneCall & { roomId: string; calls: Call[]; refused: { userId: UserId; reason: string; error: string }[] }]
  'call:ringing': [{ callId: string }, Nothing]
  'call:respond': [
    { callId: string; response: 'accept' | 'reject'; reason?: 'busy' | 'declined'; holdOther?: boolean }, OneCall,
  ]
  'call:cancel': [{ callId: string }, OneCall]
  'call:end': [{ callId: string; reason?: 'hangup' | 'failed' | 'network' }, OneCall]
  'call:hold': [{ callId: string }, Nothing]
  'call:resume-hold': [{ callId: string }, Nothing]
  'call:update': [{ callId: string; callType?: CallType; media?: 'relay' }, OneCall]
  'call:move': [{ callId: string }, OneCall & { iceServers: IceServer[] }]
  'call:rejoin': [
    { callId: string; lastRev?: number },
    OneCall & { buffered: { event: string; payload: unknown }[]; iceServers: IceServer[] },
  ]
  'call:rate': [{ callId: string; stars: number; issues?: string[]; comment?: string }, Nothing]
  'call:stats': [{ callId: string; legs: Leg[] }, Nothing]
  'call:ack-missed': [{ callIds: string[] }, Nothing]
  'webrtc:offer': [{ callId: string; offer: Description; iceRestart?: boolean }, Delivery]
  'webrtc:answer': [{ callId: string; answer: Description }, Delivery]
  'webrtc:ice-candidate': [{ callId: string; candidate: Candidate | null }, Delivery]
}

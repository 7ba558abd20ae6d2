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
  fromUser?: Person
  toUser?: Person
}

export interface Incoming extends Call { waiting: boolean; recordPolicy: 'off' | 'auto' }
export interface IceServer { urls: string[]; username?: string; credential?: string }
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
export interface ServerEvents {
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
  'webrtc:offer': Signal & { offer: Description; iceRestart?: boolean }
  'webrtc:answer': Signal & { answer: Description }
  'webrtc:ice-candidate': Signal & { candidate: Candidate | null }
  'call:failed': Refused
  error: Refused
}

interface Place { toUserId?: UserId; conversationId?: string }
interface OneCall { call: Call }
interface Delivery { delivered: boolean; buffered: boolean }
type Nothing = Record<never, never>

/** What a client sends, and the fields of the acknowledgement beside `ok`. */
export interface ClientEvents {
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
  'call:initiate': [{ toUserId: UserId; callType?: CallType; clientId?: string; waiting?: boolean }, OneCall]
  'call:ringing': [{ callId: string }, Nothing]
  'call:respond': [
    { callId: string; response: 'accept' | 'reject'; reason?: 'busy' | 'declined'; holdOther?: boolean }, OneCall,
  ]
  'call:cancel': [{ callId: string }, OneCall]
  'call:end': [{ callId: string; reason?: 'hangup' | 'failed' | 'network' }, OneCall]
  'call:hold': [{ callId: string }, Nothing]
  'call:resume-hold': [{ callId: string }, Nothing]
  'call:update': [{ callId: string; callType: CallType }, OneCall]
  'call:move': [{ callId: string }, OneCall & { iceServers: IceServer[] }]
  'call:rejoin': [
    { callId: string; lastRev?: number },
    OneCall & { buffered: { event: string; payload: unknown }[]; iceServers: IceServer[] },
  ]
  'call:rate': [{ callId: string; stars: number; issues?: string[]; comment?: string }, Nothing]
  'call:stats': [{ callId: string; legs: { rttMs?: number; jitterMs?: number; lossPct?: number }[] }, Nothing]
  'call:ack-missed': [{ callIds: string[] }, Nothing]
  'webrtc:offer': [{ callId: string; offer: Description; iceRestart?: boolean }, Delivery]
  'webrtc:answer': [{ callId: string; answer: Description }, Delivery]
  'webrtc:ice-candidate': [{ callId: string; candidate: Candidate | null }, Delivery]
}

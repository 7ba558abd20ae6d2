// Made by generate.mjs from /api/openapi.json and /api/asyncapi.json: do not edit.

/** What the participants of a room see of a recording. */
export interface ActiveRecording {
  /** Who started it; null for the server's own policy. */
  by?: UserId | null
  /** Whether it waits for each one's consent. */
  consent: boolean
  /** What is recorded. */
  mode: RecordingMode
  /** Which. */
  recordingId: RecordingId
  /** Since when. */
  startedAt: Timestamp
}

/** Accept or reject. */
export type Answer = 'accept' | 'reject'

/** A device that answered. */
export interface AnsweredBy {
  /** On which device. */
  deviceId?: string | null
  /** Who answered. */
  userId: UserId
}

/** `call:answered-elsewhere`. */
export interface AnsweredElsewhere {
  /** Which call. */
  callId: CallId
  /** The device that answered. */
  deviceName?: string | null
  /** Accepted or rejected. */
  response: Answer
}

/** One call. */
export interface Call {
  /** The same, under the name that clients of a document store expect. */
  _id?: CallId | null
  /** Which device took it. */
  answeredBy?: AnsweredBy | null
  /** Its id. */
  callId: CallId
  /** Voice or video. */
  callType: CallType
  /** The conversation it belongs to. */
  conversationId: ConversationId
  /** When it was made. */
  createdAt: Timestamp
  /** Seconds from acceptance to end, 0 if never accepted. */
  duration: number
  /** Why it is over. */
  endReason?: EndReason | null
  /** When it ended. */
  endTime?: Timestamp | null
  /** Until when it rings. */
  expiresAt?: Timestamp | null
  /** Who called. */
  fromUser?: Person | null
  /** Who called. */
  fromUserId: UserId
  /** Which way media takes. */
  media: MediaPath
  /** The newest recording of it. */
  recordingId?: RecordingId | null
  /** Whether it was recorded. */
  recordingStatus: RecordingStatus
  /** Grows with each change. */
  rev: number
  /** When the first device showed it. */
  ringingAt?: Timestamp | null
  /** The name of its room; calls of several share one. */
  roomId: RoomId
  /** When it was accepted. */
  startTime?: Timestamp | null
  /** Where it stands. */
  status: CallStatus
  /** Who was called. */
  toUser?: Person | null
  /** Who was called; null for a group. */
  toUserId?: UserId | null
  /** The last change. */
  updatedAt: Timestamp
  /** Everyone in it. */
  userIds: UserId[]
}

/** The call as it stands now. */
export interface CallAck {
  call: Call
}

/** Missed calls that were seen. */
export interface CallAckMissed {
  callIds: CallId[]
}

/** Whom to add to a call. */
export interface CallAdd {
  callId: CallId
  userIds: UserId[]
}

/** The call, the room where everybody meets, and who rings. */
export interface CallAddAck {
  call: Call
  calls: Call[]
  refused: CallRefused[]
  roomId: RoomId
}

/** The end of a call. */
export interface CallEnd {
  callId: CallId
  reason?: EndedFor | null
  toUserId?: UserId | null
}

/** `call:ended`. */
export interface CallEnded {
  /** The call as it stands now. */
  call: Call
  /** Which call. */
  callId: CallId
  /** Seconds from acceptance to end. */
  duration: number
  /** Why. */
  endReason: EndReason
  /** Who ended it; absent when nobody did. */
  fromUserId?: UserId | null
}

/** A finished call, as its conversation shows it. */
export interface CallEntry {
  /** Which call. */
  callId: CallId
  /** Voice or video. */
  callType: CallType
  /** Seconds from acceptance to end. */
  duration: number
  /** Why it ended. */
  endReason?: EndReason | null
  /** How it ended. */
  status: CallStatus
}

/** Names one call for its whole life; `callId` on the wire. */
export type CallId = string

/** Whom to call. */
export interface CallInitiate {
  callType?: CallType
  clientId?: Text64 | null
  media?: CallMedia | null
  /** Whether to record it from the beginning. */
  record?: boolean
  toUserId?: UserId | null
  toUserIds?: UserId[] | null
  waiting?: boolean
}

/** The call; of several, all that ring now. */
export interface CallInitiateAck {
  call: Call
  calls?: Call[] | null
}

/** Which way the media of a call of two is to take. */
export type CallMedia = 'auto' | 'p2p' | 'relay'

/** `call:member-joined` and `call:member-left`. */
export interface CallMember {
  /** The first call of the several. */
  callId: CallId
  /** Where they meet. */
  roomId: RoomId
  /** Who. */
  userId: UserId
}

/** The call, on this device now. */
export interface CallMovedAck {
  call: Call
  iceServers: IceServer[]
}

/** An event about one person in a call. */
export interface CallPerson {
  /** Which call. */
  callId: CallId
  /** The same. */
  fromUserId: UserId
  /** Whom it is about. */
  userId: UserId
}

/** What one thought of a call. */
export interface CallRate {
  callId: CallId
  comment?: Text500 | null
  issues?: Text40[]
  /** 1 (bad) to 5 (good). */
  stars: number
}

/** An event about a call. */
export interface CallReference {
  /** Which call. */
  callId: CallId
}

/** Who could not be called. */
export interface CallRefused {
  error: string
  reason: string
  userId: UserId
}

/** Which call to come back to, and what the client last knew of it. */
export interface CallRejoin {
  callId: CallId
  lastRev?: number | null
}

/** The call as it stands, and what waited. */
export interface CallRejoinAck {
  buffered: Waited[]
  call: Call
  iceServers: IceServer[]
}

/** An answer; anything but `accept` refuses, as in the original. */
export interface CallRespond {
  callId: CallId
  holdOther?: boolean
  reason?: DeclineReason | null
  response: string
  toUserId?: UserId | null
}

/** `webrtc:*`: exactly one of `offer`, `answer` and `candidate` is there. */
export interface CallSignal {
  /** `{type, sdp}`. */
  answer?: unknown
  /** Which call. */
  callId: CallId
  /** `RTCIceCandidateInit`; null ends the list. */
  candidate?: unknown
  /** Who sent it. */
  fromUserId: UserId
  /** The sender restarts ICE. */
  iceRestart?: boolean | null
  /** `{type, sdp}`. */
  offer?: unknown
  /** For whom it is. */
  toUserId: UserId
}

/** Figures of a running call. */
export interface CallStats {
  callId: CallId
  legs: Leg[]
}

/** Where a call stands; the six values of the original. The detail is in [`EndReason`]. */
export type CallStatus = 'initiated' | 'ringing' | 'accepted' | 'rejected' | 'ended' | 'missed'

/** What a call carries. */
export type CallType = 'voice' | 'video'

/** What the call is to become. */
export interface CallUpdate {
  callId: CallId
  callType?: CallType | null
  /** `relay` has media go through the server from now on: the two find no way to each other. */
  media?: CallMedia | null
}

/** A call, named. */
export interface CallWhich {
  callId: CallId
}

/** Why the server ends a session. */
export type CloseReason = 'REPLACED' | 'SLOW_CONSUMER' | 'KICKED' | 'USER_DISABLED' | 'SERVER_DRAIN' | 'TOKEN_EXPIRED' | 'PROTOCOL_ERROR'

/** Whether a participant is connected. */
export type Connectivity = 'new' | 'connected' | 'reconnecting'

/** `recording:consent-request`: whoever does not consent is not recorded. */
export interface ConsentRequest {
  /** The recording. */
  recording: Recording
}

/** A conversation as its member sees it. Direct ones carry the original's `_id`, the other person's user id. */
export interface Conversation {
  /** The other person's id. */
  _id?: UserId | null
  /** Put away. */
  archived: boolean
  /** Its id. */
  conversationId: ConversationId
  /** When it began. */
  createdAt: Timestamp
  /** The beginning of the newest message. */
  lastMessage: string
  /** The newest message. */
  lastMessageId?: MessageId | null
  /** When it came. */
  lastMessageTime: Timestamp
  /** What it is. */
  lastMessageType: MessageType
  /** Its number. */
  lastSeq: number
  /** How many take part. */
  memberCount: number
  /** Silent until then. */
  mutedUntil?: Timestamp | null
  /** A group's name. */
  name?: string | null
  /** The other person. */
  otherUser?: User | null
  /** One's own read mark. */
  readUpToSeq: number
  /** Direct or group. */
  type: ConversationKind
  /** How many messages of others stand behind the read mark. */
  unreadCount: number
  /** The last change. */
  updatedAt: Timestamp
}

/** Names one conversation; `conversationId` on the wire. */
export type ConversationId = string

/** A direct conversation of two, or a group. */
export type ConversationKind = 'direct' | 'group'

/** Why a call is not taken. */
export type DeclineReason = 'busy' | 'declined'

/** `message:delivered`. */
export interface Delivered {
  /** To whom. */
  byUserId: UserId
  /** Where. */
  conversationId: ConversationId
  /** Its place in the event log. */
  cursor?: string | null
  /** When. */
  deliveredAt: Timestamp
  /** Everything up to this number has arrived. */
  upToSeq: number
}

/** A registered device. Its push tokens are never returned. */
export interface Device {
  /** The version of the application on it. */
  appVersion?: string | null
  /** Chosen by the device. */
  deviceId: string
  /** Whether it can be pushed to. */
  hasPush: boolean
  /** Whether it can be rung by push. */
  hasVoip: boolean
  /** When it was registered last. */
  lastSeen: Timestamp
  /** What it is called. */
  name?: string | null
  /** What it runs. */
  platform: Platform
}

/** An acknowledgement without fields. */
export type Done = Record<string, unknown>

/** What a client says of a layer. */
export interface Encoding {
  height?: number | null
  maxFps?: number | null
  rid: string
  width?: number | null
}

/** Why a call is over. */
export type EndReason = 'hangup' | 'rejected' | 'busy' | 'cancelled' | 'timeout' | 'network' | 'failed' | 'kicked' | 'unreachable' | 'drain'

/** Why a call is ended. */
export type EndedFor = 'hangup' | 'failed' | 'network'

/** `{"error","code","reason","timestamp","requestId"?,"details"?}`: every error of REST and every negative ack. */
export interface ErrorBody {
  /** With `NO_ROUTE`: what there is, `METHOD /path` each. */
  availableEndpoints?: string[] | null
  /** The HTTP status. */
  code: number
  /** Particulars such as `field`, `limit`, `retryAfterMs`. */
  details?: unknown
  /** What went wrong and what to do, for a person. */
  error: string
  /** The stable machine code. */
  reason: string
  /** Under which id the server logged it. */
  requestId?: string | null
  /** When. */
  timestamp: Timestamp
}

/** Names one file of a recording; `fileId` on the wire. */
export type FileId = string

/** What a file of a recording holds. */
export type FileKind = 'audio' | 'video' | 'mix' | 'manifest'

/** Why nothing of a track arrives, or something again. */
export type FlowReason = 'bandwidth' | 'CODEC_UNSUPPORTED'

/** As the original stores it. */
export type Gender = 'male' | 'female' | 'other'

/** An entry of `RTCConfiguration.iceServers`. */
export interface IceServer {
  /** Base64 of HMAC-SHA1(secret, username). */
  credential?: string | null
  /** Always `password`. */
  credentialType?: string | null
  /** `stun:`, `turn:` and `turns:` addresses. */
  urls: string[]
  /** `expiry:userId[:callId]`. */
  username?: string | null
}

/** `call:incoming` and `call:initiated`. */
export type Incoming = Call & {
  /** Whether the call will be recorded. */
  recordPolicy: RecordPolicy
  /** Whether the receiver is in another call. */
  waiting: boolean
}

/** What has become of a job. */
export interface Job {
  error?: string | null
  jobId: JobId
  /** Percent. */
  progress: number
  state: JobState
}

/** Names one piece of work that goes on after its request; `jobId` on the wire. */
export type JobId = string

/** What has become of a job. */
export type JobState = 'queued' | 'running' | 'done' | 'failed'

/** Why another layer of a track arrives. */
export type LayerReason = 'requested' | 'bandwidth' | 'publisher'

/** Which layer a viewer wants. */
export interface LayerRequest {
  /** Pictures in a second; more are left out where the stream has temporal layers. */
  maxFps?: number | null
  /** Pixels that are shown; a larger layer is not wanted. */
  maxHeight?: number | null
  /** Pixels that are shown; a larger layer is not wanted. */
  maxWidth?: number | null
  /** The highest first when not everything fits; 128 by default. */
  priority?: number | null
  /** `auto`, `off`, or the name of a layer. */
  rid?: string
  /** Of which track. */
  trackId: TrackId
}

/** Why a participant left. */
export type LeaveReason = 'left' | 'network' | 'kicked' | 'refused' | 'expired' | 'revoked'

/** Figures of one leg. */
export interface Leg {
  jitterMs?: number | null
  lossPct?: number | null
  rttMs?: number | null
}

/** The limits that a client should know; `config.toml` has all. */
export interface Limits {
  /** Calls started. */
  callsPerMinute: number
  /** Bytes of a message. */
  contentBytes: number
  /** Unicode characters of a message. */
  contentChars: number
  /** Messages at once. */
  messagesBurst: number
  /** Messages, sustained. */
  messagesPerSecond: number
  /** Rows of a page. */
  pageMax: number
  /** REST requests. */
  restPerMinute: number
  /** Bytes of a session description. */
  sdpBytes: number
}

/** One event of a user's log. */
export interface LogEntry {
  /** When it happened. */
  at: Timestamp
  /** Its place in the user's log. */
  cursor: string
  /** The event's name. */
  event: string
  /** The event's payload. */
  payload: Record<string, unknown>
}

/** `message:markedRead`. */
export interface MarkedRead {
  /** Where. */
  conversationId: ConversationId
  /** Its place in the event log. */
  cursor?: string | null
  /** What is left. */
  unreadCount: number
  /** Everything up to this number. */
  upToSeq: number
  /** The other person of a direct conversation. */
  withUserId?: UserId | null
}

/** Oneself, with role and limits. */
export type Me = User & {
  /** The limits in force. */
  limits: Limits
  /** What the role allows beyond the ordinary. */
  permissions: string[]
}

/** Which way a call's media takes. */
export type MediaPath = 'p2p' | 'relay' | 'sfu'

/** `call:media-path`. */
export interface MediaPathChanged {
  /** Which call. */
  callId: CallId
  /** Which way media takes. */
  media: MediaPath
  /** Why. */
  reason: MediaPathReason
}

/** Why the media of a call takes its path. */
export type MediaPathReason = 'policy' | 'ice-failed' | 'recording' | 'group'

/** One message. */
export interface Message {
  /** The same, under the name that clients of a document store expect. */
  _id?: MessageId | null
  /** Files that belong to it. */
  attachments: (Record<string, unknown>)[]
  /** The call that this entry tells of. */
  call?: CallEntry | null
  /** The sender's idempotency key. */
  clientId?: string | null
  /** The text; empty when deleted. */
  content: string
  /** Where it stands. */
  conversationId: ConversationId
  /** When the server stored it. */
  createdAt: Timestamp
  /** Where it stands in the receiving user's event log. */
  cursor?: string | null
  /** When it was deleted. */
  deletedAt?: Timestamp | null
  /** When it reached a device of the receiver. */
  deliveredAt?: Timestamp | null
  /** The last edit. */
  editedAt?: Timestamp | null
  /** When it vanishes. */
  expiresAt?: Timestamp | null
  /** Who wrote it. */
  fromUserId: UserId
  /** Whether the receiver has read it. */
  isRead: boolean
  /** People named in it. */
  mentions: UserId[]
  /** Its id. */
  messageId: MessageId
  /** What it is. */
  messageType: MessageType
  /** Emoji to the people who gave it. */
  reactions: Record<string, UserId[]>
  /** When the receiver read it. */
  readAt?: Timestamp | null
  /** The message it answers. */
  replyTo?: MessageId | null
  /** Its number in the conversation, from 1 without gaps. */
  seq: number
  /** The other person of a direct conversation; null in a group. */
  toUserId?: UserId | null
  /** The last change. */
  updatedAt: Timestamp
  /** Grows with each edit. */
  version: number
}

/** How many messages that was. */
export interface MessageDeliveredAck {
  count: number
}

/** Messages that reached this device: by id, or all of a conversation up to a number. */
export interface MessageDeliveredReport {
  conversationId?: ConversationId | null
  messageIds?: MessageId[] | null
  upToSeq?: number | null
}

/** Which messages to read. */
export interface MessageHistory {
  after?: string | null
  before?: string | null
  conversationId?: ConversationId | null
  limit?: number | null
  withUserId?: UserId | null
}

/** Messages, oldest first, and the cursors that lead on. */
export interface MessageHistoryAck {
  messages: Message[]
  nextCursor?: string | null
  prevCursor?: string | null
}

/** Names one message; `messageId` on the wire. */
export type MessageId = string

/** Which conversation was read, and up to which message. */
export interface MessageMarkRead {
  conversationId?: ConversationId | null
  upTo?: MessageId | null
  withUserId?: UserId | null
}

/** Where the read mark stands. */
export interface MessageMarkReadAck {
  unreadCount: number
  upToSeq: number
}

/** A message as clients write it, over sockets and REST alike. */
export interface MessageSend {
  clientId?: Text64 | null
  content?: string | null
  conversationId?: ConversationId | null
  mentions?: UserId[]
  messageType?: MessageType
  replyTo?: MessageId | null
  toUserId?: UserId | null
}

/** Where the stored message stands. */
export interface MessageSendAck {
  clientId?: string | null
  conversationId: ConversationId
  createdAt: Timestamp
  duplicate: boolean
  messageId: MessageId
  seq: number
}

/** What a message is. Clients write the first five; the server writes calls and notices. */
export type MessageType = 'text' | 'image' | 'audio' | 'video' | 'file' | 'call' | 'system'

/** `call:missed-calls`. */
export interface MissedCalls {
  /** Which, newest first. */
  calls: Call[]
  /** How many. */
  count: number
}

/** What a moderator did to a participant. */
export type ModerationAction = 'kick' | 'refused' | 'mute'

/** `call:no-answer`. */
export interface NoAnswer {
  /** Which call. */
  callId: CallId
  /** For a person. */
  message: string
  /** The same for a program. */
  reason: NoAnswerReason
}

/** Why there was no answer. */
export type NoAnswerReason = 'timeout' | 'offline'

/** A track that will not arrive. */
export interface NotSubscribed {
  reason: RejectReason
  trackId: TrackId
}

/** Which section shows which track. */
export interface OfferedTrack {
  /** The section. */
  mid: string
  /** Whose it is. */
  participantId: ParticipantId
  /** The track. */
  trackId: TrackId
}

/** Somebody in a room. */
export interface Participant {
  /** Whether it is connected. */
  connection: Connectivity
  /** Whether its hand is raised. */
  handRaised: boolean
  /** When it came. */
  joinedAt: Timestamp
  /** What it says of itself. */
  metadata?: unknown
  /** Whether it may moderate. */
  moderator: boolean
  /** Its name for people. */
  name: string
  /** Its name on the wire. */
  participantId: ParticipantId
  /** What it may do. */
  permissions: Permissions
  /** What it publishes. */
  tracks: Track[]
  /** The account. */
  userId?: UserId | null
}

/** Names a participant for as long as it is in a room; `participantId` on the wire. */
export type ParticipantId = string

/** What a participant may do. */
export interface Permissions {
  /** Send data, reactions and a raised hand. */
  canData?: boolean
  /** Publish tracks. */
  canPublish?: boolean
  /** Receive tracks. */
  canSubscribe?: boolean
  /** What it may publish; empty: everything. */
  sources?: TrackSource[]
}

/** A person in a call. */
export interface Person {
  /** Who. */
  _id: UserId
  /** With `directory.expose_contact` only. */
  email?: string | null
  /** The name to show. */
  name?: string | null
  /** The same. */
  userId: UserId
  /** What kind of user the application says this is. */
  userType?: string | null
}

/** What a device runs. */
export type Platform = 'ios' | 'android' | 'web' | 'desktop' | 'server'

/** How a person is seen. */
export type Presence = 'online' | 'away' | 'dnd' | 'offline'

/** How a person wants to be seen. */
export type PresenceMode = 'auto' | 'away' | 'dnd'

/** Whose status to get. */
export interface PresencePeople {
  userIds: UserId[]
}

/** How one wants to be seen. */
export interface PresenceSet {
  presence: PresenceMode
  statusText?: string | null
}

/** Their states. */
export interface PresenceStates {
  states: UserStatus[]
}

/** A track that is published now. */
export interface PublishedTrack {
  /** What it is coded with. */
  codec: string
  /** The section. */
  mid: string
  /** Its name on the wire. */
  trackId: TrackId
}

/** The answer to an offer to publish. */
export interface Publishing {
  /** Our answer. */
  answer: SessionDescription
  /** Which offer it answers, counted from 1. */
  rev: number
  /** What is published now. */
  tracks: PublishedTrack[]
}

/** `message:read`. */
export interface Read {
  /** Who has read. */
  byUserId: UserId
  /** Where. */
  conversationId: ConversationId
  /** Its place in the event log. */
  cursor?: string | null
  /** When. */
  readAt: Timestamp
  /** Everything up to this message. */
  upTo?: MessageId | null
  /** The same by its number. */
  upToSeq: number
}

/** Whether a call is recorded from its beginning, and because of what. */
export type RecordPolicy = 'off' | 'requested' | 'accepted'

/** A recording. */
export interface Recording {
  /** The call. */
  callId?: CallId | null
  /** What there is to download, once it is completed. */
  files: RecordingFile[]
  /** Names of guests who were recorded. */
  guests: string[]
  /** What is recorded. */
  mode: RecordingMode
  /** Its id. */
  recordingId: RecordingId
  /** When it is deleted. */
  retentionUntil?: Timestamp | null
  /** The room. */
  roomId: RoomId
  /** When the first byte could be written. */
  startedAt: Timestamp
  /** Who started it; null for the server's own policy. */
  startedBy?: UserId | null
  /** Where it stands. */
  status: RecordingStatus
  /** Why. */
  stopReason?: StopReason | null
  /** When it stopped. */
  stoppedAt?: Timestamp | null
  /** The users who may have been recorded. */
  userIds: UserId[]
}

/** The recording as it stands now. */
export interface RecordingAck {
  recording: Recording
}

/** Whether one agrees to be recorded. */
export interface RecordingConsent {
  consent: boolean
  recordingId: RecordingId
}

/** `recording:failed`. */
export interface RecordingFailed {
  /** Why. */
  reason: StopReason
  /** Which. */
  recordingId: RecordingId
}

/** A file of a recording. */
export interface RecordingFile {
  /** Its length. */
  bytes: number
  /** The first of them that is pictures, or that is sound. */
  codec: string
  /** `opus`, `vp8`, `vp9`, `h264`, `av1`; in the order of the file's tracks. */
  codecs: string[]
  /** `webm`, `mkv` or `json`. */
  container: string
  /** Milliseconds that it covers. */
  durationMs: number
  /** Its id. */
  fileId: FileId
  /** What it holds. */
  kind: FileKind
  /** The name that was shown. */
  name?: string | null
  /** The participant of a room. */
  participantId?: string | null
  /** By how many degrees the pictures have to be turned clockwise: 0, 90, 180 or 270. Players that read the file's projection do so. */
  rotation?: number | null
  /** SHA-256, in hexadecimal digits. */
  sha256: string
  /** `camera` (with the microphone) or `screen`. */
  source?: string | null
  /** Milliseconds from the beginning of the recording to that of the file. */
  startOffsetMs: number
  /** Who is in it; null for guests, and for what is of all participants. */
  userId?: UserId | null
}

/** Names one recording; `recordingId` on the wire. */
export type RecordingId = string

/** Which recordings to list. */
export interface RecordingList {
  callId?: CallId | null
  cursor?: string | null
  limit?: number | null
  roomId?: RoomId | null
}

/** Recordings, newest first. */
export interface RecordingListAck {
  nextCursor?: string | null
  recordings: Recording[]
}

/** What is recorded. */
export type RecordingMode = 'tracks' | 'audio-mix' | 'both'

/** `recording:started` and `recording:stopped`. */
export interface RecordingNotice {
  /** Who did it; null for the server. */
  by?: UserId | null
  /** The recording. */
  recording: Recording
}

/** `recording:ready`. */
export interface RecordingReady {
  /** The recording with its files. */
  recording: Recording
}

/** What to record: a call or a room. */
export interface RecordingStart {
  callId?: CallId | null
  mode?: RecordingMode | null
  roomId?: RoomId | null
}

/** Where a recording stands; the words of the original. */
export type RecordingStatus = 'pending' | 'recording' | 'processing' | 'completed' | 'failed' | 'no_recording'

/** A recording, named. */
export interface RecordingWhich {
  recordingId: RecordingId
}

/** `error` and `call:failed`: message and string code as the original sent them. */
export interface Refused {
  /** The call concerned. */
  callId?: string | null
  /** The stable machine code. */
  code: string
  /** Particulars such as `field`, `retryAfterMs`. */
  details?: unknown
  /** The same sentence again. */
  error: string
  /** The event that failed. */
  event: string
  /** What went wrong. */
  message: string
  /** The HTTP status that goes with it. */
  status: number
  /** When. */
  timestamp: Timestamp
}

/** Why a track is not subscribed to. */
export type RejectReason = 'TRACK_NOT_FOUND' | 'SUBSCRIBE_FORBIDDEN' | 'CODEC_UNSUPPORTED'

/** `call:responded`. */
export interface Responded {
  /** The call as it stands now. */
  call: Call
  /** Which call. */
  callId: CallId
  /** Accepted or rejected. */
  response: Answer
}

/** `call:response`. */
export interface Response {
  /** The call as it stands now. */
  call: Call
  /** Which call. */
  callId: CallId
  /** By whom. */
  fromUserId: UserId
  /** Why not, when it is rejected. */
  reason?: DeclineReason | null
  /** Accepted or rejected. */
  response: Answer
}

/** `call:ringing`. */
export interface Ringing {
  /** Which call. */
  callId: CallId
  /** On how many devices. */
  devices: number
  /** The call's revision. */
  rev: number
  /** Where it rings. */
  userId: UserId
}

/** What a token lets its bearer do. */
export type Role = 'user' | 'moderator' | 'admin' | 'service'

/** A room. */
export interface Room {
  /** Codecs that may be published. */
  codecs: string[]
  /** When it was made. */
  createdAt: Timestamp
  /** When it ends by itself. */
  expiresAt?: Timestamp | null
  /** Who comes waits for a moderator. */
  lobby: boolean
  /** Nobody else may come in. */
  locked: boolean
  /** Participants at most. */
  maxParticipants: number
  /** Its name for people. */
  name?: string | null
  /** The user who made it; null: the application. */
  owner?: UserId | null
  /** Participants that are there. */
  participants: number
  /** Its name on the wire. */
  roomId: RoomId
  /** Who a moderator has put in the middle. */
  spotlight?: ParticipantId | null
  /** Tracks that are published. */
  tracks: number
  /** Viewers by WHEP that are connected. */
  viewers: number
}

/** The answer to a `room:offer`. */
export interface RoomAnswer {
  answer: SessionDescription
  rev: number
  sessionId: RoomSessionId
}

/** A candidate of the client; null ends them. */
export interface RoomCandidate {
  candidate?: unknown
  sessionId: RoomSessionId
  target: RoomTarget
}

/** Why a room is over. */
export type RoomCloseReason = 'ended' | 'empty' | 'expired' | 'failed'

/** The room is over. */
export type RoomClosed = Stamp & {
  reason: RoomCloseReason
}

/** Data of another participant. */
export type RoomData = Stamp & {
  participantId: ParticipantId
  payload: unknown
  topic: string
}

/** The server goes down: come back, and join again, after `deadline` at the latest. */
export type RoomDrain = Stamp & {
  deadline: Timestamp
}

/** A hand was raised or lowered. */
export type RoomHand = Stamp & {
  participantId: ParticipantId
  raised: boolean
}

/** A hand, raised or lowered. */
export interface RoomHandRaise {
  raised: boolean
  sessionId: RoomSessionId
}

/** Which connection to begin anew; with an offer for `publish`. */
export interface RoomIceRestart {
  offer?: SessionDescription | null
  sessionId: RoomSessionId
  target: RoomTarget
}

/** The answer to the offer, if there was one. */
export interface RoomIceRestartAck {
  answer?: SessionDescription | null
}

/** Names a room: 1 to 64 letters, digits, `-` and `_`. */
export type RoomId = string

/** Where to come in, and how. */
export interface RoomJoin {
  autoSubscribe?: boolean
  callId?: CallId | null
  metadata?: unknown
  name?: Text120 | null
  resume?: RoomResume | null
  roomId?: RoomId | null
  token?: Text128 | null
}

/** One is in. */
export interface RoomJoinAck {
  iceServers: IceServer[]
  iceTransportPolicy: string
  /** The others. */
  participants: Participant[]
  recording?: ActiveRecording | null
  resumeSecret: string
  room: Room
  self: Participant
  seq: number
  sessionId: RoomSessionId
}

/** Which layer of a track to receive. */
export type RoomLayer = LayerRequest & {
  sessionId: RoomSessionId
}

/** The layer that arrives now; `room:layer-changed` says when another one does. */
export interface RoomLayerAck {
  /** Its name; null when none arrives, or the track has no layers. */
  current?: string | null
}

/** Another layer of a track arrives. */
export type RoomLayerChanged = Stamp & {
  height?: number | null
  reason: LayerReason
  rid: string
  trackId: TrackId
  width?: number | null
}

/** Somebody left. */
export type RoomLeft = Stamp & {
  participantId: ParticipantId
  reason: LeaveReason
}

/** Who waits to be let in; to moderators. */
export type RoomLobby = Stamp & {
  waiting: Participant[]
}

/** Whether the room is to be locked. */
export interface RoomLock {
  locked: boolean
  sessionId: RoomSessionId
}

/** What one says of oneself. */
export interface RoomMetadata {
  metadata?: unknown
  name?: Text120 | null
  sessionId: RoomSessionId
}

/** Another participant, and what is to become of it. */
export interface RoomModerate {
  admit?: boolean
  /** Of `room:kick`: whether it may not come back until the ban is lifted. */
  ban?: boolean
  kind?: TrackKind | null
  participantId: ParticipantId
  reason?: Text200 | null
  sessionId: RoomSessionId
}

/** A moderator did something to one. */
export type RoomModerated = Stamp & {
  action: ModerationAction
  by?: ParticipantId | null
  reason?: string | null
}

/** A track of one's own to mute, or no longer. */
export interface RoomMute {
  muted: boolean
  sessionId: RoomSessionId
  trackId: TrackId
}

/** What can be received; answer with `room:answer` and the same `rev`. */
export type RoomOffer = Stamp & {
  offer: SessionDescription
  rev: number
  tracks: OfferedTrack[]
}

/** Somebody came in, or is otherwise than before. */
export type RoomParticipant = Stamp & {
  participant: Participant
}

/** What another participant may do from now on; what is left out stays as it is. */
export interface RoomPermit {
  canData?: boolean | null
  canPublish?: boolean | null
  canSubscribe?: boolean | null
  moderator?: boolean | null
  participantId: ParticipantId
  /** All of them at once, as older clients say it; what is left out of this is allowed. */
  permissions?: Permissions | null
  sessionId: RoomSessionId
  sources?: TrackSource[] | null
}

/** What to publish. */
export interface RoomPublish {
  offer: SessionDescription
  sessionId: RoomSessionId
  tracks?: TrackSpec[]
}

/** Which layers somebody wants: the others need not be sent. */
export type RoomPublishLayers = Stamp & {
  layers: WantedLayer[]
  trackId: TrackId
}

/** A reaction. */
export interface RoomReact {
  emoji: Text16
  sessionId: RoomSessionId
}

/** A reaction. */
export type RoomReaction = Stamp & {
  emoji: string
  participantId: ParticipantId
}

/** A recording of the room has begun (`recording`) or ended (`stopped`). */
export type RoomRecording = Stamp & {
  by?: UserId | null
  mode?: RecordingMode | null
  recordingId: RecordingId
  state: string
}

/** A session to go on with. */
export interface RoomResume {
  /** The connections are gone too, as after a reload of the page: what was published by them ends, and offers begin anew. */
  fresh?: boolean
  lastSeq?: number
  secret: string
  sessionId: RoomSessionId
}

/** Data for the others. */
export interface RoomSendData {
  payload: unknown
  sessionId: RoomSessionId
  to?: ParticipantId[] | null
  topic: Text64
}

/** A session of a room, named. */
export interface RoomSession {
  sessionId: RoomSessionId
}

/** Names a participant's session in a room; `sessionId` of `room:*`. */
export type RoomSessionId = string

/** Who speaks, the loudest first. */
export type RoomSpeakers = Stamp & {
  dominant?: ParticipantId | null
  speakers: Speaker[]
}

/** A moderator has put somebody in the middle, or nobody. */
export type RoomSpotlight = Stamp & {
  participantId?: ParticipantId | null
}

/** Which participant is to be in the middle; none, when it is left out. */
export interface RoomSpotlightSet {
  participantId?: ParticipantId | null
  sessionId: RoomSessionId
}

/** Everything, where not all events that were missed are kept. */
export type RoomState = Stamp & {
  participants: Participant[]
  room: Room
}

/** What a client measured on its two connections. */
export interface RoomStats {
  pubs?: Leg[]
  sessionId: RoomSessionId
  subs?: Leg[]
}

/** One of the two connections of a session. */
export type RoomTarget = 'publish' | 'subscribe'

/** A track does not fit the path, or fits again. */
export type RoomTrackFlow = Stamp & {
  reason: FlowReason
  trackId: TrackId
}

/** A track was muted, or is no longer. */
export type RoomTrackMuted = Stamp & {
  by: ParticipantId
  muted: boolean
  trackId: TrackId
}

/** A track can be received from now on. */
export type RoomTrackPublished = Stamp & {
  participantId: ParticipantId
  track: Track
}

/** A track can no longer be received. */
export type RoomTrackUnpublished = Stamp & {
  participantId: ParticipantId
  trackId: TrackId
}

/** Tracks to receive, or no longer. */
export interface RoomTracks {
  sessionId: RoomSessionId
  trackIds: TrackId[]
}

/** Tracks no longer to publish: by an offer, or by their names alone. */
export interface RoomUnpublish {
  /** Sections that are inactive in it, or rejected, are no longer published. */
  offer?: SessionDescription | null
  sessionId: RoomSessionId
  /** Nothing of these is passed on any more, whatever their sections go on carrying. */
  trackIds?: TrackId[]
  /** What else it publishes. */
  tracks?: TrackSpec[]
}

/** One of one's own connections. */
export interface Session {
  address: string
  connectedAt: Timestamp
  deviceId?: string | null
  deviceName?: string | null
  lastActivity: Timestamp
  sessionId: SessionId
  transport: string
  userAgent: string
}

/** `session:closed`. */
export interface SessionClosed {
  /** Why. */
  reason: CloseReason
  /** When to come back, with `SERVER_DRAIN` and `PROTOCOL_ERROR`. */
  reconnectAfterMs?: number | null
}

/** A session description. */
export interface SessionDescription {
  /** The text (RFC 8866). */
  sdp: string
  /** `offer` or `answer`. */
  type: string
}

/** Names one socket connection; `sessionId` on the wire. */
export type SessionId = string

/** The client's time. */
export interface SessionPing {
  t: number
}

/** The client's time back, and the server's. */
export interface SessionPong {
  serverTime: Timestamp
  t?: number | null
}

/** `session:ready`. */
export interface SessionReady {
  /** Where the user's event log stands. */
  cursor: string
  /** Seconds for which fetched ICE servers are good. */
  iceTtl: number
  /** The limits that a client should know. */
  limits: Limits
  /** The version of this contract. */
  protocol: number
  /** Whether the missed events follow as `sync:batch`. */
  resumed: boolean
  /** The server's time. */
  serverTime: Timestamp
  /** This connection. */
  sessionId: SessionId
  /** Who the server takes the client for; null for a guest of a room. */
  userId: UserId | null
}

/** A fresh token of the same user. */
export interface SessionRefresh {
  token: string
}

/** Until when the session is good now. */
export interface SessionRefreshAck {
  expiresAt: Timestamp
}

/** What became of a signal. */
export interface SignalDelivery {
  /** It waits for the other side. */
  buffered: boolean
  /** It went to a connection of the other side. */
  delivered: boolean
}

/** `presence:snapshot`. */
export interface Snapshot {
  /** One state a person. */
  states: UserStatus[]
}

/** A participant who speaks. */
export interface Speaker {
  /** Loudness, 0 to 1. */
  level: number
  /** Who. */
  participantId: ParticipantId
}

/** The place of an event among those of a session of a room. */
export interface Stamp {
  /** Counts from 1. */
  seq: number
  /** The session that `room:join` gave. */
  sessionId: RoomSessionId
}

/** Why a recording stopped, or why there is none. */
export type StopReason = 'requested' | 'ended' | 'moved' | 'length' | 'size' | 'disk-full' | 'folder-gone' | 'disk' | 'overload' | 'drain' | 'erased' | 'recovered' | 'missing-parameter-sets'

/** What became of a request to receive tracks. */
export interface Subscribed {
  /** Tracks that will arrive; `room:offer` follows where that changes something. */
  accepted: TrackId[]
  /** Tracks that will not, and why. */
  rejected: NotSubscribed[]
}

/** How far a client has come. */
export interface SyncAck {
  cursor: string
}

/** `sync:batch`. */
export interface SyncBatch {
  /** Where the log stands after these. */
  cursor: string
  /** What was missed, oldest first. */
  events: LogEntry[]
  /** Whether another batch follows the acknowledgement. */
  more: boolean
}

/** From where to replay. */
export interface SyncPull {
  cursor: string
  limit?: number | null
}

/** `sync:reset`. */
export interface SyncReset {
  /** From where to go on. */
  cursor: string
}

export type Text120 = string

export type Text128 = string

export type Text16 = string

export type Text200 = string

export type Text40 = string

export type Text500 = string

export type Text64 = string

export type Timestamp = string

/** `session:token-expiring`. */
export interface TokenExpiring {
  /** The token's `exp`. */
  expiresAt: Timestamp
}

/** A published track. */
export interface Track {
  /** What it is coded with. */
  codec: string
  /** Sound or pictures. */
  kind: TrackKind
  /** Its simulcast layers, the lowest first. */
  layers: TrackLayer[]
  /** Whether it is muted. */
  muted: boolean
  /** Its name for people. */
  name?: string | null
  /** Whose it is. */
  participantId: ParticipantId
  /** What it shows. */
  source: TrackSource
  /** Its name on the wire. */
  trackId: TrackId
}

/** Names a published track; `trackId` on the wire. */
export type TrackId = string

/** Sound or pictures. */
export type TrackKind = 'audio' | 'video'

/** A layer of a track. */
export interface TrackLayer {
  /** Whether it is sent. */
  active?: boolean
  /** Frames in a second at most, as the publisher said. */
  fps?: number | null
  /** Pixels, as the publisher said. */
  height?: number | null
  /** Its name in the description. */
  rid: string
  /** Pixels, as the publisher said. */
  width?: number | null
}

/** What a track shows. */
export type TrackSource = 'microphone' | 'camera' | 'screen' | 'screen-audio' | 'custom'

/** What a client says of a track that it publishes. */
export interface TrackSpec {
  /** Its layers: those of simulcast by their rid, those of one stream (see `scalability`) as `s0`, `s1`, … */
  encodings?: Encoding[]
  /** The section of the offer. */
  mid: string
  /** Whether it is muted from the beginning. */
  muted?: boolean
  /** Its name for people. */
  name?: Text128 | null
  /** What one stream carries, as `RTCRtpEncodingParameters.scalabilityMode` names it: `L3T3_KEY` is three spatial and three temporal layers. */
  scalability?: Text16 | null
  /** What it shows; by default a microphone or a camera. */
  source?: TrackSource | null
}

/** `typing:start` and `typing:stop`. */
export interface Typing {
  /** Where. */
  conversationId: ConversationId
  /** Who types. */
  fromUserId: UserId
}

/** Where the sender types. */
export interface TypingReport {
  conversationId?: ConversationId | null
  toUserId?: UserId | null
}

/** What is left. */
export interface Unpublished {
  /** Our answer, where there was an offer. */
  answer?: SessionDescription | null
  /** Which offer it answers, counted from 1. */
  rev?: number | null
  /** What is still published. */
  tracks: PublishedTrack[]
}

/** `call:update-request`. */
export interface UpdateRequest {
  /** The call as it stands now. */
  call: Call
  /** Which call. */
  callId: CallId
  /** What the call became. */
  callType: CallType
  /** Who asks. */
  fromUserId: UserId
}

/** A person. Contact data is there for oneself, for admins, and for all with `directory.expose_contact`. */
export interface User {
  /** The same, under the name that clients of a document store expect. */
  _id?: UserId | null
  /** For oneself and admins. */
  createdAt?: Timestamp | null
  /** For oneself and admins. */
  disabled?: boolean | null
  /** Contact data. */
  email?: string | null
  /** Contact data. */
  gender?: Gender | null
  /** Whether in a call. */
  inCall: boolean
  /** At least one session. */
  isOnline: boolean
  /** The last sign of life. */
  lastSeen: Timestamp
  /** Contact data. */
  mobile?: string | null
  /** The name to show. */
  name?: string | null
  /** Online, away, not to be disturbed or offline. */
  presence: Presence
  /** For oneself and admins. */
  role?: Role | null
  /** A line of one's own. */
  statusText?: string | null
  /** The application's other id. */
  uid: string
  /** For oneself and admins. */
  updatedAt?: Timestamp | null
  /** The application's id. */
  userId: UserId
  /** What kind of user the application says this is. */
  userType?: string | null
}

/** An account of the application, `1 ..= 2^53 - 1`; a JSON number on output. Inside, a guest of a room has one, too, which nobody else sees: it is null on output. */
export type UserId = number

/** `user:status`. */
export interface UserStatus {
  /** Whether in a call. */
  inCall: boolean
  /** At least one session. */
  isOnline: boolean
  /** The last sign of life. */
  lastSeen: Timestamp
  /** Online, away, not to be disturbed or offline. */
  presence: Presence
  /** A line of one's own. */
  statusText?: string | null
  /** Who. */
  userId: UserId
}

/** An event that waited. */
export interface Waited {
  event: string
  payload: Record<string, unknown>
}

/** Whether a layer is wanted. */
export interface WantedLayer {
  /** Whether somebody wants it. */
  active: boolean
  /** Its name in the description. */
  rid: string
}

/** An answer for the other side. */
export interface WebrtcAnswer {
  answer: Record<string, unknown>
  callId: CallId
  toUserId?: UserId | null
}

/** `RTCConfiguration` for one user, and until when it is good. */
export interface WebrtcConfig {
  /** The same as a moment. */
  expiresAt: Timestamp
  /** STUN and TURN servers. */
  iceServers: IceServer[]
  /** `all`, or `relay` when only relayed candidates may be used. */
  iceTransportPolicy: string
  /** Seconds for which the credentials are good. */
  ttl: number
}

/** An ICE candidate for the other side. */
export interface WebrtcIceCandidate {
  callId: CallId
  candidate?: Record<string, unknown>
  toUserId?: UserId | null
}

/** An offer for the other side. */
export interface WebrtcOffer {
  callId: CallId
  iceRestart?: boolean | null
  offer: Record<string, unknown>
  toUserId?: UserId | null
}

/** What the server sends, by name. */
export interface ServerMessages {
  /** Another device answered: stop ringing. */
  'call:answered-elsewhere': AnsweredElsewhere
  /** The caller gave up before an answer. */
  'call:cancelled': CallPerson
  /** The call is over; to all devices of both. */
  'call:ended': CallEnded
  /** A call event failed, for clients that pass no acknowledgement. */
  'call:failed': Refused
  /** The other side put the call on hold. */
  'call:held': CallPerson
  /** Somebody calls; on all devices of the person called. */
  'call:incoming': Incoming
  /** The call is stored and on its way; to the caller. */
  'call:initiated': Incoming
  /** Which way media takes. */
  'call:media-path': MediaPathChanged
  /** Somebody who was added to a call is in it. */
  'call:member-joined': CallMember
  /** Somebody who was added to a call is in it no longer. */
  'call:member-left': CallMember
  /** A call was missed; to the person called. */
  'call:missed': Call
  /** Calls missed while away, once after connecting without a cursor. */
  'call:missed-calls': MissedCalls
  /** The call went on at another device of the user. */
  'call:moved': CallReference
  /** Nobody answered in time; to the caller. */
  'call:no-answer': NoAnswer
  /** The other side is back. */
  'call:reconnected': CallPerson
  /** The other side lost its connection to the server. */
  'call:reconnecting': CallPerson
  /** The call was answered; on all devices of the one who answered. */
  'call:responded': Responded
  /** The person called answered; to the caller. */
  'call:response': Response
  /** A device of the person called shows the call. */
  'call:ringing': Ringing
  /** The other side took the call back. */
  'call:unheld': CallPerson
  /** The other side asks for video. */
  'call:update-request': UpdateRequest
  /** An event failed, for clients that pass no acknowledgement. */
  error: Refused
  /** Messages reached a device of the other person. */
  'message:delivered': Delivered
  /** The same under its other name; live only. */
  'message:marked-read': MarkedRead
  /** One's own read mark moved; on all devices of the reader. */
  'message:markedRead': MarkedRead
  /** The other person has read. */
  'message:read': Read
  /** A message arrived; on all devices of every receiver. */
  'message:received': Message
  /** A message of one's own is stored; on all devices of the sender. */
  'message:sent': Message
  /** The presence of everyone the user may see, once after connecting. */
  'presence:snapshot': Snapshot
  /** Whoever agrees to be recorded says so with `recording:consent`. */
  'recording:consent-request': ConsentRequest
  /** A recording has come to nothing. */
  'recording:failed': RecordingFailed
  /** The files of a recording can be fetched. */
  'recording:ready': RecordingReady
  /** What is said and shown is recorded from now on. */
  'recording:started': RecordingNotice
  /** It is recorded no longer. */
  'recording:stopped': RecordingNotice
  /** The room is over. */
  'room:closed': RoomClosed
  /** Data of another participant. */
  'room:data': RoomData
  /** The server goes down. */
  'room:drain': RoomDrain
  /** A hand was raised or lowered. */
  'room:hand': RoomHand
  /** Somebody came into the room. */
  'room:joined': RoomParticipant
  /** Another layer of a track arrives. */
  'room:layer-changed': RoomLayerChanged
  /** Somebody left the room. */
  'room:left': RoomLeft
  /** Who waits to be let in; to moderators. */
  'room:lobby': RoomLobby
  /** A moderator did something to one. */
  'room:moderated': RoomModerated
  /** What can be received; answer with `room:answer`. */
  'room:offer': RoomOffer
  /** A participant is otherwise than before. */
  'room:participant-updated': RoomParticipant
  /** Which layers of one's own track somebody wants. */
  'room:publish-layers': RoomPublishLayers
  /** A reaction. */
  'room:reaction': RoomReaction
  /** A recording of the room has begun or ended. */
  'room:recording': RoomRecording
  /** Who is heard, on change. */
  'room:speakers': RoomSpeakers
  /** A moderator has put somebody in the middle, or nobody. */
  'room:spotlight': RoomSpotlight
  /** The whole room, where not all events that were missed are kept. */
  'room:state': RoomState
  /** A track was muted, or is no longer. */
  'room:track-muted': RoomTrackMuted
  /** No layer of a track fits the path; sound goes on. */
  'room:track-paused': RoomTrackFlow
  /** A track can be received from now on. */
  'room:track-published': RoomTrackPublished
  /** A track fits the path again. */
  'room:track-resumed': RoomTrackFlow
  /** A track can no longer be received. */
  'room:track-unpublished': RoomTrackUnpublished
  /** The server ends this session, and why. */
  'session:closed': SessionClosed
  /** The session is authenticated and its events flow. */
  'session:ready': SessionReady
  /** An older session gives way because the user has too many. */
  'session:replaced': SessionClosed
  /** The token ends soon; answer with `session:refresh`. */
  'session:token-expiring': TokenExpiring
  /** Missed events; answer with `sync:ack` for the next batch. */
  'sync:batch': SyncBatch
  /** Too much was missed: reload by REST and go on from this cursor. */
  'sync:reset': SyncReset
  /** The other person is typing. */
  'typing:start': Typing
  /** The other person is no longer typing. */
  'typing:stop': Typing
  /** A person came, went, or changed presence. */
  'user:status': UserStatus
  /** The answer of the other side. */
  'webrtc:answer': CallSignal
  /** An ICE candidate of the other side. */
  'webrtc:ice-candidate': CallSignal
  /** A session description or candidate of the other side. */
  'webrtc:offer': CallSignal
}

/** What a client sends, by name: the payload, and the acknowledgement's members beside `ok`. */
export interface ClientMessages {
  /** Acknowledges missed calls. */
  'call:ack-missed': [CallAckMissed, Done]
  /** Adds people to a call, which becomes one of several in a room. */
  'call:add': [CallAdd, CallAddAck]
  /** Gives up before an answer. */
  'call:cancel': [CallWhich, CallAck]
  /** Ends a call; ending one that is over is no error. */
  'call:end': [CallEnd, CallAck]
  /** Puts an accepted call on hold. */
  'call:hold': [CallWhich, Done]
  /** Places a call. */
  'call:initiate': [CallInitiate, CallInitiateAck]
  /** Takes the call over on this device. */
  'call:move': [CallWhich, CallMovedAck]
  /** Says what one thought of a call. */
  'call:rate': [CallRate, Done]
  /** Comes back to a call after a lost connection. */
  'call:rejoin': [CallRejoin, CallRejoinAck]
  /** Takes or refuses a call; anything but `accept` refuses. */
  'call:respond': [CallRespond, CallAck]
  /** Takes a held call back. */
  'call:resume-hold': [CallWhich, Done]
  /** This device shows the call. */
  'call:ringing': [CallWhich, Done]
  /** Figures of `getStats`, every 10 s. */
  'call:stats': [CallStats, Done]
  /** Makes a voice call a video call, or the reverse. */
  'call:update': [CallUpdate, CallAck]
  /** Notes that messages reached this device. */
  'message:delivered': [MessageDeliveredReport, MessageDeliveredAck]
  /** A page of messages, oldest first. */
  'message:history': [MessageHistory, MessageHistoryAck]
  /** Moves the read mark. */
  'message:markRead': [MessageMarkRead, MessageMarkReadAck]
  /** Sends a message; acknowledged once it is stored. */
  'message:send': [MessageSend, MessageSendAck]
  /** How one wants to be seen. */
  'presence:set': [PresenceSet, Done]
  /** Sends the status of these people from now on. */
  'presence:subscribe': [PresencePeople, PresenceStates]
  /** No longer sends the status of these people. */
  'presence:unsubscribe': [PresencePeople, Done]
  /** Agrees to be recorded, or no longer. */
  'recording:consent': [RecordingConsent, Done]
  /** Recordings that one may see, newest first. */
  'recording:list': [RecordingList, RecordingListAck]
  /** Records a call or a room; everyone there gets `recording:started` before the first byte is written. */
  'recording:start': [RecordingStart, RecordingAck]
  /** Ends a recording. */
  'recording:stop': [RecordingWhich, RecordingAck]
  /** Admits a user from the lobby, or rejects; for moderators. */
  'room:admit': [RoomModerate, Done]
  /** Answers a `room:offer`. */
  'room:answer': [RoomAnswer, Done]
  /** Sends data to others in the room. */
  'room:data': [RoomSendData, Done]
  /** Ends the room; for moderators. */
  'room:end': [RoomSession, Done]
  /** Raises or lowers one's hand. */
  'room:hand': [RoomHandRaise, Done]
  /** A candidate of the client. */
  'room:ice-candidate': [RoomCandidate, Done]
  /** Begins ICE anew. */
  'room:ice-restart': [RoomIceRestart, RoomIceRestartAck]
  /** Comes into a room, or goes on with a session that was lost. */
  'room:join': [RoomJoin, RoomJoinAck]
  /** Removes a participant; for moderators. */
  'room:kick': [RoomModerate, Done]
  /** Says which layer of a track is wanted. */
  'room:layer': [RoomLayer, RoomLayerAck]
  /** Leaves a room. */
  'room:leave': [RoomSession, Done]
  /** Locks the room, or opens it; for moderators. */
  'room:lock': [RoomLock, Done]
  /** Says something of oneself. */
  'room:metadata': [RoomMetadata, Done]
  /** Mutes a track of one's own, or no longer. */
  'room:mute': [RoomMute, Done]
  /** Mutes another participant; for moderators. */
  'room:mute-remote': [RoomModerate, Done]
  /** Changes what a participant may do; for moderators. */
  'room:permissions': [RoomPermit, Done]
  /** Publishes tracks by an offer of the `publish` connection. */
  'room:publish': [RoomPublish, Publishing]
  /** Shows a reaction. */
  'room:reaction': [RoomReact, Done]
  /** Puts a participant in the spotlight for everyone, or ends that; for moderators. */
  'room:spotlight': [RoomSpotlightSet, Done]
  /** Says what one measured. */
  'room:stats': [RoomStats, Done]
  /** Asks for tracks; `room:offer` follows. */
  'room:subscribe': [RoomTracks, Subscribed]
  /** Publishes fewer tracks: what the new offer no longer sends. */
  'room:unpublish': [RoomUnpublish, Unpublished]
  /** Wants tracks no longer. */
  'room:unsubscribe': [RoomTracks, Subscribed]
  /** Measures the way there and back. */
  'session:ping': [SessionPing, SessionPong]
  /** Brings a fresh token. */
  'session:refresh': [SessionRefresh, SessionRefreshAck]
  /** Confirms a `sync:batch`; the next one follows. */
  'sync:ack': [SyncAck, Done]
  /** What was missed since a cursor. */
  'sync:pull': [SyncPull, SyncBatch]
  /** Shows the others that one types; ends by itself after 6 s. */
  'typing:start': [TypingReport, Done]
  /** Shows the others that one no longer types. */
  'typing:stop': [TypingReport, Done]
  /** Passes an answer to the other side. */
  'webrtc:answer': [WebrtcAnswer, SignalDelivery]
  /** Passes an ICE candidate to the other side; null ends the list. */
  'webrtc:ice-candidate': [WebrtcIceCandidate, SignalDelivery]
  /** Passes an offer to the other side. */
  'webrtc:offer': [WebrtcOffer, SignalDelivery]
}

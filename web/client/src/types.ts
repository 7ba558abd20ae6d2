// The objects and events of the wire. `generated.ts` is made from the server's own descriptions; here are the names that the client
// gives to its types, and what the descriptions leave open because the server passes it on as it is.
import type { CallId, CallSignal, ClientMessages, ServerMessages, SessionDescription, UserId } from './generated.js'

export type {
  ActiveRecording as RunningRecording, Call, CallEntry, CallMember, CallStatus, CallType, Conversation, EndReason, IceServer, Incoming, Leg,
  LogEntry, Me, Message, MessageType, Participant, Person, PublishedTrack, Recording, RecordingFile, RecordingMode, Refused, Room as RoomInfo,
  SyncBatch, Track as RoomTrack, TrackSource, User, UserId, UserStatus,
} from './generated.js'
/** Every schema of the server's descriptions, by its own name. */
export type * as wire from './generated.js'

export interface Description { type: 'offer' | 'answer' | 'pranswer' | 'rollback'; sdp: string }
export interface Candidate { candidate: string; sdpMid?: string | null; sdpMLineIndex?: number | null; usernameFragment?: string | null }

type Signal = Omit<CallSignal, 'offer' | 'answer' | 'candidate'> & { callId: CallId; fromUserId: UserId }

interface Signals {
  'webrtc:offer': Signal & { offer: Description }
  'webrtc:answer': Signal & { answer: Description }
  'webrtc:ice-candidate': Signal & { candidate: Candidate | null }
}

/** What the server sends. */
export type ServerEvents = Omit<ServerMessages, keyof Signals> & Signals

/** What comes in rooms; every event has its place (`seq`) and the session it is for. */
export type RoomEvents = Pick<ServerEvents, Extract<keyof ServerEvents, `room:${string}`>>

/** What a client sends, and the members of the acknowledgement beside `ok`. */
export type ClientEvents = {
  [Name in keyof ClientMessages]: [Signalled<ClientMessages[Name][0]>, ClientMessages[Name][1]]
}

/** Session descriptions and candidates as WebRTC has them. */
type Signalled<Payload> = Payload extends SessionDescription ? Payload : {
  [Member in keyof Payload]: Member extends 'offer' | 'answer' ? Description | Exclude<Payload[Member], object>
    : Member extends 'candidate' ? Candidate | null : Payload[Member]
}

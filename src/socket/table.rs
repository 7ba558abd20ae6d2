//! The events that clients may send: name, handler, payload and acknowledgement, in one table from which the API description
//! is made as well.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::context::{Context, Done, Outcome};
use super::incoming::{Parts, parse};
use super::{calls, chat, recordings, rooms, session};
use crate::error::Problem;
use crate::event::{Schemas, register};

#[derive(Serialize)]
struct Positive<T> {
    ok: bool,
    #[serde(flatten)]
    fields: T,
}

/// A client event as the API description shows it.
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) payload: String,
    pub(super) answer: String,
    pub(super) register: fn(&mut Schemas),
}

macro_rules! events {
    ($(#[doc = $about:literal] $($name:literal)|+ => $area:ident::$handler:ident($payload:ty) -> $answer:ty,)*) => {
        /// Handles one event; the text of its acknowledgement, or why not.
        pub(super) async fn handle(context: &Context, parts: &Parts<'_>) -> Outcome<Box<RawValue>> {
            match &*parts.name {
                $($($name)|+ => {
                    let payload = parse::<$payload>(parts.payload)?;
                    answer(parts, Box::pin($area::$handler(context.clone(), payload)).await)
                })*
                _ => Err(Problem::invalid("event", "There is no such event; GET /api/asyncapi.json lists them")),
            }
        }

        /// Whether the next event may begin before this one is done: what must be in order, its place in the queue of the
        /// store, is taken at its beginning.
        pub(super) fn is_pipelined(name: &str) -> bool {
            name == "message:send"
        }

        /// The name itself when it is one of ours, so that clients cannot make up labels.
        pub(super) fn known(name: &str) -> &'static str {
            match name {
                $($($name => $name,)+)*
                _ => "unknown",
            }
        }

        /// Every event, for the API description.
        pub(super) fn catalogue() -> Vec<Described> {
            vec![$(Described {
                name: first(&[$($name),+]),
                about: $about.trim(),
                payload: <$payload as ToSchema>::name().into_owned(),
                answer: <$answer as ToSchema>::name().into_owned(),
                register: |schemas| { register::<$payload>(schemas); register::<$answer>(schemas); },
            },)*]
        }
    };
}

events! {
    /// Sends a message; acknowledged once it is stored.
    "message:send" => chat::send(crate::chat::SendMessage) -> chat::Sent,
    /// Notes that messages reached this device.
    "message:delivered" => chat::delivered(chat::Delivered) -> chat::Count,
    /// Moves the read mark.
    "message:markRead" | "message:mark-read" => chat::mark_read(chat::MarkRead) -> chat::Marked,
    /// A page of messages, oldest first.
    "message:history" => chat::history(chat::History) -> chat::Pages,
    /// Shows the others that one types; ends by itself after 6 s.
    "typing:start" => chat::typing_start(chat::Where) -> Done,
    /// Shows the others that one no longer types.
    "typing:stop" => chat::typing_stop(chat::Where) -> Done,
    /// Sends the status of these people from now on.
    "presence:subscribe" => session::subscribe(session::People) -> session::States,
    /// No longer sends the status of these people.
    "presence:unsubscribe" => session::unsubscribe(session::People) -> Done,
    /// How one wants to be seen.
    "presence:set" => session::set_presence(session::SetPresence) -> Done,
    /// What was missed since a cursor.
    "sync:pull" => session::pull(session::Pull) -> crate::event::SyncBatch,
    /// Confirms a `sync:batch`; the next one follows.
    "sync:ack" => session::sync_ack(session::Cursor) -> Done,
    /// Brings a fresh token.
    "session:refresh" => session::refresh(session::Refresh) -> session::Refreshed,
    /// Measures the way there and back.
    "session:ping" => session::ping(session::Ping) -> session::Pong,
    /// Places a call.
    "call:initiate" => calls::initiate(calls::Initiate) -> calls::Initiated,
    /// This device shows the call.
    "call:ringing" => calls::ringing(calls::Which) -> Done,
    /// Takes or refuses a call; anything but `accept` refuses.
    "call:respond" => calls::respond(calls::Respond) -> calls::OneCall,
    /// Gives up before an answer.
    "call:cancel" => calls::cancel(calls::Which) -> calls::OneCall,
    /// Ends a call; ending one that is over is no error.
    "call:end" => calls::end(calls::End) -> calls::OneCall,
    /// Puts an accepted call on hold.
    "call:hold" => calls::hold(calls::Which) -> Done,
    /// Takes a held call back.
    "call:resume-hold" => calls::resume_hold(calls::Which) -> Done,
    /// Makes a voice call a video call, or the reverse.
    "call:update" => calls::update(calls::Update) -> calls::OneCall,
    /// Adds people to a call, which becomes one of several in a room.
    "call:add" => calls::add(calls::Add) -> calls::AddAck,
    /// Takes the call over on this device.
    "call:move" => calls::take_over(calls::Which) -> calls::Moved,
    /// Comes back to a call after a lost connection.
    "call:rejoin" => calls::rejoin(calls::Rejoin) -> calls::Rejoined,
    /// Says what one thought of a call.
    "call:rate" => calls::rate(calls::Rate) -> Done,
    /// Figures of `getStats`, every 10 s.
    "call:stats" => calls::stats(calls::Stats) -> Done,
    /// Acknowledges missed calls.
    "call:ack-missed" => calls::ack_missed(calls::AckMissed) -> Done,
    /// Passes an offer to the other side.
    "webrtc:offer" => calls::offer(calls::Offer) -> crate::calls::SignalDelivery,
    /// Passes an answer to the other side.
    "webrtc:answer" => calls::answer(calls::AnswerSignal) -> crate::calls::SignalDelivery,
    /// Passes an ICE candidate to the other side; null ends the list.
    "webrtc:ice-candidate" => calls::candidate(calls::Candidate) -> crate::calls::SignalDelivery,
    /// Records a call or a room; everyone there gets `recording:started` before the first byte is written.
    "recording:start" => recordings::start(recordings::Start) -> recordings::One,
    /// Ends a recording.
    "recording:stop" => recordings::stop(recordings::Which) -> recordings::One,
    /// Recordings that one may see, newest first.
    "recording:list" => recordings::list(recordings::List) -> recordings::Listed,
    /// Agrees to be recorded, or no longer.
    "recording:consent" => recordings::consent(recordings::Consent) -> Done,
    /// Comes into a room, or goes on with a session that was lost.
    "room:join" => rooms::join(rooms::Join) -> rooms::JoinAck,
    /// Leaves a room.
    "room:leave" => rooms::leave(rooms::Which) -> Done,
    /// Publishes tracks by an offer of the `publish` connection.
    "room:publish" => rooms::publish(rooms::Publish) -> crate::rooms::Publishing,
    /// Publishes fewer tracks: what the new offer no longer sends.
    "room:unpublish" => rooms::unpublish(rooms::Unpublish) -> crate::rooms::Publishing,
    /// Asks for tracks; `room:offer` follows.
    "room:subscribe" => rooms::subscribe(rooms::Tracks) -> crate::rooms::Subscribed,
    /// Wants tracks no longer.
    "room:unsubscribe" => rooms::unsubscribe(rooms::Tracks) -> crate::rooms::Subscribed,
    /// Answers a `room:offer`.
    "room:answer" => rooms::answer(rooms::Answer) -> Done,
    /// A candidate of the client.
    "room:ice-candidate" => rooms::candidate(rooms::Candidate) -> Done,
    /// Begins ICE anew.
    "room:ice-restart" => rooms::restart(rooms::Restart) -> rooms::Restarted,
    /// Says which layer of a track is wanted.
    "room:layer" => rooms::layer(rooms::Layer) -> Done,
    /// Mutes a track of one's own, or no longer.
    "room:mute" => rooms::mute(rooms::Mute) -> Done,
    /// Mutes another participant; for moderators.
    "room:mute-remote" => rooms::mute_remote(rooms::Moderate) -> Done,
    /// Removes a participant; for moderators.
    "room:kick" => rooms::kick(rooms::Moderate) -> Done,
    /// Changes what a participant may do; for moderators.
    "room:permissions" => rooms::permissions(rooms::Moderate) -> Done,
    /// Admits a user from the lobby, or rejects; for moderators.
    "room:admit" => rooms::admit(rooms::Moderate) -> Done,
    /// Locks the room, or opens it; for moderators.
    "room:lock" => rooms::lock(rooms::Lock) -> Done,
    /// Ends the room; for moderators.
    "room:end" => rooms::end(rooms::Which) -> Done,
    /// Puts a participant in the spotlight for everyone, or ends that; for moderators.
    "room:spotlight" => rooms::spotlight(rooms::Spotlight) -> Done,
    /// Says what one measured.
    "room:stats" => rooms::stats(rooms::Stats) -> Done,
    /// Raises or lowers one's hand.
    "room:hand" => rooms::hand(rooms::Hand) -> Done,
    /// Shows a reaction.
    "room:reaction" => rooms::reaction(rooms::Reaction) -> Done,
    /// Sends data to others in the room.
    "room:data" => rooms::data(rooms::Data) -> Done,
    /// Says something of oneself.
    "room:metadata" => rooms::metadata(rooms::Metadata) -> Done,
}

/// The name that an event is described under; the others are aliases.
fn first(names: &[&'static str]) -> &'static str {
    names.first().copied().unwrap_or_default()
}

fn answer<T: Serialize>(parts: &Parts<'_>, outcome: Outcome<T>) -> Outcome<Box<RawValue>> {
    let fields = outcome?;
    metrics::counter!("rtc_socket_events_total", "event" => known(&parts.name), "result" => "ok")
        .increment(1);
    let encoded = serde_json::value::to_raw_value(&Positive { ok: true, fields });
    encoded.map_err(|error| {
        tracing::error!(%error, "an acknowledgement cannot be encoded");
        Problem::new(crate::error::Reason::Internal, "Internal server error")
    })
}

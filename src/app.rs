//! The services that handlers may use: the one state of axum and socketioxide.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::auth::{Auth, AuthError};
use crate::calls::{CallRequest, Calls, Device, WebrtcConfig};
use crate::chat::Chat;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::delivery::{Delivery, QueueBounds, Receipts};
use crate::error::Problem;
use crate::event::recording::{Recording, RecordingMode};
use crate::event::{Call, Limits};
use crate::ids::{CallId, RecordingId, RoomId, UserId};
use crate::incall::InCall;
use crate::ledger::Ledger;
use crate::limits;
use crate::ops::{self, Snapshot, StoreProbe};
use crate::people::People;
use crate::presence::Presence;
use crate::recorder::{Opened, Recorder};
use crate::recordings::{RecordingChange, RecordingTarget, Recordings, Requester};
use crate::relay::Relay;
use crate::revocation::{AccessChanges, Announced};
use crate::rooms::Rooms;
use crate::sfu::Sfu;
use crate::store::Store;
use crate::view::View;
use crate::webhooks::Webhooks;

/// What the services tell those who follow them.
pub struct Changes {
    /// Who entered or left calls.
    pub in_call: mpsc::Receiver<UserId>,
    /// Calls and rooms that can be recorded from now on.
    pub recordable: mpsc::Receiver<Opened>,
    /// What participants of rooms are to see of recordings.
    pub recordings: mpsc::Receiver<RecordingChange>,
    /// Which messages devices acknowledged.
    pub receipts: Receipts,
    /// What somebody may no longer do, or may again.
    pub access: mpsc::Receiver<Announced>,
}

/// A cheap handle to everything.
#[derive(Clone)]
pub struct App(Arc<Services>);

/// Everything.
#[allow(missing_docs)]
pub struct Services {
    pub config: Arc<Config>,
    pub clock: Clock,
    pub dev: bool,
    pub started_at: Timestamp,
    pub store: Arc<dyn Store>,
    pub auth: Auth,
    pub limits: limits::Limits,
    pub ledger: Arc<Ledger>,
    pub delivery: Arc<Delivery>,
    pub relay: Arc<Relay>,
    pub access: AccessChanges,
    pub people: Arc<People>,
    pub chat: Arc<Chat>,
    pub calls: Arc<Calls>,
    pub presence: Arc<Presence>,
    pub sfu: Arc<Sfu>,
    pub rooms: Arc<Rooms>,
    pub recorder: Arc<Recorder>,
    pub recordings: Arc<Recordings>,
    pub webhooks: Arc<Webhooks>,
    probe: StoreProbe,
    draining: AtomicBool,
}

impl Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

impl App {
    /// Puts the services together.
    pub fn new(
        config: Config,
        clock: Clock,
        store: Arc<dyn Store>,
        (relay, sfu): (Relay, Sfu),
        dev: bool,
    ) -> Result<(Self, Changes), AuthError> {
        let (config, relay, sfu) = (Arc::new(config), Arc::new(relay), Arc::new(sfu));
        let (delivery, receipts) = Delivery::new(clock.clone(), bounds(&config));
        let delivery = Arc::new(delivery);
        let (in_call, changes) = InCall::new();
        let in_call = Arc::new(in_call);
        let (recorder, recordable) = Recorder::new(&config.recordings, clock.clone(), &sfu);
        let recorder = Arc::new(recorder);
        let (recordings, recorded) = Recordings::new(
            &config.recordings,
            clock.clone(),
            store.clone(),
            delivery.clone(),
            recorder.clone(),
        );
        let view = View::new(config.clone(), delivery.clone(), in_call.clone());
        let ledger = Ledger::new(&config.limits);
        let (access, access_changes) = AccessChanges::new();
        let services = Services {
            auth: Auth::bounded(config.auth.clone(), clock.clone(), Some(ledger.clone()))?,
            limits: limits::Limits::new(&config.limits),
            ledger: ledger.clone(),
            people: {
                let (delivery, view, access) = (delivery.clone(), view.clone(), access.clone());
                Arc::new(People::new(&config, clock.clone(), store.clone(), delivery, view, access))
            },
            access,
            webhooks: Arc::new(Webhooks::new(&config.webhooks, dev, clock.clone(), store.clone())),
            chat: Arc::new(Chat::new(
                &config,
                clock.clone(),
                store.clone(),
                delivery.clone(),
                view.clone(),
            )),
            presence: Arc::new(Presence::new(
                &config,
                clock.clone(),
                store.clone(),
                delivery.clone(),
                view.clone(),
            )),
            rooms: Arc::new(Rooms::new(
                &config,
                clock.clone(),
                store.clone(),
                (sfu.clone(), recorder.clone(), relay.clone()),
                (delivery.clone(), in_call.clone(), ledger.clone()),
            )),
            recordings: Arc::new(recordings),
            calls: Arc::new(Calls::new(
                config.clone(),
                clock.clone(),
                store.clone(),
                delivery.clone(),
                view,
                in_call,
                (relay.clone(), sfu.clone(), recorder.clone()),
            )),
            sfu,
            recorder,
            started_at: clock.now(),
            probe: StoreProbe::default(),
            draining: AtomicBool::new(false),
            config,
            clock,
            dev,
            store,
            delivery,
            relay,
        };
        let changes = Changes {
            in_call: changes,
            recordable,
            recordings: recorded,
            receipts,
            access: access_changes,
        };
        Ok((Self(Arc::new(services)), changes))
    }
}

fn bounds(config: &Config) -> QueueBounds {
    QueueBounds {
        entries: config.socket.queue_entries,
        bytes: config.socket.queue_bytes,
        time: std::time::Duration::from_secs(config.socket.queue_seconds),
    }
}

impl App {
    /// Has the participants of rooms see what becomes of their recordings, for as long as the server runs.
    pub async fn show_recordings(self, mut changes: mpsc::Receiver<RecordingChange>) {
        while let Some(change) = changes.recv().await {
            let RecordingChange { room, recording, state, active } = change;
            self.rooms.notify_recording(&room, recording, state.word(), active.as_ref());
        }
    }
}

impl Services {
    /// The limits that a client should know.
    pub fn shown_limits(&self) -> Limits {
        let limits = &self.config.limits;
        Limits {
            content_chars: limits.content_chars,
            content_bytes: limits.content_bytes,
            sdp_bytes: limits.sdp_bytes,
            page_max: limits.page_max,
            messages_per_second: limits.messages_per_second,
            messages_burst: limits.messages_burst,
            calls_per_minute: limits.calls_per_minute,
            rest_per_minute: limits.rest_per_minute,
        }
    }

    /// Begins a call, by whichever way it is asked for: a call of several has its room before anybody comes.
    pub async fn start_call(
        &self,
        by: &Device,
        request: CallRequest,
        operates: bool,
    ) -> Result<(Call, Option<Vec<Call>>), Problem> {
        self.limits.call(by.user)?;
        if request.record {
            self.recordings.allows(operates)?;
        }
        let (call, calls) = self.calls.start(by, request).await?;
        if calls.is_some() {
            self.open_room(by.user, call.call_id).await?;
        }
        Ok((call, calls))
    }

    /// Opens the room of a call for its people, unless it is open.
    pub async fn open_room(&self, me: UserId, call: CallId) -> Result<RoomId, Problem> {
        let (room, people) = self.calls.meeting(me, call).await?;
        self.rooms.open_call(&room, &people).await?;
        Ok(room)
    }

    /// The ICE servers for somebody in a room; those of a guest are bound to the room and the `token`.
    pub fn room_ice(&self, user: UserId, token: Option<&str>) -> WebrtcConfig {
        if !user.is_guest() {
            return self.calls.webrtc_config(user, None);
        }
        let bounds = token.and_then(|token| self.rooms.bounds(token));
        let bounds = bounds.as_ref().map(|bounds| (bounds.room.as_str(), bounds.until));
        self.calls.guest_webrtc_config(user, bounds)
    }

    /// Records a call.
    pub async fn record_call(
        &self,
        asking: Requester,
        call: CallId,
        mode: Option<RecordingMode>,
    ) -> Result<Recording, Problem> {
        let by = self.may_begin(asking)?;
        let (room, people) = self.calls.recordable(by, call).await?;
        self.record(by, RecordingTarget { room, people, moderators: Vec::new() }, mode).await
    }

    /// Who is said to begin: nobody, when it is an operator. Each recording costs a row, a folder and a thread: people begin as
    /// many as they may begin calls.
    fn may_begin(&self, asking: Requester) -> Result<Option<UserId>, Problem> {
        self.recordings.allows(asking.operator)?;
        if asking.operator {
            return Ok(None);
        }
        self.limits.call(asking.user)?;
        Ok(Some(asking.user))
    }

    async fn record(
        &self,
        by: Option<UserId>,
        target: RecordingTarget,
        mode: Option<RecordingMode>,
    ) -> Result<Recording, Problem> {
        let mode = mode.unwrap_or(self.config.recordings.mode);
        Ok(self.recordings.start(by, target, mode).await?)
    }

    /// Records a room.
    pub async fn record_room(
        &self,
        asking: Requester,
        room: &RoomId,
        mode: Option<RecordingMode>,
    ) -> Result<Recording, Problem> {
        let by = self.may_begin(asking)?;
        self.rooms.may_record(room, by).await?;
        let moderators = self.rooms.moderators(room).await;
        let target = RecordingTarget { room: room.clone(), people: Vec::new(), moderators };
        self.record(by, target, mode).await
    }

    /// Ends a recording.
    pub async fn stop_recording(
        &self,
        asking: Requester,
        id: RecordingId,
    ) -> Result<Recording, Problem> {
        let room = self.recordings.room_of(asking, id).await?;
        let moderates = self.rooms.may_record(&room, Some(asking.user)).await.is_ok();
        Ok(self.recordings.stop(asking, id, moderates).await?)
    }

    /// What every part says of itself now.
    pub async fn snapshot(&self) -> Snapshot {
        let parts = ops::Parts {
            store: self.store.as_ref(),
            probe: &self.probe,
            auth: &self.auth,
            limits: &self.limits,
            ledger: &self.ledger,
            delivery: &self.delivery,
            presence: &self.presence,
            calls: &self.calls,
            rooms: &self.rooms,
            recordings: &self.recordings,
            webhooks: &self.webhooks,
            relay: &self.relay,
            sfu: &self.sfu,
            draining: self.is_draining(),
            started_at: self.started_at,
        };
        Snapshot::take(&parts, self.clock.now()).await
    }

    /// Whether the server is going down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// From now on the server is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

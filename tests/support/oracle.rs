//! The model: the store's promises in plain maps, written for clarity and not for speed. Engines are compared to it step by
//! step, and their dumps to its dump.

use std::collections::{BTreeMap, BTreeSet};

use switchboard::clock::Timestamp;
use switchboard::event::{CallStatus, ConversationKind, PresenceMode};
use switchboard::fact::Fact;
use switchboard::ids::{CallId, ConversationId, JobId, MessageId, RoomId, UserId};
use switchboard::store::{
    Anchor, Appended, CallEnd, CallFinished, CallHistory, CallRecord, ConversationRecord,
    DeviceRecord, DirectoryPage, DumpRow, FactPage, JobRecord, Listed, LogEntry, LogKind, LogPage,
    LogRecord, Logged, Mark, MarkKind, Marked, MemberRecord, MessageRecord, NewMessage, Page,
    PlacedFact, Profile, Rating, Result, RoomTokenRecord, ServerKey, Settings, StoreError,
    TokenHash, Totals, UserRecord, preview,
};

#[derive(Default)]
pub(crate) struct Oracle {
    users: BTreeMap<UserId, UserRecord>,
    devices: BTreeMap<(UserId, String), DeviceRecord>,
    conversations: BTreeMap<ConversationId, ConversationRecord>,
    members: BTreeMap<(ConversationId, UserId), MemberRecord>,
    messages: BTreeMap<(ConversationId, i64), MessageRecord>,
    client_ids: BTreeMap<(UserId, String), (ConversationId, i64, Timestamp)>,
    marks: BTreeMap<(ConversationId, MarkKind, UserId, i64), Timestamp>,
    logs: BTreeMap<UserId, BTreeMap<i64, LogEntry>>,
    calls: BTreeMap<CallId, CallRecord>,
    /// Outgoing, missed.
    call_members: BTreeMap<(UserId, Timestamp, CallId), (bool, bool)>,
    jobs: BTreeMap<JobId, JobRecord>,
    facts: BTreeMap<i64, Fact>,
    fact_cursors: BTreeMap<String, i64>,
    room_tokens: BTreeMap<TokenHash, RoomTokenRecord>,
    server_keys: BTreeMap<String, Vec<u8>>,
}

impl Oracle {
    pub(crate) fn save_profile(&mut self, profile: Profile, at: Timestamp) -> Result<UserRecord> {
        let taken = |user: &UserRecord| {
            user.profile.uid == profile.uid && user.profile.user_id != profile.user_id
        };
        if self.users.values().any(taken) {
            return Err(StoreError::Conflict("uid"));
        }
        let blank = UserRecord {
            profile: Profile { name: None, ..profile.clone() },
            status_text: None,
            presence: PresenceMode::Auto,
            disabled: false,
            last_seen: at,
            legacy_cursor: 0,
            created_at: at,
            updated_at: at,
        };
        let user = self.users.entry(profile.user_id).or_insert(blank);
        let name = profile.name.clone().or(user.profile.name.take());
        user.profile = Profile { name, ..profile };
        user.updated_at = at;
        Ok(user.clone())
    }

    pub(crate) fn users(&self, ids: &[UserId]) -> Vec<UserRecord> {
        let ids: BTreeSet<_> = ids.iter().collect();
        ids.into_iter().filter_map(|id| self.users.get(id).cloned()).collect()
    }

    pub(crate) fn directory(&self, page: &DirectoryPage) -> Vec<UserRecord> {
        let key = |user: &UserRecord| {
            (user.profile.name.clone().unwrap_or_default().to_lowercase(), user.profile.user_id)
        };
        let mut users: Vec<_> = self
            .users
            .values()
            .filter(|user| key(user).0.starts_with(&page.prefix))
            .cloned()
            .collect();
        users.retain(|user| page.after.as_ref().is_none_or(|after| key(user) > *after));
        users.sort_by_key(key);
        users.truncate(page.limit);
        users
    }

    pub(crate) fn save_settings(
        &mut self,
        id: UserId,
        settings: Settings,
        at: Timestamp,
    ) -> Result<UserRecord> {
        let user = self.users.get_mut(&id).ok_or(StoreError::NotFound)?;
        if settings.name.is_some() {
            user.profile.name = settings.name;
        }
        if let Some(text) = settings.status_text {
            user.status_text = Some(text).filter(|text| !text.is_empty());
        }
        user.presence = settings.presence.unwrap_or(user.presence);
        user.updated_at = at;
        Ok(user.clone())
    }

    pub(crate) fn save_device(&mut self, device: DeviceRecord) -> Result<()> {
        if !self.users.contains_key(&device.user) {
            return Err(StoreError::UnknownUser(device.user));
        }
        self.devices.insert((device.user, device.device_id.clone()), device);
        Ok(())
    }

    pub(crate) fn devices(&self, user: UserId) -> Vec<DeviceRecord> {
        self.devices.values().filter(|device| device.user == user).cloned().collect()
    }

    pub(crate) fn remove_device(&mut self, user: UserId, device_id: String) -> Result<()> {
        self.devices.remove(&(user, device_id)).map(|_| ()).ok_or(StoreError::NotFound)
    }

    pub(crate) fn touch_user(&mut self, id: UserId, seen: Timestamp, legacy_cursor: i64) {
        if let Some(user) = self.users.get_mut(&id) {
            user.last_seen = user.last_seen.max(seen);
            user.legacy_cursor = user.legacy_cursor.max(legacy_cursor);
        }
    }

    pub(crate) fn erase_user(&mut self, id: UserId, at: Timestamp, facts: Vec<Fact>) -> Result<()> {
        let user = self.users.get_mut(&id).ok_or(StoreError::NotFound)?;
        *user = user.clone().erased(at);
        self.devices.retain(|(owner, _), _| *owner != id);
        self.room_tokens.retain(|_, token| token.user != Some(id));
        for fact in self.facts.values_mut().filter(|fact| fact.user == Some(id)) {
            fact.data = serde_json::Value::Null;
        }
        self.record_facts(facts);
        Ok(())
    }

    pub(crate) fn set_disabled(
        &mut self,
        id: UserId,
        disabled: bool,
        at: Timestamp,
        facts: Vec<Fact>,
    ) -> Result<()> {
        let user = self.users.get_mut(&id).ok_or(StoreError::NotFound)?;
        (user.disabled, user.updated_at) = (disabled, at);
        self.record_facts(facts);
        Ok(())
    }

    pub(crate) fn record_facts(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            let position = self.facts.last_key_value().map_or(1, |(newest, _)| newest + 1);
            self.facts.insert(position, fact);
        }
    }

    pub(crate) fn facts_after(&self, position: i64, limit: usize) -> FactPage {
        let behind = self.facts.range(position + 1..).take(limit);
        let placed = |(position, fact): (&i64, &Fact)| PlacedFact {
            position: *position,
            fact: fact.clone(),
        };
        FactPage {
            facts: behind.map(placed).collect(),
            head: self.facts.last_key_value().map_or(0, |(newest, _)| *newest),
            floor: self.facts.first_key_value().map_or(0, |(oldest, _)| *oldest),
        }
    }

    /// All of them at once.
    pub(crate) fn prune_facts(&mut self, before: Timestamp) {
        while self.facts.len() > 1
            && self.facts.first_key_value().is_some_and(|(_, oldest)| oldest.at < before)
        {
            self.facts.pop_first();
        }
    }

    pub(crate) fn fact_cursor(&self, name: &str) -> i64 {
        self.fact_cursors.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn save_fact_cursor(&mut self, name: String, position: i64) {
        self.fact_cursors.insert(name, position);
    }

    pub(crate) fn put_room_token(&mut self, token: RoomTokenRecord, facts: Vec<Fact>) {
        self.room_tokens.insert(token.hash, token);
        self.record_facts(facts);
    }

    pub(crate) fn room_token(&self, hash: TokenHash) -> Option<RoomTokenRecord> {
        self.room_tokens.get(&hash).cloned()
    }

    pub(crate) fn room_tokens(&self, room: &RoomId) -> Vec<RoomTokenRecord> {
        self.room_tokens.values().filter(|token| token.room == *room).cloned().collect()
    }

    pub(crate) fn remove_room_tokens(&mut self, room: &RoomId) {
        self.room_tokens.retain(|_, token| token.room != *room);
    }

    /// All of them at once.
    pub(crate) fn prune_room_tokens(&mut self, now: Timestamp) {
        self.room_tokens.retain(|_, token| token.until > now);
    }

    pub(crate) fn server_key(&mut self, name: String, fresh: Vec<u8>) -> Vec<u8> {
        self.server_keys.entry(name).or_insert(fresh).clone()
    }

    /// All of them at once.
    pub(crate) fn erase_messages(&mut self, user: UserId, at: Timestamp) {
        let theirs = |message: &&mut MessageRecord| message.from == user && message.has_content();
        for message in self.messages.values_mut().filter(theirs) {
            *message = message.clone().erased(at);
            let head = self.conversations.get_mut(&message.conversation).unwrap();
            if head.seq == message.seq {
                head.preview.clear();
            }
        }
    }

    pub(crate) fn save_job(&mut self, job: JobRecord) {
        self.jobs.insert(job.id, job);
    }

    pub(crate) fn open_jobs(&self) -> Vec<JobRecord> {
        self.jobs.values().filter(|job| job.state.is_open()).cloned().collect()
    }

    pub(crate) fn contacts(&self, me: UserId, since: Timestamp, limit: usize) -> Vec<UserId> {
        let talks = self
            .members
            .values()
            .filter(|member| member.user == me && member.last_activity >= since);
        let talks = talks.filter_map(|member| member.conversation.peer_of(me));
        let calls = self.call_members.keys().filter(|(user, at, _)| *user == me && *at >= since);
        let calls = calls.map(|(user, _, call)| self.calls[call].peer_of(*user));
        talks.chain(calls).collect::<BTreeSet<_>>().into_iter().take(limit).collect()
    }

    pub(crate) fn append_message(&mut self, new: NewMessage) -> Result<Appended> {
        if let Some(client_id) = &new.client_id
            && let Some((conversation, seq, _)) =
                self.client_ids.get(&(new.from, client_id.clone()))
        {
            let message = self.messages[&(*conversation, *seq)].clone();
            let same = new.is_repeat_of(&message);
            let appended = Appended { message, duplicate: true, cursors: Vec::new() };
            return if same { Ok(appended) } else { Err(StoreError::Conflict("clientId")) };
        }
        let (low, high) = new.conversation.pair().ok_or(StoreError::NotFound)?;
        if let Some(user) = new.addressee()
            && self.users.get(&user).is_some_and(|user| user.is_erased())
        {
            return Err(StoreError::UnknownUser(user));
        }
        if !self.conversations.contains_key(&new.conversation) {
            for user in [low, high] {
                if !self.users.contains_key(&user) {
                    return Err(StoreError::UnknownUser(user));
                }
            }
            self.begin(&new, [low, high]);
        }
        let head = self.conversations.get_mut(&new.conversation).unwrap();
        head.seq += 1;
        (head.last_id, head.last_at, head.last_kind) = (Some(new.id), new.at, new.kind);
        head.preview = preview(&new.content);
        let message = MessageRecord {
            id: new.id,
            conversation: new.conversation,
            seq: head.seq,
            at: new.at,
            from: new.from,
            kind: new.kind,
            content: new.content,
            client_id: new.client_id,
            counts: new.counts,
            extra: new.extra,
        };
        self.messages.insert((message.conversation, message.seq), message.clone());
        if let Some(client_id) = &message.client_id {
            let place = (message.conversation, message.seq, message.at);
            self.client_ids.insert((message.from, client_id.clone()), place);
        }
        let mut cursors = Vec::new();
        for user in [low, high] {
            let member = self.members.get_mut(&(message.conversation, user)).unwrap();
            member.last_activity = message.at;
            member.archived = false;
            member.unread += i64::from(message.counts && user != message.from);
            cursors.push((
                user,
                self.log(
                    user,
                    message.at,
                    LogKind::Message,
                    message.conversation.uuid(),
                    message.seq,
                    message.from,
                ),
            ));
        }
        Ok(Appended { message, duplicate: false, cursors })
    }

    fn begin(&mut self, new: &NewMessage, pair: [UserId; 2]) {
        let (id, at) = (new.conversation, new.at);
        let record = ConversationRecord {
            id,
            kind: ConversationKind::Direct,
            title: None,
            member_count: 2,
            seq: 0,
            last_id: None,
            last_at: at,
            last_kind: new.kind,
            preview: String::new(),
            created_at: at,
        };
        self.conversations.insert(id, record);
        for user in pair {
            let (delivered, read, unread, archived) = (0, 0, 0, false);
            let member = MemberRecord {
                conversation: id,
                user,
                joined_at: at,
                delivered,
                read,
                unread,
                archived,
                last_activity: at,
            };
            self.members.insert((id, user), member);
        }
    }

    fn log(
        &mut self,
        user: UserId,
        at: Timestamp,
        what: LogKind,
        place: uuid::Uuid,
        number: i64,
        by: UserId,
    ) -> i64 {
        let log = self.logs.entry(user).or_default();
        let cursor = log.last_key_value().map_or(1, |(newest, _)| newest + 1);
        log.insert(cursor, LogEntry { user, cursor, at, what, place, number, by });
        cursor
    }

    pub(crate) fn message(&self, id: MessageId) -> Option<MessageRecord> {
        self.messages.values().find(|message| message.id == id).cloned()
    }

    pub(crate) fn messages(&self, id: ConversationId, anchor: Anchor, limit: usize) -> Page {
        let all: Vec<_> = self
            .messages
            .range((id, 0)..=(id, i64::MAX))
            .map(|(_, message)| message.clone())
            .collect();
        let messages: Vec<_> = match anchor {
            Anchor::After(seq) => {
                all.into_iter().filter(|message| message.seq > seq).take(limit).collect()
            }
            Anchor::Newest => all[all.len().saturating_sub(limit)..].to_vec(),
            Anchor::Before(seq) => {
                let older: Vec<_> = all.into_iter().filter(|message| message.seq < seq).collect();
                older[older.len().saturating_sub(limit)..].to_vec()
            }
        };
        let marks = match (messages.first(), messages.last()) {
            (Some(first), Some(last)) => self.marks_over(id, first.seq, last.seq),
            _ => Vec::new(),
        };
        Page { messages, marks, head: self.conversations.get(&id).map_or(0, |head| head.seq) }
    }

    /// Every mark from `first` on, for each kind and person up to the first that reaches `last`.
    fn marks_over(&self, id: ConversationId, first: i64, last: i64) -> Vec<Mark> {
        let Some((low, high)) = id.pair() else { return Vec::new() };
        let mut found = Vec::new();
        for kind in [MarkKind::Delivered, MarkKind::Read] {
            for user in [low, high] {
                for ((.., up_to), at) in
                    self.marks.range((id, kind, user, first)..=(id, kind, user, i64::MAX))
                {
                    found.push(Mark { user, kind, up_to: *up_to, at: *at });
                    if *up_to >= last {
                        break;
                    }
                }
            }
        }
        found
    }

    pub(crate) fn conversations(
        &self,
        me: UserId,
        archived: bool,
        before: Option<(Timestamp, ConversationId)>,
        limit: usize,
    ) -> Vec<Listed> {
        let mut mine: Vec<_> = self
            .members
            .values()
            .filter(|member| member.user == me && member.archived == archived)
            .collect();
        mine.retain(|member| {
            before.is_none_or(|before| (member.last_activity, member.conversation) < before)
        });
        mine.sort_by_key(|member| std::cmp::Reverse((member.last_activity, member.conversation)));
        let listed = mine.into_iter().take(limit).map(|member| Listed {
            conversation: self.conversations[&member.conversation].clone(),
            member: member.clone(),
            peer: member.conversation.peer_of(me).and_then(|peer| self.users.get(&peer).cloned()),
        });
        listed.collect()
    }

    pub(crate) fn unread(&self, me: UserId) -> Vec<(ConversationId, i64)> {
        let waiting = self.members.values().filter(|member| member.user == me && member.unread > 0);
        waiting.map(|member| (member.conversation, member.unread)).collect()
    }

    pub(crate) fn mark(&mut self, id: ConversationId, mark: Mark) -> Result<Marked> {
        let head = self.conversations.get(&id).ok_or(StoreError::NotFound)?.seq;
        let up_to = mark.up_to.min(head);
        let newer = |(_, message): &(&(ConversationId, i64), &MessageRecord)| {
            message.counts && message.from != mark.user && message.seq > up_to
        };
        let unread =
            i64::try_from(self.messages.range((id, 0)..=(id, i64::MAX)).filter(newer).count())
                .unwrap();
        let member = self.members.get_mut(&(id, mark.user)).ok_or(StoreError::NotFound)?;
        let stands = if mark.kind == MarkKind::Read { member.read } else { member.delivered };
        if up_to <= stands {
            return Ok(Marked {
                up_to: stands,
                moved: false,
                unread: member.unread,
                cursors: Vec::new(),
            });
        }
        member.delivered = member.delivered.max(up_to);
        if mark.kind == MarkKind::Read {
            (member.read, member.unread) = (up_to, unread);
        }
        let unread = member.unread;
        self.marks.insert((id, mark.kind, mark.user, up_to), mark.at);
        let what = if mark.kind == MarkKind::Read { LogKind::Read } else { LogKind::Delivered };
        let (low, high) = id.pair().unwrap();
        let mut cursors = Vec::new();
        for user in [low, high] {
            if user != mark.user || what == LogKind::Read {
                cursors.push((user, self.log(user, mark.at, what, id.uuid(), up_to, mark.user)));
            }
        }
        Ok(Marked { up_to, moved: true, unread, cursors })
    }

    pub(crate) fn log_page(&self, user: UserId, cursor: i64, limit: usize) -> LogPage {
        let Some(log) = self.logs.get(&user) else { return LogPage::default() };
        let newer = log.iter().filter(|(at, _)| **at > cursor).take(limit);
        let entries = newer.map(|(cursor, entry)| self.resolve(*cursor, entry)).collect();
        LogPage {
            entries,
            head: *log.last_key_value().unwrap().0,
            floor: *log.first_key_value().unwrap().0,
        }
    }

    fn resolve(&self, cursor: i64, entry: &LogEntry) -> LogRecord {
        let conversation = ConversationId::new(entry.place);
        let mark = |kind| Mark { user: entry.by, kind, up_to: entry.number, at: entry.at };
        let what = match entry.what {
            LogKind::Message => Logged::Message(
                self.messages[&(conversation, entry.number)].clone(),
                self.marks_over(conversation, entry.number, entry.number),
            ),
            LogKind::Delivered => Logged::Mark { conversation, mark: mark(MarkKind::Delivered) },
            LogKind::Read => Logged::Mark { conversation, mark: mark(MarkKind::Read) },
            LogKind::Missed => Logged::Missed(self.calls[&CallId::new(entry.place)].clone()),
        };
        LogRecord { cursor, at: entry.at, what }
    }

    pub(crate) fn undelivered(&self, me: UserId, limit: usize) -> Vec<(i64, MessageRecord)> {
        let message = self.users.get(&me).map_or(0, |user| user.legacy_cursor);
        let mut found = Vec::new();
        for (cursor, entry) in self.logs.get(&me).into_iter().flatten() {
            let conversation = ConversationId::new(entry.place);
            let waits = entry.what == LogKind::Message && entry.by != me && *cursor > message;
            if waits && entry.number > self.members[&(conversation, me)].delivered {
                found.push((*cursor, self.messages[&(conversation, entry.number)].clone()));
            }
        }
        found.split_off(found.len().saturating_sub(limit))
    }

    pub(crate) fn create_call(&mut self, call: CallRecord, facts: Vec<Fact>) -> CallRecord {
        let same =
            |other: &&CallRecord| other.from == call.from && other.client_id == call.client_id;
        if let Some(first) = self.calls.values().find(same).filter(|_| call.client_id.is_some()) {
            return first.clone();
        }
        self.calls.insert(call.id, call.clone());
        for (user, outgoing) in [(call.from, true), (call.to, false)] {
            self.call_members.insert((user, call.created_at, call.id), (outgoing, false));
        }
        self.record_facts(facts);
        call
    }

    pub(crate) fn save_call(
        &mut self,
        call: CallRecord,
        expected: i64,
        facts: Vec<Fact>,
    ) -> Result<()> {
        let current = self.calls.get(&call.id).ok_or(StoreError::NotFound)?.rev;
        if current != expected {
            return Err(StoreError::Stale { current });
        }
        self.calls.insert(call.id, call);
        self.record_facts(facts);
        Ok(())
    }

    pub(crate) fn finish_call(&mut self, end: CallEnd) -> Result<CallFinished> {
        self.save_call(end.call.clone(), end.expected_rev, end.facts)?;
        let missed_cursor = end.missed_by.map(|user| {
            self.call_members.get_mut(&(user, end.call.created_at, end.call.id)).unwrap().1 = true;
            self.log(
                user,
                end.call.updated_at,
                LogKind::Missed,
                end.call.id.uuid(),
                end.call.rev,
                end.call.from,
            )
        });
        let entry = end.entry.map(|entry| self.append_message(entry)).transpose()?;
        Ok(CallFinished { entry, missed_cursor })
    }

    pub(crate) fn rate_call(&mut self, id: CallId, rating: Rating, facts: Vec<Fact>) -> Result<()> {
        let call = self
            .calls
            .get_mut(&id)
            .filter(|call| call.has(rating.user))
            .ok_or(StoreError::NotFound)?;
        call.ratings.retain(|earlier| earlier.user != rating.user);
        call.ratings.push(rating);
        self.record_facts(facts);
        Ok(())
    }

    pub(crate) fn call(&self, id: CallId) -> Option<CallRecord> {
        self.calls.get(&id).cloned()
    }

    pub(crate) fn live_calls(&self) -> Vec<CallRecord> {
        let mut live: Vec<_> =
            self.calls.values().filter(|call| call.status.is_live()).cloned().collect();
        live.sort_by_key(|call| (call.created_at, call.id));
        live
    }

    pub(crate) fn call_history(&self, query: &CallHistory) -> Vec<CallRecord> {
        let fits = |call: &CallRecord| {
            call.has(query.user)
                && query.before.is_none_or(|before| (call.created_at, call.id) < before)
                && query.until.is_none_or(|until| call.created_at <= until)
                && query.since.is_none_or(|since| call.created_at >= since)
                && query.outgoing.is_none_or(|outgoing| (call.from == query.user) == outgoing)
                && query.with.is_none_or(|with| call.peer_of(query.user) == with)
                && query.status.is_none_or(|status: CallStatus| call.status == status)
        };
        let mut calls: Vec<_> = self.calls.values().filter(|call| fits(call)).cloned().collect();
        calls.sort_by_key(|call| std::cmp::Reverse((call.created_at, call.id)));
        calls.into_iter().skip(query.skip).take(query.limit).collect()
    }

    pub(crate) fn missed_calls(
        &self,
        me: UserId,
        since: Timestamp,
        limit: usize,
    ) -> Vec<CallRecord> {
        let missed = self
            .call_members
            .iter()
            .filter(|((user, at, _), (_, missed))| *user == me && *missed && *at >= since);
        missed.rev().map(|((.., call), _)| self.calls[call].clone()).take(limit).collect()
    }

    pub(crate) fn ack_missed(&mut self, me: UserId, calls: &[CallId]) {
        for ((user, _, call), (_, missed)) in &mut self.call_members {
            if *user == me && calls.contains(call) {
                *missed = false;
            }
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let count = |n: usize| i64::try_from(n).unwrap();
        Totals {
            users: count(self.users.len()),
            messages: count(self.messages.len()),
            calls: count(self.calls.len()),
        }
    }

    /// The canonical dump.
    pub(crate) fn export(&self) -> Vec<String> {
        let mut lines: Vec<DumpRow> = self.users.values().cloned().map(DumpRow::User).collect();
        lines.extend(self.devices.values().cloned().map(DumpRow::Device));
        lines.extend(self.conversations.values().cloned().map(DumpRow::Conversation));
        lines.extend(self.members.values().cloned().map(DumpRow::Member));
        lines.extend(self.messages.values().cloned().map(DumpRow::Message));
        lines.extend(self.client_ids.iter().map(|((from, client_id), (conversation, seq, at))| {
            DumpRow::ClientId {
                from: *from,
                client_id: client_id.clone(),
                conversation: *conversation,
                seq: *seq,
                at: *at,
            }
        }));
        lines.extend(self.marks.iter().map(|((conversation, kind, user, up_to), at)| {
            DumpRow::Mark {
                conversation: *conversation,
                mark: Mark { user: *user, kind: *kind, up_to: *up_to, at: *at },
            }
        }));
        let entries = self.logs.values().flat_map(BTreeMap::values);
        lines.extend(entries.cloned().map(DumpRow::Log));
        lines.extend(self.calls.values().cloned().map(DumpRow::Call));
        lines.extend(self.call_members.iter().map(|((user, _, call), (outgoing, missed))| {
            DumpRow::CallMember { user: *user, call: *call, outgoing: *outgoing, missed: *missed }
        }));
        lines.extend(self.jobs.values().cloned().map(DumpRow::Job));
        lines.extend(self.facts.iter().map(|(position, fact)| {
            DumpRow::Fact(PlacedFact { position: *position, fact: fact.clone() })
        }));
        lines.extend(self.fact_cursors.iter().map(|(name, position)| DumpRow::FactCursor {
            name: name.clone(),
            position: *position,
        }));
        lines.extend(self.room_tokens.values().cloned().map(DumpRow::RoomToken));
        lines.extend(self.server_keys.iter().map(|(name, key)| {
            DumpRow::ServerKey(ServerKey { name: name.clone(), key: key.clone() })
        }));
        lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect()
    }
}

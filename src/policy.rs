//! Who may do what, in one table. A rule says who acts, what they want to do, and what they are to the thing it is done to; the
//! table says yes, or why not. Where groups, blocks and bans come in: as relations.

use crate::error::{Failure, Reason};
use crate::event::Role;
use crate::ids::UserId;

/// Who acts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Actor {
    /// The user, or the guest of a room.
    pub user: UserId,
    /// What the token says about its bearer.
    pub role: Role,
}

impl Actor {
    /// A user, with what the token says.
    pub fn new(user: UserId, role: Role) -> Self {
        Self { user, role }
    }

    /// Whether this is an admin or the application's backend.
    pub fn is_operator(self) -> bool {
        self.role.is_operator() && !self.user.is_guest()
    }
}

impl From<UserId> for Actor {
    /// An ordinary user: for what no role opens.
    fn from(user: UserId) -> Self {
        Self { user, role: Role::User }
    }
}

/// What the actor is to the thing that something is done to. Who is several of these names the one that allows most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Relation {
    /// Nothing.
    Stranger,
    /// A contact of the person, by a common conversation or call, or whoever `presence.audience` treats alike.
    Contact,
    /// The person.
    Oneself,
    /// In the conversation, call, room or recording.
    Member,
    /// Moderates the room.
    Moderator,
    /// Opened the room, or started the recording.
    Owner,
}

/// What the actor wants to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// To use the events that need an account.
    UseAccount,
    /// To use the events of rooms, and to agree to a recording.
    UseRoom,
    /// To read messages, marks and receipts of a conversation.
    ReadConversation,
    /// To write a message into it.
    WriteMessage,
    /// To move one's delivered or read mark in it.
    MarkMessages,
    /// To show others that one types in it.
    Type,
    /// To see whether a person is there.
    SeePresence,
    /// What operators do: to change and erase accounts, to see figures and allocations.
    Operate,
    /// To see, answer, signal or end a call.
    TakePartInCall,
    /// To record a call.
    RecordCall,
    /// To see a room and who is in it.
    SeeRoom,
    /// To change or close a room, and to give out tokens for it.
    ManageRoom,
    /// To mute, admit and remove others, to lock the room, to end it for all.
    ModerateRoom,
    /// To record a room.
    RecordRoom,
    /// To see a recording and fetch its files.
    SeeRecording,
    /// To stop a recording of a room, and to delete a recording.
    ManageRecording,
}

/// A row of the table.
struct Rule {
    /// What one has to be to the thing.
    relations: &'static [Relation],
    /// Whether operators may, whatever they are to it.
    operators: bool,
    /// Whether guests of a room may, who have no account.
    guests: bool,
    /// What all others are answered.
    refusal: Refusal,
}

const ANYONE: &[Relation] = &[
    Relation::Stranger,
    Relation::Contact,
    Relation::Oneself,
    Relation::Member,
    Relation::Moderator,
    Relation::Owner,
];
const INSIDE: &[Relation] = &[Relation::Member, Relation::Moderator, Relation::Owner];
const IN_CHARGE: &[Relation] = &[Relation::Moderator, Relation::Owner];
const OWNER: &[Relation] = &[Relation::Owner];
const KNOWN: &[Relation] = &[Relation::Contact, Relation::Oneself];
const NONE: &[Relation] = &[];

const NEEDS_ACCOUNT: Refusal = Refusal {
    reason: Reason::Forbidden,
    message: "A guest has the room:* events of one room, and recording:consent; this one needs an account",
};
const NOT_A_MEMBER: Refusal =
    Refusal { reason: Reason::NotAMember, message: "You are not a member of this conversation" };
const NOT_FOR_STRANGERS: Refusal =
    Refusal { reason: Reason::Forbidden, message: "The presence of this person is for contacts" };
const OPERATORS_ONLY: Refusal =
    Refusal { reason: Reason::Forbidden, message: "This needs an admin's or a service's token" };
const NO_CALL: Refusal =
    Refusal { reason: Reason::CallNotFound, message: "There is no such call among your calls" };
const NO_ROOM: Refusal =
    Refusal { reason: Reason::RoomNotFound, message: "There is no such room, or not for you" };
const NOT_A_MODERATOR: Refusal =
    Refusal { reason: Reason::NotAModerator, message: "This is for moderators of the room" };
const NO_RECORDING: Refusal =
    Refusal { reason: Reason::NotFound, message: "There is no such recording, or not for you" };
const NOT_THE_RECORDER: Refusal = Refusal {
    reason: Reason::RecordingForbidden,
    message: "This is for whoever started the recording, the room's moderators, and operators",
};

/// The table.
const fn rule(verb: Verb) -> Rule {
    #[rustfmt::skip]
    let (relations, operators, guests, refusal) = match verb {
        //                             relations operators guests refusal
        Verb::UseAccount            => (ANYONE,   true,  false, NEEDS_ACCOUNT),
        Verb::UseRoom               => (ANYONE,   true,  true,  NEEDS_ACCOUNT),
        Verb::ReadConversation
        | Verb::WriteMessage
        | Verb::MarkMessages
        | Verb::Type                => (INSIDE,   false, false, NOT_A_MEMBER),
        Verb::SeePresence           => (KNOWN,    true,  false, NOT_FOR_STRANGERS),
        Verb::Operate               => (NONE,     true,  false, OPERATORS_ONLY),
        Verb::TakePartInCall        => (INSIDE,   false, false, NO_CALL),
        Verb::RecordCall            => (INSIDE,   true,  false, NO_CALL),
        Verb::SeeRoom               => (INSIDE,   true,  true,  NO_ROOM),
        Verb::ManageRoom            => (OWNER,    true,  false, NOT_A_MODERATOR),
        Verb::ModerateRoom          => (IN_CHARGE, true, true,  NOT_A_MODERATOR),
        Verb::RecordRoom            => (IN_CHARGE, true, true,  NOT_A_MODERATOR),
        Verb::SeeRecording          => (INSIDE,   true,  false, NO_RECORDING),
        Verb::ManageRecording       => (IN_CHARGE, true, false, NOT_THE_RECORDER),
    };
    Rule { relations, operators, guests, refusal }
}

/// Why the actor may not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    reason: Reason,
    message: &'static str,
}

impl Failure for Refusal {
    fn reason(&self) -> Reason {
        self.reason
    }
}

/// Whether `actor` may do `verb` to a thing that it is `relation` to.
pub fn may(actor: impl Into<Actor>, verb: Verb, relation: Relation) -> Result<(), Refusal> {
    let (actor, rule) = (actor.into(), rule(verb));
    let related = rule.relations.contains(&relation) && (rule.guests || !actor.user.is_guest());
    let operates = rule.operators && actor.is_operator();
    if related || operates { Ok(()) } else { Err(rule.refusal) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBS: &[Verb] = &[
        Verb::UseAccount,
        Verb::UseRoom,
        Verb::ReadConversation,
        Verb::WriteMessage,
        Verb::MarkMessages,
        Verb::Type,
        Verb::SeePresence,
        Verb::Operate,
        Verb::TakePartInCall,
        Verb::RecordCall,
        Verb::SeeRoom,
        Verb::ManageRoom,
        Verb::ModerateRoom,
        Verb::RecordRoom,
        Verb::SeeRecording,
        Verb::ManageRecording,
    ];

    fn actors() -> [(&'static str, Actor); 5] {
        let user = UserId::new(7).unwrap();
        [
            ("user", Actor::new(user, Role::User)),
            ("moderator", Actor::new(user, Role::Moderator)),
            ("admin", Actor::new(user, Role::Admin)),
            ("service", Actor::new(user, Role::Service)),
            ("guest", Actor::new(UserId::guest(3), Role::User)),
        ]
    }

    /// Who may, as one line for each verb: the actors, each with the relations that are enough.
    fn shown(verb: Verb) -> String {
        let letters = [
            (Relation::Stranger, 's'),
            (Relation::Contact, 'c'),
            (Relation::Oneself, 'i'),
            (Relation::Member, 'm'),
            (Relation::Moderator, 'd'),
            (Relation::Owner, 'o'),
        ];
        let line = actors().map(|(name, actor)| {
            let enough: String = letters
                .iter()
                .filter(|(relation, _)| may(actor, verb, *relation).is_ok())
                .map(|(_, letter)| letter)
                .collect();
            format!("{name}={}", if enough.is_empty() { "-" } else { &enough })
        });
        format!("{verb:?}: {}", line.join(" "))
    }

    #[test]
    fn the_whole_table_is_what_it_is_meant_to_be() {
        let expected = "\
UseAccount: user=scimdo moderator=scimdo admin=scimdo service=scimdo guest=-
UseRoom: user=scimdo moderator=scimdo admin=scimdo service=scimdo guest=scimdo
ReadConversation: user=mdo moderator=mdo admin=mdo service=mdo guest=-
WriteMessage: user=mdo moderator=mdo admin=mdo service=mdo guest=-
MarkMessages: user=mdo moderator=mdo admin=mdo service=mdo guest=-
Type: user=mdo moderator=mdo admin=mdo service=mdo guest=-
SeePresence: user=ci moderator=ci admin=scimdo service=scimdo guest=-
Operate: user=- moderator=- admin=scimdo service=scimdo guest=-
TakePartInCall: user=mdo moderator=mdo admin=mdo service=mdo guest=-
RecordCall: user=mdo moderator=mdo admin=scimdo service=scimdo guest=-
SeeRoom: user=mdo moderator=mdo admin=scimdo service=scimdo guest=mdo
ManageRoom: user=o moderator=o admin=scimdo service=scimdo guest=-
ModerateRoom: user=do moderator=do admin=scimdo service=scimdo guest=do
RecordRoom: user=do moderator=do admin=scimdo service=scimdo guest=do
SeeRecording: user=mdo moderator=mdo admin=scimdo service=scimdo guest=-
ManageRecording: user=do moderator=do admin=scimdo service=scimdo guest=-";
        let table: Vec<_> = VERBS.iter().map(|verb| shown(*verb)).collect();
        assert_eq!(table.join("\n"), expected);
    }

    #[test]
    fn a_guest_with_an_operators_claim_is_a_guest() {
        let guest = Actor::new(UserId::guest(3), Role::Admin);
        assert!(may(guest, Verb::Operate, Relation::Stranger).is_err());
        assert!(may(guest, Verb::ModerateRoom, Relation::Stranger).is_err());
    }

    #[test]
    fn a_refusal_is_the_one_of_its_row() {
        let user = UserId::new(7).unwrap();
        let refused = |verb| may(user, verb, Relation::Stranger).unwrap_err().reason();
        assert_eq!(refused(Verb::WriteMessage), Reason::NotAMember);
        assert_eq!(refused(Verb::SeeRecording), Reason::NotFound);
        assert_eq!(refused(Verb::ModerateRoom), Reason::NotAModerator);
        assert_eq!(refused(Verb::Operate), Reason::Forbidden);
    }
}

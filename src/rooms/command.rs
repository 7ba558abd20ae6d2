//! What a room is asked to do, as plain data, and the one place where each request meets its rule.

use super::join::Join;
use super::layers::{PreferLayer, PreferLayers};
use super::machine::Room;
use super::moderate::Moderate;
use super::publish::Publish;
use super::rule::{Context, Rule};
use super::say::{Describe, Raise, React, SendData};
use super::subscribe::{Answered, RestartIce, Subscribe};
use super::unpublish::Unpublish;
use super::whip::{OfferByHttp, PatchByHttp};
use super::{Joined, ListedToken, Publishing, Resource, Result, Subscribed, Unpublished};
use crate::event::room::{Ban, Participant, Room as ShownRoom, SessionDescription};
use crate::ids::UserId;

/// A request as it travels to the room and back.
pub(super) trait Request: Rule {
    fn command(self) -> RoomCommand;
    fn reply(reply: Reply) -> Option<Self::Reply>;
}

macro_rules! commands {
    ($($name:ident($request:ty) -> $reply:ty,)*) => {
        /// See the module.
        pub(super) enum RoomCommand { $($name(Box<$request>),)* }

        /// What a command leads to.
        pub(super) enum Reply { $($name(Box<$reply>),)* }

        $(impl Request for $request {
            fn command(self) -> RoomCommand {
                RoomCommand::$name(Box::new(self))
            }

            fn reply(reply: Reply) -> Option<$reply> {
                match reply {
                    Reply::$name(reply) => Some(*reply),
                    _ => None,
                }
            }
        })*

        impl Room {
            /// Carries out one command; what is to be done outside is in [`Room::take_effects`] then, also after an error.
            pub(super) fn handle(
                &mut self,
                command: RoomCommand,
                with: &mut Context<'_>,
            ) -> Result<Reply> {
                match command {
                    $(RoomCommand::$name(request) => {
                        request.carry_out(self, with).map(|reply| Reply::$name(Box::new(reply)))
                    })*
                }
            }
        }
    };
}

commands! {
    Look(super::open::Look) -> ShownRoom,
    People(super::open::People) -> Vec<Participant>,
    Change(super::open::Alter) -> ShownRoom,
    Close(super::open::Close) -> (),
    Invite(super::open::Invite) -> (),
    MayRecord(super::open::MayRecord) -> (),
    Moderators(super::open::Moderators) -> Vec<UserId>,
    IssueToken(super::token::IssueToken) -> (),
    ListTokens(super::token::ListTokens) -> Vec<ListedToken>,
    RevokeToken(super::token::RevokeToken) -> (),
    UseToken(super::token::UseToken) -> (),
    ListBans(super::ban::ListBans) -> Vec<Ban>,
    LiftBan(super::ban::LiftBan) -> (),
    Join(Join) -> Joined,
    Leave(super::leave::Leave) -> (),
    Has(super::leave::Has) -> (),
    Publish(Publish) -> Publishing,
    Unpublish(Unpublish) -> Unpublished,
    Answered(Answered) -> (),
    Subscribe(Subscribe) -> Subscribed,
    RestartIce(RestartIce) -> Option<SessionDescription>,
    PreferLayer(PreferLayer) -> Option<String>,
    PreferLayers(PreferLayers) -> (),
    Mute(super::mute::Mute) -> (),
    Moderate(Moderate) -> Option<Participant>,
    Raise(Raise) -> (),
    React(React) -> (),
    SendData(SendData) -> (),
    Describe(Describe) -> (),
    OfferByHttp(OfferByHttp) -> Resource,
    PatchByHttp(PatchByHttp) -> Option<(String, String)>,
    EndByHttp(super::whip::EndByHttp) -> (),
}

//! Calls of two: ringing on all devices, one answer, an end with a reason, and a deadline for everything. Each call is a machine
//! (`call`, its commands one file each) that belongs to a task (`task`), which carries out its effects in their order: the state is
//! in the store before anybody is notified of it.

mod answer;
mod call;
mod command;
mod connection;
mod device;
mod directory;
mod effect;
mod end;
mod error;
mod facts;
mod gather;
mod group;
mod handle;
mod history;
mod hold;
mod ice;
mod initiate;
mod machine;
mod means;
mod party;
mod recover;
mod relay;
mod relayed;
mod reply;
mod rules;
mod sdp;
mod service;
mod signal;
mod states;
mod task;
#[cfg(test)]
mod tests;
mod update;

pub use answer::Respond;
pub use device::Device;
pub use directory::Stats;
pub use end::End;
pub use error::{CallError, Result};
pub use group::Added;
pub use history::{History, HistoryQuery};
pub use ice::WebrtcConfig;
pub use initiate::CallRequest;
pub use reply::{Rejoined, SignalDelivery};
pub use service::Calls;
pub use signal::Signal;

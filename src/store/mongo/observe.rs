//! Noting what is asked of the database.

use std::sync::{Arc, Mutex, PoisonError};

use mongodb::bson::Document;
use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;

/// The queries that went to the database.
#[derive(Clone, Default)]
pub struct Observed(Arc<Mutex<Vec<Document>>>);

impl Observed {
    pub(super) fn handler(&self) -> EventHandler<CommandEvent> {
        let noted = self.0.clone();
        EventHandler::callback(move |event| {
            let CommandEvent::Started(started) = event else { return };
            if matches!(&*started.command_name, "find" | "aggregate" | "count" | "distinct") {
                // What the driver adds is not part of the question.
                let asked = started.command.iter().filter(|(key, _)| {
                    !key.starts_with('$') && !matches!(key.as_str(), "lsid" | "txnNumber")
                });
                let query = asked.map(|(key, value)| (key.clone(), value.clone())).collect();
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(query);
            }
        })
    }

    /// The queries so far.
    pub fn queries(&self) -> Vec<Document> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

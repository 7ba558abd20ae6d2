//! The MongoDB engine, for whatever speaks its protocol: plain finds and writes, no transactions, no joins, no change streams.
//! One server writes to a database at a time (`writer.rs` says how).

mod apply;
mod batch;
mod calls;
mod dump;
mod erase;
mod facts;
mod lease;
mod log;
mod messages;
mod observe;
mod reader;
mod recordings;
mod rows;
mod schema;
mod secrets;
mod store;
mod users;
mod webhooks;
mod writer;

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::BoxFuture;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, WriteConcern};
use mongodb::{Client, Database};

use self::batch::WriteBatch;
pub use self::observe::Observed;
use self::reader::{DEADLINE, Reader, failed, within_deadline};
use self::writer::{Write, Writer};
use super::Result;
use crate::ids::UserId;

/// The MongoDB engine.
pub struct Mongo {
    reader: Reader,
    writer: Writer,
    /// Behind which user the forgetting goes on.
    retired: Mutex<Option<UserId>>,
}

type Work<'a, T> = BoxFuture<'a, Result<T>>;

impl Mongo {
    /// Connects to the database that the URI names (`switchboard` when it names none), and makes or migrates what is in it.
    /// Which server holds the lease to write does not change before [`super::Admin::take_over`] or the first write.
    pub async fn open(uri: &str) -> Result<Self> {
        Self::prepare(connect(uri, None).await?).await
    }

    /// [`Mongo::open`], with every command that goes to the database noted: for tests of its plans.
    pub async fn open_observed(uri: &str) -> Result<(Self, Observed)> {
        let observed = Observed::default();
        let store = Self::prepare(connect(uri, Some(&observed)).await?).await?;
        Ok((store, observed))
    }

    /// How the database answers a noted query.
    pub async fn explain(&self, query: Document) -> Result<Document> {
        let command = doc! { "explain": query, "verbosity": "queryPlanner" };
        self.reader.run(self.reader.database.run_command(command).into_future()).await
    }

    /// [`Mongo::open`], trying for at most `patience` while no database answers.
    pub async fn open_patiently(uri: &str, patience: Duration) -> Result<Self> {
        if let Err(error) = ClientOptions::parse(uri).await
            && matches!(*error.kind, ErrorKind::InvalidArgument { .. })
        {
            return Err(failed(&error));
        }
        let answering = async {
            loop {
                match connect(uri, None).await {
                    Ok(database) => return database,
                    Err(error) => {
                        tracing::warn!(%error, "waiting for the database");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        };
        match tokio::time::timeout(patience, answering).await {
            Ok(database) => Self::prepare(database).await,
            // Once more, to say why.
            Err(_) => Self::open(uri).await,
        }
    }

    async fn prepare(database: Database) -> Result<Self> {
        schema::migrate(&database).await?;
        let reader = Reader::new(database);
        let writer = Writer::start(reader.clone());
        Ok(Self { reader, writer, retired: Mutex::default() })
    }

    async fn write<T, F>(
        &self,
        what: &'static str,
        needs: Vec<(&'static str, String)>,
        work: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut WriteBatch) -> Work<'a, T> + Send + 'static,
    {
        let deadline = super::DEADLINE;
        self.writer.write(Write { what, needs, alone: false, deadline, work }).await
    }

    /// A write that asks the database for more than records by key, and so goes alone.
    async fn write_alone<T, F>(&self, what: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut WriteBatch) -> Work<'a, T> + Send + 'static,
    {
        let (needs, deadline) = (Vec::new(), super::DEADLINE);
        self.writer.write(Write { what, needs, alone: true, deadline, work }).await
    }
}

/// The write that writes nothing: it only makes sure of the lease.
fn nothing(_: &mut WriteBatch) -> Work<'_, ()> {
    Box::pin(async { Ok(()) })
}

/// A database that answers.
async fn connect(uri: &str, observed: Option<&Observed>) -> Result<Database> {
    let mut options = ClientOptions::parse(uri).await.map_err(|error| failed(&error))?;
    options.app_name = Some("switchboard".into());
    options.server_selection_timeout = Some(DEADLINE);
    options.connect_timeout = Some(DEADLINE);
    options.command_event_handler = observed.map(Observed::handler);
    options.max_pool_size = Some(32);
    options.write_concern = Some(WriteConcern::majority());
    let name = options.default_database.clone().unwrap_or_else(|| "switchboard".into());
    let client = Client::with_options(options).map_err(|error| failed(&error))?;
    let database = client.database(&name);
    within_deadline(database.run_command(doc! { "ping": 1 }).into_future()).await?;
    Ok(database)
}

//! The `switchboard` program: reads the command line, and does what it says.

mod doctor;
mod health;
mod serve;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use switchboard::at_rest::{self, Wide};
use switchboard::auth::{Grant, mint};
use switchboard::clock::Clock;
use switchboard::config::{Config, Flags, hide_in_addresses, load};
use switchboard::event::Role;
use switchboard::ids::UserId;
use switchboard::recordings;
use switchboard::store::Store;
use switchboard::store::sqlite::Sqlite;

/// Chat, voice and video calls for an application with its own accounts.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The configuration file [default: config.toml, when present].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where data lives [default: ./data, with --dev ./data-dev].
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// For trying out: makes up secrets and users, listens on this machine only.
    #[arg(long, global = true)]
    dev: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server (the default).
    Serve,
    /// Prints the effective configuration, secrets hidden; exit 0, or 2 when it cannot work.
    CheckConfig,
    /// Makes a token for a user, signed with the shared secret.
    Token {
        /// The user's id.
        #[arg(long)]
        user: i64,
        /// The name to show.
        #[arg(long)]
        name: Option<String>,
        /// user, moderator, admin or service.
        #[arg(long, default_value = "user")]
        role: String,
        /// Seconds until it ends.
        #[arg(long, default_value_t = 3600)]
        ttl: i64,
    },
    /// Checks a set-up from end to end and explains what it finds.
    Doctor,
    /// Asks the server of this set-up whether it is ready: exit 0, or 1 with the reason in a sentence.
    Health,
    /// Finishes recordings that a crash has cut off; a server does so at its start, too.
    Recover,
    /// Writes the whole store as lines of JSON.
    Export {
        /// Where to; - for standard output.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Takes an export into an empty store.
    Import {
        /// From where; - for standard input.
        file: PathBuf,
    },
}

/// What every command starts from.
struct Setup {
    config: Config,
    data: PathBuf,
    dev: bool,
}

fn main() -> ExitCode {
    at_rest::set_umask();
    let arguments = Arguments::parse();
    let data = arguments
        .data
        .unwrap_or_else(|| if arguments.dev { "data-dev".into() } else { "data".into() });
    let flags = Flags { config: arguments.config, dev: arguments.dev, data: data.clone() };
    let command = arguments.command.unwrap_or(Command::Serve);
    let config = match load(&flags) {
        Ok(config) => config,
        // Container engines know 0 and 1 only from a health check.
        Err(error) if matches!(command, Command::Health) => return fail(1, &error),
        Err(error) => return fail(2, &error),
    };
    let setup = Setup { config, data, dev: arguments.dev };
    // One provider of cryptography for all of TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The writer of the store is one more busy thread; the others share the remaining cores.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.saturating_sub(1).max(1);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    let outcome = runtime.block_on(run(command, setup));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}

async fn run(command: Command, setup: Setup) -> ExitCode {
    let outcome = match command {
        Command::Serve => serve::serve(setup).await,
        Command::CheckConfig => print(&toml_like(&setup.config)),
        Command::Token { user, name, role, ttl } => token(&setup, user, name, &role, ttl),
        Command::Doctor => return doctor::doctor(setup).await,
        Command::Health => return health::health(&setup.config.server),
        Command::Recover => recover(&setup).await,
        Command::Export { file } => export(&setup, &file).await,
        Command::Import { file } => import(&setup, &file).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &*error),
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;
type Outcome = Result<(), Failed>;

fn fail(code: u8, error: &(impl std::fmt::Display + ?Sized)) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "switchboard: {error}");
    ExitCode::from(code)
}

fn print(text: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// The configuration as JSON, which is enough to read and to compare.
fn toml_like(config: &Config) -> String {
    let mut value = serde_json::to_value(config).unwrap_or_default();
    hide_in_addresses(&mut value);
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

impl Setup {
    /// The file of the embedded store.
    fn store_file(&self) -> PathBuf {
        let named = &self.config.store.file;
        if named.is_empty() { self.data.join("switchboard.db") } else { named.into() }
    }

    /// What of the data other users of this machine may read.
    fn wide(&self) -> Result<Vec<Wide>, Failed> {
        let recordings = PathBuf::from(&self.config.recordings.dir);
        let files = at_rest::files_of(&self.store_file());
        let mut paths = vec![self.data.clone(), recordings, self.data.join("dev-secret")];
        paths.extend(files);
        Ok(at_rest::wide(paths.iter().map(PathBuf::as_path))?)
    }

    /// Refuses data that others may read. From a folder that is empty yet, and with `--dev` from all of it, that right is taken, and it
    /// is said so.
    fn keep_private(&self) -> Outcome {
        for wide in self.wide()? {
            let unused = wide.is_unused();
            if !self.dev && !unused {
                return Err(wide.to_string().into());
            }
            wide.mend().map_err(|error| format!("{wide} ({error})"))?;
            let why = if unused { "done, as nothing is in it yet" } else { "--dev has done so" };
            let _ = writeln!(std::io::stderr(), "switchboard: {wide}; {why}");
        }
        Ok(())
    }
}

/// The store of this set-up: the database that is named, or the embedded one.
async fn open_store(setup: &Setup) -> Result<Arc<dyn Store>, Failed> {
    setup.keep_private()?;
    #[cfg(feature = "mongo")]
    if !setup.config.store.mongodb_uri.is_empty() {
        let patience = std::time::Duration::from_secs(setup.config.store.mongodb_patience);
        let uri = setup.config.store.mongodb_uri.expose();
        let store = switchboard::store::mongo::Mongo::open_patiently(uri, patience).await;
        return Ok(Arc::new(store.map_err(|error| format!("store.mongodb_uri: {error}"))?));
    }
    let path = setup.store_file();
    if let Some(folder) = path.parent() {
        at_rest::make_folder(folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let store = Sqlite::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Arc::new(store))
}

fn token(setup: &Setup, user: i64, name: Option<String>, role: &str, ttl: i64) -> Outcome {
    let user_id = UserId::new(user).ok_or("--user must be an integer from 1 to 2^53-1")?;
    let role: Role = serde_json::from_value(role.into())
        .map_err(|_| "--role must be user, moderator, admin or service")?;
    let auth = &setup.config.auth;
    if !auth.algorithms.iter().any(|algorithm| algorithm == "HS256") {
        return Err("auth.algorithms does not name HS256; only tokens of the shared secret can be made here".into());
    }
    let set = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (iss, aud, exp) =
        (set(&auth.issuer), set(&auth.audience), Clock::system().now().seconds() + ttl);
    let grant =
        Grant { user_id, uid: None, email: None, name, user_type: None, role, exp, iss, aud };
    print(&mint(&grant, &auth.jwt_secret)?)
}

async fn recover(setup: &Setup) -> Outcome {
    let store = open_store(setup).await?;
    let (config, clock) = (&setup.config.recordings, Clock::system());
    let outcome = recordings::recover(store.as_ref(), Path::new(&config.dir), &clock, config).await;
    store.close().await;
    for (id, status, files) in outcome? {
        print(&format!("{id} {status}, {files} files"))?;
    }
    Ok(())
}

async fn export(setup: &Setup, file: &Path) -> Outcome {
    let store = open_store(setup).await?;
    let mut sink: Box<dyn Write + Send> = if file == Path::new("-") {
        Box::new(std::io::BufWriter::new(std::io::stdout()))
    } else {
        Box::new(std::io::BufWriter::new(at_rest::create(file)?))
    };
    store.export(&mut |line| writeln!(sink, "{line}")).await?;
    sink.flush()?;
    store.close().await;
    Ok(())
}

async fn import(setup: &Setup, file: &Path) -> Outcome {
    use std::io::BufRead;
    let store = open_store(setup).await?;
    let source: Box<dyn BufRead + Send> = if file == Path::new("-") {
        Box::new(std::io::BufReader::new(std::io::stdin()))
    } else {
        Box::new(std::io::BufReader::new(std::fs::File::open(file)?))
    };
    let outcome = store.import(&mut source.lines()).await;
    store.close().await;
    outcome.map_err(|error| match error {
        switchboard::store::StoreError::Conflict(_) => {
            "the store is not empty; import into a new data folder".into()
        }
        other => other.into(),
    })
}

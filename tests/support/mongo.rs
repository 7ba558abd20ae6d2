//! Something that speaks MongoDB's protocol: the server that `MONGODB_TEST_URI` names, or FerretDB, built by the program in
//! `tests/mongo` when Go is here.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::{Folder, skipped};

struct Engine {
    uri: String,
    /// Its standard input is open for as long as this process lives; then it ends.
    _process: Option<(Child, Folder)>,
}

static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();

/// The URI of a database that nobody uses yet; `None`, with a line that names the test, where there is no engine.
pub(crate) fn fresh_database() -> Option<String> {
    let engine = match ENGINE.get_or_init(engine) {
        Ok(engine) => engine,
        Err(why) => {
            let test = std::thread::current();
            let test = test.name().unwrap_or("a test of the MongoDB store");
            skipped(&format!(
                "{test}: {why}. Install Go 1.24 or later, or set MONGODB_TEST_URI to a server that may be filled with databases."
            ));
            return None;
        }
    };
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let (address, query) = engine.uri.split_once('?').unwrap_or((&engine.uri, ""));
    let address = address.trim_end_matches('/');
    Some(format!("{address}/{name}?{query}").trim_end_matches('?').to_owned())
}

fn engine() -> Result<Engine, String> {
    match std::env::var("MONGODB_TEST_URI") {
        Ok(uri) => Ok(Engine { uri, _process: None }),
        Err(_) => embedded(),
    }
}

fn embedded() -> Result<Engine, String> {
    let program = build()?;
    let folder = Folder::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| error.to_string())?;
    let mut process = Command::new(program)
        .arg(port.to_string())
        .arg(&folder.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("the engine does not start: {error}"))?;
    let mut line = String::new();
    let output = process.stdout.take().ok_or("the engine has no output")?;
    BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    if line.trim() != "ready" {
        return Err("the engine did not get ready".into());
    }
    Ok(Engine { uri: format!("mongodb://{port}/"), _process: Some((process, folder)) })
}

/// Builds the engine into the target folder; Go builds only what changed.
fn build() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mongo");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/mongo-wire");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .output();
    let built = built.map_err(|error| format!("Go cannot be run ({error})"))?;
    if built.status.success() {
        Ok(program)
    } else {
        Err(format!("Go cannot build it: {}", String::from_utf8_lossy(&built.stderr).trim()))
    }
}

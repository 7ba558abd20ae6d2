//! No query that a client can cause walks a table or sorts in passing.

use std::path::Path;

use switchboard::store::Admin as _;
use switchboard::store::sqlite::{Sqlite, explain};

use crate::support::Folder;

#[tokio::test(flavor = "multi_thread")]
async fn every_query_is_answered_through_an_index() {
    let folder = Folder::new();
    let path = folder.0.join("plans.db");
    Sqlite::open(&path).unwrap().close().await;
    let plans = explain(&path).unwrap();
    assert!(plans.len() >= 20);
    for (sql, plan) in plans {
        for line in &plan {
            assert!(!line.starts_with("SCAN"), "{sql}\n{}", plan.join("\n"));
            // DISTINCT of a bounded list of people is the one that needs a place to remember them.
            let sorts = line.contains("TEMP B-TREE") && !line.contains("FOR DISTINCT");
            assert!(!sorts, "{sql}\n{}", plan.join("\n"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_newer_program_is_refused_in_words() {
    let folder = Folder::new();
    let path = folder.0.join("newer.db");
    Sqlite::open(&path).unwrap().close().await;
    rusqlite_set_version(&path, 99);
    let refused = Sqlite::open(&path).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("version 99") && refused.contains("newer switchboard"), "{refused}");
}

fn rusqlite_set_version(path: &Path, version: u32) {
    // The version is a big-endian number at offset 60 of the file (SQLite file format §1.3).
    let mut bytes = std::fs::read(path).unwrap();
    bytes[60..64].copy_from_slice(&version.to_be_bytes());
    std::fs::write(path, bytes).unwrap();
}

/// Every query that the conformance cases cause is explained by the server, where the server explains as MongoDB does.
#[cfg(feature = "mongo")]
#[tokio::test(flavor = "multi_thread")]
async fn every_query_to_mongodb_is_answered_through_an_index() {
    use std::sync::Arc;

    use switchboard::store::Store;
    use switchboard::store::mongo::Mongo;

    use crate::conformance::cases;

    let Some(uri) = crate::support::mongo::fresh_database() else { return };
    let (store, observed) = Mongo::open_observed(&uri).await.unwrap();
    let mongo = Arc::new(store);
    let store: Arc<dyn Store> = mongo.clone();
    cases::what_clients_ask(store.clone()).await;
    let queries = observed.queries();
    assert!(queries.len() > 30, "{} queries", queries.len());
    let mut explained = 0;
    for query in queries {
        let Ok(plan) = mongo.explain(query.clone()).await else { continue };
        let Ok(planner) = plan.get_document("queryPlanner") else { continue };
        let winning = planner.get_document("winningPlan").map(ToString::to_string);
        let Ok(winning) = winning else { continue };
        // FerretDB has the words without the plan.
        if !winning.contains("\"stage\"") {
            continue;
        }
        explained += 1;
        for bad in ["COLLSCAN", "\"SORT\""] {
            assert!(!winning.contains(bad), "{query}\n{winning}");
        }
    }
    if explained == 0 {
        crate::support::skipped(
            "the plans of MongoDB: this server explains nothing. Set MONGODB_TEST_URI to a mongod.",
        );
    }
    store.close().await;
}

//! What every store promises: the cases one by one, and random sequences of operations compared to the model, answer by
//! answer and dump by dump. Run for each engine there is.

pub(crate) mod cases;
mod model;

use std::future::Future;
use std::sync::Arc;

use switchboard::store::Store;
#[cfg(feature = "mongo")]
use switchboard::store::mongo::Mongo;
use switchboard::store::sqlite::Sqlite;

use crate::support::Folder;

/// A store in memory.
async fn memory<F: Future<Output = ()>>(test: impl FnOnce(Arc<dyn Store>) -> F) {
    let store: Arc<dyn Store> = Arc::new(Sqlite::in_memory().unwrap());
    test(store.clone()).await;
    store.close().await;
}

/// A store on file.
async fn file<F: Future<Output = ()>>(test: impl FnOnce(Arc<dyn Store>) -> F) {
    let folder = Folder::new();
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(&folder.0.join("test.db")).unwrap());
    test(store.clone()).await;
    store.close().await;
}

/// A database of its own on whatever speaks MongoDB's protocol here; without one the case is skipped, loudly.
#[cfg(feature = "mongo")]
async fn mongo<F: Future<Output = ()>>(test: impl FnOnce(Arc<dyn Store>) -> F) {
    let Some(uri) = crate::support::mongo::fresh_database() else { return };
    let store: Arc<dyn Store> = Arc::new(Mongo::open(&uri).await.unwrap());
    test(store.clone()).await;
    store.close().await;
}

/// Makes a test of each case for each engine.
macro_rules! engines {
    ($($case:ident),* $(,)?) => {
        mod sqlite_in_memory {
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::memory(super::cases::$case).await; })*
        }
        #[cfg(feature = "mongo")]
        mod mongo_wire {
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::mongo(super::cases::$case).await; })*
        }
        mod sqlite_on_file {
            $(#[tokio::test(flavor = "multi_thread")] async fn $case() { super::file(super::cases::$case).await; })*
        }
    };
}

engines!(
    a_profile_makes_an_account_and_updates_it,
    a_uid_belongs_to_one_account,
    a_device_is_registered_once_and_belongs_to_its_owner,
    the_directory_goes_page_by_page_in_order_of_name,
    a_message_to_nobody_is_refused_and_leaves_nothing,
    numbers_have_no_gap_and_no_twin_under_concurrency,
    a_repeated_client_id_gives_the_first_message_back,
    a_client_id_with_another_text_is_refused,
    a_hundred_repeats_at_once_store_one_message,
    pages_lead_backwards_and_forwards_without_overlap,
    odd_texts_come_back_exactly,
    read_marks_only_go_forward_and_count_what_is_left,
    two_read_marks_commute,
    marks_tell_when_each_message_was_delivered_and_read,
    an_event_log_is_gap_free_and_replays_in_order,
    what_reached_a_device_is_not_replayed,
    retiring_keeps_the_newest_entry_and_the_bounds,
    conversations_are_listed_by_last_activity,
    a_call_moves_only_from_the_revision_it_was_at,
    a_missed_call_is_listed_until_acknowledged,
    call_history_filters_and_pages,
    contacts_are_those_one_talked_to,
    a_dump_goes_into_an_empty_store_and_comes_out_equal,
    a_dump_does_not_go_into_a_filled_store,
    totals_count,
    an_erased_person_leaves_tombstones_and_a_closed_account,
    a_job_is_open_until_it_is_over,
    recordings_are_seen_by_their_members_until_they_are_removed,
    facts_have_positions_without_a_gap_and_are_read_behind_one,
    facts_are_stored_with_the_write_they_describe_or_not_at_all,
    pruned_facts_leave_the_newest_and_the_positions_go_on,
    each_consumer_of_facts_has_a_cursor_of_its_own,
    a_room_token_is_kept_as_a_hash_until_it_ends,
    a_key_of_the_server_is_made_once,
    erasing_a_person_empties_what_facts_say_of_them,
    deliveries_are_queued_together_with_the_cursor_of_their_endpoint,
    deliveries_are_listed_by_state_and_endpoint_and_those_that_are_over_pruned,
    an_endpoint_is_known_by_its_name,
);

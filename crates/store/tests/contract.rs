//! What every backend promises, mounted on each of them; what a file promises besides; and a model
//! test that compares each with memory.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, what is not expected may end it"
)]

#[path = "contract/commits.rs"]
mod commits;
#[path = "contract/content.rs"]
mod content;
#[path = "contract/file.rs"]
mod file;
#[path = "contract/guards.rs"]
mod guards;
#[path = "contract/model.rs"]
mod model;
#[path = "contract/outbox.rs"]
mod outbox;
#[path = "contract/moves.rs"]
mod moves;
#[path = "contract/notes.rs"]
mod notes;
#[path = "contract/postgres.rs"]
mod postgres;
#[path = "contract/races.rs"]
mod races;
#[path = "contract/support.rs"]
mod support;

/// A new backend needs a module here and nothing else. A test that is not named below is dead code,
/// and the compiler says so.
macro_rules! mount {
    ($($part:ident: $test:ident,)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$part::$test(countersign_store::Store::memory()).await;
            })*
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let dir = crate::support::Dir::new();
                crate::$part::$test(dir.store()).await;
            })*
        }

        mod postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if !crate::postgres::is_missing() {
                    crate::$part::$test(crate::postgres::store().await).await;
                }
            })*
        }
    };
}

mount! {
    commits: a_commit_says_where_it_is,
    commits: a_duplicate_gets_the_first_reply,
    commits: a_duplicate_wins_over_everything,
    commits: a_commit_without_a_command_is_never_a_duplicate,
    commits: appends_must_fit,
    commits: appends_to_one_stream_see_each_other,
    commits: the_log_is_in_order_and_without_gaps,
    commits: a_refused_commit_leaves_nothing_behind,
    commits: a_closed_store_says_so,
    commits: content_is_hidden_from_debug_output,
    content: documents_have_versions,
    content: documents_of_one_commit_see_each_other,
    content: documents_are_paged_by_id,
    content: due_documents_come_earliest_first,
    content: the_index_finds_what_was_added,
    content: what_is_cleared_is_found_under_nothing,
    content: a_document_that_was_read_is_still_the_same,
    content: a_stream_is_read_from_where_one_was,
    content: an_event_is_redacted_in_its_place,
    guards: failures_count_until_success,
    guards: failures_are_forgotten_with_their_window,
    guards: a_window_must_be_positive,
    guards: a_check_counts_nothing,
    guards: steps_only_grow,
    guards: once_is_once_until_it_expires,
    guards: guards_of_one_commit_see_each_other,
    guards: the_first_guard_that_denies_is_named,
    guards: numbers_beyond_the_database_are_refused,
    outbox: the_outbox_leases_and_settles,
    outbox: an_interrupted_lease_is_told,
    outbox: what_is_settled_stays_settled,
    outbox: an_outbox_id_is_used_once,
    outbox: the_outbox_is_taken_in_order,
    outbox: a_sweep_forgets_what_is_old,
    outbox: a_sweep_is_bounded,
    races: a_thousand_guesses_get_five_evaluations,
    races: of_two_hundred_appends_one_fits,
    races: of_many_takers_one_gets_each_row,
    notes: other_nodes_hear_what_changed,
    notes: a_refused_commit_tells_nobody,
}

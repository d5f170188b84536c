//! What every backend promises, mounted on each of them; what a file promises besides; and a model
//! test that compares the two.

#[path = "contract/file.rs"]
mod file;
#[path = "contract/model.rs"]
mod model;
#[path = "contract/suite.rs"]
mod suite;
#[path = "contract/support.rs"]
mod support;

/// A new backend needs a line here and nothing else. A test that is not named here is dead code, and
/// the compiler says so.
macro_rules! mount {
    ($($test:ident,)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::suite::$test(countersign_store::Store::memory()).await;
            })*
        }

        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let dir = super::support::Dir::new();
                super::suite::$test(dir.store()).await;
            })*
        }
    };
}

mount! {
    a_commit_says_where_it_is,
    a_duplicate_gets_the_first_reply,
    a_duplicate_wins_over_everything,
    a_commit_without_a_command_is_never_a_duplicate,
    appends_must_fit,
    appends_to_one_stream_see_each_other,
    the_log_is_in_order_and_without_gaps,
    documents_have_versions,
    documents_of_one_commit_see_each_other,
    documents_are_paged_by_id,
    due_documents_come_earliest_first,
    numbers_beyond_the_database_are_refused,
    failures_count_until_success,
    failures_are_forgotten_with_their_window,
    a_window_must_be_positive,
    a_check_counts_nothing,
    guards_of_one_commit_see_each_other,
    steps_only_grow,
    once_is_once_until_it_expires,
    the_first_guard_that_denies_is_named,
    a_refused_commit_leaves_nothing_behind,
    the_index_finds_what_was_added,
    the_outbox_leases_and_settles,
    an_interrupted_lease_is_told,
    what_is_settled_stays_settled,
    an_outbox_id_is_used_once,
    the_outbox_is_taken_in_order,
    a_sweep_forgets_what_is_old,
    a_sweep_is_bounded,
    a_thousand_guesses_get_five_evaluations,
    of_two_hundred_appends_one_fits,
    of_many_takers_one_gets_each_row,
    a_closed_store_says_so,
    content_is_hidden_from_debug_output,
}

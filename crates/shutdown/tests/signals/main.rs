//! Signals, as a process sees them. Each test runs in a process of its own whose only thread is the
//! one that runs it, because masks belong to threads and what is pending belongs to the process.

mod blocking;
mod children;
mod ignored;
mod overlapping;
mod reading;
mod refusals;
mod support;
mod waiting;
mod watching;

epoll_kit_testing::in_own_processes! {
    refusals::signals_that_cannot_be_caught,
    refusals::signals_that_report_a_fault,
    refusals::a_thread_that_leaves_a_signal_unblocked,
    refusals::a_refusal_unblocks_nothing_that_was_blocked_before,
    refusals::without_proc_other_threads_are_not_checked,
    refusals::other_errors_of_proc_name_the_file,
    reading::a_signal_names_its_sender,
    reading::epoll_reports_a_signal_until_it_is_read,
    reading::a_storm_coalesces_and_kills_nobody,
    reading::a_signal_that_was_pending_before_the_descriptor_is_read,
    reading::real_time_signals_come_one_by_one_with_their_values,
    waiting::a_wait_takes_what_is_there_whatever_the_timeout,
    waiting::a_wait_ends_with_the_timeout,
    waiting::a_signal_ends_a_wait_of_another_thread,
    waiting::an_interrupted_wait_keeps_its_deadline,
    waiting::a_wait_that_lacks_memory_is_an_error,
    waiting::a_read_that_fails_is_an_error_and_not_the_absence_of_a_signal,
    waiting::several_threads_share_what_comes,
    waiting::a_signal_for_one_thread_comes_to_that_thread_alone,
    ignored::what_was_ignored_stays_ignored,
    ignored::what_was_ignored_is_reported_where_that_is_asked_for,
    ignored::refusals_come_before_what_is_ignored,
    blocking::dropping_restores_the_mask,
    blocking::dropping_leaves_a_pending_signal_blocked,
    blocking::threads_started_afterwards_inherit_the_mask,
    blocking::nothing_else_of_the_process_changes,
    blocking::a_descriptor_is_lent_raw_for_other_event_loops,
    overlapping::the_older_may_be_dropped_first,
    overlapping::a_value_may_be_replaced_by_assignment,
    overlapping::a_signal_left_pending_is_unblocked_by_the_next_after_it_was_read,
    overlapping::dropped_by_another_thread_it_unblocks_nothing,
    children::a_child_begins_with_the_mask_from_before,
    children::a_child_begins_with_the_mask_from_before_the_first_guard,
    children::a_child_of_another_thread_begins_with_the_mask_from_before,
    children::a_child_with_the_former_mask_ends_with_a_signal_also_while_draining,
    children::another_child_inherits_the_blocked_signals,
    watching::a_phase_wakes_threads_that_wait,
    watching::the_last_to_finish_wakes_the_event_loop_of_the_owner,
}

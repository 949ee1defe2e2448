//! Servers in all modes, and real clients. Each test runs in a process of its own whose first thread blocks
//! signals and serves, because masks belong to threads and signals to the process.

mod accepting;
mod adjusting;
mod busy_polling;
mod calls;
mod deadlines;
mod draining;
mod faults;
mod handles;
mod limits;
mod logs;
mod messages;
mod metrics;
mod outgoing;
mod restarts;
mod script;
mod slices;
mod streams;
mod support;
mod timeouts;

epoll_kit_testing::in_own_processes! {
    messages::they_reach_connections_of_any_thread_in_order,
    messages::a_broadcast_reaches_everybody_once,
    messages::a_handle_reaches_connections_from_outside,
    messages::one_to_a_connection_that_is_gone_is_dropped,
    messages::two_that_answer_one_another_for_ever_starve_nobody,
    messages::those_for_a_connection_in_other_hands_arrive_once,
    messages::what_comes_before_both_halves_are_closed_outlasts_a_pause,
    messages::answers_that_are_sent_late_come_in_order_with_messages,
    messages::a_full_mailbox_is_an_error_and_nothing_else_breaks,
    calls::twenty_lines_to_many_receivers_are_one_send_each,
    calls::sixteen_requests_in_a_segment_are_one_read_and_one_send,
    calls::a_pause_that_ends_before_more_arrives_changes_no_registration,
    calls::a_later_deadline_sets_no_timer,
    outgoing::both_ends_see_a_connection_from_its_opening_to_its_close,
    outgoing::a_refused_one_is_told_to_its_protocol_and_counted,
    outgoing::one_that_is_never_answered_times_out,
    outgoing::one_beyond_the_limit_is_told_to_its_protocol,
    faults::a_panic_closes_its_connection_and_no_other,
    faults::a_panic_of_a_receiver_lets_those_that_forward_to_it_go_on,
    faults::a_panic_in_a_broadcast_keeps_it_from_nobody_else,
    faults::a_panic_of_the_service_makes_no_connection,
    faults::a_panic_of_what_is_dropped_ends_no_thread_and_no_other_connection,
    faults::a_panic_when_it_serves_ends_the_server_before_the_caller_sees_it,
    faults::a_panic_during_the_drain_keeps_nobody_from_finishing,
    faults::a_panic_of_a_connection_that_is_cut_ends_nothing_else,
    faults::a_thread_that_cannot_begin_ends_the_server,
    faults::misuse_closes_its_connection_and_no_other,
    deadlines::one_fires_once_and_never_early,
    deadlines::one_set_on_opening_counts_from_the_opening,
    deadlines::one_goes_with_idle_timeouts,
    draining::everybody_is_told_once,
    draining::a_connection_in_other_hands_is_told_once,
    draining::a_paused_connection_gets_its_answer,
    draining::what_is_under_way_is_waited_for,
    draining::what_is_under_way_is_ended_at_half_time,
    draining::a_half_closed_connection_that_keeps_quiet_is_finished,
    draining::one_that_is_being_established_is_given_up_at_half_time,
    draining::one_that_is_established_meanwhile_is_told,
    draining::what_has_not_finished_in_time_is_cut,
    draining::what_is_cut_is_counted,
    limits::connections_beyond_the_maximum_are_refused,
    limits::a_connection_that_is_declined_is_closed_and_counted,
    limits::a_message_longer_than_may_be_kept_ends_its_connection,
    limits::an_address_that_is_taken_is_an_error_that_names_it,
    limits::the_limit_of_descriptors_is_raised_as_far_as_it_goes,
    limits::a_backlog_is_the_number_of_connections_that_wait,
    limits::every_listener_has_its_protocol_and_every_thread_its_state,
    accepting::any_thread_that_is_free_accepts_from_an_exclusive_listener,
    accepting::a_thread_that_is_alone_stays_in_front_of_an_exclusive_listener,
    accepting::a_connection_that_is_accepted_wakes_none_of_the_threads_that_share_it,
    accepting::connections_are_taken_in_by_threads_that_can_serve_them,
    accepting::those_that_wait_when_the_drain_begins_are_served_although_all_threads_are_held_up,
    accepting::a_listener_goes_on_when_there_are_descriptors_again,
    accepting::a_connection_that_is_closed_is_not_deregistered_before,
    logs::counters_are_logged_when_a_signal_asks_for_them_and_at_the_end,
    logs::the_maximum_of_connections_leaves_descriptors_for_everything_else,
    logs::a_connection_in_other_hands_is_counted_as_not_seen,
    logs::messages_for_a_thread_that_takes_none_are_dropped_with_a_warning,
    timeouts::a_peer_that_takes_nothing_is_closed_and_one_that_takes_little_is_not,
    timeouts::a_peer_that_leaves_its_half_open_is_closed_unless_it_takes_what_was_sent,
    timeouts::what_came_before_a_late_timer_was_seen_to_has_come_in_time,
    streams::what_is_forwarded_goes_to_the_other_connection_in_order,
    streams::what_is_passed_back_comes_back_in_order,
    streams::a_long_stream_that_is_passed_back_goes_through_a_pipe,
    busy_polling::messages_deadlines_and_the_drain_reach_threads_that_look,
    slices::a_drain_tells_many_connections_and_serves_others_meanwhile,
    slices::one_whose_turn_comes_after_half_time_is_told_and_ended,
    slices::counters_of_many_connections_are_summed_while_others_are_served,
    slices::messages_for_many_connections_come_in_order_and_in_slices,
    restarts::connections_that_wait_are_left_to_who_takes_the_socket,
    restarts::everybody_serves_when_that_is_told,
    restarts::a_first_thread_that_is_stuck_gives_no_sign_of_life,
    metrics::every_thread_counts_and_makes_no_turn_for_a_scrape,
    metrics::a_server_that_drains_is_not_ready_and_its_metrics_end_with_it,
    metrics::a_server_goes_on_accepting_while_the_drain_is_delayed,
    metrics::a_drain_begins_when_its_delay_is_over,
    metrics::their_connections_are_bounded_and_not_those_of_the_service,
    metrics::requests_that_are_not_understood_are_refused,
    metrics::connections_that_are_not_served_are_counted_by_their_reason,
    metrics::an_address_that_is_taken_is_an_error_that_names_it,
    adjusting::timeouts_hold_for_connections_that_are_open_already,
    adjusting::the_time_for_the_drain_can_change_before_it_begins,
    adjusting::limits_hold_from_the_next_connection_on,
    adjusting::a_limit_of_bytes_holds_for_open_connections_and_lets_go_of_them,
    adjusting::nothing_changes_unless_that_was_allowed,
    adjusting::statistics_can_be_asked_for_until_the_server_has_ended,
    handles::a_server_without_an_address_serves_until_a_signal,
    handles::one_can_be_used_before_and_after_the_server,
}

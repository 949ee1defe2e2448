//! `select-poll-epoll`: waiting with select, poll and epoll.

use crate::micro::Micro;

/// The suite.
pub(crate) const SUITE: Micro = Micro {
    name: "select-poll-epoll",
    title: "select, poll, epoll",
    intro: "Eventfds, of which some are ready. Timed is one round: the wait, finding those that \
            are ready, and reading each of them. select and poll look at all of them every \
            time, epoll at those that are ready. select has no more than 1 024. The floor is epoll \
            with a level trigger.",
    x_label: "descriptors",
    is_threaded: false,
    full_s: 55,
    quick_s: 7,
    published: &[("N descriptors, 1 ready", "select-poll-epoll")],
};

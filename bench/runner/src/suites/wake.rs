//! `wake`: waking a loop from another thread.

use crate::micro::Micro;

/// The suite.
pub(crate) const SUITE: Micro = Micro {
    name: "wake",
    title: "Waking",
    intro: "What it takes to wake a loop from another thread, and to be woken. The floor is a \
            bare eventfd, edge-triggered and never read. “Pending” is a wake while one is on its \
            way, “not pending” a wake of a loop that does not sleep and has seen the one before. \
            “Wakes a \
            second”: one thread wakes as fast as it can while another waits; how many of the \
            wakes are one wake-up is left to the contestant. “Round trip”: two threads wake one \
            another in turn, and wait; polling's has two readings of the clock in it, without which its \
            waits do not tell whether they were woken.",
    x_label: "",
    is_threaded: true,
    full_s: 15,
    quick_s: 2,
    published: &[("round trip", "wake-round-trip")],
};

//! `dispatch`: handing a byte on round a ring of socket pairs.

use crate::micro::Micro;

/// The suite.
pub(crate) const SUITE: Micro = Micro {
    name: "dispatch",
    title: "Handing on",
    intro: "A ring of socket pairs: when a byte arrives it is read and written to the next pair. \
            Timed is one such step: its share of a wait, what the loop does to find whom to \
            tell, one read and one write. No more can be active than there are pairs. What an edge \
            trigger saves is the kernel's work, so each is compared with the floor that has the \
            same trigger.",
    x_label: "socket pairs",
    is_threaded: false,
    full_s: 55,
    quick_s: 10,
    published: &[("N pairs, 100 active", "dispatch")],
};

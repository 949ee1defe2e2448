//! `timers`: the wheel of epoll-timers beside other ways to keep many deadlines.

use crate::micro::Micro;

/// The suite.
pub(crate) const SUITE: Micro = Micro {
    name: "timers",
    title: "Timers",
    intro: "So many live timers with random deadlines within a minute, and one operation on many \
            of them. Cancelled timers and those that have fired are put back outside the measured \
            time. “put off” is to a later deadline, “reschedule” to any. The reference is the \
            wheel of epoll-timers itself.",
    x_label: "live timers",
    is_threaded: false,
    full_s: 80,
    quick_s: 4,
    published: &[("insert, N timers", "timers-insert"), ("expire, N timers", "timers-expire")],
};

//! The list of what an epoll instance watches, as the kernel shows it.
//!
//!     cargo run -p epoll-sys --example interest_list
//!
//! `/proc/PID/fdinfo/FD` of an epoll descriptor has a line for each entry of its tree: the number of
//! the descriptor, the events in force, and the 64 bits of data. A one-shot report takes every event
//! out of its entry and leaves the entry there, `EPOLL_CTL_MOD` puts them in again, and a close
//! removes the entry only with the last descriptor of the open file.
//!
//! Prints the list after each step. Any running program can be looked at in the same way:
//! `cat /proc/PID/fdinfo/FD`.

#![forbid(unsafe_code)]

use epoll_sys::{Epoll, Events, Interest, Watch, socket};
use std::io;
use std::time::Duration;

/// `EPOLLERR | EPOLLHUP`, which are watched in any case.
const ALWAYS: u32 = 0x18;
const ONESHOT: u32 = 1 << 30;

fn main() -> io::Result<()> {
    println!("{:<40} entries: data=events", "after");
    let epoll = Epoll::new()?;
    let (once, peer) = socket::pair()?;
    let (shared, _other_peer) = socket::pair()?;
    assert_eq!(show(&epoll, "nothing is added")?, []);

    epoll.add(&once, 1, Watch::oneshot(Interest::IN))?;
    epoll.add(&shared, 2, Watch::level(Interest::IN | Interest::OUT))?;
    let armed = (1, ONESHOT | ALWAYS | Interest::IN.bits());
    let level = (2, ALWAYS | (Interest::IN | Interest::OUT).bits());
    assert_eq!(show(&epoll, "two are added")?, [armed, level]);

    socket::send(&peer, b"!")?;
    epoll.wait(&mut Events::with_capacity(16), Some(Duration::ZERO))?;
    // Not even errors: a source that is disarmed is silent, whatever happens to it.
    let disarmed = (1, ONESHOT);
    assert_eq!(show(&epoll, "the one-shot one is reported")?, [disarmed, level]);

    epoll.modify(&once, 1, Watch::oneshot(Interest::OUT))?;
    let changed = (1, ONESHOT | ALWAYS | Interest::OUT.bits());
    assert_eq!(show(&epoll, "it is armed, for OUT")?, [changed, level]);

    drop(once);
    assert_eq!(show(&epoll, "it is closed")?, [level]);

    let duplicate = shared.try_clone()?;
    drop(shared);
    assert_eq!(show(&epoll, "the other, of which a duplicate is open")?, [level]);

    drop(duplicate);
    assert_eq!(show(&epoll, "the duplicate is closed")?, []);
    Ok(())
}

/// Prints the entries and returns the data and the events of each.
fn show(epoll: &Epoll, after: &str) -> io::Result<Vec<(u64, u32)>> {
    let entries = epoll.interest_list()?.into_iter().map(|entry| (entry.data, entry.events));
    // The tree has them by the address of the open file.
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable();
    let shown = entries.iter().map(|(data, events)| format!("{data}={}", names(*events)));
    println!("{after:<40} {}", shown.collect::<Vec<_>>().join("  "));
    Ok(entries)
}

fn names(events: u32) -> String {
    let named = [
        (Interest::IN.bits(), "IN"),
        (Interest::OUT.bits(), "OUT"),
        (ALWAYS, "ERR|HUP"),
        (ONESHOT, "ONESHOT"),
    ];
    let names = named.into_iter().filter(|(bit, _)| events & bit != 0).map(|(_, name)| name);
    names.collect::<Vec<_>>().join("|")
}

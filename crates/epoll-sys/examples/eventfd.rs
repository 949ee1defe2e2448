//! An eventfd wakes a loop from elsewhere, and need never be read.
//!
//!     cargo run -p epoll-sys --example eventfd
//!
//! It is a counter, readable while it is not zero. With a level trigger it is reported until somebody
//! reads it: a second system call for each wake. With an edge trigger each write is a new edge, also
//! when the counter was not zero before, so a wake costs its write and the wait that it ends. Writes
//! between two waits come out as one event.
//!
//! Prints how many of ten waits return after what was written before each.

#![forbid(unsafe_code)]

use epoll_sys::{Epoll, EventFd, Events, Interest, Watch};
use std::io;
use std::time::Duration;

const WAITS: usize = 10;

fn main() -> io::Result<()> {
    println!("of {WAITS} waits, woken               level  edge");
    let silent = compare("nothing is written", |_| 0)?;
    let once = compare("written once, then never", |wait| usize::from(wait == 0))?;
    let each = compare("written before each", |_| 1)?;
    let thrice = compare("three times before each", |_| 3)?;
    assert_eq!(silent, (0, 0));
    assert_eq!(once, (WAITS, 1));
    assert_eq!(each, (WAITS, WAITS));
    assert_eq!(thrice, (WAITS, WAITS));
    Ok(())
}

fn compare(name: &str, writes: impl Fn(usize) -> usize) -> io::Result<(usize, usize)> {
    let level = woken(Watch::level(Interest::IN), &writes)?;
    let edge = woken(Watch::edge(Interest::IN), &writes)?;
    println!("  {name:<28}  {level:>4}  {edge:>4}");
    Ok((level, edge))
}

/// Returns the number of waits that report the counter, which nobody reads.
fn woken(watch: Watch, writes: impl Fn(usize) -> usize) -> io::Result<usize> {
    let (epoll, counter) = (Epoll::new()?, EventFd::new(0)?);
    epoll.add(&counter, 0, watch)?;
    let mut events = Events::with_capacity(16);
    let mut woken = 0;
    for wait in 0..WAITS {
        for _ in 0..writes(wait) {
            counter.write(1)?;
        }
        woken += epoll.wait(&mut events, Some(Duration::ZERO))?;
    }
    Ok(woken)
}

//! The flags of epoll, one by one.
//!
//!     cargo run -p epoll-sys --example flags
//!
//! `IN`, `OUT`, `PRI` and `RDHUP` are asked for. `ERR` and `HUP` come unasked, whatever the interest
//! is. `ET`, `ONESHOT`, `WAKEUP` and `EXCLUSIVE` say how a descriptor is watched, and are never
//! reported. The kernel refuses `EXCLUSIVE` with most of the others.
//!
//! Prints what a wait reports after something has happened, and which combinations are refused. The types of
//! this crate cannot express those, so they are made with rustix.

#![allow(unsafe_code, reason = "`epoll_create`, which no crate has any more")]

use epoll_sys::{
    Epoll, EventFd, Events, ExclusiveInterest, ExclusiveWatch, Interest, Watch, socket,
};
use rustix::event::epoll::{self, EventData, EventFlags};
use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// The number of the capability without which `WAKEUP` has no effect, capabilities(7).
const CAP_BLOCK_SUSPEND: u32 = 36;
const WAKEUP: u32 = 1 << 29;

fn main() -> io::Result<()> {
    println!("watched for      what happens                        reported");
    events()?;
    println!("\nwatched how      what is done                        outcome");
    triggers()?;
    println!("\ncombination                                          outcome");
    combinations()?;
    println!("\nepoll_create                                         outcome");
    assert_eq!(create(0).expect_err("refused").kind(), io::ErrorKind::InvalidInput);
    // The size was a hint for the kernel; since 2.6.8 it only has to be positive.
    let (epoll, source) = (create(1)?, [EventFd::new(0)?, EventFd::new(0)?]);
    for source in &source {
        epoll::add(&epoll, source, EventData::new_u64(0), EventFlags::IN)?;
    }
    println!("size 0                                               refused EINVAL");
    println!("size 1, and two descriptors are added                both are watched");
    Ok(())
}

/// Prints the events that a program requests, and those that are reported without a request.
fn events() -> io::Result<()> {
    let row = |interest: Interest, happens: &str, reported: &str| {
        println!(
            "{:<16} {happens:<35} {reported}",
            names(interest.iter_names().map(|(name, _)| name))
        );
    };
    let pair = tcp_pair;

    let (ours, theirs) = pair()?;
    socket::send(&theirs, b"hello")?;
    assert_eq!(report(&ours, Interest::IN)?, "IN");
    row(Interest::IN, "bytes arrive", "IN");

    assert_eq!(report(&ours, Interest::OUT)?, "OUT");
    row(Interest::OUT, "there is room to write", "OUT");

    theirs.shutdown(Shutdown::Write)?;
    assert_eq!(report(&ours, Interest::IN)?, "IN");
    row(Interest::IN, "the peer ends its writing half", "IN");
    assert_eq!(report(&ours, Interest::IN | Interest::RDHUP)?, "IN|RDHUP");
    row(Interest::IN | Interest::RDHUP, "the same", "IN|RDHUP");

    let (ours, theirs) = pair()?;
    socket::send_urgent(&theirs, b'!')?;
    assert_eq!(report(&ours, Interest::PRI)?, "PRI");
    row(Interest::PRI, "an urgent byte arrives", "PRI");
    assert_eq!(socket::recv_urgent(&ours)?, b'!');

    ours.shutdown(Shutdown::Write)?;
    drop(theirs);
    assert_eq!(report(&ours, Interest::empty())?, "HUP");
    row(Interest::empty(), "both halves have ended", "HUP");

    let (ours, theirs) = pair()?;
    socket::set_linger(&theirs, Some(Duration::ZERO))?;
    drop(theirs);
    assert_eq!(report(&ours, Interest::empty())?, "ERR|HUP");
    row(Interest::empty(), "the peer resets the connection", "ERR|HUP");
    Ok(())
}

/// Prints the events that each trigger reports.
fn triggers() -> io::Result<()> {
    let row = |how: &str, done: &str, outcome: &str| println!("{how:<16} {done:<35} {outcome}");
    for (how, watch, first, second, third) in [
        ("level", Watch::level(Interest::IN), 1, 1, 1),
        ("ET", Watch::edge(Interest::IN), 1, 0, 1),
        ("ONESHOT", Watch::oneshot(Interest::IN), 1, 0, 0),
    ] {
        let (ours, theirs) = socket::pair()?;
        let epoll = Epoll::new()?;
        epoll.add(&ours, 0, watch)?;
        let mut events = Events::with_capacity(1);
        let mut wait = || epoll.wait(&mut events, Some(Duration::ZERO));
        socket::send(&theirs, b"!")?;
        let told = [wait()?, wait()?];
        socket::send(&theirs, b"!")?;
        let told = [told[0], told[1], wait()?];
        assert_eq!(told, [first, second, third], "{how}");
        row(how, "a byte; nothing; a byte", &format!("events: {told:?}"));
    }

    let (epoll, source) = (Epoll::new()?, EventFd::new(0)?);
    epoll.add(&source, 0, Watch::level(Interest::IN).with_wakeup())?;
    let is_kept = epoll.interest_list()?.iter().any(|entry| entry.events & WAKEUP != 0);
    let may_be_kept = has_capability(CAP_BLOCK_SUSPEND)?;
    assert!(may_be_kept || !is_kept, "kept without the capability");
    let (done, outcome) = (
        if may_be_kept {
            "added with CAP_BLOCK_SUSPEND"
        } else {
            "added without CAP_BLOCK_SUSPEND"
        },
        // A kernel that cannot suspend takes it out for everybody.
        if is_kept { "kept" } else { "added, without the flag" },
    );
    row("WAKEUP", done, outcome);
    Ok(())
}

/// The combinations that the kernel refuses.
fn combinations() -> io::Result<()> {
    let epoll = Epoll::new()?;
    // Each is a source of its own: one that is watched already would be refused for that.
    let new = || EventFd::new(0);
    let add = |source: EventFd, flags| epoll::add(&epoll, source, EventData::new_u64(0), flags);
    let exclusive = EventFlags::EXCLUSIVE | EventFlags::IN;
    let inner = Epoll::new()?;
    let watched = EventFd::new(0)?;
    epoll.add_exclusive(&watched, 0, ExclusiveWatch::level(ExclusiveInterest::IN))?;
    let rows = [
        ("EXCLUSIVE with ET", add(new()?, exclusive | EventFlags::ET), true),
        ("EXCLUSIVE with WAKEUP", add(new()?, exclusive | EventFlags::WAKEUP), true),
        ("EXCLUSIVE with ONESHOT", add(new()?, exclusive | EventFlags::ONESHOT), false),
        ("EXCLUSIVE with RDHUP", add(new()?, exclusive | EventFlags::RDHUP), false),
        ("EXCLUSIVE with PRI", add(new()?, exclusive | EventFlags::PRI), false),
        (
            "EXCLUSIVE of an epoll descriptor",
            epoll::add(&epoll, &inner, EventData::new_u64(0), exclusive),
            false,
        ),
        (
            "MOD of what is watched with EXCLUSIVE",
            epoll::modify(&epoll, &watched, EventData::new_u64(0), EventFlags::IN),
            false,
        ),
        (
            "MOD to EXCLUSIVE",
            epoll::modify(&epoll, &watched, EventData::new_u64(0), exclusive),
            false,
        ),
        (
            "ET with ONESHOT",
            add(new()?, EventFlags::IN | EventFlags::ET | EventFlags::ONESHOT),
            true,
        ),
    ];
    for (name, outcome, is_allowed) in rows {
        let shown = match outcome {
            Ok(()) => "added".to_owned(),
            Err(error) => {
                assert_eq!(error, rustix::io::Errno::INVAL, "{name}");
                "refused EINVAL".to_owned()
            }
        };
        assert_eq!(outcome.is_ok(), is_allowed, "{name}");
        println!("{name:<52} {shown}");
    }
    Ok(())
}

/// Returns the names of what a wait reports of `source` when it is watched for this.
fn report(source: impl AsFd, interest: Interest) -> io::Result<String> {
    let epoll = Epoll::new()?;
    let mut events = Events::with_capacity(1);
    epoll.add(&source, 0, Watch::level(interest))?;
    // What the peer does takes a moment to arrive, and is the next thing that happens.
    epoll.wait(&mut events, None)?;
    let readiness = events.get(0).map(|event| event.readiness).unwrap_or_default();
    Ok(names(readiness.iter_names().map(|(name, _)| name)))
}

fn names(names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join("|") }
}

fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    Ok((ours, theirs))
}

fn has_capability(number: u32) -> io::Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    Ok(effective.unwrap_or_default() & (1 << number) != 0)
}

/// `epoll_create(size)`, for which `epoll_create1` is there since Linux 2.6.27.
fn create(size: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes a number and touches no memory.
    let fd = unsafe { libc::epoll_create(size) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

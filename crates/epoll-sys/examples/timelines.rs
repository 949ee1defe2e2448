//! The two triggers, step by step, over the same bytes.
//!
//!     cargo run -p epoll-sys --example timelines
//!
//! One socket is watched by two epoll instances, level-triggered by one and edge-triggered by the
//! other. After each step both are asked what is ready. The level trigger reports the socket for as
//! long as something is unread. The edge trigger reports that bytes have arrived, once: what is left
//! unread is not reported again until more arrives.
//!
//! Prints for each step how many bytes are unread, and what either wait returns. A wait that returns
//! nothing would block.

#![forbid(unsafe_code)]

use epoll_sys::{Epoll, Events, Interest, Watch, socket};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// An event before both waits.
#[derive(Clone, Copy)]
enum Step {
    Nothing,
    Arrive(usize),
    Read(usize),
}

/// The steps, and whether a level-triggered and an edge-triggered wait return then.
const TIMELINE: [(&str, Step, bool, bool); 9] = [
    ("nothing is there", Step::Nothing, false, false),
    ("100 bytes arrive", Step::Arrive(100), true, true),
    ("nothing is read", Step::Nothing, true, false),
    ("the program waits again", Step::Nothing, true, false),
    ("50 bytes are read", Step::Read(50), true, false),
    ("the program waits again", Step::Nothing, true, false),
    ("the other 50 are read", Step::Read(50), false, false),
    ("the program waits again", Step::Nothing, false, false),
    ("10 bytes arrive", Step::Arrive(10), true, true),
];

struct Scene {
    ours: OwnedFd,
    theirs: OwnedFd,
    level: Epoll,
    edge: Epoll,
    events: Events,
}

fn main() -> io::Result<()> {
    let (ours, theirs) = socket::pair()?;
    let (level, edge) = (Epoll::new()?, Epoll::new()?);
    level.add(&ours, 0, Watch::level(Interest::IN))?;
    edge.add(&ours, 0, Watch::edge(Interest::IN))?;
    let mut scene = Scene { ours, theirs, level, edge, events: Events::with_capacity(16) };

    println!("time  what happens             unread  level   edge");
    for (time, (name, step, level, edge)) in TIMELINE.into_iter().enumerate() {
        scene.take(step)?;
        let unread = socket::unread(&scene.ours)?;
        let (by_level, by_edge) = (scene.is_told(false)?, scene.is_told(true)?);
        let result = |is_told| if is_told { "IN" } else { "blocks" };
        let (of_level, of_edge) = (result(by_level), result(by_edge));
        println!("T{time}    {name:<24} {unread:>6}  {of_level:<6}  {of_edge}");
        assert_eq!((by_level, by_edge), (level, edge), "T{time}");
    }
    Ok(())
}

impl Scene {
    fn take(&self, step: Step) -> io::Result<()> {
        match step {
            Step::Nothing => {}
            Step::Arrive(len) => assert_eq!(socket::send(&self.theirs, &vec![b'x'; len])?, len),
            Step::Read(len) => assert_eq!(socket::recv(&self.ours, &mut vec![0; len])?, len),
        }
        Ok(())
    }

    /// Returns whether a wait that only looks reports the socket.
    fn is_told(&mut self, by_edge: bool) -> io::Result<bool> {
        let epoll = if by_edge { &self.edge } else { &self.level };
        Ok(epoll.wait(&mut self.events, Some(Duration::ZERO))? > 0)
    }
}

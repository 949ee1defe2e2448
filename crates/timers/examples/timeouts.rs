//! Idle timeouts: many connections, one timerfd, and no system call for a message.
//!
//!     cargo run -p epoll-timers --example timeouts
//!
//! Each connection is cut when it has sent nothing for 150 ms. Moving its timer at each message, or
//! setting a timerfd, would cost every message something. So a message only stores the time of the
//! last activity. When the timer fires, the connection is cut if it has been idle since, and otherwise
//! the timer is restarted for the deadline that holds by then. The timerfd is set when the earliest
//! deadline becomes earlier, or after it fired.
//!
//! Half of the connections fall silent at once and the others later. Prints the number of messages, of
//! connections cut, and how often the timerfd was reported and set.

use epoll_sys::{Epoll, Events, Interest, Watch, socket};
use epoll_timers::{Timers, Timestamp};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

const CONNECTIONS: usize = 100;
const IDLE: Duration = Duration::from_millis(150);
/// The time for which the other half keeps sending, and the pause between two messages.
const TALKING: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_millis(10);
/// The data of the timerfd's events; a connection's are its index.
const TIMERS: u64 = u64::MAX;

struct Connection {
    ours: OwnedFd,
    theirs: OwnedFd,
    last_activity: Timestamp,
    cut: Option<Timestamp>,
}

struct Scene {
    epoll: Epoll,
    timers: Timers<usize>,
    connections: Vec<Connection>,
    messages: usize,
    timer_reports: u64,
    next_word: Timestamp,
}

fn main() -> io::Result<()> {
    let mut scene = Scene::new()?;
    let start = scene.timers.now();
    while scene.connections.iter().any(|connection| connection.cut.is_none()) {
        scene.turn(start + TALKING)?;
    }

    let Scene { timers, connections, messages, timer_reports, .. } = scene;
    let settime_calls = timers.settime_calls();
    let silences = connections.iter().filter_map(|it| Some(it.cut? - it.last_activity));
    let shortest = silences.min().unwrap_or_default();
    println!("connections cut      {:>6}", connections.len());
    println!("shortest silence     {:>6} ms", shortest.as_millis());
    println!("messages             {messages:>6}");
    println!("timerfd reported     {timer_reports:>6}");
    println!("timerfd_settime      {settime_calls:>6}");
    assert!(shortest >= IDLE, "a timer fires late rather than early");
    // Set for the first deadline, and once each time it has fired.
    assert!(settime_calls <= 1 + timer_reports);
    Ok(())
}

impl Scene {
    fn new() -> io::Result<Self> {
        let (epoll, mut timers) = (Epoll::new()?, Timers::new()?);
        epoll.add(&timers, TIMERS, Watch::edge(Interest::IN))?;
        let mut connections = Vec::new();
        for index in 0..CONNECTIONS {
            let (ours, theirs) = socket::pair()?;
            epoll.add(&ours, index as u64, Watch::edge(Interest::IN))?;
            let last_activity = timers.now();
            timers.insert(last_activity + IDLE, index)?;
            connections.push(Connection { ours, theirs, last_activity, cut: None });
        }
        let next_word = timers.now();
        Ok(Self { epoll, timers, connections, messages: 0, timer_reports: 0, next_word })
    }

    /// Sends a message from half of the peers when it is time to, and serves what is ready.
    fn turn(&mut self, talking_ends: Timestamp) -> io::Result<()> {
        let before = self.timers.now();
        if (self.next_word..talking_ends).contains(&before) {
            self.next_word = before + PAUSE;
            for connection in &self.connections[CONNECTIONS / 2..] {
                socket::send(&connection.theirs, b"still here")?;
            }
        }
        let mut events = Events::with_capacity(CONNECTIONS + 1);
        self.epoll.wait(&mut events, Some(PAUSE))?;
        // Read once a turn: all events of the turn count as of this time.
        let now = self.timers.now();
        let mut is_due = false;
        for event in events.iter() {
            match self.connections.get_mut(usize::try_from(event.data).unwrap_or(usize::MAX)) {
                Some(connection) => {
                    // Zero, the end of the stream, is no activity; these peers do not send it. A
                    // short read has taken all there is, so an edge trigger asks for no other one.
                    if socket::recv(&connection.ours, &mut [0; 64])? > 0 {
                        connection.last_activity = now;
                        self.messages += 1;
                    }
                }
                None => is_due = true,
            }
        }
        // Last, so that a connection whose message was in the same batch is not cut.
        if is_due { self.expire(now) } else { Ok(()) }
    }

    fn expire(&mut self, now: Timestamp) -> io::Result<()> {
        self.timer_reports += 1;
        while let Some(fired) = self.timers.next_due(now)? {
            let Some(connection) = self.connections.get_mut(fired.value) else { continue };
            let deadline = connection.last_activity + IDLE;
            if deadline <= now {
                connection.cut = Some(now);
            } else {
                self.timers.restart(fired, deadline)?;
            }
        }
        Ok(())
    }
}

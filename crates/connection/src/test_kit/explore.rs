//! Every way in which the same input can come.

use super::{Act, Driver, Trigger};
use crate::{CloseReason, Limits, Protocol};
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

/// The input of [`explore`], and the protocols that it drives.
pub struct Exploration<'a, P: Protocol> {
    protocol: Box<dyn Fn() -> P + 'a>,
    local: Box<dyn Fn() -> P::Local + 'a>,
    input: Vec<u8>,
    messages: Vec<P::Message>,
    limits: Limits,
}

impl<'a, P: Protocol> Exploration<'a, P> {
    /// An exploration of protocols that `protocol` makes, each with a state of the thread that `local`
    /// makes. The same input has to give the same output.
    pub fn new(protocol: impl Fn() -> P + 'a, local: impl Fn() -> P::Local + 'a) -> Self {
        Self {
            protocol: Box::new(protocol),
            local: Box::new(local),
            input: Vec::new(),
            messages: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Sets the bytes that the peer sends before it closes its half. Every byte is a place to split them.
    #[must_use]
    pub fn input(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self
    }

    /// Sets the messages that are given to the connection, all of them at every place.
    #[must_use]
    pub fn messages(mut self, messages: Vec<P::Message>) -> Self {
        self.messages = messages;
        self
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    fn driver(&self, trigger: Trigger) -> Driver<P> {
        let (protocol, local) = ((self.protocol)(), (self.local)());
        Driver::with_limits(trigger, protocol, local, self.limits.clone())
    }

    /// Returns the input, cut at these places.
    fn pieces(&self, cuts: &[usize]) -> Vec<Act> {
        let ends = cuts.iter().copied().chain([self.input.len()]);
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let pieces = starts.zip(ends).filter(|(start, end)| start != end);
        pieces.map(|(start, end)| Act::Arrive(self.input[start..end].to_vec())).collect()
    }
}

impl<P: Protocol> fmt::Debug for Exploration<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exploration")
            .field("input", &self.input.len())
            .field("messages", &self.messages.len())
            .finish_non_exhaustive()
    }
}

/// The numbers of bytes that the peer takes at a time.
const ROOMS: [usize; 3] = [1, 3, 1 << 20];

/// A thing that an owner does at some place of the input.
#[derive(Clone, Copy, Debug)]
enum Owner {
    Drain,
    Finish,
    End,
    Deadline,
    Messages,
}

/// Drives a protocol through every split of its input, with short writes, and with interruptions, resets,
/// drains, ends, deadlines and messages at every place. Returns the number of runs.
///
/// # Panics
///
/// If something does not hold that the [kit](crate::test_kit) checks, or if the output depends on how the
/// input was split, what room there was, or what was interrupted.
#[track_caller]
pub fn explore<P: Protocol>(exploration: &Exploration<'_, P>) -> usize {
    let expected = {
        let mut driver = exploration.driver(Trigger::Level);
        driver.act(Act::Room(1 << 24));
        run(&mut driver, exploration.pieces(&[]), 1 << 24);
        driver.sent()
    };
    let mut runs = 0;
    let len = exploration.input.len();
    let every_byte: Vec<_> = (1..len).collect();
    let pairs = (1..len).flat_map(|one| (one..len).map(move |other| vec![one, other]));
    // Pairs of places grow with the square of the length; beyond that every place by itself.
    let cuts: Vec<Vec<usize>> = if len <= 40 {
        pairs.chain([vec![], every_byte]).collect()
    } else {
        (1..len).map(|cut| vec![cut]).chain([vec![], every_byte]).collect()
    };
    for trigger in [Trigger::Level, Trigger::Edge] {
        for cut in &cuts {
            for room in ROOMS {
                for end in [End::Later, End::WithTheLast] {
                    let mut driver = exploration.driver(trigger);
                    run_to(end, &mut driver, exploration.pieces(cut), room);
                    assert_sent(
                        &driver,
                        &expected,
                        format_args!("cut at {cut:?}, {room} bytes of room"),
                    );
                    runs += 1;
                }
            }
        }
        runs += disturb(exploration, trigger, &expected);
        for place in 0..=len {
            for owner in [Owner::Drain, Owner::Finish, Owner::End, Owner::Deadline, Owner::Messages]
            {
                for room in ROOMS {
                    own(exploration, trigger, place, owner, room);
                    runs += 1;
                }
            }
        }
    }
    runs
}

/// Checks that the output is the same as ever, and shows both as text where it is not.
#[track_caller]
fn assert_sent<P: Protocol>(driver: &Driver<P>, expected: &[u8], run: fmt::Arguments<'_>) {
    let (sent, expected) = (driver.sent().escape_ascii().to_string(), expected.escape_ascii());
    assert_eq!(sent, expected.to_string(), "{run}");
}

/// Interrupts, and resets, at every read and write.
#[track_caller]
fn disturb<P: Protocol>(
    exploration: &Exploration<'_, P>,
    trigger: Trigger,
    expected: &[u8],
) -> usize {
    let cut = exploration.input.len() / 2;
    let calls = {
        let mut driver = exploration.driver(trigger);
        run(&mut driver, exploration.pieces(&[cut]), 3);
        driver.calls()
    };
    for call in 0..calls {
        let before = std::iter::repeat_n(Act::Pass, call);
        let mut driver = exploration.driver(trigger);
        driver.act_during(before.clone().chain([Act::Interrupt]));
        run(&mut driver, exploration.pieces(&[cut]), 3);
        assert_sent(&driver, expected, format_args!("call {call} was interrupted"));

        let mut driver = exploration.driver(trigger);
        driver.act_during(before.chain([Act::Reset]));
        run(&mut driver, exploration.pieces(&[cut]), 3);
        let reset = CloseReason::Failed(ErrorKind::ConnectionReset);
        assert_eq!(driver.closed(), Some(reset), "reset at call {call}");
    }
    2 * calls
}

/// Makes the owner act when the input has come to `place`.
#[track_caller]
fn own<P: Protocol>(
    exploration: &Exploration<'_, P>,
    trigger: Trigger,
    place: usize,
    owner: Owner,
    room: usize,
) {
    let mut driver = exploration.driver(trigger);
    driver.act(Act::Room(room));
    driver.act(Act::Arrive(exploration.input[..place].to_vec()));
    match owner {
        Owner::Drain => driver.drain(),
        Owner::Finish => driver.finish(),
        Owner::End => driver.end(),
        Owner::Deadline => driver.pass_time(Duration::from_secs(1 << 30)),
        Owner::Messages => driver.message(&exploration.messages),
    }
    run(&mut driver, vec![Act::Arrive(exploration.input[place..].to_vec())], room);
}

/// The moment at which the peer closes its half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// After everything else, in a report of its own.
    Later,
    /// Together with the last bytes: one report announces both.
    WithTheLast,
}

#[track_caller]
fn run<P: Protocol>(driver: &mut Driver<P>, pieces: Vec<Act>, room: usize) {
    run_to(End::Later, driver, pieces, room);
}

/// Sends `pieces`, takes `room` bytes at a time, closes the peer's half, and has the connection end.
#[track_caller]
fn run_to<P: Protocol>(end: End, driver: &mut Driver<P>, pieces: Vec<Act>, room: usize) {
    let last = pieces.len().wrapping_sub(1);
    for (index, piece) in pieces.into_iter().enumerate() {
        driver.prepare(piece);
        driver.act(if index == last && end == End::WithTheLast { Act::Fin } else { Act::Pass });
        driver.act(Act::Room(room));
    }
    driver.end_well();
    if driver.closed().is_none() {
        // A protocol may go on after the end of its peer's half; its owner ends it.
        driver.pass_time(Duration::from_secs(1 << 30));
        driver.end();
    }
    assert!(driver.closed().is_some(), "the connection does not end");
}

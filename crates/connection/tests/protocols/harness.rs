//! The protocols of the tests. Invariant: each does what its input, its messages or its fields say, so that
//! a test reads as a script.

use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Consumed, Context, Flow, Limits, Protocol};
use std::num::NonZeroUsize;
use std::time::Duration;

pub(crate) const BOTH: [Trigger; 2] = [Trigger::Level, Trigger::Edge];

/// More than any test writes.
pub(crate) const PLENTY: Act = Act::Room(1 << 24);

/// The callbacks of a thread, in order.
pub(crate) type Calls = Vec<String>;

pub(crate) type ObedientContext<'a> = Context<'a, Calls, &'static str>;

/// Takes lines, and obeys each: commands with `;` between them. Messages are commands too, and each other
/// callback obeys the field of its name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Obedient {
    pub(crate) open: &'static str,
    pub(crate) overflow: &'static str,
    pub(crate) peer_finished: &'static str,
    pub(crate) written: &'static str,
    pub(crate) deadline: &'static str,
    pub(crate) drain: &'static str,
    pub(crate) finish: &'static str,
    pub(crate) close: &'static str,
    pub(crate) is_busy: bool,
}

impl Obedient {
    pub(crate) const NEW: Self = Self {
        open: "keep",
        overflow: "abort",
        peer_finished: "finish",
        written: "keep",
        deadline: "finish",
        drain: "keep",
        finish: "",
        close: "",
        is_busy: false,
    };
}

/// Does what `commands` say, and returns how they end.
fn obey(commands: &str, context: &mut ObedientContext<'_>) -> Flow {
    let mut flow = Flow::Keep;
    for command in commands.split(';').map(str::trim).filter(|command| !command.is_empty()) {
        let (verb, object) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "say" => context.write(object.as_bytes()),
            "after" => context.set_deadline(Some(Duration::from_secs(object.parse().unwrap()))),
            "never" => context.set_deadline(None),
            "end" => context.end_output(),
            "keep" => flow = Flow::Keep,
            "read" => flow = Flow::Read,
            "pause" => flow = Flow::Pause,
            "produce" => flow = Flow::Produce,
            "finish" => flow = Flow::Finish,
            "abort" => flow = Flow::Abort,
            _ => panic!("no command: {command}"),
        }
    }
    flow
}

fn note_and_obey(
    call: impl Into<String>,
    commands: &str,
    context: &mut ObedientContext<'_>,
) -> Flow {
    context.local().push(call.into());
    obey(commands, context)
}

impl Protocol for Obedient {
    type Local = Calls;
    type Message = &'static str;

    fn on_open(&mut self, context: &mut ObedientContext<'_>) -> Flow {
        note_and_obey("open", self.open, context)
    }

    fn on_input(&mut self, input: &mut [u8], context: &mut ObedientContext<'_>) -> Consumed {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            return Consumed::nothing();
        };
        let line = std::str::from_utf8(&input[..end]).unwrap();
        let flow = note_and_obey(line, line, context);
        Consumed::bytes(end + 1).then(flow)
    }

    fn on_overflow(&mut self, context: &mut ObedientContext<'_>) -> Flow {
        note_and_obey("overflow", self.overflow, context)
    }

    fn on_peer_finished(&mut self, rest: &[u8], context: &mut ObedientContext<'_>) -> Flow {
        let call = format!("peer finished after {:?}", std::str::from_utf8(rest).unwrap());
        note_and_obey(call, self.peer_finished, context)
    }

    fn on_message(&mut self, message: &&'static str, context: &mut ObedientContext<'_>) -> Flow {
        let pending = context.pending();
        note_and_obey(format!("message with {pending} pending"), message, context)
    }

    fn on_written(&mut self, context: &mut ObedientContext<'_>) -> Flow {
        note_and_obey("written", self.written, context)
    }

    fn on_deadline(&mut self, context: &mut ObedientContext<'_>) -> Flow {
        note_and_obey("deadline", self.deadline, context)
    }

    fn on_drain(&mut self, context: &mut ObedientContext<'_>) -> Flow {
        note_and_obey("drain", self.drain, context)
    }

    fn on_finish(&mut self, context: &mut ObedientContext<'_>) {
        let _ = note_and_obey("last words", self.finish, context);
    }

    fn on_close(&mut self, reason: CloseReason, context: &mut ObedientContext<'_>) {
        let _ = note_and_obey(format!("{reason:?}"), self.close, context);
    }

    fn is_busy(&self) -> bool {
        self.is_busy
    }
}

/// A driver of an [`Obedient`] with room for everything.
#[track_caller]
pub(crate) fn obedient(trigger: Trigger, protocol: Obedient) -> Driver<Obedient> {
    obedient_with(trigger, protocol, Limits::default())
}

#[track_caller]
pub(crate) fn obedient_with(
    trigger: Trigger,
    protocol: Obedient,
    limits: Limits,
) -> Driver<Obedient> {
    let mut driver = Driver::with_limits(trigger, protocol, Calls::new(), limits);
    driver.act(PLENTY);
    driver
}

/// The default limits, with a read buffer of `len` bytes.
pub(crate) fn buffer(len: usize) -> Limits {
    Limits { read_buffer_len: NonZeroUsize::new(len).unwrap(), ..Limits::default() }
}

#[track_caller]
pub(crate) fn arrive<P: Protocol>(driver: &mut Driver<P>, bytes: impl AsRef<[u8]>) {
    driver.act(Act::Arrive(bytes.as_ref().to_vec()));
}

/// Takes frames, each behind its length in two bytes, and sends each back. Asks for the length of a frame as
/// soon as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Frames;

impl Frames {
    pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(bytes.len()).unwrap();
        [&len.to_be_bytes()[..], bytes].concat()
    }
}

impl Protocol for Frames {
    /// The number of times that input was shown.
    type Local = usize;
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], context: &mut Context<'_, usize, ()>) -> Consumed {
        *context.local() += 1;
        let Some(len) = input.first_chunk::<2>() else { return Consumed::need(2) };
        let len = 2 + usize::from(u16::from_be_bytes(*len));
        if input.len() < len {
            return Consumed::need(len);
        }
        context.write(&input[..len]);
        // The next length is needed even if nothing of it is there.
        Consumed { need: 2, ..Consumed::bytes(len) }
    }
}

/// Answers its input by one answer after the other, and then takes everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers(pub(crate) Vec<Consumed>);

impl Protocol for Answers {
    /// The inputs that were shown.
    type Local = Vec<Vec<u8>>;
    type Message = Flow;

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, Flow>,
    ) -> Consumed {
        context.local().push(input.to_vec());
        if self.0.is_empty() { Consumed::bytes(input.len()) } else { self.0.remove(0) }
    }

    fn on_message(&mut self, flow: &Flow, _: &mut Context<'_, Self::Local, Flow>) -> Flow {
        *flow
    }
}

/// A driver of [`Answers`] with room for everything.
#[track_caller]
pub(crate) fn answers(trigger: Trigger, answers: &[Consumed], limits: Limits) -> Driver<Answers> {
    let mut driver = Driver::with_limits(trigger, Answers(answers.to_vec()), Vec::new(), limits);
    driver.act(PLENTY);
    driver
}

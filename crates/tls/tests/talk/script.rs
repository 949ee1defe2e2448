//! The inner protocol of the tests, which does what its input says.

use epoll_connection::{CloseReason, Consumed, Context, Flow, Protocol};
use epoll_tls::Handshake;
use std::time::Duration;

/// The callbacks of a thread, in order.
pub(crate) type Calls = Vec<String>;

type ScriptContext<'a> = Context<'a, Calls, &'static str>;

/// Takes lines, and does what each says: commands with `;` between them. Messages are commands too, and each other
/// callback does what the field of its name says.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) open: &'static str,
    pub(crate) overflow: &'static str,
    pub(crate) peer_finished: &'static str,
    pub(crate) written: &'static str,
    pub(crate) deadline: &'static str,
    pub(crate) drain: &'static str,
    pub(crate) finish: &'static str,
    pub(crate) is_busy: bool,
    /// The outcome of the handshake.
    pub(crate) handshake: String,
}

impl Script {
    pub(crate) const NEW: Self = Self {
        open: "keep",
        overflow: "abort",
        peer_finished: "finish",
        written: "keep",
        deadline: "finish",
        drain: "keep",
        finish: "",
        is_busy: false,
        handshake: String::new(),
    };

    /// Notes what the handshake has come to.
    pub(crate) fn note(&mut self, handshake: &Handshake<'_>) {
        let alpn = handshake.alpn().map(String::from_utf8_lossy);
        let certificates = handshake.peer_certificates().len();
        let version = handshake.version().unwrap();
        let resumed = if handshake.is_resumed() { " resumed" } else { "" };
        self.handshake = format!("{version:?} {alpn:?} {certificates}{resumed}");
    }
}

fn obey(commands: &str, context: &mut ScriptContext<'_>) -> Consumed {
    let mut consumed = Consumed::nothing();
    for command in commands.split(';').map(str::trim).filter(|command| !command.is_empty()) {
        let (verb, object) = command.split_once(' ').unwrap_or((command, ""));
        let number = || object.parse::<usize>().unwrap();
        match verb {
            "say" => context.write(object.as_bytes()),
            "line" => context.write(format!("{object}\n").as_bytes()),
            "fill" => context.write(&vec![b'x'; number()]),
            "after" => context.set_deadline(Some(Duration::from_secs(number() as u64))),
            "end" => context.end_output(),
            "need" => consumed.need = number(),
            "take" => consumed.bytes = number(),
            "keep" => consumed.flow = Flow::Keep,
            "read" => consumed.flow = Flow::Read,
            "pause" => consumed.flow = Flow::Pause,
            "produce" => consumed.flow = Flow::Produce,
            "finish" => consumed.flow = Flow::Finish,
            "abort" => consumed.flow = Flow::Abort,
            _ => panic!("no command: {command}"),
        }
    }
    consumed
}

fn note_and_obey(call: String, commands: &str, context: &mut ScriptContext<'_>) -> Flow {
    context.local().push(call);
    obey(commands, context).flow
}

impl Protocol for Script {
    type Local = Calls;
    type Message = &'static str;

    fn on_open(&mut self, context: &mut ScriptContext<'_>) -> Flow {
        note_and_obey("open".into(), self.open, context)
    }

    fn on_input(&mut self, input: &mut [u8], context: &mut ScriptContext<'_>) -> Consumed {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            return Consumed::nothing();
        };
        let line = String::from_utf8(input[..end].to_vec()).unwrap();
        let consumed = obey(&line, context);
        context.local().push(line);
        Consumed { bytes: consumed.bytes.max(end + 1), ..consumed }
    }

    fn on_overflow(&mut self, context: &mut ScriptContext<'_>) -> Flow {
        note_and_obey("overflow".into(), self.overflow, context)
    }

    fn on_peer_finished(&mut self, rest: &[u8], context: &mut ScriptContext<'_>) -> Flow {
        let call = format!("peer finished after {:?}", std::str::from_utf8(rest).unwrap());
        note_and_obey(call, self.peer_finished, context)
    }

    fn on_message(&mut self, message: &&'static str, context: &mut ScriptContext<'_>) -> Flow {
        note_and_obey(format!("message {message}"), message, context)
    }

    fn on_written(&mut self, context: &mut ScriptContext<'_>) -> Flow {
        note_and_obey("written".into(), self.written, context)
    }

    fn on_deadline(&mut self, context: &mut ScriptContext<'_>) -> Flow {
        note_and_obey("deadline".into(), self.deadline, context)
    }

    fn on_drain(&mut self, context: &mut ScriptContext<'_>) -> Flow {
        note_and_obey("drain".into(), self.drain, context)
    }

    fn on_finish(&mut self, context: &mut ScriptContext<'_>) {
        let _ = note_and_obey("last words".into(), self.finish, context);
    }

    fn on_close(&mut self, reason: CloseReason, context: &mut ScriptContext<'_>) {
        let _ = note_and_obey(format!("{reason:?}"), "say lost", context);
    }

    fn is_busy(&self) -> bool {
        self.is_busy
    }
}

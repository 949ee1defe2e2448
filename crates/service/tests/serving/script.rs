//! A protocol that does what its clients say, a line at a time.

use epoll_kit_testing::DEADLINE;
use epoll_reactor::epoll_sys::Timestamp;
use epoll_reactor::net::{Address, Peer};
use epoll_service::Service;
use epoll_service::epoll_connection::{
    CloseReason, ConnectionId, Consumed, Context, Flow, Protocol,
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The state that a test and its protocols share.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
pub(crate) struct State {
    /// The connections that have registered.
    pub(crate) ids: Vec<ConnectionId>,
    /// The notes of callbacks.
    pub(crate) log: Vec<String>,
    /// The address that `connect` connects to.
    pub(crate) target: Option<Address>,
    /// The place where the service panics.
    pub(crate) service_panics_in: &'static str,
    pub(crate) declines: bool,
    /// The callback of which the first call holds its thread, and all its calls: the time of the turn and the
    /// connection.
    pub(crate) visited_in: &'static str,
    pub(crate) visits: Vec<(Timestamp, ConnectionId)>,
    /// Threads that hold their connection go on.
    pub(crate) gate_is_open: bool,
}

impl World {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn note(&self, what: String) {
        self.state().log.push(what);
        self.0.1.notify_all();
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.state().log.iter().filter(|noted| *noted == what).count()
    }

    #[track_caller]
    pub(crate) fn await_note(&self, what: &str) {
        let state = self.state();
        let is_missing = |state: &mut State| !state.log.iter().any(|noted| noted == what);
        let (state, waited) =
            self.0.1.wait_timeout_while(state, DEADLINE, is_missing).expect("no poison");
        assert!(!waited.timed_out(), "{what:?} is not in {:?}", state.log);
    }

    pub(crate) fn open_gate(&self) {
        self.state().gate_is_open = true;
        self.0.1.notify_all();
    }

    /// Notes a callback that a pass over all connections calls.
    fn visit(&self, place: &'static str, context: &mut Surroundings<'_>) {
        let visit = (context.now(), context.id());
        let mut state = self.state();
        if state.visited_in != place {
            return;
        }
        state.visits.push(visit);
        let is_first = state.visits.len() == 1;
        drop(state);
        if is_first {
            self.pass_gate();
        }
    }

    fn pass_gate(&self) {
        self.note("held".to_owned());
        let is_shut = |state: &mut State| !state.gate_is_open;
        let waited = self.0.1.wait_timeout_while(self.state(), DEADLINE, is_shut);
        let is_open = waited.is_ok_and(|(_, waited)| !waited.timed_out());
        assert!(is_open, "nobody has opened the gate");
    }
}

/// Makes protocols that obey.
pub(crate) struct Script(World);

impl Script {
    pub(crate) fn of(world: &World) -> Self {
        Self(world.clone())
    }

    fn panics(&self, place: &str) {
        assert_ne!(self.0.state().service_panics_in, place, "as the test wants it");
    }

    fn make(&self, name: &str) -> Obey {
        let panics_in = match name.split_once(' ') {
            Some(("panic", place)) => place.to_owned(),
            _ => String::new(),
        };
        Obey {
            world: self.0.clone(),
            name: name.to_owned(),
            panics_in,
            is_paused: false,
            is_busy: false,
            has_ended: false,
            forwards_to: None,
        }
    }
}

impl Service for Script {
    type Protocol = Obey;

    fn local(&self, thread: usize) -> usize {
        self.panics("local");
        if thread > 0 {
            self.panics("another local");
        }
        thread
    }

    fn accept(&self, _: usize, _: &Peer, _: &mut usize) -> Option<Obey> {
        self.panics("accept");
        let panics_in = self.0.state().service_panics_in;
        let name = if panics_in == "on_open" { "panic on_open" } else { "accepted" };
        (!self.0.state().declines).then(|| self.make(name))
    }

    fn connect(&self, _: ConnectionId, message: String, _: &mut usize) -> Option<Obey> {
        self.panics("connect");
        Some(self.make(&message))
    }
}

pub(crate) struct Obey {
    world: World,
    name: String,
    panics_in: String,
    is_paused: bool,
    is_busy: bool,
    has_ended: bool,
    /// The connection to which everything goes that comes, up to a line that says `stop` and comes by itself.
    forwards_to: Option<ConnectionId>,
}

type Surroundings<'a> = Context<'a, usize, String>;

impl Obey {
    fn panics(&self, place: &str) {
        assert_ne!(self.panics_in, place, "as the test wants it");
    }

    fn note(&self, what: &str) {
        self.world.note(format!("{} {what}", self.name));
    }

    fn number(&self, at: &str) -> ConnectionId {
        self.world.state().ids[at.parse::<usize>().expect("a number")]
    }

    fn obey(&mut self, line: &str, context: &mut Surroundings<'_>) -> Flow {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "echo" => context.write(format!("{rest}\n").as_bytes()),
            "thread" => {
                let thread = *context.local();
                context.write(format!("{thread}\n").as_bytes());
            }
            "id" => {
                let mut state = self.world.state();
                state.ids.push(context.id());
                context.write(format!("{}\n", state.ids.len() - 1).as_bytes());
            }
            "to" => {
                let (to, message) = rest.split_once(' ').expect("a message");
                let to = self.number(to);
                context.send(to, message.to_owned());
            }
            "all" => context.broadcast(rest.to_owned()),
            "connect" => {
                let target = self.world.state().target.expect("a target");
                context.connect(target, rest.to_owned());
            }
            "panic" => {
                self.panics_in = rest.to_owned();
                context.write(b"ready\n");
                match rest {
                    "on_deadline" => context.set_deadline(Some(Duration::ZERO)),
                    "on_written" => return Flow::Produce,
                    "on_finish" => return Flow::Finish,
                    "on_close" => return Flow::Abort,
                    _ => {}
                }
            }
            "deadline" => {
                context.set_deadline(Some(Duration::from_millis(rest.parse().expect("a number"))));
                context.write(b"set\n");
            }
            "busy" => {
                self.is_busy = rest == "yes";
                context.write(b"noted\n");
            }
            "flood" => context.write(&vec![b'x'; rest.parse().expect("a number")]),
            "link" => {
                self.forwards_to = Some(self.number(rest));
                context.write(b"linked\n");
            }
            "end" => {
                self.has_ended = true;
                context.end_output();
            }
            "note" => self.note(rest),
            "hold" => self.world.pass_gate(),
            "pause" => {
                self.is_paused = true;
                return Flow::Pause;
            }
            "finish" => return Flow::Finish,
            "write-after-end" => {
                context.end_output();
                self.panics_in = "write".to_owned();
            }
            other => panic!("what is {other:?}?"),
        }
        Flow::Keep
    }
}

impl Protocol for Obey {
    type Local = usize;
    type Message = String;

    fn on_open(&mut self, _: &mut Surroundings<'_>) -> Flow {
        self.panics("on_open");
        self.note("open");
        Flow::Keep
    }

    fn on_input(&mut self, input: &mut [u8], context: &mut Surroundings<'_>) -> Consumed {
        self.panics("on_input");
        if self.panics_in == "write" {
            context.write(b"too late\n");
        }
        if let Some(to) = self.forwards_to {
            let Some(link) = context.link(to) else {
                return Consumed::nothing().then(Flow::Abort);
            };
            if input != b"stop\n" {
                return Consumed::forward(input.len(), link);
            }
            self.forwards_to = None;
            context.write(b"stopped\n");
            return Consumed::bytes(input.len());
        }
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            return Consumed::nothing();
        };
        let line = String::from_utf8_lossy(&input[..end]).into_owned();
        if line == "consume-too-much" {
            return Consumed::bytes(input.len() + 1);
        }
        if let Some(len) = line.strip_prefix("need ") {
            return Consumed::need(len.parse().expect("a number"));
        }
        Consumed::bytes(end + 1).then(self.obey(&line, context))
    }

    fn on_message(&mut self, message: &String, context: &mut Surroundings<'_>) -> Flow {
        self.panics("on_message");
        if let Some((next, back)) = message.strip_prefix("ball ").and_then(|at| at.split_once(' '))
        {
            let to = self.number(next);
            tracing::trace!(target: "epoll_service_tests", "ball");
            context.send(to, format!("ball {back} {next}"));
            return Flow::Keep;
        }
        if let Some(after) = message.strip_prefix("dated ") {
            context.set_deadline(Some(Duration::from_millis(after.parse().expect("a number"))));
        } else {
            // The thread looks at its clock.
            self.world.visit("on_message", context);
        }
        if !self.has_ended {
            context.write(format!("{message}\n").as_bytes());
        }
        if std::mem::take(&mut self.is_paused) { Flow::Read } else { Flow::Keep }
    }

    fn on_forwarded(&mut self, _: &[u8], _: &mut Surroundings<'_>) -> bool {
        self.panics("on_forwarded");
        false
    }

    fn on_peer_finished(&mut self, _: &[u8], _: &mut Surroundings<'_>) -> Flow {
        if self.world.state().service_panics_in == "never ends" { Flow::Keep } else { Flow::Finish }
    }

    fn on_written(&mut self, _: &mut Surroundings<'_>) -> Flow {
        self.panics("on_written");
        Flow::Keep
    }

    fn on_deadline(&mut self, context: &mut Surroundings<'_>) -> Flow {
        self.panics("on_deadline");
        context.write(b"deadline\n");
        Flow::Keep
    }

    fn on_drain(&mut self, context: &mut Surroundings<'_>) -> Flow {
        self.note("drain");
        self.world.visit("on_drain", context);
        self.panics("on_drain");
        context.write(b"drain\n");
        if self.panics_in == "finishes" { Flow::Finish } else { Flow::Keep }
    }

    fn on_finish(&mut self, _: &mut Surroundings<'_>) {
        self.panics("on_finish");
    }

    fn on_close(&mut self, reason: CloseReason, _: &mut Surroundings<'_>) {
        self.note(&format!("close {reason:?}"));
        self.panics("on_close");
        self.panics("on_close when cut");
    }

    fn is_busy(&self) -> bool {
        self.panics("is_busy");
        self.is_busy
    }

    fn passes_everything(&self, _: &usize) -> bool {
        self.panics("passes_everything");
        false
    }
}

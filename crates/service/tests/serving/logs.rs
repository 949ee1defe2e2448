//! Tests of a server's logs: the counters when a signal asks for them and at the end, and the warnings.

use crate::script::{Script, World};
use crate::support::{Client, MODES, Running, config, for_every_mode, serve, terminate};
use epoll_kit_testing::eventually;
use epoll_service::{Config, Server, Signal, Signals};
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const COUNTERS: &str = "connections so far";
const DROPPED: &str = "messages were dropped: too many wait for a thread";

/// The fields of an event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logged(BTreeMap<&'static str, String>);

impl Logged {
    pub(crate) fn values<const N: usize>(&self, names: [&str; N]) -> [&str; N] {
        names.map(|name| self.0.get(name).map_or("", String::as_str))
    }
}

impl Visit for Logged {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

/// Everything that this process logs.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<Logged>>>);

impl Logs {
    pub(crate) fn collect() -> Self {
        let logs = Self::default();
        tracing::subscriber::set_global_default(logs.clone()).expect("no other one");
        logs
    }

    fn all(&self) -> MutexGuard<'_, Vec<Logged>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clear(&self) {
        self.all().clear();
    }

    /// Returns which of these messages came, in order.
    pub(crate) fn messages<const N: usize>(&self, of: [&'static str; N]) -> Vec<&'static str> {
        let of_event =
            |logged: &Logged| of.into_iter().find(|one| logged.values(["message"]) == [*one]);
        self.all().iter().filter_map(of_event).collect()
    }

    /// Returns the events with this message, in order.
    pub(crate) fn of(&self, message: &str) -> Vec<Logged> {
        let all = self.all();
        all.iter().filter(|logged| logged.values(["message"]) == [message]).cloned().collect()
    }
}

impl Subscriber for Logs {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("epoll_service")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut logged = Logged::default();
        event.record(&mut logged);
        self.all().push(logged);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Asks for the counters, and returns the sums over all connections.
pub(crate) fn counters(logs: &Logs) -> Logged {
    let before = logs.of(COUNTERS).len();
    // Not one that whoever starts the tests may have ignored, as `nohup` does.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1)
        .expect("a signal to the own process");
    eventually("the counters are logged", || logs.of(COUNTERS).len() > before);
    logs.of(COUNTERS).pop().expect("it was just seen")
}

pub(crate) fn counters_are_logged_when_a_signal_asks_for_them_and_at_the_end() {
    let logs = Logs::collect();
    let signals = Signals::block([Signal::TERM, Signal::INT, Signal::USR1]).unwrap();
    for (mode, threads) in MODES.into_iter().flat_map(|mode| [(mode, 1), (mode, 3)]) {
        for cuts in [false, true] {
            logs.clear();
            let (logged, loops) = (logs.clone(), if mode.is_shared() { 1 } else { threads });
            let ended =
                serve(&signals, &config(mode, threads), &World::default(), move |running| {
                    let clients = ask_for_counters(running, &logged, loops as usize);
                    end(clients, cuts);
                });
            assert_eq!(ended.cut, if cuts { 2 } else { 0 }, "{mode:?}");
            let cut = logs.of("cut before they had finished");
            let cut: Vec<_> = cut.iter().map(|one| one.values(["connections"])).collect();
            assert_eq!(cut, if cuts { vec![["2"]] } else { Vec::new() }, "{mode:?}");
            let [stopped] = &logs.of("stopped")[..] else { panic!("one for the server") };
            let sums =
                if cuts { ["3", "35", "22", "1", "", "2"] } else { ["3", "9", "18", "1", "2", ""] };
            assert_eq!(stopped.values(SUMS), sums, "{mode:?}");
        }
    }
}

const SUMS: [&str; 6] =
    ["connections", "received", "sent", "closed.peer-closed", "closed.drained", "closed.cut"];

/// Connects three clients, closes one, and asks for the counters. Returns the other two.
fn ask_for_counters(running: &Running, logs: &Logs, loops: usize) -> Vec<Client> {
    let mut clients = running.clients(3);
    let mut first = clients.remove(0);
    first.end();
    first.assert_closed();
    // Each has asked by `id` and a line end, and got a digit and a line end. When its client knows, a
    // thread may still have a shared connection in hand, which is not seen then, or be about to note its end.
    let wanted = ["3", "9", "6", "1", "", ""];
    eventually("all connections are seen", || {
        let sums = counters(logs);
        let open = logs.of("open connections").pop().expect("it comes before the sums");
        sums.values(SUMS) == wanted && open.values(["open"]) == ["2"]
    });
    let asked = logs.of(COUNTERS).len();
    let of_threads = logs.of("counters");
    assert_eq!(of_threads.len(), asked * loops, "each thread with a loop logs its own");
    // Each count is a field of its own.
    let is_number = |value: &str| value.parse::<u64>().is_ok();
    let fields = ["thread", "reactor.waits", "reactor.events", "accept.accepted", "accept.pauses"];
    for logged in &of_threads {
        assert!(logged.values(fields).into_iter().all(is_number), "{logged:?}");
    }
    clients
}

/// Ends the server while it has these clients, whose connections are paused if they are to be cut.
fn end(mut clients: Vec<Client>, cuts: bool) {
    if cuts {
        // It has been read when the answer is here.
        clients.iter_mut().for_each(|client| assert_eq!(client.ask("echo a\npause"), "a"));
    }
    terminate();
    clients.iter_mut().for_each(|client| assert_eq!(client.line(), "drain"));
    if cuts {
        terminate();
    }
    clients.iter_mut().for_each(Client::assert_closed);
}

pub(crate) fn the_maximum_of_connections_leaves_descriptors_for_everything_else() {
    let logs = Logs::collect();
    let descriptors =
        rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    for_every_mode(|_, config| {
        logs.clear();
        let bind = |config| drop(Server::bind(Script::of(&World::default()), &config).unwrap());
        let asked = NonZeroU32::MAX;
        bind(config.clone());
        bind(Config { connections_max: Some(asked), ..config.clone() });
        bind(Config { connections_max: NonZeroU32::new(7), ..config.clone() });
        let threads = u64::from(config.threads.unwrap().get());
        // Threads with a loop take four descriptors, and as many for the listener of each; those that have
        // connections take a pipe; the rest is for everything else.
        let (loops, pipes) =
            if config.mode.is_shared() { (1, 1 + threads) } else { (threads, threads) };
        let room = descriptors - (20 + 4 * loops + 2 * pipes + 4 * loops);
        let started = logs.of("started");
        let max: Vec<_> = started.iter().map(|one| one.values(["connections_max"])).collect();
        assert_eq!(max, [[&*room.to_string()], [&*asked.to_string()], ["7"]], "{:?}", config.mode);
        let warned = logs.of("the maximum of connections exceeds the descriptors");
        let warned: Vec<_> = warned.iter().map(|one| one.values(["asked"])).collect();
        assert_eq!(warned, [[&*asked.to_string()]]);
    });
}

pub(crate) fn a_connection_in_other_hands_is_counted_as_not_seen() {
    let logs = Logs::collect();
    let signals = Signals::block([Signal::TERM, Signal::INT, Signal::USR1]).unwrap();
    for mode in MODES.into_iter().filter(|mode| mode.is_shared()) {
        let logs = logs.clone();
        serve(&signals, &config(mode, 3), &World::default(), move |running| {
            let mut client = running.clients(1).remove(0);
            client.say("hold");
            running.world.await_note("held");
            let sums = counters(&logs);
            assert_eq!(sums.values(["connections", "received"]), ["1", "0"], "{mode:?}");
            let shared = logs.of("counters of shared connections");
            assert_eq!(shared.last().unwrap().values(["unseen"]), ["1"], "{mode:?}");
            running.world.open_gate();
            client.assert_alive();
        });
    }
}

pub(crate) fn messages_for_a_thread_that_takes_none_are_dropped_with_a_warning() {
    let logs = Logs::collect();
    for_every_mode(|signals, config| {
        let threads = config.threads.map_or(0, NonZeroU32::get);
        if config.mode.is_shared() || threads == 1 {
            return;
        }
        logs.clear();
        let logs = logs.clone();
        serve(signals, &config, &World::default(), move |running| {
            let mut held = running.clients(1).remove(0);
            let id = running.world.state().ids[0];
            let thread = held.ask("thread");
            let mut other = running.client();
            eventually("a connection of another thread", || {
                other = running.client();
                other.ask("thread") != thread
            });
            held.say("hold");
            running.world.await_note("held");
            let fill = (0..).map(|_| running.handle.send(id, "x".to_owned()));
            let full = fill.into_iter().find_map(Result::err).unwrap();
            assert_eq!(full.kind(), ErrorKind::QuotaExceeded);
            other.say("to 0 lost");
            eventually("it is dropped", || logs.of(DROPPED).len() == 1);
            other.say("all news");
            assert_eq!(other.line(), "news");
            eventually("it is dropped for one thread", || logs.of(DROPPED).len() == 2);
            running.world.open_gate();
            (0..1 << 16).for_each(|_| assert_eq!(held.line(), "x"));
            other.say("to 0 after");
            assert_eq!(held.line(), "after");
            assert_eq!(logs.of(DROPPED).len(), 2);
        });
    });
}

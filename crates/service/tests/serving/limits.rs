//! Limits, what services decline, and what belongs to listeners and threads.

use crate::script::{Script, World};
use crate::support::{Client, closed, config, for_every_mode, serve, terminate};
use epoll_reactor::net::{Address, Peer};
use epoll_service::epoll_connection::{Consumed, Context, Either, Limits, Protocol};
use epoll_service::{Config, Mode, Server, Service, Setting, ThreadStats};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;

pub(crate) fn connections_beyond_the_maximum_are_refused() {
    for_every_mode(|signals, config| {
        for is_per_peer in [false, true] {
            let two = NonZeroU32::new(2);
            let config = if is_per_peer {
                Config { connections_per_peer_max: two, ..config.clone() }
            } else {
                Config { connections_max: two, ..config.clone() }
            };
            let ended = serve(signals, &config, &World::default(), |running| {
                let mut clients = running.clients(2);
                running.client().assert_closed();
                clients.iter_mut().for_each(Client::assert_alive);
                clients.remove(0).end();
                running.world.await_note("accepted close PeerClosed");
                epoll_kit_testing::eventually("there is room again", || {
                    let mut client = running.client();
                    client.say("echo room");
                    client.line() == "room"
                });
            });
            let sum = ThreadStats::sum(&ended.threads).stats;
            let (refused, others) = if is_per_peer {
                (sum.refused_peer, sum.refused)
            } else {
                (sum.refused, sum.refused_peer)
            };
            assert!(refused >= 1 && others == 0, "{sum:?}");
        }
    });
}

pub(crate) fn a_connection_that_is_declined_is_closed_and_counted() {
    for_every_mode(|signals, config| {
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut client = running.client();
            client.assert_alive();
            running.world.state().declines = true;
            running.client().assert_closed();
            client.assert_alive();
        });
        let sum = ThreadStats::sum(&ended.threads).stats;
        assert_eq!((sum.opened, sum.declined), (1, 1));
    });
}

pub(crate) fn a_message_longer_than_may_be_kept_ends_its_connection() {
    for_every_mode(|signals, config| {
        let limits = Limits { input_max: 1000, ..Limits::default() };
        let ended = serve(signals, &Config { limits, ..config }, &World::default(), |running| {
            let mut other = running.client();
            let mut client = running.client();
            client.say("need 1001");
            client.assert_closed();
            other.assert_alive();
        });
        assert_eq!(closed(&ended, "too-long"), 1);
    });
}

pub(crate) fn an_address_that_is_taken_is_an_error_that_names_it() {
    for_every_mode(|_, config| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::from(taken.local_addr().unwrap());
        let config = Config { listen: vec![address], ..config };
        let error = Server::bind(Script::of(&World::default()), &config).unwrap_err();
        assert_eq!(error.setting(), Some(Setting::Listen(address)));
        assert_eq!(error.io().kind(), ErrorKind::AddrInUse);
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), error.io().to_string());
        assert_eq!(error.to_string(), format!("failed to listen at {address}"));
    });
}

pub(crate) fn the_limit_of_descriptors_is_raised_as_far_as_it_goes() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit }).unwrap();
    drop(Server::bind(Script::of(&World::default()), &config(Mode::Level, 1)).unwrap());
    assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
}

pub(crate) fn a_backlog_is_the_number_of_connections_that_wait() {
    let signals = crate::support::signals();
    let config = Config { backlog: NonZeroU32::MIN, ..config(Mode::Level, 1) };
    serve(&signals, &config, &World::default(), |running| {
        let mut held = running.client();
        held.say("hold");
        running.world.await_note("held");
        // Linux lets one more wait than it is told to.
        let _waiting = [running.client(), running.client()];
        let patience = std::time::Duration::from_millis(200);
        let error = TcpStream::connect_timeout(&running.address, patience).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        running.world.open_gate();
        held.assert_alive();
    });
}

/// Answers the number of its thread.
struct Number;

impl Protocol for Number {
    type Local = Option<std::thread::ThreadId>;
    type Message = ();

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, ()>,
    ) -> Consumed {
        let is_own = *context.local() == Some(std::thread::current().id());
        context.write(if is_own { b"own" } else { b"strange" });
        Consumed::bytes(input.len())
    }
}

struct Echo;

impl Protocol for Echo {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        Consumed::pass(input.len())
    }
}

struct Both;

impl Service for Both {
    type Protocol = Either<Number, Echo>;

    fn local(&self, _: usize) -> (Option<std::thread::ThreadId>, ()) {
        (Some(std::thread::current().id()), ())
    }

    fn accept(
        &self,
        listener: usize,
        _: &Peer,
        _: &mut (Option<std::thread::ThreadId>, ()),
    ) -> Option<Self::Protocol> {
        Some(if listener == 1 { Either::A(Number) } else { Either::B(Echo) })
    }
}

pub(crate) fn every_listener_has_its_protocol_and_every_thread_its_state() {
    for_every_mode(|signals, config| {
        let name = format!("epoll-service-{}", std::process::id());
        let unix = Address::abstract_name(name.as_bytes()).unwrap();
        let mut config = config;
        config.listen.extend(["[::1]:0".parse().unwrap(), unix]);
        config.listen.swap(0, 1);
        config.listen[0] = "127.0.0.1:0".parse().unwrap();
        config.listen[1] = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(Both, &config).unwrap();
        let addresses = server.addresses().to_vec();
        assert_eq!(addresses[2], unix);
        let clients = std::thread::spawn(move || {
            let answers = std::panic::catch_unwind(|| {
                let inet = |at: usize| addresses[at].inet().unwrap();
                for _ in 0..6 {
                    assert_eq!(answer(Client::at(inet(0)).stream()), "hello");
                    assert_eq!(answer(Client::at(inet(1)).stream()), "own");
                    use std::os::linux::net::SocketAddrExt as _;
                    let at = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
                    let stream = UnixStream::connect_addr(&at).unwrap();
                    stream.set_read_timeout(Some(epoll_kit_testing::DEADLINE)).unwrap();
                    (&stream).write_all(b"hello").unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    let mut answer = String::new();
                    (&stream).read_to_string(&mut answer).unwrap();
                    assert_eq!(answer, "hello");
                }
            });
            terminate();
            answers
        });
        server.run(signals, || {}).unwrap();
        clients.join().unwrap().unwrap();
    });
}

fn answer(mut stream: &std::net::TcpStream) -> String {
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

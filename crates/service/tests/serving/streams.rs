//! Long streams: those that go to another connection of the thread, and those that are passed back.

use crate::calls::{BEGIN, END, count, mark, traced};
use crate::script::World;
use crate::support::{config, for_every_mode, serve, signals, terminate};
use epoll_service::epoll_connection::{Consumed, Context, Limits, Protocol};
use epoll_service::{Config, Each, Mode, Server, Signals, ThreadStats};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::thread;

/// More than the buffers of all sockets on the way take.
const LEN: usize = 16 << 20;

fn bytes() -> Vec<u8> {
    let words = u32::try_from(LEN / 4).unwrap();
    (0..words).flat_map(u32::to_le_bytes).collect()
}

/// Writes everything to one stream while everything is read from another one.
fn pump(mut from: &TcpStream, mut to: &TcpStream) -> Vec<u8> {
    let mut read = vec![0; LEN];
    thread::scope(|threads| {
        threads.spawn(|| from.write_all(&bytes()).expect("a peer that reads"));
        to.read_exact(&mut read).expect("a stream that goes on");
    });
    read
}

pub(crate) fn what_is_forwarded_goes_to_the_other_connection_in_order() {
    for_every_mode(|signals, config| {
        // Only connections of one thread can be linked, which threads do not share.
        let can = !config.mode.is_shared() && config.threads.is_some_and(|one| one.get() == 1);
        if !can && !config.mode.is_shared() {
            return;
        }
        serve(signals, &config, &World::default(), move |running| {
            let mut clients = running.clients(3);
            assert_eq!(clients[0].ask("link 1"), "linked");
            if !can {
                clients[0].say("anything");
                clients[0].assert_closed();
                return running.world.await_note("accepted close Aborted");
            }
            assert!(pump(clients[0].stream(), clients[1].stream()) == bytes());
            clients[1].assert_alive();
            clients[2].assert_alive();
            // To one that is gone it is dropped, and the sender goes on.
            clients[1].end();
            clients[1].assert_closed();
            clients[0].stream().write_all(&bytes()).unwrap();
            clients[0].end();
            clients[0].assert_closed();
            clients[2].assert_alive();
        });
    });
}

/// Passes everything back.
struct Mirror;

impl Protocol for Mirror {
    type Local = ();
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
        Consumed::pass(input.len())
    }

    fn passes_everything(&self, (): &()) -> bool {
        true
    }
}

/// Serves one client to which everything is passed back.
fn mirror(signals: &Signals, config: Config) {
    let limits = Limits { splice_bytes_max: NonZeroUsize::new(64 << 10), ..Limits::default() };
    let server = Server::bind(Each(|| Mirror), &Config { limits, ..config }).unwrap();
    let address = server.addresses()[0].inet().unwrap();
    let client = thread::spawn(move || {
        let mirrored = std::panic::catch_unwind(|| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(epoll_kit_testing::DEADLINE)).unwrap();
            assert!(pump(&stream, &stream) == bytes());
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
        });
        terminate();
        mirrored
    });
    let ended = server.run(signals, || {}).unwrap();
    client.join().unwrap().unwrap();
    let sum = ThreadStats::sum(&ended.threads).stats;
    assert_eq!((sum.received, sum.sent), (LEN as u64, LEN as u64));
}

pub(crate) fn what_is_passed_back_comes_back_in_order() {
    for_every_mode(|signals, config| {
        if config.threads.is_some_and(|threads| threads.get() == 1) {
            mirror(signals, config);
        }
    });
}

pub(crate) fn a_long_stream_that_is_passed_back_goes_through_a_pipe() {
    let calls = traced("a_long_stream_that_is_passed_back_goes_through_a_pipe", || {
        let signals = signals();
        mark(BEGIN);
        mirror(&signals, config(Mode::Level, 1));
        mark(END);
    });
    let Some(calls) = calls else { return };
    // Each moves 64 KiB at most, and each that finds nothing is followed by a read.
    let splices = count(&calls, "splice");
    assert!(splices > LEN >> 18, "{splices} splices");
}

//! Listeners that threads share, and what a connection that goes away costs.

use crate::script::World;
use crate::support::{Client, Running, for_every_mode, serve, terminate};
use epoll_kit_testing::eventually;
use epoll_service::{Accept, Config, DrainOutcome, Signals, ThreadStats};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn any_thread_that_is_free_accepts_from_an_exclusive_listener() {
    const CLIENTS: u64 = 40;
    for_every_mode(|signals, config| {
        if config.mode.is_shared() || config.threads.is_some_and(|threads| threads.get() == 1) {
            return;
        }
        let config = Config { accept: Accept::Exclusive, ..config };
        let begun = Instant::now();
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut held = running.client();
            held.say("hold");
            running.world.await_note("held");
            // Of threads with queues of their own, the one that is held would have got some of these.
            (1..CLIENTS).for_each(|_| running.client().assert_alive());
            running.world.open_gate();
            held.assert_alive();
        });
        let sum = ThreadStats::sum(&ended.threads);
        assert_eq!((sum.accept.accepted, sum.stats.opened), (CLIENTS, CLIENTS));
        // Openings are rounded down to a second.
        assert!(sum.stats.longest_s <= begun.elapsed().as_secs() + 1);
        // Each of the three goes to the end of the line after eight batches, and is deregistered at the end.
        let dels = sum.reactor.dels;
        assert!(dels >= 3 + (CLIENTS - 3 * 7).div_ceil(8), "{dels} registrations have ended");
    });
}

pub(crate) fn a_thread_that_is_alone_stays_in_front_of_an_exclusive_listener() {
    for_every_mode(|signals, config| {
        if config.threads.is_some_and(|threads| threads.get() > 1) {
            return;
        }
        let config = Config { accept: Accept::Exclusive, ..config };
        let dels = [0, 9].map(|clients| {
            let ended = serve(signals, &config, &World::default(), move |running| {
                drop(running.clients(clients));
            });
            let acceptor = &ended.threads[0];
            assert_eq!(acceptor.accept.accepted, clients as u64);
            acceptor.reactor.dels - if config.mode.is_shared() { clients as u64 } else { 0 }
        });
        assert_eq!(dels[0], dels[1]);
    });
}

pub(crate) fn a_connection_that_is_accepted_wakes_none_of_the_threads_that_share_it() {
    const CLIENTS: u64 = 100;
    for_every_mode(|signals, config| {
        let Some(threads) = config.threads.filter(|_| config.mode.is_shared()) else { return };
        let ended = serve(signals, &config, &World::default(), |running| {
            let mut clients: Vec<_> = (0..CLIENTS).map(|_| running.client()).collect();
            // Once the last one is served, all are registered.
            clients.last_mut().expect("a client").assert_alive();
        });
        let serving = ThreadStats::sum(&ended.threads[1..]).reactor;
        // An event of the listener and one of its end for each, that of the message, and a few besides: of the
        // stop, and of leases that have met an event.
        let most = 2 * CLIENTS + 1 + CLIENTS / 10 + u64::from(threads.get());
        assert!(serving.events <= most, "{serving:?}");
    });
}

/// Calls `test` for each mode in which threads share connections, and for one that does not, with threads that
/// wait in one queue.
fn with_one_queue(test: fn(&Signals, Config, usize)) {
    for_every_mode(|signals, config| {
        let threads = config.threads.map_or(1, |threads| threads.get() as usize);
        if threads == 1 || config.mode.is_shared() {
            test(signals, config, threads);
        }
    });
}

/// Holds so many threads, all that serve, each with a client of its own.
fn hold(running: &Running, threads: usize) -> Vec<Client> {
    let hold = |at| {
        let mut client = running.client();
        client.say("hold");
        eventually("it is held", || running.world.count("held") == at);
        // Those that are free accept.
        if at < threads {
            (0..5).for_each(|_| running.client().assert_alive());
        }
        client
    };
    (1..=threads).map(hold).collect()
}

pub(crate) fn connections_are_taken_in_by_threads_that_can_serve_them() {
    const WAITING: usize = 60;
    with_one_queue(|signals, config, threads| {
        let ended = serve(signals, &config, &World::default(), move |running| {
            let mut held = hold(running, threads);
            let before = running.world.count("accepted open");
            let mut waiting: Vec<_> = (0..WAITING).map(|_| running.client()).collect();
            waiting.iter_mut().for_each(|client| client.say("echo served"));
            // Long enough for a thread that does nothing else.
            thread::sleep(Duration::from_millis(50));
            assert_eq!(running.world.count("accepted open"), before, "nobody can serve them");
            running.world.open_gate();
            for client in &mut waiting {
                assert_eq!(client.line(), "served");
            }
            held.iter_mut().chain(&mut waiting).for_each(Client::assert_alive);
            // It goes on as before.
            (0..40).for_each(|_| running.client().assert_alive());
        });
        let sum = ThreadStats::sum(&ended.threads);
        let all = (threads + 5 * (threads - 1) + WAITING + 40) as u64;
        assert_eq!((sum.accept.accepted, sum.stats.opened), (all, all));
    });
}

pub(crate) fn those_that_wait_when_the_drain_begins_are_served_although_all_threads_are_held_up() {
    with_one_queue(|signals, config, threads| {
        if threads == 1 && !config.mode.is_shared() {
            // Its only thread begins the drain.
            return;
        }
        let ended = serve(signals, &config, &World::default(), move |running| {
            let _held = hold(running, threads);
            let before = running.world.count("accepted open");
            let mut waiting: Vec<_> = (0..40).map(|_| running.client()).collect();
            terminate();
            // The thread that minds the drain takes them.
            eventually("all are opened", || {
                running.world.count("accepted open") == before + waiting.len()
            });
            running.world.open_gate();
            for client in &mut waiting {
                client.say("echo served");
                let lines = [client.line(), client.line()];
                assert!(lines.contains(&"served".to_owned()), "{lines:?}");
                client.end();
                client.assert_closed();
            }
        });
        assert_eq!((ended.outcome, ended.cut), (DrainOutcome::Finished, 0));
    });
}

pub(crate) fn a_listener_goes_on_when_there_are_descriptors_again() {
    for_every_mode(|signals, config| {
        let is_alone = config.threads.is_some_and(|threads| threads.get() == 1);
        for accept in [Accept::Reuseport, Accept::Exclusive] {
            // More than there are descriptors for.
            let connections_max = NonZeroU32::new(1_000_000);
            let config = Config { accept, connections_max, ..config.clone() };
            let limit = getrlimit(Resource::Nofile);
            let ended = serve(signals, &config, &World::default(), move |running| {
                setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..limit }).unwrap();
                let mut before = running.client();
                // More of them than there are threads: each is accepted by a listener that does not pause.
                let sockets: Vec<_> = (0..5).map(|_| unconnected()).collect();
                let mut taken = Vec::new();
                // A thread that looks into its queue holds a number for a moment, so one look is not enough.
                for _ in 0..4 {
                    before.assert_alive();
                    taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                }
                let mut clients: Vec<_> = sockets
                    .into_iter()
                    .map(|socket| Client::over(socket, running.address))
                    .collect();
                if is_alone {
                    clients.iter_mut().for_each(Client::assert_closed);
                } else {
                    // Another thread may take the number that one gives up to shed, and keep it.
                    eventually("one is shed", || clients.iter_mut().any(Client::is_closed));
                }
                taken.truncate(taken.len() / 2);
                // A thread that has found no descriptor may shed one more.
                for _ in 0..8 {
                    eventually("one is served", || running.client().try_ask("echo alive").is_ok());
                }
                before.assert_alive();
                setrlimit(Resource::Nofile, limit).unwrap();
            });
            let accept = ThreadStats::sum(&ended.threads).accept;
            assert!(accept.shed >= 1 && accept.pauses >= 1, "{accept:?}");
        }
    });
}

/// A socket that takes no further descriptor to connect.
fn unconnected() -> OwnedFd {
    socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket")
}

pub(crate) fn a_connection_that_is_closed_is_not_deregistered_before() {
    for_every_mode(|signals, config| {
        if config.mode.is_shared() {
            // While another thread waits, the kernel may hold on to what is closed.
            return;
        }
        // So many that a thread which shared its queue would have gone to the end of the line.
        let dels = [0, 25].map(|clients| {
            let ended = serve(signals, &config, &World::default(), move |running| {
                for mut client in running.clients(clients) {
                    client.end();
                    client.assert_closed();
                }
            });
            ThreadStats::sum(&ended.threads).reactor.dels
        });
        assert_eq!(dels[0], dels[1], "the kernel deletes what is closed");
    });
}

//! Limits on rates and on memory: `--max-connection-rate`, `--max-bytes-rate`, `--max-buffered`; and how refusals are
//! said.

use crate::harness::{
    Launch, Mode, Stats, closed, converse, ends, is_cut_off, is_echoed, small_client,
};
use epoll_kit_testing::eventually;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

in_modes!(refusals_are_said_once_a_second_with_their_number: reuseport Reuseport,
    oneshot Oneshot);

fn refusals_are_said_once_a_second_with_their_number(mode: Mode) {
    const REFUSED: u64 = 50;
    let launch = Launch::at("127.0.0.1:0").mode(mode).flag("--max-connections", "1");
    let (launch, stats) = Stats::of(launch);
    let mut server = launch.start();
    let mut within = server.client();
    converse(&mut within, b"within");
    let begun = Instant::now();
    for _ in 0..REFUSED {
        ends(&mut server.client());
    }
    let seconds = begun.elapsed().as_secs() + 1;
    // One more, a second after the last line.
    thread::sleep(Duration::from_millis(1050));
    ends(&mut server.client());
    drop(within);
    server.drain();
    let log = server.stderr.rest();
    let lines: Vec<_> = log.iter().filter(|line| line.contains("connections refused")).collect();
    assert!((2..=seconds + 1).contains(&(lines.len() as u64)), "in {seconds} s: {log:#?}");
    assert!(lines.iter().all(|line| line.contains("WARN") && line.contains("maximum")), "{log:#?}");
    let counts = lines.iter().map(|line| {
        let (_, count) = line.split_once("count=").expect("a number");
        count.split(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a number")
    });
    assert_eq!(counts.sum::<u64>(), REFUSED + 1, "{log:#?}");
    assert_eq!(stats.read()["connections"]["refused"], REFUSED + 1);
}

in_all_modes!(connections_that_come_faster_than_the_rate_wait_and_none_is_refused);

fn connections_that_come_faster_than_the_rate_wait_and_none_is_refused(mode: Mode) {
    const RATE: u32 = 100;
    const CLIENTS: u32 = 30;
    let launch = Launch::tcp(mode).flag("--max-connection-rate", RATE.to_string());
    let (launch, stats) = Stats::of(launch);
    let mut server = launch.start();
    let begun = Instant::now();
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    for stream in &mut streams {
        stream.write_all(b"hello").unwrap();
    }
    for stream in &mut streams {
        is_echoed(stream, b"hello");
        // Those who are served are not held up.
        converse(stream, b"again");
    }
    // A tenth of a second's worth is for free.
    let least = (CLIENTS - RATE / 10) * 1000 / RATE;
    assert!(begun.elapsed() >= Duration::from_millis(least.into()), "{:?}", begun.elapsed());
    drop(streams);
    // Those that wait when the drain begins are taken in at once.
    let mut late: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    late.iter_mut().for_each(|stream| stream.write_all(b"late").unwrap());
    server.process.signal(rustix::process::Signal::TERM);
    for mut stream in late {
        is_echoed(&mut stream, b"late");
        ends(&mut stream);
    }
    assert_eq!(server.await_end().code(), Some(0), "{:#?}", server.stderr.rest());
    let stats = stats.read();
    assert_eq!(stats["connections"]["opened"], 2 * CLIENTS);
    assert_eq!(stats["connections"]["refused"], 0);
}

in_all_modes!(a_connection_receives_no_more_than_its_rate_and_loses_nothing);

fn a_connection_receives_no_more_than_its_rate_and_loses_nothing(mode: Mode) {
    const RATE: usize = 256 * 1024;
    const READ: usize = 16 * 1024;
    const LEN: usize = 128 * 1024;
    let launch = Launch::tcp(mode).flag("--max-bytes-rate", RATE.to_string());
    let (launch, stats) = Stats::of(launch.flag("--read-buffer", READ.to_string()));
    let mut server = launch.start();
    let message: Vec<u8> = (0..=u8::MAX).cycle().take(LEN).collect();
    let begun = Instant::now();
    let mut fast = [(); 2].map(|()| server.client());
    thread::scope(|scope| {
        for stream in &fast {
            let message = &message;
            let mut stream = stream.try_clone().unwrap();
            scope.spawn(move || {
                stream.write_all(message).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
        }
        // One that sends little is not held up, and neither is another in the middle of its pause.
        let mut slow = server.client();
        for _ in 0..10 {
            converse(&mut slow, b"little");
        }
        for stream in &mut fast {
            is_echoed(stream, &message);
            ends(stream);
        }
        drop(slow);
    });
    let least = Duration::from_millis(((LEN - READ) * 1000 / RATE) as u64);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    drop(fast);
    server.drain();
    assert_eq!(closed(&stats.read(), "peer-closed"), 3);
}

in_modes!(a_connection_that_is_held_up_drains_with_all_that_has_arrived: level Level,
    edge Edge, oneshot Oneshot);

fn a_connection_that_is_held_up_drains_with_all_that_has_arrived(mode: Mode) {
    let launch = Launch::tcp(mode).flag("--max-bytes-rate", "131072");
    let launch = launch.flag("--read-buffer", "4096").flag("--drain-timeout", "20s");
    let mut server = launch.start();
    let mut stream = server.client();
    let message = vec![b'x'; 32 * 1024];
    stream.write_all(&message).unwrap();
    is_echoed(&mut stream, &message[..1000]);
    server.process.signal(rustix::process::Signal::TERM);
    is_echoed(&mut stream, &message[1000..]);
    ends(&mut stream);
    drop(stream);
    assert_eq!(server.await_end().code(), Some(0));
}

/// Sends on each of them until nothing more is taken, and never reads.
fn fill(streams: &mut [TcpStream]) {
    let bytes = vec![b'x'; 64 * 1024];
    let mut refusals = 0;
    streams.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    eventually("they take no more", || {
        refusals += 1;
        for stream in &mut *streams {
            // One that is full, or that the server has had enough of, takes nothing.
            if stream.write(&bytes).is_ok() {
                refusals = 0;
            }
        }
        thread::sleep(Duration::from_millis(5));
        refusals >= 5
    });
}

/// A server whose connections hold 4 KiB each at most while their peers take nothing.
fn with_memory(mode: Mode, bytes: u32) -> Launch {
    let launch = Launch::at("127.0.0.1:0").mode(mode).flag("--read-buffer", "4096");
    let launch = launch.flag("--splice", "off").flag("--write-timeout", "0");
    launch.flag("--max-buffered", bytes.to_string())
}

in_all_modes!(those_whose_peers_take_nothing_are_cut_when_they_take_too_much_memory);

fn those_whose_peers_take_nothing_are_cut_when_they_take_too_much_memory(mode: Mode) {
    const GREEDY: usize = 40;
    let (launch, stats) = Stats::of(with_memory(mode, 8192));
    let mut server = launch.start();
    let mut other = server.client();
    let mut greedy: Vec<_> = (0..GREEDY).map(|_| small_client(server.inet())).collect();
    // The server has them before memory is short.
    greedy.iter_mut().for_each(|stream| converse(stream, b"x"));
    fill(&mut greedy);
    converse(&mut other, b"not held up");
    drop(greedy);
    eventually("memory is free again", || !is_cut_off_at_once(&mut server.client()));
    converse(&mut other, b"as before");
    drop(other);
    server.drain();
    let cut = closed(&stats.read(), "buffers-full");
    assert!((1..GREEDY as u64).contains(&cut), "{cut} of {GREEDY} are cut");
}

in_all_modes!(no_new_connection_comes_while_memory_is_short);

fn no_new_connection_comes_while_memory_is_short(mode: Mode) {
    let (launch, stats) = Stats::of(with_memory(mode, 16 * 1024));
    let mut server = launch.start();
    let mut other = server.client();
    converse(&mut other, b"hello");
    // A quarter of the memory is as much as a connection takes, so it is not exceeded.
    let (mut greedy, mut refused) = (Vec::new(), 0);
    while refused == 0 {
        let mut next = small_client(server.inet());
        if is_cut_off_at_once(&mut next) {
            refused += 1;
        } else {
            fill(std::slice::from_mut(&mut next));
            greedy.push(next);
        }
        assert!(greedy.len() < 200, "nobody is refused");
    }
    converse(&mut other, b"as before");
    drop(greedy);
    eventually("there is room again", || {
        let is_refused = is_cut_off_at_once(&mut server.client());
        refused += u64::from(is_refused);
        !is_refused
    });
    drop(other);
    server.drain();
    let log = server.stderr.rest();
    assert!(log.iter().any(|line| line.contains("refused: the buffers")), "{log:#?}");
    let stats = stats.read();
    assert_eq!(stats["connections"]["refused_memory"], refused, "{stats:#}");
    assert_eq!(closed(&stats, "buffers-full"), 0, "{stats:#}");
}

fn is_cut_off_at_once(stream: &mut TcpStream) -> bool {
    stream.write_all(b"x").is_err() || is_cut_off(stream)
}

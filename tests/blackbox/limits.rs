//! The limit of connections, and the limit of descriptors behind it.

use crate::harness::{Launch, Mode, OBSERVATION, PATIENCE, Server, Stats, client_from, closed};
use crate::harness::{converse, ends, inherited, is_cut_off, poll_input, tool, uninterrupted};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

in_all_modes!(one_connection_over_the_limit_is_closed_at_once);

fn one_connection_over_the_limit_is_closed_at_once(mode: Mode) {
    let server = Launch::tcp(mode).flag("--max-connections", "3").start();
    let mut within: Vec<TcpStream> = (0..3).map(|_| server.client()).collect();
    for stream in &mut within {
        converse(stream, b"within");
    }
    for _ in 0..10 {
        ends(&mut server.client());
    }
    for stream in &mut within {
        converse(stream, b"still within");
    }
    // The server learns of the departure in its own time; until then it refuses.
    drop(within.pop());
    let mut next = first_that_is_served(&server);
    ends(&mut server.client());
    converse(&mut next, b"in its place");
}

/// Connects anew until the server keeps the connection.
#[track_caller]
fn first_that_is_served(server: &Server) -> TcpStream {
    first_that_is_kept(|| server.client()).0
}

/// The first of these connections that the server keeps, and how many it has closed before.
#[track_caller]
fn first_that_is_kept(connect: impl Fn() -> TcpStream) -> (TcpStream, u64) {
    let deadline = Instant::now() + PATIENCE;
    for closed in 0.. {
        let mut stream = connect();
        // A connection that was closed already may refuse the message or lose it.
        if stream.write_all(b"x").is_ok() && !is_cut_off(&mut stream) {
            return (stream, closed);
        }
        assert!(Instant::now() < deadline, "nobody is served any more");
    }
    unreachable!("so many are not tried")
}

in_all_modes!(one_connection_over_the_limit_of_its_address_is_closed_at_once);

fn one_connection_over_the_limit_of_its_address_is_closed_at_once(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let launch = Launch::tcp(mode).flag("--listen", format!("unix:{}", path.display()));
    let (launch, stats) = Stats::of(launch.flag("--max-per-peer", "2"));
    let mut server = launch.start();
    let from = |last| client_from([127, 0, 0, last].into(), server.inet());
    let mut within: Vec<_> = [2, 2, 3, 3].map(from).into_iter().collect();
    within.iter_mut().for_each(|stream| converse(stream, b"within"));
    for last in [2, 3, 2, 3] {
        ends(&mut from(last));
    }
    // Those who come by the path have no address.
    for stream in &mut [(); 5].map(|()| UnixStream::connect(&path).unwrap()) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        converse(stream, b"from the same machine");
    }
    drop(within.remove(0));
    let (mut next, refused) = first_that_is_kept(|| from(2));
    ends(&mut from(3));
    ends(&mut from(2));
    converse(&mut next, b"in its place");
    drop((next, within));
    server.drain();
    let connections = &stats.read()["connections"];
    let counts = ["opened", "refused", "refused_peer"].map(|name| connections[name].as_u64());
    assert_eq!(counts, [4 + 5 + 1, 0, 6 + refused].map(Some), "{connections:#}");
}

/// Runs a program with these limits of descriptors, soft and hard, beside those that it inherits.
fn descriptors(soft: usize, hard: usize) -> [String; 2] {
    let inherited = inherited();
    ["prlimit".to_owned(), format!("--nofile={}:{}", soft + inherited, hard + inherited)]
}

#[test]
fn the_soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    if tool("prlimit").is_none() {
        return;
    }
    let server = Launch::tcp(Mode::Level).under(descriptors(64, 256)).start();
    let limits = server.process.file("limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> =
        line.split_whitespace().filter(|word| word.parse::<u32>().is_ok()).collect();
    let hard = (256 + inherited()).to_string();
    assert_eq!(numbers, [hard.as_str(); 2], "{line}");
    // The reserve is kept: the limit that was derived refuses before the kernel does.
    let mut kept = Vec::new();
    loop {
        let mut stream = server.client();
        if stream.write_all(b"x").is_err() || is_cut_off(&mut stream) {
            break;
        }
        kept.push(stream);
        assert!(kept.len() < 256, "more connections than descriptors");
    }
    assert!((200..250).contains(&kept.len()), "{} connections for 256 descriptors", kept.len());
}

in_all_modes!(a_server_that_starts_has_a_descriptor_for_a_connection);

fn a_server_that_starts_has_a_descriptor_for_a_connection(mode: Mode) {
    if tool("prlimit").is_none() {
        return;
    }
    // The least is too few, and the most is enough.
    let limits = 8..=48;
    let mut least = None;
    for limit in limits.clone() {
        match Launch::tcp(mode).under(descriptors(limit, limit)).try_start() {
            Ok(server) => {
                least.get_or_insert(limit);
                let mut client = server.client();
                converse(&mut client, b"hello");
                // More than a read takes, for which it has no descriptor to spare.
                converse(&mut client, &vec![b'x'; 80_000]);
            }
            Err(ended) => {
                assert_eq!(ended.status.code(), Some(1), "{limit}: {ended:?}");
                assert_eq!(least, None, "not with {limit}, though with fewer: {ended:?}");
            }
        }
    }
    assert!(least.is_some_and(|least| least > *limits.start()), "{least:?} is the least");
}

in_all_modes!(without_descriptors_the_server_neither_spins_nor_forgets);

fn without_descriptors_the_server_neither_spins_nor_forgets(mode: Mode) {
    if tool("prlimit").is_none() {
        return;
    }
    const LIMIT: usize = 64;
    let launch = Launch::tcp(mode).flag("--max-connections", "500");
    let server = launch.under(descriptors(LIMIT, LIMIT)).start();
    server.process.await_rest();
    // The limit is one of numbers: what was inherited with a higher one leaves room below it.
    let limit = LIMIT + inherited();
    let own = server.process.descriptors().iter().filter(|fd| (**fd as usize) < limit).count();
    let room = limit - own;
    let mut queue = Queue::of((0..200).map(|_| server.client()).collect());
    queue.serve_at_least(room);
    // A connection may get the spare descriptor that another thread has given up to close one.
    let most = room + mode.threads() as usize;
    assert!(queue.served.len() <= most, "{own} descriptors are the server's own: {room}");
    assert!(!queue.waiting.is_empty());

    let process = &server.process;
    let (ticks, switches) = (process.cpu_ticks(), process.voluntary_switches());
    let start = Instant::now();
    while start.elapsed() < OBSERVATION {
        queue.watch();
    }
    let ticks = process.cpu_ticks() - ticks;
    let switches = process.voluntary_switches() - switches;
    println!("{mode}: {ticks} ticks and {switches} wake-ups in {OBSERVATION:?}");
    // 30 ticks are what a loop that spins would take, and tens of thousands of wake-ups.
    let switches_max = 30 * u64::from(mode.threads());
    assert!(
        ticks <= 10 && switches <= switches_max,
        "{ticks} ticks, {switches} wake-ups: it spins"
    );
    for stream in &mut queue.served {
        converse(stream, b"as before");
    }

    let before = queue.served.len();
    queue.served.drain(..before / 2);
    queue.serve_at_least(before / 2 + 5);
    queue.settle();
    converse(&mut first_that_is_served(&server), b"a new one");
}

in_all_modes!(what_accept_fails_with_passes_and_everybody_is_served);

/// Injected for the first four calls of each thread.
fn what_accept_fails_with_passes_and_everybody_is_served(mode: Mode) {
    let Some(strace) = tool("strace") else { return };
    // How many calls fail for each that is counted, and whether it is a pause.
    for (error, calls, pauses) in [
        // A call is made with the spare descriptor before each pause.
        ("EMFILE", 2, true),
        ("ENFILE", 2, true),
        ("ENOBUFS", 1, true),
        ("ENOMEM", 1, true),
        ("EACCES", 1, true),
        ("ECONNABORTED", 1, false),
        ("EPROTO", 1, false),
        ("ENETDOWN", 1, false),
    ] {
        let (launch, stats) = Stats::of(Launch::tcp(mode));
        let launch = launch.under([strace.path(), "-fqo".as_ref(), "/dev/null".as_ref()]);
        let inject = format!("inject=accept4:error={error}:when=1..4");
        let mut server = launch.under(["-e", &inject]).start();
        let mut streams = [(); 5].map(|()| server.client());
        streams.iter_mut().for_each(|stream| converse(stream, b"hello"));
        drop(streams);
        server.drain();
        let accept = &stats.read()["accept"];
        let count = |name: &str| accept[name].as_u64().unwrap();
        assert_eq!((count("accepted"), count("shed")), (5, 0), "{error}: {accept}");
        let passed = if pauses {
            (count("pauses") * calls, count("aborted"))
        } else {
            (count("aborted") * calls, count("pauses"))
        };
        // The thread that empties the queue for the drain is one more where threads share connections.
        let threads = u64::from(mode.threads()) + u64::from(mode.is_shared());
        assert!((4..=4 * threads).contains(&passed.0) && passed.1 == 0, "{error}: {accept}");
    }
}

in_all_modes!(an_accept_that_fails_for_good_is_said_once);

fn an_accept_that_fails_for_good_is_said_once(mode: Mode) {
    let Some(strace) = tool("strace") else { return };
    let (launch, stats) = Stats::of(Launch::at("127.0.0.1:0").mode(mode));
    let launch = launch.under([strace.path(), "-fqo".as_ref(), "/dev/null".as_ref()]);
    let mut server = launch.under(["-e", "inject=accept4:error=EACCES"]).start();
    let _waiting = server.client();
    // The first pauses take 5, 10, 20 and 40 ms.
    thread::sleep(Duration::from_millis(100));
    server.drain();
    let lines = server.stderr.rest();
    let warnings = lines.iter().filter(|line| line.contains("accepting pauses")).count();
    let threads = if mode.is_shared() { 1 } else { mode.threads() as usize };
    assert!((1..=threads).contains(&warnings), "{lines:#?}");
    let accept = &stats.read()["accept"];
    assert_eq!((&accept["accepted"], &accept["aborted"]), (&0.into(), &0.into()), "{accept}");
    assert!(accept["pauses"].as_u64().unwrap() > 1, "{accept}");
}

// Where one queue is shared, calls are made for it in between.
in_modes!(a_connection_that_the_kernel_does_not_watch_is_closed_and_counted: level Level, edge Edge,
    reuseport Reuseport, oneshot Oneshot, edge_shared EdgeShared);

/// Every thirtieth call of a thread fails; where threads share connections, some of these are for the listener.
fn a_connection_that_the_kernel_does_not_watch_is_closed_and_counted(mode: Mode) {
    const CLIENTS: usize = 120;
    let Some(strace) = tool("strace") else { return };
    let (launch, stats) = Stats::of(Launch::tcp(mode));
    let launch = launch.under([strace.path(), "-fqo".as_ref(), "/dev/null".as_ref()]);
    let mut server = launch.under(["-e", "inject=epoll_ctl:error=ENOSPC:when=30+30"]).start();
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    let is_kept = |stream: &mut TcpStream| stream.write_all(b"x").is_ok() && !is_cut_off(stream);
    for _ in 0..3 {
        streams.retain_mut(is_kept);
    }
    // Some may be closed after their last answer.
    server.process.await_rest();
    let has_ended = poll_input(&streams, Duration::ZERO).into_iter();
    let lost = CLIENTS - streams.len() + has_ended.filter(|has_ended| *has_ended).count();
    assert!(lost > 0, "no connection is lost");
    drop(streams);
    server.drain();
    let stats = stats.read();
    let unwatched = stats["connections"]["unwatched"].as_u64().unwrap();
    // Those that were never watched, and those that were for a while.
    let all = unwatched + closed(&stats, "unwatched");
    assert_eq!(all, lost as u64, "{stats:#}");
    assert_eq!(all + closed(&stats, "peer-closed"), CLIENTS as u64, "{stats:#}");
}

in_modes!(a_listener_that_the_kernel_does_not_arm_is_registered_anew: oneshot Oneshot,
    edge_shared EdgeShared);

/// Every fifth call of a thread fails, from the twentieth on. A connection takes two or three, so that each kind of
/// call fails now and then, and the two that register the listener anew succeed.
fn a_listener_that_the_kernel_does_not_arm_is_registered_anew(mode: Mode) {
    let Some(strace) = tool("strace") else { return };
    let launch = Launch::at("127.0.0.1:0").mode(mode).flag("--log", "warn");
    let launch = launch.under([strace.path(), "-fqo".as_ref(), "/dev/null".as_ref()]);
    // The thread that starts the server makes fewer calls.
    let mut server = launch.under(["-e", "inject=epoll_ctl:error=ENOMEM:when=20+5"]).start();
    for _ in 0..100 {
        first_that_is_served(&server);
    }
    server.drain();
    let log = server.stderr.rest();
    assert!(log.iter().any(|line| line.contains("listener not armed")), "{log:#?}");
}

/// Clients of a server that has no room for all of them. Each has sent a byte.
struct Queue {
    served: Vec<TcpStream>,
    /// Connected for all they know, but not accepted yet.
    waiting: Vec<TcpStream>,
    closed: usize,
}

impl Queue {
    fn of(mut waiting: Vec<TcpStream>) -> Self {
        for stream in &mut waiting {
            stream.write_all(b"x").unwrap();
        }
        Self { served: Vec::new(), waiting, closed: 0 }
    }

    /// Looks which of those that wait have an answer; gives them some time for it.
    #[track_caller]
    fn watch(&mut self) {
        let ready = poll_input(&self.waiting, OBSERVATION);
        let waiting = std::mem::take(&mut self.waiting);
        for (mut stream, is_ready) in waiting.into_iter().zip(ready) {
            if !is_ready {
                self.waiting.push(stream);
            } else if matches!(uninterrupted(|| stream.read(&mut [0])), Ok(1)) {
                self.served.push(stream);
            } else {
                self.closed += 1;
            }
        }
    }

    #[track_caller]
    fn serve_at_least(&mut self, count: usize) {
        self.watch_until("more are served", |queue| queue.served.len() >= count);
    }

    /// Waits until each is either served or closed.
    #[track_caller]
    fn settle(&mut self) {
        self.watch_until("nobody waits", |queue| {
            // Those who are served make room for the others.
            queue.served.truncate(10);
            queue.waiting.is_empty()
        });
    }

    #[track_caller]
    fn watch_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            self.watch();
            let (served, waiting) = (self.served.len(), self.waiting.len());
            let state = (served, waiting, self.closed);
            assert!(Instant::now() < deadline, "not until {what}: {state:?}");
        }
    }
}

//! `EPOLLEXCLUSIVE`: one connection need not wake every thread that waits for it.
//!
//!     cargo run -p epoll-reactor --example exclusive
//!
//! Two threads sleep, each in a reactor of its own, and both reactors watch one listener. An ordinary
//! registration wakes both for each connection, and one of them finds nothing to accept. With an
//! exclusive one the kernel wakes a single sleeper: always the one that was added first, for as long as it
//! is asleep. The second gets work only while the first is busy. To spread connections evenly, use a listener
//! for each thread (`SO_REUSEPORT`).
//!
//! Prints how many of twenty connections woke each of the two.

use epoll_reactor::net::{Address, ListenOptions, Listener, PausedBy, Stream};
use epoll_reactor::{ExclusiveInterest, ExclusiveWatch, Interest, Reactor, Ready, Waker, Watch};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

const CONNECTIONS: usize = 20;

/// The longest that anything may take that is bound to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Watches a listener; owns nothing.
type Waiting = Reactor<Stream, ()>;

fn main() -> io::Result<()> {
    println!("registration  woke the first  woke the second");
    let ordinary = count("ordinary", |reactor, listener| {
        reactor.watch(listener, (), Watch::level(Interest::IN)).map(drop)
    })?;
    let exclusive = count("exclusive", |reactor, listener| {
        let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
        reactor.watch_exclusive(listener, (), watch).map(drop)
    })?;
    assert_eq!(ordinary, [CONNECTIONS, CONNECTIONS]);
    assert_eq!(exclusive, [CONNECTIONS, 0]);
    Ok(())
}

/// Returns the number of connections that each of the two was woken for.
fn count(
    name: &str,
    watch: impl Fn(&mut Waiting, &Listener) -> io::Result<()>,
) -> io::Result<[usize; 2]> {
    // When connect returns, a UNIX socket has woken its waiters. Over TCP that may happen later.
    let folder = tempfile::tempdir()?;
    let address = Address::unix(folder.path().join("socket"))?;
    // What is watched exclusively has to be a socket, and then its pauses are the program's.
    let options = ListenOptions { paused_by: PausedBy::Owner, ..ListenOptions::default() };
    let mut listener = Listener::bind(&address, &options)?;
    let mut woken = [0; 2];
    for _ in 0..CONNECTIONS {
        let mut reactors = [Waiting::new()?, Waiting::new()?];
        for reactor in &mut reactors {
            watch(reactor, &listener)?;
        }
        let [first, second] = connect_to_sleepers(&mut reactors, &mut listener)?;
        woken = [woken[0] + usize::from(first), woken[1] + usize::from(second)];
    }
    println!("{name:<12}  {:>14}  {:>15}", woken[0], woken[1]);
    Ok(woken)
}

/// Connects once while both sleep. Returns which of them it woke.
fn connect_to_sleepers(
    reactors: &mut [Waiting; 2],
    listener: &mut Listener,
) -> io::Result<[bool; 2]> {
    let wakers = reactors.each_ref().map(Reactor::waker);
    let about_to_wait = AtomicUsize::new(0);
    let (announce, threads) = mpsc::channel();
    thread::scope(|scope| {
        let sleeping = reactors.each_mut().map(|reactor| {
            let (announce, about_to_wait) = (announce.clone(), &about_to_wait);
            scope.spawn(move || sleep(reactor, &announce, about_to_wait))
        });
        drop(announce);
        let threads: Vec<PathBuf> = threads.iter().take(2).collect();
        let connected = eventually(|| about_to_wait.load(Ordering::Acquire) == 2)
            .and_then(|()| connect(&threads, listener));
        // Whoever sleeps now was not woken. In any case the scope ends only when the threads do.
        wakers.iter().try_for_each(Waker::wake)?;
        let [first, second] = sleeping.map(|thread| thread.join().expect("no panic"));
        connected.and(Ok([first?, second?]))
    })
}

/// Connects while all threads sleep. Returns when those that were woken have ended.
fn connect(threads: &[PathBuf], listener: &mut Listener) -> io::Result<()> {
    let all_rest = || threads.iter().all(|thread| is_at_rest(thread));
    eventually(all_rest)?;
    let _client = Stream::connect(listener.address())?;
    eventually(all_rest)?;
    assert_eq!(listener.accept_batch().count(), 1);
    Ok(())
}

/// Waits once. Returns whether a connection ended the wait.
fn sleep(
    reactor: &mut Waiting,
    announce: &Sender<PathBuf>,
    about_to_wait: &AtomicUsize,
) -> io::Result<bool> {
    let thread = Path::new("/proc").join(fs::read_link("/proc/thread-self")?);
    announce.send(thread).map_err(io::Error::other)?;
    // From here on it sleeps in the wait and nowhere else.
    about_to_wait.fetch_add(1, Ordering::Release);
    reactor.wait(None)?;
    let mut is_connection = false;
    while let Some(ready) = reactor.next_ready() {
        is_connection |= matches!(ready, Ready::Watched { .. });
    }
    Ok(is_connection)
}

/// Tells whether a thread sleeps or has ended.
fn is_at_rest(thread: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(thread.join("stat")) else { return true };
    // The name before the state may hold blanks and brackets.
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}

fn eventually(mut condition: impl FnMut() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::yield_now();
    }
    Ok(())
}

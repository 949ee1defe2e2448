//! Tests of turns: a turn is one system call, its batch may be left early, and its timeout is never cut
//! short, not even by a process that is stopped meanwhile.

use crate::support::{assert_sleeps, look, next, ready_pair, seen, wait};
use epoll_kit_testing::{
    DEADLINE, OwnProcess, assert_kind, before_the_deadline, eventually, is_own_process,
    under_strace,
};
use epoll_reactor::epoll_sys::Timestamp;
use epoll_reactor::net::Stream;
use epoll_reactor::{BATCH_MAX, Interest, Reactor, Readiness, Token, Watch};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

const READABLE: Watch = Watch::level(Interest::IN);

/// The number of times the body of a section of the trace is run.
const TURNS: usize = 100;
/// The beginning of the marks in the trace: a path at which there is no file.
const MARK: &str = "/epoll-reactor-test/";

#[test]
fn a_turn_is_one_system_call() {
    const NAME: &str = "turns::a_turn_is_one_system_call";
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let options = ["-e", "trace=all", "-o", trace.to_str().unwrap()];
    if !under_strace(NAME, &options, make_turns) {
        return;
    }
    let wait = ("epoll_wait", TURNS);
    let expected = [
        ("quiet", calls([wait])),
        ("revisited", calls([wait])),
        // One write for two wakes, and the eventfd is not read.
        ("woken", calls([wait, ("write", TURNS)])),
        // Two sources of four are one-shot.
        ("armed", calls([wait, ("epoll_ctl", 2 * TURNS)])),
        ("echoed", calls([wait, ("read", 2 * TURNS), ("sendto", 2 * TURNS)])),
    ];
    assert_eq!(sections(&fs::read_to_string(trace).unwrap()), expected);
}

/// The body of [`a_turn_is_one_system_call`], which is traced.
fn make_turns() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, mut theirs) = ready_pair();
    let token = reactor.insert(ours, READABLE).unwrap();
    section("quiet", || assert_eq!(turn(&mut reactor), 1));
    section("revisited", || {
        assert!(reactor.revisit(token, Readiness::OUT));
        assert_eq!(turn(&mut reactor), 1);
    });
    let waker = reactor.waker();
    section("woken", || {
        waker.wake().unwrap();
        waker.wake().unwrap();
        assert_eq!(turn(&mut reactor), 2);
    });

    let mut sources = Vec::new();
    for watch in [Watch::level, Watch::edge, Watch::oneshot, Watch::edge_oneshot] {
        let (ours, theirs) = ready_pair();
        sources.push((reactor.insert(ours, watch(Interest::IN)).unwrap(), theirs));
    }
    section("armed", || {
        assert!(turn(&mut reactor) >= 4);
        for (token, _) in &sources {
            reactor.set_interest(*token, Interest::IN).unwrap();
        }
    });
    for (token, _) in sources {
        reactor.remove(token).unwrap();
    }

    // The byte of the pair goes to and fro.
    section("echoed", || {
        assert_eq!(turn(&mut reactor), 1);
        let mut byte = [0];
        reactor[token].read_exact(&mut byte).unwrap();
        reactor[token].write_all(&byte).unwrap();
        theirs.read_exact(&mut byte).unwrap();
        theirs.write_all(&byte).unwrap();
    });
}

/// One turn, and how many reports it brings.
fn turn(reactor: &mut Reactor<Stream>) -> usize {
    reactor.wait(None).unwrap();
    let mut count = 0;
    while reactor.next_ready().is_some() {
        count += 1;
    }
    count
}

/// Runs `body` between two marks, after once in advance, which grows whatever has to grow.
fn section(name: &str, mut body: impl FnMut()) {
    body();
    mark(name);
    for _ in 0..TURNS {
        body();
    }
    mark("");
}

fn mark(name: &str) {
    let found = fs::exists(format!("{MARK}{name}"));
    assert!(!found.unwrap());
}

type Calls = BTreeMap<String, usize>;

fn calls<const N: usize>(calls: [(&str, usize); N]) -> Calls {
    calls.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// The sections of the trace, with the calls of the thread that ran them.
fn sections(trace: &str) -> Vec<(&str, Calls)> {
    let (mut sections, mut current) = (Vec::new(), None);
    for line in trace.lines() {
        let (tid, call) = line.split_once(' ').unwrap();
        if let Some((_, mark)) = call.split_once(MARK) {
            let (name, _) = mark.split_once('"').unwrap();
            sections.extend(current.take().map(|(_, name, calls)| (name, calls)));
            current = Some((tid, name, Calls::new())).filter(|(_, name, _)| !name.is_empty());
            continue;
        }
        // A line without a bracket, or with an angle before it, goes on with an earlier one.
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        if let Some((_, _, calls)) = current.as_mut().filter(|(own, ..)| *own == tid) {
            let name = match name {
                "epoll_pwait" | "epoll_pwait2" => "epoll_wait",
                "recvfrom" => "read",
                other => other,
            };
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    sections
}

/// Interrupts the first three waits of each thread; which of these calls it is depends on the
/// timeout and on the kernel's age.
const INTERRUPT: [&str; 4] =
    ["-o", "/dev/null", "-e", "inject=epoll_wait,epoll_pwait,epoll_pwait2:error=EINTR:when=1..3"];

#[test]
fn an_interrupted_look_looks_again() {
    const NAME: &str = "turns::an_interrupted_look_looks_again";
    under_strace(NAME, &INTERRUPT, || {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let (ours, _theirs) = ready_pair();
        let token = reactor.insert(ours, READABLE).unwrap();
        reactor.wait(Some(Duration::ZERO)).unwrap();
        assert_eq!(next(&mut reactor), Some((token, Readiness::IN)));
        assert_eq!(reactor.counters().waits, 4);
    });
}

#[test]
fn an_interrupted_look_beside_revisits_looks_again() {
    const NAME: &str = "turns::an_interrupted_look_beside_revisits_looks_again";
    under_strace(NAME, &INTERRUPT, || {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let (ours, _theirs) = ready_pair();
        let token = reactor.insert(ours, READABLE).unwrap();
        assert!(reactor.revisit(token, Readiness::OUT));
        reactor.wait(None).unwrap();
        assert_eq!(next(&mut reactor), Some((token, Readiness::IN | Readiness::OUT)));
        assert_eq!(reactor.counters().waits, 4);
    });
}

#[test]
fn an_interrupted_wait_is_no_shorter() {
    const NAME: &str = "turns::an_interrupted_wait_is_no_shorter";
    under_strace(NAME, &INTERRUPT, || {
        const TIMEOUT: Duration = Duration::from_millis(20);
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let start = Instant::now();
        reactor.wait(Some(TIMEOUT)).unwrap();
        assert!(start.elapsed() >= TIMEOUT);
        assert_eq!(next(&mut reactor), None);
        assert!(reactor.counters().waits >= 4);
    });
}

/// Refuses the first wait of each thread.
const REFUSE: [&str; 4] =
    ["-o", "/dev/null", "-e", "inject=epoll_wait,epoll_pwait,epoll_pwait2:error=ENOMEM:when=1"];

#[test]
fn a_wait_that_the_kernel_refuses_is_an_error() {
    const NAME: &str = "turns::a_wait_that_the_kernel_refuses_is_an_error";
    under_strace(NAME, &REFUSE, || {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let (ours, _theirs) = ready_pair();
        let token = reactor.insert(ours, READABLE).unwrap();
        assert_kind(reactor.wait(None), ErrorKind::OutOfMemory);
        assert_eq!(seen(&mut reactor), [token]);
    });
}

#[test]
fn a_batch_that_is_left_early_is_continued_by_the_next_wait() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs): (Vec<_>, Vec<_>) = (0..3).map(|_| ready_pair()).unzip();
    let mut left: HashSet<Token> = ours
        .into_iter()
        .map(|ours| reactor.insert(ours, Watch::edge(Interest::IN)).unwrap())
        .collect();
    let revisited = *left.iter().next().unwrap();
    for _ in 0..3 {
        reactor.wait(Some(DEADLINE)).unwrap();
        let (token, _) = next(&mut reactor).expect("the batch holds three");
        assert!(left.remove(&token), "{token:?} came twice");
    }
    assert_eq!((reactor.counters().waits, reactor.counters().events), (1, 3));
    assert_eq!(reactor.counters().batch_max, 3);
    // The batch is empty, so this one asks the kernel.
    assert_eq!(seen(&mut reactor), []);
    assert_eq!(reactor.counters().waits, 2);

    // Revisits are continued likewise.
    for _ in 0..2 {
        assert!(reactor.revisit(revisited, Readiness::IN));
    }
    reactor.wait(None).unwrap();
    reactor.wait(None).unwrap();
    assert_eq!(reactor.counters().waits, 3);
    assert_eq!(next(&mut reactor), Some((revisited, Readiness::IN)));
}

#[test]
fn a_wait_takes_no_more_than_the_batch_holds() {
    for (batch_max, expected) in [(0, 1), (1, 1), (2, 2), (BATCH_MAX, 3)] {
        let mut reactor: Reactor<Stream> = Reactor::with_batch_max(batch_max).unwrap();
        let (ours, _theirs): (Vec<_>, Vec<_>) = (0..3).map(|_| ready_pair()).unzip();
        for stream in ours {
            reactor.insert(stream, READABLE).unwrap();
        }
        let mut tokens = HashSet::new();
        for _ in 0..3 {
            let reported = wait(&mut reactor);
            assert_eq!(reported.len(), expected);
            tokens.extend(reported.into_iter().map(|(token, _)| token));
        }
        // The kernel goes round, so nobody is left out for good.
        assert_eq!(tokens.len(), 3);
        assert_eq!(reactor.counters().batch_max, expected as u64);
    }
}

#[test]
fn a_timeout_is_never_early() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    for micros in [1, 50, 100, 999, 1000, 1001, 1500, 2500].repeat(10) {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        reactor.wait(Some(timeout)).unwrap();
        assert!(start.elapsed() >= timeout, "{micros} us took {:?}", start.elapsed());
        let deadline = Timestamp::now() + timeout;
        reactor.wait_until(Some(deadline)).unwrap();
        assert!(Timestamp::now() >= deadline);
        assert_eq!(next(&mut reactor), None);
    }
}

#[test]
fn a_deadline_that_has_passed_only_looks() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let passed = Timestamp::now();
    eventually("the clock moves on", || Timestamp::now() > passed);
    reactor.wait_until(Some(passed)).unwrap();
    assert_eq!(next(&mut reactor), None);
    assert_eq!(reactor.counters().waits, 1);
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours, READABLE).unwrap();
    reactor.wait_until(Some(passed)).unwrap();
    assert_eq!(next(&mut reactor), Some((token, Readiness::IN)));
    assert_eq!(reactor.counters().waits, 2);
}

#[test]
fn a_timeout_of_any_length_is_taken() {
    before_the_deadline(|| {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let (ours, _theirs) = ready_pair();
        let token = reactor.insert(ours, READABLE).unwrap();
        for days in [1, 25, 1 << 20, 1 << 40] {
            reactor.wait(Some(Duration::from_secs(days * 86_400))).unwrap();
            assert_eq!(next(&mut reactor), Some((token, Readiness::IN)));
        }
        reactor.wait(Some(Duration::MAX)).unwrap();
        assert_eq!(next(&mut reactor), Some((token, Readiness::IN)));
        reactor.wait_until(None).unwrap();
        assert_eq!(next(&mut reactor), Some((token, Readiness::IN)));
    });
}

#[test]
fn a_process_that_was_stopped_waits_on_without_end() {
    const NAME: &str = "turns::a_process_that_was_stopped_waits_on_without_end";
    if is_own_process(NAME) {
        let mut reactor: Reactor<Stream, ()> = Reactor::new().unwrap();
        let token = reactor.watch(io::stdin(), (), READABLE).unwrap();
        reactor.wait(None).unwrap();
        assert_eq!(next(&mut reactor), Some((token, Readiness::HUP)));
        // The one that was interrupted, and the one that went on.
        assert_eq!(reactor.counters().waits, 2);
        return;
    }
    let child = OwnProcess::spawn(NAME);
    child.await_sleep();
    child.stop();
    child.proceed();
    // The end of its standard input ends the wait.
    child.assert_passed();
}

/// Long enough for a busy machine to stop a process that waits for so long.
const STOPPED_WAIT: Duration = Duration::from_secs(2);

#[test]
fn a_process_that_was_stopped_waits_no_shorter() {
    const NAME: &str = "turns::a_process_that_was_stopped_waits_no_shorter";
    if is_own_process(NAME) {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let start = Instant::now();
        reactor.wait(Some(STOPPED_WAIT)).unwrap();
        assert!(start.elapsed() >= STOPPED_WAIT);
        assert_eq!(next(&mut reactor), None);
        return;
    }
    let child = OwnProcess::spawn(NAME);
    child.await_sleep();
    child.stop();
    child.proceed();
    child.assert_passed();
}

#[test]
fn a_process_that_was_stopped_waits_no_longer() {
    const NAME: &str = "turns::a_process_that_was_stopped_waits_no_longer";
    if is_own_process(NAME) {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        reactor.wait(Some(STOPPED_WAIT)).unwrap();
        assert_eq!(next(&mut reactor), None);
        // The one that was interrupted, and a look: a wait that began anew would be a third.
        assert_eq!(reactor.counters().waits, 2);
        return;
    }
    let child = OwnProcess::spawn(NAME);
    child.await_sleep();
    // It began to wait before this.
    let deadline = Timestamp::now() + STOPPED_WAIT;
    child.stop();
    Reactor::<Stream>::new().unwrap().wait_until(Some(deadline)).unwrap();
    child.proceed();
    child.assert_passed();
}

#[test]
fn the_last_report_of_a_turn_is_known_by_its_token() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    assert_eq!(reactor.last_reported(), None);
    let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
    let tokens = [one, other].map(|it| reactor.insert(it, Watch::edge(Interest::IN)).unwrap());
    reactor.wait(None).unwrap();
    assert_eq!(reactor.last_reported(), None, "nothing was handed out in this turn");
    for _ in tokens {
        let (token, _) = next(&mut reactor).unwrap();
        assert_eq!(reactor.last_reported(), Some(token));
        // Also when it has gone meanwhile.
        if token == tokens[0] {
            assert!(reactor.close(token));
            assert_eq!(reactor.last_reported(), Some(token));
        }
    }
    // A revisit counts as well, before and after others, and only in its own turn.
    let token = tokens[1];
    reactor.revisit(token, Readiness::IN);
    reactor.wait(None).unwrap();
    assert_eq!(reactor.last_reported(), None);
    assert_eq!(next(&mut reactor), Some((token, Readiness::IN)));
    assert_eq!(reactor.last_reported(), Some(token));
    reactor.wait(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.last_reported(), None);
}

#[test]
fn a_revisit_is_told_once_a_turn_however_often_it_is_asked_for_anew() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
    let tokens = [one, other].map(|it| reactor.insert(it, Watch::edge(Interest::IN)).unwrap());
    assert_eq!(look(&mut reactor).len(), 2);
    for token in tokens {
        assert!(reactor.revisit(token, Readiness::OUT));
    }
    for _ in 0..3 {
        reactor.wait(None).unwrap();
        for expected in tokens {
            assert_eq!(next(&mut reactor), Some((expected, Readiness::OUT)));
            // Due in the next turn, in which it has its place again.
            assert!(reactor.revisit(expected, Readiness::OUT));
        }
        assert_eq!(next(&mut reactor), None);
    }
    // One that goes between asking and its turn is passed over, the other keeps its turn.
    assert!(reactor.close(tokens[0]));
    assert_eq!(look(&mut reactor), [(tokens[1], Readiness::OUT)]);
    assert_eq!(reactor.counters().revisits, 7);
    assert_sleeps(&mut reactor);
}

//! A new epoll instance in place of the old one: everything is watched as before, and the old
//! instance, which another process may share, is left as it was.

use crate::support::{assert_sleeps, drain, look, next, ready_pair, seen, wait};
use epoll_kit_testing::{
    DEADLINE, assert_errno, assert_kind, eventually, in_own_process, sleeps_in_a_wait,
    under_strace, while_no_process_starts,
};
use epoll_reactor::epoll_sys::EventFd;
use epoll_reactor::net::Stream;
use epoll_reactor::shared::{LeaseReady, SharedReactor};
use epoll_reactor::{
    ExclusiveInterest, ExclusiveWatch, Interest, Reactor, Readiness, Ready, Registration, Watch,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::HashSet;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

const READABLE: Watch = Watch::level(Interest::IN);

fn is_readable(fd: impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).unwrap() > 0
}

#[test]
fn every_kind_of_registration_is_carried_over() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let pairs: Vec<_> = (0..5).map(|_| ready_pair()).collect();
    let (mut sources, _peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let mut insert = |reactor: &mut Reactor<Stream, char>, watch| {
        reactor.insert(sources.pop().unwrap(), watch).unwrap()
    };
    let level = insert(&mut reactor, READABLE);
    let edge = insert(&mut reactor, Watch::edge(Interest::IN));
    let oneshot = insert(&mut reactor, Watch::oneshot(Interest::IN));
    let parked = insert(&mut reactor, READABLE);
    reactor.park(parked).unwrap();
    let (counter, exclusive) = (EventFd::new(1).unwrap(), EventFd::new(1).unwrap());
    let counter_token = reactor.watch(&counter, 'c', Watch::edge(Interest::IN)).unwrap();
    let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
    let exclusive_token = reactor.watch_exclusive(&exclusive, 'e', watch).unwrap();
    let all = HashSet::from([level, edge, oneshot, counter_token, exclusive_token]);
    assert_eq!(HashSet::from_iter(seen(&mut reactor)), all);

    assert!(reactor.rebuild().unwrap().is_empty());
    // The edges are reported anew; the one-shot source stays disarmed, the parked one parked.
    let mut expected = all.clone();
    expected.remove(&oneshot);
    assert_eq!(HashSet::from_iter(seen(&mut reactor)), expected);
    assert_eq!(HashSet::from_iter(seen(&mut reactor)), HashSet::from([level, exclusive_token]));
    reactor.set_interest(oneshot, Interest::IN).unwrap();
    reactor.unpark(parked).unwrap();
    let expected = HashSet::from([level, exclusive_token, oneshot, parked]);
    assert_eq!(HashSet::from_iter(seen(&mut reactor)), expected);
    // They can be changed and ended as before.
    reactor.modify_watched(counter_token, &counter, READABLE).unwrap();
    reactor.unwatch(counter_token, &counter).unwrap();
    reactor.unwatch(exclusive_token, &exclusive).unwrap();
    let starting = while_no_process_starts();
    for token in [level, edge, oneshot, parked] {
        assert!(reactor.close(token));
    }
    drop(starting);
    assert_sleeps(&mut reactor);
}

#[test]
fn the_old_instance_is_left_as_it_was() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (ours, mut theirs) = Stream::pair().unwrap();
    let counter = EventFd::new(0).unwrap();
    let token = reactor.insert(ours, READABLE).unwrap();
    reactor.watch(&counter, 'c', READABLE).unwrap();
    // A parent has such a descriptor of the instance that a child replaces.
    let parents = reactor.as_fd().try_clone_to_owned().unwrap();
    assert!(reactor.rebuild().unwrap().is_empty());
    assert!(!is_readable(&parents));
    counter.write(1).unwrap();
    assert!(is_readable(&parents));
    counter.read().unwrap();
    assert!(!is_readable(&parents));
    theirs.write_all(b"x").unwrap();
    assert!(is_readable(&parents));
    assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);
}

#[test]
fn a_wake_reaches_the_new_instance_whether_it_comes_before_or_after() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let waker = reactor.waker();
    waker.wake().unwrap();
    reactor.rebuild().unwrap();
    for _ in 0..2 {
        reactor.wait(None).unwrap();
        assert!(matches!(reactor.next_ready(), Some(Ready::Woken)));
        assert!(reactor.next_ready().is_none());
        assert_sleeps(&mut reactor);
        waker.wake().unwrap();
    }
}

#[test]
fn what_was_not_handed_out_and_revisits_stay_due() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
    let one = reactor.insert(one, Watch::edge(Interest::IN)).unwrap();
    let other = reactor.insert(other, Watch::edge(Interest::IN)).unwrap();
    reactor.wait(None).unwrap();
    let (first, _) = next(&mut reactor).unwrap();
    reactor.revisit(first, Readiness::OUT);
    reactor.rebuild().unwrap();
    let second = if first == one { other } else { one };
    assert_eq!(next(&mut reactor), Some((second, Readiness::IN)));
    let both = HashSet::from([(first, Readiness::IN | Readiness::OUT), (second, Readiness::IN)]);
    assert_eq!(HashSet::from_iter(look(&mut reactor)), both);
}

#[test]
fn registrations_of_descriptors_that_were_closed_end_and_are_named() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (closed, open) = (EventFd::new(1).unwrap(), EventFd::new(1).unwrap());
    let gone = reactor.watch(&closed, 'g', READABLE).unwrap();
    let stays = reactor.watch(&open, 's', READABLE).unwrap();
    drop(closed);
    assert_eq!(reactor.rebuild().unwrap(), [gone]);
    assert!(!reactor.forget(gone));
    assert_eq!((reactor.len(), seen(&mut reactor)), (1, vec![stays]));
}

#[test]
fn a_shared_reactor_names_them_too() {
    const NAME: &str = "rebuilding::a_shared_reactor_names_them_too";
    in_own_process(NAME, || {
        let reactor: SharedReactor<Stream, char> = SharedReactor::new().unwrap();
        let (closed, open) = (EventFd::new(1).unwrap(), EventFd::new(1).unwrap());
        let gone = reactor.watch(&closed, 'g', READABLE).unwrap();
        let stays = reactor.watch(&open, 's', READABLE).unwrap();
        drop(closed);
        assert_eq!(reactor.rebuild().unwrap(), [gone]);
        assert!(!reactor.forget(gone));
        assert!(reactor.forget(stays));
    });
}

#[test]
fn a_number_that_has_another_owner_by_now_is_not_watched() {
    const NAME: &str = "rebuilding::a_number_that_has_another_owner_by_now_is_not_watched";
    in_own_process(NAME, || {
        let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
        let closed = EventFd::new(0).unwrap();
        let number = closed.as_fd().as_raw_fd();
        let gone = reactor.watch(&closed, 'g', READABLE).unwrap();
        drop(closed);
        let stranger = EventFd::new(1).unwrap();
        assert_eq!(stranger.as_fd().as_raw_fd(), number);
        assert_eq!(reactor.rebuild().unwrap(), [gone]);
        assert_sleeps(&mut reactor);
    });
}

#[test]
fn without_descriptors_the_reactor_goes_on_as_it_was() {
    const NAME: &str = "rebuilding::without_descriptors_the_reactor_goes_on_as_it_was";
    in_own_process(NAME, || {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let (ours, _theirs) = ready_pair();
        let token = reactor.insert(ours, READABLE).unwrap();
        let shared: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let before = getrlimit(Resource::Nofile);
        let lowest_free = EventFd::new(0).unwrap().as_fd().as_raw_fd();
        for room in [0, 1] {
            let current = Some(u64::try_from(lowest_free).unwrap() + room);
            setrlimit(Resource::Nofile, Rlimit { current, ..before }).unwrap();
            assert_errno(reactor.rebuild(), Errno::MFILE);
            assert_errno(shared.rebuild(), Errno::MFILE);
        }
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!(reactor.counters().rebuilds + shared.counters().rebuilds, 0);
        assert_eq!(seen(&mut reactor), [token]);
        reactor.waker().wake().unwrap();
        assert_eq!(seen_with_a_wake(&mut reactor), 2);
        reactor.rebuild().unwrap();
        assert_eq!(seen(&mut reactor), [token]);
    });
}

fn seen_with_a_wake(reactor: &mut Reactor<Stream>) -> usize {
    reactor.wait(None).unwrap();
    let mut count = 0;
    while reactor.next_ready().is_some() {
        count += 1;
    }
    count
}

#[test]
fn a_shared_reactor_carries_its_registrations_over() {
    let reactor: SharedReactor<Stream, char> = SharedReactor::new().unwrap();
    let pairs: Vec<_> = (0..4).map(|_| ready_pair()).collect();
    let (mut sources, _peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let mut insert = |watch| reactor.insert(sources.pop().unwrap(), watch).unwrap();
    let oneshot = insert(Watch::oneshot(Interest::IN));
    let edge = insert(Watch::edge(Interest::IN));
    let parked = insert(Watch::edge(Interest::IN));
    let held = insert(Watch::edge(Interest::IN));
    reactor.lease(parked).unwrap().park().unwrap();
    let (counter, silent) = (EventFd::new(1).unwrap(), EventFd::new(1).unwrap());
    reactor.watch(&counter, 'c', READABLE).unwrap();
    let silent_token = reactor.watch(&silent, 's', READABLE).unwrap();
    reactor.park_watched(silent_token, &silent).unwrap();

    let lease = reactor.lease(held).unwrap();
    assert!(reactor.rebuild().unwrap().is_empty());
    let mut worker = reactor.worker_with_batch_max(16);
    let mut told = HashSet::new();
    let mut tags = Vec::new();
    let mut turn = |told: &mut HashSet<_>, tags: &mut Vec<char>| {
        assert!(worker.wait(Some(Duration::ZERO)).unwrap());
        while let Some(ready) = worker.next_ready() {
            match ready {
                LeaseReady::Owned(lease) => drop(told.insert(lease.token())),
                LeaseReady::Watched { tag, .. } => tags.push(tag),
                LeaseReady::Woken => {}
            }
        }
    };
    turn(&mut told, &mut tags);
    assert_eq!(told, HashSet::from([oneshot, edge]));
    assert_eq!(tags, ['c']);
    // The one that was in use is armed when its lease ends, and the parked one when it is asked for.
    drop(lease);
    assert!(reactor.unpark(parked));
    turn(&mut told, &mut tags);
    turn(&mut told, &mut tags);
    assert_eq!(told, HashSet::from([oneshot, edge, parked, held]));
    reactor.unpark_watched(silent_token, &silent).unwrap();
    turn(&mut told, &mut tags);
    assert!(tags.contains(&'s'));
}

#[test]
fn a_stop_outlasts_the_instance() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    reactor.stop().unwrap();
    reactor.rebuild().unwrap();
    assert!(!reactor.worker().wait(None).unwrap());
    let running: SharedReactor<Stream> = SharedReactor::new().unwrap();
    running.rebuild().unwrap();
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| running.worker().wait(None).unwrap());
        running.stop().unwrap();
        assert!(!waiting.join().unwrap());
    });
}

#[test]
fn threads_that_wait_survive_many_new_instances_in_a_row() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    std::thread::scope(|threads| {
        let (sender, tids) = std::sync::mpsc::channel();
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let (reactor, sender) = (&reactor, sender.clone());
                threads.spawn(move || {
                    sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
                    let mut worker = reactor.worker();
                    while worker.wait(None).unwrap() {
                        while worker.next_ready().is_some() {}
                    }
                })
            })
            .collect();
        for tid in tids.iter().take(waiting.len()) {
            eventually("the thread sleeps", || sleeps_in_a_wait(std::process::id(), tid));
        }
        for _ in 0..20 {
            reactor.rebuild().unwrap();
        }
        reactor.stop().unwrap();
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(reactor.counters().rebuilds, 20);
}

#[test]
fn a_thread_that_has_waited_since_before_is_told_of_what_comes_afterwards() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    std::thread::scope(|threads| {
        let (sender, tid) = std::sync::mpsc::channel();
        let (report, reported) = std::sync::mpsc::channel();
        let reactor = &reactor;
        threads.spawn(move || {
            sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let mut worker = reactor.worker();
            while worker.wait(None).unwrap() {
                while let Some(ready) = worker.next_ready() {
                    let LeaseReady::Owned(lease) = ready else { continue };
                    report.send(lease.token()).unwrap();
                    lease.close();
                }
            }
        });
        let tid = tid.recv().unwrap();
        eventually("the thread sleeps", || sleeps_in_a_wait(std::process::id(), tid));
        reactor.rebuild().unwrap();
        // The old instance has no entry for it.
        let (ours, _theirs) = ready_pair();
        let token = reactor.insert(ours, Watch::oneshot(Interest::IN)).unwrap();
        let told = reported.recv_timeout(DEADLINE);
        // First, so that the thread ends in any case.
        reactor.stop().unwrap();
        assert_eq!(told, Ok(token));
    });
}

#[test]
fn a_new_instance_makes_nobody_close_a_sound_source() {
    let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
    let pairs: Vec<_> = (0..300).map(|_| Stream::pair().unwrap()).collect();
    let (sources, mut peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    for (index, source) in sources.into_iter().enumerate() {
        let trigger = if index % 2 == 0 { Watch::oneshot } else { Watch::edge };
        reactor.insert(source, trigger(Interest::IN)).unwrap();
    }
    let (sender, reports) = std::sync::mpsc::channel();
    std::thread::scope(|threads| {
        for _ in 0..3 {
            let (reactor, sender) = (&reactor, sender.clone());
            threads.spawn(move || {
                let mut worker = reactor.worker();
                while worker.wait(None).unwrap() {
                    while let Some(ready) = worker.next_ready() {
                        let LeaseReady::Owned(mut lease) = ready else { continue };
                        assert!(!lease.close_requested(), "it is watched");
                        // Another interest each time, so that edges are armed as well.
                        lease.set_interest(Interest::IN | Interest::RDHUP).unwrap();
                        let mut bytes = [0; 8];
                        if let Ok(len) = std::io::Read::read(&mut &*lease, &mut bytes) {
                            sender.send(len).unwrap();
                        }
                    }
                }
            });
        }
        for _ in 0..30 {
            for peer in &mut peers {
                peer.write_all(b"x").unwrap();
            }
            reactor.rebuild().unwrap();
            let mut read = 0;
            while read < peers.len() {
                read += reports.recv_timeout(Duration::from_secs(20)).unwrap();
            }
        }
        reactor.stop().unwrap();
    });
    assert_eq!(reactor.len(), peers.len());
}

#[test]
fn a_source_that_is_in_use_meanwhile_is_watched_by_the_new_instance() {
    for trigger in [Watch::oneshot, Watch::edge] {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let (ours, mut theirs) = ready_pair();
        reactor.insert(ours, trigger(Interest::IN)).unwrap();
        let mut worker = reactor.worker();
        assert!(worker.wait(None).unwrap());
        let Some(LeaseReady::Owned(mut lease)) = worker.next_ready() else { panic!("ready") };
        reactor.rebuild().unwrap();
        // Another interest, so that the edge is armed as well.
        lease.set_interest(Interest::IN | Interest::RDHUP).unwrap();
        drain(&lease);
        drop(lease);
        theirs.write_all(b"x").unwrap();
        assert!(worker.wait(Some(DEADLINE)).unwrap());
        let Some(LeaseReady::Owned(lease)) = worker.next_ready() else { panic!("ready again") };
        assert_eq!((lease.readiness(), lease.close_requested()), (Readiness::IN, false));
    }
}

/// The reactor adds its waker and its stop when it is made; the next one is refused.
const REFUSE_THE_THIRD: [&str; 4] =
    ["-o", "/dev/null", "-e", "inject=epoll_ctl:error=ENOSPC:when=3"];

#[test]
fn a_shared_reactor_goes_on_with_its_instance_when_there_is_no_room_for_another() {
    const NAME: &str =
        "rebuilding::a_shared_reactor_goes_on_with_its_instance_when_there_is_no_room_for_another";
    under_strace(NAME, &REFUSE_THE_THIRD, || {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        assert_kind(reactor.rebuild(), ErrorKind::StorageFull);
        let mut worker = reactor.worker();
        reactor.waker().wake().unwrap();
        assert!(worker.wait(None).unwrap());
        assert!(matches!(worker.next_ready(), Some(LeaseReady::Woken)));
        reactor.stop().unwrap();
        assert!(!worker.wait(None).unwrap());
        // The next attempt has room.
        reactor.rebuild().unwrap();
        assert!(!reactor.worker().wait(None).unwrap());
    });
}

/// `getpid` says that this is the child of a fork, from its 500th call on.
const FORK_AND_REFUSE_THE_THIRD: [&str; 6] = [
    "-o",
    "/dev/null",
    "-e",
    "inject=getpid:retval=4194303:when=500+",
    "-e",
    "inject=epoll_ctl:error=ENOSPC:when=3",
];

#[test]
fn a_child_that_has_no_room_for_an_instance_leaves_that_of_its_parent_alone_when_it_tries_again() {
    const NAME: &str = "rebuilding::a_child_that_has_no_room_for_an_instance_leaves_that_of_its_\
                        parent_alone_when_it_tries_again";
    under_strace(NAME, &FORK_AND_REFUSE_THE_THIRD, || {
        let reactor: SharedReactor<Stream> = SharedReactor::new().unwrap();
        let parents = reactor.as_fd().try_clone_to_owned().unwrap();
        eventually("the process is another one", || std::process::id() == 4_194_303);
        assert_kind(reactor.rebuild(), ErrorKind::StorageFull);
        reactor.rebuild().unwrap();
        reactor.waker().wake().unwrap();
        reactor.stop().unwrap();
        assert!(!is_readable(&parents), "threads of the parent would turn round");
        assert!(!reactor.worker().wait(None).unwrap());
    });
}

#[test]
fn a_oneshot_source_whose_event_is_to_be_handed_out_is_reported_once() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let [(one, _keep_one), (other, _keep_other)] = [ready_pair(), ready_pair()];
    let one = reactor.insert(one, Watch::oneshot(Interest::IN)).unwrap();
    let other = reactor.insert(other, Watch::oneshot(Interest::IN)).unwrap();
    reactor.wait(None).unwrap();
    let first = next(&mut reactor).unwrap().0;
    reactor.rebuild().unwrap();
    let second = next(&mut reactor).unwrap().0;
    assert_eq!(HashSet::from([first, second]), HashSet::from([one, other]));
    assert_sleeps(&mut reactor);
    reactor.modify(second, Watch::oneshot(Interest::IN)).unwrap();
    assert_eq!(look(&mut reactor), [(second, Readiness::IN)]);
}

#[test]
fn a_oneshot_source_stays_disarmed_however_many_waits_there_were_since_it_was_armed() {
    for waits in [0, 255, 511, 1023, 65_535] {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let (ours, mut theirs) = Stream::pair().unwrap();
        let token = reactor.insert(ours, Watch::oneshot(Interest::IN)).unwrap();
        for _ in 0..waits {
            reactor.wait(Some(Duration::ZERO)).unwrap();
        }
        theirs.write_all(b"x").unwrap();
        assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
        reactor.rebuild().unwrap();
        assert_sleeps(&mut reactor);
    }
}

#[test]
fn a_oneshot_source_that_was_armed_again_in_its_batch_is_watched_by_the_new_instance() {
    for rearms in [true, false] {
        let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
        let [(one, _keep_one), (other, mut peer)] = [ready_pair(), ready_pair()];
        let one = reactor.insert(one, Watch::oneshot(Interest::IN)).unwrap();
        let other = reactor.insert(other, Watch::oneshot(Interest::IN)).unwrap();
        reactor.wait(None).unwrap();
        let (first, _) = next(&mut reactor).unwrap();
        let second = if first == one { other } else { one };
        if rearms {
            reactor.modify(second, Watch::oneshot(Interest::IN)).unwrap();
        }
        assert_eq!(next(&mut reactor), Some((second, Readiness::IN)));
        reactor.rebuild().unwrap();
        peer.write_all(b"x").unwrap();
        let expected = if rearms { vec![(second, Readiness::IN)] } else { vec![] };
        assert_eq!(look(&mut reactor), expected);
    }
}

#[test]
fn a_oneshot_source_whose_report_came_with_a_revisit_stays_disarmed() {
    let mut reactor: Reactor<Stream> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let token = reactor.insert(ours, Watch::oneshot(Interest::IN)).unwrap();
    reactor.revisit(token, Readiness::OUT);
    assert_eq!(look(&mut reactor), [(token, Readiness::IN | Readiness::OUT)]);
    reactor.rebuild().unwrap();
    assert_sleeps(&mut reactor);
}

#[test]
fn a_reactor_that_another_loop_watches_is_left_to_its_owner() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (ours, _theirs) = ready_pair();
    let _clone = ours.as_fd().try_clone_to_owned().unwrap();
    let token = reactor.insert(ours, READABLE).unwrap();
    assert!(reactor.close(token));
    for _ in 0..100 {
        assert_eq!(look(&mut reactor), []);
    }
    // The next wait would replace it, but for this.
    let _ = reactor.as_fd();
    for _ in 0..300 {
        assert_eq!(look(&mut reactor), []);
    }
    assert_eq!(reactor.counters().rebuilds, 0);
    reactor.rebuild().unwrap();
    assert_sleeps(&mut reactor);
}

//! Registrations that are refused: each says why, gives back what it was given, and leaves what
//! there is as it was.

use crate::support::{Common, error_of, look, ready_pair, ready_std_pair, wait};
use epoll_kit_testing::assert_kind;
use epoll_reactor::net::Stream;
use epoll_reactor::{
    ExclusiveInterest, ExclusiveWatch, InsertError, Interest, Reactor, Readiness, Watch,
};
use epoll_sys::Epoll;
use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

#[test]
fn an_exclusive_registration_cannot_be_modified() {
    let mut reactor: Reactor<Stream, char> = Reactor::new().unwrap();
    let (ours, theirs) = ready_pair();
    let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
    let token = reactor.insert_exclusive(ours, watch).unwrap();
    assert_kind(reactor.modify(token, Watch::level(Interest::IN)), ErrorKind::InvalidInput);
    assert_kind(reactor.set_interest(token, Interest::IN), ErrorKind::InvalidInput);
    assert_kind(reactor.set_interest(token, Interest::OUT), ErrorKind::InvalidInput);
    let watched = reactor.watch_exclusive(&theirs, 'w', watch).unwrap();
    let modified = reactor.modify_watched(watched, &theirs, Watch::level(Interest::OUT));
    let error = modified.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("exclusive"), "{error}");

    // It is as it was, and the way that the error names is open.
    assert_eq!(reactor.counters().mods, 0);
    assert_eq!(look(&mut reactor), [(token, Readiness::IN)]);
    let source = reactor.remove(token).unwrap();
    reactor.insert(source, Watch::level(Interest::OUT)).unwrap();
    assert_eq!(look(&mut reactor).len(), 1);
}

#[test]
fn an_epoll_instance_cannot_be_watched_exclusively() {
    let mut reactor: Reactor<Epoll, ()> = Reactor::new().unwrap();
    let watch = ExclusiveWatch::level(ExclusiveInterest::IN);
    let inserted = reactor.insert_exclusive(Epoll::new().unwrap(), watch);
    assert_kind(error_of(inserted), ErrorKind::InvalidInput);
    let watched = reactor.watch_exclusive(Epoll::new().unwrap(), (), watch);
    assert_kind(watched, ErrorKind::InvalidInput);
    assert!(reactor.is_empty());
}

#[test]
fn a_descriptor_that_blocks_cannot_be_inserted_with_an_edge() {
    let mut reactor: Reactor<UnixStream> = Reactor::new().unwrap();
    let (mut source, mut theirs) = ready_std_pair();
    for watch in [Watch::edge(Interest::IN), Watch::edge_oneshot(Interest::IN)] {
        let failed = reactor.insert(source, watch).unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
        assert!(failed.error.to_string().contains("non-blocking"), "{failed}");
        source = failed.source;
    }
    let watch = ExclusiveWatch::edge(ExclusiveInterest::IN);
    let failed = reactor.insert_exclusive(source, watch).unwrap_err();
    assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
    source = failed.source;

    // It is open and works, and is taken as soon as it does not block.
    source.read_exact(&mut [0]).unwrap();
    assert_eq!((reactor.len(), reactor.counters().adds), (0, 1));
    source.set_nonblocking(true).unwrap();
    let token = reactor.insert(source, Watch::edge(Interest::IN)).unwrap();
    theirs.write_all(b"w").unwrap();
    assert_eq!(wait(&mut reactor), [(token, Readiness::IN)]);
}

#[test]
fn a_descriptor_that_blocks_cannot_be_watched_or_modified_to_an_edge() {
    let mut reactor: Reactor<UnixStream, char> = Reactor::new().unwrap();
    let (ours, theirs) = ready_std_pair();
    let edge = Watch::edge(Interest::IN);
    assert_kind(reactor.watch(&theirs, 'w', edge), ErrorKind::InvalidInput);
    let exclusive = ExclusiveWatch::edge(ExclusiveInterest::IN);
    assert_kind(reactor.watch_exclusive(&theirs, 'w', exclusive), ErrorKind::InvalidInput);

    let failed = reactor.insert_blocking(ours, edge).unwrap_err();
    assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
    let token = reactor.insert_blocking(failed.source, Watch::level(Interest::IN)).unwrap();
    let watched = reactor.watch(&theirs, 'w', Watch::level(Interest::IN)).unwrap();
    assert_kind(reactor.modify(token, edge), ErrorKind::InvalidInput);
    assert_kind(reactor.modify_watched(watched, &theirs, edge), ErrorKind::InvalidInput);
    assert_eq!(reactor.counters().mods, 0);
    // Both are level-triggered as before.
    assert_eq!(look(&mut reactor), look(&mut reactor));
}

#[test]
fn an_owned_descriptor_that_blocks_is_refused_with_every_trigger() {
    let mut reactor: Reactor<UnixStream> = Reactor::new().unwrap();
    let (mut ours, _theirs) = ready_std_pair();
    let triggers = [Watch::level, Watch::edge, Watch::oneshot, Watch::edge_oneshot];
    for watch in triggers.map(|trigger| trigger(Interest::IN)) {
        let failed = reactor.insert(ours, watch).unwrap_err();
        assert_eq!(failed.error.kind(), ErrorKind::InvalidInput);
        assert!(failed.error.to_string().contains("non-blocking"), "{failed}");
        ours = failed.source;
    }
    let exclusive = ExclusiveWatch::level(ExclusiveInterest::IN);
    let failed = reactor.insert_exclusive(ours, exclusive).unwrap_err();
    assert_eq!((failed.error.kind(), reactor.counters().adds), (ErrorKind::InvalidInput, 1));
    failed.source.set_nonblocking(true).unwrap();
    reactor.insert(failed.source, triggers[1](Interest::IN)).unwrap();
}

#[test]
fn what_is_registered_or_is_a_file_is_given_back() {
    let mut reactor: Reactor<Common> = Reactor::new().unwrap();
    let source = Common(Rc::new(ready_std_pair().0));
    source.0.set_nonblocking(true).unwrap();
    let token = reactor.insert(source.clone(), Watch::level(Interest::IN)).unwrap();
    let failed = reactor.insert(source.clone(), Watch::level(Interest::IN)).unwrap_err();
    assert_eq!(failed.error.kind(), ErrorKind::AlreadyExists);
    assert!(Rc::ptr_eq(&failed.source.0, &source.0));
    assert_kind(reactor.watch(&source, (), Watch::level(Interest::IN)), ErrorKind::AlreadyExists);
    assert_eq!((reactor.len(), reactor.iter().next().unwrap().0), (1, token));

    let mut files: Reactor<File> = Reactor::new().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"still open").unwrap();
    let failed = files.insert_blocking(file, Watch::level(Interest::IN)).unwrap_err();
    assert_eq!(failed.error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(failed.source.metadata().unwrap().len(), 10);
    let directory = File::open(".").unwrap();
    let watched = files.watch(&directory, (), Watch::level(Interest::IN));
    assert_kind(watched, ErrorKind::PermissionDenied);
    assert!(files.is_empty());
}

/// An error that has a cause.
#[derive(Debug)]
struct Because(io::Error);

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it has a cause")
    }
}

impl Error for Because {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_error_of_an_insertion_holds_the_source_and_the_reason() {
    let mut reactor: Reactor<Common> = Reactor::new().unwrap();
    let source = Common(Rc::new(ready_std_pair().0));
    source.0.set_nonblocking(true).unwrap();
    reactor.insert(source.clone(), Watch::level(Interest::IN)).unwrap();
    let failed: InsertError<Common> =
        reactor.insert(source.clone(), Watch::level(Interest::IN)).unwrap_err();
    assert_eq!(failed.error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(failed.to_string(), failed.error.to_string());
    assert!(format!("{failed:?}").contains("AlreadyExists"), "{failed:?}");
    assert!(Error::source(&failed).is_none());
    let reason = io::Error::other(Because(io::Error::from(ErrorKind::AddrInUse)));
    let with_a_reason = InsertError { source: (), error: reason };
    let cause = Error::source(&with_a_reason).expect("that of the reason");
    assert!(cause.is::<io::Error>());
    // With `?` the source is dropped.
    assert_eq!(Rc::strong_count(&source.0), 3);
    assert_eq!(io::Error::from(failed).kind(), ErrorKind::AlreadyExists);
    assert_eq!(Rc::strong_count(&source.0), 2);
}

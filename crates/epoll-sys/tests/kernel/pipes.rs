//! Splicing through a pipe: what moves, what stays, and every error that the documentation names.

use crate::support::{await_readiness, look, on_own_thread, tcp_pair, without};
use epoll_kit_testing::{assert_errno, assert_kind, close, eventually, in_own_process};
use epoll_sys::{Epoll, Interest, Pipe, Watch, socket};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, Uid, set_thread_res_uid};
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::time::Duration;

fn pipe() -> Pipe {
    Pipe::new().unwrap()
}

#[test]
fn bytes_go_through_in_order_and_no_further_than_asked() {
    let (from, sender) = tcp_pair();
    let (to, receiver) = tcp_pair();
    let pipe = pipe();
    socket::send(&sender, b"abcdef").unwrap();
    await_readiness(&from, Interest::IN);
    assert_eq!(pipe.fill(&from, 4).unwrap(), 4);
    assert_eq!(pipe.drain(&to, 3).unwrap(), 3);
    assert_eq!(pipe.fill(&from, 64).unwrap(), 2);
    assert_eq!(pipe.drain(&to, 3).unwrap(), 3);
    let mut bytes = [0; 8];
    let mut len = 0;
    eventually("all bytes", || {
        len += socket::recv(&receiver, &mut bytes[len..]).unwrap_or(0);
        len == 6
    });
    assert_eq!(&bytes[..6], b"abcdef");
}

#[test]
fn a_read_takes_out_what_could_not_go_on() {
    let (from, sender) = socket::pair().unwrap();
    let mut pipe = pipe();
    socket::send(&sender, b"hello").unwrap();
    assert_eq!(pipe.fill(&from, 64).unwrap(), 5);
    let mut bytes = [0; 5];
    pipe.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    assert_kind(pipe.read(&mut bytes), ErrorKind::WouldBlock);
    assert_kind((&pipe).read(&mut bytes), ErrorKind::WouldBlock);
}

#[test]
fn nothing_there_a_full_pipe_and_an_empty_one_would_block() {
    let (from, sender) = socket::pair().unwrap();
    let pipe = pipe();
    assert_kind(pipe.fill(&from, 64), ErrorKind::WouldBlock);
    assert_kind(pipe.drain(&from, 64), ErrorKind::WouldBlock);
    let mut filled = 0;
    loop {
        match socket::send(&sender, &[7; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        match pipe.fill(&from, 1 << 20) {
            Ok(len) => filled += len,
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(filled > 0);
}

#[test]
fn a_full_socket_would_block_and_the_pipe_keeps_the_rest() {
    let (from, sender) = socket::pair().unwrap();
    let (to, _receiver) = socket::pair().unwrap();
    while socket::send(&to, &[0; 4096]).is_ok() {}
    let mut pipe = pipe();
    socket::send(&sender, b"rest").unwrap();
    assert_eq!(pipe.fill(&from, 64).unwrap(), 4);
    assert_kind(pipe.drain(&to, 4), ErrorKind::WouldBlock);
    let mut bytes = [0; 4];
    pipe.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"rest");
}

#[test]
fn the_end_of_a_stream_fills_it_with_nothing() {
    let (from, sender) = tcp_pair();
    let pipe = pipe();
    socket::send(&sender, b"last").unwrap();
    socket::shutdown(&sender, Shutdown::Write).unwrap();
    await_readiness(&from, Interest::RDHUP);
    assert_eq!(pipe.fill(&from, 64).unwrap(), 4);
    assert_eq!(pipe.fill(&from, 64).unwrap(), 0);
    assert_eq!(pipe.fill(&from, 0).unwrap(), 0);
}

#[test]
fn an_urgent_byte_stops_it_and_a_read_goes_past() {
    let (from, sender) = tcp_pair();
    let pipe = pipe();
    socket::send(&sender, b"before").unwrap();
    rustix::net::send(&sender, b"!", SendFlags::OOB).unwrap();
    socket::send(&sender, b"after").unwrap();
    await_readiness(&from, Interest::PRI);
    eventually("all bytes", || socket::unread(&from).unwrap_or(0) > 0);
    assert_eq!(pipe.fill(&from, 64).unwrap(), 6);
    assert_kind(pipe.fill(&from, 64), ErrorKind::WouldBlock);
    assert_kind(pipe.fill(&from, 64), ErrorKind::WouldBlock);
    let mut bytes = [0; 8];
    let mut len = 0;
    eventually("the bytes after", || {
        len = socket::recv(&from, &mut bytes).unwrap_or(0);
        len > 0
    });
    assert_eq!(&bytes[..len], b"after");
}

#[test]
fn an_urgent_byte_before_the_end_looks_like_the_end_and_a_read_goes_past() {
    let (from, sender) = tcp_pair();
    let pipe = pipe();
    rustix::net::send(&sender, b"!", SendFlags::OOB).unwrap();
    socket::send(&sender, b"after").unwrap();
    socket::shutdown(&sender, Shutdown::Write).unwrap();
    await_readiness(&from, Interest::RDHUP);
    assert_eq!(pipe.fill(&from, 64).unwrap(), 0);
    let mut bytes = [0; 8];
    assert_eq!(socket::recv(&from, &mut bytes).unwrap(), 5);
    assert_eq!(&bytes[..5], b"after");
}

#[test]
fn a_reset_and_a_closed_peer_are_told_apart() {
    let (from, sender) = tcp_pair();
    let (other, other_sender) = socket::pair().unwrap();
    let pipe = pipe();
    socket::send(&other_sender, b"a").unwrap();
    assert_eq!(pipe.fill(&other, 1).unwrap(), 1);

    socket::set_linger(&sender, Some(Duration::ZERO)).unwrap();
    close(sender);
    await_readiness(&from, Interest::RDHUP);
    assert_kind(pipe.fill(&from, 64), ErrorKind::ConnectionReset);
    assert_kind(pipe.drain(&from, 1), ErrorKind::BrokenPipe);

    let (to, receiver) = tcp_pair();
    socket::set_linger(&receiver, Some(Duration::ZERO)).unwrap();
    close(receiver);
    await_readiness(&to, Interest::RDHUP);
    assert_kind(pipe.drain(&to, 1), ErrorKind::ConnectionReset);
}

#[test]
fn what_cannot_be_spliced_is_invalid() {
    let pipe = pipe();
    assert_kind(pipe.fill(Epoll::new().unwrap(), 8), ErrorKind::InvalidInput);
    let (from, sender) = socket::pair().unwrap();
    socket::send(&sender, b"a").unwrap();
    assert_eq!(pipe.fill(&from, 1).unwrap(), 1);
    assert_kind(pipe.drain(Epoll::new().unwrap(), 8), ErrorKind::InvalidInput);
}

#[test]
fn a_pipe_grows_as_far_as_the_system_allows() {
    let pipe = pipe();
    assert!(pipe.set_capacity(256 * 1024).unwrap() >= 256 * 1024);
    assert_kind(pipe.set_capacity(2 << 30), ErrorKind::PermissionDenied);
    let all: usize =
        std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap().trim().parse().unwrap();
    without(CapabilitySet::SYS_RESOURCE, move || {
        assert_kind(pipe.set_capacity(all * 2), ErrorKind::PermissionDenied);
        let (from, sender) = socket::pair().unwrap();
        for _ in 0..8 {
            socket::send(&sender, &[0; 4096]).unwrap();
            pipe.fill(&from, 4096).unwrap();
        }
        assert_kind(pipe.set_capacity(4096), ErrorKind::ResourceBusy);
    });
}

#[test]
fn the_pipes_of_a_user_grow_together_only_as_far_as_the_system_allows() {
    const CAPACITY: usize = 1 << 20;
    on_own_thread(|| {
        // The pages of all pipes are counted for each user. One of whom there is no other process
        // leaves the pipes of this user alone; who cannot become another lacks the capability anyway.
        let nobody_else = Uid::from_raw(4_000_000_019);
        let _ = set_thread_res_uid(nobody_else, nobody_else, nobody_else);
        let soft = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap();
        let pipes_max = soft.trim().parse::<usize>().unwrap() * 4096 / CAPACITY + 1;
        let mut pipes = Vec::new();
        let error = loop {
            assert!(pipes.len() < pipes_max, "{pipes_max} pipes of {CAPACITY} bytes");
            let pipe = pipe();
            match pipe.set_capacity(CAPACITY) {
                Ok(capacity) => assert_eq!(capacity, CAPACITY),
                Err(error) => break error,
            }
            pipes.push(pipe);
        };
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn both_ends_of_a_pipe_can_be_watched() {
    let (from, sender) = socket::pair().unwrap();
    let pipe = pipe();
    let epoll = Epoll::new().unwrap();
    epoll.add(pipe.reader(), 1, Watch::level(Interest::IN)).unwrap();
    epoll.add(pipe.writer(), 2, Watch::level(Interest::OUT)).unwrap();
    let data = || look(&epoll).iter().map(|event| event.data).collect::<Vec<_>>();
    assert_eq!(data(), [2]);
    socket::send(&sender, b"a").unwrap();
    assert_eq!(pipe.fill(&from, 1).unwrap(), 1);
    assert_eq!(data().iter().sum::<u64>(), 1 + 2);
}

#[test]
fn out_of_descriptors_is_emfile() {
    in_own_process("pipes::out_of_descriptors_is_emfile", || {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
        assert_errno(Pipe::new(), Errno::MFILE);
        setrlimit(Resource::Nofile, before).unwrap();
    });
}

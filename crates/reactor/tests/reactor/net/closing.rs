//! Closing a listener: what waits in its queue is handed out, and nobody is reset.

use super::{assert_ends, assert_receives, assert_silent, queued, tcp_listener};
use epoll_kit_testing::{assert_kind, close};
use epoll_reactor::net::{Address, BatchEnd, ListenOptions, Listener, Stream};
use std::io::{ErrorKind, Read, Write};

#[test]
fn closing_hands_out_a_queue_that_is_longer_than_a_batch() {
    let options = ListenOptions { accept_batch_max: 4, ..ListenOptions::default() };
    let mut listener = tcp_listener(&options);
    let clients = queued(&listener, 40);
    let mut accepted: Vec<Stream> = listener.accept_batch().map(|one| one.stream).collect();
    assert_eq!(accepted.len(), 4);
    let address = *listener.address();
    let mut closing = listener.close();
    assert_eq!(closing.end(), None);
    accepted.extend(closing.by_ref().map(|one| one.stream));
    assert_eq!(closing.end(), Some(BatchEnd::QueueEmpty));
    assert_eq!(closing.counters().accepted, 40);
    close(closing);
    assert_eq!(accepted.len(), 40);
    for (mut server, client) in accepted.iter().zip(&clients) {
        assert_silent(client);
        assert_eq!(server.write(b"welcome").unwrap(), 7);
        assert_receives(client, b"welcome");
    }
    assert_kind(
        std::net::TcpStream::connect(address.inet().unwrap()),
        ErrorKind::ConnectionRefused,
    );
}

#[test]
fn dropping_a_listener_resets_what_waits() {
    let listener = tcp_listener(&ListenOptions::default());
    let clients = queued(&listener, 3);
    close(listener);
    for mut client in &clients {
        assert_ends(client);
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    }
    // What an iterator has not handed out when it is dropped is no better off.
    let listener = tcp_listener(&ListenOptions::default());
    let clients = queued(&listener, 3);
    let mut closing = listener.close();
    let _first = closing.next().unwrap();
    close(closing);
    assert_silent(&clients[0]);
    assert_ends(&clients[1]);
    assert_ends(&clients[2]);
}

#[test]
fn closing_ends_although_clients_go_on_coming() {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::unix(directory.path().join("socket")).unwrap();
    let options = ListenOptions { backlog: 3, ..ListenOptions::default() };
    let listener = Listener::bind(&address, &options).unwrap();
    let mut clients = vec![Stream::connect(&address).unwrap()];
    let mut closing = listener.close();
    while closing.next().is_some() {
        clients.push(Stream::connect(&address).unwrap());
    }
    // As many as can wait at once: the backlog and one more.
    assert_eq!(clients.len(), 1 + 4);
    assert_eq!(closing.end(), Some(BatchEnd::BatchFull));
    assert!(address.as_path().unwrap().exists());
    close(closing);
    assert!(!address.as_path().unwrap().exists());
}

//! The client's side, with the server's at the other end.

use crate::harness::{BOTH, LOCALHOST, PLENTY, Pem, server};
use crate::script::{Calls, Script};
use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_tls::{Tls, TlsClientConfig, TlsLocal};
use std::io::ErrorKind;

type Side = Driver<Tls<Script>>;

fn config(authority: &Pem) -> TlsClientConfig {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("authorities.pem");
    std::fs::write(&path, &authority.certificate).unwrap();
    TlsClientConfig::from_authorities(&path).unwrap()
}

fn side(trigger: Trigger, tls: Tls<Script>) -> Side {
    let mut driver = Driver::new(trigger, tls, TlsLocal::new(Calls::new()));
    driver.act(Act::Room(PLENTY));
    driver
}

/// Passes on what both say until neither says more.
#[track_caller]
fn exchange(sides: [&mut Side; 2], taken: &mut [usize; 2], piece: usize) {
    let [client, server] = sides;
    loop {
        let to_server = pass(client, server, taken[0], piece);
        let to_client = pass(server, client, taken[1], piece);
        if to_server + to_client == 0 {
            return;
        }
        taken[0] += to_server;
        taken[1] += to_client;
    }
}

/// Passes on what one side has sent beyond `taken`. Returns how much it was.
#[track_caller]
fn pass(from: &Side, to: &mut Side, taken: usize, piece: usize) -> usize {
    let new = from.sent()[taken..].to_vec();
    for piece in new.chunks(piece) {
        to.act(Act::Arrive(piece.to_vec()));
    }
    new.len()
}

#[test]
fn two_sides_of_this_crate_talk() {
    for trigger in BOTH {
        for piece in [1, 100, PLENTY] {
            let script = Script { open: "line say a; after 9", ..Script::NEW };
            let tls = config(&LOCALHOST).connect("localhost", script).unwrap();
            let (mut client, mut server) =
                (side(trigger, tls), side(trigger, server().accept(Script::NEW)));
            let mut taken = [0, 0];
            exchange([&mut client, &mut server], &mut taken, piece);
            assert_eq!(client.local().protocol, ["open"], "{trigger:?}");
            client.message(&["line keep"]);
            exchange([&mut client, &mut server], &mut taken, piece);
            assert_eq!(server.local().protocol[1..], ["say a", "keep"]);
            client.message(&["finish"]);
            exchange([&mut client, &mut server], &mut taken, piece);
            assert_eq!(server.local().protocol[3], "peer finished after \"\"");
            server.act(Act::Fin);
            assert_eq!(server.local().protocol.last().unwrap(), "PeerClosed");
            client.act(Act::Fin);
            assert_eq!(client.closed(), Some(CloseReason::Finished));
        }
    }
}

#[test]
fn a_server_that_is_not_trusted_is_refused_with_an_alert() {
    let tls = config(&Pem::of("localhost")).connect("localhost", Script::NEW).unwrap();
    let (mut client, mut server) =
        (side(Trigger::Level, tls), side(Trigger::Level, server().accept(Script::NEW)));
    exchange([&mut client, &mut server], &mut [0, 0], PLENTY);
    assert!(client.is_output_closed());
    client.act(Act::Fin);
    server.act(Act::Fin);
    assert_eq!(client.local().protocol, ["Failed(InvalidData)"]);
    assert_eq!(server.local().protocol, ["Failed(ConnectionAborted)"]);
}

#[test]
fn a_connection_that_is_refused_is_told() {
    let tls = config(&LOCALHOST).connect("localhost", Script::NEW).unwrap();
    let mut client = Driver::connecting(Trigger::Level, tls, TlsLocal::new(Calls::new()));
    client.connect(Err(ErrorKind::ConnectionRefused.into()));
    assert_eq!(client.local().protocol, ["ConnectFailed(ConnectionRefused)"]);
    assert!(config(&LOCALHOST).connect("no name", Script::NEW).is_err());
}

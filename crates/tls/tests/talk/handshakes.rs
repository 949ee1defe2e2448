//! Tests of handshakes: their agreements and their failures.

use crate::harness::{BOTH, LOCALHOST, PLENTY, Pem, Talk, VERSIONS, client, client_of, server};
use crate::script::{Calls, Script};
use epoll_connection::CloseReason;
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_tls::rustls::crypto::ring::sign::any_supported_type;
use epoll_tls::rustls::pki_types::ServerName;
use epoll_tls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use epoll_tls::rustls::version::{TLS12, TLS13};
use epoll_tls::rustls::{AlertDescription, ClientConfig, ClientConnection, Error};
use epoll_tls::{ClientCertificates, TlsConfig, TlsLocal};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// A talk between these two.
fn talk(server: &TlsConfig, client: ClientConfig) -> Talk {
    let tls = server.accept(Script::NEW).on_handshake(Script::note);
    Talk::of(Driver::new(Trigger::Level, tls, TlsLocal::new(Calls::new())), client)
}

/// Returns the outcome of their handshake.
#[track_caller]
fn agreed(server: &TlsConfig, client: ClientConfig) -> String {
    let mut talk = talk(server, client);
    talk.exchange();
    talk.say("say a\n");
    assert_eq!(talk.received, b"a", "{:?}", talk.error);
    talk.driver.protocol().protocol().handshake.clone()
}

#[test]
fn both_versions_are_spoken() {
    assert_eq!(agreed(&server(), client(&TLS12)), "TLSv1_2 None 0");
    assert_eq!(agreed(&server(), client(&TLS13)), "TLSv1_3 None 0");
}

#[test]
fn an_application_protocol_is_agreed_on() {
    let server = TlsConfig::builder(LOCALHOST.identity()).alpn(["h2", "http/1.1"]).build().unwrap();
    for version in VERSIONS {
        let mut config = client(version);
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        assert!(agreed(&server, config).contains("Some(\"h2\")"));
        let mut config = client(version);
        config.alpn_protocols = vec![b"other".to_vec()];
        let mut talk = talk(&server, config);
        talk.exchange();
        let alert = AlertDescription::NoApplicationProtocol;
        assert_eq!(talk.error, Some(Error::AlertReceived(alert)));
        assert_eq!(talk.calls(), Vec::<String>::new(), "never opened");
        talk.driver.act(Act::Fin);
        assert_eq!(talk.driver.closed(), Some(CloseReason::Finished));
        assert_eq!(talk.calls(), ["Failed(InvalidData)"]);
    }
}

#[test]
fn a_certificate_is_chosen_by_name() {
    let other = Pem::of("other.example");
    let server = TlsConfig::builder(LOCALHOST.identity())
        .name("other.example", other.identity())
        .build()
        .unwrap();
    for (name, pem) in [
        ("localhost", &*LOCALHOST),
        ("other.example", &other),
        ("unknown.example", &LOCALHOST),
        // No name is sent for an address.
        ("127.0.0.1", &LOCALHOST),
    ] {
        let mut talk = talk(&server, client_of(&[&LOCALHOST, &other], &TLS13));
        let config = Arc::new(client_of(&[&LOCALHOST, &other], &TLS13));
        talk.client = ClientConnection::new(config, ServerName::try_from(name).unwrap()).unwrap();
        talk.exchange();
        if pem.certificate == LOCALHOST.certificate && name != "localhost" {
            assert!(matches!(talk.error, Some(Error::InvalidCertificate(_))), "{name}");
        } else {
            assert_eq!(talk.client.peer_certificates().unwrap(), [pem.der().0], "{name}");
        }
    }
    let wrong = TlsConfig::builder(LOCALHOST.identity()).name("wrong.example", other.identity());
    let error = wrong.build().unwrap_err().to_string();
    assert!(error.contains("'wrong.example'"), "{error}");
}

#[test]
fn a_session_is_resumed_with_a_ticket() {
    for version in VERSIONS {
        let config = client(version);
        assert!(!agreed(&server(), config.clone()).contains("resumed"));
        assert!(agreed(&server(), config.clone()).contains("resumed"), "{version:?}");
        // Another server does not know it.
        let other = TlsConfig::builder(LOCALHOST.identity()).build().unwrap();
        assert!(!agreed(&other, config).contains("resumed"));
    }
}

#[test]
fn a_client_s_certificate_is_checked_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("authorities.pem");
    let (known, unknown) = (Pem::of("known"), Pem::of("unknown"));
    std::fs::write(&authorities, &known.certificate).unwrap();
    for certificates in [ClientCertificates::Optional, ClientCertificates::Required] {
        let server = TlsConfig::builder(LOCALHOST.identity());
        let server = server.clients(&authorities, certificates).unwrap().build().unwrap();
        for version in VERSIONS {
            let with = |pem: &Pem| {
                let (certificate, key) = pem.der();
                let mut config = client(version);
                let key = any_supported_type(&key).unwrap();
                let key = CertifiedKey::new(vec![certificate], key);
                config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
                config
            };
            assert!(agreed(&server, with(&known)).ends_with(" 1"), "{version:?}");
            let mut refused = talk(&server, with(&unknown));
            refused.exchange();
            assert!(matches!(refused.error, Some(Error::AlertReceived(_))), "{:?}", refused.error);
            let mut without = talk(&server, client(version));
            without.exchange();
            let is_required = certificates == ClientCertificates::Required;
            assert_eq!(without.error.is_some(), is_required, "{:?}", without.error);
        }
    }
    let nothing = folder.path().join("nothing.pem");
    std::fs::write(&nothing, "nothing").unwrap();
    let server = TlsConfig::builder(LOCALHOST.identity());
    let error = server.clients(&nothing, ClientCertificates::Required).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: not a certificate in PEM", nothing.display()));
}

#[test]
fn a_handshake_that_does_not_end_is_dropped_at_its_deadline() {
    for trigger in BOTH {
        for bytes in [0, 1, 5, 100] {
            let mut talk = Talk::new(trigger, Script::NEW, &TLS13);
            let hello = talk.outgoing();
            talk.driver.act(Act::Room(PLENTY));
            talk.driver.act(Act::Arrive(hello[..bytes].to_vec()));
            talk.driver.pass_time(Duration::from_millis(9_999));
            assert_eq!(talk.driver.closed(), None);
            talk.driver.pass_time(Duration::from_millis(1));
            assert_eq!(talk.driver.closed(), Some(CloseReason::Aborted), "{trigger:?}");
            assert_eq!(talk.calls(), ["Failed(TimedOut)"]);
        }
    }
}

#[test]
fn the_deadline_of_a_handshake_is_over_with_it() {
    for trigger in BOTH {
        let mut talk = Talk::open(trigger, Script::NEW, &TLS13);
        talk.driver.pass_time(Duration::from_secs(1000));
        assert_eq!(talk.calls(), ["open"]);

        let script = Script { open: "after 20", deadline: "say d", ..Script::NEW };
        let mut talk = Talk::new(trigger, script, &TLS13);
        talk.driver.pass_time(Duration::from_secs(9));
        talk.exchange();
        talk.driver.pass_time(Duration::from_secs(19));
        assert_eq!(talk.calls(), ["open"]);
        talk.driver.pass_time(Duration::from_secs(1));
        talk.take();
        assert_eq!(
            (talk.calls(), talk.received),
            (vec!["open".into(), "deadline".into()], b"d".to_vec())
        );
    }
}

#[test]
fn a_handshake_may_have_another_deadline_or_none() {
    for (timeout, lasts) in [(Some(3), Some(3)), (None, None)] {
        let config = server().with_handshake_timeout(timeout.map(Duration::from_secs));
        let mut talk = talk(&config, client(&TLS13));
        talk.driver.pass_time(Duration::from_secs(2));
        assert_eq!(talk.driver.closed(), None);
        talk.driver.pass_time(Duration::from_secs(100));
        assert_eq!(talk.driver.closed().is_some(), lasts.is_some());
    }
}

#[test]
fn nothing_reaches_a_protocol_before_the_handshake_is_done_but_the_drain_after_it() {
    for trigger in BOTH {
        let script = Script { drain: "say drain", ..Script::NEW };
        let mut talk = Talk::new(trigger, script, &TLS13);
        talk.driver.act(Act::Room(PLENTY));
        let hello = talk.outgoing();
        talk.driver.act(Act::Arrive(hello[..50].to_vec()));
        talk.driver.message(&["say lost"]);
        talk.driver.drain();
        assert_eq!(talk.calls(), Vec::<String>::new());
        talk.driver.act(Act::Arrive(hello[50..].to_vec()));
        talk.take();
        talk.exchange();
        assert_eq!(talk.calls(), ["open", "drain"]);
        assert_eq!(talk.received, b"drain");
    }
}

#[test]
fn an_owner_or_a_peer_may_end_a_handshake() {
    for trigger in BOTH {
        for end in 0..4 {
            let mut talk = Talk::new(trigger, Script::NEW, &TLS13);
            talk.driver.act(Act::Room(PLENTY));
            let hello = talk.outgoing();
            talk.driver.act(Act::Arrive(hello));
            match end {
                0 => talk.driver.finish(),
                1 => talk.driver.end(),
                2 => talk.driver.act(Act::Fin),
                _ => talk.driver.act(Act::Reset),
            }
            talk.driver.act(Act::Fin);
            let told = ["Drained", "Drained", "Failed(UnexpectedEof)", "Failed(ConnectionReset)"];
            assert_eq!(talk.calls(), [told[end]], "{trigger:?}");
        }
    }
}

#[test]
fn a_hello_in_many_records_is_put_together() {
    for trigger in BOTH {
        for fragment in [32, 40, 100] {
            let mut config = client(&TLS13);
            config.max_fragment_size = Some(fragment);
            // Longer than a record of the usual length.
            config.alpn_protocols =
                (0..100).map(|n| format!("protocol {n}").into_bytes()).collect();
            let tls = server().accept(Script::NEW);
            let driver = Driver::new(trigger, tls, TlsLocal::new(Calls::new()));
            let mut talk = Talk::of(driver, config);
            talk.piece = 33;
            talk.exchange();
            talk.say("say a\n");
            assert_eq!(talk.received, b"a", "{:?}", talk.error);
        }
    }
}

/// A message that arrives in pieces must not disturb what the inner protocol sends meanwhile.
#[test]
fn a_message_is_sent_while_a_handshake_message_is_not_complete() {
    let mut config = client(&TLS13);
    config.max_fragment_size = Some(32);
    let tls = server().accept(Script::NEW);
    let mut talk = Talk::of(Driver::new(Trigger::Level, tls, TlsLocal::new(Calls::new())), config);
    talk.exchange();
    talk.client.refresh_traffic_keys().unwrap();
    let update = talk.outgoing();
    for byte in update {
        talk.driver.act(Act::Arrive(vec![byte]));
        talk.driver.message(&["say m"]);
    }
    talk.client.writer().write_all(b"say a\n").unwrap();
    talk.exchange();
    assert!(talk.received.ends_with(b"ma"), "{:?}", talk.error);
}

//! Certificates, and a client of rustls at the other end of the test kit's wire.

use crate::script::{Calls, Script};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{Limits, Protocol};
use epoll_tls::rustls::pki_types::pem::PemObject;
use epoll_tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use epoll_tls::rustls::{
    self, ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
};
use epoll_tls::{Identity, Tls, TlsConfig, TlsLocal};
use rcgen::{CertificateParams, KeyPair};
use std::io::{ErrorKind, Read, Write};
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};

pub(crate) const BOTH: [Trigger; 2] = [Trigger::Level, Trigger::Edge];
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// More than any test writes.
pub(crate) const PLENTY: usize = 1 << 24;

/// A certificate that certifies itself, and its key, in PEM.
pub(crate) struct Pem {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pem {
    pub(crate) fn of(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, key: key.serialize_pem() }
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::from_pem(self.certificate.as_bytes(), self.key.as_bytes()).unwrap()
    }

    pub(crate) fn der(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        (certificate, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }
}

/// The server of most tests.
pub(crate) static LOCALHOST: LazyLock<Pem> = LazyLock::new(|| Pem::of("localhost"));
static SERVER: LazyLock<TlsConfig> =
    LazyLock::new(|| TlsConfig::builder(LOCALHOST.identity()).build().unwrap());

pub(crate) fn server() -> TlsConfig {
    SERVER.clone()
}

/// A client that trusts these servers and speaks this version, for [`rustls`] to be told more.
pub(crate) fn client_of(
    servers: &[&Pem],
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    servers.iter().for_each(|pem| roots.add(pem.der().0).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

pub(crate) fn client(version: &'static SupportedProtocolVersion) -> ClientConfig {
    client_of(&[&LOCALHOST], version)
}

/// The default limits, with a read buffer of `len` bytes.
pub(crate) fn buffer(len: usize) -> Limits {
    Limits { read_buffer_len: NonZeroUsize::new(len).unwrap(), ..Limits::default() }
}

/// A server's connection and its client.
pub(crate) struct Talk<P: Protocol = Script> {
    pub(crate) driver: Driver<Tls<P>>,
    pub(crate) client: ClientConnection,
    /// The client sends so many bytes at once.
    pub(crate) piece: usize,
    /// The client takes this many bytes for each piece.
    pub(crate) room: usize,
    /// The number of bytes that the server has sent and the client has taken.
    taken: usize,
    /// The bytes that the client has decrypted.
    pub(crate) received: Vec<u8>,
    /// The client has seen a `close_notify`.
    pub(crate) is_closed: bool,
    pub(crate) error: Option<rustls::Error>,
}

impl Talk {
    /// A connection of this script, of which the handshake is to come.
    #[track_caller]
    pub(crate) fn new(
        trigger: Trigger,
        script: Script,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        Self::with_limits(trigger, script, version, Limits::default())
    }

    #[track_caller]
    pub(crate) fn with_limits(
        trigger: Trigger,
        script: Script,
        version: &'static SupportedProtocolVersion,
        limits: Limits,
    ) -> Self {
        let tls = server().accept(script).on_handshake(Script::note);
        let driver = Driver::with_limits(trigger, tls, TlsLocal::new(Calls::new()), limits);
        Self::of(driver, client(version))
    }

    /// A connection of this script after the handshake.
    #[track_caller]
    pub(crate) fn open(
        trigger: Trigger,
        script: Script,
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        let mut talk = Self::new(trigger, script, version);
        talk.exchange();
        assert!(!talk.client.is_handshaking(), "{:?}", talk.error);
        talk
    }

    pub(crate) fn calls(&mut self) -> Calls {
        self.driver.local().protocol.clone()
    }
}

impl<P: Protocol> Talk<P> {
    pub(crate) fn of(driver: Driver<Tls<P>>, config: ClientConfig) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            driver,
            client: ClientConnection::new(Arc::new(config), name).unwrap(),
            piece: usize::MAX,
            room: PLENTY,
            taken: 0,
            received: Vec::new(),
            is_closed: false,
            error: None,
        }
    }

    /// Sends bytes from the client, and exchanges until the answer has come back.
    #[track_caller]
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.write(bytes);
        self.exchange();
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.writer().write_all(bytes.as_ref()).unwrap();
    }

    /// Takes what the client has to send.
    pub(crate) fn outgoing(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Passes on what both sides send until neither has more to say.
    #[track_caller]
    pub(crate) fn exchange(&mut self) {
        loop {
            let bytes = self.outgoing();
            if bytes.is_empty() {
                self.driver.act(Act::Room(self.room));
            }
            for piece in bytes.chunks(self.piece) {
                self.driver.act(Act::Arrive(piece.to_vec()));
                self.driver.act(Act::Room(self.room));
            }
            if !self.take() && bytes.is_empty() && self.driver.counts().2 == 0 {
                return;
            }
        }
    }

    /// Brings the client what was sent. Returns whether there was anything.
    #[track_caller]
    pub(crate) fn take(&mut self) -> bool {
        let sent = self.driver.sent();
        let mut new = &sent[self.taken..];
        let is_new = !new.is_empty();
        self.taken = sent.len();
        while !new.is_empty() && self.error.is_none() {
            if self.client.read_tls(&mut new).unwrap() == 0 {
                assert!(self.is_closed, "the client takes nothing");
                panic!("the server sends after its close_notify");
            }
            match self.client.process_new_packets() {
                Ok(state) => self.is_closed |= state.peer_has_closed(),
                Err(error) => self.error = Some(error),
            }
            let mut reader = self.client.reader();
            match reader.read_to_end(&mut self.received) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        is_new
    }

    /// Closes the client in order: its `close_notify`, then its half.
    #[track_caller]
    pub(crate) fn close(&mut self) {
        self.client.send_close_notify();
        self.exchange();
        self.driver.act(Act::Fin);
        self.take();
    }
}

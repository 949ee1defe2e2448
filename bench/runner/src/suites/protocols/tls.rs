//! The client's side of TLS: a certificate for a server, connections to it, and the outcome of their handshake.

use super::greeting::Greeting;
use anyhow::{Context, bail, ensure};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// The name of the file with the certificate, in the folder of a server.
pub(crate) const CERTIFICATE: &str = "certificate.pem";
/// The name of the file with its key.
pub(crate) const KEY: &str = "key.pem";
/// The command that makes both in `target/bench`, for servers that are started by hand.
pub(crate) const BY_HAND: &str = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -subj /CN=localhost -keyout target/bench/key.pem -out target/bench/certificate.pem 2>/dev/null; ";

const NAME: &str = "localhost";

/// The configuration of the client of one server, which trusts its certificate. It offers everything, and
/// resumes nothing.
pub(crate) struct Client(Arc<ClientConfig>);

/// A connection after its handshake.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Writes a self-signed certificate and its key, of P-256, into a folder. Returns the client that trusts it.
pub(crate) fn certify(folder: &Path) -> anyhow::Result<Client> {
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    for (name, text) in [(CERTIFICATE, own.cert.pem()), (KEY, own.signing_key.serialize_pem())] {
        fs::write(folder.join(name), text).with_context(|| format!("failed to write {name}"))?;
    }
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone())?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Client(Arc::new(config)))
}

impl Client {
    /// Makes a full handshake.
    ///
    /// # Errors
    ///
    /// The handshake fails, or is not a full one, with a single round trip.
    pub(crate) fn shake_hands(&self, mut stream: TcpStream) -> anyhow::Result<Stream> {
        let mut client = ClientConnection::new(Arc::clone(&self.0), NAME.try_into()?)?;
        while client.is_handshaking() {
            client.complete_io(&mut stream).context("failed to shake hands")?;
        }
        let kind = client.handshake_kind();
        ensure!(kind == Some(HandshakeKind::Full), "the handshake was {kind:?}");
        Ok(StreamOwned::new(client, stream))
    }

    /// Returns the parameters that a server negotiates with a client that offers everything.
    ///
    /// # Errors
    ///
    /// The server does not answer as the greeting says.
    pub(crate) fn agree(&self, stream: TcpStream, greeting: Greeting) -> anyhow::Result<Agreement> {
        let mut stream = self.shake_hands(stream)?;
        // The tickets come before the answer.
        stream.write_all(greeting.request)?;
        stream.read_exact(&mut vec![0; greeting.answer.len()]).context("no answer")?;
        let client = &stream.conn;
        let (Some(version), Some(suite), Some(group)) = (
            client.protocol_version(),
            client.negotiated_cipher_suite(),
            client.negotiated_key_exchange_group(),
        ) else {
            bail!("nothing was agreed on")
        };
        let agreed = format!("{version:?}, {:?}, {:?}", suite.suite(), group.name());
        Ok(Agreement { agreed, tickets: client.tls13_tickets_received() })
    }
}

/// The negotiated parameters, which determine the work of a connection besides the bytes that it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// Version, cipher suite and group.
    pub(crate) agreed: String,
    pub(crate) tickets: u32,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { agreed, tickets } = self;
        write!(f, "{agreed}, {tickets} tickets a handshake")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection};
    use std::net::TcpListener;
    use std::thread;

    const GREETING: Greeting = Greeting { request: b"x", answer: b"x" };

    /// Agrees with a server that has the suites of this number on, and sends so many tickets.
    fn agreement(suite: usize, tickets: usize) -> Agreement {
        let folder = tempfile::TempDir::new().unwrap();
        let client = certify(folder.path()).unwrap();
        let mut provider = ring::default_provider();
        provider.cipher_suites.drain(..suite);
        let chain = CertificateDer::from_pem_file(folder.path().join(CERTIFICATE)).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.path().join(KEY)).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        config.send_tls13_tickets = tickets;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = thread::spawn(move || {
            let server = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(server, listener.accept().unwrap().0);
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            stream.write_all(&byte).unwrap();
        });
        let agreed = client.agree(TcpStream::connect(address).unwrap(), GREETING).unwrap();
        serve.join().unwrap();
        agreed
    }

    #[test]
    fn what_is_agreed_on_is_seen() {
        let first = agreement(0, 2);
        assert_eq!(
            first.to_string(),
            "TLSv1_3, TLS13_AES_256_GCM_SHA384, X25519, 2 tickets a handshake"
        );
        assert_eq!(first, agreement(0, 2));
        assert_ne!(first, agreement(1, 2));
        assert_ne!(first, agreement(0, 1));
    }
}

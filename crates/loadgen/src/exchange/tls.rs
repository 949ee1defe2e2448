//! TLS around another protocol, as its client. The handshake begins with the first request and is part of its
//! latency.

use super::{Exchange, Verdict};
use crate::failure::{End, Failure};
use anyhow::Context;
use epoll_sys::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

/// The settings of all connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    /// Returns the settings for a server with this name or IP address, whose certificate has to be signed by
    /// one in the file `ca`; `None` accepts any certificate.
    pub(crate) fn new(host: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("'{host}' is no name for a certificate"))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("failed to set up TLS")?;
        let config = match ca {
            Some(path) => builder.with_root_certificates(roots(path)?).with_no_client_auth(),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
                .with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config), name })
    }

    fn connect(&self) -> Result<ClientConnection, Error> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone())
    }
}

fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let failed = || format!("failed to read the certificates of --tls-ca {}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).with_context(failed)? {
        roots.add(certificate.with_context(failed)?).with_context(failed)?;
    }
    if roots.is_empty() {
        anyhow::bail!("{}: there are none", failed());
    }
    Ok(roots)
}

/// A connection of another protocol over TLS.
#[derive(Debug)]
pub(crate) struct Tls<E> {
    client: Client,
    /// An error ends the connection with the first request.
    connection: Result<ClientConnection, Error>,
    inner: E,
    /// Records; those before `sent` are sent.
    records: Vec<u8>,
    sent: usize,
}

impl<E: Exchange> Tls<E> {
    pub(crate) fn new(client: &Client, inner: E) -> Self {
        let connection = client.connect();
        Self { client: client.clone(), connection, inner, records: Vec::new(), sent: 0 }
    }

    /// Makes records of what is to be sent, once those before are sent: rustls takes 64 KiB at a time.
    fn fill(&mut self) {
        let Ok(connection) = &mut self.connection else { return };
        if self.sent < self.records.len() {
            return;
        }
        self.records.clear();
        self.sent = 0;
        // Writing to memory does not fail.
        if let Ok(len) = connection.writer().write(self.inner.unsent()) {
            self.inner.sent(len);
        }
        while connection.wants_write() && connection.write_tls(&mut self.records).is_ok() {}
    }
}

impl<E: Exchange> Exchange for Tls<E> {
    fn restart(&mut self, number: u64) {
        self.connection = self.client.connect();
        self.inner.restart(number);
        self.records.clear();
        self.sent = 0;
    }

    fn has_room(&self) -> bool {
        self.inner.has_room()
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn in_flight_since(&self, from: Timestamp) -> usize {
        self.inner.in_flight_since(from)
    }

    fn begin(&mut self, due: Timestamp, now: Timestamp) {
        self.inner.begin(due, now);
        self.fill();
    }

    fn unsent(&self) -> &[u8] {
        &self.records[self.sent..]
    }

    fn sent(&mut self, len: usize) {
        self.sent += len;
        self.fill();
    }

    fn receive(&mut self, mut bytes: &[u8], judged: &mut dyn FnMut(Verdict)) -> Result<(), End> {
        let connection = self.connection.as_mut().map_err(|error| failed(error))?;
        while !bytes.is_empty() {
            if connection.read_tls(&mut bytes).map_err(|error| failed(&error))? == 0 {
                break;
            }
            connection.process_new_packets().map_err(|error| failed(&error))?;
            let mut reader = connection.reader();
            // `WouldBlock` says that there is no more; nothing at all, that the server has ended the stream.
            while let Ok(plain @ [_, ..]) = reader.fill_buf() {
                let len = plain.len();
                self.inner.receive(plain, judged)?;
                reader.consume(len);
            }
        }
        self.fill();
        Ok(())
    }

    fn finish(&mut self) {
        if let Ok(connection) = &mut self.connection {
            connection.send_close_notify();
        }
        self.fill();
    }
}

fn failed(error: &dyn std::error::Error) -> End {
    End { failure: Failure::Tls, what: format!("TLS failed: {error}") }
}

/// Accepts any certificate, but only for its own key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

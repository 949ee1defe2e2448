//! The arguments of the servers over TLS, and their settings of rustls.

use anyhow::Context;
use epoll_tls::rustls::ServerConfig;
use epoll_tls::rustls::crypto::{CryptoProvider, ring};
use epoll_tls::rustls::pki_types::pem::PemObject;
use epoll_tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;

/// The arguments of a server.
#[derive(Debug)]
pub struct Arguments {
    /// The address to listen at.
    pub address: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Arguments {
    /// Reads `ADDRESS CERTIFICATE KEY` from the command line; the last two are PEM files.
    ///
    /// # Errors
    ///
    /// An argument that is missing or wrong, or a file that cannot be read.
    pub fn read() -> anyhow::Result<Self> {
        let arguments: Vec<_> = std::env::args().skip(1).collect();
        let [address, certificate, key] = &arguments[..] else {
            anyhow::bail!("usage: ADDRESS CERTIFICATE KEY")
        };
        let address = address.parse().context("that is no address")?;
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect)
            .with_context(|| format!("failed to read {certificate}"))?;
        let key =
            PrivateKeyDer::from_pem_file(key).with_context(|| format!("failed to read {key}"))?;
        Ok(Self { address, chain, key })
    }

    /// Returns the settings of rustls, with stateless session tickets, which are the default of nginx and
    /// epoll-tls as well.
    ///
    /// # Errors
    ///
    /// The key does not fit the certificate.
    pub fn settings(self, provider: CryptoProvider) -> anyhow::Result<ServerConfig> {
        let mut settings = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)?;
        settings.ticketer = ring::Ticketer::new()?;
        Ok(settings)
    }
}

/// Returns a provider with one version, cipher suite and group, so that nothing depends on what a client prefers.
/// They are those of the runner's configuration of nginx.
#[must_use]
pub fn one_suite() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![ring::kx_group::X25519],
        ..ring::default_provider()
    }
}

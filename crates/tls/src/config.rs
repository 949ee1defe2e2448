//! The configuration that connections share: certificates, keys, and the offers to peers.

use crate::error::{ConfigError, Reason};
use crate::session::Side;
use crate::tls::Tls;
use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{
    ClientHello, ResolvesServerCert, ResolvesServerCertUsingSni, ServerConfig,
    UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ConfigBuilder, ConfigSide, RootCertStore, WantsVerifier};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HANDSHAKE_TIMEOUT: Option<Duration> = Some(Duration::from_secs(10));

/// A certificate with those that certify it, and its key.
#[derive(Clone, Debug)]
pub struct Identity(CertifiedKey);

impl Identity {
    /// Reads PEM files: the certificate, which others that certify it may follow, and the key.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or has no such thing, or a key that does not fit. The error names the file.
    pub fn from_pem_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, ConfigError> {
        let chain = certificates_of(certificates.as_ref())?;
        let in_key = |reason| ConfigError::of(key.as_ref(), reason);
        let key = PrivateKeyDer::from_pem_file(&key)
            .map_err(|error| in_key(Reason::Pem("a private key", error)))?;
        Self::new(chain, key).map_err(in_key)
    }

    /// Takes the same in PEM from memory.
    ///
    /// # Errors
    ///
    /// Something that is missing or wrong, or a key that does not fit.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        let chain = collect(CertificateDer::pem_slice_iter(certificates))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| Reason::Pem("a private key", error))?;
        Ok(Self::new(chain, key)?)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Reason> {
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map(Self).map_err(Reason::Tls)
    }
}

fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let in_file = |reason| ConfigError::of(path, reason);
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| in_file(Reason::Pem("a certificate", error)))?;
    collect(certificates).map_err(in_file)
}

fn collect(
    certificates: impl Iterator<Item = Result<CertificateDer<'static>, rustls::pki_types::pem::Error>>,
) -> Result<Vec<CertificateDer<'static>>, Reason> {
    let certificates = certificates.collect::<Result<Vec<_>, _>>().and_then(|all| match all[..] {
        [] => Err(rustls::pki_types::pem::Error::NoItemsFound),
        _ => Ok(all),
    });
    certificates.map_err(|error| Reason::Pem("a certificate", error))
}

/// Reads the certificates of authorities from a PEM file.
fn roots_of(path: &Path) -> Result<Arc<RootCertStore>, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(path)? {
        roots.add(certificate).map_err(|error| ConfigError::of(path, Reason::Tls(error)))?;
    }
    Ok(Arc::new(roots))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn versions<S: ConfigSide>(
    builder: ConfigBuilder<S, rustls::WantsVersions>,
) -> Result<ConfigBuilder<S, WantsVerifier>, ConfigError> {
    Ok(builder.with_safe_default_protocol_versions().map_err(Reason::Tls)?)
}

/// The settings of a server's TLS. A clone shares them.
///
/// Early data is never accepted, because it can be replayed.
///
/// # Examples
///
/// A service with TLS at its second address, and without at its first:
///
/// ```
/// use epoll_connection::{Consumed, Context, Either, Protocol};
/// use epoll_service::{Config, Peer, Server, Service, Signal, Signals};
/// use epoll_tls::{Identity, Tls, TlsConfig, TlsLocal};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     type Local = ();
///     type Message = ();
///
///     fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
///         Consumed::pass(input.len())
///     }
/// }
///
/// struct Both(TlsConfig);
///
/// impl Service for Both {
///     type Protocol = Either<Echo, Tls<Echo>>;
///
///     fn local(&self, _: usize) -> ((), TlsLocal<()>) {
///         ((), TlsLocal::new(()))
///     }
///
///     fn accept(
///         &self,
///         listener: usize,
///         _: &Peer,
///         _: &mut ((), TlsLocal<()>),
///     ) -> Option<Self::Protocol> {
///         Some(match listener {
///             0 => Either::A(Echo),
///             _ => Either::B(self.0.accept(Echo)),
///         })
///     }
/// }
///
/// let signals = Signals::block([Signal::TERM, Signal::INT])?;
/// # let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
/// # let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
/// # let (certificate, key) = (certificate.as_bytes(), key.as_bytes());
/// let tls = TlsConfig::builder(Identity::from_pem(certificate, key)?).build()?;
/// let config = Config::at(["127.0.0.1:0".parse()?, "127.0.0.1:0".parse()?]);
/// let server = Server::bind(Both(tls), &config)?;
/// let addresses = server.addresses().to_vec();
/// server.run(&signals, || {
///     println!("listening on {}, with TLS on {}", addresses[0], addresses[1]);
/// #   // What otherwise comes from outside.
/// #   std::process::Command::new("sh").args(["-c", "kill $PPID"]).status().unwrap();
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TlsConfig {
    rustls: Arc<ServerConfig>,
    handshake_timeout: Option<Duration>,
}

impl TlsConfig {
    /// Serves the certificate in these PEM files, with the defaults of [`TlsConfigBuilder`].
    ///
    /// # Errors
    ///
    /// Those of [`Identity::from_pem_files`].
    pub fn from_pem_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, ConfigError> {
        Self::builder(Identity::from_pem_files(certificates, key)?).build()
    }

    /// Begins to set up a server that shows `identity`.
    pub fn builder(identity: Identity) -> TlsConfigBuilder {
        TlsConfigBuilder {
            identity,
            named: Vec::new(),
            alpn: Vec::new(),
            clients: None,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }

    /// Returns a protocol that speaks TLS with a client, and `protocol` within.
    pub fn accept<P>(&self, protocol: P) -> Tls<P> {
        // Fails only with a configuration of rustls that makes no sense; such connections are dropped.
        let side = UnbufferedServerConnection::new(Arc::clone(&self.rustls))
            .map_or(Side::Over, Side::Server);
        Tls::new(protocol, side, self.handshake_timeout)
    }

    /// Sets the longest time that a handshake may take; `None` is for ever.
    #[must_use]
    pub fn with_handshake_timeout(self, handshake_timeout: Option<Duration>) -> Self {
        Self { handshake_timeout, ..self }
    }
}

impl From<ServerConfig> for TlsConfig {
    /// Takes what rustls can be told beyond [`TlsConfigBuilder`].
    fn from(mut rustls: ServerConfig) -> Self {
        rustls.max_early_data_size = 0;
        Self { rustls: Arc::new(rustls), handshake_timeout: HANDSHAKE_TIMEOUT }
    }
}

/// Collects the settings of a server's TLS.
///
/// TLS 1.2 and 1.3, session tickets, no client certificates, no ALPN, and 10 seconds for a handshake unless it is
/// told otherwise.
#[derive(Debug)]
#[must_use]
pub struct TlsConfigBuilder {
    identity: Identity,
    named: Vec<(String, Identity)>,
    alpn: Vec<Vec<u8>>,
    clients: Option<(Arc<RootCertStore>, ClientCertificates)>,
    handshake_timeout: Option<Duration>,
}

/// The demand for a certificate of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// A client may send a certificate. One that is not valid ends the handshake.
    Optional,
    /// A client must send a valid certificate.
    Required,
}

impl TlsConfigBuilder {
    /// Shows another identity to clients that ask for this name (SNI).
    pub fn name(mut self, name: impl Into<String>, identity: Identity) -> Self {
        self.named.push((name.into(), identity));
        self
    }

    /// Offers these application protocols, the preferred one first (ALPN). A client that wants others only is refused.
    pub fn alpn<T: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = T>) -> Self {
        self.alpn = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect();
        self
    }

    /// Asks clients for a certificate of one of the authorities in this PEM file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or has no certificate.
    pub fn clients(
        mut self,
        authorities: impl AsRef<Path>,
        certificates: ClientCertificates,
    ) -> Result<Self, ConfigError> {
        self.clients = Some((roots_of(authorities.as_ref())?, certificates));
        Ok(self)
    }

    /// Sets the longest time that a handshake may take; `None` is for ever.
    pub fn handshake_timeout(self, handshake_timeout: Option<Duration>) -> Self {
        Self { handshake_timeout, ..self }
    }

    /// Returns the settings.
    ///
    /// # Errors
    ///
    /// A name that its certificate is not for, or a system without randomness.
    pub fn build(self) -> Result<TlsConfig, ConfigError> {
        let builder = versions(ServerConfig::builder_with_provider(provider()))?;
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some((roots, certificates)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = match certificates {
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                    ClientCertificates::Required => verifier,
                };
                builder.with_client_cert_verifier(verifier.build().map_err(Reason::Verifier)?)
            }
        };
        let mut named = ResolvesServerCertUsingSni::new();
        for (name, Identity(key)) in self.named {
            named.add(&name, key).map_err(|error| Reason::Name(name, error))?;
        }
        let resolver = ByName { named, default: Arc::new(self.identity.0) };
        let mut rustls = builder.with_cert_resolver(Arc::new(resolver));
        rustls.alpn_protocols = self.alpn;
        // The state of a session is with the client, so that a server need not remember it.
        rustls.ticketer = ring::Ticketer::new().map_err(Reason::Tls)?;
        Ok(TlsConfig::from(rustls).with_handshake_timeout(self.handshake_timeout))
    }
}

/// Chooses a certificate by the name that the client asks for.
#[derive(Debug)]
struct ByName {
    named: ResolvesServerCertUsingSni,
    default: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.named.resolve(hello).or_else(|| Some(Arc::clone(&self.default)))
    }
}

/// The settings of TLS for outgoing connections. A clone shares them, and the tickets of sessions.
#[derive(Clone, Debug)]
pub struct TlsClientConfig {
    rustls: Arc<ClientConfig>,
    handshake_timeout: Option<Duration>,
}

impl TlsClientConfig {
    /// Trusts servers whose certificates are of the authorities in this PEM file, such as
    /// `/etc/ssl/certs/ca-certificates.crt`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or has no certificate. The error names the file.
    pub fn from_authorities(authorities: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let builder = versions(ClientConfig::builder_with_provider(provider()))?;
        let roots = roots_of(authorities.as_ref())?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth().into())
    }

    /// Returns a protocol that speaks TLS with the server of this name, and `protocol` within.
    ///
    /// # Errors
    ///
    /// A name that is neither one of DNS nor an address.
    pub fn connect<P>(&self, server_name: &str, protocol: P) -> Result<Tls<P>, ConfigError> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(Reason::ServerName)?;
        let client = UnbufferedClientConnection::new(Arc::clone(&self.rustls), name);
        let side = Side::Client(Box::new(client.map_err(Reason::Tls)?));
        Ok(Tls::new(protocol, side, self.handshake_timeout))
    }

    /// Sets the longest time that a handshake may take; `None` is for ever.
    #[must_use]
    pub fn with_handshake_timeout(self, handshake_timeout: Option<Duration>) -> Self {
        Self { handshake_timeout, ..self }
    }
}

impl From<ClientConfig> for TlsClientConfig {
    /// Takes what rustls can be told, such as a certificate of our own.
    fn from(mut rustls: ClientConfig) -> Self {
        rustls.enable_early_data = false;
        Self { rustls: Arc::new(rustls), handshake_timeout: HANDSHAKE_TIMEOUT }
    }
}

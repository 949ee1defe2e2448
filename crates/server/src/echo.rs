//! The services: an echo for each connection, within TLS or not. They are two, so that the one without does not
//! ask at every message.

use epoll_echo::{Echo, EchoOptions};
use epoll_reactor::net::Peer;
use epoll_service::Service;
use epoll_service::epoll_connection::ConnectionId;
use epoll_tls::{Tls, TlsConfig, TlsLocal};

pub(crate) struct EchoService {
    pub(crate) options: EchoOptions,
}

impl Service for EchoService {
    type Protocol = Echo;

    /// An echo finishes for no other reason.
    const FINISHED: &'static str = "quit";

    fn local(&self, _: usize) -> Option<Box<EchoOptions>> {
        self.options.clone().into_local()
    }

    fn accept(&self, _: usize, _: &Peer, _: &mut Option<Box<EchoOptions>>) -> Option<Echo> {
        Some(Echo::default())
    }
}

/// Logs a piece of input.
pub(crate) fn trace(connection: ConnectionId, received: usize, sent: usize) {
    tracing::trace!(?connection, received, sent, "echo");
}

pub(crate) struct TlsEchoService {
    pub(crate) echo: EchoService,
    pub(crate) tls: TlsConfig,
}

impl Service for TlsEchoService {
    type Protocol = Tls<Echo>;

    fn local(&self, thread: usize) -> TlsLocal<Option<Box<EchoOptions>>> {
        TlsLocal::new(self.echo.local(thread))
    }

    fn accept(
        &self,
        listener: usize,
        peer: &Peer,
        local: &mut TlsLocal<Option<Box<EchoOptions>>>,
    ) -> Option<Tls<Echo>> {
        self.echo.accept(listener, peer, &mut local.protocol).map(|echo| self.tls.accept(echo))
    }
}

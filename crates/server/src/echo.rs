//! The services: an echo for each connection, within TLS or not. They are two, so that the one without does not
//! ask at every message.

use epoll_echo::{Echo, QuitWord};
use epoll_reactor::net::Peer;
use epoll_service::Service;
use epoll_tls::{Tls, TlsConfig, TlsLocal};

pub(crate) struct EchoService {
    pub(crate) quit_word: Option<QuitWord>,
}

impl Service for EchoService {
    type Protocol = Echo;

    /// An echo finishes for no other reason.
    const FINISHED: &'static str = "quit";

    fn local(&self, _: usize) -> Option<QuitWord> {
        self.quit_word.clone()
    }

    fn accept(&self, _: usize, _: &Peer, _: &mut Option<QuitWord>) -> Option<Echo> {
        Some(Echo::default())
    }
}

pub(crate) struct TlsEchoService {
    pub(crate) echo: EchoService,
    pub(crate) tls: TlsConfig,
}

impl Service for TlsEchoService {
    type Protocol = Tls<Echo>;

    fn local(&self, thread: usize) -> TlsLocal<Option<QuitWord>> {
        TlsLocal::new(self.echo.local(thread))
    }

    fn accept(
        &self,
        listener: usize,
        peer: &Peer,
        local: &mut TlsLocal<Option<QuitWord>>,
    ) -> Option<Tls<Echo>> {
        self.echo.accept(listener, peer, &mut local.protocol).map(|echo| self.tls.accept(echo))
    }
}

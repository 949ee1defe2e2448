//! The service: an echo for each connection.

use epoll_echo::{Echo, QuitWord};
use epoll_reactor::net::Peer;
use epoll_service::Service;

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

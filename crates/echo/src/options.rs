//! Options that change how an echo answers.

use crate::QuitWord;
use epoll_connection::ConnectionId;

/// The options of the echoes of a thread.
///
/// # Examples
///
/// See [the crate's page](crate).
#[derive(Clone, Debug, Default)]
pub struct EchoOptions {
    /// The word that ends the conversation when a line equals it.
    pub quit_word: Option<QuitWord>,
    /// Called after each piece of input, for example to log it, with the connection, the number of bytes that have
    /// arrived and the number of those that are echoed. It must return soon. With it nothing is spliced.
    pub on_echo: Option<fn(ConnectionId, usize, usize)>,
}

impl EchoOptions {
    /// Returns the state of a thread: `None` where echoes only give back what arrives, which costs nothing then.
    #[must_use]
    pub fn into_local(self) -> Option<Box<Self>> {
        let Self { quit_word, on_echo } = &self;
        (quit_word.is_some() || on_echo.is_some()).then(|| Box::new(self))
    }
}

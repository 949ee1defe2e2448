//! The echo service of RFC 862 as a protocol.

use crate::QuitWord;
use crate::quit::Match;
use epoll_connection::{Consumed, Context, Flow, Protocol};

/// Sends back what arrives, up to the line that equals the [quit word](QuitWord), if there is one.
///
/// The quit word is the protocol's state of the thread, so that a connection holds nothing but how far
/// its present line agrees with the word.
///
/// # Examples
///
/// See [the crate's page](crate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    line: Match,
}

impl Protocol for Echo {
    type Local = Option<QuitWord>;
    type Message = ();

    #[inline]
    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Option<QuitWord>, ()>,
    ) -> Consumed {
        match context.local() {
            None => Consumed::pass(input.len()),
            Some(word) => self.pass_to_quit(word, input),
        }
    }

    #[inline]
    fn passes_everything(&self, quit_word: &Option<QuitWord>) -> bool {
        quit_word.is_none()
    }
}

impl Echo {
    /// Passes the input, up to the end of the quit line if it ends in there.
    // Out of line, so that an echo without a quit word does not pay for it.
    #[inline(never)]
    fn pass_to_quit(&mut self, word: &QuitWord, input: &[u8]) -> Consumed {
        match word.find_end(&mut self.line, input) {
            Some(end) => Consumed::pass(end).then(Flow::Finish),
            None => Consumed::pass(input.len()),
        }
    }
}

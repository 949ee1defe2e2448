//! The echo service of RFC 862 as a protocol.

use crate::EchoOptions;
use crate::quit::Match;
use epoll_connection::{Consumed, Context, Flow, Protocol};

/// Sends back what arrives, up to the line that equals the [quit word](crate::QuitWord), if there is one.
///
/// The [options](EchoOptions) are the protocol's state of the thread, so that a connection holds nothing but how far
/// its present line agrees with the quit word.
///
/// # Examples
///
/// See [the crate's page](crate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    line: Match,
}

impl Protocol for Echo {
    /// `None` is no option at all.
    type Local = Option<Box<EchoOptions>>;
    type Message = ();

    #[inline]
    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, ()>,
    ) -> Consumed {
        match context.local() {
            None => Consumed::pass(input.len()),
            Some(_) => self.pass_with_options(input, context),
        }
    }

    #[inline]
    fn passes_everything(&self, options: &Self::Local) -> bool {
        options.is_none()
    }
}

impl Echo {
    /// Passes the input, up to the end of the quit line if it ends in there.
    // Out of line, so that an echo without options does not pay for it.
    #[inline(never)]
    fn pass_with_options(
        &mut self,
        input: &[u8],
        context: &mut Context<'_, Option<Box<EchoOptions>>, ()>,
    ) -> Consumed {
        let id = context.id();
        let Some(options) = context.local() else { return Consumed::pass(input.len()) };
        let quit_word = options.quit_word.as_ref();
        let end = quit_word.and_then(|word| word.find_end(&mut self.line, input));
        let len = end.unwrap_or(input.len());
        if let Some(on_echo) = options.on_echo {
            on_echo(id, input.len(), len);
        }
        let passed = Consumed::pass(len);
        if end.is_some() { passed.then(Flow::Finish) } else { passed }
    }
}

//! A protocol under observation: what it is shown, what it consumes, and what it writes.

use super::wire::SharedWire;
use crate::{CloseReason, Consumed, Context, Flow, Protocol};
use std::cell::RefCell;
use std::rc::Rc;

#[derive(Debug, Default)]
pub(super) struct Log {
    /// How many bytes were consumed.
    consumed: usize,
    /// Input that was shown and not consumed, as the protocol left it.
    rest: Vec<u8>,
    /// What the protocol has written and passed.
    pub(super) output: Vec<u8>,
    /// The reason that it was told.
    pub(super) closed: Option<CloseReason>,
    /// Whether its last words were asked for.
    has_finished: bool,
    /// Whether it was opened.
    is_open: bool,
}

#[derive(Debug)]
pub(super) struct Observed<P> {
    pub(super) protocol: P,
    pub(super) log: Rc<RefCell<Log>>,
    wire: SharedWire,
}

impl<P: Protocol> Observed<P> {
    pub(super) fn new(protocol: P, wire: SharedWire) -> Self {
        Self { protocol, log: Rc::default(), wire }
    }

    /// Calls the protocol and notes what it writes.
    fn observe<R>(
        &mut self,
        context: &mut Context<'_, P::Local, P::Message>,
        callback: impl FnOnce(&mut P, &mut Context<'_, P::Local, P::Message>) -> R,
    ) -> R {
        let before = context.output().len();
        let answer = callback(&mut self.protocol, context);
        self.log.borrow_mut().output.extend_from_slice(&context.output()[before..]);
        answer
    }
}

impl<P: Protocol> Protocol for Observed<P> {
    type Local = P::Local;
    type Message = P::Message;

    fn on_open(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        let was_open = std::mem::replace(&mut self.log.borrow_mut().is_open, true);
        assert!(!was_open, "opened twice");
        self.observe(context, P::on_open)
    }

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> Consumed {
        {
            let log = self.log.borrow();
            assert!(log.is_open, "input before it was opened");
            assert!(!log.has_finished, "input after its last words");
            assert!(!input.is_empty(), "no input");
            let known = log.rest.len().min(input.len());
            assert_eq!(input[..known], log.rest[..known], "kept input has changed");
            assert_eq!(known, log.rest.len(), "kept input is lost");
            let wire = self.wire.borrow();
            let at = log.consumed + known;
            let end = log.consumed + input.len();
            assert_eq!(&input[known..], &wire.arrived[at..end], "input is not what has arrived");
        }
        let consumed = self.observe(context, |protocol, context| protocol.on_input(input, context));
        let mut log = self.log.borrow_mut();
        let bytes = consumed.bytes.min(input.len());
        log.consumed += bytes;
        log.rest = input[bytes..].to_vec();
        log.output.extend_from_slice(&input[..consumed.passed.min(bytes)]);
        consumed
    }

    fn on_overflow(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        self.observe(context, P::on_overflow)
    }

    fn on_peer_finished(
        &mut self,
        rest: &[u8],
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> Flow {
        assert_eq!(rest, self.log.borrow().rest, "the rest at the end");
        self.observe(context, |protocol, context| protocol.on_peer_finished(rest, context))
    }

    fn on_message(
        &mut self,
        message: &P::Message,
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> Flow {
        assert!(!self.log.borrow().has_finished, "a message after its last words");
        self.observe(context, |protocol, context| protocol.on_message(message, context))
    }

    fn on_written(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        self.observe(context, P::on_written)
    }

    fn on_deadline(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        self.observe(context, P::on_deadline)
    }

    fn on_drain(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        self.observe(context, P::on_drain)
    }

    fn on_finish(&mut self, context: &mut Context<'_, P::Local, P::Message>) {
        let had_finished = std::mem::replace(&mut self.log.borrow_mut().has_finished, true);
        assert!(!had_finished, "its last words were asked for twice");
        self.observe(context, P::on_finish);
    }

    fn on_close(&mut self, reason: CloseReason, context: &mut Context<'_, P::Local, P::Message>) {
        let before = self.log.borrow_mut().closed.replace(reason);
        assert_eq!(before, None, "closed twice");
        self.protocol.on_close(reason, context);
    }

    fn passes_everything(&self, local: &P::Local) -> bool {
        let passes = self.protocol.passes_everything(local);
        if passes {
            // It is not asked any more: all that arrives is output.
            let mut log = self.log.borrow_mut();
            assert!(log.rest.is_empty(), "input is kept by a protocol that passes everything");
            let arrived = &self.wire.borrow().arrived;
            let known = log.consumed;
            log.output.extend_from_slice(&arrived[known..]);
            log.consumed = arrived.len();
        }
        passes
    }
}

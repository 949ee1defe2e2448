//! A protocol under observation: what it is shown, what it consumes, and what it writes.

use super::wire::SharedWire;
use crate::{CloseReason, ConnectionId, Consumed, Context, Flow, Protocol};
use std::cell::RefCell;
use std::rc::Rc;

#[derive(Debug, Default)]
pub(super) struct Log {
    /// The number of bytes that were consumed.
    consumed: usize,
    /// Input that was shown and not consumed, as the protocol left it.
    rest: Vec<u8>,
    /// The bytes that the protocol has written and passed.
    pub(super) output: Vec<u8>,
    /// The reason that it was told.
    pub(super) closed: Option<CloseReason>,
    /// Its last words were asked for.
    pub(super) has_finished: bool,
    /// It was opened.
    is_open: bool,
    /// It has ended its output and goes on reading.
    has_ended_output: bool,
    /// It was told that the peer has closed its half.
    is_peer_finished: bool,
    /// The length of the message that it has asked for.
    need: usize,
    /// It has consumed nothing of `rest`, and not said that it has other things to do.
    waits_for_more: bool,
    is_paused: bool,
    /// It has more to write before it takes input.
    produces: bool,
    /// It has answered with the end.
    has_ended: bool,
}

impl Log {
    /// Returns whether nothing but its end is left of the connection.
    fn is_over(&self) -> bool {
        self.has_ended || (self.has_finished && !self.has_ended_output)
    }

    /// Notes how the protocol goes on, after a callback that is not about input.
    fn note(&mut self, flow: Flow) {
        match flow {
            Flow::Keep => {}
            Flow::Read => self.is_paused = false,
            Flow::Pause => self.is_paused = true,
            Flow::Produce => self.produces = true,
            Flow::Finish | Flow::Abort => self.has_ended = true,
        }
    }
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
        {
            let log = self.log.borrow();
            assert!(log.is_open, "called before it was opened");
            assert!(log.closed.is_none(), "called after it was closed");
        }
        let before = context.output().len();
        let answer = callback(&mut self.protocol, context);
        let mut log = self.log.borrow_mut();
        log.output.extend_from_slice(&context.output()[before..]);
        log.has_ended_output |= context.changes.ends_output;
        answer
    }

    /// Calls the protocol, unless it is over, and notes how it goes on.
    fn ask(
        &mut self,
        context: &mut Context<'_, P::Local, P::Message>,
        callback: impl FnOnce(&mut P, &mut Context<'_, P::Local, P::Message>) -> Flow,
    ) -> Flow {
        assert!(!self.log.borrow().is_over(), "called after its end");
        let flow = self.observe(context, callback);
        self.log.borrow_mut().note(flow);
        flow
    }
}

impl<P: Protocol> Protocol for Observed<P> {
    type Local = P::Local;
    type Message = P::Message;

    fn on_open(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        let was_open = std::mem::replace(&mut self.log.borrow_mut().is_open, true);
        assert!(!was_open, "opened twice");
        self.ask(context, P::on_open)
    }

    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> Consumed {
        {
            let log = self.log.borrow();
            assert!(!log.is_over(), "input after its end");
            assert!(!log.is_peer_finished, "input after the end of the peer's half");
            assert!(!log.is_paused, "input during a pause");
            assert!(!log.produces, "input before everything is produced");
            assert!(!input.is_empty(), "no input");
            assert!(input.len() >= log.need, "input before it is as long as was asked for");
            let known = log.rest.len().min(input.len());
            assert_eq!(input[..known], log.rest[..known], "kept input has changed");
            assert_eq!(known, log.rest.len(), "kept input is lost");
            assert!(!log.waits_for_more || input.len() > known, "input without anything new");
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
        if consumed.to.is_none() {
            log.output.extend_from_slice(&input[..consumed.passed.min(bytes)]);
        }
        log.need = consumed.need;
        log.waits_for_more = bytes == 0 && matches!(consumed.flow, Flow::Keep | Flow::Read);
        log.note(consumed.flow);
        consumed
    }

    fn on_overflow(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        let flow = self.ask(context, P::on_overflow);
        // Every answer but `Finish` is the end too.
        self.log.borrow_mut().has_ended = true;
        flow
    }

    fn on_peer_finished(
        &mut self,
        rest: &[u8],
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> Flow {
        // One that passes or forwards everything has not been shown all of it.
        self.passes_everything(context.local);
        self.forwards_to();
        {
            let (log, wire) = (self.log.borrow(), self.wire.borrow());
            let (shown, unseen) = rest.split_at(log.rest.len().min(rest.len()));
            assert_eq!(shown, log.rest, "the rest at the end");
            let unshown = &wire.arrived[log.consumed + shown.len()..];
            assert_eq!(unseen, unshown, "the rest that was never shown");
        }
        assert!(!self.log.borrow().is_paused, "the end of the peer's half is read during a pause");
        let before = std::mem::replace(&mut self.log.borrow_mut().is_peer_finished, true);
        assert!(!before, "told twice that the peer has closed its half");
        self.ask(context, |protocol, context| protocol.on_peer_finished(rest, context))
    }

    fn on_forwarded(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> bool {
        let is_written =
            self.observe(context, |protocol, context| protocol.on_forwarded(bytes, context));
        if !is_written {
            self.log.borrow_mut().output.extend_from_slice(bytes);
        }
        is_written
    }

    fn on_message(
        &mut self,
        message: &P::Message,
        context: &mut Context<'_, P::Local, P::Message>,
    ) -> Flow {
        self.ask(context, |protocol, context| protocol.on_message(message, context))
    }

    fn on_written(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        self.log.borrow_mut().produces = false;
        self.ask(context, P::on_written)
    }

    fn on_deadline(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        self.ask(context, P::on_deadline)
    }

    fn on_drain(&mut self, context: &mut Context<'_, P::Local, P::Message>) -> Flow {
        self.ask(context, P::on_drain)
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

    fn is_busy(&self) -> bool {
        self.protocol.is_busy()
    }

    fn forwards_to(&self) -> Option<ConnectionId> {
        let to = self.protocol.forwards_to()?;
        // It is not asked any more: all that is read is forwarded, also after the end of its output.
        let mut log = self.log.borrow_mut();
        assert!(log.rest.is_empty(), "input is kept by a protocol that forwards everything");
        log.consumed = self.wire.borrow().read;
        Some(to)
    }

    fn passes_everything(&self, local: &P::Local) -> bool {
        let passes = self.protocol.passes_everything(local);
        if passes {
            // It is not asked any more: all that is read is output.
            let mut log = self.log.borrow_mut();
            assert!(log.rest.is_empty(), "input is kept by a protocol that passes everything");
            let wire = self.wire.borrow();
            let known = log.consumed;
            log.output.extend_from_slice(&wire.arrived[known..wire.received]);
            log.consumed = wire.received;
        }
        passes
    }
}

#[cfg(test)]
mod tests;

//! TLS as a protocol around another one. Invariant: the inner protocol is called as a connection calls it: it sees
//! its input in order, none of it while it is paused, produces, or has ended, and is opened before anything else.

use crate::session::{Session, Side, record_len};
use bitflags::bitflags;
use epoll_connection::{CloseReason, Consumed, Context, Flow, Misuse, Protocol};
use rustls::pki_types::CertificateDer;
use rustls::{CommonState, Error, HandshakeKind, ProtocolVersion};
use std::io::ErrorKind;
use std::time::Duration;
use std::{fmt, mem};

bitflags! {
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Flags: u16 {
        /// The handshake is done, and the inner protocol is opened.
        const OPEN = 1 << 0;
        /// The service drains, and the inner protocol is to be told when it is open.
        const DRAINS = 1 << 1;
        /// The inner protocol wants no input.
        const PAUSED = 1 << 2;
        /// The inner protocol is to be called when everything is sent, and wants no input before.
        const PRODUCES = 1 << 3;
        /// The kept input is to be shown as soon as nothing forbids it, without waiting for more.
        const FRESH = 1 << 4;
        /// The inner protocol has to be told that its input is too long.
        const OVERFLOWS = 1 << 5;
        /// The peer has sent `close_notify`.
        const PEER_FINISHED = 1 << 6;
        /// Our `close_notify` is sent.
        const CLOSED = 1 << 7;
        /// The connection ends when everything is sent.
        const FINISHED = 1 << 8;
        /// The connection is dropped.
        const ABORTED = 1 << 9;
        /// A record has come.
        const BEGUN = 1 << 10;
    }
}

/// The states in which no input is shown.
const STOPS: Flags =
    Flags::PAUSED.union(Flags::PRODUCES).union(Flags::FINISHED).union(Flags::ABORTED);

/// A protocol that speaks TLS; see [the crate's page](crate). It is made by a
/// [`TlsConfig`](crate::TlsConfig) or a [`TlsClientConfig`](crate::TlsClientConfig).
pub struct Tls<P> {
    protocol: P,
    /// The state in a box, so that entries of tables stay short.
    state: Box<State<P>>,
}

struct State<P> {
    session: Session,
    flags: Flags,
    /// Decrypted input that the inner protocol has not consumed.
    kept: Vec<u8>,
    /// The length that the kept input has to have before it is shown again.
    need: usize,
    handshake_timeout: Option<Duration>,
    on_handshake: Option<fn(&mut P, &Handshake<'_>)>,
    /// The reason that the inner protocol is told at the close, in place of the connection's.
    reason: Option<CloseReason>,
}

/// The state of a thread: that of the inner protocol, and buffers that its connections share.
#[derive(Clone, Debug, Default)]
pub struct TlsLocal<L> {
    /// The state of the inner protocol.
    pub protocol: L,
    scratch: Scratch,
}

impl<L> TlsLocal<L> {
    /// Returns the state of a thread, of whose inner protocol this is the state.
    #[must_use]
    pub fn new(protocol: L) -> Self {
        Self { protocol, scratch: Scratch::default() }
    }
}

/// Buffers, which are empty between two callbacks.
#[derive(Clone, Debug, Default)]
struct Scratch {
    /// Decrypted input.
    input: Vec<u8>,
    /// Output of the inner protocol that is not encrypted.
    output: Vec<u8>,
}

/// The outcome of a handshake.
pub struct Handshake<'a>(&'a CommonState);

impl<'a> Handshake<'a> {
    /// Returns the application protocol that both sides have agreed on (ALPN).
    #[must_use]
    pub fn alpn(&self) -> Option<&'a [u8]> {
        self.0.alpn_protocol()
    }

    /// Returns the certificates of the peer, its own first.
    #[must_use]
    pub fn peer_certificates(&self) -> &'a [CertificateDer<'static>] {
        self.0.peer_certificates().unwrap_or_default()
    }

    /// Returns the version of TLS.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    /// Returns whether an earlier session was resumed.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.0.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

type Outer<'a, P> = Context<'a, TlsLocal<<P as Protocol>::Local>, <P as Protocol>::Message>;
type Inner<'a, P> = Context<'a, <P as Protocol>::Local, <P as Protocol>::Message>;

impl<P> Tls<P> {
    pub(crate) fn new(protocol: P, side: Side, handshake_timeout: Option<Duration>) -> Self {
        let state = State {
            session: Session::new(side),
            flags: Flags::empty(),
            kept: Vec::new(),
            need: 0,
            handshake_timeout,
            on_handshake: None,
            reason: None,
        };
        Self { protocol, state: Box::new(state) }
    }

    /// Calls `hook` when the handshake is done, before the inner protocol is opened: to choose by ALPN, or to note
    /// who the peer is.
    #[must_use]
    pub fn on_handshake(mut self, hook: fn(&mut P, &Handshake<'_>)) -> Self {
        self.state.on_handshake = Some(hook);
        self
    }

    /// Returns the inner protocol.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }
}

impl<P> State<P> {
    fn is(&self, flags: Flags) -> bool {
        self.flags.intersects(flags)
    }

    /// Notes how the inner protocol goes on.
    fn follow(&mut self, flow: Flow) {
        match flow {
            Flow::Keep => {}
            Flow::Read => self.flags.remove(Flags::PAUSED),
            Flow::Pause => self.flags.insert(Flags::PAUSED),
            Flow::Produce => self.flags.insert(Flags::PRODUCES),
            Flow::Finish => self.flags.insert(Flags::FINISHED),
            Flow::Abort => self.flags.insert(Flags::ABORTED),
        }
    }

    /// Ends the connection, for a reason that the connection does not know.
    fn fail(&mut self, reason: CloseReason, flow: Flow) {
        self.reason.get_or_insert(reason);
        self.session.end();
        self.follow(flow);
    }

    /// Ends TLS: the alert is sent, if there is one.
    fn fail_by(&mut self, error: &Error) {
        tracing::debug!(%error, "TLS failed");
        let kind = match error {
            Error::AlertReceived(_) => ErrorKind::ConnectionAborted,
            _ => ErrorKind::InvalidData,
        };
        self.fail(CloseReason::Failed(kind), Flow::Finish);
    }

    /// Returns the flow of the connection.
    fn flow(&self) -> Flow {
        if self.is(Flags::ABORTED) {
            Flow::Abort
        } else if self.is(Flags::FINISHED) {
            Flow::Finish
        } else if self.is(Flags::PRODUCES) || (self.is(Flags::FRESH) && !self.is(Flags::PAUSED)) {
            // Kept input is shown when everything is sent: the connection knows when that is.
            Flow::Produce
        } else if self.is(Flags::PAUSED) {
            Flow::Pause
        } else {
            Flow::Read
        }
    }
}

impl<P: Protocol> Tls<P> {
    /// Does something with the buffers of the thread, then encrypts what the inner protocol has written.
    fn with_scratch<R>(
        &mut self,
        context: &mut Outer<'_, P>,
        call: impl FnOnce(&mut Self, &mut Scratch, &mut Outer<'_, P>) -> R,
    ) -> R {
        let mut scratch = mem::take(&mut context.local().scratch);
        let result = call(self, &mut scratch, context);
        if !scratch.output.is_empty() && !self.state.session.is_over() {
            if let Err(error) = self.state.session.send(&scratch.output, context.output()) {
                self.state.fail_by(&error);
                self.state.follow(Flow::Abort);
            }
        }
        scratch.input.clear();
        scratch.output.clear();
        // One long answer must not cost the thread its length for ever.
        scratch.output.shrink_to(2 * context.limits().output_max);
        context.local().scratch = scratch;
        result
    }

    /// Calls the inner protocol, and notes how it goes on.
    fn ask(
        &mut self,
        scratch: &mut Scratch,
        context: &mut Outer<'_, P>,
        callback: impl FnOnce(&mut P, &mut Inner<'_, P>) -> Flow,
    ) {
        let inner = &mut context.within(|local| &mut local.protocol, Some(&mut scratch.output));
        let flow = callback(&mut self.protocol, inner);
        self.state.follow(flow);
    }

    /// Calls the inner protocol for a callback that is not about input. It has no part in the handshake.
    fn forward(
        &mut self,
        context: &mut Outer<'_, P>,
        callback: impl FnOnce(&mut P, &mut Inner<'_, P>) -> Flow,
    ) -> Flow {
        if !self.state.is(Flags::OPEN) {
            return Flow::Keep;
        }
        self.with_scratch(context, |tls, scratch, context| tls.ask(scratch, context, callback));
        self.state.flow()
    }

    /// Processes one record, and shows the inner protocol what was in it.
    fn receive(&mut self, record: &mut [u8], scratch: &mut Scratch, context: &mut Outer<'_, P>) {
        let output_len = context.output().len();
        let received = self.state.session.receive(record, &mut scratch.input, context.output());
        if self.state.is(Flags::CLOSED) {
            // Our half is closed, so alerts and new keys have no way to the peer.
            context.output().truncate(output_len);
        }
        let is_closed = received.unwrap_or_else(|error| {
            self.state.fail_by(&error);
            false
        });
        self.open(scratch, context);
        if !scratch.input.is_empty() {
            self.show(scratch, context);
        }
        if is_closed && self.state.is(Flags::OPEN) {
            self.state.flags.insert(Flags::PEER_FINISHED);
            let rest = mem::take(&mut self.state.kept);
            self.ask(scratch, context, |protocol, inner| protocol.on_peer_finished(&rest, inner));
        }
    }

    /// Opens the inner protocol as soon as the handshake is done.
    fn open(&mut self, scratch: &mut Scratch, context: &mut Outer<'_, P>) {
        let Some(common) = self.state.session.common() else { return };
        if self.state.is(Flags::OPEN) || common.is_handshaking() {
            return;
        }
        if let Some(hook) = self.state.on_handshake {
            hook(&mut self.protocol, &Handshake(common));
        }
        self.state.flags.insert(Flags::OPEN);
        // From here on the deadline is the inner protocol's.
        context.set_deadline(None);
        self.ask(scratch, context, P::on_open);
        if self.state.is(Flags::DRAINS) && !self.state.is(Flags::FINISHED | Flags::ABORTED) {
            self.ask(scratch, context, P::on_drain);
        }
    }

    /// Shows the inner protocol the kept input and what was decrypted, and keeps what it does not consume.
    fn show(&mut self, scratch: &mut Scratch, context: &mut Outer<'_, P>) {
        let is_kept = !self.state.kept.is_empty();
        let mut input = if is_kept {
            self.state.kept.append(&mut scratch.input);
            mem::take(&mut self.state.kept)
        } else {
            mem::take(&mut scratch.input)
        };
        let consumed = self.show_all(&mut input, scratch, context);
        if is_kept {
            if consumed < input.len() {
                input.drain(..consumed);
                self.state.kept = input;
            }
        } else {
            self.state.kept.extend_from_slice(&input[consumed..]);
            input.clear();
            scratch.input = input;
        }
        let (kept, need) = (self.state.kept.len(), self.state.need);
        let limits = context.limits();
        let has_room = need > kept || kept < limits.read_buffer_len.get();
        let is_bounded = has_room && need <= limits.input_max;
        let is_over = self.state.is(Flags::FRESH | Flags::FINISHED | Flags::ABORTED);
        self.state.flags.set(Flags::OVERFLOWS, !is_over && !is_bounded);
    }

    /// Shows the inner protocol `input`, message by message. Returns how much it has consumed.
    fn show_all(
        &mut self,
        input: &mut [u8],
        scratch: &mut Scratch,
        context: &mut Outer<'_, P>,
    ) -> usize {
        let mut at = 0;
        self.state.flags.remove(Flags::FRESH);
        while at < input.len() && input.len() - at >= self.state.need {
            let shown = &mut input[at..];
            let consumed = self.show_once(shown, scratch, context);
            if consumed.bytes > shown.len() || consumed.passed > consumed.bytes {
                let reason = CloseReason::Misuse(Misuse::ConsumedTooMuch);
                self.state.fail(reason, Flow::Abort);
                break;
            }
            scratch.output.extend_from_slice(&shown[..consumed.passed]);
            self.state.need = consumed.need;
            self.state.follow(consumed.flow);
            at += consumed.bytes;
            let is_rest_fresh = at < input.len() && input.len() - at >= consumed.need;
            let is_full = scratch.output.len() >= context.limits().output_max;
            if self.state.is(STOPS) || (is_full && consumed.bytes > 0) {
                self.state.flags.set(Flags::FRESH, is_rest_fresh);
                break;
            }
            if consumed.bytes == 0 {
                break;
            }
        }
        at
    }

    fn show_once(
        &mut self,
        input: &mut [u8],
        scratch: &mut Scratch,
        context: &mut Outer<'_, P>,
    ) -> Consumed {
        if self.protocol.passes_everything(&context.local().protocol) {
            return Consumed::pass(input.len());
        }
        let inner = &mut context.within(|local| &mut local.protocol, Some(&mut scratch.output));
        self.protocol.on_input(input, inner)
    }

    /// Processes the complete records of `input`. Returns how many bytes they are, and how long the next one is.
    fn receive_all(
        &mut self,
        input: &mut [u8],
        scratch: &mut Scratch,
        context: &mut Outer<'_, P>,
    ) -> (usize, usize) {
        let mut at = 0;
        while at < input.len() {
            let ends = Flags::OVERFLOWS | Flags::FRESH | Flags::PEER_FINISHED;
            if self.state.is(STOPS | ends) {
                return (at, 0);
            }
            let len = record_len(&input[at..]);
            let Some(record) = input[at..].get_mut(..len) else { return (at, len) };
            self.state.flags.insert(Flags::BEGUN);
            self.receive(record, scratch, context);
            at += len;
            if context.is_full() || scratch.output.len() >= context.limits().output_max {
                break;
            }
        }
        (at, 0)
    }
}

impl<P: Protocol> Protocol for Tls<P> {
    type Local = TlsLocal<P::Local>;
    type Message = P::Message;

    fn on_open(&mut self, context: &mut Outer<'_, P>) -> Flow {
        if self.state.session.is_over() {
            self.state.fail(CloseReason::Failed(ErrorKind::InvalidInput), Flow::Abort);
            return Flow::Abort;
        }
        if self.state.handshake_timeout.is_some() {
            context.set_deadline(self.state.handshake_timeout);
        }
        // A client speaks first.
        self.with_scratch(context, |tls, scratch, context| tls.receive(&mut [], scratch, context));
        self.state.flow()
    }

    fn on_input(&mut self, input: &mut [u8], context: &mut Outer<'_, P>) -> Consumed {
        if self.state.is(Flags::PEER_FINISHED) {
            // Whatever follows a close_notify means nothing.
            return Consumed::bytes(input.len());
        }
        let (bytes, need) = self.with_scratch(context, |tls, scratch, context| {
            tls.receive_all(input, scratch, context)
        });
        if matches!(self.state.reason, Some(CloseReason::Misuse(_))) {
            return Consumed::bytes(usize::MAX);
        }
        // More than any limit allows is how the connection is told.
        let need = if self.state.is(Flags::OVERFLOWS) { usize::MAX } else { need };
        Consumed { need, ..Consumed::bytes(bytes) }.then(self.state.flow())
    }

    fn on_overflow(&mut self, context: &mut Outer<'_, P>) -> Flow {
        if self.state.is(Flags::OVERFLOWS) {
            self.forward(context, P::on_overflow)
        } else {
            Flow::Abort
        }
    }

    fn on_peer_finished(&mut self, _: &[u8], _: &mut Outer<'_, P>) -> Flow {
        if self.state.is(Flags::PEER_FINISHED) {
            // The inner protocol knows.
            return self.state.flow();
        }
        self.state.fail(CloseReason::Failed(ErrorKind::UnexpectedEof), Flow::Abort);
        Flow::Abort
    }

    fn on_forwarded(&mut self, bytes: &[u8], context: &mut Outer<'_, P>) -> bool {
        // As they stand they would not be encrypted. How it goes on does not change.
        let _ = self.forward(context, |protocol, inner| {
            if !protocol.on_forwarded(bytes, inner) {
                inner.write(bytes);
            }
            Flow::Keep
        });
        true
    }

    fn on_message(&mut self, message: &P::Message, context: &mut Outer<'_, P>) -> Flow {
        self.forward(context, |protocol, inner| protocol.on_message(message, inner))
    }

    fn on_written(&mut self, context: &mut Outer<'_, P>) -> Flow {
        if !self.state.is(Flags::OPEN) {
            return Flow::Keep;
        }
        self.with_scratch(context, |tls, scratch, context| {
            tls.state.flags.remove(Flags::PRODUCES);
            tls.ask(scratch, context, P::on_written);
            if tls.state.is(Flags::FRESH) && !tls.state.is(STOPS) {
                tls.show(scratch, context);
            }
            if tls.state.is(Flags::OVERFLOWS) {
                tls.ask(scratch, context, P::on_overflow);
                if !tls.state.is(Flags::FINISHED) {
                    tls.state.fail(CloseReason::InputTooLong, Flow::Abort);
                }
            }
        });
        self.state.flow()
    }

    fn on_deadline(&mut self, context: &mut Outer<'_, P>) -> Flow {
        if self.state.is(Flags::OPEN) {
            return self.forward(context, P::on_deadline);
        }
        self.state.fail(CloseReason::Failed(ErrorKind::TimedOut), Flow::Abort);
        Flow::Abort
    }

    fn on_drain(&mut self, context: &mut Outer<'_, P>) -> Flow {
        self.state.flags.insert(Flags::DRAINS);
        self.forward(context, P::on_drain)
    }

    fn on_finish(&mut self, context: &mut Outer<'_, P>) {
        if !self.state.is(Flags::OPEN) || self.state.session.is_over() {
            return;
        }
        self.with_scratch(context, |tls, scratch, context| {
            tls.ask(scratch, context, |protocol, inner| {
                protocol.on_finish(inner);
                Flow::Keep
            });
        });
        // The connection ends, whatever comes of it.
        let _ = self.state.session.close(context.output());
        self.state.flags.insert(Flags::CLOSED);
    }

    fn on_close(&mut self, reason: CloseReason, context: &mut Outer<'_, P>) {
        let reason = match self.state.reason {
            Some(reason) => reason,
            // The connection does not know that a close_notify was the end of the peer's half.
            None if reason == CloseReason::Finished && self.state.is(Flags::PEER_FINISHED) => {
                CloseReason::PeerClosed
            }
            None => reason,
        };
        // What is written now is lost.
        self.state.session.end();
        self.with_scratch(context, |tls, scratch, context| {
            tls.ask(scratch, context, |protocol, inner| {
                protocol.on_close(reason, inner);
                Flow::Keep
            });
        });
    }

    fn is_busy(&self) -> bool {
        if self.state.is(Flags::OPEN) {
            !self.state.kept.is_empty() || self.protocol.is_busy()
        } else {
            self.state.is(Flags::BEGUN)
        }
    }
}

impl<P: fmt::Debug> fmt::Debug for Tls<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("protocol", &self.protocol)
            .field("flags", &self.state.flags)
            .field("kept", &self.state.kept.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Handshake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("alpn", &self.alpn())
            .field("version", &self.version())
            .field("is_resumed", &self.is_resumed())
            .finish_non_exhaustive()
    }
}

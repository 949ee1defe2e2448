//! One of two protocols in the same service.

use crate::{CloseReason, ConnectionId, Consumed, Context, Flow, Protocol};

/// One of two protocols, chosen for each connection; nest it for more. Both have the same messages.
#[derive(Clone, Copy, Debug)]
pub enum Either<A, B> {
    /// The first protocol.
    A(A),
    /// The second protocol.
    B(B),
}

/// Calls the protocol that it is, with its part of the thread's state.
macro_rules! delegate {
    ($self:ident, $context:ident, $protocol:ident, $inner:ident => $call:expr) => {
        match $self {
            Either::A($protocol) => {
                let $inner = &mut $context.within(|(a, _)| a, None);
                $call
            }
            Either::B($protocol) => {
                let $inner = &mut $context.within(|(_, b)| b, None);
                $call
            }
        }
    };
}

impl<A: Protocol, B: Protocol<Message = A::Message>> Protocol for Either<A, B> {
    type Local = (A::Local, B::Local);
    type Message = A::Message;

    fn on_open(&mut self, context: &mut Context<'_, Self::Local, A::Message>) -> Flow {
        delegate!(self, context, protocol, inner => protocol.on_open(inner))
    }

    #[inline]
    fn on_input(
        &mut self,
        input: &mut [u8],
        context: &mut Context<'_, Self::Local, A::Message>,
    ) -> Consumed {
        delegate!(self, context, protocol, inner => protocol.on_input(input, inner))
    }

    fn on_overflow(&mut self, context: &mut Context<'_, Self::Local, A::Message>) -> Flow {
        delegate!(self, context, protocol, inner => protocol.on_overflow(inner))
    }

    fn on_peer_finished(
        &mut self,
        rest: &[u8],
        context: &mut Context<'_, Self::Local, A::Message>,
    ) -> Flow {
        delegate!(self, context, protocol, inner => protocol.on_peer_finished(rest, inner))
    }

    fn on_forwarded(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_, Self::Local, A::Message>,
    ) -> bool {
        delegate!(self, context, protocol, inner => protocol.on_forwarded(bytes, inner))
    }

    fn on_message(
        &mut self,
        message: &A::Message,
        context: &mut Context<'_, Self::Local, A::Message>,
    ) -> Flow {
        delegate!(self, context, protocol, inner => protocol.on_message(message, inner))
    }

    fn on_written(&mut self, context: &mut Context<'_, Self::Local, A::Message>) -> Flow {
        delegate!(self, context, protocol, inner => protocol.on_written(inner))
    }

    fn on_deadline(&mut self, context: &mut Context<'_, Self::Local, A::Message>) -> Flow {
        delegate!(self, context, protocol, inner => protocol.on_deadline(inner))
    }

    fn on_drain(&mut self, context: &mut Context<'_, Self::Local, A::Message>) -> Flow {
        delegate!(self, context, protocol, inner => protocol.on_drain(inner))
    }

    fn on_finish(&mut self, context: &mut Context<'_, Self::Local, A::Message>) {
        delegate!(self, context, protocol, inner => protocol.on_finish(inner));
    }

    fn on_close(
        &mut self,
        reason: CloseReason,
        context: &mut Context<'_, Self::Local, A::Message>,
    ) {
        delegate!(self, context, protocol, inner => protocol.on_close(reason, inner));
    }

    fn is_busy(&self) -> bool {
        match self {
            Self::A(protocol) => protocol.is_busy(),
            Self::B(protocol) => protocol.is_busy(),
        }
    }

    fn forwards_to(&self) -> Option<ConnectionId> {
        match self {
            Self::A(protocol) => protocol.forwards_to(),
            Self::B(protocol) => protocol.forwards_to(),
        }
    }

    fn passes_everything(&self, local: &Self::Local) -> bool {
        match self {
            Self::A(protocol) => protocol.passes_everything(&local.0),
            Self::B(protocol) => protocol.passes_everything(&local.1),
        }
    }
}

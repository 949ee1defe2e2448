//! The first exchange on a new connection.

/// The request that is sent on a connection before it is idle, and the beginning of the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeting {
    pub(crate) request: &'static [u8],
    pub(crate) answer: &'static [u8],
}

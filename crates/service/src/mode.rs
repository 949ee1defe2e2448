//! Trigger modes as policies: what is watched for, given what the connection waits for.

use epoll_reactor::{Interest, Watch};

/// The way in which a server watches its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Level-triggered: watched for just what the connection waits for, changed whenever that
    /// changes.
    #[default]
    Level,
    /// Edge-triggered: watched for everything from the beginning, never changed.
    Edge,
    /// One-shot: watched for just what the connection waits for, and armed anew after each report.
    /// Threads can share connections that are watched like this.
    Oneshot,
    /// Edge-triggered, for connections that threads share: nothing is armed anew.
    EdgeShared,
}

impl Mode {
    /// Returns the interest to register while the connection waits for `wanted`.
    #[inline]
    #[must_use]
    pub const fn interest(self, wanted: Interest) -> Interest {
        match self {
            Self::Level | Self::Oneshot => wanted,
            Self::Edge | Self::EdgeShared => Interest::all(),
        }
    }

    /// Returns the registration of a connection that waits for `wanted`.
    #[must_use]
    pub const fn watch(self, wanted: Interest) -> Watch {
        let interest = self.interest(wanted);
        match self {
            Self::Level => Watch::level(interest),
            Self::Edge | Self::EdgeShared => Watch::edge(interest),
            Self::Oneshot => Watch::oneshot(interest),
        }
    }

    /// Returns whether threads share the connections, instead of having some each.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Oneshot | Self::EdgeShared)
    }
}

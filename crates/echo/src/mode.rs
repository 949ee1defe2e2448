//! Trigger modes as policies: what is watched for, given what the connection waits for.

use epoll_reactor::{Interest, Watch};

/// How a server watches its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Level-triggered: watched for just what the connection waits for, changed whenever that
    /// changes.
    #[default]
    Level,
    /// Edge-triggered: watched for everything from the beginning, never changed.
    Edge,
}

impl Mode {
    /// What to watch for while the connection waits for `wanted`.
    #[inline]
    #[must_use]
    pub const fn interest(self, wanted: Interest) -> Interest {
        match self {
            Self::Level => wanted,
            Self::Edge => Interest::all(),
        }
    }

    /// The registration of a connection that waits for `wanted`.
    #[must_use]
    pub const fn watch(self, wanted: Interest) -> Watch {
        match self {
            Self::Level => Watch::level(self.interest(wanted)),
            Self::Edge => Watch::edge(self.interest(wanted)),
        }
    }
}

//! Trigger modes as policies: the interest to register for what a connection waits for.

use epoll_reactor::{Interest, Watch};

/// Everything but room to write.
const UNTIL_OUTPUT_WAITS: Interest = Interest::all().difference(Interest::OUT);

/// The way in which a server watches its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Level-triggered: the interest is just what the connection waits for, and changes with it.
    #[default]
    Level,
    /// Edge-triggered: the interest is everything from the beginning, and never changes.
    Edge,
    /// One-shot, for connections that threads share: the interest is just what the connection waits for, and
    /// is armed anew after each report.
    Oneshot,
    /// Edge-triggered, for connections that threads share: the interest is everything, and is never armed
    /// anew. Room to write is part of it once a connection has waited for that: a new one always has room, which
    /// would wake a thread for each that is accepted.
    EdgeShared,
}

impl Mode {
    /// Returns the interest to register while the connection waits for `wanted`, and `registered` is what was
    /// registered before; `None` parks the connection.
    #[inline]
    #[must_use]
    pub const fn interest(
        self,
        wanted: Option<Interest>,
        registered: Option<Interest>,
    ) -> Option<Interest> {
        match self {
            Self::Level | Self::Oneshot => wanted,
            Self::Edge => Some(Interest::all()),
            Self::EdgeShared => Some(match (wanted, registered) {
                (Some(wanted), _) if wanted.contains(Interest::OUT) => Interest::all(),
                (_, Some(registered)) => registered,
                _ => UNTIL_OUTPUT_WAITS,
            }),
        }
    }

    /// Returns the registration of a connection that waits for `wanted`.
    #[must_use]
    pub const fn watch(self, wanted: Interest) -> Watch {
        let interest = match self {
            Self::Level | Self::Oneshot => wanted,
            Self::EdgeShared if !wanted.contains(Interest::OUT) => UNTIL_OUTPUT_WAITS,
            Self::Edge | Self::EdgeShared => Interest::all(),
        };
        match self {
            Self::Level => Watch::level(interest),
            Self::Edge | Self::EdgeShared => Watch::edge(interest),
            Self::Oneshot => Watch::oneshot(interest),
        }
    }

    /// Returns whether threads share the connections, instead of each having its own.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Oneshot | Self::EdgeShared)
    }
}

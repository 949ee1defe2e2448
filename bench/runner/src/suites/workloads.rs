//! What the echo servers are asked to do, and for how long.

use crate::load::{Amount, Kind, Load};
use crate::plan::Effort;

/// Messages a second at a fixed rate: less than half of what one core serves, so that every
/// contestant keeps up, and what is left to compare is its work.
pub(crate) const RATE: u32 = 20_000;

/// One way to load a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) title: &'static str,
    pub(crate) connections: u32,
    pub(crate) idle: u32,
    pub(crate) size: u32,
    pub(crate) kind: Kind,
    full: Effort,
    quick: Effort,
}

impl Workload {
    /// How often and how long it is run.
    pub(crate) fn effort(&self, is_quick: bool) -> Effort {
        if is_quick { self.quick } else { self.full }
    }

    /// Whether it takes long to connect.
    pub(crate) fn is_crowd(&self) -> bool {
        self.connections_all() >= 10_000
    }

    pub(crate) fn connections_all(&self) -> u32 {
        self.connections + self.idle
    }

    /// What the client is told.
    pub(crate) fn load(&self, is_quick: bool) -> Load {
        Load {
            connections: self.connections,
            idle: self.idle,
            size: self.size,
            kind: self.kind,
            amount: Amount::Time(self.effort(is_quick).measured),
        }
    }
}

const CLOSED: Workload = Workload {
    title: "64 B x 50 connections",
    connections: 50,
    idle: 0,
    size: 64,
    kind: Kind::Closed,
    full: Effort::ms(15, 250, 40),
    quick: Effort::ms(3, 75, 40),
};

/// In the order of the report. Crowds have few rounds: most of their time goes into connecting.
pub(crate) const ALL: [Workload; 8] = [
    CLOSED,
    Workload {
        title: "64 B x 1 000 connections",
        connections: 1_000,
        full: Effort::ms(15, 200, 100),
        quick: Effort::ms(3, 100, 100),
        ..CLOSED
    },
    Workload {
        title: "64 B x 10 000 connections",
        connections: 10_000,
        full: Effort::ms(15, 400, 500),
        quick: Effort::ms(2, 300, 450),
        ..CLOSED
    },
    Workload { title: "16 KiB x 50 connections", size: 16 << 10, ..CLOSED },
    Workload { title: "1 MiB x 4 connections", connections: 4, size: 1 << 20, ..CLOSED },
    Workload { title: "a connection for each message", kind: Kind::Churn, ..CLOSED },
    Workload {
        title: "64 B x 50 connections among 15 000 idle",
        idle: 15_000,
        full: Effort::ms(5, 300, 2_400),
        quick: Effort::ms(1, 200, 2_400),
        ..CLOSED
    },
    Workload {
        title: "64 B x 50 connections at 20 000 messages a second",
        kind: Kind::Open(RATE),
        full: Effort::ms(15, 500, 50),
        quick: Effort::ms(3, 200, 50),
        ..CLOSED
    },
];

//! The loads that the echo servers are measured under, and their durations.

use crate::contestants::EchoServer;
use crate::load::{Amount, Kind, Load};
use crate::plan::Budget;

/// Messages a second at a fixed rate: less than half of what one core serves, so that every
/// contestant keeps up, and what is left to compare is its work.
const RATE: u32 = 20_000;
/// The same for large messages.
const RATE_LARGE: u32 = 5_000;

/// The contestants that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    /// All contestants, but under `--quick` only the most important ones.
    MainIfQuick,
    /// Contestants with one thread, and under `--quick` only the most important ones.
    OneThread,
}

/// One way to load a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) title: &'static str,
    /// The name of its file among the published plots, if it has one.
    pub(crate) file: Option<&'static str>,
    pub(crate) connections: u32,
    pub(crate) idle: u32,
    pub(crate) size: u32,
    pub(crate) pipeline: u32,
    pub(crate) kind: Kind,
    who: Who,
    full: Budget,
    quick: Budget,
}

impl Workload {
    /// Returns the number and the length of its rounds.
    pub(crate) fn budget(&self, is_quick: bool) -> Budget {
        if is_quick { self.quick } else { self.full }
    }

    /// Returns whether connecting takes long.
    pub(crate) fn is_crowd(&self) -> bool {
        self.connections + self.idle >= 10_000
    }

    /// Returns whether this server is measured.
    pub(crate) fn has(&self, server: &EchoServer, is_quick: bool) -> bool {
        match self.who {
            Who::Everybody => true,
            _ if is_quick => server.is_main,
            Who::MainIfQuick => true,
            Who::OneThread => server.contestant.threads == 1,
        }
    }

    /// Returns the number of measurements in a round.
    pub(crate) fn times(&self) -> u32 {
        if self.idle > 0 { 2 } else { 1 }
    }

    /// Returns the same load without idle connections, for comparison, if it has any.
    pub(crate) fn alone(&self, is_quick: bool) -> Option<Load> {
        (self.idle > 0).then(|| Load { idle: 0, ..self.load(is_quick) })
    }

    /// Returns the load that the client puts on the server.
    pub(crate) fn load(&self, is_quick: bool) -> Load {
        Load {
            connections: self.connections,
            idle: self.idle,
            size: self.size,
            pipeline: self.pipeline,
            kind: self.kind,
            amount: Amount::Time(self.budget(is_quick).measured / self.times()),
        }
    }
}

const CLOSED: Workload = Workload {
    title: "64 B x 50 connections",
    file: None,
    connections: 50,
    idle: 0,
    size: 64,
    pipeline: 1,
    kind: Kind::Closed,
    who: Who::MainIfQuick,
    full: Budget::ms(15, 150, 40),
    quick: Budget::ms(3, 120, 40),
};

const OPEN: Workload = Workload {
    title: "64 B x 50 connections at 20 000 messages a second",
    kind: Kind::Open(RATE),
    full: Budget::ms(20, 250, 60),
    quick: Budget::ms(3, 200, 40),
    ..CLOSED
};

/// All workloads in the order of the report. A round at a fixed rate says little, so these have more
/// rounds.
pub(crate) const ALL: [Workload; 12] = [
    Workload { file: Some("echo-throughput"), who: Who::Everybody, ..CLOSED },
    Workload { title: "64 B x 1 connection", connections: 1, who: Who::OneThread, ..CLOSED },
    Workload {
        title: "64 B x 50 connections, 16 messages in flight on each",
        pipeline: 16,
        who: Who::OneThread,
        ..CLOSED
    },
    Workload {
        title: "64 B x 1 000 connections",
        connections: 1_000,
        full: Budget::ms(15, 150, 80),
        quick: Budget::ms(3, 100, 80),
        ..CLOSED
    },
    Workload {
        title: "64 B x 10 000 connections",
        connections: 10_000,
        full: Budget::ms(9, 250, 950),
        quick: Budget::ms(1, 250, 700),
        ..CLOSED
    },
    Workload { title: "16 KiB x 50 connections", size: 16 << 10, ..CLOSED },
    Workload {
        title: "1 MiB x 4 connections",
        file: Some("echo-long-messages"),
        connections: 4,
        size: 1 << 20,
        ..CLOSED
    },
    Workload { title: "a connection for each message", kind: Kind::Churn, ..CLOSED },
    Workload { file: Some("echo-cpu"), ..OPEN },
    Workload {
        title: "64 B x 1 000 connections at 20 000 messages a second",
        connections: 1_000,
        who: Who::OneThread,
        full: Budget::ms(20, 250, 100),
        quick: Budget::ms(2, 200, 80),
        ..OPEN
    },
    Workload {
        title: "16 KiB x 50 connections at 5 000 messages a second",
        size: 16 << 10,
        kind: Kind::Open(RATE_LARGE),
        who: Who::OneThread,
        quick: Budget::ms(2, 200, 60),
        ..OPEN
    },
    Workload {
        title: "64 B x 50 connections among 15 000 idle at 20 000 messages a second",
        idle: 15_000,
        // Measured twice, with the idle ones and without.
        full: Budget::ms(7, 400, 1_150),
        quick: Budget::ms(1, 200, 1_150),
        ..OPEN
    },
];

//! What is measured: a case is one value in [`CASES`].

use super::direct::Greeting;
use super::programs::Program;
use crate::plan::Effort;

/// The program that puts load on the servers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    RedisBenchmark {
        command: &'static str,
        pipeline: u32,
        requests: u32,
        requests_quick: u32,
    },
    Wrk {
        connections: u32,
        scheme: &'static str,
        path: &'static str,
    },
    /// Bytes through a proxy.
    Bulk,
    /// Connections through a proxy, one after another.
    Connections,
    /// Connections that are held.
    Idle(Greeting),
    /// Connections through a proxy that are held.
    IdleProxied,
}

impl Client {
    /// The program that has to be installed.
    pub(crate) fn program(&self) -> Option<&'static str> {
        match self {
            Self::RedisBenchmark { .. } => Some("redis-benchmark"),
            Self::Wrk { .. } => Some("wrk"),
            _ => None,
        }
    }

    /// Whether memory is measured, which needs a new server each time.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle(_) | Self::IdleProxied)
    }

    /// What CPU time and throughput are counted in.
    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::Bulk => "MiB",
            Self::Connections => "connection",
            _ => "request",
        }
    }
}

/// One load on a server of ours and on the program beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) title: &'static str,
    pub(crate) reference: Program,
    pub(crate) ours: Program,
    pub(crate) client: Client,
    full: Effort,
    quick: Effort,
}

impl Case {
    pub(crate) fn effort(&self, is_quick: bool) -> Effort {
        if is_quick { self.quick } else { self.full }
    }
}

const RESP: Case = Case {
    title: "RESP, GET",
    reference: Program::Redis,
    ours: Program::Example("resp", &["1"]),
    client: redis("get", 1),
    full: Effort::ms(5, 250, 50),
    quick: Effort::ms(2, 120, 60),
};

const HTTP: Case = Case {
    title: "HTTP, 2 B, 50 connections",
    reference: Program::Nginx,
    ours: Program::Example("http", &[]),
    client: wrk(50, "http", "/"),
    full: Effort::ms(5, 300, 60),
    // wrk looks every 100 ms whether it is to end.
    quick: Effort::ms(2, 200, 60),
};

const PROXY: Case = Case {
    title: "proxy, bytes",
    reference: Program::Haproxy,
    ours: Program::Example("proxy", &["BACKEND"]),
    client: Client::Bulk,
    full: Effort::ms(5, 300, 20),
    quick: Effort::ms(2, 150, 20),
};

const IDLE: Effort = Effort::ms(2, 0, 300);
const IDLE_QUICK: Effort = Effort::ms(1, 0, 400);

/// In the order of the report.
pub(crate) const CASES: [Case; 13] = [
    RESP,
    Case { title: "RESP, SET", client: redis("set", 1), ..RESP },
    Case { title: "RESP, GET, 16 in a row", client: redis("get", 16), ..RESP },
    Case { title: "RESP, SET, 16 in a row", client: redis("set", 16), ..RESP },
    Case {
        title: "RESP, idle connections",
        client: Client::Idle(Greeting { request: b"*1\r\n$4\r\nPING\r\n", answer: b"+PONG\r\n" }),
        full: IDLE,
        quick: IDLE_QUICK,
        ..RESP
    },
    HTTP,
    Case { title: "HTTP, 1 KiB, 50 connections", client: wrk(50, "http", "/1k"), ..HTTP },
    Case { title: "HTTP, 2 B, 1 000 connections", client: wrk(1_000, "http", "/"), ..HTTP },
    Case { title: "HTTP, 1 KiB, 1 000 connections", client: wrk(1_000, "http", "/1k"), ..HTTP },
    Case {
        title: "HTTP, idle connections",
        client: Client::Idle(Greeting {
            request: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            answer: b"HTTP/1.1 200 ",
        }),
        full: IDLE,
        quick: IDLE_QUICK,
        ..HTTP
    },
    PROXY,
    Case { title: "proxy, connections", client: Client::Connections, ..PROXY },
    Case {
        title: "proxy, idle connections",
        client: Client::IdleProxied,
        full: IDLE,
        quick: IDLE_QUICK,
        ..PROXY
    },
];

const fn redis(command: &'static str, pipeline: u32) -> Client {
    // About as long for one at a time as for many in a row.
    let (requests, requests_quick) = if pipeline > 1 { (120_000, 40_000) } else { (20_000, 8_000) };
    Client::RedisBenchmark { command, pipeline, requests, requests_quick }
}

const fn wrk(connections: u32, scheme: &'static str, path: &'static str) -> Client {
    Client::Wrk { connections, scheme, path }
}

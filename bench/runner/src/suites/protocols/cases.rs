//! The cases of this suite, each a value in [`CASES`].

use super::greeting::Greeting;
use super::programs::Program;
use crate::plan::Budget;

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
    /// Requests on connections of their own, one after another.
    Answers(Greeting),
    /// Messages on so many connections that come back.
    Echo {
        connections: usize,
        len: usize,
    },
    /// Connections that are held.
    Idle(Greeting),
    /// Connections through a proxy that are held.
    IdleProxied,
}

impl Client {
    /// Returns the program that has to be installed.
    pub(crate) fn program(&self) -> Option<&'static str> {
        match self {
            Self::RedisBenchmark { .. } => Some("redis-benchmark"),
            Self::Wrk { .. } => Some("wrk"),
            _ => None,
        }
    }

    /// Returns whether memory is measured, which needs a new server each time.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle(_) | Self::IdleProxied)
    }

    /// Returns the headers of throughput and of CPU time.
    pub(crate) fn headers(&self) -> (&'static str, &'static str) {
        match self {
            Self::Bulk => ("MiB/s", "server CPU µs/MiB"),
            Self::Connections => ("connections/s", "server CPU µs/connection"),
            // With a request.
            Self::Answers(_) => ("handshakes/s", "server CPU µs/handshake"),
            Self::Echo { .. } => ("messages/s", "server CPU µs/message"),
            _ => ("requests/s", "server CPU µs/request"),
        }
    }
}

impl Client {
    /// Returns the request that is sent to see which version and cipher suite are agreed on, if there is TLS.
    pub(crate) fn greeting(&self) -> Greeting {
        match self {
            Self::Echo { .. } => Greeting { request: b"x", answer: b"x" },
            _ => GET,
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
    full: Budget,
    quick: Budget,
}

impl Case {
    pub(crate) fn budget(&self, is_quick: bool) -> Budget {
        if is_quick { self.quick } else { self.full }
    }
}

const RESP: Case = Case {
    title: "RESP, GET",
    reference: Program::Redis,
    ours: Program::Example("resp", &["1"]),
    client: redis("get", 1),
    full: Budget::ms(5, 250, 50),
    quick: Budget::ms(2, 120, 60),
};

const HTTP: Case = Case {
    title: "HTTP, 2 B, 50 connections",
    reference: Program::Nginx,
    ours: Program::Example("http", &[]),
    client: wrk(50, "http", "/"),
    full: Budget::ms(5, 300, 60),
    // wrk looks every 100 ms whether it is to end.
    quick: Budget::ms(2, 200, 60),
};

const GET: Greeting =
    Greeting { request: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", answer: b"HTTP/1.1 200 " };

const HTTPS: Case = Case {
    title: "HTTPS, 2 B, 50 connections",
    reference: Program::NginxTls,
    ours: Program::Https,
    client: wrk(50, "https", "/"),
    // Long enough for the first requests, which wait for handshakes, to be less than one in a hundred.
    full: Budget::ms(5, 500, 100),
    quick: Budget::ms(2, 400, 100),
};

const TLS_ECHO: Case = Case {
    title: "TLS echo, 64 B, 50 connections",
    reference: Program::TokioRustls,
    ours: Program::TlsEcho,
    client: Client::Echo { connections: 50, len: 64 },
    full: Budget::ms(5, 200, 40),
    quick: Budget::ms(2, 100, 60),
};

const PROXY: Case = Case {
    title: "proxy, bytes",
    reference: Program::Haproxy,
    ours: Program::Example("proxy", &["BACKEND"]),
    client: Client::Bulk,
    full: Budget::ms(5, 300, 20),
    quick: Budget::ms(2, 150, 20),
};

const IDLE: Budget = Budget::ms(2, 0, 300);
const IDLE_QUICK: Budget = Budget::ms(1, 0, 400);
// The client's part in a thousand handshakes takes longer than the server's.
const IDLE_TLS: Budget = Budget::ms(2, 0, 800);
const IDLE_TLS_QUICK: Budget = Budget::ms(1, 0, 900);

/// All cases in the order of the report.
pub(crate) const CASES: [Case; 19] = [
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
        client: Client::Idle(GET),
        full: IDLE,
        quick: IDLE_QUICK,
        ..HTTP
    },
    HTTPS,
    Case { title: "HTTPS, 1 KiB, 50 connections", client: wrk(50, "https", "/1k"), ..HTTPS },
    Case {
        title: "HTTPS, full handshakes",
        client: Client::Answers(Greeting {
            request: b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            answer: b"HTTP/1.1 200 ",
        }),
        full: Budget::ms(5, 300, 20),
        quick: Budget::ms(2, 150, 20),
        ..HTTPS
    },
    Case {
        title: "HTTPS, idle connections",
        client: Client::Idle(GET),
        full: IDLE_TLS,
        quick: IDLE_TLS_QUICK,
        ..HTTPS
    },
    TLS_ECHO,
    Case {
        title: "TLS echo, 4 KiB, 50 connections",
        client: Client::Echo { connections: 50, len: 4096 },
        ..TLS_ECHO
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

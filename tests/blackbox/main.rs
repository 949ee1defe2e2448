//! Black-box tests: the built server runs in a process of its own, and all that is known of it is
//! what a client, a shell or /proc can see. A module per behaviour; what costs a lot of memory,
//! descriptors or CPU, or measures, runs one test at a time ([`harness::alone`]).

#[macro_use]
mod harness;

mod activation;
mod bad_input;
mod busy_polling;
mod churn;
mod closing;
mod configuration;
mod crowds;
mod draining;
mod echoing;
mod escapes;
mod haproxy;
mod hostile_peers;
mod installing;
mod limits;
mod listening;
mod logs;
mod metrics;
mod numbers;
mod panics;
mod proxy_protocol;
mod rates;
mod restart;
mod sharing;
mod signals;
mod statistics;
mod streams;
mod supervision;
mod surroundings;
mod threads;
mod timeouts;
mod tls;
mod udp;
mod unix_paths;

//! The program `epoll-server`: an echo server (RFC 862), the protocol of `epoll-echo` served by
//! `epoll-service`. This crate is flags, logs and the statistics file. Programs that serve a protocol of
//! their own use `epoll-service`.

#![forbid(unsafe_code)]

pub mod cli;

mod echo;
mod listen;
mod log;
mod stats_file;
mod udp;

pub use log::LogFormat;

//! The program `epoll-server`: an echo server (RFC 862), the protocol of `epoll-echo` served by
//! `epoll-service`. This crate has the flags, their sources, the logs and the statistics file. A program with
//! another protocol uses `epoll-service`.

pub mod cli;

mod args;
mod bytes;
mod config_file;
mod echo;
mod escape;
mod listen;
mod log;
mod reload;
mod settings;
mod signals;
mod stats_file;
mod udp;
mod unix_access;

pub use log::LogFormat;

//! An echo over a scripted transport.

use epoll_connection::Limits;
use epoll_connection::test_kit::{Driver, Trigger};
use epoll_echo::{Echo, EchoOptions};
use std::num::NonZeroUsize;

pub(crate) const BOTH: [Trigger; 2] = [Trigger::Level, Trigger::Edge];

/// The default limits, with a read buffer of `len` bytes.
pub(crate) fn buffer(len: usize) -> Limits {
    Limits { read_buffer_len: NonZeroUsize::new(len).unwrap(), ..Limits::default() }
}

pub(crate) fn echo(trigger: Trigger, limits: Limits) -> Driver<Echo> {
    Driver::with_limits(trigger, Echo::default(), None, limits)
}

pub(crate) fn echo_to_quit(trigger: Trigger, limits: Limits) -> Driver<Echo> {
    let quit_word = Some("quit".parse().unwrap());
    let options = EchoOptions { quit_word, ..EchoOptions::default() };
    Driver::with_limits(trigger, Echo::default(), options.into_local(), limits)
}

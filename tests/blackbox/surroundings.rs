//! Bare surroundings: no `/proc`, and the server as the first process of a container.

use crate::harness::{Launch, Mode, converse, ends, tool};
use rustix::process::Signal;
use std::net::Shutdown;
use std::process::{Command, Stdio};

/// Runs the server in namespaces of its own, made by unshare with these flags and prepared by this script; `None`
/// where this machine does not allow that.
fn unshared(launch: Launch, flags: &[&str], script: &str) -> Option<Launch> {
    tool("unshare")?;
    // Root needs no namespace for users, and others may not have one.
    let is_root = rustix::process::getuid().is_root();
    let user: &[&str] = if is_root { &[] } else { &["--map-root-user"] };
    let words = [&["unshare"][..], user, flags, &["sh", "-c", script][..]].concat();
    let mut try_it = Command::new(words[0]);
    try_it.args(&words[1..]).arg("true").stdin(Stdio::null()).stderr(Stdio::null());
    if !try_it.status().is_ok_and(|status| status.success()) {
        epoll_kit_testing::leave_out("surroundings", "CAP_SYS_ADMIN");
        return None;
    }
    Some(launch.under(words))
}

in_modes!(it_serves_and_drains_as_the_first_process: level Level, edge_shared EdgeShared);

fn it_serves_and_drains_as_the_first_process(mode: Mode) {
    let flags = ["--pid", "--fork", "--kill-child"];
    let Some(launch) = unshared(Launch::tcp(mode), &flags, "exec \"$0\" \"$@\"") else { return };
    let mut server = launch.start();
    let mut stream = server.client();
    converse(&mut stream, b"hello");
    server.process.signal(Signal::HUP);
    server.process.signal(Signal::USR1);
    converse(&mut stream, b"as before");
    server.process.signal(Signal::TERM);
    ends(&mut stream);
    drop(stream);
    assert_eq!(server.await_end().code(), Some(0));
}

in_modes!(it_serves_without_proc: level Level, edge_shared EdgeShared);

fn it_serves_without_proc(mode: Mode) {
    let script = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let Some(launch) = unshared(Launch::tcp(mode), &["--mount"], script) else { return };
    let mut server = launch.start();
    let mut stream = server.client();
    converse(&mut stream, b"hello");
    stream.shutdown(Shutdown::Write).unwrap();
    ends(&mut stream);
    server.drain();
}

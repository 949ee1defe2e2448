//! Tests that are left out for want of a program. Each says so in the file that the variable
//! `EPOLL_KIT_LEFT_OUT` names, where `cargo xtask test` collects it.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

const VARIABLE: &str = "EPOLL_KIT_LEFT_OUT";

/// Says that a test was left out for want of a program, to people and to whoever runs all tests.
///
/// # Panics
///
/// If the record cannot be written.
#[track_caller]
pub fn leave_out(test: &str, program: &str) {
    let line = format!("{test}\t{program}\t{}\n", package(program));
    eprint!("left out: {line}");
    if let Some(path) = env::var_os(VARIABLE) {
        let file = OpenOptions::new().append(true).create(true).open(path);
        // One write, since other tests append at the same time.
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("a record of what is left out");
    }
}

/// The name of the Debian package that brings a program.
fn package(program: &str) -> &str {
    match program {
        "ab" => "apache2-utils",
        "cc" => "gcc",
        // Headers, whose libraries are linked to.
        "ev.h" => "libev-dev",
        "event2/bufferevent.h" | "event2/event.h" => "libevent-dev",
        "liburing.h" => "liburing-dev",
        "uv.h" => "libuv1-dev",
        "go" => "golang-go",
        "nc" => "netcat-openbsd",
        "gnutls-cli" => "gnutls-bin",
        "promtool" => "prometheus",
        "redis-benchmark" | "redis-cli" => "redis-tools",
        "chrt" | "prlimit" | "setpriv" | "taskset" | "unshare" => "util-linux",
        "ip" => "iproute2",
        "systemd-analyze" => "systemd",
        other => other,
    }
}

//! Tests that are left out for want of a program.

use std::env;
use std::ffi::OsStr;
use std::io::{Write, stderr};

/// Says that a test is left out for want of a program.
///
/// # Panics
///
/// If the variable `CI` is set and not empty: there, every test has to run.
#[track_caller]
pub fn leave_out(test: &str, program: &str) {
    leave_out_unless(env::var_os("CI").as_deref(), test, program);
}

#[track_caller]
fn leave_out_unless(ci: Option<&OsStr>, test: &str, program: &str) {
    let line = format!("left out: {test} needs {program} (Debian package {})", package(program));
    assert!(ci.is_none_or(OsStr::is_empty), "{line}");
    // Unlike `eprintln!`, this is shown of a test that passes.
    let _ = writeln!(stderr(), "{line}");
}

/// Returns the name of the Debian package that contains a program.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_may_be_left_out_elsewhere() {
        leave_out_unless(None, "a", "nc");
        leave_out_unless(Some("".as_ref()), "a", "nc");
    }

    #[test]
    #[should_panic = "left out: a needs nc (Debian package netcat-openbsd)"]
    fn ci_leaves_nothing_out() {
        leave_out_unless(Some("true".as_ref()), "a", "nc");
    }
}

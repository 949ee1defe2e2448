//! The network that the benchmarks use: a namespace of their own where that is allowed. Nothing else
//! is on its loopback, its ports are all free, and its congestion control can be chosen without
//! changing the machine's.

mod neighbour;

use anyhow::{Context, bail};
pub(crate) use neighbour::Neighbour;
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::process::{Command, Stdio};

/// Does not pace. With one that does, loopback measures the pacing.
pub(crate) const CONGESTION: &str = "cubic";

const CONGESTION_FILE: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

const PORTS_FILE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// All that need no privilege. connect(2) tries port after port until one is free, and among the
/// 28 232 of the default, thousands of idle connections and of those that were closed within the last
/// minute make it try many: it takes half of the time that 15 000 connections need.
const PORTS: &str = "1024 65535";

/// The network between the servers and the client.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) description: String,
    /// The congestion control that the client must set on its sockets, if it is not the default.
    pub(crate) congestion: Option<&'static str>,
    /// `true` if it is a network namespace of its own, in which devices may be made.
    pub(crate) is_own: bool,
}

/// The argument with which this program tries whether it may do that, and does nothing else.
pub(crate) const PROBE: &str = "--probe-network";

/// Moves this process, and so the ones that it starts, into a namespace of their own. To be called
/// before there is a second thread. Where it is not allowed, all stays as it is.
pub(crate) fn enter() -> Network {
    let machine = default_congestion();
    match probe().and_then(|()| enter_own()) {
        Ok(()) => Network {
            description: format!(
                "loopback of a network namespace of its own, {CONGESTION} (the machine's default is \
                 {machine})"
            ),
            congestion: None,
            is_own: true,
        },
        Err(_) if machine == CONGESTION => {
            let description = format!("loopback, {CONGESTION}");
            Network { description, congestion: None, is_own: false }
        }
        Err(_) => Network {
            description: format!(
                "loopback, {CONGESTION} on the client's sockets, {machine} on the servers'"
            ),
            congestion: Some(CONGESTION),
            is_own: false,
        },
    }
}

fn default_congestion() -> String {
    let name = fs::read_to_string(CONGESTION_FILE).unwrap_or_default();
    if name.trim().is_empty() { "unknown".to_owned() } else { name.trim().to_owned() }
}

/// Checks in a child process whether a namespace may be made. A process that fails halfway cannot go
/// back.
fn probe() -> anyhow::Result<()> {
    let mut probe = Command::new(std::env::current_exe()?);
    probe.arg(PROBE).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !probe.status()?.success() {
        bail!("a network namespace is not allowed");
    }
    Ok(())
}

/// Makes the namespace, brings its loopback up and chooses its congestion control.
///
/// # Errors
///
/// A part of it is not allowed; the process is of no use then.
pub(crate) fn enter_own() -> anyhow::Result<()> {
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
        // A user who is nobody there loses its rights with the next exec.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw()))?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))?;
    }
    ip("link set lo up")?;
    // A namespace may not take every algorithm for its default, but a route may name any.
    for destination in ["127.0.0.0/8", "127.0.0.1"] {
        ip(&format!(
            "route replace local {destination} dev lo table local scope host src 127.0.0.1 \
             congctl {CONGESTION}"
        ))?;
    }
    // Refused where /proc/sys is read-only: connecting takes longer then, and all else is the same.
    let _ = fs::write(PORTS_FILE, PORTS);
    Ok(())
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(arguments.split(' '))).context("failed to set up the namespace")
}

/// Runs a command to its end, which is soon.
fn run(command: &mut Command) -> anyhow::Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status();
    if !status.with_context(|| format!("failed to start {command:?}"))?.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}

//! A second network namespace, joined to this one by a veth pair, as a container is to its host.

use super::{CONGESTION, run};
use crate::interrupt::Interrupt;
use crate::process::Process;
use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

/// The addresses of the two ends, ours first.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];

const NETWORK: &str = "10.77.0.0/24";
const PREFIX_LEN: u8 = 24;

/// The names of the two ends, ours first.
const ENDS: [&str; 2] = ["bench-here", "bench-there"];

/// The longest time that making a namespace may take.
const START_MAX: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// The namespace, which ends with its only process when it is dropped.
pub(crate) struct Neighbour {
    keeper: Process,
}

impl Neighbour {
    /// Makes it, and both ends of the pair.
    ///
    /// # Errors
    ///
    /// This process has no namespace of its own, so that one end would be the machine's; a part of it is not
    /// allowed, or a program is missing.
    pub(crate) fn start(has_own_network: bool, interrupt: &Interrupt) -> anyhow::Result<Self> {
        if !has_own_network {
            bail!("a network namespace is not allowed");
        }
        let own = namespace("self")?;
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sleep", "3600"]);
        let mut keeper = Process::start(unshare, None)?;
        let deadline = Instant::now() + START_MAX;
        while namespace(&keeper.id().to_string())? == own {
            if Instant::now() >= deadline || keeper.wait(Instant::now() + PAUSE, interrupt).is_ok()
            {
                bail!("a second network namespace is not allowed");
            }
        }
        let neighbour = Self { keeper };
        neighbour.join().context("failed to join two network namespaces")?;
        Ok(neighbour)
    }

    fn join(&self) -> anyhow::Result<()> {
        let there = self.keeper.id().to_string();
        let [here, end] = ENDS;
        let pair = ["link", "add", here, "type", "veth", "peer", "name", end, "netns", &there];
        run(Command::new("ip").args(pair))?;
        for (at, (end, address)) in ENDS.into_iter().zip(ADDRESSES).enumerate() {
            let address = format!("{address}/{PREFIX_LEN}");
            let route = ["route", "replace", NETWORK, "dev", end, "congctl", CONGESTION];
            let add = ["address", "add", &address, "dev", end];
            for words in [&add[..], &["link", "set", end, "up"], &route] {
                let mut ip = if at == 0 { Command::new("ip") } else { self.command("ip") };
                run(ip.args(words))?;
            }
        }
        Ok(())
    }

    /// Returns the address at which a server here is reached from there.
    pub(crate) fn address(&self) -> IpAddr {
        ADDRESSES[0].into()
    }

    /// Returns a command that runs the program there.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.keeper.id())).arg(program);
        command
    }
}

/// Returns the identity of the network namespace of a process.
fn namespace(pid: &str) -> anyhow::Result<std::path::PathBuf> {
    let path = format!("/proc/{pid}/ns/net");
    fs::read_link(&path).with_context(|| format!("failed to read {path}"))
}

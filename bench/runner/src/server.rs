//! A server that is being measured: started on its core, known by its address, ended by its id.

use crate::contestants::EchoServer;
use crate::context::Context;
use crate::interrupt::{Interrupt, Interrupted};
use crate::process::Process;
use anyhow::{Context as _, bail};
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const START_MAX: Duration = Duration::from_secs(10);
/// The time between two attempts to connect to a server that does not say when it listens.
const PAUSE: Duration = Duration::from_millis(5);

/// A running server.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: String,
    log: PathBuf,
}

impl Server {
    /// Starts it and reads where it listens. With more than one thread it has all cores.
    pub(crate) fn start(context: &Context, server: &EchoServer) -> anyhow::Result<Self> {
        Self::start_on(context, server, Ipv4Addr::LOCALHOST.into())
    }

    /// Starts it at this address.
    pub(crate) fn start_on(
        context: &Context,
        server: &EchoServer,
        ip: IpAddr,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(&server.program);
        command.args(&server.args);
        Self::start_listening(context, server, command, ip)
    }

    /// Starts it by the given command, to which the address is added.
    pub(crate) fn start_as(
        context: &Context,
        server: &EchoServer,
        command: Command,
    ) -> anyhow::Result<Self> {
        Self::start_listening(context, server, command, Ipv4Addr::LOCALHOST.into())
    }

    fn start_listening(
        context: &Context,
        server: &EchoServer,
        mut command: Command,
        ip: IpAddr,
    ) -> anyhow::Result<Self> {
        let core = if server.contestant.threads > 1 { None } else { context.cores.server() };
        let log = context.paths.log_of(&server.contestant.label());
        let stderr = File::create(&log).context("failed to create a log")?;
        command.arg("--listen").arg(SocketAddr::new(ip, 0).to_string());
        command.stdout(Stdio::piped()).stderr(stderr);
        let mut process = Process::start(command, core)?;
        let line = process.first_line(context.deadline(START_MAX), &context.interrupt);
        let line = line.map_err(|error| match last_line(&log) {
            Some(said) if process.ends_soon(&context.interrupt) => anyhow::Error::msg(said),
            _ => error,
        })?;
        let Some(address) = line.strip_prefix("listening on ") else {
            bail!("it says {line:?} instead of where it listens");
        };
        let address = address.trim().to_owned();
        Ok(Self { process, address, log })
    }

    /// Starts a server that was told to listen at this address, on the server's core, and waits until it
    /// accepts connections.
    pub(crate) fn start_at(
        context: &Context,
        label: &str,
        mut command: Command,
        address: SocketAddr,
    ) -> anyhow::Result<Self> {
        let log = context.paths.log_of(label);
        let stderr = File::create(&log).context("failed to create a log")?;
        let stdout = stderr.try_clone().context("failed to share a log")?;
        command.stdout(stdout).stderr(stderr);
        let process = Process::start(command, context.cores.server())?;
        let mut server = Self { process, address: address.to_string(), log };
        let deadline = context.deadline(START_MAX);
        while let Err(error) = TcpStream::connect(address) {
            let pause = server.process.wait(Instant::now() + PAUSE, &context.interrupt);
            let is_over = pause.is_ok() || Instant::now() >= deadline;
            if pause.is_err_and(|error| error.is::<Interrupted>()) {
                return Err(Interrupted.into());
            }
            if is_over {
                let error = anyhow::Error::from(error).context("it does not listen");
                return Err(server.explain(error, &context.interrupt));
            }
        }
        Ok(server)
    }

    /// Replaces the client's error by the server's last log line, if the server has exited.
    pub(crate) fn explain(&mut self, error: anyhow::Error, interrupt: &Interrupt) -> anyhow::Error {
        if error.is::<Interrupted>() || !self.process.ends_soon(interrupt) {
            return error;
        }
        let said = last_line(&self.log).map(|line| format!(": {line}")).unwrap_or_default();
        anyhow::anyhow!("the server died{said}")
    }
}

fn last_line(log: &PathBuf) -> Option<String> {
    let text = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
}

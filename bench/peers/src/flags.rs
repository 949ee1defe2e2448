//! The command line of a peer, and its end.

use crate::listening;
use anyhow::{Context, bail};
use lexopt::{Arg, Parser, ValueExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::{env, io};

const USAGE: &str = "\
An echo server to measure others beside.

  --listen ADDRESS     where to listen; 127.0.0.1:8080 unless given, port 0 for any
  --threads N          how many threads serve; 1 unless given
  --help               these lines";

/// The number of threads that a peer can serve with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threading {
    /// One, or a number that the peer chooses itself.
    Fixed,
    /// The number that `--threads` names.
    Chosen,
}

/// The options that all peers have.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    address: SocketAddr,
    /// The number of threads that serve.
    pub threads: NonZeroUsize,
}

/// Flags that one peer has alone.
pub trait OwnFlags: Default {
    /// Their lines of the help, each after a line break.
    const USAGE: &'static str;

    /// Takes the flag of this name, and its value from the parser. `false`: it is none of these.
    ///
    /// # Errors
    ///
    /// A value that is missing or means nothing, and flags that do not go together.
    fn take(&mut self, name: &str, parser: &mut Parser) -> anyhow::Result<bool>;
}

/// No flags but those of all peers.
impl OwnFlags for () {
    const USAGE: &'static str = "";

    fn take(&mut self, _: &str, _: &mut Parser) -> anyhow::Result<bool> {
        Ok(false)
    }
}

/// Reads the command line and serves until a signal ends the process or something fails.
pub fn run(threading: Threading, serve: impl FnOnce(&Options) -> anyhow::Result<()>) -> ExitCode {
    run_with(threading, |options, (): &()| serve(options))
}

/// Reads the command line as [`run`] does, for a peer with flags of its own.
pub fn run_with<F: OwnFlags>(
    threading: Threading,
    serve: impl FnOnce(&Options, &F) -> anyhow::Result<()>,
) -> ExitCode {
    let parsed = Options::parse(Parser::from_env(), threading);
    let done = parsed.and_then(|options| match options {
        Some((options, own)) => {
            raise_descriptors()?;
            serve(&options, &own)
        }
        None => Ok(writeln!(io::stdout(), "{USAGE}{}", F::USAGE)?),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let name = env::args().next().unwrap_or_default();
            // Nobody is left to be told that this could not be told.
            let _ = writeln!(io::stderr(), "{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    /// `None`: help was asked for.
    fn parse<F: OwnFlags>(
        mut parser: Parser,
        threading: Threading,
    ) -> anyhow::Result<Option<(Self, F)>> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let mut options = Self { address, threads: NonZeroUsize::MIN };
        let mut own = F::default();
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Long("listen") => {
                    options.address = parser.value()?.parse().context("--listen")?;
                }
                Arg::Long("threads") => {
                    options.threads = parser.value()?.parse().context("--threads")?;
                }
                Arg::Long("help") => return Ok(None),
                Arg::Long(name) => {
                    let name = name.to_owned();
                    if !own.take(&name, &mut parser)? {
                        return Err(Arg::Long(&name).unexpected().into());
                    }
                }
                other => return Err(other.unexpected().into()),
            }
        }
        if threading == Threading::Fixed && options.threads > NonZeroUsize::MIN {
            bail!("--threads {}: how many threads serve is not to be chosen here", options.threads);
        }
        Ok(Some((options, own)))
    }

    /// Opens a listener and prints its address.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub fn listen(&self) -> anyhow::Result<TcpListener> {
        let listener = listening::bind(self.address)
            .with_context(|| format!("failed to listen on {}", self.address))?;
        announce(&listener)?;
        Ok(listener)
    }

    /// Opens a listener for each thread, all with one address, and prints this address.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub fn listen_shared(&self) -> anyhow::Result<Vec<TcpListener>> {
        let listeners = listening::bind_shared(self.address, self.threads)
            .with_context(|| format!("failed to listen on {}", self.address))?;
        listeners.first().map_or(Ok(()), announce)?;
        Ok(listeners)
    }
}

fn announce(listener: &TcpListener) -> anyhow::Result<()> {
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)
        .context("failed to print the address")
}

/// Raises the descriptor limit of this process to its hard limit: a shell's soft limit is too low.
fn raise_descriptors() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("failed to raise the limit of descriptors")
}

//! The command line.

use anyhow::{Context, bail, ensure};
use lexopt::{Arg, Parser, ValueExt};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
Floods an echo server on this machine, and prints as a JSON object what was done.

  flood ADDRESS [--delay SECONDS] [--duration SECONDS] [--resets N] [--mute N] [--drip N] [--burst N]

  --delay SECONDS     how long to wait first; not at all unless given, 60 at most
  --duration SECONDS  how long to flood; 1 unless given, 60 at most
  --resets N          clients that connect, send and reset at once, again and again
  --mute N            clients that send as much as is taken and never read
  --drip N            clients that send a byte every 10 ms
  --burst N           clients that send 16 KiB at once every 100 ms
  --help              these lines

Each kind has no client unless its number is given, and 4096 at most.";

/// The most clients of a kind.
const CLIENTS_MAX: usize = 4096;
/// The longest flood, and the longest delay.
const TIME_MAX: Duration = Duration::from_secs(60);

/// A flood.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) target: SocketAddr,
    pub(crate) delay: Duration,
    pub(crate) duration: Duration,
    pub(crate) resets: usize,
    pub(crate) mute: usize,
    pub(crate) drip: usize,
    pub(crate) burst: usize,
}

impl Options {
    /// `None`: help was asked for.
    pub(crate) fn parse(mut parser: Parser) -> anyhow::Result<Option<Self>> {
        let mut target: Option<SocketAddr> = None;
        let (mut delay, mut duration) = (Duration::ZERO, Duration::from_secs(1));
        let [mut resets, mut mute, mut drip, mut burst] = [0; 4];
        while let Some(arg) = parser.next()? {
            match arg {
                Arg::Value(address) if target.is_none() => {
                    target = Some(address.parse().context("the address")?);
                }
                Arg::Long("duration") => {
                    duration = time(&mut parser).context("--duration")?;
                }
                Arg::Long("delay") => delay = time(&mut parser).context("--delay")?,
                Arg::Long("resets") => resets = clients(&mut parser).context("--resets")?,
                Arg::Long("mute") => mute = clients(&mut parser).context("--mute")?,
                Arg::Long("drip") => drip = clients(&mut parser).context("--drip")?,
                Arg::Long("burst") => burst = clients(&mut parser).context("--burst")?,
                Arg::Long("help") => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        let Some(target) = target else { bail!("no address") };
        // This is no tool to use against anybody else.
        ensure!(target.ip().is_loopback(), "{target} is not on the loopback");
        Ok(Some(Self { target, delay, duration, resets, mute, drip, burst }))
    }
}

fn time(parser: &mut Parser) -> anyhow::Result<Duration> {
    let time = Duration::try_from_secs_f64(parser.value()?.parse()?)?;
    ensure!(time <= TIME_MAX, "longer than {TIME_MAX:?}");
    Ok(time)
}

fn clients(parser: &mut Parser) -> anyhow::Result<usize> {
    let clients = parser.value()?.parse()?;
    ensure!(clients <= CLIENTS_MAX, "more than {CLIENTS_MAX}");
    Ok(clients)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Option<Options>> {
        Options::parse(Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn each_kind_has_its_number() {
        let line = "127.0.0.1:9 --duration 1.5 --resets 1 --mute 2 --drip 3 --burst 4";
        let options = parse(line).unwrap().expect("a flood");
        let Options { resets, mute, drip, burst, duration, .. } = options;
        assert_eq!([resets, mute, drip, burst], [1, 2, 3, 4]);
        assert_eq!(duration, Duration::from_millis(1500));
        assert!(parse("--help").unwrap().is_none());
    }

    #[test]
    fn nothing_without_a_bound_is_begun_and_nothing_against_other_machines() {
        for (line, says) in [
            ("", "no address"),
            ("192.0.2.1:80", "not on the loopback"),
            ("127.0.0.1:9 --duration 61", "--duration: longer"),
            ("127.0.0.1:9 --delay 61", "--delay: longer"),
            ("127.0.0.1:9 --resets 4097", "--resets"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(format!("{error:#}").contains(says), "{error:#}");
        }
    }
}

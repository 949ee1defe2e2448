//! `flood`: honest clients at a low, fixed rate beside hostile clients, in each mode of our server.

use crate::conditions::Conditions;
use crate::contestants::{EchoServer, ours};
use crate::context::Context;
use crate::load::{Amount, Kind, Load};
use crate::metric::Metric;
use crate::notes::{BY_HAND, about_commands, about_rounds, by_hand, pinned};
use crate::paths::Paths;
use crate::plan::{Budget, PlanEntry};
use crate::process::Process;
use crate::report::{Column, Section, Table};
use crate::results::{Part, Results, Role, Sample, Series};
use crate::rounds::interleave;
use crate::server::Server;
use crate::suite::Suite;
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The suite.
pub(crate) struct Flood;

impl Suite for Flood {
    fn name(&self) -> &'static str {
        "flood"
    }

    fn title(&self) -> &'static str {
        "Honest clients in a flood"
    }

    fn plan(&self, paths: &Paths, is_quick: bool) -> Vec<PlanEntry> {
        mixes(is_quick).iter().map(|mix| entry(paths, mix, is_quick)).collect()
    }

    fn measure(&self, context: &Context, results: &mut Results) -> anyhow::Result<()> {
        for mix in mixes(context.is_quick) {
            results.parts.push(Part::new(mix.title, measure(context, mix)?));
        }
        Ok(())
    }

    fn report(&self, results: &Results, conditions: &Conditions, section: &mut Section) {
        section.intro = vec![
            format!(
                "{CONNECTIONS} honest connections send {RATE} messages a second in all, each of which is due at \
                 a fixed time, and every byte that comes back is checked. Meanwhile others connect, send and \
                 reset at once, again and again; or never read; or send a byte every 10 ms; or 16 KiB every \
                 100 ms. The server has one thread that serves. Both kinds of client share a core, so latencies contain \
                 the waits for that; a round in which the server refuses or ends a hostile connection is a failure."
            ),
            about_rounds(Some("level again")),
            about_commands(),
        ];
        for part in &results.parts {
            let Some(mix) = MIXES.iter().find(|mix| mix.title == part.title) else { continue };
            section.tables.push(table(mix, part, conditions));
        }
    }
}

/// The hostile clients of a case.
struct Mix {
    title: &'static str,
    flags: &'static [&'static str],
    full: Budget,
}

const CONNECTIONS: u32 = 200;
const RATE: u32 = 400;

static MIXES: [Mix; 5] = [
    Mix {
        title: "120 reset, 40 never read, 40 drip, 40 send in bursts",
        flags: &["--resets=120", "--mute=40", "--drip=40", "--burst=40"],
        full: Budget::ms(3, 3_000, 600),
    },
    alone("120 reset", &["--resets=120"]),
    alone("120 never read", &["--mute=120"]),
    alone("120 drip", &["--drip=120"]),
    alone("120 send in bursts", &["--burst=120"]),
];

/// Returns a case of one kind.
const fn alone(title: &'static str, flags: &'static [&'static str]) -> Mix {
    Mix { title, flags, full: Budget::ms(1, 1_000, 500) }
}

/// The time for which honest clients are alone at first.
const HEAD_START: Duration = Duration::from_millis(200);

/// The time that a flood may take to end beyond its duration: it is begun while honest clients connect.
const END_MAX: Duration = Duration::from_secs(15);

/// Returns the servers. The first is what the others are compared with; the second is the same again, for the
/// noise.
fn servers(paths: &Paths) -> Vec<EchoServer> {
    let mode = |mode| ours(paths, mode, 1);
    let again = mode("level").role(Role::OursAgain);
    vec![mode("level"), again, mode("edge"), mode("oneshot"), mode("edge-shared")]
}

/// Returns the cases: quickly, only that of all kinds together.
fn mixes(is_quick: bool) -> &'static [Mix] {
    if is_quick { &MIXES[..1] } else { &MIXES }
}

fn budget(mix: &Mix, is_quick: bool) -> Budget {
    if is_quick { Budget::ms(1, 900, 600) } else { mix.full }
}

fn entry(paths: &Paths, mix: &Mix, is_quick: bool) -> PlanEntry {
    PlanEntry::of("flood", mix.title, servers(paths).len(), budget(mix, is_quick))
}

fn measure(context: &Context, mix: &Mix) -> anyhow::Result<Vec<Series>> {
    let entry = entry(&context.paths, mix, context.is_quick);
    context.progress.begin(&entry);
    let servers = servers(&context.paths);
    let contestants: Vec<_> = servers.iter().map(|one| one.contestant.clone()).collect();
    let budget = budget(mix, context.is_quick);
    let measure = |at: usize, round: u32| {
        let label = contestants[at].label();
        context.progress.at(&entry, &format!("round {round} of {}, {label}", budget.rounds));
        measure_one(context, &servers[at], mix, budget.measured)
    };
    Ok(interleave(&contestants, budget.rounds, context.until(&entry), measure)?)
}

fn load(time: Duration) -> Load {
    Load {
        connections: CONNECTIONS,
        idle: 0,
        pipeline: 1,
        size: 64,
        kind: Kind::Open(RATE),
        amount: Amount::Time(time),
    }
}

/// Returns the flags of a flood beside a load that takes this time.
fn flood_flags(mix: &Mix, time: Duration) -> Vec<String> {
    let duration = time.saturating_sub(HEAD_START).as_secs_f64();
    let times = [format!("--delay={}", HEAD_START.as_secs_f64()), format!("--duration={duration}")];
    times.into_iter().chain(mix.flags.iter().map(|flag| (*flag).to_owned())).collect()
}

fn measure_one(
    context: &Context,
    contestant: &EchoServer,
    mix: &Mix,
    time: Duration,
) -> anyhow::Result<Sample> {
    let mut server = Server::start(context, contestant)?;
    let mut command = Command::new(context.paths.bench_programs.join("flood"));
    command.arg(&server.address).args(flood_flags(mix, time));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let flood = Process::start(command, context.cores.client())?;
    let measured = load(time).run(context, &server.address, server.process.id());
    let mut sample = measured.map_err(|error| server.explain(error, &context.interrupt))?;
    let output = flood.collect(context.deadline(END_MAX), &context.interrupt, |_| {})?;
    ensure!(output.status.success(), "{}", output.complaint());
    sample.values.insert(Metric::Resets, resets(&output.stdout)?);
    Ok(sample)
}

/// Returns the number of connections a second that were reset.
fn resets(said: &str) -> anyhow::Result<f64> {
    let json: Value = serde_json::from_str(said).context("flood printed no JSON")?;
    for (kind, did) in json.as_object().into_iter().flatten() {
        for lost in ["refused", "ended"] {
            let count = did[lost].as_u64().unwrap_or(0);
            ensure!(
                count == 0,
                "{count} connections of {kind} were {lost}: the flood was less than that"
            );
        }
    }
    let count = json["resets"]["connections"].as_f64().context("flood printed no resets")?;
    let seconds = json["duration_s"].as_f64().context("flood printed no duration")?;
    Ok(count / seconds)
}

const COLUMNS: [Column; 6] = [
    Column::Value { header: "p50 µs", metric: Metric::P50 },
    Column::Value { header: "p99 µs", metric: Metric::P99 },
    Column::Ratio { header: "x level", metric: Metric::P99 },
    Column::Value { header: "worst µs", metric: Metric::Worst },
    Column::Value { header: "resets a second", metric: Metric::Resets },
    Column::Median { header: "CPU %", metric: Metric::ServerCpu },
];

fn table(mix: &Mix, part: &Part, conditions: &Conditions) -> Table {
    let budget = budget(mix, conditions.is_quick);
    let level = &servers(&Paths::default())[0];
    let client = pinned(conditions.cores.client());
    Table {
        note: format!(
            "{} of {} rounds of {} s.",
            part.rounds(),
            budget.rounds,
            budget.measured.as_secs_f64()
        ),
        command: by_hand(
            &format!("{}{}", pinned(conditions.cores.server()), level.command_line()),
            &format!(
                "{client}bench/target/release/flood {BY_HAND} {} & \
                 {client}target/release/epoll-load {BY_HAND} {}",
                flood_flags(mix, budget.measured).join(" "),
                load(budget.measured).flags(conditions.congestion.as_deref()).join(" ")
            ),
        ),
        ..Table::of_rounds(mix.title, &part.series, &COLUMNS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_counted_by_the_second() {
        let said = r#"{"duration_s":2.0,"resets":{"connections":5}}"#;
        assert_eq!(resets(said).unwrap(), 2.5);
        assert!(resets("{}").unwrap_err().to_string().contains("no resets"));
        assert!(resets("").is_err());
        let refused = r#"{"duration_s":2,"resets":{"connections":5,"refused":3}}"#;
        assert!(
            resets(refused)
                .unwrap_err()
                .to_string()
                .contains("3 connections of resets were refused")
        );
        let ended = r#"{"duration_s":2,"resets":{"connections":5},"mute":{"ended":1}}"#;
        assert!(
            resets(ended).unwrap_err().to_string().contains("1 connections of mute were ended")
        );
    }

    #[test]
    fn a_flood_begins_after_the_load_and_ends_with_it() {
        let flags = flood_flags(&MIXES[1], Duration::from_secs(2)).join(" ");
        assert_eq!(flags, "--delay=0.2 --duration=1.8 --resets=120");
    }
}

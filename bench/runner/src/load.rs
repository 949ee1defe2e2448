//! One run of the load client, and what it prints.

use crate::context::Context;
use crate::metric::Metric;
use crate::process::Process;
use crate::results::Sample;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The longest time that a run may take beyond the measured time: for connecting, closing, and a server
/// that has stopped answering.
const REST_MAX: Duration = Duration::from_secs(15);

/// The longest time that the client waits for an answer. It is shorter than a run may take, so that the
/// client can name the answer that did not come.
const ANSWER_MAX: &str = "--timeout=8s";

/// The load that the client puts on a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: u32,
    /// Connections that are opened and then only held.
    pub(crate) idle: u32,
    /// Bytes of a message.
    pub(crate) size: u32,
    /// Messages in flight on a connection.
    pub(crate) pipeline: u32,
    pub(crate) kind: Kind,
    pub(crate) amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A client that sends the next message when the answer has come.
    Closed,
    /// A client that sends this many messages a second, whether or not answers come.
    Open(u32),
    /// A connection for each message.
    Churn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Time(Duration),
    Requests(u64),
}

impl Load {
    /// Returns the flags for this load.
    pub(crate) fn flags(&self, congestion: Option<&str>) -> Vec<String> {
        let mut flags = vec![
            format!("--connections={}", self.connections),
            format!("--size={}", self.size),
            match self.amount {
                Amount::Time(time) => format!("--duration={}ms", time.as_millis()),
                Amount::Requests(count) => format!("--requests={count}"),
            },
        ];
        match self.kind {
            Kind::Closed => {}
            Kind::Open(rate) => flags.push(format!("--rate={rate}")),
            Kind::Churn => flags.push("--churn".to_owned()),
        }
        if self.pipeline > 1 {
            flags.push(format!("--pipeline={}", self.pipeline));
        }
        if self.idle > 0 {
            flags.push(format!("--idle={}", self.idle));
        }
        flags.extend(congestion.map(|name| format!("--congestion={name}")));
        flags
    }

    /// Runs it against a server, on the client's core.
    ///
    /// # Errors
    ///
    /// The client could not start, did not finish, lost a connection or got a wrong byte; or
    /// [`crate::interrupt::Interrupted`].
    pub(crate) fn run(&self, context: &Context, address: &str, pid: u32) -> anyhow::Result<Sample> {
        self.run_as(context, Command::new(program(context)), address, pid)
    }

    /// Runs the client by the given command, which must run the [program].
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    pub(crate) fn run_as(
        &self,
        context: &Context,
        mut command: Command,
        address: &str,
        pid: u32,
    ) -> anyhow::Result<Sample> {
        command.arg(address).args(self.flags(context.congestion)).args(["--json", ANSWER_MAX]);
        command.arg(format!("--server-pid={pid}"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let time = match self.amount {
            Amount::Time(time) => time,
            Amount::Requests(_) => REST_MAX,
        };
        let deadline = context.deadline(time + REST_MAX);
        let process = Process::start(command, context.cores.client())?;
        let output = process.collect(deadline, &context.interrupt, |_| {})?;
        match serde_json::from_str(&output.stdout) {
            Ok(json) => {
                let sample = sample(&json)?;
                if !output.status.success() {
                    bail!("epoll-load: {}", output.complaint());
                }
                Ok(sample)
            }
            Err(_) if !output.status.success() => bail!("{}", output.complaint()),
            Err(error) => Err(error).context("epoll-load printed no JSON"),
        }
    }
}

/// Returns the path of the load client.
pub(crate) fn program(context: &Context) -> PathBuf {
    context.paths.programs.join("epoll-load")
}

/// Returns the figures of a run.
fn sample(json: &Value) -> anyhow::Result<Sample> {
    let errors = json["errors"].as_object().into_iter().flatten();
    let errors: Vec<_> = errors
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if !errors.is_empty() {
        bail!("{}", errors.join(", "));
    }
    let number = |value: &Value, what: &str| {
        value.as_f64().with_context(|| format!("epoll-load printed no {what}"))
    };
    let mut values = BTreeMap::new();
    for metric in [Metric::Throughput, Metric::MibPerSecond, Metric::Duration, Metric::Requests] {
        values.insert(metric, number(&json[metric.key()], metric.key())?);
    }
    if values[&Metric::Requests] == 0.0 {
        bail!("no answer came");
    }
    for (name, metric) in [
        ("mean", Metric::MeanLatency),
        ("p50", Metric::P50),
        ("p99", Metric::P99),
        ("max", Metric::Worst),
    ] {
        values.insert(metric, number(&json["latency_us"][name], name)?);
    }
    let duration_s = values[&Metric::Duration];
    let requests = values[&Metric::Requests];
    let busy_us = |who: &Value| Some(who["user_us"].as_f64()? + who["system_us"].as_f64()?);
    let busy_percent = |who: &Value| Some(busy_us(who)? / 1e4 / duration_s);
    let server = &json["server"];
    let optional = [
        (Metric::ClientCpu, busy_percent(&json["client"])),
        (Metric::ServerCpu, busy_percent(server)),
        (Metric::CpuPerRequest, server["cpu_us_per_request"].as_f64()),
        (Metric::ClientCpuPerRequest, busy_us(&json["client"]).map(|us| us / requests)),
        (Metric::MemoryPerConnection, server["memory_bytes_per_connection"].as_f64()),
    ];
    values.extend(optional.into_iter().filter_map(|(metric, value)| Some((metric, value?))));
    Ok(Sample { values, curve: curve(&json["latency_curve"]), ..Sample::default() })
}

fn curve(json: &Value) -> Vec<(f64, f64)> {
    let points = json.as_array().into_iter().flatten();
    points.filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(errors: &Value) -> Value {
        json!({
            "duration_s": 2.0, "requests": 100, "throughput_per_s": 50.0, "mib_per_s": 0.1,
            "latency_us": { "mean": 5.0, "p50": 4.0, "p99": 9.0, "max": 11.0 },
            "latency_curve": [[50.0, 4.0], [99.0, 9.0]],
            "errors": errors,
            "client": { "user_us": 100_000, "system_us": 900_000 },
            "server": { "user_us": 250_000, "system_us": 250_000, "cpu_us_per_request": 5000.0,
                        "memory_bytes_per_connection": null },
        })
    }

    #[test]
    fn figures_come_out_by_name() {
        let sample = sample(&answer(&json!({ "wrong-bytes": 0 }))).unwrap();
        assert_eq!(sample.values[&Metric::P99], 9.0);
        assert_eq!(sample.values[&Metric::ServerCpu], 25.0);
        assert_eq!(sample.values[&Metric::ClientCpu], 50.0);
        assert_eq!(sample.values[&Metric::ClientCpuPerRequest], 10_000.0);
        assert_eq!(sample.curve, [(50.0, 4.0), (99.0, 9.0)]);
        assert!(!sample.values.contains_key(&Metric::MemoryPerConnection));
    }

    #[test]
    fn errors_of_any_kind_are_named() {
        let error = sample(&answer(&json!({ "lost": 2, "wrong-bytes": 7 }))).unwrap_err();
        assert_eq!(error.to_string(), "2 lost, 7 wrong-bytes");
    }

    #[test]
    fn a_missing_figure_is_named() {
        let mut json = answer(&Value::Null);
        json["latency_us"]["p99"] = Value::Null;
        assert!(sample(&json).unwrap_err().to_string().contains("p99"));
        json["requests"] = json!(0);
        assert!(sample(&json).unwrap_err().to_string().contains("no answer"));
    }

    #[test]
    fn flags_say_what_is_asked() {
        let load = Load {
            connections: 50,
            idle: 15_000,
            size: 64,
            pipeline: 16,
            kind: Kind::Open(20_000),
            amount: Amount::Time(Duration::from_millis(1500)),
        };
        let flags = load.flags(Some("cubic")).join(" ");
        assert_eq!(
            flags,
            "--connections=50 --size=64 --duration=1500ms --rate=20000 --pipeline=16 --idle=15000 \
             --congestion=cubic"
        );
    }
}

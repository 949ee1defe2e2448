//! The load of a case on a server, and what the server has used meanwhile.

use super::cases::{Case, Client};
use super::clients::{redis_benchmark, redis_sample, wrk, wrk_sample};
use super::direct::{self, Echoes};
use super::programs::Running;
use super::usage::usage;
use crate::context::Context;
use crate::metric::Metric;
use crate::process::on_core;
use crate::results::Sample;
use anyhow::{bail, ensure};

/// The number of connections that are held while memory is measured.
pub(crate) const IDLE: u32 = 1_000;

/// The number of connections of redis-benchmark.
const REDIS_CONNECTIONS: &str = "50";

/// Stores in a new server what the load reads.
pub(crate) fn prepare(context: &Context, case: &Case, running: &Running) -> anyhow::Result<()> {
    if let Client::RedisBenchmark { .. } = case.client {
        let flags = ["-c", "1", "-n", "1", "-t", "set"].map(str::to_owned);
        let output = redis_benchmark(context, running.address, &flags)?;
        ensure!(output.status.success(), "redis-benchmark: {}", output.complaint());
    }
    Ok(())
}

/// Puts the load of a case on a server.
pub(crate) fn load(context: &Context, case: &Case, running: &Running) -> anyhow::Result<Sample> {
    let (pid, address, backend) = (running.server.process.id(), running.address, &running.backend);
    let dial = running.dial();
    let measured = case.budget(context.is_quick).measured;
    let flags = flags(&case.client, &address.to_string(), context.is_quick);
    let mut before = usage(pid)?;
    let here = context.cores.client();
    let (mut sample, count) = match case.client {
        Client::RedisBenchmark { .. } => {
            let output = redis_benchmark(context, address, &flags)?;
            ensure!(output.status.success(), "redis-benchmark: {}", output.complaint());
            (redis_sample(&output.stdout)?, f64::from(requests(&case.client, context.is_quick)))
        }
        Client::Wrk { connections, .. } => {
            let connecting = connecting(case, running, connections)?;
            before = usage(pid)?;
            let output = wrk(context, &flags, measured)?;
            ensure!(output.status.success(), "wrk: {}", output.complaint());
            let sample = wrk_sample(&output.stdout)?;
            before.cpu_us += connecting.unwrap_or(0.0);
            let count = sample.values[&Metric::Requests];
            // Where connecting was measured, one request of each connection was as well.
            (sample, if connecting.is_some() { without(count, connections)? } else { count })
        }
        Client::Bulk => {
            let (count, s) = timed(|| on_core(here, || direct::bulk(address, backend, measured)))?;
            rate(float(count) / f64::from(1 << 20), s)
        }
        Client::Connections => {
            let work = || direct::connections(address, backend, measured);
            let (count, s) = timed(|| on_core(here, work))?;
            rate(float(count), s)
        }
        Client::Answers(greeting) => {
            let work = || direct::answers(dial, greeting, measured);
            let (count, s) = timed(|| on_core(here, work))?;
            rate(float(count), s)
        }
        Client::Echo { connections, len } => {
            let mut echoes = on_core(here, || Echoes::connect(dial, connections, len))?;
            // Without the handshakes, of which there are few in a longer life.
            before = usage(pid)?;
            let (count, s) = timed(|| on_core(here, || echoes.exchange(measured)))?;
            rate(float(count), s)
        }
        Client::Idle(greeting) => {
            // Once before: what the first connection loads is no part of the others.
            let first = direct::hold(dial, greeting, 1, || usage(pid))?;
            let all = direct::hold(dial, greeting, IDLE as usize, || usage(pid))?;
            return Ok(memory(first.memory_bytes, all.memory_bytes));
        }
        Client::IdleProxied => {
            let first = direct::hold_proxied(address, backend, 1, || usage(pid))?;
            let all = direct::hold_proxied(address, backend, IDLE as usize, || usage(pid))?;
            return Ok(memory(first.memory_bytes, all.memory_bytes));
        }
    };
    let cpu_us = usage(pid)?.cpu_us - before.cpu_us;
    if cpu_us <= 0.0 {
        bail!("the server did nothing");
    }
    sample.values.insert(Metric::CpuPerRequest, cpu_us / count);
    Ok(sample)
}

/// Returns the CPU time, in microseconds, of `connections` handshakes with a request each; `None` without TLS.
///
/// `wrk` connects while it measures. In a run as short as these, the handshakes would be a good part of the work.
fn connecting(case: &Case, running: &Running, connections: u32) -> anyhow::Result<Option<f64>> {
    let dial = running.dial();
    if dial.tls.is_none() {
        return Ok(None);
    }
    let pid = running.server.process.id();
    let before = usage(pid)?;
    let after = direct::hold(dial, case.client.greeting(), connections as usize, || usage(pid))?;
    Ok(Some(after.cpu_us - before.cpu_us))
}

/// Returns the number of requests without the first one of each connection.
fn without(requests: f64, connections: u32) -> anyhow::Result<f64> {
    let rest = requests - f64::from(connections);
    ensure!(
        rest > 0.0,
        "no more than {requests} requests on {connections} connections were answered"
    );
    Ok(rest)
}

fn memory(before: f64, after: f64) -> Sample {
    Sample::of([(Metric::MemoryPerConnection, (after - before) / f64::from(IDLE))])
}

#[allow(clippy::cast_precision_loss, reason = "bytes and connections of less than a second")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Does `work`, and returns how many seconds it took.
fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let start = std::time::Instant::now();
    let done = work()?;
    Ok((done, start.elapsed().as_secs_f64()))
}

/// Returns the sample of `count` requests in so many seconds, and `count`.
fn rate(count: f64, seconds: f64) -> (Sample, f64) {
    (Sample::of([(Metric::Throughput, count / seconds)]), count)
}

fn requests(client: &Client, is_quick: bool) -> u32 {
    match client {
        Client::RedisBenchmark { requests_quick, .. } if is_quick => *requests_quick,
        Client::RedisBenchmark { requests, .. } => *requests,
        _ => 0,
    }
}

/// Returns the flags of a load client that is another project's, without those for the server's address.
pub(crate) fn flags(client: &Client, address: &str, is_quick: bool) -> Vec<String> {
    let text = match client {
        Client::RedisBenchmark { command, pipeline, .. } => format!(
            "-c {REDIS_CONNECTIONS} -n {} -P {pipeline} -t {command}",
            requests(client, is_quick)
        ),
        Client::Wrk { connections, scheme, path } => {
            format!("-t1 -c {connections} --latency {scheme}://{address}{path}")
        }
        _ => return Vec::new(),
    };
    text.split(' ').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::cases::CASES;
    use super::*;
    use crate::notes::BY_HAND;

    #[test]
    fn flags_say_what_is_asked() {
        let redis = flags(&CASES[2].client, BY_HAND, false).join(" ");
        assert_eq!(redis, "-c 50 -n 120000 -P 16 -t get");
        let wrk = flags(&CASES[7].client, BY_HAND, true).join(" ");
        assert_eq!(wrk, "-t1 -c 1000 --latency http://127.0.0.1:8080/");
        assert!(flags(&Client::Bulk, BY_HAND, true).is_empty());
    }

    #[test]
    fn a_run_that_hardly_began_is_an_error() {
        assert_eq!(without(60.0, 50).unwrap(), 10.0);
        let error = without(25.0, 50).unwrap_err().to_string();
        assert_eq!(error, "no more than 25 requests on 50 connections were answered");
        assert!(without(50.0, 50).is_err());
    }
}

//! The metrics: what a figure measures, its name in the raw rounds, and which direction is better.

/// The quantity that a figure of a round measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    Throughput,
    MibPerSecond,
    Duration,
    Requests,
    MeanLatency,
    P50,
    P99,
    /// The longest latency of a run.
    Worst,
    ClientCpu,
    ServerCpu,
    /// The server's CPU time for a request, a message, a connection or a MiB.
    CpuPerRequest,
    /// The client's CPU time for the same.
    ClientCpuPerRequest,
    /// The CPU time of server and client together.
    BothCpuPerRequest,
    /// The time in which a cache line goes from the server's core to the client's and back.
    LineRoundTrip,
    MemoryPerConnection,
    /// Memory in bytes.
    Memory,
    /// The longest time without an answer.
    LongestPause,
    /// Calls of `epoll_wait` in a run.
    Waits,
    /// System calls for a message or a connection.
    Calls,
    /// Connections that hostile clients have reset.
    Resets,
    /// The one figure of a micro-benchmark in nanoseconds.
    Nanoseconds,
    /// The one figure of a micro-benchmark that counts operations a second.
    PerSecond,
    // The same server in the same round without idle connections, and the ratio to that.
    CpuAlone,
    CpuXAlone,
    P50Alone,
    P50XAlone,
    P99Alone,
    P99XAlone,
}

/// The direction in which a value is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
    /// The figure describes the run, not a contestant.
    Neither,
}

impl Better {
    /// Returns the words under a plot.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Lower => "less is better",
            Self::Higher => "more is better",
            Self::Neither => "for orientation",
        }
    }
}

impl Metric {
    pub(crate) const ALL: [Self; 28] = [
        Self::Throughput,
        Self::MibPerSecond,
        Self::Duration,
        Self::Requests,
        Self::MeanLatency,
        Self::P50,
        Self::P99,
        Self::Worst,
        Self::ClientCpu,
        Self::ServerCpu,
        Self::CpuPerRequest,
        Self::ClientCpuPerRequest,
        Self::BothCpuPerRequest,
        Self::LineRoundTrip,
        Self::MemoryPerConnection,
        Self::Memory,
        Self::LongestPause,
        Self::Waits,
        Self::Calls,
        Self::Resets,
        Self::Nanoseconds,
        Self::PerSecond,
        Self::CpuAlone,
        Self::CpuXAlone,
        Self::P50Alone,
        Self::P50XAlone,
        Self::P99Alone,
        Self::P99XAlone,
    ];

    /// Returns the name in the raw rounds, which ends in the unit.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Throughput => "throughput_per_s",
            Self::MibPerSecond => "mib_per_s",
            Self::Duration => "duration_s",
            Self::Requests => "requests",
            Self::MeanLatency => "mean_us",
            Self::P50 => "p50_us",
            Self::P99 => "p99_us",
            Self::Worst => "worst_us",
            Self::ClientCpu => "client_cpu_percent",
            Self::ServerCpu => "server_cpu_percent",
            Self::CpuPerRequest => "cpu_us_per_request",
            Self::ClientCpuPerRequest => "client_cpu_us_per_request",
            Self::BothCpuPerRequest => "both_cpu_us_per_request",
            Self::LineRoundTrip => "line_round_trip_ns",
            Self::MemoryPerConnection => "memory_bytes_per_connection",
            Self::Memory => "memory_bytes",
            Self::LongestPause => "longest_pause_us",
            Self::Waits => "waits",
            Self::Calls => "calls",
            Self::Resets => "resets_per_s",
            Self::Nanoseconds => "ns",
            Self::PerSecond => "per_s",
            Self::CpuAlone => "cpu_us_per_request_alone",
            Self::CpuXAlone => "cpu_us_per_request_x_alone",
            Self::P50Alone => "p50_us_alone",
            Self::P50XAlone => "p50_us_x_alone",
            Self::P99Alone => "p99_us_alone",
            Self::P99XAlone => "p99_us_x_alone",
        }
    }

    /// Returns the metric with this name in the raw rounds.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.key() == key)
    }

    /// Returns the unit as people write it.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Throughput | Self::PerSecond | Self::Resets => "a second",
            Self::MibPerSecond => "MiB/s",
            Self::Duration => "s",
            Self::Requests | Self::Waits | Self::Calls => "",
            Self::MeanLatency
            | Self::P50
            | Self::P99
            | Self::CpuPerRequest
            | Self::ClientCpuPerRequest
            | Self::BothCpuPerRequest
            | Self::CpuAlone
            | Self::Worst
            | Self::P50Alone
            | Self::P99Alone
            | Self::LongestPause => "µs",
            Self::ClientCpu | Self::ServerCpu => "%",
            Self::MemoryPerConnection | Self::Memory => "bytes",
            Self::Nanoseconds | Self::LineRoundTrip => "ns",
            Self::CpuXAlone | Self::P50XAlone | Self::P99XAlone => "x",
        }
    }

    pub(crate) fn better(self) -> Better {
        match self {
            Self::Throughput | Self::MibPerSecond | Self::PerSecond => Better::Higher,
            Self::Duration
            | Self::Requests
            | Self::ClientCpu
            | Self::ServerCpu
            | Self::LineRoundTrip
            | Self::Resets => Better::Neither,
            _ => Better::Lower,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_is_found_by_its_own_name() {
        let keys: BTreeSet<_> = Metric::ALL.map(Metric::key).into();
        assert_eq!(keys.len(), Metric::ALL.len());
        assert!(Metric::ALL.into_iter().all(|metric| Metric::of_key(metric.key()) == Some(metric)));
        assert_eq!(Metric::of_key("nothing"), None);
    }

    #[test]
    fn throughput_is_better_when_it_is_higher_and_time_when_it_is_lower() {
        assert_eq!(Metric::Throughput.better(), Better::Higher);
        assert_eq!(Metric::Nanoseconds.better(), Better::Lower);
        assert_eq!(Metric::ClientCpu.better(), Better::Neither);
    }
}

//! Messages of 64 bytes on a number of connections: all are written, then all echoes are read.
//!
//! For several connections to be ready at once, the server must not run while the client writes.
//! So both are bound to one CPU, and the server is a batch process, which never takes the CPU from
//! one that is not: it runs when the client waits. (`SCHED_IDLE` would do as well, but starves
//! where others keep the CPU busy.)

use crate::harness::{Crowd, Launch, Tool, converse, is_echoed, tool};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io::Write;
use std::net::SocketAddr;
use std::thread;

const MESSAGE: [u8; 64] = [b'm'; 64];

/// The number of connections that are ready at once.
#[derive(Clone, Debug)]
pub(super) enum Ready {
    One,
    Fifty { taskset: Tool, chrt: Tool, cpu: usize },
}

impl Ready {
    /// Fifty, unless a program that this takes is missing.
    pub(super) fn fifty() -> Option<Self> {
        let cpus = sched_getaffinity(None).expect("an affinity");
        let cpu = (0..CpuSet::MAX_CPU).find(|cpu| cpus.is_set(*cpu)).expect("a CPU");
        Some(Self::Fifty { taskset: tool("taskset")?, chrt: tool("chrt")?, cpu })
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::One => 1,
            Self::Fifty { .. } => 50,
        }
    }

    /// Binds the server, and what it will run under, to the CPU.
    pub(super) fn bind(&self, launch: Launch) -> Launch {
        match self {
            Self::One => launch,
            Self::Fifty { taskset, chrt, cpu } => {
                let launch =
                    launch.under([taskset.path(), "-c".as_ref(), cpu.to_string().as_ref()]);
                launch.under([chrt.path(), "--batch".as_ref(), "0".as_ref()])
            }
        }
    }

    /// Sends as many rounds of messages to the server.
    pub(super) fn send(&self, server: SocketAddr, rounds: u32) {
        // A thread of its own, because what it is bound to ends with it.
        thread::scope(|scope| {
            scope.spawn(|| {
                if let Self::Fifty { cpu, .. } = self {
                    let mut cpus = CpuSet::new();
                    cpus.set(*cpu);
                    sched_setaffinity(None, &cpus).expect("an affinity");
                }
                exchange(server, self.count(), rounds);
            });
        });
    }
}

fn exchange(server: SocketAddr, connections: usize, rounds: u32) {
    let mut streams = Crowd::of(server, connections).streams;
    for stream in &mut streams {
        converse(stream, &MESSAGE);
    }
    for _ in 0..rounds {
        for stream in &mut streams {
            stream.write_all(&MESSAGE).expect("a message that is taken");
        }
        for stream in &mut streams {
            is_echoed(stream, &MESSAGE);
        }
    }
}

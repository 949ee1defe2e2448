//! A server from its configuration to its end.

use crate::worker::{Ended, Worker};
use crate::{Config, limits, stats};
use anyhow::Context;
use epoll_reactor::net::{Address, ListenOptions, Listener};
use epoll_shutdown::Signals;
use std::fs::File;

/// An echo server that listens already.
pub struct Server {
    worker: Worker,
    stats_json: Option<File>,
}

impl Server {
    /// Raises the limit of descriptors and listens at every address.
    ///
    /// # Errors
    ///
    /// An address that cannot be listened at, or a statistics file that cannot be created; the
    /// message names the flag and the value. Nothing is left behind then.
    pub fn bind(config: &Config) -> anyhow::Result<Self> {
        let descriptors = limits::raise_descriptors()?;
        // An echo gives urgent bytes back too, though not as urgent ones.
        let options = ListenOptions {
            backlog: config.backlog.get(),
            oob_inline: true,
            ..ListenOptions::default()
        };
        let mut listeners = Vec::new();
        for address in &config.listen {
            let listener = Listener::bind(address, &options)
                .with_context(|| format!("failed to listen at --listen {address}"))?;
            listeners.push(listener);
        }
        let stats_json = match &config.stats_json {
            Some(path) => Some(File::create(path).with_context(|| {
                format!("failed to create the file of --stats-json {}", path.display())
            })?),
            None => None,
        };
        let connections_max =
            limits::connections_max(config.connections_max, descriptors, listeners.len());
        let worker = Worker::new(config, listeners, connections_max)
            .context("failed to set up the event loop")?;
        for listener in worker.listeners() {
            tracing::info!(address = %listener.address(), "listening");
        }
        tracing::info!(mode = ?config.mode, connections_max, "started");
        Ok(Self { worker, stats_json })
    }

    /// Where it listens, with the ports that the kernel chose.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.worker.listeners().map(Listener::address)
    }

    /// Serves until `SIGTERM` or `SIGINT` comes and the drain that it begins is over, then writes the
    /// statistics. `signals` are to hold these two; of others that it holds, the counters are logged.
    ///
    /// # Errors
    ///
    /// What the event loop or the writing of the statistics failed with.
    pub fn run(mut self, signals: &Signals) -> anyhow::Result<Ended> {
        let ended = self.worker.run(signals).context("the event loop failed");
        let worker = &self.worker;
        let stats = &worker.clients.stats;
        let written = match &mut self.stats_json {
            Some(file) => {
                stats::write_json(file, stats, &worker.counters(), &worker.accept_counters())
            }
            None => Ok(()),
        };
        if let Ok(Ended { cut: cut @ 1.., .. }) = ended {
            tracing::warn!(connections = cut, "cut before they had finished");
        }
        stats.log("stopped");
        written?;
        ended
    }
}

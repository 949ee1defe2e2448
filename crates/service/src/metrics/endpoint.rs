//! The thread that serves the metrics: a service of one thread beside the one that is measured, with limits and a
//! drain of its own. Nothing of it counts for the other.

use super::http::{BUFFER_LEN, Http, Shared};
use super::page::Sources;
use crate::control::Control;
use crate::store::LocalStore;
use crate::threads::local::LocalThread;
use crate::{Config, Service, Timeouts, resources};
use epoll_connection::Limits;
use epoll_reactor::net::{Address, Peer};
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::thread::{Builder, Scope};
use std::time::Duration;

/// The largest number of connections at once: scrapers and balancers are few.
pub(crate) const CONNECTIONS_MAX: u32 = 32;

/// The descriptors of the thread, its listener and its connections.
pub(crate) const DESCRIPTORS: u64 =
    resources::FDS_PER_LOOP + resources::FDS_PER_LISTENER + CONNECTIONS_MAX as u64;

/// The service of the metrics.
pub(crate) struct MetricsService {
    sources: Arc<Sources>,
}

impl MetricsService {
    pub(crate) fn new(sources: Sources) -> Self {
        Self { sources: Arc::new(sources) }
    }
}

impl Service for MetricsService {
    type Protocol = Http;

    fn local(&self, _: usize) -> Shared {
        Shared::new(Arc::clone(&self.sources))
    }

    fn accept(&self, _: usize, _: &Peer, _: &mut Shared) -> Option<Http> {
        Some(Http::default())
    }
}

/// Returns the configuration of the service of metrics at this address, beside a service that is configured so. Its
/// socket is handed over with the others if the service restarts.
pub(crate) fn config(listen: Address, of_service: &Config) -> Config {
    Config {
        restart: of_service.restart.clone(),
        ipv6_only: of_service.ipv6_only,
        path_mode: of_service.path_mode,
        path_owner: of_service.path_owner,
        threads: Some(NonZeroU32::MIN),
        connections_max: NonZeroU32::new(CONNECTIONS_MAX),
        backlog: NonZeroU32::new(2 * CONNECTIONS_MAX).unwrap_or(NonZeroU32::MIN),
        limits: Limits {
            read_buffer_len: NonZeroUsize::new(BUFFER_LEN).unwrap_or(NonZeroUsize::MIN),
            ..Limits::default()
        },
        timeouts: Timeouts {
            // Scrapes are a minute apart or less, and may share a connection.
            idle: Some(Duration::from_secs(90)),
            write: Some(Duration::from_secs(10)),
            ..Timeouts::default()
        },
        ..Config::at([listen])
    }
}

/// The thread before it is started.
pub(crate) struct Endpoint {
    pub(crate) thread: LocalThread<MetricsService, LocalStore<Http>>,
    pub(crate) control: Arc<Control>,
    pub(crate) address: Address,
}

/// Guard that ends the thread, also by a panic: its scope would wait for it.
pub(crate) struct EndOnDrop(Arc<Control>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.drain.abort();
    }
}

impl Endpoint {
    /// Starts the thread. If it fails, that is logged, and the service goes on. It ends when another process serves in
    /// the place of this one, which has the metrics and the readiness from then on.
    pub(crate) fn start<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        of_service: &Arc<Control>,
    ) -> io::Result<EndOnDrop> {
        let Self { thread, control, address } = self;
        let (service, own) = (Arc::downgrade(of_service), Arc::clone(&control));
        of_service.drain.on_change(move || {
            if service.upgrade().is_some_and(|service| service.has_handed_over()) {
                own.drain.abort();
            }
        });
        let run = move || {
            let mut worker = thread.start();
            if let Err(error) = worker.run(None) {
                tracing::error!(%error, %address, "metrics are not served any more");
            }
            drop(worker.end());
        };
        Builder::new().name("metrics".to_owned()).spawn_scoped(scope, run)?;
        Ok(EndOnDrop(control))
    }
}

//! The thread that acts on signals which end nothing. What they ask for may take a while, or wait for a file, so it
//! is none of the threads that serve.

use epoll_reactor::{Interest, NoSource, Reactor, Ready, Waker, Watch};
use epoll_service::{Signal, Signals};
use std::io;
use std::thread::{Builder, Scope};

/// Guard that ends the thread, also by a panic: its scope would wait for it.
pub(crate) struct StopOnDrop(Waker);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        // No error of it is known.
        if let Err(error) = self.0.wake() {
            tracing::error!(%error, "the thread that acts on signals cannot be woken");
        }
    }
}

/// The event loop of the thread. It is made before the server looks whether a descriptor is left for a connection.
pub(crate) struct SignalLoop<'a> {
    reactor: Reactor<NoSource>,
    signals: &'a Signals,
}

impl<'a> SignalLoop<'a> {
    pub(crate) fn new(signals: &'a Signals) -> io::Result<Self> {
        let mut reactor = Reactor::watch_only()?;
        reactor.watch(signals, (), Watch::level(Interest::IN))?;
        Ok(Self { reactor, signals })
    }

    /// Starts the thread, which calls `on_signal` for each signal that comes.
    pub(crate) fn start<'scope>(
        mut self,
        scope: &'scope Scope<'scope, '_>,
        mut on_signal: impl FnMut(Signal) + Send + 'scope,
    ) -> io::Result<StopOnDrop>
    where
        'a: 'scope,
    {
        let stop = StopOnDrop(self.reactor.waker());
        let run = move || {
            if let Err(error) = act(&mut self.reactor, self.signals, &mut on_signal) {
                tracing::error!(%error, "failed to wait for signals; SIGHUP and SIGUSR1 do nothing any more");
            }
        };
        Builder::new().name("actions".to_owned()).spawn_scoped(scope, run)?;
        Ok(stop)
    }
}

/// Acts on signals until it is woken.
fn act(
    reactor: &mut Reactor<NoSource>,
    signals: &Signals,
    on_signal: &mut impl FnMut(Signal),
) -> io::Result<()> {
    loop {
        reactor.wait(None)?;
        while let Some(ready) = reactor.next_ready() {
            if matches!(ready, Ready::Woken) {
                return Ok(());
            }
            if let Some(info) = signals.read()? {
                on_signal(info.signal);
            }
        }
    }
}

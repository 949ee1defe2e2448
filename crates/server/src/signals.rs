//! A thread of its own for the signals that end nothing: to read a file or to collect statistics may take a while, or
//! block for ever, which no thread that serves may.

use epoll_reactor::{Interest, NoSource, Reactor, Ready, Waker, Watch};
use epoll_service::{Signal, Signals};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::Duration;

/// The longest wait for the thread to end. It may be stuck, for example in a file on a network that is gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// Guard that ends the thread, and waits for it for [`PATIENCE`] at most.
pub(crate) struct EndOnDrop {
    waker: Waker,
    /// Closed when the thread has ended, also by a panic.
    ended: Receiver<()>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // No error of it is known.
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the thread that acts on signals cannot be woken");
        }
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(PATIENCE) {
            tracing::warn!("the thread that acts on SIGHUP and SIGUSR1 is stuck");
        }
    }
}

/// The event loop of the thread. It is made before the server looks whether a descriptor is left for a connection.
pub(crate) struct SignalLoop {
    reactor: Reactor<NoSource>,
    signals: Arc<Signals>,
}

impl SignalLoop {
    pub(crate) fn new(signals: Arc<Signals>) -> io::Result<Self> {
        let mut reactor = Reactor::watch_only()?;
        reactor.watch(&*signals, (), Watch::level(Interest::IN))?;
        Ok(Self { reactor, signals })
    }

    /// Starts the thread, which calls `on_signal` for each signal that comes.
    pub(crate) fn start(
        mut self,
        mut on_signal: impl FnMut(Signal) + Send + 'static,
    ) -> io::Result<EndOnDrop> {
        let waker = self.reactor.waker();
        let (running, ended) = channel();
        let run = move || {
            // Dropped last.
            let _running = running;
            if let Err(error) = act(&mut self.reactor, &self.signals, &mut on_signal) {
                tracing::error!(%error, "failed to wait for signals; SIGHUP and SIGUSR1 do nothing any more");
            }
        };
        Builder::new().name("actions".to_owned()).spawn(run)?;
        Ok(EndOnDrop { waker, ended })
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

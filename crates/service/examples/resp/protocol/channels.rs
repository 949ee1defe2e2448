//! The subscribers of each channel, for all threads.

use super::reply;
use super::store::Bytes;
use epoll_connection::ConnectionId;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A message of a channel, made once for all that listen.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(super) channel: Bytes,
    /// The bytes that are sent.
    pub(super) frame: Vec<u8>,
}

impl Publication {
    pub(super) fn new(channel: Bytes, payload: &[u8]) -> Arc<Self> {
        let mut frame = Vec::with_capacity(channel.len() + payload.len() + 64);
        reply::array(&mut frame, 3);
        reply::bulk(&mut frame, b"message");
        reply::bulk(&mut frame, &channel);
        reply::bulk(&mut frame, payload);
        Arc::new(Self { channel, frame })
    }
}

/// The listeners of each channel. Invariant: every channel here has one.
#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<HashMap<Bytes, HashSet<ConnectionId>>>);

impl Channels {
    pub(super) fn add(&self, channel: &Bytes, listener: ConnectionId) {
        self.lock().entry(Arc::clone(channel)).or_default().insert(listener);
    }

    pub(super) fn remove(&self, channel: &[u8], listener: ConnectionId) {
        let mut channels = self.lock();
        if let Some(listeners) = channels.get_mut(channel) {
            listeners.remove(&listener);
            if listeners.is_empty() {
                channels.remove(channel);
            }
        }
    }

    /// Calls `send` for each listener of a channel, and returns how many there are.
    pub(super) fn publish(
        &self,
        channel: &[u8],
        payload: &[u8],
        mut send: impl FnMut(ConnectionId, Arc<Publication>),
    ) -> usize {
        let channels = self.lock();
        let Some((name, listeners)) = channels.get_key_value(channel) else { return 0 };
        let publication = Publication::new(Arc::clone(name), payload);
        for &listener in listeners {
            send(listener, Arc::clone(&publication));
        }
        listeners.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, HashSet<ConnectionId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

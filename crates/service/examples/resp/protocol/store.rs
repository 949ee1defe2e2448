//! Keys and their values, for all threads: maps behind locks, chosen by a hash of the key.
//!
//! A command of one key locks one map, one of several keys all of them in order, so it is seen at once or
//! not at all. The alternative is a map for each thread and messages between them; it needs messages to
//! threads, a pause for each command of another thread, and a gathering of answers, to save two atomic
//! instructions a command.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A key or a value.
pub(super) type Bytes = Arc<[u8]>;

/// A time of the monotonic clock, in milliseconds.
pub(super) type Time = i64;

/// The number of maps where there are several threads. It bounds what a command of several keys locks.
const SHARDS: usize = 16;
/// The number of keys of a map that are removed at once because their time has come.
const SWEEP_MAX: usize = 64;

pub(super) struct Entry {
    pub(super) value: Bytes,
    /// The last moment at which the key exists.
    pub(super) expires: Option<Time>,
}

/// One of the maps. Invariant: `expiring` has the keys that expire, with their times, and no others.
pub(super) struct Shard {
    entries: HashMap<Bytes, Entry>,
    expiring: BTreeSet<(Time, Bytes)>,
    /// The number of keys that expire, of all maps.
    expiring_count: Arc<AtomicUsize>,
}

impl Shard {
    /// Returns the value of a key that has not expired. One that has is removed.
    pub(super) fn get(&mut self, key: &[u8], now: Time) -> Option<&Entry> {
        // A second look is needed only where something is due.
        if self.expiring.first().is_some_and(|(expires, _)| now > *expires) {
            let expires = self.entries.get(key)?.expires;
            if expires.is_some_and(|expires| now > expires) {
                self.remove(key);
            }
        }
        self.entries.get(key)
    }

    pub(super) fn set(&mut self, key: &[u8], value: Bytes, expires: Option<Time>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.value = value;
            if entry.expires.is_some() || expires.is_some() {
                self.set_expiry(key, expires);
            }
            return;
        }
        self.entries.insert(key.into(), Entry { value, expires: None });
        if expires.is_some() {
            self.set_expiry(key, expires);
        }
    }

    /// Sets the time at which a key expires, if there is such a key.
    pub(super) fn set_expiry(&mut self, key: &[u8], expires: Option<Time>) {
        let Some((name, _)) = self.entries.get_key_value(key) else { return };
        let name = Arc::clone(name);
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(before) = std::mem::replace(&mut entry.expires, expires) {
            self.expiring.remove(&(before, Arc::clone(&name)));
            self.expiring_count.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(expires) = expires {
            self.expiring.insert((expires, name));
            self.expiring_count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Removes a key. Returns its value, if it had one, whether or not it had expired.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        if self.entries.get(key)?.expires.is_some() {
            self.set_expiry(key, None);
        }
        self.entries.remove(key)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn expiring_len(&self) -> usize {
        self.expiring.len()
    }

    /// Empties the map. What was in it is returned, to be dropped when it is unlocked.
    pub(super) fn clear(&mut self) -> impl Sized + use<> {
        self.expiring_count.fetch_sub(self.expiring.len(), Ordering::SeqCst);
        (std::mem::take(&mut self.entries), std::mem::take(&mut self.expiring))
    }

    /// Removes keys that have expired. Returns whether there are more.
    fn sweep(&mut self, now: Time) -> bool {
        for _ in 0..SWEEP_MAX {
            let due = self.expiring.first().filter(|(expires, _)| now > *expires);
            let Some(key) = due.map(|(_, key)| Arc::clone(key)) else { return false };
            self.remove(&key);
        }
        true
    }
}

pub(crate) struct Store {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    expiring_count: Arc<AtomicUsize>,
    /// `true` while a connection removes expired keys from time to time.
    is_swept: AtomicBool,
}

impl Store {
    pub(super) fn new(threads: NonZeroU32) -> Self {
        let expiring_count = Arc::new(AtomicUsize::new(0));
        let shard = || Shard {
            entries: HashMap::new(),
            expiring: BTreeSet::new(),
            expiring_count: Arc::clone(&expiring_count),
        };
        let count = if threads.get() == 1 { 1 } else { SHARDS };
        let shards = (0..count).map(|_| Mutex::new(shard())).collect();
        let hasher = RandomState::new();
        Self { shards, hasher, expiring_count, is_swept: AtomicBool::new(false) }
    }

    /// Locks the map of a key.
    pub(super) fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.place(key)])
    }

    /// Locks everything.
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { store: self, shards: self.shards.iter().map(lock).collect() }
    }

    fn place(&self, key: &[u8]) -> usize {
        match self.shards.len() {
            1 => 0,
            len => usize::try_from(self.hasher.hash_one(key) % len as u64).unwrap_or(0),
        }
    }

    /// Returns whether any key expires.
    pub(super) fn has_expiring(&self) -> bool {
        self.expiring_count.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the caller is to sweep from now on: keys expire, and nobody else sweeps.
    pub(super) fn begin_sweeping(&self) -> bool {
        self.has_expiring()
            && !self.is_swept.load(Ordering::Relaxed)
            && !self.is_swept.swap(true, Ordering::SeqCst)
    }

    /// Ends the caller's sweeping.
    pub(super) fn end_sweeping(&self) {
        self.is_swept.store(false, Ordering::SeqCst);
    }

    /// Removes keys that have expired, a bounded number. Returns whether there are more.
    pub(super) fn sweep(&self, now: Time) -> bool {
        self.shards.iter().fold(false, |has_more, shard| lock(shard).sweep(now) | has_more)
    }
}

/// All maps, locked.
pub(super) struct Locked<'a> {
    store: &'a Store,
    pub(super) shards: Vec<MutexGuard<'a, Shard>>,
}

impl Locked<'_> {
    pub(super) fn shard(&mut self, key: &[u8]) -> &mut Shard {
        &mut self.shards[self.store.place(key)]
    }
}

/// A callback that has panicked has left a map as it was before, or after.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

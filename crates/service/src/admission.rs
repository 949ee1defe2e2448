//! The limits on the number of connections, over all threads, and for one peer address.

use crate::resources;
use epoll_reactor::net::Peer;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) struct Admission {
    max: AtomicU64,
    /// The number of connections that descriptors allow, if the limits can be changed.
    room: Option<u64>,
    in_use: AtomicU64,
    /// The number of threads that may still accept connections.
    acceptors: AtomicU64,
    peers: Option<Peers>,
}

struct Peers {
    /// [`u32::MAX`] is no limit.
    max: AtomicU32,
    in_use: Mutex<HashMap<IpAddr, u32>>,
}

/// The reason for which a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Refusal {
    /// The number of connections has reached its limit.
    Full,
    /// The number of connections from this peer's address has reached its limit.
    PeerFull,
    /// The buffers of all connections take too much memory.
    BuffersFull,
    /// It does not begin with a header of the PROXY protocol.
    HeaderWrong,
    /// It was closed before that header was complete.
    HeaderMissing,
    /// That header was not complete in time.
    HeaderLate,
}

impl Refusal {
    /// The number of refusals that there are.
    pub(crate) const COUNT: usize = 6;

    /// Returns the reason, as it is logged.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Full => "the maximum of connections is reached",
            Self::PeerFull => "the maximum of connections from one address is reached",
            Self::BuffersFull => "the buffers of connections take as much memory as they may",
            Self::HeaderWrong => "no valid header of the PROXY protocol",
            Self::HeaderMissing => "closed before the header of the PROXY protocol",
            Self::HeaderLate => "the header of the PROXY protocol is late",
        }
    }
}

impl Admission {
    /// Returns an admission of at most `max` connections, for as many threads as `acceptors`.
    pub(crate) fn new(max: u64, max_per_peer: Option<NonZeroU32>, acceptors: usize) -> Self {
        Self {
            max: AtomicU64::new(max),
            room: None,
            in_use: AtomicU64::new(0),
            acceptors: AtomicU64::new(acceptors as u64),
            peers: max_per_peer.map(|max| Peers::new(max.get())),
        }
    }

    /// Lets the limits be [adjusted](Self::adjust), where descriptors allow `room` connections. Peers are counted
    /// from the beginning then, so that a limit holds for those that are connected already.
    pub(crate) fn adjustable(mut self, room: u64) -> Self {
        self.room = Some(room);
        self.peers.get_or_insert_with(|| Peers::new(u32::MAX));
        self
    }

    /// Changes the limits, and returns whether they can be changed. Connections that are open stay open; as long as
    /// they are more than a limit allows, none is admitted.
    pub(crate) fn adjust(&self, max: Option<NonZeroU32>, max_per_peer: Option<NonZeroU32>) -> bool {
        let (Some(room), Some(peers)) = (self.room, &self.peers) else { return false };
        self.max.store(resources::connections_max(max, room), Ordering::Relaxed);
        peers.max.store(max_per_peer.map_or(u32::MAX, NonZeroU32::get), Ordering::Relaxed);
        true
    }

    /// Admits a connection with this peer, which is to be [released](Self::release) when it is closed.
    pub(crate) fn admit(&self, peer: &Peer) -> Result<(), Refusal> {
        let Some((peers, ip)) = self.limited(peer) else { return self.admit_any() };
        // Locked meanwhile, so that who is refused takes nothing from others, not even for a moment.
        let mut counts = peers.counts();
        let max = peers.max.load(Ordering::Relaxed);
        if counts.get(&ip).is_some_and(|&count| count >= max) {
            return Err(Refusal::PeerFull);
        }
        self.admit_any()?;
        *counts.entry(ip).or_default() += 1;
        Ok(())
    }

    /// Counts a connection as one of this peer's, which was [admitted](Self::admit) as one of a peer without an IP
    /// address: nobody knew whose it is.
    pub(crate) fn name(&self, peer: &Peer) -> Result<(), Refusal> {
        let Some((peers, ip)) = self.limited(peer) else { return Ok(()) };
        let mut counts = peers.counts();
        let count = counts.get(&ip).copied().unwrap_or_default();
        if count >= peers.max.load(Ordering::Relaxed) {
            return Err(Refusal::PeerFull);
        }
        counts.insert(ip, count + 1);
        Ok(())
    }

    /// Admits an outgoing connection to this peer, whose own limit does not matter to it.
    pub(crate) fn admit_outgoing(&self, peer: &Peer) -> Result<(), Refusal> {
        self.admit_any()?;
        if let Some((peers, ip)) = self.limited(peer) {
            *peers.counts().entry(ip).or_default() += 1;
        }
        Ok(())
    }

    /// Returns the counts of peers and the address of this one, if it has a limit.
    #[inline]
    fn limited(&self, peer: &Peer) -> Option<(&Peers, IpAddr)> {
        // Most services have none, and look at no address.
        let peers = self.peers.as_ref()?;
        Some((peers, ip(peer)?))
    }

    #[inline]
    fn admit_any(&self) -> Result<(), Refusal> {
        let max = self.max.load(Ordering::Relaxed);
        let more = |in_use| (in_use < max).then_some(in_use + 1);
        let before = self.in_use.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more);
        before.map(drop).map_err(|_| Refusal::Full)
    }

    pub(crate) fn release(&self, peer: &Peer) {
        if let Some((peers, ip)) = self.limited(peer) {
            if let Entry::Occupied(mut count) = peers.counts().entry(ip) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        self.in_use.fetch_sub(1, Ordering::SeqCst);
    }

    /// Notes that a thread accepts no more.
    pub(crate) fn stop_accepting(&self) {
        self.acceptors.fetch_sub(1, Ordering::SeqCst);
    }

    /// Returns whether there is no connection and will not be one.
    pub(crate) fn is_drained(&self) -> bool {
        // In this order: a thread admits connections before it stops accepting.
        self.acceptors.load(Ordering::SeqCst) == 0 && self.in_use.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn in_use(&self) -> u64 {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Returns the largest number of connections at once, as it is now.
    #[cfg(feature = "metrics")]
    pub(crate) fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }
}

impl Peers {
    fn new(max: u32) -> Self {
        Self { max: AtomicU32::new(max), in_use: Mutex::default() }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The peers of a UNIX socket have no IP address.
fn ip(peer: &Peer) -> Option<IpAddr> {
    peer.ip().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoll_reactor::net::{Address, UnixAddress};
    use std::net::SocketAddr;

    fn peer(ip: &str) -> Peer {
        Peer::from(&Address::from(SocketAddr::new(ip.parse().unwrap(), 1)))
    }

    #[test]
    fn what_was_released_is_admitted_again() {
        let admission = Admission::new(2, None, 1);
        let peer = peer("127.0.0.1");
        assert_eq!([(); 3].map(|()| admission.admit(&peer)), [Ok(()), Ok(()), Err(Refusal::Full)]);
        admission.release(&peer);
        assert_eq!((admission.admit(&peer), admission.in_use()), (Ok(()), 2));
    }

    #[test]
    fn a_peer_has_its_own_limit_and_keeps_nobody_else_out() {
        let admission = Admission::new(3, NonZeroU32::new(1), 1);
        let (one, mapped, other) = (peer("10.0.0.1"), peer("::ffff:10.0.0.1"), peer("10.0.0.2"));
        assert_eq!(admission.admit(&one), Ok(()));
        assert_eq!(admission.admit(&mapped), Err(Refusal::PeerFull), "it is the same address");
        assert_eq!((admission.admit(&other), admission.in_use()), (Ok(()), 2));
        admission.release(&one);
        assert_eq!(admission.admit(&mapped), Ok(()));
        let unix = Peer::from(&Address::Unix(UnixAddress::UNNAMED));
        assert_eq!(admission.admit(&unix), Ok(()));
        assert_eq!(admission.admit(&unix), Err(Refusal::Full));
    }

    #[test]
    fn one_whose_peer_is_known_later_counts_in_all_and_then_as_one_of_its_peer() {
        let admission = Admission::new(3, NonZeroU32::new(1), 1);
        let nobody = Peer::from(&Address::Unix(UnixAddress::UNNAMED));
        let client = peer("10.0.0.2");
        let admitted = [(); 4].map(|()| admission.admit(&nobody));
        assert_eq!(admitted, [Ok(()), Ok(()), Ok(()), Err(Refusal::Full)]);
        admission.release(&nobody);
        assert_eq!([(); 2].map(|()| admission.name(&client)), [Ok(()), Err(Refusal::PeerFull)]);
        // The one that was refused has taken nothing from its peer.
        admission.release(&nobody);
        assert_eq!(admission.admit(&client), Err(Refusal::PeerFull));
        admission.release(&client);
        assert_eq!((admission.in_use(), admission.admit(&client)), (0, Ok(())));
    }

    #[test]
    fn limits_can_be_adjusted_and_those_that_are_connected_count() {
        let one = NonZeroU32::new(1);
        assert!(!Admission::new(2, None, 1).adjust(one, one), "it was not asked for");
        let admission = Admission::new(2, None, 1).adjustable(3);
        let (greedy, other) = (peer("10.0.0.1"), peer("10.0.0.2"));
        assert_eq!(
            [(); 3].map(|()| admission.admit(&greedy)),
            [Ok(()), Ok(()), Err(Refusal::Full)]
        );
        assert!(admission.adjust(None, one));
        assert_eq!(admission.admit(&greedy), Err(Refusal::PeerFull));
        assert_eq!(admission.admit(&other), Ok(()));
        admission.release(&other);
        assert!(admission.adjust(one, None));
        admission.release(&greedy);
        assert_eq!(admission.admit(&greedy), Err(Refusal::Full));
        admission.release(&greedy);
        assert_eq!((admission.admit(&other), admission.in_use()), (Ok(()), 1));
        assert!(admission.adjust(NonZeroU32::new(7), None), "as asked for, whatever room there is");
        let more = [(); 7].map(|()| admission.admit(&greedy));
        assert_eq!(more.into_iter().filter(Result::is_ok).count(), 6);
    }

    #[test]
    fn a_peer_that_is_refused_keeps_nobody_out_for_a_moment_either() {
        let admission = Admission::new(2, NonZeroU32::new(1), 2);
        let (greedy, other) = (peer("10.0.0.1"), peer("10.0.0.2"));
        admission.admit(&greedy).unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for _ in 0..100_000 {
                    assert_eq!(admission.admit(&greedy), Err(Refusal::PeerFull));
                }
            });
            for _ in 0..100_000 {
                assert_eq!(admission.admit(&other), Ok(()));
                admission.release(&other);
            }
        });
    }

    #[test]
    fn threads_that_admit_at_once_admit_no_more_than_there_may_be() {
        let admission = Admission::new(2, NonZeroU32::new(1), 4);
        let inside = AtomicU64::new(0);
        std::thread::scope(|threads| {
            for last in 0..4 {
                let (admission, inside) = (&admission, &inside);
                threads.spawn(move || {
                    let peer = peer(&format!("10.0.0.{last}"));
                    for _ in 0..50_000 {
                        if admission.admit(&peer).is_ok() {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 2, "a third one");
                            inside.fetch_sub(1, Ordering::SeqCst);
                            admission.release(&peer);
                        }
                    }
                });
            }
        });
        assert_eq!(admission.in_use(), 0);
    }

    #[test]
    fn it_is_drained_when_the_last_connection_is_closed_and_none_can_come() {
        let admission = Admission::new(2, None, 2);
        let peer = peer("127.0.0.1");
        admission.admit(&peer).unwrap();
        admission.stop_accepting();
        assert!(!admission.is_drained());
        admission.stop_accepting();
        assert!(!admission.is_drained());
        admission.release(&peer);
        assert!(admission.is_drained());
    }
}

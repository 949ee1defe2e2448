//! How many connections there may be, over all threads, and for one peer address.

use epoll_reactor::net::Peer;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) struct Seats {
    max: u64,
    taken: AtomicU64,
    /// Threads that may still accept connections.
    doors: AtomicU64,
    peers: Option<Peers>,
}

struct Peers {
    max: u32,
    taken: Mutex<HashMap<IpAddr, u32>>,
}

/// Why a connection has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are as many as there may be.
    Full,
    /// There are as many of this peer's address as there may be.
    PeerFull,
}

impl Seats {
    /// For as many threads as `doors`.
    pub(crate) fn new(max: u64, max_per_peer: Option<NonZeroU32>, doors: usize) -> Self {
        let peers = |max: NonZeroU32| Peers { max: max.get(), taken: Mutex::default() };
        Self {
            max,
            taken: AtomicU64::new(0),
            doors: AtomicU64::new(doors as u64),
            peers: max_per_peer.map(peers),
        }
    }

    /// A seat for a connection with this peer, to be given back when it is closed.
    pub(crate) fn take(&self, peer: &Peer) -> Result<(), Refusal> {
        let (Some(peers), Some(ip)) = (&self.peers, ip(peer)) else { return self.take_any() };
        // Locked meanwhile, so that who is refused takes nothing from others, not even for a moment.
        let mut counts = peers.counts();
        if counts.get(&ip).is_some_and(|&count| count >= peers.max) {
            return Err(Refusal::PeerFull);
        }
        self.take_any()?;
        *counts.entry(ip).or_default() += 1;
        Ok(())
    }

    fn take_any(&self) -> Result<(), Refusal> {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more);
        taken.map(drop).map_err(|_| Refusal::Full)
    }

    pub(crate) fn give_back(&self, peer: &Peer) {
        if let (Some(peers), Some(ip)) = (&self.peers, ip(peer)) {
            if let Entry::Occupied(mut count) = peers.counts().entry(ip) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }

    /// A thread accepts no more.
    pub(crate) fn close_door(&self) {
        self.doors.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether there is no connection and will not be one.
    pub(crate) fn is_over(&self) -> bool {
        // In this order: a thread takes seats before it closes its door.
        self.doors.load(Ordering::SeqCst) == 0 && self.taken.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Peers {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_seat_that_was_given_back_is_taken_again() {
        let seats = Seats::new(2, None, 1);
        let peer = peer("127.0.0.1");
        assert_eq!([(); 3].map(|()| seats.take(&peer)), [Ok(()), Ok(()), Err(Refusal::Full)]);
        seats.give_back(&peer);
        assert_eq!((seats.take(&peer), seats.taken()), (Ok(()), 2));
    }

    #[test]
    fn a_peer_has_its_own_limit_and_takes_nobody_elses_seat() {
        let seats = Seats::new(3, NonZeroU32::new(1), 1);
        let (one, mapped, other) = (peer("10.0.0.1"), peer("::ffff:10.0.0.1"), peer("10.0.0.2"));
        assert_eq!(seats.take(&one), Ok(()));
        assert_eq!(seats.take(&mapped), Err(Refusal::PeerFull), "it is the same address");
        assert_eq!((seats.take(&other), seats.taken()), (Ok(()), 2));
        seats.give_back(&one);
        assert_eq!(seats.take(&mapped), Ok(()));
        let unix = Peer::from(&Address::Unix(UnixAddress::UNNAMED));
        assert_eq!(seats.take(&unix), Ok(()));
        assert_eq!(seats.take(&unix), Err(Refusal::Full));
    }

    #[test]
    fn a_peer_that_is_refused_takes_no_seat_for_a_moment_either() {
        let seats = Seats::new(2, NonZeroU32::new(1), 2);
        let (greedy, other) = (peer("10.0.0.1"), peer("10.0.0.2"));
        seats.take(&greedy).unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for _ in 0..100_000 {
                    assert_eq!(seats.take(&greedy), Err(Refusal::PeerFull));
                }
            });
            for _ in 0..100_000 {
                assert_eq!(seats.take(&other), Ok(()));
                seats.give_back(&other);
            }
        });
    }

    #[test]
    fn threads_that_take_seats_at_once_take_no_more_than_there_are() {
        let seats = Seats::new(2, NonZeroU32::new(1), 4);
        let inside = AtomicU64::new(0);
        std::thread::scope(|threads| {
            for last in 0..4 {
                let (seats, inside) = (&seats, &inside);
                threads.spawn(move || {
                    let peer = peer(&format!("10.0.0.{last}"));
                    for _ in 0..50_000 {
                        if seats.take(&peer).is_ok() {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 2, "a third one");
                            inside.fetch_sub(1, Ordering::SeqCst);
                            seats.give_back(&peer);
                        }
                    }
                });
            }
        });
        assert_eq!(seats.taken(), 0);
    }

    #[test]
    fn it_is_over_when_the_last_connection_is_closed_and_none_can_come() {
        let seats = Seats::new(2, None, 2);
        let peer = peer("127.0.0.1");
        seats.take(&peer).unwrap();
        seats.close_door();
        assert!(!seats.is_over());
        seats.close_door();
        assert!(!seats.is_over());
        seats.give_back(&peer);
        assert!(seats.is_over());
    }
}

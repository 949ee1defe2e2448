//! The echo service over UDP: the choice of datagrams that go back. A sender can forge the source address, so an echo
//! must not answer other services that answer, because the two would never stop, and must not be useful for flooding
//! a victim.

use epoll_connection::{Allowance, Timestamp};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// The ports below are those of the system's services: echo, chargen, daytime, DNS, NTP.
const SERVICE_PORTS_END: u16 = 1024;
/// The number of allowances that sources share.
const SOURCES_MAX: usize = 4096;
/// The time for which a source may send at once after it was silent.
const AHEAD: Duration = Duration::from_secs(1);

/// The decision about a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes back to its source.
    Echo,
    /// It is dropped: its source may be a service that would answer the answer, or the echo itself.
    MayLoop,
    /// It is dropped: its source has sent more than it may.
    TooMany,
}

/// Decides which datagrams are echoed, [RFC 862](https://www.rfc-editor.org/rfc/rfc862).
///
/// Not those from a port below 1024, nor from the port of the echo itself, on whatever machine: that is where other
/// services are, or other echoes. Of the rest each source has an allowance, an IPv4 address or a network of 64 bits
/// of IPv6 addresses. There are 4096 of them, made once: sources with the same hash share one, and nobody can tell
/// which do.
///
/// # Examples
///
/// ```
/// use epoll_connection::Timestamp;
/// use epoll_echo::{DatagramFilter, Verdict};
/// use std::num::NonZeroU32;
///
/// let mut filter = DatagramFilter::new(7777, NonZeroU32::new(2).unwrap());
/// let now = Timestamp::now();
/// let client = "192.0.2.1:50000".parse()?;
/// let verdicts = [(); 3].map(|()| filter.verdict(client, now));
/// assert_eq!(verdicts, [Verdict::Echo, Verdict::Echo, Verdict::TooMany]);
/// assert_eq!(filter.verdict("192.0.2.2:19".parse()?, now), Verdict::MayLoop);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub struct DatagramFilter {
    own_port: u16,
    per_s: NonZeroU64,
    hasher: RandomState,
    sources: Box<[Allowance]>,
}

impl DatagramFilter {
    /// Returns the filter of an echo at `own_port` that answers each source `per_s` datagrams a second, and as many
    /// at once after it was silent.
    #[must_use]
    pub fn new(own_port: u16, per_s: NonZeroU32) -> Self {
        Self {
            own_port,
            per_s: per_s.into(),
            hasher: RandomState::new(),
            sources: vec![Allowance::FULL; SOURCES_MAX].into(),
        }
    }

    /// Changes the number of datagrams a second.
    pub fn set_rate(&mut self, per_s: NonZeroU32) {
        self.per_s = per_s.into();
    }

    /// Returns the decision about a datagram from `source`.
    pub fn verdict(&mut self, source: SocketAddr, now: Timestamp) -> Verdict {
        if source.port() < SERVICE_PORTS_END || source.port() == self.own_port {
            return Verdict::MayLoop;
        }
        let hash = self.hasher.hash_one(network(source.ip()));
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let allowance = &mut self.sources[hash as usize % SOURCES_MAX];
        if allowance.available(self.per_s, now, AHEAD) == 0 {
            return Verdict::TooMany;
        }
        allowance.take(1, self.per_s, now);
        Verdict::Echo
    }
}

/// Returns what one owner has at least: an IPv4 address, or 64 bits of an IPv6 address.
fn network(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            u64::from_be_bytes([a, b, c, d, e, f, g, h])
        }
    }
}

impl fmt::Debug for DatagramFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramFilter")
            .field("own_port", &self.own_port)
            .field("per_s", &self.per_s)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(per_s: u32) -> DatagramFilter {
        DatagramFilter::new(7777, NonZeroU32::new(per_s).unwrap())
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::after_epoch(Duration::from_secs(100) + Duration::from_millis(ms))
    }

    #[test]
    fn the_rate_can_change() {
        let mut filter = filter(1);
        let client = "192.0.2.1:50000".parse().unwrap();
        assert_eq!(
            [filter.verdict(client, at(0)), filter.verdict(client, at(0))],
            [Verdict::Echo, Verdict::TooMany]
        );
        filter.set_rate(NonZeroU32::new(1000).unwrap());
        let all = (0..500).all(|_| filter.verdict(client, at(500)) == Verdict::Echo);
        assert!(all, "half of it is paid for");
    }

    #[test]
    fn nothing_goes_to_a_service_or_to_an_echo() {
        let mut filter = filter(1000);
        for port in [0, 1, 7, 19, 53, 123, 1023, 7777] {
            for ip in ["192.0.2.1", "127.0.0.1", "::1"] {
                let source = SocketAddr::new(ip.parse().unwrap(), port);
                assert_eq!(filter.verdict(source, at(0)), Verdict::MayLoop, "{source}");
            }
        }
        for port in [1024, 7776, 7778, 65_535] {
            let source = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
            assert_eq!(filter.verdict(source, at(0)), Verdict::Echo, "{source}");
        }
    }

    /// Returns the number of datagrams that go back, of so many at once.
    fn echoed(
        filter: &mut DatagramFilter,
        sources: &[&str],
        count: usize,
        now: Timestamp,
    ) -> usize {
        let sources = sources.iter().cycle().take(count);
        let verdicts = sources.map(|source| filter.verdict(source.parse().unwrap(), now));
        verdicts.filter(|verdict| *verdict == Verdict::Echo).count()
    }

    #[test]
    fn a_source_has_one_allowance_whatever_its_port() {
        let mut filter = filter(10);
        let v4 = ["192.0.2.1:5000", "192.0.2.1:5001", "[::ffff:192.0.2.1]:5000"];
        assert_eq!(echoed(&mut filter, &v4, 30, at(0)), 10);
        assert_eq!(echoed(&mut filter, &v4, 30, at(200)), 2);
        let v6 = ["[2001:db8::1]:5000", "[2001:db8::ffff:1]:5000"];
        assert_eq!(echoed(&mut filter, &v6, 30, at(5000)), 10);
    }

    #[test]
    fn however_many_sources_there_are_no_more_goes_back_than_the_table_allows() {
        let mut filter = filter(1);
        let mut echoed = 0;
        for number in 0..10 * u32::try_from(SOURCES_MAX).unwrap() {
            let source = SocketAddr::new(IpAddr::V4(number.into()), 5000);
            echoed += usize::from(filter.verdict(source, at(0)) == Verdict::Echo);
        }
        // Some of the places may be nobody's.
        assert!((SOURCES_MAX / 2..=SOURCES_MAX).contains(&echoed), "{echoed}");
    }
}

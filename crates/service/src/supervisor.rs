//! Messages to the program that supervises a service, as in [sd_notify(3)]: that the service is ready, restarts,
//! stops, and still runs.
//!
//! [sd_notify(3)]: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html

use epoll_timers::Timestamp;
use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for room in the socket of the supervisor. A supervisor that reads nothing for longer misses
/// what it is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// The program that supervises this process, such as systemd, and is told its state; see
/// [`Config::supervisor`](crate::Config::supervisor).
///
/// | it is told | when |
/// |---|---|
/// | `READY=1` | every thread serves |
/// | `STOPPING=1` | the drain begins |
/// | `WATCHDOG=1` | twice in each period of the watchdog, by a timer of the first thread |
/// | `RELOADING=1` | a [restart](crate::Restart) begins |
/// | `MAINPID=` and `READY=1` | the new process serves, which is the main process from now on |
/// | `READY=1` | a restart has failed |
///
/// A first thread that is stuck tells nothing, so that the supervisor notices it. Other threads are not watched.
///
/// # Examples
///
/// ```
/// use epoll_service::{Config, Supervisor};
///
/// let config = Config { supervisor: Supervisor::from_env()?, ..Config::default() };
/// # assert!(config.supervisor.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Supervisor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    socket: UnixDatagram,
    address: SocketAddr,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// Returns the supervisor that listens at `NOTIFY_SOCKET`, with the period of `WATCHDOG_USEC` unless
    /// `WATCHDOG_PID` is another process; `None` if the variable is missing.
    ///
    /// # Errors
    ///
    /// Those of [`at`](Self::at). [`InvalidInput`](ErrorKind::InvalidInput): `WATCHDOG_USEC` is no number.
    pub fn from_env() -> io::Result<Option<Self>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let is_for_us = env::var("WATCHDOG_PID").map_or(true, |id| id == process::id().to_string());
        let watchdog = match env::var("WATCHDOG_USEC") {
            Ok(period) if is_for_us => {
                let microseconds = period.parse().map_err(|_| {
                    let what = format!("WATCHDOG_USEC is no number: '{period}'");
                    io::Error::new(ErrorKind::InvalidInput, what)
                })?;
                Some(Duration::from_micros(microseconds))
            }
            _ => None,
        };
        Self::at(name, watchdog).map(Some)
    }

    /// Returns the supervisor that listens at this path, or at the abstract name after an `@`, and expects to hear
    /// from the service in every period of `watchdog`; zero is none.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): the name is neither an absolute path nor an abstract name, or too
    /// long for an address. `EMFILE` and `ENFILE`: this process, or the system, is out of descriptors.
    pub fn at(name: impl AsRef<OsStr>, watchdog: Option<Duration>) -> io::Result<Self> {
        let name = name.as_ref();
        let address = match name.as_bytes() {
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                let what = format!("no path and no abstract name: {}", Path::new(name).display());
                return Err(io::Error::new(ErrorKind::InvalidInput, what));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let watchdog = watchdog.filter(|period| !period.is_zero());
        Ok(Self(Arc::new(Inner { socket, address, watchdog })))
    }

    pub(crate) fn tell_ready(&self) {
        self.tell("READY=1");
    }

    pub(crate) fn tell_stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Says that this process restarts. It ends with [`tell_ready`](Self::tell_ready) or
    /// [`tell_successor`](Self::tell_successor).
    pub(crate) fn tell_restarting(&self) {
        let microseconds = Timestamp::now().as_nanos() / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// Says that another process is the main one from now on, and serves. This one has no more to tell: a
    /// supervisor would take that for the other one's.
    pub(crate) fn tell_successor(&self, process: u32) {
        self.tell(&format!("MAINPID={process}\nREADY=1"));
    }

    fn tell(&self, state: &str) {
        let Inner { socket, address, .. } = &*self.0;
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, state, "the supervisor cannot be told");
        }
    }
}

/// The signs of life of a service whose supervisor expects them.
#[derive(Debug)]
pub(crate) struct Watchdog {
    supervisor: Supervisor,
    half_period: Duration,
    next: Timestamp,
}

impl Watchdog {
    /// Returns the watchdog of this supervisor, if it has one. The first sign of life is due after half a period: a
    /// process that takes over is not the main one before.
    pub(crate) fn new(supervisor: &Supervisor, now: Timestamp) -> Option<Self> {
        let half_period = supervisor.0.watchdog? / 2;
        Some(Self { supervisor: supervisor.clone(), half_period, next: now + half_period })
    }

    /// Returns when the next sign of life is due.
    pub(crate) fn next(&self) -> Timestamp {
        self.next
    }

    /// Gives a sign of life if one is due, and returns when the next one is.
    pub(crate) fn beat(&mut self, now: Timestamp) -> Option<Timestamp> {
        if now < self.next {
            return None;
        }
        self.supervisor.tell("WATCHDOG=1");
        self.next = now + self.half_period;
        Some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervised(watchdog: Option<Duration>) -> (UnixDatagram, Supervisor, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        (socket, Supervisor::at(path, watchdog).unwrap(), folder)
    }

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 256];
        let len = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    #[test]
    fn a_sign_of_life_is_given_in_each_half_of_a_period() {
        let half = Duration::from_secs(5);
        let (socket, supervisor, _folder) = supervised(Some(half * 2));
        let begin = Timestamp::now();
        let mut watchdog = Watchdog::new(&supervisor, begin).expect("a watchdog");
        assert_eq!(watchdog.next(), begin + half);
        assert_eq!(watchdog.beat(begin + half / 2), None);
        assert_eq!(heard(&socket), None);
        assert_eq!(watchdog.beat(begin + half), Some(begin + half * 2));
        assert_eq!(heard(&socket).as_deref(), Some("WATCHDOG=1"));
        // Late, so that the next one is due later, too.
        assert_eq!(watchdog.beat(begin + half * 5), Some(begin + half * 6));
        assert_eq!(heard(&socket).as_deref(), Some("WATCHDOG=1"));
    }

    #[test]
    fn a_supervisor_without_a_period_wants_no_sign_of_life() {
        for watchdog in [None, Some(Duration::ZERO)] {
            let (_socket, supervisor, _folder) = supervised(watchdog);
            assert!(Watchdog::new(&supervisor, Timestamp::now()).is_none());
        }
    }

    #[test]
    fn an_abstract_name_begins_with_an_at_sign_and_a_path_with_a_slash() {
        let name = format!("epoll-service-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Supervisor::at(format!("@{name}"), None).unwrap().tell_successor(7);
        assert_eq!(heard(&socket).as_deref(), Some("MAINPID=7\nREADY=1"));
        for name in ["", "relative", "vsock:2:1234"] {
            let error = Supervisor::at(Path::new(name), None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
        }
    }

    #[test]
    fn one_that_is_gone_is_no_error_of_the_service() {
        let (socket, supervisor, _folder) = supervised(None);
        supervisor.tell_stopping();
        assert_eq!(heard(&socket).as_deref(), Some("STOPPING=1"));
        drop(socket);
        supervisor.tell_stopping();
    }
}

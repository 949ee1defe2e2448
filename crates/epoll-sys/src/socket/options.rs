//! Options of sockets, to set and to ask for.
//!
//! Kernel facts: (a) accepted TCP sockets inherit what was set on the listener; accepted UNIX sockets
//! inherit nothing; (b) times of TCP are whole seconds, but for the user timeout, which is in
//! milliseconds.

use super::Family;
use rustix::net::{SocketType, sockopt};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The probing of a silent TCP peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Keepalive {
    /// `TCP_KEEPIDLE`: the silence before the first probe, in whole seconds, rounded up.
    pub idle: Duration,
    /// `TCP_KEEPINTVL`: the time between two probes, in whole seconds, rounded up; the system's if
    /// `None`.
    pub interval: Option<Duration>,
    /// `TCP_KEEPCNT`: the number of unanswered probes that end the connection, 1 to 127; the system's
    /// if `None`.
    pub count: Option<u32>,
}

impl Keepalive {
    /// Returns a keepalive that begins after this silence, with the system's interval and count.
    #[must_use]
    pub const fn after(idle: Duration) -> Self {
        Self { idle, interval: None, count: None }
    }
}

/// `SO_ERROR`: takes the error that is pending on the socket.
///
/// # Errors
///
/// `ENOTSOCK`: the descriptor is of another kind.
#[doc(alias = "SO_ERROR")]
pub fn take_error(socket: impl AsFd) -> io::Result<Option<io::Error>> {
    Ok(sockopt::socket_error(socket)?.err().map(io::Error::from))
}

/// `SO_DOMAIN`: returns the address family of a socket; `None` for one that is not known here.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_DOMAIN")]
pub fn family(socket: impl AsFd) -> io::Result<Option<Family>> {
    let domain = sockopt::socket_domain(socket)?;
    Ok([Family::Inet, Family::Inet6, Family::Unix]
        .into_iter()
        .find(|family| family.as_rustix() == domain))
}

/// `SO_TYPE`: tells whether a socket is a stream socket.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_TYPE")]
pub fn is_stream(socket: impl AsFd) -> io::Result<bool> {
    Ok(sockopt::socket_type(socket)? == SocketType::STREAM)
}

/// `SO_TYPE`: tells whether a socket is a datagram socket.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_TYPE")]
pub fn is_datagram(socket: impl AsFd) -> io::Result<bool> {
    Ok(sockopt::socket_type(socket)? == SocketType::DGRAM)
}

/// `SO_ACCEPTCONN`: tells whether a socket listens.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_ACCEPTCONN")]
pub fn is_listening(socket: impl AsFd) -> io::Result<bool> {
    Ok(sockopt::socket_acceptconn(socket)?)
}

/// `SO_REUSEADDR`: binds although connections of an earlier listener are in `TIME_WAIT`.
///
/// # Errors
///
/// `ENOTSOCK`, as for every option here.
#[doc(alias = "SO_REUSEADDR")]
pub fn set_reuse_address(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseaddr(socket, on)?)
}

/// `SO_REUSEPORT`: lets several sockets of one user share an address, each with its own queue.
///
/// # Errors
///
/// `ENOTSOCK`, and `EOPNOTSUPP` for a UNIX socket since Linux 6.12; before, it does nothing there.
#[doc(alias = "SO_REUSEPORT")]
pub fn set_reuse_port(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_reuseport(socket, on)?)
}

/// `IPV6_V6ONLY`: keeps an IPv6 socket from serving IPv4 peers through mapped addresses. To be set
/// before [`bind`](super::bind); the default is the system's.
///
/// # Errors
///
/// `ENOTSOCK`. `ENOPROTOOPT` or `EOPNOTSUPP`: the socket is not IPv6.
/// [`InvalidInput`](io::ErrorKind::InvalidInput): it has an address already.
#[doc(alias = "IPV6_V6ONLY")]
pub fn set_ipv6_only(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_ipv6_v6only(socket, on)?)
}

/// `SO_BINDTODEVICE`: takes and sends packets through this network interface only, through any if the
/// name is empty, [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html).
///
/// # Errors
///
/// - `ENODEV`: there is no such interface.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the name has more than 15 bytes or holds a NUL
///   byte.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): the socket is bound to another interface
///   already, and the process lacks `CAP_NET_RAW`.
/// - `ENOTSOCK`.
#[doc(alias = "SO_BINDTODEVICE")]
pub fn bind_to_device(socket: impl AsFd, name: &str) -> io::Result<()> {
    // The kernel would cut a longer name off, and stop at a NUL byte.
    if name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        let what = format!("a network interface has a name of at most 15 bytes, not '{name}'");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    set_bytes(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_bytes())
}

/// `IP_BIND_ADDRESS_NO_PORT`: lets a bind to port 0 leave the choice of the port to the connect, so that
/// one local port can serve connections to different peers,
/// [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html).
///
/// # Errors
///
/// `ENOTSOCK`, and `EOPNOTSUPP` for a UNIX socket.
#[doc(alias = "IP_BIND_ADDRESS_NO_PORT")]
pub fn set_bind_address_no_port(socket: impl AsFd, on: bool) -> io::Result<()> {
    set_int(socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, on.into())
}

/// `TCP_NODELAY`: sends small segments at once.
///
/// # Errors
///
/// `ENOTSOCK`, and `EOPNOTSUPP` for a socket that is not TCP.
#[doc(alias = "TCP_NODELAY")]
pub fn set_nodelay(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_tcp_nodelay(socket, on)?)
}

/// `TCP_CONGESTION`: chooses the congestion control of the connection by its name, such as `cubic`,
/// [tcp(7)](https://man7.org/linux/man-pages/man7/tcp.7.html).
///
/// # Errors
///
/// - [`NotFound`](io::ErrorKind::NotFound): the kernel has none of that name.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the name is empty.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied): it is reserved to privileged users.
/// - `ENOTSOCK`, and `EOPNOTSUPP` for a socket that is not TCP.
#[doc(alias = "TCP_CONGESTION")]
pub fn set_congestion(socket: impl AsFd, name: &str) -> io::Result<()> {
    Ok(sockopt::set_tcp_congestion(socket, name)?)
}

/// `SO_KEEPALIVE`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL` and `TCP_KEEPCNT`: probes a silent peer; `None` turns
/// that off.
///
/// # Errors
///
/// `ENOTSOCK`. `EOPNOTSUPP`: the socket is not TCP. [`InvalidInput`](io::ErrorKind::InvalidInput): a time
/// of more than 32 767 seconds, or a count that is zero or above 127.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket::{self, Family, Keepalive};
/// use std::time::Duration;
///
/// let socket = socket::stream(Family::Inet)?;
/// let idle = Duration::from_secs(60);
/// let interval = Some(Duration::from_secs(10));
/// socket::set_keepalive(&socket, Some(Keepalive { idle, interval, count: Some(3) }))?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "SO_KEEPALIVE")]
#[doc(alias = "TCP_KEEPIDLE")]
#[doc(alias = "TCP_KEEPINTVL")]
#[doc(alias = "TCP_KEEPCNT")]
pub fn set_keepalive(socket: impl AsFd, keepalive: Option<Keepalive>) -> io::Result<()> {
    sockopt::set_socket_keepalive(&socket, keepalive.is_some())?;
    let Some(Keepalive { idle, interval, count }) = keepalive else { return Ok(()) };
    sockopt::set_tcp_keepidle(&socket, Duration::from_secs(whole_seconds(idle).max(1)))?;
    if let Some(interval) = interval {
        sockopt::set_tcp_keepintvl(&socket, Duration::from_secs(whole_seconds(interval).max(1)))?;
    }
    if let Some(count) = count {
        sockopt::set_tcp_keepcnt(&socket, count)?;
    }
    Ok(())
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// `TCP_USER_TIMEOUT`: ends a connection whose peer has not acknowledged for this long what was sent, in
/// milliseconds, rounded up; zero is the system's default.
///
/// # Errors
///
/// `ENOTSOCK`, and `EOPNOTSUPP` for a socket that is not TCP.
/// [`InvalidInput`](io::ErrorKind::InvalidInput): more than 24 days.
#[doc(alias = "TCP_USER_TIMEOUT")]
pub fn set_user_timeout(socket: impl AsFd, timeout: Duration) -> io::Result<()> {
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    // The kernel takes an `int`, and refuses negative ones.
    let milliseconds = i32::try_from(milliseconds)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a user timeout above 24 days"))?;
    Ok(sockopt::set_tcp_user_timeout(socket, milliseconds.unsigned_abs())?)
}

/// `TCP_DEFER_ACCEPT`: queues a connection when its first bytes have arrived, or after about `patience`
/// without any, in whole seconds, rounded up; zero turns that off.
///
/// # Errors
///
/// `ENOTSOCK`, and `EOPNOTSUPP` for a socket that is not TCP.
#[doc(alias = "TCP_DEFER_ACCEPT")]
pub fn set_defer_accept(listener: impl AsFd, patience: Duration) -> io::Result<()> {
    let seconds = i32::try_from(whole_seconds(patience)).unwrap_or(i32::MAX);
    set_int(listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// `TCP_FASTOPEN`: takes data from clients together with their `SYN`, from at most `queue_max` of them
/// before their handshakes are complete; zero turns that off. The sysctl `net.ipv4.tcp_fastopen` has to
/// allow it as well.
///
/// # Errors
///
/// `ENOTSOCK`, and `EOPNOTSUPP` for a socket that is not TCP.
#[doc(alias = "TCP_FASTOPEN")]
pub fn set_fast_open(listener: impl AsFd, queue_max: u32) -> io::Result<()> {
    let queue_max = i32::try_from(queue_max).unwrap_or(i32::MAX);
    set_int(listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue_max)
}

/// `SO_RCVBUF`: asks for a receive buffer of `bytes`, which the kernel doubles and clamps.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_RCVBUF")]
pub fn set_receive_buffer(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_recv_buffer_size(socket, clamped(bytes))?)
}

/// `SO_SNDBUF`: asks for a send buffer of `bytes`, which the kernel doubles and clamps.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_SNDBUF")]
pub fn set_send_buffer(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    Ok(sockopt::set_socket_send_buffer_size(socket, clamped(bytes))?)
}

/// Clamps a length to an `int`. The kernel clamps it further down, but would cut a longer number to its low bits.
fn clamped(bytes: usize) -> usize {
    bytes.min(i32::MAX as usize)
}

/// `SO_OOBINLINE`: leaves urgent data among the other bytes.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_OOBINLINE")]
pub fn set_oob_inline(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_oobinline(socket, on)?)
}

/// `SO_LINGER`: with zero, closing discards what was not sent and resets the connection; `None` is
/// the usual close.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_LINGER")]
pub fn set_linger(socket: impl AsFd, linger: Option<Duration>) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, linger)?)
}

/// `SO_BROADCAST`: allows datagrams to broadcast addresses.
///
/// # Errors
///
/// `ENOTSOCK`.
#[doc(alias = "SO_BROADCAST")]
pub fn set_broadcast(socket: impl AsFd, on: bool) -> io::Result<()> {
    Ok(sockopt::set_socket_broadcast(socket, on)?)
}

/// `UDP_GRO`: lets the kernel hand over datagrams of one peer and one length together, in one buffer, with
/// the length told by [`ReceivedDatagram::segment_len`](super::ReceivedDatagram),
/// [udp(7)](https://man7.org/linux/man-pages/man7/udp.7.html).
///
/// # Errors
///
/// `ENOPROTOOPT` before Linux 5.0 and for a TCP socket, `EOPNOTSUPP` for a UNIX one, `ENOTSOCK`.
#[doc(alias = "UDP_GRO")]
pub fn set_gro(socket: impl AsFd, on: bool) -> io::Result<()> {
    set_int(socket, libc::SOL_UDP, libc::UDP_GRO, on.into())
}

fn set_int(socket: impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_bytes(socket, level, name, &value.to_ne_bytes())
}

fn set_bytes(socket: impl AsFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let len = libc::socklen_t::try_from(value.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: `fd` is open as long as `socket` is borrowed. `value` has `len` readable bytes, which the
    // kernel copies from any alignment and does not keep.
    let result = unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

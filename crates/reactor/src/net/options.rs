//! The options of sockets.
//!
//! Kernel facts: (a) accepted TCP sockets inherit what was set on their listener; (b) accepted UNIX
//! sockets inherit nothing, so `SO_OOBINLINE` and buffer sizes are set on each of them.

use crate::net::Address;
use epoll_sys::socket::{self, Family, Keepalive};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// The options of a connection, accepted or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// `TCP_NODELAY`: sends small segments at once. UNIX sockets always do.
    pub nodelay: bool,
    /// `SO_OOBINLINE`: leaves urgent data among the other bytes. A read still stops before it, so a short
    /// read does not mean that a socket is drained while [`PRI`](crate::Readiness::PRI) is reported.
    pub oob_inline: bool,
    /// `SO_KEEPALIVE`: probes a silent peer. TCP only.
    pub keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT`: ends a connection whose peer has not acknowledged for this long what was sent.
    /// TCP only.
    pub user_timeout: Option<Duration>,
    /// `SO_RCVBUF`, in bytes, which the kernel doubles and clamps. Its own choice if `None`.
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF`, in bytes, which the kernel doubles and clamps. Its own choice if `None`.
    pub send_buffer: Option<usize>,
}

impl Default for StreamOptions {
    /// `TCP_NODELAY` and nothing else.
    fn default() -> Self {
        Self {
            nodelay: true,
            oob_inline: false,
            keepalive: None,
            user_timeout: None,
            receive_buffer: None,
            send_buffer: None,
        }
    }
}

impl StreamOptions {
    /// Refuses options that a socket of this family cannot have.
    pub(super) fn check(&self, family: Family) -> io::Result<()> {
        if family == Family::Unix {
            refuse_for_unix(&[
                ("keepalive", self.keepalive.is_some()),
                ("user_timeout", self.user_timeout.is_some()),
            ])?;
        }
        Ok(())
    }

    pub(super) fn apply(&self, socket: impl AsFd, family: Family) -> io::Result<()> {
        let socket = socket.as_fd();
        if family != Family::Unix {
            socket::set_nodelay(socket, self.nodelay)?;
            socket::set_keepalive(socket, self.keepalive)?;
            if let Some(timeout) = self.user_timeout {
                socket::set_user_timeout(socket, timeout)?;
            }
        }
        if self.oob_inline {
            socket::set_oob_inline(socket, true)?;
        }
        set_buffers(socket, self.receive_buffer, self.send_buffer)
    }

    /// Returns whether options have to be set on accepted UNIX sockets.
    pub(super) fn changes_unix(&self) -> bool {
        self.oob_inline || self.receive_buffer.is_some() || self.send_buffer.is_some()
    }
}

pub(super) fn set_buffers(
    socket: impl AsFd,
    receive: Option<usize>,
    send: Option<usize>,
) -> io::Result<()> {
    if let Some(bytes) = receive {
        socket::set_receive_buffer(&socket, bytes)?;
    }
    if let Some(bytes) = send {
        socket::set_send_buffer(&socket, bytes)?;
    }
    Ok(())
}

/// Refuses the first option in the list that is set.
pub(super) fn refuse_for_unix(options: &[(&str, bool)]) -> io::Result<()> {
    refuse(options, "does not apply to a UNIX socket")
}

pub(super) fn refuse(options: &[(&str, bool)], why: &str) -> io::Result<()> {
    match options.iter().find(|(_, is_set)| *is_set) {
        Some((name, _)) => Err(invalid(&format!("the option {name} {why}"))),
        None => Ok(()),
    }
}

fn bind_to_device(socket: impl AsFd, device: &str) -> io::Result<()> {
    // The kernel takes it for any interface.
    refuse(&[("device", device.is_empty())], "has the name of a network interface")?;
    socket::bind_to_device(socket, device)
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// The party that does not accept from a listener during a pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PausedBy {
    /// The listener itself: its descriptor is not readable until the pause is over.
    #[default]
    Listener,
    /// The program, for the time in [`BatchEnd::Paused`](crate::net::BatchEnd::Paused). The listener's
    /// descriptor is its socket, which can be watched exclusively.
    Owner,
}

/// The owner of the path of a UNIX socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathOwner {
    /// The user's number; unchanged if `None`.
    pub user: Option<u32>,
    /// The group's number; unchanged if `None`.
    pub group: Option<u32>,
}

/// Options of a [`Listener`](crate::net::Listener).
///
/// An option that the address cannot have is refused, not ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// The options of every connection.
    pub stream: StreamOptions,
    /// The number of connections that may wait to be accepted; the kernel clamps it to
    /// `net.core.somaxconn`.
    pub backlog: u32,
    /// The number of connections that one [`accept_batch`](crate::net::Listener::accept_batch) gives at
    /// most; zero counts as one.
    pub accept_batch_max: u32,
    /// The party that does not accept during a pause.
    pub paused_by: PausedBy,
    /// `SO_REUSEPORT`: lets several listeners of one user share the address, each with its own queue. TCP
    /// only.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`: at an IPv6 address, serves IPv6 clients only (`true`) or IPv4 ones too (`false`);
    /// the system's default if `None`.
    pub ipv6_only: Option<bool>,
    /// `SO_BINDTODEVICE`: listens at this network interface only. TCP only.
    pub device: Option<String>,
    /// `TCP_DEFER_ACCEPT`: queues a connection when its first bytes have arrived, or after about this
    /// time without any, in whole seconds, rounded up. TCP only.
    pub defer_accept: Option<Duration>,
    /// `TCP_FASTOPEN`: accepts data in the first packet, from at most this many clients at a time whose
    /// handshake is not complete. TCP only.
    pub fast_open: Option<u32>,
    /// The permissions of the path of a UNIX socket, such as `0o660`, whatever the umask. A client needs
    /// write permission. They hold before the first client can connect.
    pub path_mode: Option<u32>,
    /// The owner of the path of a UNIX socket.
    pub path_owner: Option<PathOwner>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            stream: StreamOptions::default(),
            backlog: 1024,
            accept_batch_max: 16,
            paused_by: PausedBy::Listener,
            reuse_port: false,
            ipv6_only: None,
            device: None,
            defer_accept: None,
            fast_open: None,
            path_mode: None,
            path_owner: None,
        }
    }
}

impl ListenOptions {
    /// Refuses options that a listener at `address` cannot have.
    pub(super) fn check(&self, address: &Address) -> io::Result<()> {
        let family = Family::of(address);
        self.stream.check(family)?;
        if family == Family::Unix {
            refuse_for_unix(&[
                ("reuse_port", self.reuse_port),
                ("device", self.device.is_some()),
                ("defer_accept", self.defer_accept.is_some()),
                ("fast_open", self.fast_open.is_some()),
            ])?;
        }
        if family != Family::Inet6 {
            let options = [("ipv6_only", self.ipv6_only.is_some())];
            refuse(&options, "applies to IPv6 addresses only")?;
        }
        if address.as_path().is_none() {
            let options = [
                ("path_mode", self.path_mode.is_some()),
                ("path_owner", self.path_owner.is_some()),
            ];
            refuse(&options, "applies to the path of a UNIX socket only")?;
        }
        let is_no_mode = self.path_mode.is_some_and(|mode| mode > 0o7777);
        refuse(&[("path_mode", is_no_mode)], "has permissions of 0o7777 at most")?;
        // The kernel takes it for "unchanged".
        let is_no_id = |id: Option<u32>| id == Some(u32::MAX);
        let owner = self.path_owner.unwrap_or_default();
        let is_no_owner = is_no_id(owner.user) || is_no_id(owner.group);
        refuse(&[("path_owner", is_no_owner)], "has numbers below 4294967295 only")
    }

    /// Refuses options that have to be set before a socket is bound.
    pub(super) fn check_bound(&self) -> io::Result<()> {
        let options = [
            ("reuse_port", self.reuse_port),
            ("ipv6_only", self.ipv6_only.is_some()),
            ("path_mode", self.path_mode.is_some()),
            ("path_owner", self.path_owner.is_some()),
        ];
        refuse(&options, "comes too late for a socket that listens already")
    }

    /// Sets the options that may be set at any time.
    pub(super) fn apply(&self, socket: impl AsFd, family: Family) -> io::Result<()> {
        let socket = socket.as_fd();
        if family == Family::Unix {
            // Accepted UNIX sockets would not inherit them.
            return Ok(());
        }
        self.stream.apply(socket, family)?;
        if let Some(device) = &self.device {
            bind_to_device(socket, device)?;
        }
        if let Some(patience) = self.defer_accept {
            socket::set_defer_accept(socket, patience)?;
        }
        if let Some(queue_max) = self.fast_open {
            socket::set_fast_open(socket, queue_max)?;
        }
        Ok(())
    }

    /// Sets the options that have to be set before the socket is bound.
    pub(super) fn apply_before_bind(&self, socket: impl AsFd, family: Family) -> io::Result<()> {
        if family == Family::Unix {
            return Ok(());
        }
        // Connections of an earlier listener in TIME_WAIT would keep the port for a minute.
        socket::set_reuse_address(&socket, true)?;
        socket::set_reuse_port(&socket, self.reuse_port)?;
        match self.ipv6_only {
            Some(on) => socket::set_ipv6_only(&socket, on),
            None => Ok(()),
        }
    }
}

/// Options of a [`Stream`](crate::net::Stream) that connects.
///
/// An option that the address cannot have is refused, not ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The options of the connection.
    pub stream: StreamOptions,
    /// The address to connect from. With port 0 the kernel chooses a port, which may serve connections to
    /// other peers as well.
    pub local: Option<Address>,
    /// `SO_BINDTODEVICE`: connects through this network interface only. TCP only.
    pub device: Option<String>,
}

impl ConnectOptions {
    pub(super) fn check(&self, address: &Address) -> io::Result<()> {
        let family = Family::of(address);
        self.stream.check(family)?;
        if family == Family::Unix {
            refuse_for_unix(&[("device", self.device.is_some())])?;
        }
        match &self.local {
            Some(local) if Family::of(local) != family => {
                Err(invalid("the option local is of another family than the address"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn apply(&self, socket: impl AsFd, family: Family) -> io::Result<()> {
        self.stream.apply(&socket, family)?;
        if let Some(device) = &self.device {
            bind_to_device(&socket, device)?;
        }
        let Some(local) = &self.local else { return Ok(()) };
        match local.inet() {
            // Otherwise the bind takes a port for all peers, and there is one range of ports for an
            // address.
            Some(inet) if inet.port() == 0 => socket::set_bind_address_no_port(&socket, true)?,
            // An earlier connection from the port may be in TIME_WAIT.
            Some(_) => socket::set_reuse_address(&socket, true)?,
            None => {}
        }
        socket::bind(&socket, local)
    }
}

/// Options of a [`Datagram`](crate::net::Datagram) socket.
///
/// An option that the address cannot have is refused, not ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatagramOptions {
    /// `SO_REUSEPORT`: lets several sockets of one user share the address; the kernel spreads the
    /// datagrams over them by their senders. UDP only.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`: at an IPv6 address, serves IPv6 peers only (`true`) or IPv4 ones too (`false`); the
    /// system's default if `None`.
    pub ipv6_only: Option<bool>,
    /// `SO_BINDTODEVICE`: uses this network interface only. UDP only.
    pub device: Option<String>,
    /// `SO_BROADCAST`: allows datagrams to broadcast addresses. UDP only.
    pub broadcast: bool,
    /// `SO_RCVBUF`, in bytes, which the kernel doubles and clamps. Its own choice if `None`.
    pub receive_buffer: Option<usize>,
    /// `SO_SNDBUF`, in bytes, which the kernel doubles and clamps. Its own choice if `None`.
    pub send_buffer: Option<usize>,
}

impl DatagramOptions {
    pub(super) fn check(&self, address: &Address) -> io::Result<()> {
        if !matches!(address, Address::Inet(SocketAddr::V6(_))) {
            let options = [("ipv6_only", self.ipv6_only.is_some())];
            refuse(&options, "applies to IPv6 addresses only")?;
        }
        if address.inet().is_none() {
            refuse_for_unix(&[
                ("reuse_port", self.reuse_port),
                ("device", self.device.is_some()),
                ("broadcast", self.broadcast),
            ])?;
        }
        Ok(())
    }

    pub(super) fn apply(&self, socket: impl AsFd) -> io::Result<()> {
        if self.reuse_port {
            socket::set_reuse_port(&socket, true)?;
        }
        if let Some(on) = self.ipv6_only {
            socket::set_ipv6_only(&socket, on)?;
        }
        if let Some(device) = &self.device {
            bind_to_device(&socket, device)?;
        }
        if self.broadcast {
            socket::set_broadcast(&socket, true)?;
        }
        set_buffers(&socket, self.receive_buffer, self.send_buffer)
    }
}

//! The sockets that a process was started with: by a service manager, see [sd_listen_fds(3)], or by the process
//! before it, which restarts.
//!
//! [sd_listen_fds(3)]: https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html

use crate::handover::{self, Origin};
use epoll_reactor::net::{Address, Listener};
use listenfd::ListenFd;
use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process;

/// The number of the first descriptor that a service manager passes.
const FIRST: usize = 3;

/// The listening sockets that this process was started with. Give them to
/// [`Server::bind_inherited`](crate::Server::bind_inherited), which listens at those whose address is in
/// [`Config::listen`](crate::Config::listen), and closes the others.
///
/// They come from a service manager, with [`LISTEN_FDS`], or from the process before this one, which has
/// [restarted](crate::Restart). All of them are close-on-exec from then on. Sockets for datagrams are closed; what is no
/// socket stays as it was passed.
///
/// # Examples
///
/// A program that listens at the sockets that it is given, and at an address of its own otherwise:
///
/// ```
/// use epoll_service::{Config, Inherited};
///
/// let inherited = Inherited::from_env()?;
/// let mut addresses = inherited.addresses()?;
/// if addresses.is_empty() {
///     addresses.push("127.0.0.1:0".parse()?);
/// }
/// let config = Config::at(addresses);
/// # assert_eq!(config.listen.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`LISTEN_FDS`]: https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
#[derive(Debug, Default)]
pub struct Inherited {
    groups: Vec<Group>,
    predecessor: Option<OwnedFd>,
}

/// Sockets at one address.
#[derive(Debug)]
struct Group {
    origin: Origin,
    /// Empty once they are taken, and if there is no socket.
    sockets: Vec<OwnedFd>,
    /// The address at which they listen, or the error if they do not.
    address: io::Result<Address>,
    is_taken: bool,
}

/// The sockets of an address of the configuration.
pub(crate) struct Taken {
    pub(crate) sockets: Vec<OwnedFd>,
    pub(crate) address: Address,
    pub(crate) origin: Origin,
    /// `true` if they come from the process before.
    pub(crate) is_handed_over: bool,
}

/// The process before this one. It goes on serving until it is told that this one serves, and for good if this
/// one ends before.
#[derive(Debug)]
pub(crate) struct Predecessor {
    channel: OwnedFd,
    taken: Vec<bool>,
}

impl Predecessor {
    /// Tells it that this process serves.
    pub(crate) fn tell_ready(&self) -> io::Result<()> {
        handover::send_ready(&self.channel, &self.taken)
    }
}

impl Inherited {
    /// Takes over the sockets that the process was started with; there are none if neither a service manager
    /// nor a process before has passed any. A second call returns none.
    ///
    /// Call it first of all, while there is one thread: it removes `LISTEN_FDS` and `LISTEN_PID` from the
    /// environment, and reads the standard input if that is the process before.
    ///
    /// `LISTEN_PID` must be the number of this process, or be missing. Otherwise the sockets are for another process.
    ///
    /// # Errors
    ///
    /// The process before has sent something that this version does not know, or descriptors are short.
    /// [`InvalidInput`](ErrorKind::InvalidInput): `LISTEN_FDS` is for this process and is no number. A
    /// descriptor that is no listening socket is an error of [`addresses`](Self::addresses) only, so that it does not
    /// matter where nobody asks for it.
    pub fn from_env() -> io::Result<Self> {
        let Some(channel) = handover::channel()? else {
            return Ok(Self { groups: activated()?, predecessor: None });
        };
        let received = handover::receive(&channel)?;
        rustix::stdio::dup2_stdin(received.stdin)?;
        let groups = received.sockets.into_iter().map(|(origin, sockets)| {
            let address = sockets.first().ok_or_else(|| ErrorKind::NotFound.into());
            let address = address.and_then(Listener::address_of);
            Group { origin, sockets, address, is_taken: false }
        });
        Ok(Self { groups: groups.collect(), predecessor: Some(channel) })
    }

    /// Returns whether they come from the process before this one, which serves until this one does.
    #[must_use]
    pub fn is_from_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Returns whether there is no descriptor at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns the addresses at which the sockets listen that a service manager has passed, to this process or to one
    /// before it that has restarted: each once, in the order in which they were passed. A socket that a process before
    /// has bound itself is taken where its address is in the configuration, and is not among these.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput): one of the descriptors is no TCP or UNIX stream socket that
    /// listens. The error says which.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        addresses(self.groups.iter().filter(|group| !group.origin.labels.is_empty()))
    }

    /// Returns the addresses of the sockets with this name in `LISTEN_FDNAMES`, or of the one with this number of
    /// a descriptor; numbers begin at 3. After a restart, sockets keep the names and numbers that the first process
    /// was given.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): no descriptor has this name or number.
    /// [`InvalidInput`](ErrorKind::InvalidInput): it is no TCP or UNIX stream socket that listens.
    pub fn addresses_of(&self, label: &str) -> io::Result<Vec<Address>> {
        let labelled = |group: &&Group| group.origin.labels.iter().any(|one| one == label);
        let found = addresses(self.groups.iter().filter(labelled))?;
        if found.is_empty() {
            let labels = self.groups.iter().flat_map(|group| &group.origin.labels);
            let labels: Vec<_> = labels.map(String::as_str).collect();
            let passed = match &labels[..] {
                [] => "none was (LISTEN_FDS, LISTEN_PID)".to_owned(),
                labels => format!("those passed are {}", labels.join(", ")),
            };
            let what = format!("no such descriptor was passed: {passed}");
            return Err(io::Error::new(ErrorKind::NotFound, what));
        }
        Ok(found)
    }

    /// Takes the sockets that are for this address of the configuration: those for which the process before
    /// had the same address in its own, or else all that listen there. A socket whose path is gone is not taken: the
    /// path is bound anew.
    pub(crate) fn take(&mut self, wanted: &Address) -> Option<Taken> {
        let is_handed_over = self.predecessor.is_some();
        let free = |group: &Group| !group.sockets.is_empty();
        let is_same = |group: &Group| group.origin.configured.as_ref() == Some(wanted);
        let listens_there =
            |group: &Group| matches!(&group.address, Ok(address) if address == wanted);
        if self.groups.iter().any(|group| listens_there(group) && group.has_lost_path()) {
            tracing::warn!(address = %wanted, "the path was deleted, and is bound anew");
            return None;
        }
        let same = self.groups.iter().position(|group| free(group) && is_same(group));
        let chosen = self.groups.iter_mut().enumerate().filter(|(at, group)| match same {
            Some(same) => *at == same,
            None => free(group) && listens_there(group),
        });
        let mut all: Option<Taken> = None;
        for (_, group) in chosen {
            let Ok(address) = group.address else { continue };
            group.is_taken = true;
            let taken = all.get_or_insert_with(|| {
                let origin = Origin::default();
                Taken { sockets: Vec::new(), address, origin, is_handed_over }
            });
            taken.sockets.append(&mut group.sockets);
            taken.origin.labels.append(&mut group.origin.labels.clone());
            taken.origin.removes_path |= group.origin.removes_path;
        }
        all
    }

    /// Closes the sockets that were not taken, and returns the process before.
    pub(crate) fn close_rest(self) -> Option<Predecessor> {
        for group in self.groups.iter().filter(|group| !group.is_taken) {
            let labels = group.origin.labels.join(", ");
            match &group.address {
                Ok(address) => tracing::warn!(%address, labels, "an inherited socket is not used"),
                Err(error) => tracing::warn!(%error, labels, "an inherited descriptor is not used"),
            }
        }
        let taken = self.groups.iter().map(|group| group.is_taken).collect();
        self.predecessor.map(|channel| Predecessor { channel, taken })
    }
}

impl Group {
    /// Returns whether somebody has deleted the path at which the process before listens and which it has bound: no
    /// client finds that socket any more. What waits in its queue is left to that process.
    fn has_lost_path(&self) -> bool {
        let path = self.address.as_ref().ok().and_then(Address::as_path);
        self.origin.removes_path && path.is_some_and(is_lost)
    }
}

/// Returns whether nobody listens at this path, and a socket can be bound there: it was deleted, or has the socket of a
/// process that was killed, such as a restart that failed.
fn is_lost(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(found) => found.file_type().is_socket() && is_refused(path),
        // Without its folder nothing can be bound: then the socket is better than none.
        Err(error) => error.kind() == ErrorKind::NotFound && path.parent().is_some_and(is_folder),
    }
}

fn is_folder(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

/// Returns whether the path has a socket that nobody has open. A socket for datagrams asks without a connection: for a
/// listener it is of the wrong type.
fn is_refused(path: &Path) -> bool {
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn addresses<'a>(groups: impl IntoIterator<Item = &'a Group>) -> io::Result<Vec<Address>> {
    let mut found = Vec::new();
    for group in groups {
        match &group.address {
            Ok(address) if found.contains(address) => {}
            Ok(address) => found.push(*address),
            Err(error) => {
                let labels = group.origin.labels.join(", ");
                let what = format!("descriptor {labels}: {error}");
                return Err(io::Error::new(error.kind(), what));
            }
        }
    }
    Ok(found)
}

/// Returns the sockets that a service manager has passed.
fn activated() -> io::Result<Vec<Group>> {
    check_count()?;
    // Of no use without the sockets, so it may stay in the environment.
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut passed = ListenFd::from_env();
    let count = passed.len();
    let group = |at: usize| {
        let mut labels = vec![(FIRST + at).to_string()];
        labels.extend(names.next().filter(|name| !name.is_empty()).map(str::to_owned));
        let tcp = passed.take_tcp_listener(at).map(|socket| socket.map(OwnedFd::from));
        let socket = tcp
            .or_else(|_| passed.take_unix_listener(at).map(|socket| socket.map(OwnedFd::from)))
            .ok()
            .flatten();
        if socket.is_none() {
            // Of no use here, and the next process should not get it.
            drop((passed.take_udp_socket(at), passed.take_unix_datagram(at)));
        }
        let address = socket.as_ref().map_or_else(
            || {
                let what = "not a TCP or UNIX stream socket";
                Err(io::Error::new(ErrorKind::InvalidInput, what))
            },
            |socket| {
                rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
                Listener::address_of(socket)
            },
        );
        let origin = Origin { labels, ..Origin::default() };
        Group { origin, sockets: socket.into_iter().collect(), address, is_taken: false }
    };
    Ok((0..count).map(group).collect())
}

/// Checks the number of sockets, if they are for this process: taken for none, they would be for nobody.
fn check_count() -> io::Result<()> {
    let is_own = env::var("LISTEN_PID").ok().is_none_or(|id| id == process::id().to_string());
    match env::var("LISTEN_FDS") {
        Ok(count) if is_own && count.parse::<u16>().is_err() => {
            let what = format!("LISTEN_FDS is no number of descriptors: {count:?}");
            Err(io::Error::new(ErrorKind::InvalidInput, what))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_path_is_lost_if_it_is_gone_or_has_a_dead_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(is_lost(&path) && is_lost(Path::new("no-such-socket")));
        assert!(!is_lost(&folder.path().join("no-such-folder/socket")));
        let listener = UnixListener::bind(&path).unwrap();
        assert!(!is_lost(&path));
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody has connected");
        drop(listener);
        assert!(is_lost(&path));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(!is_lost(&path));
    }

    fn group(configured: Option<&str>, labels: &[&str]) -> (Address, Group) {
        let socket = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let address = Listener::address_of(&socket).unwrap();
        let origin = Origin {
            configured: configured.map(|configured| configured.parse().unwrap()),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            removes_path: false,
        };
        let sockets = vec![socket];
        (address, Group { origin, sockets, address: Ok(address), is_taken: false })
    }

    #[test]
    fn a_socket_is_found_by_the_address_of_the_configuration_before_and_by_its_own() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (first, one) = group(Some("127.0.0.1:0"), &["3", "http"]);
        let (second, other) = group(Some("127.0.0.1:0"), &["4", "http"]);
        let (third, last) = group(None, &["5"]);
        // One that the process before has bound itself was passed by nobody.
        let (_, own) = group(Some("127.0.0.1:1"), &[]);
        let mut inherited = Inherited { groups: vec![one, other, last, own], predecessor: None };
        assert_eq!(inherited.addresses().unwrap(), [first, second, third]);
        assert_eq!(inherited.addresses_of("http").unwrap(), [first, second]);
        assert_eq!(inherited.addresses_of("5").unwrap(), [third]);
        let error = inherited.addresses_of("6").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("3, http, 4, http, 5"), "{error}");

        let taken = inherited.take(&any).expect("the first");
        assert_eq!((taken.address, taken.sockets.len()), (first, 1));
        assert_eq!(taken.origin.labels, ["3", "http"]);
        assert_eq!(inherited.take(&any).expect("the second").address, second);
        assert!(inherited.take(&any).is_none() && inherited.take(&first).is_none());
        assert_eq!(inherited.take(&third).expect("the third").address, third);
    }

    #[test]
    fn a_descriptor_that_does_not_listen_matters_only_to_those_who_ask_for_it() {
        let (good, listening) = group(None, &["3"]);
        let what = "the socket does not listen";
        let address = Err(io::Error::new(ErrorKind::InvalidInput, what));
        let origin = Origin { labels: vec!["4".to_owned(), "bad".to_owned()], ..Origin::default() };
        let bad = Group { origin, sockets: Vec::new(), address, is_taken: false };
        let inherited = Inherited { groups: vec![listening, bad], predecessor: None };
        assert_eq!(inherited.addresses_of("3").unwrap(), [good]);
        for error in [inherited.addresses_of("bad"), inherited.addresses()] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), format!("descriptor 4, bad: {what}"));
        }
    }
}

//! The path of a UNIX socket: replaced if its server has ended, left alone if it listens or is something
//! else, and removed with the socket, unless another process has taken the socket over.
//!
//! Kernel facts: (a) closing a UNIX listener leaves its path, and `bind` refuses a path that exists;
//! (b) connecting to a path whose listener is closed is refused, and so is connecting to one that is
//! bound but does not listen yet: a lock on the directory keeps two servers from taking one another
//! for dead.

use crate::net::PathOwner;
use epoll_sys::socket::{self, Address, Family};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The number of attempts to lock the directory, and the time between two: half a second in all.
const LOCK_TRIES_MAX: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The path of a socket that this process has bound, or taken over. Dropping it removes the path if its
/// [`PathRemoval`] is on, unless another server has replaced it meanwhile, or the process is a child of the one
/// that has the path.
#[derive(Debug)]
pub(super) struct UnixPath {
    process: u32,
    path: PathBuf,
    device: u64,
    inode: u64,
    removal: PathRemoval,
}

/// A switch that says whether the path of a UNIX listener is removed with the listener.
///
/// It is on for a listener that was [bound](crate::net::Listener::bind), and off for one that was
/// [adopted](crate::net::Listener::adopt). A process that hands its socket to another one turns it off, and the
/// other one turns its own on.
///
/// # Examples
///
/// ```
/// use epoll_reactor::net::{Address, ListenOptions, Listener};
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("socket");
/// let listener = Listener::bind(&Address::unix(&path)?, &ListenOptions::default())?;
/// listener.path_removal().expect("a path").set(false);
/// drop(listener);
/// assert!(path.exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PathRemoval(Arc<AtomicBool>);

impl PathRemoval {
    fn new(is_on: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_on)))
    }

    /// Returns whether the path is removed with the listener.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Says whether the path is removed with the listener.
    pub fn set(&self, is_on: bool) {
        self.0.store(is_on, Ordering::SeqCst);
    }
}

/// The use of a socket at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A socket that listens with this backlog.
    Listener(i32),
    Datagram,
}

/// The permissions and the owner of the path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Access {
    pub(super) mode: Option<u32>,
    pub(super) owner: Option<PathOwner>,
}

/// Binds `socket` to `path`, gives the path its permissions and its owner, and listens.
pub(super) fn bind(
    socket: &OwnedFd,
    path: &Path,
    access: Access,
    kind: Kind,
) -> io::Result<UnixPath> {
    let address = Address::unix(path)?;
    if let Some(mode) = access.mode {
        // The path is made with the permissions of the socket less those of the umask, so it has never
        // more of them than it is to have.
        let socket = File::from(socket.try_clone()?);
        socket.set_permissions(Permissions::from_mode(mode))?;
    }
    let _lock = lock_directory(path);
    match socket::bind(socket, address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, kind)?;
            socket::bind(socket, address)?;
        }
        bound => bound?,
    }
    let bound = UnixPath::new(path, &fs::symlink_metadata(path)?, PathRemoval::new(true));
    if let Some(PathOwner { user, group }) = access.owner {
        lchown(path, user, group)?;
    }
    if let Some(mode) = access.mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    // Last: until then clients are refused, so none connects before the permissions hold.
    if let Kind::Listener(backlog) = kind {
        socket::listen(socket, backlog)?;
    }
    Ok(bound)
}

/// Returns a lock that is held from the look at the path until the path is bound. It guards only against
/// two servers that start at once: if it is not to be had, the server starts without.
fn lock_directory(path: &Path) -> Option<File> {
    lock_directory_with(path, || thread::sleep(LOCK_PAUSE))
}

fn lock_directory_with(path: &Path, mut pause: impl FnMut()) -> Option<File> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Opening something else, a FIFO for example, might block; bind(2) will say what it is.
    if !directory.is_dir() {
        return None;
    }
    let file = File::open(directory).ok()?;
    for _ in 0..LOCK_TRIES_MAX {
        match epoll_sys::try_lock(&file) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause(),
            locked => return locked.ok().map(|()| file),
        }
    }
    None
}

/// Removes the socket at `path` if no server listens there. Its server may remove it meanwhile.
fn remove_stale(path: &Path, kind: Kind) -> io::Result<()> {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Err(in_use("something that is not a socket is at this path")),
        Err(error) if is_gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    let probe = match kind {
        Kind::Listener(_) => socket::stream(Family::Unix)?,
        Kind::Datagram => socket::datagram(Family::Unix)?,
    };
    match socket::connect(&probe, Address::unix(path)?) {
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            match fs::remove_file(path) {
                Err(error) if is_gone(&error) => Ok(()),
                removed => removed,
            }
        }
        // Also when its queue is full, when it is of another type, or when it may not be asked: it is not
        // known to be dead.
        _ => Err(in_use("another server listens at this path")),
    }
}

fn in_use(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, why)
}

impl UnixPath {
    fn new(path: &Path, metadata: &Metadata, removal: PathRemoval) -> Self {
        let (device, inode) = (metadata.dev(), metadata.ino());
        Self { process: process::id(), path: path.into(), device, inode, removal }
    }

    /// Returns the path of a socket that another process has bound, which is left in place; `None` if it is gone.
    pub(super) fn adopted(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok()?;
        let is_socket = metadata.file_type().is_socket();
        is_socket.then(|| Self::new(path, &metadata, PathRemoval::new(false)))
    }

    pub(super) fn removal(&self) -> &PathRemoval {
        &self.removal
    }

    fn is(&self, metadata: &Metadata) -> bool {
        metadata.dev() == self.device && metadata.ino() == self.inode
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        // A forked child has a copy of the socket, and its parent still needs the path.
        if self.process != process::id() || !self.removal.is_on() {
            return;
        }
        // Ignored: a path that cannot be removed is replaced by the next server.
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| self.is(&metadata)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_locks(path: &Path, directory: &Path) -> File {
        let lock = lock_directory(path).unwrap();
        assert_eq!(lock.metadata().unwrap().ino(), fs::metadata(directory).unwrap().ino());
        lock
    }

    #[test]
    fn the_directory_of_a_path_is_locked_and_that_of_a_bare_name_is_the_current_one() {
        let directory = tempfile::tempdir().unwrap();
        let lock = assert_locks(&directory.path().join("socket"), directory.path());
        drop(lock);
        assert_locks(Path::new("socket"), Path::new("."));
        assert!(lock_directory(Path::new("/dev/null/socket")).is_none());
    }

    #[test]
    fn a_lock_that_another_server_has_is_waited_for_but_not_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let mut held = lock_directory(&path);
        let mut pauses = 0;
        assert!(lock_directory_with(&path, || pauses += 1).is_none());
        assert_eq!(pauses, LOCK_TRIES_MAX);
        let lock = lock_directory_with(&path, || {
            pauses -= 1;
            if pauses == LOCK_TRIES_MAX - 3 {
                drop(held.take());
            }
        });
        assert!(lock.is_some());
        assert_eq!(pauses, LOCK_TRIES_MAX - 3);
    }

    #[test]
    fn a_forked_child_leaves_the_path_to_its_parent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let socket = socket::datagram(Family::Unix).unwrap();
        let mut bound = bind(&socket, &path, Access::default(), Kind::Datagram).unwrap();
        // As the child of another process would have it.
        bound.process ^= 1;
        drop(bound);
        assert!(path.exists());
    }
}

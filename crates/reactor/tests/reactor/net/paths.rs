//! The paths of UNIX listeners: who may take one, who keeps it, and who removes it.

use super::assert_serves;
use epoll_kit_testing::{assert_kind, close, while_no_process_starts};
use epoll_reactor::net::{Address, ListenOptions, Listener, Stream};
use epoll_sys::socket;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use tempfile::TempDir;

/// A directory, and a path in it where nothing is yet.
fn fresh() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    (directory, path)
}

fn bind(path: &Path) -> io::Result<Listener> {
    Listener::bind(&Address::unix(path)?, &ListenOptions::default())
}

/// Leaves a socket at `path` whose server is dead.
#[track_caller]
fn leave_stale(path: &Path) {
    let server = socket::stream(socket::Family::Unix).unwrap();
    socket::bind(&server, Address::unix(path).unwrap()).unwrap();
    socket::listen(&server, 1).unwrap();
    close(server);
    assert_kind(Stream::connect(&Address::unix(path).unwrap()), ErrorKind::ConnectionRefused);
}

/// Asserts that clients who go by `path` reach this listener.
#[track_caller]
fn assert_serves_at(listener: &mut Listener, path: &Path) {
    assert_serves(listener, &Address::unix(path).unwrap());
}

#[test]
fn the_socket_of_a_dead_server_is_replaced() {
    let (_directory, path) = fresh();
    leave_stale(&path);
    let mut listener = bind(&path).unwrap();
    assert_serves_at(&mut listener, &path);
    // One that was bound and never listened is as dead.
    close(listener);
    let unheard = socket::stream(socket::Family::Unix).unwrap();
    socket::bind(&unheard, Address::unix(&path).unwrap()).unwrap();
    close(unheard);
    assert_serves_at(&mut bind(&path).unwrap(), &path);
}

#[test]
fn a_server_that_lives_keeps_its_path() {
    let (_directory, path) = fresh();
    let mut listener = bind(&path).unwrap();
    for _ in 0..3 {
        assert_kind(bind(&path), ErrorKind::AddrInUse);
        // What asked whether it lives is in its queue, and gone.
        assert_eq!(listener.accept_batch().count(), 1);
    }
    assert_serves_at(&mut listener, &path);
}

#[test]
fn a_server_whose_queue_is_full_keeps_its_path() {
    let (_directory, path) = fresh();
    let options = ListenOptions { backlog: 0, ..ListenOptions::default() };
    let address = Address::unix(&path).unwrap();
    let mut listener = Listener::bind(&address, &options).unwrap();
    let _client = Stream::connect(&address).unwrap();
    assert_kind(Stream::connect(&address), ErrorKind::WouldBlock);
    assert_kind(bind(&path), ErrorKind::AddrInUse);
    assert_eq!(listener.accept_batch().count(), 1);
    assert_serves_at(&mut listener, &path);
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let (directory, path) = fresh();
    fs::write(&path, "precious").unwrap();
    assert_kind(bind(&path), ErrorKind::AddrInUse);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_kind(bind(directory.path()), ErrorKind::AddrInUse);
    assert!(directory.path().is_dir());
}

#[test]
fn a_symlink_is_left_alone_with_what_it_points_to() {
    let (directory, path) = fresh();
    let link = directory.path().join("link");
    leave_stale(&path);
    symlink(&path, &link).unwrap();
    assert_kind(bind(&link), ErrorKind::AddrInUse);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    // One that leads nowhere is as taken.
    fs::remove_file(&path).unwrap();
    assert_kind(bind(&link), ErrorKind::AddrInUse);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn the_path_goes_with_the_listener() {
    let (directory, path) = fresh();
    let listener = bind(&path).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    drop(listener);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_path_that_is_another_servers_by_now_stays() {
    let (_directory, path) = fresh();
    let old = bind(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let mut new = bind(&path).unwrap();
    close(old);
    assert_serves_at(&mut new, &path);

    // Nor is a file removed that someone put there.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(new);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_path_of_more_than_107_bytes_is_too_long() {
    let directory = tempfile::tempdir().unwrap();
    let room = 107 - directory.path().as_os_str().as_bytes().len() - 1;
    let longest = directory.path().join("x".repeat(room));
    assert_eq!(longest.as_os_str().len(), 107);
    leave_stale(&longest);
    let mut listener = bind(&longest).unwrap();
    assert_serves_at(&mut listener, &longest);
    UnixStream::connect(&longest).unwrap();
    close(listener);
    assert_kind(bind(&directory.path().join("x".repeat(room + 1))), ErrorKind::InvalidInput);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_is_missing_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    assert_kind(bind(&directory.path().join("missing/socket")), ErrorKind::NotFound);
    fs::write(directory.path().join("file"), "").unwrap();
    let error = bind(&directory.path().join("file/socket")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotADirectory);
}

/// Runs `body` in a thread that lacks `capability`, which a privileged user would have.
#[track_caller]
fn without(capability: CapabilitySet, body: impl FnOnce() + Send + 'static) {
    let running = thread::spawn(move || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(capability);
        set_capabilities(None, sets).unwrap();
        body();
    });
    running.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
}

#[test]
fn a_directory_that_is_not_writable_denies_permission() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o555)).unwrap();
    let path = directory.path().join("socket");
    without(CapabilitySet::DAC_OVERRIDE, move || {
        assert_kind(bind(&path), ErrorKind::PermissionDenied);
    });
}

#[test]
fn a_privileged_port_denies_permission() {
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if lowest.trim().parse::<u16>().unwrap() <= 1 {
        return;
    }
    without(CapabilitySet::NET_BIND_SERVICE, || {
        let bound = Listener::bind(&"127.0.0.1:1".parse().unwrap(), &ListenOptions::default());
        assert_kind(bound, ErrorKind::PermissionDenied);
    });
}

#[test]
fn of_those_who_race_for_a_stale_path_one_wins() {
    const THREADS: usize = 8;
    for _ in 0..50 {
        let (_directory, path) = fresh();
        leave_stale(&path);
        let start = Barrier::new(THREADS);
        let results: Vec<io::Result<Listener>> = thread::scope(|scope| {
            let racing = [(); THREADS].map(|()| {
                scope.spawn(|| {
                    start.wait();
                    bind(&path)
                })
            });
            racing.map(|thread| thread.join().unwrap()).into_iter().collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{lost:?}");
        lost.into_iter().for_each(|lost| assert_kind(lost, ErrorKind::AddrInUse));
        let mut listener = won.into_iter().next().unwrap().unwrap();
        // Those who asked whether it lives are in its queue, and gone.
        listener.accept_batch().for_each(drop);
        assert_serves_at(&mut listener, &path);
        let _starting = while_no_process_starts();
        drop(listener);
        assert!(!path.exists());
    }
}

#[test]
fn a_listener_that_ends_never_takes_the_path_of_its_successor() {
    let (_directory, path) = fresh();
    for _ in 0..5000 {
        let old = bind(&path).unwrap();
        let start = Barrier::new(2);
        let mut new = thread::scope(|scope| {
            let binding = scope.spawn(|| {
                start.wait();
                loop {
                    match bind(&path) {
                        Ok(listener) => break listener,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
                    }
                }
            });
            start.wait();
            drop(old);
            binding.join().unwrap()
        });
        new.accept_batch().for_each(drop);
        assert_serves_at(&mut new, &path);
    }
}

//! The path of a UNIX socket: taken over from a dead server, from nobody else.

use crate::harness::{Guard, Launch, Mode, PATIENCE, Server, converse};
use epoll_kit_testing::eventually;
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

#[track_caller]
fn start_at(path: &Path, mode: Mode) -> Server {
    Launch::at(format!("unix:{}", path.display())).mode(mode).start()
}

#[track_caller]
fn is_refused_at(path: &Path) {
    let output = Launch::at(format!("unix:{}", path.display())).run();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr.len(), 1, "{:#?}", output.stderr);
    assert!(output.stderr[0].contains(path.to_str().unwrap()), "{:#?}", output.stderr);
}

#[track_caller]
fn is_served_at(path: &Path) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(&mut stream, b"hello");
}

in_all_modes!(a_path_left_by_a_killed_server_is_replaced);

fn a_path_left_by_a_killed_server_is_replaced(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    for _ in 0..3 {
        let mut server = start_at(&path, mode);
        is_served_at(&path);
        server.end(Signal::KILL);
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket(), "a stale path");
    }
}

in_all_modes!(a_path_has_the_permissions_and_the_owner_that_were_asked_for);

fn a_path_has_the_permissions_and_the_owner_that_were_asked_for(mode: Mode) {
    let folder = tempfile::tempdir().unwrap();
    let [path, of_metrics] = ["echo", "metrics"].map(|name| folder.path().join(name));
    // Only root may give a path away.
    let own = fs::metadata(folder.path()).unwrap();
    let (user, group) = if own.uid() == 0 { (65_534, 65_533) } else { (own.uid(), own.gid()) };
    let launch = Launch::at(format!("unix:{},127.0.0.1:0", path.display())).mode(mode);
    let launch = launch.flag("--unix-owner", format!("{user}:{group}"));
    let launch = launch.flag("--metrics", format!("unix:{}", of_metrics.display()));
    let _server = launch
        .flag("--unix-mode", "0642")
        .under(["sh", "-c", "umask 077; exec \"$0\" \"$@\""])
        .start();
    for path in [&path, &of_metrics] {
        let metadata = fs::metadata(path).unwrap();
        let access = (metadata.uid(), metadata.gid(), metadata.mode() & 0o777);
        assert_eq!(access, (user, group, 0o642), "{path:?}");
    }
    is_served_at(&path);
}

#[test]
fn permissions_and_owners_need_a_path() {
    for (flag, value) in [("--unix-mode", "0600"), ("--unix-owner", "0")] {
        let output = Launch::at("unix:@name").flag(flag, value).run();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stderr[0].contains(flag), "{:#?}", output.stderr);
    }
}

#[test]
fn the_path_of_a_live_server_is_left_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let _server = start_at(&path, Mode::Level);
    let inode = fs::metadata(&path).unwrap().ino();
    is_refused_at(&path);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    is_served_at(&path);
}

#[test]
fn a_file_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    fs::write(&path, "precious").unwrap();
    is_refused_at(&path);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_directory_and_a_symbolic_link_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, link) = (folder.path().join("directory"), folder.path().join("link"));
    fs::create_dir(&directory).unwrap();
    symlink("nowhere", &link).unwrap();
    is_refused_at(&directory);
    is_refused_at(&link);
    assert!(directory.is_dir());
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("nowhere"));
}

#[test]
fn of_servers_that_start_at_once_at_a_stale_path_one_serves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    start_at(&path, Mode::Level).end(Signal::KILL);
    let launch = Launch::at(format!("unix:{}", path.display())).flag("--log", "off");
    let mut racers: Vec<_> = (0..8)
        .map(|_| Guard::spawn(launch.command().stdout(Stdio::null()).stderr(Stdio::null())))
        .collect();
    eventually("one server is left at the path", || {
        racers.retain_mut(|racer| racer.child().try_wait().unwrap().is_none());
        racers.len() <= 1
    });
    assert_eq!(racers.len(), 1, "they all gave up");
    is_served_at(&path);
}

//! The file of `--stats-json`: whole at any time, and written when a signal asks for it.

use crate::harness::{Launch, Mode, Stats, converse};
use epoll_kit_testing::eventually;
use rustix::process::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

in_all_modes!(a_signal_has_them_written_while_the_server_runs);

fn a_signal_has_them_written_while_the_server_runs(mode: Mode) {
    let (launch, stats) = Stats::of(Launch::tcp(mode));
    let mut server = launch.start();
    assert_eq!(stats.read_any()["connections"]["opened"], 0, "before anything has happened");
    let mut streams = [(); 3].map(|()| server.client());
    streams.iter_mut().for_each(|stream| converse(stream, b"hello"));
    server.process.signal(Signal::USR1);
    eventually("they are written", || {
        let all = stats.read_any();
        let threads = all["threads"].as_array().unwrap();
        assert!(threads.len() <= mode.threads() as usize, "{all:#}");
        all["connections"]["opened"] == 3
    });
    let all = stats.read_any();
    assert!(all["connections"]["bytes_received"].as_u64().unwrap() <= 15, "{all:#}");
    assert_eq!(all["accept"]["accepted"], 3);
    drop(streams);
    server.drain();
    assert_eq!(stats.read()["connections"]["bytes_received"], 15);
    assert_eq!(fs::read_dir(stats.folder()).unwrap().count(), 1, "something is left beside it");
}

#[test]
fn a_file_is_replaced_with_its_mode_and_a_link_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "of an earlier server").unwrap();
    fs::set_permissions(path("file"), Permissions::from_mode(0o604)).unwrap();
    symlink(path("file"), path("link")).unwrap();
    // To a file that is not there yet, by a path from the folder of the link.
    symlink("new", path("link to new")).unwrap();
    for (link, file, mode) in [("link", "file", 0o604), ("link to new", "new", 0o640)] {
        let launch = Launch::tcp(Mode::Level).flag("--stats-json", path(link));
        let mut server = launch.under(["sh", "-c", "umask 027; exec \"$0\" \"$@\""]).start();
        let text = fs::read_to_string(path(file)).unwrap();
        assert!(text.contains("\"opened\": 0"), "{text}");
        assert!(fs::symlink_metadata(path(link)).unwrap().is_symlink());
        assert_eq!(fs::metadata(path(file)).unwrap().permissions().mode() & 0o777, mode);
        server.drain();
    }
}

#[test]
fn the_file_of_a_standard_stream_is_written_to_and_not_replaced() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let stderr = fs::OpenOptions::new().append(true).open(file.path()).unwrap();
    let launch = Launch::at("127.0.0.1:0").flag("--stats-json", "/dev/stderr");
    let mut server = launch.start_with_stderr(stderr);
    server.end(Signal::TERM);
    let text = fs::read_to_string(file.path()).unwrap();
    assert!(text.contains("started") && text.contains("draining"), "{text}");
    assert!(text.contains("\"opened\": 0"), "{text}");
}

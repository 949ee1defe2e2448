//! Tests that long streams are spliced, by the calls that strace counts, and that all their bytes come back.

use super::system_calls::calls;
use crate::harness::{Launch, Mode, OBSERVATION, PATIENCE, Server, Tool, is_echoed, tool};
use epoll_kit_testing::Random;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A read buffer that is shorter than what a socket holds.
const READ_LEN: &str = "16384";

const PIECE_LEN: usize = 16 * 1024;

/// Returns the number of splices of a server to which a long stream is sent, over TCP and over a UNIX socket.
#[track_caller]
fn splices(strace: &Tool, mode: Mode, flags: &[(&str, &str)]) -> [f64; 2] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let with_flags = |launch: Launch| {
        let launch = launch.mode(mode).flag("--log", "off");
        flags.iter().fold(launch, |launch, (flag, value)| launch.flag(flag, *value))
    };
    let count = |launch: Launch, talk: &dyn Fn(&Server)| {
        calls(strace, with_flags(launch), talk).get("splice").copied().unwrap_or(0.0)
    };
    [
        count(Launch::at("127.0.0.1:0"), &|server| {
            let client = server.client();
            client.set_write_timeout(Some(OBSERVATION)).unwrap();
            stream_and_then_read(client);
        }),
        count(Launch::at(format!("unix:{}", path.display())), &|_| {
            stream_and_then_read(unix_client(&path));
        }),
    ]
}

fn unix_client(path: &Path) -> UnixStream {
    let client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(OBSERVATION)).unwrap();
    client
}

/// Sends until nothing goes out any more, and only then takes it back: more than one read takes is there
/// when the server can go on.
#[track_caller]
fn stream_and_then_read(mut client: impl Read + Write) {
    let (mut random, mut piece, mut sent) = (Random::seeded(1), [0; PIECE_LEN], Vec::new());
    random.fill(&mut piece);
    while let Ok(len) = client.write(&piece) {
        sent.extend_from_slice(&piece[..len]);
        random.fill(&mut piece);
    }
    is_echoed(&mut client, &sent);
}

in_all_modes!(a_long_stream_is_spliced_unless_that_is_off);

fn a_long_stream_is_spliced_unless_that_is_off(mode: Mode) {
    let Some(strace) = tool("strace") else { return };
    let read_buffer = ("--read-buffer", READ_LEN);
    // A file that can be read again costs no splice.
    let file = ("--config", "/dev/null");
    for flags in
        [&[read_buffer][..], &[read_buffer, ("--splice", "auto"), file], &[("--splice", "on")]]
    {
        let counts = splices(&strace, mode, flags);
        // There and back again.
        assert!(counts.iter().all(|count| *count >= 2.0), "{flags:?}: {counts:?}");
    }
    assert_eq!(splices(&strace, mode, &[read_buffer, ("--splice", "off")]), [0.0; 2]);
}

in_both_modes!(nothing_is_spliced_where_a_word_is_looked_for);

fn nothing_is_spliced_where_a_word_is_looked_for(mode: Mode) {
    let Some(strace) = tool("strace") else { return };
    let flags = [("--quit-word", "quit"), ("--read-buffer", READ_LEN)];
    assert_eq!(splices(&strace, mode, &flags), [0.0; 2]);
}

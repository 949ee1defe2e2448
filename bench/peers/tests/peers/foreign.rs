//! Peers in C and Go: built for the tests, or left out where a compiler or a library is missing.

use crate::harness::{Peer, refusal, test};
use epoll_kit_bench_peers::foreign::{ALL, Foreign, LeftOut, reason_file};
use epoll_kit_testing::leave_out;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

/// The programs that are built already, by name, each with its path or with the name of what is missing.
static BUILT: LazyLock<Mutex<BTreeMap<&str, Result<PathBuf, &str>>>> =
    LazyLock::new(Mutex::default);

fn peer(program: &str) -> &'static Foreign {
    ALL.iter().find(|peer| peer.program == program).unwrap()
}

/// Returns the path of the program, which each run of the tests builds once.
#[track_caller]
fn build(program: &str) -> Option<PathBuf> {
    let peer = peer(program);
    // One that was poisoned by a test that failed to build holds what the others have built.
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let built = built.entry(peer.program).or_insert_with(|| {
        match peer.build(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
            Ok(path) => Ok(path),
            Err(LeftOut::Missing { what, .. }) => Err(what),
            Err(LeftOut::Failed(error)) => panic!("{program}: {error:#}"),
        }
    });
    built.as_ref().inspect_err(|what| leave_out(&test(), what)).ok().cloned()
}

#[track_caller]
pub(crate) fn start(program: &str, flags: &[&str]) -> Option<Peer> {
    let path = build(program)?;
    let path = path.to_str().unwrap();
    if program == "peer-uring" {
        return Peer::start_on_io_uring(path, flags);
    }
    Some(Peer::start(path, flags))
}

#[test]
fn a_flag_that_means_nothing_is_refused() {
    for peer in &ALL {
        let Some(path) = build(peer.program) else { continue };
        let path = path.to_str().unwrap();
        for (arguments, named) in [
            (&["--listen", "nowhere"][..], "nowhere"),
            (&["--listen", "127.0.0.1:65536"], "65536"),
            (&["--listen"], "listen"),
            (&["--lisen", "127.0.0.1:0"], "lisen"),
            (&["nowhere"], "nowhere"),
        ] {
            let message = refusal(path, arguments);
            assert!(message.contains(named), "{arguments:?}: {message}");
        }
    }
}

#[test]
fn where_there_is_no_program_a_file_says_why() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("left-out");
    fs::create_dir_all(&folder).unwrap();
    let peer = peer("peer-libev");
    let program = folder.join(peer.program);
    // Of an earlier run, when the library was there.
    fs::write(&program, "").unwrap();
    let reason = reason_file(&folder, peer.program);
    let _ = fs::remove_file(&reason);
    match peer.build_or_say_why(&folder).unwrap() {
        Ok(()) => {
            assert!(fs::metadata(&program).unwrap().len() > 0);
            assert!(!reason.exists());
        }
        Err(why) => {
            assert!(!program.exists());
            assert_eq!(fs::read_to_string(&reason).unwrap(), format!("{why}\n"));
        }
    }
}

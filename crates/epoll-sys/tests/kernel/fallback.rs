//! A kernel, an emulator or a filter without `epoll_pwait2`: waits go on in whole milliseconds, and the
//! missing call is tried once. strace injects the error.

use epoll_kit_testing::under_strace;
use epoll_sys::{Epoll, Events};
use std::time::{Duration, Instant};
use std::{fs, io};

/// A timeout that is no whole number of milliseconds.
const TIMEOUT: Duration = Duration::from_micros(1_300);
const WAITS: usize = 3;

/// Waits a few times in a process in which every `epoll_pwait2` fails with `errno`; the calls that it
/// made with this timeout. `None`: this is that process, or there is no strace.
fn trace(name: &str, errno: &str, result: fn(io::Result<usize>)) -> Option<[usize; 2]> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    let inject = format!("inject=epoll_pwait2:error={errno}");
    let calls = "trace=epoll_pwait2,epoll_pwait,epoll_wait";
    let options = ["-o", path.to_str().unwrap(), "-e", calls, "-e", &inject];
    let is_traced = under_strace(name, &options, || {
        let epoll = Epoll::new().unwrap();
        let mut events = Events::with_capacity(1);
        for _ in 0..WAITS {
            result(epoll.wait(&mut events, Some(TIMEOUT)));
        }
    });
    is_traced.then(|| {
        let trace = fs::read_to_string(path).unwrap();
        let lines = |what: &str| trace.lines().filter(|line| line.contains(what)).count();
        // The milliseconds of the timeout, rounded up.
        let rounded = trace.lines().filter(|line| {
            line.contains("epoll_pwait(") && line.contains(", 1, 2, NULL") && line.ends_with("= 0")
        });
        [lines("epoll_pwait2("), rounded.count()]
    })
}

fn lasts_as_long_as_asked_for(name: &str, errno: &str) {
    let start = Instant::now();
    let calls = trace(name, errno, |result| assert_eq!(result.unwrap(), 0));
    if calls.is_none() {
        assert!(start.elapsed() >= TIMEOUT * u32::try_from(WAITS).unwrap());
    }
    assert!(calls.is_none_or(|calls| calls == [1, WAITS]), "{calls:?}");
}

#[test]
fn a_missing_call_is_tried_once_and_waits_last_at_least_as_long() {
    let name = "fallback::a_missing_call_is_tried_once_and_waits_last_at_least_as_long";
    lasts_as_long_as_asked_for(name, "ENOSYS");
}

#[test]
fn a_forbidden_call_is_tried_once_and_waits_last_at_least_as_long() {
    let name = "fallback::a_forbidden_call_is_tried_once_and_waits_last_at_least_as_long";
    lasts_as_long_as_asked_for(name, "EPERM");
}

#[test]
fn any_other_error_is_the_callers_and_the_call_stays_in_use() {
    let name = "fallback::any_other_error_is_the_callers_and_the_call_stays_in_use";
    let calls = trace(name, "EINTR", |result| {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Interrupted);
    });
    assert!(calls.is_none_or(|calls| calls == [WAITS, 0]), "{calls:?}");
}

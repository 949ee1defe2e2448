//! What the modules share: waits that end by a deadline, sockets, threads that are known to sleep
//! in the kernel, threads without a capability, and tests that run in a process of their own.
//!
//! Nothing here sleeps for a duration: a wait is for a condition, and the deadline is only there to
//! turn a hang into a failure.

use epoll_sys::{Epoll, Event, Events, Interest, Watch, socket};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::fmt::Debug;
use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, panic, thread};

/// Longer than any machine needs, however busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Set for a test that runs again in a process of its own; holds the test's name.
const CHILD: &str = "EPOLL_SYS_KERNEL_TEST_CHILD";

/// The events of a wait with timeout zero.
#[track_caller]
pub(crate) fn look(epoll: &Epoll) -> Vec<Event> {
    wait_with(epoll, 16, Some(Duration::ZERO))
}

/// The events of a wait that has to bring some.
#[track_caller]
pub(crate) fn wait(epoll: &Epoll) -> Vec<Event> {
    let events = wait_with(epoll, 16, Some(DEADLINE));
    assert!(!events.is_empty(), "no event before the deadline");
    events
}

/// The events of one wait for at most `events_max`.
#[track_caller]
pub(crate) fn wait_with(epoll: &Epoll, events_max: usize, timeout: Option<Duration>) -> Vec<Event> {
    let mut events = Events::with_capacity(events_max);
    let count = epoll.wait(&mut events, timeout).unwrap();
    assert_eq!(count, events.len());
    events.iter().collect()
}

/// Returns when `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not before the deadline: {what}");
        thread::yield_now();
    }
}

#[track_caller]
pub(crate) fn assert_errno<T: Debug>(result: io::Result<T>, errno: Errno) {
    assert_eq!(Errno::from_io_error(&result.unwrap_err()), Some(errno));
}

#[track_caller]
pub(crate) fn assert_kind<T: Debug>(result: io::Result<T>, kind: ErrorKind) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
}

/// A TCP socket of this machine that listens on a port of the kernel's choice.
pub(crate) fn tcp_listener() -> (OwnedFd, SocketAddr) {
    let listener = socket::stream(socket::Family::Inet).unwrap();
    socket::bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    socket::listen(&listener, 16).unwrap();
    let address = socket::local_address(&listener).unwrap().unwrap();
    (listener, address)
}

/// Both ends of a TCP connection, the accepted one second.
pub(crate) fn tcp_pair() -> (OwnedFd, OwnedFd) {
    let (listener, address) = tcp_listener();
    tcp_connected(&listener, &address)
}

/// Both ends of a new connection to `listener`, the accepted one second.
pub(crate) fn tcp_connected(listener: &OwnedFd, address: &SocketAddr) -> (OwnedFd, OwnedFd) {
    let ours = socket::stream(socket::Family::Inet).unwrap();
    socket::connect(&ours, address).unwrap();
    await_readiness(listener, Interest::IN);
    let (theirs, _) = socket::accept(listener).unwrap();
    await_readiness(&ours, Interest::OUT);
    (ours, theirs)
}

/// Returns when `source` is ready for `interest`.
#[track_caller]
pub(crate) fn await_readiness(source: impl AsFd, interest: Interest) {
    let epoll = Epoll::new().unwrap();
    epoll.add(source, 0, Watch::level(interest)).unwrap();
    wait(&epoll);
}

/// Whether a thread has gone to sleep in `epoll_wait` or `poll`, or one of their variants.
///
/// The kernel names the call of a thread that is off its processor and says "running" of any
/// other. State `S` excludes one that waits for a lock inside the call.
pub(crate) fn sleeps_in_a_wait(pid: u32, tid: i32) -> bool {
    #[cfg(target_arch = "x86_64")]
    const OLDER: [libc::c_long; 2] = [libc::SYS_epoll_wait, libc::SYS_poll];
    #[cfg(not(target_arch = "x86_64"))]
    const OLDER: [libc::c_long; 0] = [];
    const WAITS: [libc::c_long; 3] =
        [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_ppoll];

    let read = |file| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{file}"));
    // A thread that has ended has no files.
    let (Ok(call), Ok(stat)) = (read("syscall"), read("stat")) else { return false };
    let number = call.split(' ').next().and_then(|word| word.parse().ok());
    // The name before the state may hold blanks and brackets.
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    number.is_some_and(|call| WAITS.contains(&call) || OLDER.contains(&call)) && state == Some('S')
}

/// Runs `body` in a thread of its own, whose mask and capabilities go with it.
#[track_caller]
pub(crate) fn on_own_thread<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(body).join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// Runs `body` in a thread that lacks `capability`, which a privileged user would have.
#[track_caller]
pub(crate) fn without<T: Send + 'static>(
    capability: CapabilitySet,
    body: impl FnOnce() -> T + Send + 'static,
) -> T {
    on_own_thread(move || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(capability);
        set_capabilities(None, sets).unwrap();
        body()
    })
}

/// Runs `body`, the test called `name`, in a process of its own.
#[track_caller]
pub(crate) fn in_own_process(name: &str, body: impl FnOnce()) {
    if is_own_process(name) {
        body();
    } else {
        assert_passed(spawn_own_process(name));
    }
}

/// Whether this is the process that was started for the test called `name`.
pub(crate) fn is_own_process(name: &str) -> bool {
    env::var(CHILD).is_ok_and(|running| running == name)
}

/// Held while a process is started: until its `exec` it has a copy of every descriptor.
static STARTING: Mutex<()> = Mutex::new(());

fn while_no_process_starts() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes the last descriptors of their open file descriptions.
///
/// A plain `drop` beside a test that starts a process may leave one open for a moment.
pub(crate) fn close<T>(last: T) {
    let _starting = while_no_process_starts();
    drop(last);
}

/// Starts this test binary again for the test called `name` alone.
#[track_caller]
pub(crate) fn spawn_own_process(name: &str) -> Child {
    let _starting = while_no_process_starts();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // `exec` closes the copies after it has let the parent go on. The blank line with which a test
    // run begins shows that it has done so.
    let _ = child.stdout.as_mut().unwrap().read(&mut [0]).unwrap();
    child
}

/// Waits for a test's own process, which has to have run one test and passed.
#[track_caller]
pub(crate) fn assert_passed(child: Child) {
    let output = child.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && printed.contains("1 passed");
    assert!(passed, "{}:\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr));
}

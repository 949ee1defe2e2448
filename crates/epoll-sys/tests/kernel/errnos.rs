//! Every error that the documentation names, provoked. Those of sockets are in `socket_errnos`.
//!
//! Missing are `ENFILE`, `ENOMEM` and `ENOSPC`, limits of the whole system. The `ECANCELED` of a timer
//! is in `timers`.

use crate::support::{tcp_listener, without};
use epoll_kit_testing::{assert_errno, assert_kind, close, eventually, in_own_process, leave_out};
use epoll_sys::{
    BusyPoll, Epoll, EventFd, ExclusiveInterest, ExclusiveWatch, Expiry, Interest, Pipe, Signal,
    SignalFd, SignalSet, TimerFd, Watch, socket, try_lock,
};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

const READABLE: Watch = Watch::level(Interest::IN);
const EXCLUSIVE: ExclusiveWatch = ExclusiveWatch::level(ExclusiveInterest::IN);

fn epoll() -> Epoll {
    Epoll::new().unwrap()
}

fn counter() -> EventFd {
    EventFd::new(0).unwrap()
}

#[test]
fn adding_twice_is_already_exists() {
    let (epoll, source) = (epoll(), counter());
    epoll.add(&source, 0, READABLE).unwrap();
    assert_kind(epoll.add(&source, 0, READABLE), ErrorKind::AlreadyExists);
    assert_errno(epoll.add(&source, 1, Watch::edge(Interest::OUT)), Errno::EXIST);
    assert_errno(epoll.add_exclusive(&source, 0, EXCLUSIVE), Errno::EXIST);
    assert_eq!(epoll.interest_list().unwrap()[0].data, 0);
}

#[test]
fn modifying_and_deleting_a_stranger_is_not_found() {
    let (epoll, source) = (epoll(), counter());
    assert_kind(epoll.modify(&source, 0, READABLE), ErrorKind::NotFound);
    assert_kind(epoll.delete(&source), ErrorKind::NotFound);
    epoll.add(&source, 0, READABLE).unwrap();
    epoll.delete(&source).unwrap();
    assert_errno(epoll.modify(&source, 0, READABLE), Errno::NOENT);
    assert_errno(epoll.delete(&source), Errno::NOENT);
}

#[test]
fn regular_files_and_directories_are_permission_denied() {
    let epoll = epoll();
    let folder = tempfile::tempdir().unwrap();
    for source in [tempfile::tempfile().unwrap(), File::open(folder.path()).unwrap()] {
        assert_kind(epoll.add(&source, 0, READABLE), ErrorKind::PermissionDenied);
        assert_errno(epoll.add_exclusive(&source, 0, EXCLUSIVE), Errno::PERM);
        assert_errno(epoll.modify(&source, 0, READABLE), Errno::PERM);
        // Deleting looks at the kind of file first, too.
        assert_errno(epoll.delete(&source), Errno::PERM);
    }
}

#[test]
fn a_descriptor_that_is_only_a_path_is_bad() {
    let epoll = epoll();
    let source = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert_errno(epoll.add(&source, 0, READABLE), Errno::BADF);
    assert_errno(epoll.add_exclusive(&source, 0, EXCLUSIVE), Errno::BADF);
    assert_errno(epoll.modify(&source, 0, READABLE), Errno::BADF);
    assert_errno(epoll.delete(&source), Errno::BADF);
}

#[test]
fn an_instance_is_no_valid_source_of_itself() {
    let epoll = epoll();
    assert_kind(epoll.add(&epoll, 0, READABLE), ErrorKind::InvalidInput);
    assert_errno(epoll.add_exclusive(&epoll, 0, EXCLUSIVE), Errno::INVAL);
    assert_errno(epoll.modify(&epoll, 0, READABLE), Errno::INVAL);
    assert_errno(epoll.delete(&epoll), Errno::INVAL);
}

#[test]
fn an_instance_is_no_valid_source_of_an_exclusive_watch() {
    assert_kind(epoll().add_exclusive(epoll(), 0, EXCLUSIVE), ErrorKind::InvalidInput);
}

#[test]
fn modifying_an_exclusive_source_is_invalid_and_leaves_it_as_it_was() {
    let (epoll, source) = (epoll(), counter());
    epoll.add_exclusive(&source, 7, EXCLUSIVE).unwrap();
    assert_kind(epoll.modify(&source, 8, READABLE), ErrorKind::InvalidInput);
    assert_eq!(epoll.interest_list().unwrap()[0].data, 7);
    epoll.delete(&source).unwrap();
    epoll.add(&source, 8, READABLE).unwrap();
}

#[test]
fn instances_that_watch_each_other_are_a_loop() {
    let [first, second, third] = [epoll(), epoll(), epoll()];
    first.add(&second, 0, READABLE).unwrap();
    assert_errno(second.add(&first, 0, READABLE), Errno::LOOP);
    second.add(&third, 0, READABLE).unwrap();
    assert_errno(third.add(&first, 0, READABLE), Errno::LOOP);
}

#[test]
fn instances_nest_five_deep_and_not_six() {
    // Built from the source outwards: a chain of five, each watching the one before.
    let source = counter();
    let chain = [epoll(), epoll(), epoll(), epoll(), epoll()];
    chain[0].add(&source, 0, READABLE).unwrap();
    for pair in chain.windows(2) {
        pair[1].add(&pair[0], 0, READABLE).unwrap();
    }
    let sixth = epoll();
    assert_errno(sixth.add(&chain[4], 0, READABLE), Errno::LOOP);
    // Readiness passes through all five.
    source.write(1).unwrap();
    assert_eq!(crate::support::look(&chain[4]).len(), 1);
}

#[test]
fn out_of_descriptors_is_emfile_and_a_connection_stays_queued() {
    in_own_process("errnos::out_of_descriptors_is_emfile_and_a_connection_stays_queued", || {
        let (listener, address) = tcp_listener();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let epoll = epoll();
        let before = getrlimit(Resource::Nofile);
        // The kernel gives the lowest free number: from here on there is none below the limit.
        let lowest_free = u64::try_from(counter().as_fd().as_raw_fd()).unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(lowest_free), ..before }).unwrap();

        let set = SignalSet::from_iter([Signal::USR1]);
        assert_errno(Epoll::new(), Errno::MFILE);
        assert_errno(EventFd::new(0), Errno::MFILE);
        assert_errno(EventFd::semaphore(0), Errno::MFILE);
        assert_errno(TimerFd::new(), Errno::MFILE);
        assert_errno(SignalFd::new(&set), Errno::MFILE);
        assert_errno(socket::stream(socket::Family::Inet), Errno::MFILE);
        assert_errno(socket::pair(), Errno::MFILE);
        assert_errno(socket::accept(&listener), Errno::MFILE);
        assert_errno(epoll.interest_list(), Errno::MFILE);

        setrlimit(Resource::Nofile, before).unwrap();
        socket::accept(&listener).unwrap();
    });
}

#[test]
fn without_proc_everything_works_but_the_interest_list_whose_error_names_the_file() {
    let name =
        "errnos::without_proc_everything_works_but_the_interest_list_whose_error_names_the_file";
    in_own_process(name, || {
        let folder = tempfile::tempdir().unwrap();
        if rustix::process::chroot(folder.path()).is_err_and(|error| error == Errno::PERM) {
            return leave_out(name, "CAP_SYS_CHROOT");
        }
        assert!(!std::fs::exists("/proc").unwrap());
        let (epoll, source, timer) = (epoll(), counter(), TimerFd::new().unwrap());
        epoll.add(&source, 1, READABLE).unwrap();
        epoll.add(&timer, 2, READABLE).unwrap();
        source.write(1).unwrap();
        timer.set(Expiry::After(Duration::ZERO)).unwrap();
        eventually("both are reported", || crate::support::look(&epoll).len() == 2);
        Pipe::new().unwrap().set_capacity(1 << 16).unwrap();

        let error = epoll.interest_list().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let path = format!("/proc/self/fdinfo/{}", epoll.as_raw_fd());
        assert!(error.to_string().contains(&path), "{error}");
    });
}

#[test]
fn a_counter_that_is_zero_would_block_its_reader() {
    assert_kind(counter().read(), ErrorKind::WouldBlock);
    assert_kind(EventFd::semaphore(0).unwrap().read(), ErrorKind::WouldBlock);
}

#[test]
fn a_counter_that_would_pass_its_maximum_would_block_its_writer() {
    let counter = EventFd::new(1).unwrap();
    assert_kind(counter.write(u64::MAX - 1), ErrorKind::WouldBlock);
    counter.write(u64::MAX - 2).unwrap();
    assert_kind(counter.write(1), ErrorKind::WouldBlock);
    counter.write(0).unwrap();
    assert_eq!(counter.read().unwrap(), u64::MAX - 1);
}

#[test]
fn the_largest_number_is_no_valid_addend() {
    assert_kind(counter().write(u64::MAX), ErrorKind::InvalidInput);
}

#[test]
fn a_timer_that_has_not_expired_would_block() {
    let timer = TimerFd::new().unwrap();
    assert_kind(timer.read(), ErrorKind::WouldBlock);
    timer.set(Expiry::After(Duration::from_secs(3600))).unwrap();
    assert_kind(timer.read(), ErrorKind::WouldBlock);
}

#[test]
fn no_signal_would_block() {
    let signals = SignalFd::new(&SignalSet::from_iter([Signal::USR1])).unwrap();
    assert_kind(signals.read(), ErrorKind::WouldBlock);
    assert_errno(signals.read(), Errno::AGAIN);
}

#[test]
fn a_directory_that_is_locked_would_block_the_next_to_lock_it() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = [(); 2].map(|()| File::open(folder.path()).unwrap());
    try_lock(&first).unwrap();
    assert_kind(try_lock(&second), ErrorKind::WouldBlock);
    close(first);
    try_lock(&second).unwrap();
}

/// Returns whether this kernel busy-polls by instance; where it does not, it has said so as documented.
fn busy_polls(epoll: &Epoll) -> bool {
    let Err(error) = epoll.busy_poll() else { return true };
    let errno = Errno::from_io_error(&error);
    assert!(matches!(errno, Some(Errno::NOTTY | Errno::INVAL | Errno::OPNOTSUPP)), "{error}");
    assert_errno(epoll.set_busy_poll(BusyPoll::default()), errno.unwrap());
    false
}

#[test]
fn busy_polling_for_more_than_i32_max_is_invalid() {
    let epoll = epoll();
    if busy_polls(&epoll) {
        let most = BusyPoll { usecs: i32::MAX.unsigned_abs(), ..BusyPoll::default() };
        epoll.set_busy_poll(most).unwrap();
        let more = BusyPoll { usecs: most.usecs + 1, ..most };
        assert_kind(epoll.set_busy_poll(more), ErrorKind::InvalidInput);
        assert_eq!(epoll.busy_poll().unwrap(), most);
    }
}

#[test]
fn busy_polling_of_more_than_64_packets_is_for_the_privileged() {
    let epoll = epoll();
    if busy_polls(&epoll) {
        without(CapabilitySet::NET_ADMIN, move || {
            let most = BusyPoll { budget: 64, ..BusyPoll::default() };
            epoll.set_busy_poll(most).unwrap();
            let more = BusyPoll { budget: 65, ..most };
            assert_kind(epoll.set_busy_poll(more), ErrorKind::PermissionDenied);
            assert_eq!(epoll.busy_poll().unwrap(), most);
        });
    }
}

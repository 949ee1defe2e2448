//! Sockets that a service manager passes: `LISTEN_FDS`, `LISTEN_FDNAMES` and `--listen fd:`.

use crate::harness::{Launch, Mode, PATIENCE, Server, Tool, client, converse, tool};
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Passes a socket for each word of its first argument to the program in the others: a UNIX socket for a path, else a
/// socket at a free port of 127.0.0.1, which listens if the word is `tcp`; and no socket for `file`.
const PASS: &str = r#"
import fcntl, os, socket, sys

def made(kind):
    if kind == 'file':
        return open('/dev/null')
    one = socket.socket(
        socket.AF_UNIX if kind.startswith('/') else socket.AF_INET,
        socket.SOCK_DGRAM if kind == 'datagram' else socket.SOCK_STREAM)
    one.bind(kind if kind.startswith('/') else ('127.0.0.1', 0))
    if kind == 'tcp' or kind.startswith('/'):
        one.listen(128)
    return one

kinds = sys.argv[1].split()
sockets = [made(kind) for kind in kinds]
# Above all that are passed, so that none is replaced before it is passed.
high = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, 100) for one in sockets]
for number, one in enumerate(high, 3):
    os.dup2(one, number)
os.environ['LISTEN_PID'] = str(os.getpid())
os.environ['LISTEN_FDS'] = str(len(kinds))
os.execvp(sys.argv[2], sys.argv[2:])
"#;

/// Makes a launch pass these sockets to the server.
fn passing(python: &Tool, launch: Launch, kinds: &str) -> Launch {
    launch.under([python.path().as_os_str(), "-c".as_ref(), PASS.as_ref(), kinds.as_ref()])
}

#[track_caller]
fn unix_is_served(path: &Path) {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    converse(&mut stream, b"hello");
    stream.shutdown(Shutdown::Write).unwrap();
}

in_all_modes!(sockets_that_are_passed_are_served_unless_flags_say_where_to_listen);

fn sockets_that_are_passed_are_served_unless_flags_say_where_to_listen(mode: Mode) {
    let Some(python) = tool("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let kinds = format!("tcp {}", path.display());
    let mut server =
        passing(&python, Launch::bare().mode(mode).flag("--log", "off"), &kinds).start();
    assert_eq!(server.next_address(), format!("unix:{}", path.display()));
    for _ in 0..20 {
        converse(&mut server.client(), b"hello");
        unix_is_served(&path);
    }
    // Non-blocking, and closed in programs that the server starts.
    for number in [3, 4] {
        let flags = descriptor_flags(&server, number);
        assert_eq!(flags & 0o2_004_000, 0o2_004_000, "{number}: {flags:o}");
    }
    server.drain();
    assert!(path.exists(), "it belongs to who has made it");
}

/// Returns the flags of a descriptor as open(2) has them, with `O_CLOEXEC`.
#[track_caller]
fn descriptor_flags(server: &Server, number: u32) -> u32 {
    let info = server.process.file(&format!("fdinfo/{number}"));
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
    u32::from_str_radix(flags.trim(), 8).expect("an octal number")
}

#[test]
fn a_port_for_datagrams_is_not_shared_with_another_server() {
    let Some(python) = tool("python3") else { return };
    let first = Launch::at("127.0.0.1:0").flag("--udp", "127.0.0.1:0").start();
    let address = first.next_address();
    let address = address.strip_prefix("udp:").expect("the address for datagrams");
    let second = Launch::bare().flag("--log", "off").flag("--udp", address);
    let output = passing(&python, second, "tcp").run();
    assert_eq!(output.status.code(), Some(1), "{:?}", output.stderr);
    assert!(output.stderr.join("").contains("Address already in use"), "{:?}", output.stderr);
}

#[test]
fn a_socket_is_chosen_by_its_number_or_its_name() {
    let Some(python) = tool("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let kinds = format!("tcp {} datagram tcp", path.display());
    let launch = |flags: &[&str]| {
        let launch = Launch::bare().variable("LISTEN_FDNAMES", "web:local:other:web");
        let launch = launch.mode(Mode::Reuseport);
        let launch = flags.iter().fold(launch, |launch, flag| launch.flag("--listen", *flag));
        passing(&python, launch, &kinds)
    };
    let unix = format!("unix:{}", path.display());

    let server = launch(&["fd:4,127.0.0.1:0"]).start();
    assert_eq!(server.address(), unix);
    converse(&mut client(server.next_address().parse().unwrap()), b"of its own");
    unix_is_served(&path);
    // Those that nobody asked for, the datagram socket too.
    server.stderr.next_with(&["an inherited socket is not used", "3, web"]);
    server.stderr.next_with(&["an inherited descriptor is not used", "5, other"]);
    // Another one of the server's may have the number.
    let is_closed_elsewhere = || descriptor_flags(&server, 5) & 0o2_000_000 != 0;
    assert!(!server.process.descriptors().contains(&5) || is_closed_elsewhere());
    drop(server);
    std::fs::remove_file(&path).unwrap();

    let server = launch(&["fd:web", "fd:local"]).start();
    let second = server.next_address();
    assert_eq!(server.next_address(), unix);
    assert_ne!(second, server.address());
    converse(&mut server.client(), b"first");
    converse(&mut client(second.parse().unwrap()), b"second");
    unix_is_served(&path);
    drop(server);
    std::fs::remove_file(&path).unwrap();

    // By its address, which the path has, too.
    let mut server = launch(&[&unix]).start();
    assert_eq!(server.address(), unix);
    unix_is_served(&path);
    server.drain();
    assert!(path.exists());
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_an_error_that_names_the_flag() {
    let Some(python) = tool("python3") else { return };
    for (kinds, flag, causes) in [
        ("datagram", Some("fd:3"), ["descriptor 3", "not a TCP or UNIX stream socket"]),
        ("tcp idle", Some("fd:4"), ["descriptor 4", "the socket does not listen"]),
        ("tcp file", Some("fd:4"), ["descriptor 4", "not a TCP or UNIX stream socket"]),
        ("tcp", Some("fd:4"), ["no such descriptor", "those passed are 3"]),
        ("tcp", Some("fd:web"), ["no such descriptor", "those passed are 3"]),
        ("tcp idle", None, ["descriptor 4", "the socket does not listen"]),
    ] {
        let launch = Launch::bare().flag("--log", "off");
        let launch = flag.map_or(launch.clone(), |flag| launch.flag("--listen", flag));
        let output = passing(&python, launch, kinds).run();
        assert_eq!(output.status.code(), Some(1), "{kinds}: {:?}", output.stderr);
        let [line] = &output.stderr[..] else { panic!("{kinds}: {:?}", output.stderr) };
        let named = flag.map_or("LISTEN_FDS".to_owned(), |flag| format!("--listen {flag}:"));
        assert!(line.contains(&named), "{named} is not in: {line}");
        assert!(causes.iter().all(|cause| line.contains(cause)), "{line}");
    }
}

#[test]
fn sockets_for_another_process_are_none() {
    let launch = Launch::bare().variable("LISTEN_PID", "1").variable("LISTEN_FDS", "1");
    let output = launch.flag("--listen", "fd:3").run();
    assert_eq!(output.status.code(), Some(1));
    let [line] = &output.stderr[..] else { panic!("{:?}", output.stderr) };
    assert!(line.contains("--listen fd:3") && line.contains("LISTEN_PID"), "{line}");
    let server = launch_elsewhere().start();
    converse(&mut server.client(), b"hello");
}

#[test]
fn a_number_of_sockets_that_is_none_is_refused() {
    for count in ["x", "-1", ""] {
        let output = Launch::at("127.0.0.1:0").variable("LISTEN_FDS", count).run();
        assert_eq!(output.status.code(), Some(1), "{count:?}");
        assert!(output.stderr.iter().any(|line| line.contains("LISTEN_FDS")), "{output:#?}");
    }
}

fn launch_elsewhere() -> Launch {
    let launch = Launch::at("127.0.0.1:0").flag("--log", "off");
    launch.variable("LISTEN_PID", "1").variable("LISTEN_FDS", "1")
}

#[test]
fn an_accept_queue_of_before_is_served() {
    let Some(python) = tool("python3") else { return };
    // The server waits for a descriptor of the folder until a client is in the queue.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let gate = folder.path().join("gate");
    let made = std::process::Command::new("mkfifo").arg(&gate).status().expect("mkfifo");
    assert!(made.success());
    let launch = Launch::bare().mode(Mode::Oneshot).flag("--log", "off");
    let launch = passing(&python, launch, &path.display().to_string());
    let held = launch.under(["sh", "-c", "read -r line < \"$0\"; exec \"$@\""]).under([&gate]);
    // The shell is the program that is passed the socket, so its number is that of the server.
    let server = std::thread::scope(|scope| {
        let started = scope.spawn(|| held.start());
        epoll_kit_testing::eventually("the socket is there", || path.exists());
        let mut stream = loop {
            // It may be bound and not listen yet.
            if let Ok(stream) = UnixStream::connect(&path) {
                break stream;
            }
            std::thread::yield_now();
        };
        stream.write_all(b"early").unwrap();
        std::fs::write(&gate, "go\n").unwrap();
        let server = started.join().expect("a server");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        crate::harness::is_echoed(&mut stream, b"early");
        server
    });
    drop(server);
}

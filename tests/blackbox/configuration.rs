//! The sources of settings: flags, the environment and the file of `--config`; `--check`; and the file read again
//! while the server runs.

use crate::harness::{Launch, Mode, Output, Server, converse, ends, is_cut_off, is_echoed};
use crate::restart::script;
use epoll_kit_testing::eventually;
use rustix::fs::{CWD, FileType, Mode as Permissions, OFlags, mknodat, open};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const USAGE: i32 = 2;

/// A configuration file in a folder of its own.
struct File {
    _folder: TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.toml");
        fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    fn launch(&self) -> Launch {
        Launch::bare().flag("--config", &self.path)
    }

    /// A server with this file, on a free port, in this mode.
    fn serve(&self, mode: Mode) -> Server {
        let launch = Launch::at("127.0.0.1:0").mode(mode).flag("--config", &self.path);
        launch.flag("--log-format", "json").start()
    }

    /// Changes the file to this text, and has the server take it over. Every thread has when this returns.
    #[track_caller]
    fn reload(&self, text: &str, server: &Server) -> Value {
        self.write(text);
        server.process.signal(Signal::HUP);
        let reloaded = logged(server, "configuration reloaded");
        server.process.signal(Signal::USR1);
        logged(server, "connections so far");
        reloaded["changed"].clone()
    }

    /// The line of the file with this number, as messages name it.
    fn line(&self, number: usize) -> String {
        format!("{}:{number}", self.path.display())
    }
}

/// Returns the only line that a launch which is refused says.
#[track_caller]
fn refusal(launch: &Launch, status: i32) -> String {
    let Output { status: ended, stdout, mut stderr } = launch.run();
    assert_eq!((ended.code(), stderr.len()), (Some(status), 1), "{stderr:#?}");
    assert!(stdout.is_empty(), "{stdout:#?}");
    stderr.remove(0)
}

#[track_caller]
fn contains(text: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| text.contains(part)), "not all of {parts:?} in: {text}");
}

/// Returns the next line of a log in JSON with this message.
#[track_caller]
fn logged(server: &Server, message: &str) -> Value {
    loop {
        let line = server.stderr.next().unwrap_or_else(|| panic!("no {message:?}"));
        let line: Value = serde_json::from_str(&line).expect("JSON");
        if line["message"].as_str().is_some_and(|it| it.starts_with(message)) {
            return line;
        }
    }
}

#[test]
fn a_file_brings_settings_and_variables_and_flags_win_over_it() {
    let text = "listen = ['127.0.0.1:0', '127.0.0.1:0']\nthreads = 2\nmode = 'oneshot'\nlog-format = 'json'\n\
                quit-word = 'file'\nread-buffer = 512\nidle-timeout = 0\npin = true\n";
    let file = File::new(text);
    for launch in [file.launch(), Launch::bare().variable("EPOLL_SERVER_CONFIG", &file.path)] {
        let launch = launch.flag("--mode", "edge").variable("EPOLL_SERVER_MODE", "level");
        let server = launch.variable("EPOLL_SERVER_QUIT_WORD", "variable").start();
        server.next_address();
        let started = logged(&server, "started");
        assert_eq!((&started["mode"], &started["threads"]), (&"Edge".into(), &2.into()));
        let mut stream = server.client();
        converse(&mut stream, b"file\nvariable\n");
        ends(&mut stream);
    }
}

#[test]
fn a_list_is_replaced_and_a_switch_is_turned_off_by_a_flag() {
    let file = File::new("listen = ['127.0.0.1:0', '127.0.0.1:0']\npin = true\n");
    let output =
        file.launch().flag("--listen", "[::1]:7").switch("--pin=false").switch("--check").run();
    assert!(output.stdout.contains(&"listen = [\"[::1]:7\"] # --listen".to_owned()), "{output:#?}");
    assert!(output.stdout.contains(&"pin = false # --pin".to_owned()), "{output:#?}");
}

#[test]
fn what_is_wrong_in_the_file_is_refused_with_its_line() {
    for (text, line, parts) in [
        ("\nmax-connection = 1", 2, &["max-connection", "did you mean 'max-connections'"][..]),
        ("max-connections = '1'", 1, &["max-connections", "an integer, not a string"]),
        ("max-connections = 0", 1, &["--max-connections", "'0'", "1 to 4294967295"]),
        ("max-connections = -1", 1, &["--max-connections", "'-1'"]),
        ("pin = 1", 1, &["pin", "true or false, not an integer"]),
        ("idle-timeout = 30", 1, &["--idle-timeout", "'30'"]),
        ("idle-timeout = 1979-05-27", 1, &["idle-timeout", "date"]),
        ("mode = 'both'", 1, &["--mode", "'both'", "edge-shared"]),
        ("read-buffer = '64k'", 1, &["--read-buffer", "'64k'"]),
        ("listen = [\n':1',\n'nowhere']", 3, &["--listen", "'nowhere'"]),
        ("mode = ['edge']", 1, &["mode", "not a list"]),
        ("pin = true\npin = true", 2, &[]),
        ("[limits]\nmax-connections = 1", 1, &["limits"]),
        ("backlog = 7\nmode = ", 2, &[]),
        ("config = 'other.toml'", 1, &["config"]),
        ("check = true", 1, &["check"]),
    ] {
        let file = File::new(text);
        let message = refusal(&file.launch(), USAGE);
        contains(&message, &[&[file.line(line).as_str()][..], parts].concat());
        // A flag that has another value is no excuse.
        let output = file.launch().flag("--max-connections", "1").switch("--check").run();
        assert_eq!(output.status.code(), Some(USAGE), "{output:#?}");
    }
    let missing = Launch::bare().flag("--config", "/nowhere/server.toml");
    contains(&refusal(&missing, USAGE), &["--config", "/nowhere/server.toml", "No such file"]);
}

#[test]
fn a_contradiction_and_what_cannot_be_done_are_said_with_the_sources() {
    let file = File::new("accept = 'exclusive'\n\nlisten = ['192.0.2.1:0']\n");
    let message = refusal(&file.launch().variable("EPOLL_SERVER_MODE", "oneshot"), USAGE);
    contains(&message, &["'--accept'", &format!("--accept is from {}", file.line(1))]);
    let message = refusal(&file.launch(), 1);
    contains(&message, &["192.0.2.1:0", &format!("--listen is from {}", file.line(3))]);
    let launch = Launch::at("127.0.0.1:0").variable("EPOLL_SERVER_TLS_CERT", "/nowhere/cert");
    let message = refusal(&launch.flag("--tls-key", "/nowhere/key"), 1);
    contains(&message, &["/nowhere/cert", "--tls-cert is from EPOLL_SERVER_TLS_CERT"]);
    let stats = Launch::at("127.0.0.1:0").variable("EPOLL_SERVER_STATS_JSON", "/nowhere/stats");
    contains(&refusal(&stats, 1), &["/nowhere/stats", "EPOLL_SERVER_STATS_JSON"]);
}

#[test]
fn a_variable_is_refused_by_its_name() {
    let wrong = Launch::bare().variable("EPOLL_SERVER_THREADS", "0");
    contains(&refusal(&wrong, USAGE), &["--threads", "'0'", "EPOLL_SERVER_THREADS"]);
    let unknown = Launch::bare().variable("EPOLL_SERVER_MAXCONNECTIONS", "1");
    contains(
        &refusal(&unknown, USAGE),
        &["'EPOLL_SERVER_MAXCONNECTIONS'", "did you mean 'EPOLL_SERVER_MAX_CONNECTIONS'"],
    );
    // What Kubernetes sets for a service of this name is nobody's mistake.
    let mut links = Launch::bare().switch("--check");
    let of_another =
        ["METRICS_SERVICE_HOST", "METRICS_SERVICE_PORT_HTTP", "X_PORT", "X_PORT_7_TCP"];
    let own = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_ECHO", "PORT", "PORT_7_TCP_ADDR"];
    for name in own.into_iter().chain(of_another) {
        links = links.variable(&format!("EPOLL_SERVER_{name}"), "tcp://10.0.0.1:7");
    }
    contains(&refusal(&links, USAGE), &["unknown variable 'EPOLL_SERVER_METRICS_SERVICE_HOST'"]);
    assert!(links.variable("KUBERNETES_SERVICE_HOST", "10.0.0.1").run().status.success());
}

#[test]
fn a_check_prints_a_file_that_means_the_same_and_listens_nowhere() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let file = File::new(&format!(
        "# all of it\nlisten = ['{address}', 'localhost:7']\nquit-word = \"a\\\"b\"\n"
    ));
    let launch = file.launch().switch("--pin").variable("EPOLL_SERVER_MAX_PER_PEER", "7");
    let output = launch.switch("--check").run();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:#?}");
    for line in [
        format!("listen = [\"{address}\", \"localhost:7\"] # {}", file.line(2)),
        format!("quit-word = \"a\\\"b\" # {}", file.line(3)),
        "pin = true # --pin".to_owned(),
        "max-per-peer = 7 # EPOLL_SERVER_MAX_PER_PEER".to_owned(),
        "mode = \"level\" # default".to_owned(),
        "# threads is not set".to_owned(),
    ] {
        assert!(output.stdout.contains(&line), "{line} is not in {:#?}", output.stdout);
    }
    let again = File::new(&output.stdout.join("\n"));
    let repeated = again.launch().switch("--check").run();
    let values = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split(" # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&repeated.stdout), values(&output.stdout), "{:#?}", repeated.stderr);
}

#[test]
fn a_check_reads_the_files_of_tls_and_looks_names_up() {
    let tls = Launch::bare().flag("--tls-cert", "/nowhere/cert").flag("--tls-key", "/nowhere/key");
    contains(&refusal(&tls.switch("--check"), USAGE), &["--tls-cert", "/nowhere/cert"]);
    let name = Launch::at("unknown.invalid:7");
    contains(&refusal(&name.clone().switch("--check"), USAGE), &["--listen unknown.invalid:7"]);
    contains(&refusal(&name, 1), &["--listen unknown.invalid:7"]);
}

#[test]
fn an_address_that_is_there_twice_is_refused_by_the_start_and_by_a_check() {
    let twice = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let list = File::new(&format!("# twice\nlisten = [\n'{twice}', '{twice}']\n"));
    let variable = "EPOLL_SERVER_LISTEN";
    let metrics = File::new(&format!("listen = '{twice}'\nmetrics = '{twice}'\n"));
    for (launch, parts) in [
        (Launch::at(&twice).flag("--listen", &twice), ["is there twice", "--listen"]),
        (Launch::bare().variable(variable, format!("@a,{twice},{twice}")), ["twice", variable]),
        (list.launch(), ["is there twice", &list.line(2)]),
        (metrics.launch(), ["--metrics", &format!("--metrics is from {}", metrics.line(2))]),
    ] {
        let message = refusal(&launch, 1);
        contains(&message, &[&parts[..], &[twice.as_str()]].concat());
        assert_eq!(refusal(&launch.switch("--check"), USAGE), message);
    }
}

#[test]
fn a_path_with_a_nul_byte_is_refused_by_the_start_and_by_a_check() {
    for (text, flag) in [
        ("\nlisten = ['127.0.0.1:0', \"unix:/a\\u0000b\"]", "--listen"),
        ("\nmetrics = \"unix:/a\\u0000b\"", "--metrics"),
    ] {
        let file = File::new(text);
        let message = refusal(&file.launch(), USAGE);
        contains(&message, &[&file.line(2), flag, "NUL"]);
        assert_eq!(refusal(&file.launch().switch("--check"), USAGE), message);
    }
}

in_all_modes!(a_file_that_has_changed_is_taken_over_as_a_whole_or_not_at_all);

fn a_file_that_has_changed_is_taken_over_as_a_whole_or_not_at_all(mode: Mode) {
    let file = File::new("max-connections = 1\nidle-timeout = 0\n");
    let server = file.serve(mode);
    let mut first = server.client();
    converse(&mut first, b"the only one");
    ends(&mut server.client());

    file.write(
        "max-connections = 2\nidle-timeout = 0\nlog = 'debug'\nbacklog = 7\nmax-buffered = '1MiB'\n",
    );
    server.process.signal(Signal::HUP);
    let reloaded = logged(&server, "configuration reloaded");
    assert_eq!(reloaded["changed"], "max-connections, max-buffered, log");
    assert_eq!(logged(&server, "changed settings that need a restart")["changed"], "backlog");
    let mut second = server.client();
    converse(&mut second, b"there is room for two");
    logged(&server, "connection opened");

    file.write("max-connections = 3\nidle-timeout = 'soon'\n");
    server.process.signal(Signal::HUP);
    let refused = logged(&server, "configuration not reloaded");
    contains(refused["message"].as_str().unwrap(), &["server.toml:2", "'soon'"]);
    assert!(is_refused(&server), "nothing of it holds");
    file.write("max-connections = 3\ntls-cert = '/none'\ntls-key = '/none'\n");
    server.process.signal(Signal::HUP);
    let refused = logged(&server, "configuration not reloaded");
    contains(
        refused["message"].as_str().unwrap(),
        &["--tls-cert and --tls-key /none", "server.toml:2", "server.toml:3"],
    );
    assert!(is_refused(&server), "nothing of it holds");
    fs::remove_file(&file.path).unwrap();
    server.process.signal(Signal::HUP);
    let refused = logged(&server, "configuration not reloaded");
    contains(refused["message"].as_str().unwrap(), &["No such file"]);
    for stream in [&mut first, &mut second] {
        converse(stream, b"unharmed");
    }

    file.write("max-connections = 2\nidle-timeout = '50ms'\nlog = 'info'\n");
    server.process.signal(Signal::HUP);
    assert_eq!(
        logged(&server, "configuration reloaded")["changed"],
        "max-buffered, log, idle-timeout"
    );
    for stream in [&mut first, &mut second] {
        ends(stream);
    }
}

in_all_modes!(a_rate_of_bytes_comes_and_goes_while_connections_are_open);

fn a_rate_of_bytes_comes_and_goes_while_connections_are_open(mode: Mode) {
    let file = File::new("");
    let server = file.serve(mode);
    // Paid for, at a byte a second, after any deadline of a test.
    let message = [b'x'; 1000];
    let mut streams = [(); 3].map(|()| server.client());
    streams.iter_mut().for_each(|stream| converse(stream, b"unlimited"));
    for higher in ["", "max-bytes-rate = '1GB'\n"] {
        assert_eq!(file.reload("max-bytes-rate = '1'\n", &server), "max-bytes-rate");
        for stream in &mut streams {
            converse(stream, &message);
            stream.write_all(&message).unwrap();
        }
        thread::sleep(Duration::from_millis(50));
        streams.iter().for_each(is_silent);
        assert_eq!(file.reload(higher, &server), "max-bytes-rate");
        for stream in &mut streams {
            is_echoed(stream, &message);
            converse(stream, &message);
        }
    }
}

/// Asserts that nothing has come.
#[track_caller]
fn is_silent(stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]).map_err(|error| error.kind());
    stream.set_nonblocking(false).unwrap();
    assert_eq!(peeked, Err(ErrorKind::WouldBlock));
}

in_all_modes!(another_time_for_headers_holds_for_connections_that_wait_already);

fn another_time_for_headers_holds_for_connections_that_wait_already(mode: Mode) {
    const HEADER: &[u8] = b"PROXY UNKNOWN\r\n";
    let file = File::new("proxy-protocol = true\nproxy-timeout = '1h'\n");
    let server = file.serve(mode);
    let mut waiting = [(); 5].map(|()| server.client());
    waiting[0].write_all(&HEADER[..3]).unwrap();
    // That there are headers stays as it is.
    assert_eq!(file.reload("proxy-timeout = '20ms'\n", &server), "proxy-timeout");
    waiting.iter_mut().for_each(ends);
    let longer = "proxy-protocol = true\nproxy-timeout = '1h'\n";
    assert_eq!(file.reload(longer, &server), "proxy-timeout");
    let mut patient = server.client();
    thread::sleep(Duration::from_millis(60));
    patient.write_all(HEADER).unwrap();
    converse(&mut patient, b"in time");
}

#[test]
fn another_time_to_become_ready_holds_from_the_next_restart_on() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("epoll-server");
    symlink(Launch::program(), &program).unwrap();
    let file = File::new("restart-timeout = '1h'\nlog-format = 'json'\nlisten = '127.0.0.1:0'\n");
    let server = file.launch().copy_at(&program).start();
    script(&program, "exec sleep 600");
    let shorter = "restart-timeout = '50ms'\nlog-format = 'json'\nlisten = '127.0.0.1:0'\n";
    assert_eq!(file.reload(shorter, &server), "restart-timeout");
    server.process.signal(Signal::USR2);
    let late = logged(&server, "the new process is not ready in time");
    contains(late["timeout"].as_str().unwrap(), &["50ms"]);
    converse(&mut server.client(), b"as before");
}

in_all_modes!(a_drain_has_the_times_of_the_last_reload);

fn a_drain_has_the_times_of_the_last_reload(mode: Mode) {
    // Its peer does not close, so the connection ends only when it is cut.
    let file = File::new("linger-timeout = 0\ndrain-timeout = 0\ndrain-delay = '1h'\n");
    let mut server = file.serve(mode);
    let mut stream = server.client();
    converse(&mut stream, b"hello");
    let (delay, timeout) = (Duration::from_millis(50), Duration::from_millis(250));
    let text = "linger-timeout = 0\ndrain-timeout = '250ms'\ndrain-delay = '50ms'\n";
    assert_eq!(file.reload(text, &server), "drain-timeout, drain-delay");
    let begun = Instant::now();
    server.process.signal(Signal::TERM);
    assert_eq!(server.await_end().code(), Some(3), "{:#?}", server.stderr.rest());
    assert!(begun.elapsed() >= delay + timeout, "{:?}", begun.elapsed());
}

#[test]
fn a_reload_that_is_stuck_keeps_no_process_from_ending() {
    for (signals, status) in [(&[Signal::TERM][..], 0), (&[Signal::TERM, Signal::INT], 130)] {
        let file = File::new("linger-timeout = 0\ndrain-timeout = 0\n");
        let mut server = file.serve(Mode::Level);
        let pipe = file.path.with_file_name("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Permissions::RUSR | Permissions::WUSR, 0).unwrap();
        file.write(&format!("tls-cert = '{0}'\ntls-key = '{0}'\n", pipe.display()));
        server.process.signal(Signal::HUP);
        // Nothing comes, and no end of it, as long as somebody could write. Before the server reads, that fails.
        let mut writer = None;
        eventually("the server reads the pipe", || {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            writer = open(&pipe, flags, Permissions::empty()).ok();
            writer.is_some()
        });
        let mut stream = server.client();
        converse(&mut stream, b"as before");
        // While the peer leaves its half open, the first signal does not end the process.
        let stream = Some(stream).filter(|_| signals.len() > 1);
        for signal in signals {
            server.process.signal(*signal);
            logged(&server, if *signal == Signal::TERM { "draining" } else { "stopping" });
        }
        assert_eq!(server.await_end().code(), Some(status));
        let log = server.stderr.rest();
        assert!(log.iter().any(|line| line.contains("SIGUSR1 is stuck")), "{log:#?}");
        drop((writer, stream));
    }
}

/// Returns whether a new connection is closed at once.
#[track_caller]
fn is_refused(server: &Server) -> bool {
    let mut stream = server.client();
    // The server may have closed it already.
    stream.write_all(b"x").is_err() || is_cut_off(&mut stream)
}

#[test]
fn a_pipe_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Permissions::RUSR | Permissions::WUSR, 0).unwrap();
    let launch = Launch::bare().flag("--config", &path);
    let text = "max-connections = 1\nlog-format = 'json'\nlisten = '127.0.0.1:0'\n";
    // It waits for the server to open the pipe.
    let writing = thread::spawn(move || fs::write(path, text));
    let server = launch.start();
    writing.join().unwrap().unwrap();
    logged(&server, "SIGUSR2 cannot restart the server");
    server.process.signal(Signal::HUP);
    let refused = logged(&server, "configuration not reloaded");
    contains(refused["message"].as_str().unwrap(), &["not a regular file"]);
    // A new process would have no settings.
    server.process.signal(Signal::USR2);
    logged(&server, "logging the counters");
    converse(&mut server.client(), b"as before");
}

#[test]
fn permissions_may_be_written_as_an_octal_integer() {
    let file = File::new("listen = 'unix:/a'\nunix-mode = 0o660\nbacklog = 0x10\n");
    let output = file.launch().switch("--check").run();
    let has = |line: &str| output.stdout.iter().any(|it| it.starts_with(line));
    assert!(has("unix-mode = \"0o660\"") && has("backlog = 16 "), "{output:#?}");
}

#[test]
fn a_file_is_found_from_the_folder_in_which_the_server_was_started() {
    let file = File::new("listen = '127.0.0.1:0'\nquit-word = 'quit'\n");
    let folder = file.path.parent().and_then(Path::to_str).unwrap();
    let shell = ["sh", "-c", "cd \"$0\" && exec \"$@\"", folder];
    let server = Launch::bare().flag("--config", "server.toml").under(shell).start();
    let mut stream = server.client();
    converse(&mut stream, b"quit\n");
    ends(&mut stream);
}

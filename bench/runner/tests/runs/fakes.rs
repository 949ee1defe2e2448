//! A folder of fakes: servers that listen to nobody, and a client that makes its answer up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PEERS: [&str; 9] = [
    "peer-floor",
    "peer-mio",
    "peer-polling",
    "peer-calloop",
    "peer-tokio",
    "peer-async-io",
    "peer-threads",
    "peer-monoio",
    "peer-compio",
];

/// A server that prints its address, writes its process id to a file, and waits to be ended.
const SERVER: &str = "\
echo $$ >> \"$FAKES/started\"
echo 'listening on 127.0.0.1:1'
exec sleep 600
";

/// The output of the load client.
pub(crate) const ANSWER: &str = r#"{"duration_s": 1.0, "requests": 1000, "throughput_per_s": 1000.0,
"mib_per_s": 2.0, "latency_us": {"mean": 5.0, "p50": 4.0, "p99": 9.0, "max": 12.0},
"latency_curve": [[50.0, 4.0], [90.0, 7.0], [99.0, 9.0]], "errors": {},
"client": {"user_us": 200000, "system_us": 570000},
"server": {"user_us": 1, "system_us": 1, "cpu_us_per_request": 3.5}}"#;

/// The program that measures waking.
pub(crate) const WAKE: &str = r#"
for round in 1 2 3; do
  for who in '"floor","role":"floor"' '"floor","role":"floor-again"' '"epoll-kit","role":"ours"'; do
    echo '{"case":"round trip","x":1,"unit":"ns","value":50,"contestant":'$who',"round":'$round'}'
  done
done
"#;

/// A folder with every program that the runner may ask for.
pub(crate) struct Fakes(TempDir);

/// The exit status and the output of a run.
pub(crate) struct Run {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fakes {
    /// Creates the folder with programs that all behave well.
    pub(crate) fn new() -> Self {
        let fakes = Self(TempDir::new().unwrap());
        for name in PEERS.iter().chain(&["epoll-server"]) {
            fakes.replace(name, SERVER);
        }
        fakes.replace("epoll-load", &format!("cat <<'END'\n{ANSWER}\nEND\n"));
        fakes
    }

    /// Puts another script in the place of one. It is written under another name first: nothing
    /// that is being written may be executed, not even by a process that another test starts.
    pub(crate) fn replace(&self, name: &str, script: &str) {
        let path = self.path().join(name);
        let status = Command::new("/bin/sh")
            .args(["-c", "printf '%s' \"$1\" > \"$2\" && chmod 755 \"$2\"", "sh"])
            .arg(format!("#!/bin/sh\n{script}"))
            .arg(&path)
            .status();
        assert!(status.unwrap().success());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o111, 0o111);
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the file with this name in the report's folder.
    pub(crate) fn report(&self, name: &str) -> String {
        fs::read_to_string(self.path().join("out").join(name)).unwrap()
    }

    /// Starts the runner.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.start_as(Command::new(env!("CARGO_BIN_EXE_epoll-kit-bench-runner")), args)
    }

    /// Starts the runner, which ignores a signal from the beginning.
    pub(crate) fn start_ignoring(&self, signal: &str, args: &[&str]) -> Child {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("trap '' {signal}; exec \"$@\""), "sh"]);
        shell.arg(env!("CARGO_BIN_EXE_epoll-kit-bench-runner"));
        self.start_as(shell, args)
    }

    fn start_as(&self, mut command: Command, args: &[&str]) -> Child {
        for flag in ["--root", "--programs", "--bench-programs"] {
            command.arg(flag).arg(self.path());
        }
        command.arg("--out").arg(self.path().join("out")).args(args);
        command.env("FAKES", self.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the runner to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::of(self.start(args))
    }

    /// Returns the ids of all servers that were started.
    pub(crate) fn started(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.path().join("started")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Waits until none of the started servers runs any more.
    #[track_caller]
    pub(crate) fn assert_ended(&self) {
        for id in self.started() {
            wait_until("a server ends", || !is_alive(id));
        }
    }
}

impl Run {
    pub(crate) fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Asserts the exit status, and that stderr ends with one line that contains all of `parts`.
    #[track_caller]
    pub(crate) fn ends_with(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status.code(), Some(status), "{}", self.stderr);
        let line = self.stderr.lines().last().unwrap_or_default();
        assert!(parts.iter().all(|part| line.contains(part)), "{}", self.stderr);
    }
}

/// Waits for a condition, for as long as it may take on a busy machine.
#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

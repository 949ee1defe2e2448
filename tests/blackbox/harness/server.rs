//! The server as a process: how it is launched, under which program, and how it ends.

use super::{Guard, Lines, Mode, Output, Process, client};
use rustix::process::Signal;
use std::env;
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitStatus, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_epoll-server-under-test");

/// The beginning of the names of the variables of all flags; a test inherits none of them.
const PREFIX: &str = "EPOLL_SERVER_";

/// The variables by which a service manager tells a program about itself. The tests may have been started by one.
const SUPERVISION: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "KUBERNETES_SERVICE_HOST",
];

/// A command line in the making.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    program: OsString,
    /// A program that runs the server, with its own arguments.
    wrapper: Vec<OsString>,
    flags: Vec<OsString>,
    environment: Vec<(String, OsString)>,
}

impl Launch {
    /// No flags at all.
    pub(crate) fn bare() -> Self {
        let program = PROGRAM.into();
        Self { program, wrapper: Vec::new(), flags: Vec::new(), environment: Vec::new() }
    }

    /// Launches at a free port of 127.0.0.1, in this mode and without logs.
    pub(crate) fn tcp(mode: Mode) -> Self {
        Self::at("127.0.0.1:0").mode(mode).flag("--log", "off")
    }

    /// The same with another number of threads than the mode has.
    pub(crate) fn with_threads(mode: Mode, threads: u32) -> Self {
        let mut launch = Self::at("127.0.0.1:0").flag("--log", "off");
        launch.flags.extend(mode.flags_with(threads).into_iter().map(OsString::from));
        launch
    }

    /// Launches at this address.
    pub(crate) fn at(address: impl AsRef<str>) -> Self {
        Self::bare().flag("--listen", address.as_ref())
    }

    /// Sets the mode.
    pub(crate) fn mode(mut self, mode: Mode) -> Self {
        self.flags.extend(mode.flags().iter().map(OsString::from));
        self
    }

    pub(crate) fn flag(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.flags.extend([name.into(), value.into()]);
        self
    }

    /// The flags so far.
    pub(crate) fn arguments(&self) -> &[OsString] {
        &self.flags
    }

    pub(crate) fn switch(mut self, name: &str) -> Self {
        self.flags.push(name.into());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs it under this program, which itself runs under those that were named before.
    pub(crate) fn under<T: Into<OsString>>(mut self, words: impl IntoIterator<Item = T>) -> Self {
        self.wrapper.extend(words.into_iter().map(Into::into));
        self
    }

    /// Runs it, and what it runs under already, under this program.
    pub(crate) fn outermost<T: Into<OsString>>(
        mut self,
        words: impl IntoIterator<Item = T>,
    ) -> Self {
        self.wrapper.splice(0..0, words.into_iter().map(Into::into));
        self
    }

    /// Another copy of the program.
    pub(crate) fn copy_at(mut self, program: impl Into<OsString>) -> Self {
        self.program = program.into();
        self
    }

    pub(crate) fn program() -> &'static str {
        PROGRAM
    }

    /// The command; both output streams are inherited.
    pub(crate) fn command(&self) -> Command {
        // The server leaves ignored what is ignored when it starts, as signals are under nohup and in
        // background jobs, where the tests may run. It becomes the wrapper, or the server itself.
        let mut command = Command::new("env");
        command.arg("--default-signal").args(&self.wrapper).arg(&self.program).args(&self.flags);
        command.stdin(Stdio::null());
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                command.env_remove(name);
            }
        }
        for name in SUPERVISION {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it and waits for the first address it listens at.
    #[track_caller]
    pub(crate) fn start(&self) -> Server {
        let started = self.try_start();
        started.unwrap_or_else(|ended| panic!("{:?} ended: {ended:#?}", self.command()))
    }

    /// Like [`start`](Self::start), for a server whose stderr the caller reads.
    #[track_caller]
    pub(crate) fn start_with_stderr(&self, stderr: impl Into<Stdio>) -> Server {
        let started = self.try_start_with(stderr.into());
        started.unwrap_or_else(|ended| panic!("{:?} ended: {ended:#?}", self.command()))
    }

    /// Like [`start`](Self::start), for a server that may not get as far; then, what it left.
    #[track_caller]
    pub(crate) fn try_start(&self) -> Result<Server, Output> {
        self.try_start_with(Stdio::piped())
    }

    #[track_caller]
    fn try_start_with(&self, stderr: Stdio) -> Result<Server, Output> {
        let mut command = self.command();
        let mut guard = Guard::spawn(command.stdout(Stdio::piped()).stderr(stderr));
        let stdout = Lines::of(guard.child().stdout.take().expect("a pipe"));
        let stderr = guard.child().stderr.take();
        let stderr = stderr.map_or_else(|| Lines::of(io::empty()), Lines::of);
        let Some(line) = stdout.next() else {
            let status = guard.await_end();
            return Err(Output { status, stdout: Vec::new(), stderr: stderr.rest() });
        };
        let outermost = guard.pid();
        let is_wrapped = !self.wrapper.is_empty();
        let pid = if is_wrapped { Process::innermost(outermost) } else { outermost };
        let (process, address) = (Process::open(pid), address_in(&line));
        Ok(Server { process, guard, address, stdout, stderr })
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(&self) -> Output {
        Output::of(&mut self.command())
    }
}

/// A server that listens; it is killed when it goes out of scope.
pub(crate) struct Server {
    /// The server itself, not the program it may run under.
    pub(crate) process: Process,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    guard: Guard,
    address: String,
}

impl Server {
    #[track_caller]
    pub(crate) fn start(mode: Mode) -> Self {
        Launch::tcp(mode).start()
    }

    /// The first address, as the server prints it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The address on the next line.
    #[track_caller]
    pub(crate) fn next_address(&self) -> String {
        address_in(&self.stdout.next().expect("one more address"))
    }

    /// The address of its metrics, which is on the line after its addresses.
    #[track_caller]
    pub(crate) fn metrics_address(&self) -> String {
        let line = self.stdout.next().expect("one more line");
        let address = line.strip_prefix("metrics at ");
        address.unwrap_or_else(|| panic!("not where its metrics are: {line:?}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn inet(&self) -> SocketAddr {
        self.address.parse().expect("an internet address")
    }

    /// A client at the first address.
    #[track_caller]
    pub(crate) fn client(&self) -> TcpStream {
        client(self.inet())
    }

    /// Ends it with a signal; when this returns, the program it ran under has ended too.
    #[track_caller]
    pub(crate) fn end(&mut self, signal: Signal) {
        self.process.signal(signal);
        self.guard.await_end();
    }

    /// Waits for it, and for the program it runs under, to end by itself.
    #[track_caller]
    pub(crate) fn await_end(&mut self) -> ExitStatus {
        self.guard.await_end()
    }

    /// Ends the server by a drain, which must not cut any connection.
    #[track_caller]
    pub(crate) fn drain(&mut self) {
        self.process.signal(Signal::TERM);
        assert_eq!(self.await_end().code(), Some(0), "{:#?}", self.stderr.rest());
    }

    #[track_caller]
    pub(crate) fn is_alive(&self) -> bool {
        !self.process.has_ended_within(std::time::Duration::ZERO)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // First the server: without its tracer it would run on.
        self.process.signal(Signal::KILL);
    }
}

#[track_caller]
fn address_in(line: &str) -> String {
    let address = line.strip_prefix("listening on ");
    address.unwrap_or_else(|| panic!("not where it listens: {line:?}")).to_owned()
}

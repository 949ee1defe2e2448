//! The restart of a service: the signal for it, and the program that is started.

use epoll_shutdown::Signal;
use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// The time that a new process has to become ready, unless another one is set.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A restart without a refused connection: when a signal comes, the program is started anew and takes over
/// the sockets, see [`Config::restart`](crate::Config::restart).
///
/// 1. The new process is started with the environment, the working directory and the standard streams of this one,
///    and with the signal mask that this process was started with.
/// 2. It calls [`Inherited::from_env`](crate::Inherited::from_env) and
///    [`Server::bind_inherited`](crate::Server::bind_inherited), which takes the sockets, each with its queue. When
///    all of its threads serve, it says so to this process.
/// 3. This process drains as after `SIGTERM`, but leaves the connections that wait in the queues to the new one, and
///    the paths of UNIX sockets too. Sockets that the new one has not taken are closed as ever. It does not take a
///    UNIX socket that this process has bound if nobody is found at its path any more, because it was deleted or has
///    the socket of a process that was killed, but binds the path anew.
///
/// If the new process cannot be started, ends, or is not ready in time, this one logs that and goes on serving; a
/// process that is late is killed. While a restart is under way and while the service drains, further
/// requests are logged and ignored. A signal to end that comes during a restart ends the new process, and this one
/// drains. After the hand-over the first signal to end changes nothing, because this process drains already; the next
/// one cuts its connections.
///
/// A process with the number 1 does not restart: the kernel ends all processes of a container with it.
///
/// # Examples
///
/// ```
/// use epoll_service::{Config, Inherited, Restart, Signal, Signals, Supervisor};
/// use std::time::Duration;
///
/// // First of all, while there is one thread.
/// let inherited = Inherited::from_env()?;
/// let signals = Signals::block([Signal::TERM, Signal::INT, Signal::USR2])?;
/// let config = Config {
///     restart: Some(Restart::on(Signal::USR2)?.ready_timeout(Some(Duration::from_secs(5)))),
///     supervisor: Supervisor::from_env()?,
///     ..Config::at(["127.0.0.1:0".parse()?])
/// };
/// // Then `Server::bind_inherited(service, &config, inherited)`, and `run(&signals, …)`.
/// # drop((inherited, signals, config));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Restart {
    signal: Signal,
    ready_timeout: Option<Duration>,
    command: Arc<dyn Fn() -> Command + Send + Sync>,
}

impl Restart {
    /// Restarts this program with the same arguments when `signal` comes, which the signals of
    /// [`Server::run`](crate::Server::run) must contain.
    ///
    /// The program is what is at its path then, so a new version may be there. The path is that by which this process
    /// was started, which may be a symbolic link, or else the one that the kernel knows.
    ///
    /// # Errors
    ///
    /// The path of this program is not known: `/proc` is missing, for example.
    pub fn on(signal: Signal) -> io::Result<Self> {
        let mut arguments = env::args_os();
        let name = arguments.next();
        let program = program(name.as_deref().map(Path::new))?;
        let arguments: Vec<_> = arguments.collect();
        Ok(Self::with_command(signal, move || {
            let mut command = Command::new(&program);
            command.args(&arguments);
            if let Some(name) = &name {
                command.arg0(name);
            }
            command
        }))
    }

    /// Restarts by another command when `signal` comes. It may set arguments, the environment and output streams; the
    /// standard input, the signal mask and the variables of the hand-over are set after it.
    #[must_use]
    pub fn with_command(
        signal: Signal,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        Self { signal, ready_timeout: Some(READY_TIMEOUT), command: Arc::new(command) }
    }

    /// Sets the time that the new process has to become ready, 30 seconds unless it is set; `None` is for ever.
    /// [`Handle::adjust`](crate::Handle::adjust) changes it later.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.ready_timeout = timeout;
        self
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.ready_timeout
    }

    pub(crate) fn command(&self) -> Command {
        (self.command)()
    }
}

impl fmt::Debug for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, ready_timeout, command: _ } = self;
        let mut debug = f.debug_struct("Restart");
        debug.field("signal", signal).field("ready_timeout", ready_timeout).finish_non_exhaustive()
    }
}

/// Returns the path at which to find this program again, which was started by `name`.
fn program(name: Option<&Path>) -> io::Result<PathBuf> {
    let running = env::current_exe()?;
    let Some(name) = name else { return Ok(running) };
    let candidates: Vec<PathBuf> = if name.components().count() > 1 {
        path::absolute(name).into_iter().collect()
    } else {
        // A bare name was looked for as a shell does.
        let folders = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&folders).map(|folder| folder.join(name)).collect()
    };
    // Whoever starts a program may give it any name.
    let found = candidates.into_iter().find(|path| is_same_file(path, &running));
    Ok(found.unwrap_or(running))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let number = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((number(one), number(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_program_is_found_by_the_name_that_it_was_started_by() {
        let running = env::current_exe().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("program");
        symlink(&running, &link).unwrap();
        assert_eq!(program(Some(&link)).unwrap(), link);
        // Other names say nothing of its path.
        for name in ["-program", "/nowhere/program", "sh", "/bin/sh", ""] {
            assert_eq!(program(Some(Path::new(name))).unwrap(), running, "{name}");
        }
        assert_eq!(program(None).unwrap(), running);
    }
}

//! Peers that are not written in Rust: built with what the system has, or left out with a reason.

use anyhow::{Context, bail};
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A peer in C or Go.
#[derive(Clone, Copy, Debug)]
pub struct Foreign {
    /// Its program.
    pub program: &'static str,
    language: Language,
}

#[derive(Clone, Copy, Debug)]
enum Language {
    C {
        source: &'static str,
        /// A header of the library. If it is missing, the library counts as not installed.
        header: &'static str,
        library: &'static str,
        /// Debian's package of header and library.
        package: &'static str,
    },
    Go,
}

/// The reason why a program was not built.
#[derive(Debug)]
pub enum LeftOut {
    /// Something has to be installed first.
    Missing {
        /// A program or a header.
        what: &'static str,
        /// Debian's package of it.
        package: &'static str,
    },
    /// Everything is there, and yet it could not be built.
    Failed(anyhow::Error),
}

/// All of them.
pub const ALL: [Foreign; 6] = [
    c("peer-libuv", "libuv.c", "uv.h", "uv", "libuv1-dev"),
    c("peer-libevent", "libevent.c", "event2/event.h", "event_core", "libevent-dev"),
    c("peer-bufferevent", "bufferevent.c", "event2/bufferevent.h", "event_core", "libevent-dev"),
    c("peer-libev", "libev.c", "ev.h", "ev", "libev-dev"),
    c("peer-uring", "uring.c", "liburing.h", "uring", "liburing-dev"),
    Foreign { program: "peer-go", language: Language::Go },
];

const fn c(
    program: &'static str,
    source: &'static str,
    header: &'static str,
    library: &'static str,
    package: &'static str,
) -> Foreign {
    Foreign { program, language: Language::C { source, header, library, package } }
}

/// Returns the path of the file that says why a program is missing.
#[must_use]
pub fn reason_file(folder: &Path, program: &str) -> PathBuf {
    folder.join(format!("{program}.left-out"))
}

impl Foreign {
    /// Builds it into a folder, and returns where it is.
    ///
    /// # Errors
    ///
    /// What is missing, or what the compiler says.
    pub fn build(&self, folder: &Path) -> Result<PathBuf, LeftOut> {
        let program = folder.join(self.program);
        // The last one may be running, and a build that fails leaves none.
        let new = folder.join(format!("{}.new", self.program));
        match self.language {
            Language::C { source, header, library, package } => {
                find_compiler()?;
                find_header(header, package)?;
                compile(source, library, &new)
            }
            Language::Go => build_go(&new),
        }?;
        fs::rename(&new, &program).context("failed to put it into place")?;
        Ok(program)
    }

    /// Builds it too, and in place of a program that cannot be built writes a file with the reason.
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub fn build_or_say_why(&self, folder: &Path) -> io::Result<Result<(), String>> {
        let reason = reason_file(folder, self.program);
        match self.build(folder) {
            Ok(_) => remove(&reason).map(Ok),
            Err(why) => {
                remove(&folder.join(self.program))?;
                fs::write(&reason, format!("{why}\n"))?;
                Ok(Err(why.to_string()))
            }
        }
    }
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(language)
}

fn find_compiler() -> Result<(), LeftOut> {
    run(Command::new("cc").arg("--version"), "cc", "gcc").map(drop)
}

fn find_header(header: &'static str, package: &'static str) -> Result<(), LeftOut> {
    // Without a source file there is nothing to be preprocessed but the header.
    let mut command = Command::new("cc");
    command.args(["-E", "-include", header, "-x", "c", "/dev/null"]);
    if run(&mut command, "cc", "gcc")?.status.success() {
        return Ok(());
    }
    Err(LeftOut::Missing { what: header, package })
}

fn compile(source: &str, library: &str, program: &Path) -> Result<(), LeftOut> {
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", source, "common.c", "-o"]);
    command.arg(program).arg(format!("-l{library}")).current_dir(sources("c"));
    succeed(&run(&mut command, "cc", "gcc")?)
}

fn build_go(program: &Path) -> Result<(), LeftOut> {
    let mut command = Command::new("go");
    command.args(["build", "-trimpath", "-o"]).arg(program).arg(".").current_dir(sources("go"));
    // It has no dependencies, so nothing is to be downloaded, no newer compiler either.
    command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env("GOWORK", "off");
    succeed(&run(&mut command, "go", "golang-go")?)
}

fn run(
    command: &mut Command,
    what: &'static str,
    package: &'static str,
) -> Result<Output, LeftOut> {
    match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(LeftOut::Missing { what, package })
        }
        done => Ok(done.with_context(|| format!("failed to start {what}"))?),
    }
}

/// Returns the first line with an error of the compiler as an error.
fn succeed(output: &Output) -> Result<(), LeftOut> {
    let complain = || {
        let text = String::from_utf8_lossy(&output.stderr);
        let is_error = |line: &&str| line.contains("error");
        let line = text.lines().find(is_error).or_else(|| text.lines().last());
        bail!("it cannot be built: {}", line.unwrap_or("its compiler does not say why"))
    };
    if output.status.success() { Ok(()) } else { Ok(complain()?) }
}

impl From<anyhow::Error> for LeftOut {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl Display for LeftOut {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { what, package } => {
                write!(f, "{what} is not installed (Debian package {package})")
            }
            Self::Failed(error) => write!(f, "{error:#}"),
        }
    }
}

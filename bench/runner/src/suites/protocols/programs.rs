//! The servers of this suite: ours, most of which are examples, and the programs that they are compared with,
//! each with its configuration in a folder of its own.

use super::configuration::{haproxy, nginx, nginx_tls};
use super::direct::Dial;
use super::tls;
use crate::context::Context;
use crate::paths::Paths;
use crate::server::Server;
use anyhow::{Context as _, bail};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A server program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Redis,
    Nginx,
    NginxTls,
    Haproxy,
    /// An example of this repository, which takes `ADDRESS` and then these arguments. `BACKEND` among
    /// them stands for the backend's address.
    Example(&'static str, &'static [&'static str]),
    /// The example http over TLS, a program of the benchmarks.
    Https,
    /// epoll-server over TLS.
    TlsEcho,
    /// An echo over TLS, a program of the benchmarks.
    TokioRustls,
}

/// The end of the command lines of [`Program::Https`] and [`Program::TokioRustls`].
const IDENTITY: &[&str] = &["CERTIFICATE", "KEY"];
const TLS_ECHO: &[&str] =
    &["--tls-cert", "CERTIFICATE", "--tls-key", "KEY", "--threads", "1", "--log", "error"];

/// Folders in which Debian has servers, and which are not in everybody's PATH.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Finds a program as a shell would, and where Debian has servers.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

impl Program {
    /// Returns the name in tables, which for examples is that of the project.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Nginx | Self::NginxTls => "nginx",
            Self::Haproxy => "HAProxy",
            Self::TokioRustls => "tokio-rustls",
            Self::Example(..) | Self::Https | Self::TlsEcho => "epoll-kit",
        }
    }

    /// Returns whether it speaks TLS, and so needs a certificate.
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Self::NginxTls | Self::Https | Self::TlsEcho | Self::TokioRustls)
    }

    /// Returns its path, or why there is none.
    pub(crate) fn locate(self, paths: &Paths) -> Result<PathBuf, String> {
        let name = match self {
            Self::Redis => "redis-server",
            Self::Nginx | Self::NginxTls => "nginx",
            Self::Haproxy => "haproxy",
            Self::Example(name, _) => {
                return built(&paths.programs.join("examples"), name)
                    .ok_or_else(|| format!("there is no example {name}"));
            }
            Self::TlsEcho => return built_program(&paths.programs, "epoll-server"),
            Self::Https => return built_program(&paths.bench_programs, "https"),
            Self::TokioRustls => return built_program(&paths.bench_programs, "peer-tokio-rustls"),
        };
        find(name).ok_or_else(|| format!("{name} is not installed"))
    }

    /// Returns the arguments for one thread, and writes the files that they name.
    fn arguments(
        self,
        folder: &Path,
        listen: SocketAddr,
        backend: SocketAddr,
    ) -> anyhow::Result<Vec<String>> {
        let shown = folder.to_str().context("the temporary folder is not UTF-8")?;
        let file = |name: &str, text: String| {
            fs::write(folder.join(name), text)
                .with_context(|| format!("failed to write {name}"))?;
            anyhow::Ok(format!("{shown}/{name}"))
        };
        let port = listen.port().to_string();
        let words = match self {
            Self::Redis => vec![
                "--bind",
                "127.0.0.1",
                "--port",
                &port,
                "--dir",
                shown,
                "--save",
                "",
                "--appendonly",
                "no",
                "--io-threads",
                "1",
            ],
            Self::Nginx | Self::NginxTls => {
                let text =
                    if self.has_tls() { nginx_tls(shown, listen) } else { nginx(shown, listen) };
                let path = file("nginx.conf", text)?;
                return Ok(["-p", shown, "-c", &path, "-e", "stderr"].map(str::to_owned).to_vec());
            }
            Self::Haproxy => {
                let path = file("haproxy.cfg", haproxy(listen, backend))?;
                return Ok(["-db", "-f", &path].map(str::to_owned).to_vec());
            }
            Self::Example(..) | Self::Https | Self::TlsEcho | Self::TokioRustls => {
                let filled = self.words().into_iter().map(|word| match word {
                    "ADDRESS" => listen.to_string(),
                    "BACKEND" => backend.to_string(),
                    "CERTIFICATE" => format!("{shown}/{}", tls::CERTIFICATE),
                    "KEY" => format!("{shown}/{}", tls::KEY),
                    word => word.to_owned(),
                });
                return Ok(filled.collect());
            }
        };
        Ok(words.into_iter().map(str::to_owned).collect())
    }

    /// Returns the arguments of a program that is built from this repository, with names in the place of what is
    /// not known yet.
    fn words(self) -> Vec<&'static str> {
        match self {
            Self::Example(_, arguments) => [&["ADDRESS"], arguments].concat(),
            Self::Https | Self::TokioRustls => [&["ADDRESS"], IDENTITY].concat(),
            Self::TlsEcho => [&["--listen", "ADDRESS"], TLS_ECHO].concat(),
            Self::Redis | Self::Nginx | Self::NginxTls | Self::Haproxy => Vec::new(),
        }
    }

    /// Returns the command line of a program of ours with its arguments, from the root of the repository. A program
    /// with TLS has its certificate in `target/bench`.
    pub(crate) fn by_hand(self, address: &str) -> String {
        let program = match self {
            Self::Example(name, _) => format!("target/release/examples/{name}"),
            Self::Https => "bench/target/release/https".to_owned(),
            Self::TlsEcho => "target/release/epoll-server".to_owned(),
            _ => return String::new(),
        };
        self.words().into_iter().fold(program, |line, word| match word {
            "ADDRESS" => format!("{line} {address}"),
            "CERTIFICATE" => format!("{line} target/bench/{}", tls::CERTIFICATE),
            "KEY" => format!("{line} target/bench/{}", tls::KEY),
            word => format!("{line} {word}"),
        })
    }
}

fn built(folder: &Path, name: &str) -> Option<PathBuf> {
    Some(folder.join(name)).filter(|program| program.is_file())
}

fn built_program(folder: &Path, name: &str) -> Result<PathBuf, String> {
    built(folder, name).ok_or_else(|| format!("there is no program {name}"))
}

/// A started server and the folder of its files.
pub(crate) struct Running {
    // Dropped first: the process ends before its folder goes.
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    /// The backend of a proxy.
    pub(crate) backend: TcpListener,
    /// The configuration of a client over TLS.
    tls: Option<tls::Client>,
    _folder: TempDir,
}

impl Running {
    /// Returns the way to it.
    pub(crate) fn dial(&self) -> Dial<'_> {
        Dial { address: self.address, tls: self.tls.as_ref() }
    }
}

/// Starts a program on the server's core; it accepts connections when this returns.
pub(crate) fn start(context: &Context, program: Program, label: &str) -> anyhow::Result<Running> {
    let path = match program.locate(&context.paths) {
        Ok(path) => path,
        Err(message) => bail!(message),
    };
    let folder = TempDir::new().context("failed to create a temporary folder")?;
    let tls = program.has_tls().then(|| tls::certify(folder.path())).transpose()?;
    let listen = free_address().context("failed to find a free port")?;
    let backend = TcpListener::bind("127.0.0.1:0").context("failed to listen for the proxy")?;
    let mut command = Command::new(path);
    command.args(program.arguments(folder.path(), listen, backend.local_addr()?)?);
    let server = Server::start_at(context, label, command, listen)?;
    Ok(Running { server, address: listen, backend, tls, _folder: folder })
}

/// Returns an address at which nobody listens. In a network namespace of its own nobody takes it before
/// the server does; elsewhere the server says so.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Asks a program for its version: the first word that looks like one.
pub(crate) fn version_of(name: &str) -> Option<String> {
    let flag = match name {
        "redis-server" | "redis-benchmark" => "--version",
        "openssl" => "version",
        _ => "-v",
    };
    let output = Command::new(find(name)?).arg(flag).stdin(Stdio::null()).output().ok()?;
    // nginx writes to stderr; wrk takes its own question for an error.
    let text = [output.stdout, output.stderr].concat();
    Some(format!("{name} {}", version(&String::from_utf8_lossy(&text))?))
}

fn version(text: &str) -> Option<String> {
    text.split_whitespace().find_map(|word| {
        let tail = &word[word.find(|c: char| c.is_ascii_digit())?..];
        let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && !".+-".contains(c));
        let found = &tail[..end.unwrap_or(tail.len())];
        found.contains('.').then(|| found.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, expected) in [
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0", "7.0.15"),
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            ("OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026)", "3.0.19"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17", "2.6.12-1+deb12u4"),
            ("wrk debian/4.1.0-3+b2 [epoll]", "4.1.0-3+b2"),
        ] {
            assert_eq!(version(text).as_deref(), Some(expected));
        }
        assert_eq!(version("no number"), None);
    }

    #[test]
    fn arguments_are_filled_in() {
        let folder = TempDir::new().unwrap();
        let words = |program: Program| {
            program.arguments(folder.path(), address(81), address(82)).unwrap().join(" ")
        };
        let proxy = Program::Example("proxy", &["BACKEND"]);
        assert_eq!(words(proxy), "127.0.0.1:81 127.0.0.1:82");
        assert!(words(Program::Redis).contains("--port 81 "));
        assert!(words(Program::Redis).contains("--save  --appendonly no"));
        assert!(words(Program::Haproxy).ends_with("/haproxy.cfg"));
        assert!(fs::read_to_string(folder.path().join("haproxy.cfg")).unwrap().contains(":82"));
        assert!(words(Program::Nginx).contains("nginx.conf"));
        assert!(!fs::read_to_string(folder.path().join("nginx.conf")).unwrap().contains("ssl"));
        assert!(words(Program::NginxTls).contains("nginx.conf"));
        assert!(fs::read_to_string(folder.path().join("nginx.conf")).unwrap().contains("ssl"));
        let shown = folder.path().display();
        let identity = format!("{shown}/certificate.pem {shown}/key.pem");
        assert_eq!(words(Program::Https), format!("127.0.0.1:81 {identity}"));
        let echo = words(Program::TlsEcho);
        assert!(echo.starts_with("--listen 127.0.0.1:81 --tls-cert /"), "{echo}");
    }

    #[test]
    fn command_lines_of_ours_can_be_typed() {
        let https = Program::Https.by_hand("127.0.0.1:8080");
        let files = "target/bench/certificate.pem target/bench/key.pem";
        assert_eq!(https, format!("bench/target/release/https 127.0.0.1:8080 {files}"));
        let resp = Program::Example("resp", &["1"]).by_hand("127.0.0.1:8080");
        assert_eq!(resp, "target/release/examples/resp 127.0.0.1:8080 1");
    }

    #[test]
    fn programs_are_found_or_named() {
        assert!(find("sh").is_some());
        let none = Program::Example("none", &[]).locate(&Paths::default());
        assert_eq!(none.unwrap_err(), "there is no example none");
        let none = Program::Https.locate(&Paths::default());
        assert_eq!(none.unwrap_err(), "there is no program https");
    }
}

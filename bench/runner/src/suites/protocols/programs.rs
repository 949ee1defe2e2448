//! The servers of this suite: ours, which are examples, and the programs that they are compared with,
//! each with its configuration in a folder of its own.

use crate::bench::{Bench, Paths};
use crate::server::Server;
use anyhow::{Context, bail};
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
    Haproxy,
    /// An example of this workspace, which takes `ADDRESS` and then these arguments. `BACKEND` among
    /// them stands for the backend's address, `CERTIFICATE` and `KEY` for files.
    Example(&'static str, &'static [&'static str]),
}

/// Folders in which Debian has servers, and which are not in everybody's PATH.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Finds a program as a shell would, and where Debian has servers.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

impl Program {
    /// The name in tables, which for examples is that of the project.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Example(..) => "epoll-kit",
        }
    }

    /// Returns its path, or why there is none.
    pub(crate) fn locate(self, paths: &Paths) -> Result<PathBuf, String> {
        let name = match self {
            Self::Redis => "redis-server",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Example(name, _) => {
                let program = paths.programs.join("examples").join(name);
                return if program.is_file() {
                    Ok(program)
                } else {
                    Err(format!("there is no example {name}"))
                };
            }
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
            Self::Nginx => {
                let path = file("nginx.conf", nginx(shown, listen))?;
                return Ok(["-p", shown, "-c", &path, "-e", "stderr"].map(str::to_owned).to_vec());
            }
            Self::Haproxy => {
                let path = file("haproxy.cfg", haproxy(listen, backend))?;
                return Ok(["-db", "-f", &path].map(str::to_owned).to_vec());
            }
            Self::Example(_, arguments) => {
                let filled = arguments.iter().map(|word| match *word {
                    "BACKEND" => backend.to_string(),
                    "CERTIFICATE" => format!("{shown}/cert.pem"),
                    "KEY" => format!("{shown}/key.pem"),
                    word => word.to_owned(),
                });
                return Ok(std::iter::once(listen.to_string()).chain(filled).collect());
            }
        };
        Ok(words.into_iter().map(str::to_owned).collect())
    }

    /// The command line of an example with its arguments, from the root of the repository.
    pub(crate) fn by_hand(self, address: &str) -> String {
        let Self::Example(name, arguments) = self else { return String::new() };
        let words = std::iter::once(&address).chain(arguments).copied();
        words.fold(format!("target/release/examples/{name}"), |line, word| line + " " + word)
    }
}

/// One process: a process without a master does the same work for a request, and has no privileges to
/// drop, which a user namespace would not allow.
fn nginx(folder: &str, listen: SocketAddr) -> String {
    let kib = "x".repeat(1024);
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {folder}/nginx.pid;\n\
         error_log stderr error;\nevents {{ worker_connections 8192; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n  keepalive_timeout 3600s;\n\
         {folders}  default_type text/plain;\n  server {{\n    listen {listen} backlog=4096;\n\
         \x20   location = / {{ return 200 \"ok\"; }}\n    location = /1k {{ return 200 \"{kib}\"; }}\n\
         \x20 }}\n}}\n"
    )
}

fn haproxy(listen: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n\
         \x20 timeout client 60s\n  timeout server 60s\nlisten proxy\n  bind {listen}\n\
         \x20 server backend {backend}\n"
    )
}

/// A started server and the folder of its files.
pub(crate) struct Running {
    // Dropped first: the process ends before its folder goes.
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    /// What a proxy connects to.
    pub(crate) backend: TcpListener,
    _folder: TempDir,
}

/// Starts a program on the server's core; it accepts connections when this returns.
pub(crate) fn start(bench: &Bench, program: Program, label: &str) -> anyhow::Result<Running> {
    let path = match program.locate(&bench.paths) {
        Ok(path) => path,
        Err(message) => bail!(message),
    };
    let folder = TempDir::new().context("failed to create a temporary folder")?;
    let listen = free_address().context("failed to find a free port")?;
    let backend = TcpListener::bind("127.0.0.1:0").context("failed to listen for the proxy")?;
    let mut command = Command::new(path);
    command.args(program.arguments(folder.path(), listen, backend.local_addr()?)?);
    let server = Server::start_at(bench, label, command, listen)?;
    Ok(Running { server, address: listen, backend, _folder: folder })
}

/// Returns an address at which nobody listens. In a network namespace of its own nobody takes it before
/// the server does; elsewhere the server says so.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Asks a program for its version: the first word that looks like one.
pub(crate) fn version_of(name: &str) -> Option<String> {
    let flag = if name.starts_with("redis") { "--version" } else { "-v" };
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
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17", "2.6.12-1+deb12u4"),
            ("wrk debian/4.1.0-3+b2 [epoll]", "4.1.0-3+b2"),
        ] {
            assert_eq!(version(text).as_deref(), Some(expected));
        }
        assert_eq!(version("no number"), None);
    }

    #[test]
    fn configurations_ask_for_one_thread_and_name_the_addresses() {
        let nginx = nginx("/folder", address(81));
        for part in ["worker_processes 1;", "listen 127.0.0.1:81 ", "access_log off;"] {
            assert!(nginx.contains(part), "{nginx}");
        }
        assert_eq!(nginx.matches('{').count(), nginx.matches('}').count());
        let haproxy = haproxy(address(82), address(83));
        for part in ["nbthread 1\n", "bind 127.0.0.1:82\n", "server backend 127.0.0.1:83\n"] {
            assert!(haproxy.contains(part), "{haproxy}");
        }
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
    }

    #[test]
    fn programs_are_found_or_named() {
        assert!(find("sh").is_some());
        let none = Program::Example("none", &[]).locate(&Paths::default());
        assert_eq!(none.unwrap_err(), "there is no example none");
    }
}

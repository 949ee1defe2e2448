//! Builds what the suites start, in the release profile.

use crate::paths::Paths;
use crate::print::print_line;
use crate::suite::{Programs, Suite};
use anyhow::{Context, ensure};
use std::env;
use std::process::Command;

/// The arguments of `cargo` in the root of the repository and in its folder `bench`.
struct Builds {
    root: &'static [&'static str],
    bench: &'static str,
}

/// Builds the programs of these suites. Cargo says what it does; Ctrl-C ends both.
pub(crate) fn build(paths: &Paths, suites: &[&dyn Suite]) -> anyhow::Result<()> {
    let bench_folder = paths.root.join("bench");
    let Some(programs) = suites.iter().map(|suite| suite.programs()).max() else { return Ok(()) };
    let builds = builds(programs);
    let of_root = builds.root.iter().map(|words| (&paths.root, *words));
    for (folder, words) in of_root.chain([(&bench_folder, builds.bench)]) {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(words.split(' ')).current_dir(folder);
        run(cargo, &format!("cargo {words}"))?;
    }
    if programs > Programs::Micro {
        // Peers in C and Go, as far as their compilers and libraries are installed.
        let mut builder = Command::new(paths.bench_programs.join("build-peers"));
        builder.current_dir(bench_folder);
        run(builder, "build-peers")?;
    }
    Ok(())
}

fn builds(programs: Programs) -> Builds {
    const SERVERS: &str = "build --release -p epoll-server -p epoll-load";
    const EXAMPLES: &str = "build --release -p epoll-service --examples";
    // This program runs already.
    const BENCH: &str = "build --release --workspace --exclude epoll-kit-bench-runner --bins";
    match programs {
        Programs::Micro => {
            Builds { root: &[], bench: "build --release -p epoll-kit-bench-micro --bins" }
        }
        Programs::Servers => Builds { root: &[SERVERS], bench: BENCH },
        Programs::Examples => Builds { root: &[SERVERS, EXAMPLES], bench: BENCH },
    }
}

fn run(mut command: Command, shown: &str) -> anyhow::Result<()> {
    print_line(&format!("$ {shown}"));
    let status = command.status().with_context(|| format!("failed to start `{shown}`"))?;
    ensure!(status.success(), "`{shown}` failed: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites;

    #[test]
    fn only_what_a_suite_starts_is_built_for_it() {
        let programs = |name| suites::find(name).unwrap().programs();
        assert!(builds(programs("wake")).root.is_empty());
        assert_eq!(builds(programs("echo")).root.len(), 1);
        assert!(builds(programs("protocols")).root[1].ends_with("--examples"));
        assert!(builds(programs("wake").max(programs("echo"))).bench.contains("--workspace"));
    }
}

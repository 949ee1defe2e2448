//! Tests of the files that come with the programs: man pages, completions, units of systemd, and an example of a
//! configuration.

use crate::harness::{Launch, Output, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn contrib(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib").join(name)
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = Output::of(command);
    assert!(output.status.success(), "{command:?}: {output:#?}");
    output
}

#[test]
fn man_pages_and_completions_name_every_flag() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(Command::new(env!("CARGO_BIN_EXE_epoll-kit-dist")).arg(folder.path()));
    let help = Launch::bare().switch("--help").run().stdout.join("\n");
    // Each stands at the beginning of a line, some after the short form.
    let flags: Vec<_> = help
        .lines()
        .map(|line| line.trim_start().trim_start_matches("-h, ").trim_start_matches("-V, "))
        .filter_map(|line| line.strip_prefix("--"))
        .map(|line| line.split([' ', '=', '[']).next().unwrap())
        .collect();
    assert!(["max-connections", "config", "pin"].iter().all(|name| flags.contains(name)), "{help}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    // A hyphen is written so in man pages.
    let man = read("man/epoll-server.1").replace("\\-", "-");
    assert!(man.contains("EPOLL_SERVER_STATS_JSON"), "{man}");
    for name in flags {
        let long = format!("--{name}");
        assert!(man.contains(&long), "{name}: {man}");
        assert!(read("completions/epoll-server.bash").contains(&long), "{name}");
        assert!(read("completions/_epoll-server").contains(&long), "{name}");
        assert!(read("completions/epoll-server.fish").contains(&format!("-l {name}")), "{name}");
    }
    assert!(read("man/epoll-load.1").replace("\\-", "-").contains("--connections"));
    for name in ["epoll-server.bash", "epoll-load.bash"] {
        let Some(bash) = tool("bash") else { return };
        succeeds(bash.command().arg("-n").arg(folder.path().join("completions").join(name)));
    }
}

#[test]
fn the_units_of_systemd_are_right() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for name in ["epoll-server.service", "epoll-server.socket"] {
        let text = fs::read_to_string(contrib("systemd").join(name)).unwrap();
        // systemd looks for the program.
        let text = text.replace("/usr/bin/epoll-server", Launch::program());
        let unit = folder.path().join(name);
        fs::write(&unit, text).unwrap();
        units.push(unit);
    }
    let output = succeeds(analyze.command().args(["verify", "--man=no"]).args(&units));
    let complaints: Vec<_> =
        output.stderr.iter().filter(|line| line.contains("epoll-server")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn the_example_of_a_configuration_is_right_with_each_line_that_is_commented_out() {
    let text = fs::read_to_string(contrib("epoll-server.toml")).unwrap();
    let mut files = vec![text.clone()];
    let lines: Vec<_> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        // The group is not on every machine.
        let Some(setting) = line.strip_prefix('#').filter(|it| it.starts_with(char::is_alphabetic))
        else {
            continue;
        };
        let name = setting.split(" = ").next().unwrap();
        let mut changed: Vec<_> =
            lines.iter().filter(|it| !it.starts_with(&format!("{name} = "))).copied().collect();
        let at = at - (lines.len() - changed.len());
        changed[at] = setting;
        files.push(changed.join("\n"));
    }
    assert!(files.len() > 5, "{files:#?}");
    for file in files {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // Permissions need a path.
        let file = file.replace("[\"127.0.0.1:8080\"]", "[\"unix:/a\"]").replace(":www-data", ":0");
        fs::write(&path, &file).unwrap();
        let output = Launch::bare().flag("--config", &path).switch("--check").run();
        assert!(output.status.success(), "{output:#?}\n{file}");
    }
}

//! The built program: its exit status, what it says about tests that were left out, and what it
//! packs. The workspace it runs in is made here, so that the outcome does not depend on the one
//! around.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MANIFEST: &str = r#"
[workspace]
[package]
name = "scratch"
version = "0.0.0"
edition = "2024"
"#;

/// One test that leaves itself out.
const LIBRARY: &str = r#"
#[test]
fn leaves_itself_out() {
    let path = std::env::var_os("EPOLL_KIT_LEFT_OUT").unwrap();
    std::fs::write(path, "leaves_itself_out\tvalgrind\tvalgrind\n").unwrap();
}
"#;

fn scratch_workspace(name: &str, library: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("Cargo.toml"), MANIFEST).unwrap();
    fs::write(folder.join("src/lib.rs"), library).unwrap();
    folder
}

const TWO_PACKAGES: &str = r#"
[workspace]
resolver = "3"
members = ["low", "high"]
"#;

/// A workspace of two packages that leave their tests out. `scratch-high` has this library and
/// depends on `scratch-low`.
fn two_packages(name: &str, library: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let below = "[dependencies]\nscratch-low = { path = \"../low\", version = \"0.1.0\" }\n";
    for (package, code, dependencies) in
        [("low", "pub const LOW: u32 = 1;\n", ""), ("high", library, below)]
    {
        let head = format!("[package]\nname = \"scratch-{package}\"\nversion = \"0.1.0\"\n");
        let manifest = head + "edition = \"2024\"\nexclude = [\"/tests\"]\n" + dependencies;
        fs::create_dir_all(folder.join(package).join("src")).unwrap();
        fs::create_dir_all(folder.join(package).join("tests")).unwrap();
        fs::write(folder.join(package).join("Cargo.toml"), manifest).unwrap();
        fs::write(folder.join(package).join("src/lib.rs"), code).unwrap();
        fs::write(folder.join(package).join("tests/data.txt"), "not packed").unwrap();
        fs::write(folder.join(package).join("tests/fails.rs"), "compile_error!();").unwrap();
    }
    fs::write(folder.join("Cargo.toml"), TWO_PACKAGES).unwrap();
    folder
}

/// `cargo xtask package` without a network. No registry has the packages.
fn pack(folder: &Path) -> Command {
    let mut command = xtask(folder, &["package"]);
    command.env("CARGO_NET_OFFLINE", "true");
    command
}

fn xtask(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args).current_dir(folder);
    command.env("CARGO_TARGET_DIR", folder.join("target")).env_remove("CI");
    command
}

#[track_caller]
fn exits_with(mut command: Command, status: i32) -> (String, String) {
    let Output { status: actual, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert_eq!(actual.code(), Some(status), "{stdout}\n{stderr}");
    (stdout, stderr)
}

#[test]
fn a_wrong_command_line_is_one_line_and_status_2() {
    for args in [&["bild"][..], &["test", "--fast"], &[]] {
        let (stdout, stderr) = exits_with(xtask(Path::new("."), args), 2);
        assert_eq!(stdout, "");
        assert!(stderr.starts_with("xtask: "), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn help_goes_to_standard_output() {
    let (stdout, _) = exits_with(xtask(Path::new("."), &["--help"]), 0);
    assert!(stdout.starts_with("Usage: cargo xtask"), "{stdout}");
}

#[test]
fn an_unknown_package_is_answered_with_the_known_ones() {
    let folder = scratch_workspace("unknown", LIBRARY);
    let (_, stderr) = exits_with(xtask(&folder, &["test", "other"]), 2);
    assert!(stderr.ends_with("which has: scratch\n"), "{stderr}");
}

#[test]
fn what_was_left_out_is_named_at_the_end() {
    let folder = scratch_workspace("left-out", LIBRARY);
    let (stdout, _) = exits_with(xtask(&folder, &["test"]), 0);
    let expected = "left out: 1 test needs valgrind (Debian package valgrind): leaves_itself_out\n";
    assert!(stdout.contains(expected), "{stdout}");
    assert!(stdout.contains("$ cargo test -p scratch\n"), "{stdout}");
    assert!(stdout.contains("$ cargo check --workspace"), "{stdout}");
}

#[test]
fn ci_leaves_nothing_out() {
    let folder = scratch_workspace("ci", LIBRARY);
    let mut command = xtask(&folder, &["test", "scratch"]);
    command.env("CI", "true");
    let (stdout, stderr) = exits_with(command, 1);
    assert!(stdout.contains("left out: 1 test needs valgrind"), "{stdout}");
    assert!(stderr.contains("`nothing is left out` failed"), "{stderr}");
}

#[test]
fn a_step_that_fails_is_named_and_ends_the_run() {
    let folder = scratch_workspace("failing", "#[test]\nfn fails() {\n    panic!()\n}\n");
    let (stdout, stderr) = exits_with(xtask(&folder, &["test"]), 1);
    assert!(stderr.contains("xtask: step `cargo test -p scratch` failed"), "{stderr}");
    assert!(!stdout.contains("$ cargo check"), "{stdout}");
}

#[test]
fn packages_are_tested_against_each_other_as_packed() {
    let library = "#[test]\nfn sees_what_is_below() {\n    assert_eq!(scratch_low::LOW, 1);\n}\n";
    let folder = two_packages("packed", library);
    let (stdout, _) = exits_with(pack(&folder), 0);
    assert!(stdout.contains("test sees_what_is_below ... ok"), "{stdout}");
    assert!(folder.join("target/package/scratch-high-0.1.0.crate").is_file());

    // The next run builds what it has packed itself.
    fs::write(folder.join("low/src/lib.rs"), "pub const LOW: u32 = 2;\n").unwrap();
    let (stdout, _) = exits_with(pack(&folder), 1);
    assert!(stdout.contains("test sees_what_is_below ... FAILED"), "{stdout}");
}

#[test]
fn a_package_that_needs_a_file_it_leaves_out_is_refused() {
    let library = "pub const DATA: &str = include_str!(\"../tests/data.txt\");\n";
    let folder = two_packages("incomplete", library);
    // From an earlier run, and no longer packed.
    let old_tests = folder.join("target/unpacked/scratch-high-0.1.0/tests");
    fs::create_dir_all(&old_tests).unwrap();
    fs::write(old_tests.join("data.txt"), "packed").unwrap();
    let (_, stderr) = exits_with(pack(&folder), 1);
    let expected = "xtask: step `cargo build --manifest-path target/unpacked/Cargo.toml \
                    --target-dir target -p scratch-high` failed";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn a_workspace_that_publishes_nothing_has_nothing_to_pack() {
    let folder = scratch_workspace("private", "");
    fs::write(folder.join("Cargo.toml"), MANIFEST.to_owned() + "publish = false\n").unwrap();
    let (_, stderr) = exits_with(pack(&folder), 1);
    assert_eq!(stderr, "xtask: no package of this workspace is published\n");
}

#[test]
fn nobody_has_to_read_what_it_prints() {
    let folder = scratch_workspace("unread", "");
    let mut command = xtask(&folder, &["help"]);
    // Every write to it fails.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    command.stdout(full);
    exits_with(command, 0);
}

//! The built program: its exit status, and what it packs. The workspace it runs in is made here, so that the outcome
//! does not depend on the one around.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes a workspace of two packages. `scratch-high` has this library and depends on `scratch-low`.
fn two_packages(name: &str, library: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let below = "[dependencies]\nscratch-low = { path = \"../low\", version = \"0.1.0\" }\n";
    let low = ("low", "pub const LOW: u32 = 1;\n", "");
    for (package, code, dependencies) in [low, ("high", library, below)] {
        let head = format!("[package]\nname = \"scratch-{package}\"\nversion = \"0.1.0\"\n");
        let manifest = head + "edition = \"2024\"\nexclude = [\"/tests\"]\n" + dependencies;
        let package = folder.join(package);
        fs::create_dir_all(package.join("src")).unwrap();
        fs::create_dir_all(package.join("tests")).unwrap();
        fs::write(package.join("Cargo.toml"), manifest).unwrap();
        fs::write(package.join("src/lib.rs"), code).unwrap();
        fs::write(package.join("tests/data.txt"), "not packed").unwrap();
    }
    let manifest = "[workspace]\nresolver = \"3\"\nmembers = [\"low\", \"high\"]\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("Cargo.lock"), "version = 4\n").unwrap();
    folder
}

/// Runs it without a network. Returns all that is printed.
#[track_caller]
fn exits_with(status: i32, folder: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args).current_dir(folder).env("CARGO_NET_OFFLINE", "true");
    let output = command.env("CARGO_TARGET_DIR", folder.join("target")).output().unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{printed}");
    printed
}

#[test]
fn a_wrong_command_line_is_status_2_and_help_is_printed() {
    for args in [&["bild"][..], &["lint", "twice"], &[]] {
        assert_eq!(exits_with(2, Path::new("."), args).lines().count(), 1);
    }
    assert!(exits_with(0, Path::new("."), &["test", "--help"]).starts_with("Usage: cargo xtask"));
}

#[test]
fn a_test_that_fails_ends_the_run() {
    let folder = two_packages("failing", "#[test]\nfn fails() {\n    panic!()\n}\n");
    let printed = exits_with(1, &folder, &["test"]);
    assert!(printed.contains("`cargo test -p scratch-high`"), "{printed}");
    assert!(exits_with(0, &folder, &["test", "scratch-low"]).contains("cargo test -p scratch-low"));
    let printed = exits_with(1, &folder, &["test", "other"]);
    assert!(printed.ends_with("which has: scratch-low, scratch-high\n"), "{printed}");
}

#[test]
fn packages_are_tested_against_each_other_as_packed() {
    let library = "#[test]\nfn sees_what_is_below() {\n    assert_eq!(scratch_low::LOW, 1);\n}\n";
    let folder = two_packages("packed", library);
    let printed = exits_with(0, &folder, &["package"]);
    assert!(printed.contains("test sees_what_is_below ... ok"), "{printed}");
    assert!(folder.join("target/package/scratch-high-0.1.0.crate").is_file());

    // The next run builds what it has packed itself.
    fs::write(folder.join("low/src/lib.rs"), "pub const LOW: u32 = 2;\n").unwrap();
    let printed = exits_with(1, &folder, &["package"]);
    assert!(printed.contains("test sees_what_is_below ... FAILED"), "{printed}");
}

#[test]
fn a_package_that_needs_a_file_it_leaves_out_is_refused() {
    let library = "pub const DATA: &str = include_str!(\"../tests/data.txt\");\n";
    let folder = two_packages("incomplete", library);
    // From an earlier run, and no longer packed.
    let old_tests = folder.join("target/unpacked/scratch-high-0.1.0/tests");
    fs::create_dir_all(&old_tests).unwrap();
    fs::write(old_tests.join("data.txt"), "packed").unwrap();
    let printed = exits_with(1, &folder, &["package"]);
    assert!(printed.contains("code `cargo check --manifest-path"), "{printed}");
}

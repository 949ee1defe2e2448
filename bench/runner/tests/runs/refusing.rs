//! Tests of arguments and conditions that are refused before anything is measured.

use crate::fakes::Fakes;

#[test]
fn an_unknown_suite_is_named() {
    let fakes = Fakes::new();
    fakes.run(&["ecko"]).ends_with(2, &["bench: no suite \"ecko\"; there are: echo, lesson"]);
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let fakes = Fakes::new();
    let run = fakes.run(&["echo", "--json", "/no/such/folder/raw.json"]);
    run.ends_with(1, &["--json /no/such/folder/raw.json"]);
    assert!(fakes.started().is_empty());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let fakes = Fakes::new();
    let run = fakes.run(&["echo", "--out", "/proc/no/out"]);
    run.ends_with(1, &["/proc/no/out"]);
}

#[test]
fn a_file_of_rounds_that_cannot_be_read_is_named() {
    let fakes = Fakes::new();
    let run = fakes.run(&["--from", "/no/such/rounds.json"]);
    run.ends_with(1, &["--from /no/such/rounds.json"]);
}

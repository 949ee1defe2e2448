//! Runs in which everybody does what they should.

use crate::fakes::{Fakes, WAKE};
use serde_json::Value;
use std::fs;

#[test]
fn echo_ends_with_a_report_and_with_every_server_ended() {
    let fakes = Fakes::new();
    let raw = fakes.path().join("raw.json");
    let run = fakes.run(&["echo", "--quick", "--json", raw.to_str().unwrap()]);
    assert!(run.status.success(), "{}", run.stderr);
    assert!(run.stdout.contains("The plan:\n"), "{}", run.stdout);
    assert!(!fakes.started().is_empty());
    fakes.assert_ended();

    let page = fakes.report("report.html");
    for part in ["<svg", "64 B x 50 connections", "floor again", "cargo xtask bench echo --quick"] {
        assert!(page.contains(part), "{part}");
    }
    let tables = fakes.report("tables.md");
    assert!(tables.contains("| floor "), "{tables}");
    assert!(tables.contains("client CPU %") && tables.contains("77.0"), "{tables}");
    // The same fake answers for both.
    assert!(tables.contains("x alone") && !tables.contains("Incomplete"), "{tables}");
    let raw: Value = serde_json::from_str(&fs::read_to_string(raw).unwrap()).unwrap();
    let first = &raw["parts"][0]["contestants"][0];
    assert_eq!(first["name"], "floor");
    assert_eq!(first["rounds"][0]["values"]["p99_us"], 9.0);
}

#[test]
fn splicing_adds_up_both_sides_and_says_if_there_is_no_second_namespace() {
    let fakes = Fakes::new();
    let run = fakes.run(&["splicing", "--quick"]);
    assert!(run.status.success(), "{}", run.stderr);
    fakes.assert_ended();
    let tables = fakes.report("tables.md");
    assert!(tables.contains("### 1 MiB x 4 connections, loopback"), "{tables}");
    // A fake client takes 770 µs a message, its server 3.5.
    assert!(tables.contains("| copy, 64 KiB again ") && tables.contains(" 774 "), "{tables}");
    // The client is started in the other namespace only where that is allowed.
    for case in ["1 MiB x 4 connections, veth", "1 MiB x 1 connection, veth"] {
        let is_measured = tables.contains(&format!("### {case}"));
        assert_ne!(is_measured, tables.contains(&format!("“{case}” is left out")), "{tables}");
    }
}

#[test]
fn a_report_is_made_again_from_its_rounds() {
    let fakes = Fakes::new();
    fakes.replace("wake", WAKE);
    assert!(fakes.run(&["wake", "echo", "--quick"]).status.success());
    let out = fakes.path().join("out");
    let (first_page, first_tables) = (fakes.report("report.html"), fakes.report("tables.md"));
    for name in ["report.html", "tables.md"] {
        fs::remove_file(out.join(name)).unwrap();
    }
    let started = fakes.started().len();
    // That of a whole run is left alone.
    assert!(!out.join("rounds.json").exists());
    let rounds = out.join("rounds-part.json");
    let run = fakes.run(&["--from", rounds.to_str().unwrap()]);
    assert!(run.status.success(), "{}", run.stderr);
    assert_eq!(fakes.report("tables.md"), first_tables);
    assert_eq!(fakes.report("report.html"), first_page);
    assert_eq!(fakes.started().len(), started);
    // It was not a whole run.
    assert!(!fakes.path().join("bench").exists());
}

#[test]
fn what_a_micro_program_prints_becomes_a_table() {
    let fakes = Fakes::new();
    fakes.replace("wake", WAKE);
    let run = fakes.run(&["wake"]);
    assert!(run.status.success(), "{}", run.stderr);
    let tables = fakes.report("tables.md");
    assert!(tables.contains("round trip, ns") && tables.contains("| epoll-kit "), "{tables}");
    assert!(tables.contains("`bench/target/release/wake --rounds 15`"), "{tables}");
}

#[test]
fn the_lesson_reads_what_the_server_has_counted() {
    let fakes = Fakes::new();
    fakes.replace(
        "epoll-server",
        r#"
while [ $# -gt 0 ]; do
  [ "$1" = --stats-json ] && stats=$2
  shift
done
trap 'echo "{\"reactor\":{\"waits\":4321}}" > "$stats"; exit 0' TERM
echo $$ >> "$FAKES/started"
echo 'listening on 127.0.0.1:1'
while :; do sleep 0.05; done
"#,
    );
    let run = fakes.run(&["lesson", "--quick"]);
    assert!(run.status.success(), "{}", run.stderr);
    assert!(fakes.report("tables.md").contains("4 320"), "{}", run.stdout);
    fakes.assert_ended();
}

#[test]
fn protocols_whose_examples_are_missing_are_left_out_by_name() {
    let fakes = Fakes::new();
    let run = fakes.run(&["protocols", "--quick"]);
    let missing = ["bench: protocols: left out: ", "no example http", "no example proxy"];
    run.ends_with(0, &missing);
    fakes.assert_ended();
}

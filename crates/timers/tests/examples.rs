//! The examples, run as anybody would run them: each ends by itself, finds what it claims to be so,
//! and prints its table.

use epoll_kit_testing::Examples;

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };

#[test]
fn idle_connections_are_cut() {
    EXAMPLES.assert_prints("timeouts", &["connections cut 100"]);
}

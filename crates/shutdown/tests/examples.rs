//! The examples, run as anybody would run them: each ends by itself, finds what it claims to be so,
//! and prints its table.

use epoll_kit_testing::Examples;

const EXAMPLES: Examples = Examples { package: env!("CARGO_PKG_NAME") };

#[test]
fn the_first_signal_drains_and_the_second_stops() {
    EXAMPLES.assert_prints(
        "drain",
        &[
            "TERM TERM TERM draining since SIGTERM",
            "stopped: Finished",
            "RTMIN:1 RTMIN:2 RTMIN:1 RTMIN:2 running",
            "TERM TERM stopped by SIGTERM",
            "with restore_mask_in {}",
        ],
    );
}

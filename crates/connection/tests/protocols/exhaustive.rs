//! Every split, disturbance and end of the tests' protocols.

use crate::harness::{Calls, Frames, Obedient, buffer};
use epoll_connection::Limits;
use epoll_connection::test_kit::{Exploration, explore};

#[test]
fn frames_come_back_however_they_are_split() {
    let input = [&b""[..], b"a", b"four", b"eleven more"].map(Frames::frame).concat();
    for read_buffer_len in [1, 5, 64] {
        for step_bytes_max in [1, 1 << 20] {
            let sends_late = step_bytes_max > 1;
            let limits = Limits { step_bytes_max, sends_late, ..buffer(read_buffer_len) };
            let exploration = Exploration::new(|| Frames, || 0).input(&input).limits(limits);
            assert!(explore(&exploration) > 1000);
        }
    }
}

#[test]
fn lines_are_obeyed_however_they_are_split() {
    let protocol = Obedient {
        open: "say hi",
        written: "say w",
        deadline: "say d; read",
        finish: "say bye",
        ..Obedient::NEW
    };
    for input in [
        "say a\nsay b; produce\nsay c\n",
        "say a; after 9\nsay b; end\nkeep\n",
        "say a; end; finish\nsay no\n",
    ] {
        for output_max in [1, 1 << 16] {
            // What is written after a wait for room depends on the room.
            let written = if input.contains("produce") { "keep" } else { "" };
            let protocol = Obedient { written, ..protocol };
            let limits = Limits { output_max, sends_late: output_max > 1, ..buffer(24) };
            let exploration = Exploration::new(|| protocol, Calls::new)
                .input(input.as_bytes())
                .messages(vec!["read", "keep"])
                .limits(limits);
            assert!(explore(&exploration) > 1000);
        }
    }
}

#[test]
fn pauses_end_however_the_input_is_split() {
    let protocol = Obedient { open: "after 1", deadline: "read; say d", ..Obedient::NEW };
    let exploration = Exploration::new(|| protocol, Calls::new)
        .input(b"say a\npause\nsay b\nsay c\n")
        .messages(vec!["read"]);
    assert!(explore(&exploration) > 1000);
}

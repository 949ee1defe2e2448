//! Every script of a few acts over a tiny buffer, each act between turns and within one.

use crate::harness::{BOTH, buffer, echo};
use epoll_connection::test_kit::{Act, Driver, Trigger};
use epoll_connection::{CloseReason, Limits};
use epoll_echo::Echo;
use std::io::ErrorKind;
use std::num::NonZeroUsize;

/// An act and whether it happens within a turn, before the next read or write.
type Scripted = (Act, bool);

fn alphabet() -> Vec<Act> {
    vec![
        Act::Arrive(b"a".to_vec()),
        Act::Arrive(b"bcd".to_vec()),
        Act::Room(1),
        Act::Room(3),
        Act::Fin,
        Act::Reset,
        Act::Interrupt,
    ]
}

/// Calls `check` with every script of `len` acts.
fn each_script(len: usize, script: &mut Vec<Scripted>, check: &mut impl FnMut(&[Scripted])) {
    if len == 0 {
        return check(script);
    }
    for act in alphabet() {
        for within in [false, true] {
            script.push((act.clone(), within));
            each_script(len - 1, script, check);
            script.pop();
        }
    }
}

fn run(
    trigger: Trigger,
    script: &[Scripted],
    step_bytes_max: usize,
    splices: bool,
) -> Driver<Echo> {
    let splice_bytes_max = splices.then_some(NonZeroUsize::MIN);
    let limits = Limits { step_bytes_max, splice_bytes_max, ..buffer(2) };
    let mut talk = echo(trigger, limits);
    if splices {
        talk = talk.with_pipe(2);
    }
    for (act, within) in script {
        if *within {
            talk.act_during([act.clone()]);
        } else {
            talk.act(act.clone());
        }
    }
    talk.end_well();
    talk
}

#[test]
fn every_short_script_ends_with_every_byte_back_or_with_the_reset() {
    let (mut scripts, mut spliced) = (0, 0);
    each_script(4, &mut Vec::new(), &mut |script| {
        for trigger in BOTH {
            for (step_bytes_max, splices) in
                [(1, false), (1, true), (1 << 20, false), (1 << 20, true)]
            {
                scripts += 1;
                let talk = run(trigger, script, step_bytes_max, splices);
                let (sent, arrived) = (talk.sent(), talk.arrived());
                assert!(splices || talk.piped() == 0);
                spliced += usize::from(talk.piped() > 0);
                match talk.closed() {
                    Some(CloseReason::PeerClosed) => {
                        assert_eq!(sent, arrived, "{script:?} {splices}");
                    }
                    Some(CloseReason::Failed(ErrorKind::ConnectionReset)) => {
                        assert!(script.iter().any(|(act, _)| matches!(act, Act::Reset)));
                        assert!(arrived.starts_with(&sent), "{script:?}");
                    }
                    other => panic!("{trigger:?} {script:?}: {other:?}"),
                }
            }
        }
    });
    assert!(scripts > 10_000, "{scripts} scripts were run");
    assert!(spliced > 1_000, "{spliced} of them through the pipe");
}

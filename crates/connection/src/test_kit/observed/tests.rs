//! Tests that the kit finds what no protocol may see.

use super::*;
use crate::context::Changes;
use crate::{Clocks, Limits, ThreadState};
use epoll_reactor::Token;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Answers its input with what the state of the thread says, and goes on as messages say.
struct Answering;

impl Protocol for Answering {
    type Local = Consumed;
    type Message = Flow;

    fn on_input(&mut self, _: &mut [u8], context: &mut Context<'_, Consumed, Flow>) -> Consumed {
        *context.local()
    }

    fn on_message(&mut self, flow: &Flow, context: &mut Context<'_, Consumed, Flow>) -> Flow {
        if *flow == Flow::Keep {
            context.end_output();
        }
        *flow
    }
}

/// A callback, as a connection calls it.
#[derive(Clone, Copy, Debug)]
enum Call {
    Open,
    /// Input that is shown, and the answer.
    Input(&'static str, Consumed),
    /// `Keep` ends the output.
    Message(Flow),
    Written,
    /// The rest that is shown.
    PeerFinished(&'static str),
    Finish,
    Close,
}

use Call::{Close, Finish, Input, Message, Open, PeerFinished, Written};

/// Returns which of `calls` is found to be wrong, the peer having sent `abcdef`.
fn found(calls: &[Call]) -> Option<usize> {
    let wire = SharedWire::default();
    wire.borrow().arrived = b"abcdef".to_vec();
    let mut observed = Observed::new(Answering, wire);
    let (limits, clocks) = (Limits::default(), Clocks::default());
    let mut thread = ThreadState::<Answering>::new(0, Consumed::nothing(), limits, clocks);
    calls.iter().position(|&call| {
        let called = AssertUnwindSafe(|| make(call, &mut observed, &mut thread));
        catch_unwind(called).is_err()
    })
}

fn make(call: Call, observed: &mut Observed<Answering>, thread: &mut ThreadState<Answering>) {
    if let Input(_, consumed) = call {
        thread.local = consumed;
    }
    let mut changes = Changes::default();
    let context = &mut Context {
        local: &mut thread.local,
        output: &mut thread.output,
        turn: &mut thread.turn,
        changes: &mut changes,
        token: Token::detached(0),
        pending: 0,
        is_transformed: false,
    };
    match call {
        Open => drop(observed.on_open(context)),
        Input(input, _) => drop(observed.on_input(&mut input.as_bytes().to_vec(), context)),
        Message(flow) => drop(observed.on_message(&flow, context)),
        Written => drop(observed.on_written(context)),
        PeerFinished(rest) => drop(observed.on_peer_finished(rest.as_bytes(), context)),
        Finish => observed.on_finish(context),
        Close => observed.on_close(CloseReason::Finished, context),
    }
}

#[test]
fn what_comes_in_order_is_right() {
    let two = Consumed::bytes(2);
    for calls in [
        &[Open, Input("ab", two), Input("cd", two), PeerFinished("ef"), Finish, Close][..],
        &[Open, Message(Flow::Pause), Message(Flow::Read), Input("ab", two)],
        &[Open, Message(Flow::Produce), Written, Input("ab", two)],
        &[Open, Input("a", Consumed::nothing()), Input("ab", two)],
        &[Open, Input("a", Consumed::need(2)), Input("ab", two)],
        &[
            Open,
            Input("ab", Consumed::nothing().then(Flow::Pause)),
            Message(Flow::Read),
            Input("ab", two),
        ],
        &[Open, Message(Flow::Keep), Finish, Message(Flow::Read), Input("ab", two)],
    ] {
        assert_eq!(found(calls), None, "{calls:?}");
    }
}

#[test]
fn the_first_call_that_is_wrong_is_found() {
    let two = Consumed::bytes(2);
    let none = Consumed::nothing();
    for calls in [
        &[Input("ab", two)][..],
        &[Open, Open],
        &[Open, Close, Close],
        &[Open, Close, Message(Flow::Read)],
        &[Open, Finish, Finish],
        &[Open, Finish, Message(Flow::Read)],
        &[Open, Message(Flow::Keep), Finish, Message(Flow::Finish), Message(Flow::Read)],
        &[Open, Message(Flow::Finish), Written],
        &[Open, Message(Flow::Abort), Input("ab", two)],
        &[Open, Message(Flow::Pause), Input("ab", two)],
        &[Open, Input("ab", two.then(Flow::Pause)), Input("cd", two)],
        &[Open, Message(Flow::Pause), PeerFinished("abcdef")],
        &[Open, Message(Flow::Produce), Input("ab", two)],
        &[Open, PeerFinished("abcdef"), PeerFinished("abcdef")],
        &[Open, PeerFinished("abcdef"), Input("ab", two)],
        &[Open, PeerFinished("abcde")],
        &[Open, PeerFinished("abcdeg")],
        &[Open, Input("ab", none), PeerFinished("bacdef")],
        &[Open, Input("", none)],
        &[Open, Input("abd", two)],
        &[Open, Input("ab", two), Input("ab", two)],
        &[Open, Input("ab", none), Input("a", two)],
        &[Open, Input("ab", none), Input("ba", two)],
        &[Open, Input("ab", none), Input("ab", two)],
        &[Open, Input("a", Consumed::need(3)), Input("ab", two)],
    ] {
        assert_eq!(found(calls), Some(calls.len() - 1), "{calls:?}");
    }
}

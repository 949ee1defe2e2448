//! Servers that go away and return under load: connections are made again, what was due meanwhile has
//! failed, and the schedule goes on to its end.

use crate::program::{Running, measure, measured};
use crate::server::{Server, Wire, echo_messages, message, own_target};
use epoll_kit_testing::eventually;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A server that can die: each connection is reset with its next message, and nobody listens any more.
struct Mortal {
    server: Server,
    is_dead: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
}

impl Mortal {
    fn at(address: &str) -> Self {
        let (is_dead, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (dies, counter) = (Arc::clone(&is_dead), Arc::clone(&answers));
        let server = Server::tcp_at(address, move |wire, _| {
            let ended = serve(wire, &dies, &counter);
            if dies.load(Ordering::SeqCst) {
                wire.reset_at_close();
            }
            ended
        });
        Self { server, is_dead, answers }
    }

    fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }

    #[track_caller]
    fn answers_some(&self) {
        let before = self.answers();
        eventually("requests are answered", || self.answers() > before + 20);
    }

    fn die(self) {
        self.is_dead.store(true, Ordering::SeqCst);
        drop(self.server);
    }
}

fn serve(wire: &mut dyn Wire, is_dead: &AtomicBool, answers: &AtomicUsize) -> io::Result<()> {
    loop {
        let message = message(wire, 64)?;
        if is_dead.load(Ordering::SeqCst) {
            return Ok(());
        }
        answers.fetch_add(1, Ordering::SeqCst);
        wire.write_all(&message)?;
    }
}

fn count(json: &Value, name: &str) -> u64 {
    json[name].as_u64().unwrap()
}

fn errors(json: &Value, name: &str) -> u64 {
    json["errors"][name].as_u64().unwrap_or(0)
}

#[test]
fn a_schedule_is_kept_while_the_server_is_away() {
    for how in [&[][..], &["--threads", "2"], &["--churn"]] {
        let server = Mortal::at(&own_target());
        let target = server.server.target.clone();
        let args = ["--connections", "4", "--rate", "1000", "--duration", "2s", "--json"];
        let program = Running::start(&[&[target.as_str()], &args[..], how].concat());
        server.answers_some();
        server.die();
        // The time for which it is away.
        thread::sleep(Duration::from_millis(300));
        let server = Mortal::at(&target);
        server.answers_some();
        let (output, json) = measured(program.output());
        output.complains(1, &["the first: "]);
        // Each request that was due is answered, or was lost with its connection, or found none.
        let unsent = errors(&json, "unsent");
        assert!(unsent > 0, "{how:?}: {json}");
        let all = count(&json, "requests") + count(&json, "unanswered") + unsent;
        assert_eq!(all, 2000, "{how:?}: {json}");
        assert!(errors(&json, "refused") > 0, "{how:?}: {json}");
        assert!(json["duration_s"].as_f64().unwrap() >= 2.0, "{how:?}: {json}");
        // The failures are in the series.
        let series = json["series"].as_array().unwrap();
        assert!(series.len() >= 2, "{how:?}: {json}");
        let failed: u64 = series.iter().map(|interval| count(interval, "errors")).sum();
        let kinds = json["errors"].as_object().unwrap().values();
        assert_eq!(failed, kinds.map(|kind| kind.as_u64().unwrap()).sum::<u64>(), "{json}");
    }
}

#[test]
fn connections_of_a_closed_loop_are_made_again() {
    let server = Server::tcp(|wire, number| match number {
        0..4 => echo_messages(wire, 5, 64),
        _ => crate::server::echo(wire, number),
    });
    let args = ["--connections", "2", "--requests", "20000"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["4 errors"]);
    // The one in flight on each of the four.
    assert_eq!(count(&json, "requests") + count(&json, "unanswered"), 20_000, "{json}");
    assert!(count(&json, "unanswered") <= 4, "{json}");
    assert_eq!((count(&json, "connects"), server.accepted()), (6, 6));
}

#[test]
fn a_number_of_requests_is_given_up_when_the_server_stays_away() {
    for how in [&[][..], &["--churn"], &["--requests-per-connection", "500000"]] {
        let server = Mortal::at(&own_target());
        let target = server.server.target.clone();
        let amount = if how.len() == 2 { &[][..] } else { &["--requests", "1000000"] };
        let args = ["--connections", "2", "--timeout", "700ms", "--json"];
        let program = Running::start(&[&[target.as_str()], &args[..], amount, how].concat());
        server.answers_some();
        server.die();
        let (output, json) = measured(program.output());
        output.complains(1, &["errors; the first: connection "]);
        let unsent = errors(&json, "unsent");
        let sum = count(&json, "requests") + count(&json, "unanswered") + unsent;
        assert_eq!(sum, 1_000_000, "{how:?}: {json}");
        assert!(unsent > 0 && errors(&json, "refused") > 0, "{how:?}: {json}");
    }
}

#[test]
fn an_answer_that_is_still_to_come_is_none_of_the_next_connection() {
    // The first connection is given up; the second gets what the first is owed.
    let owed = std::sync::Mutex::new(None);
    let server = Server::tcp(move |wire, number| {
        let message = message(wire, 64)?;
        match number {
            0 => *owed.lock().unwrap() = Some(message),
            _ => {
                let first = owed.lock().unwrap().take();
                wire.write_all(&first.unwrap_or(message))?;
            }
        }
        crate::server::echo(wire, number)
    });
    let args = ["--connections", "1", "--requests", "10", "--timeout", "500ms"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["2 errors; the first: connection 0: no answer within 500ms"]);
    assert_eq!(json["errors"], json!({ "no-answer": 1, "wrong-bytes": 1 }), "{json}");
    assert_eq!(json["requests"], 8);
}

/// A thread of the program would spin, or wait for ever.
#[test]
fn a_run_that_is_interrupted_while_the_server_is_away_is_reported() {
    let server = Mortal::at(&own_target());
    let target = server.server.target.clone();
    let args = ["--connections", "3", "--rate", "500", "--duration", "1h", "--json"];
    let program = Running::start(&[&[target.as_str()], &args[..]].concat());
    server.answers_some();
    server.die();
    thread::sleep(Duration::from_millis(300));
    program.interrupt();
    let (output, json) = measured(program.output());
    output.complains(1, &["interrupted; "]);
    assert!(errors(&json, "unsent") > 0, "{json}");
}

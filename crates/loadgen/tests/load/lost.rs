//! Servers that go away, or never were there: one clear line, and never a hang.

use crate::program::{PATIENCE, Running, load, measure, measured};
use crate::server::{Server, discard, echo, echo_messages, message};
use epoll_kit_testing::eventually;
use rustix::process::{Signal, kill_process};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::sync::mpsc::sync_channel;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

#[test]
fn a_server_that_closes_early() {
    let server = Server::tcp(|wire, _| {
        echo_messages(wire, 5, 64)?;
        wire.finish()?;
        // To close with the next message unread would reset the connection.
        discard(wire)
    });
    let args = ["--abort-on-error", "--connections", "3", "--requests", "9999"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["3 errors", "the server closed it"]);
    assert_eq!(json["requests"], 15);
    assert_eq!(json["errors"], json!({ "closed": 3 }));
}

#[test]
fn one_connection_that_is_lost_does_not_end_the_others() {
    let server = Server::tcp(|wire, number| match number {
        0 => echo_messages(wire, 1, 64),
        _ => echo(wire, number),
    });
    let (output, json) = measure(&server.target, &["--connections", "2", "--requests", "1000"]);
    output.complains(1, &["1 errors", "connection 0"]);
    // The message under way on it is the only one that is not answered.
    assert!(json["requests"].as_u64().unwrap() >= 999, "{json}");
}

#[test]
fn a_server_that_resets() {
    let server = Server::tcp(|wire, _| {
        echo_messages(wire, 2, 64)?;
        wire.reset_at_close();
        Ok(())
    });
    let args = ["--abort-on-error", "--connections", "2", "--requests", "100"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["2 errors"]);
    assert_eq!(json["errors"], json!({ "reset": 2 }));
}

#[test]
fn a_server_that_stops_answering() {
    let server = Server::tcp(|wire, _| {
        echo_messages(wire, 2, 64)?;
        discard(wire)
    });
    // The run ends with the last connection.
    for how in [&["--requests", "100"][..], &["--duration", "1h"], &["--rate", "1000"]] {
        let args = ["--abort-on-error", "--connections", "2", "--timeout", "2s"];
        let (output, json) = measure(&server.target, &[&args, how].concat());
        output.complains(1, &["no answer within 2s"]);
        assert!(json["requests"].as_u64().unwrap() <= 4, "{json}");
        assert_eq!(json["errors"], json!({ "no-answer": 2 }));
    }
}

/// Unanswered requests are not counted as errors: the failure of their connection is one.
#[test]
fn what_is_under_way_on_a_lost_connection_is_unanswered() {
    let server = Server::tcp(|wire, _| {
        echo_messages(wire, 2, 64)?;
        discard(wire)
    });
    let args = ["--abort-on-error", "--connections", "3", "--pipeline", "4", "--timeout", "2s"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["3 errors; "]);
    // The next is sent when an answer has come, so four are always under way.
    assert_eq!(json["unanswered"], 12);
    assert_eq!(json["errors"], json!({ "no-answer": 3 }));

    let output = load(&[&[server.target.as_str()], &args[..]].concat());
    assert!(output.stdout.contains(" 3 connects, 12 unanswered\n"), "{output:?}");
}

#[test]
fn a_rate_that_ends_with_its_last_connection_has_taken_no_longer() {
    // Between two requests nothing is unanswered.
    let server = Server::tcp(|wire, _| echo_messages(wire, 3, 64));
    let args = ["--connections", "1", "--rate", "20", "--duration", "60s", "--abort-on-error"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["the server closed it"]);
    assert_eq!((&json["requests"], &json["unanswered"]), (&json!(3), &json!(0)));
    assert!(json["duration_s"].as_f64() < Some(60.0), "{json}");
    assert!(json["series"].as_array().unwrap().len() < 60, "{json}");
}

#[test]
fn what_was_due_when_the_last_connection_was_lost_is_unanswered() {
    let server = Server::tcp(|wire, _| {
        echo_messages(wire, 2, 64)?;
        discard(wire)
    });
    // The last of them is due long after both are lost, so none is given up as unsent.
    let args = ["--connections", "2", "--rate", "1000", "--requests", "60000", "--timeout", "2s"];
    let args = [&args[..], &["--abort-on-error"]].concat();
    for threads in ["1", "2"] {
        let (output, json) =
            measure(&server.target, &[&args[..], &["--threads", threads]].concat());
        output.complains(1, &["no answer within 2s"]);
        let [answered, unanswered] =
            ["requests", "unanswered"].map(|name| json[name].as_u64().unwrap());
        // No connection is lost before two seconds are over, and so many are due by then.
        assert!(answered <= 4 && answered + unanswered >= 2000, "{json}");
        assert_eq!(json["errors"], json!({ "no-answer": 2 }));
        // The run ends with them: the rest of the minute was never spent.
        assert!(json["duration_s"].as_f64().is_some_and(|it| (2.0..60.0).contains(&it)), "{json}");
    }
}

#[test]
fn what_is_due_to_a_thread_without_connections_is_unanswered_too() {
    let server = Server::tcp(|wire, number| match number {
        0 => echo_messages(wire, 2, 64),
        _ => echo(wire, number),
    });
    let args = ["--connections", "2", "--threads", "2", "--rate", "10000", "--requests", "4000"];
    let (output, json) = measure(&server.target, &[&args[..], &["--abort-on-error"]].concat());
    output.complains(1, &["1 errors", "connection 0"]);
    assert_eq!((&json["requests"], &json["unanswered"]), (&json!(2002), &json!(1998)));
}

/// Threads have their limits at the same time, not one after the other.
#[test]
fn idle_connections_of_many_threads_that_are_never_closed() {
    let server = Server::tcp(|wire, number| {
        echo(wire, number)?;
        std::thread::park_timeout(crate::program::PATIENCE);
        Ok(())
    });
    let args = ["--threads", "40", "--connections", "40", "--idle", "40", "--timeout", "2s"];
    let (output, json) = measure(&server.target, &[&args[..], &["--requests", "400"]].concat());
    output.complains(1, &["80 errors", "it was not closed within 2s"]);
    assert_eq!((&json["requests"], &json["errors"]), (&json!(400), &json!({ "no-answer": 80 })));
}

/// The answers arrived in time, while the client was stopped and could not read them.
#[test]
fn a_client_that_was_stopped_gives_up_no_answer_that_has_come() {
    let (asked, question) = sync_channel(1);
    let (gate, is_open) = sync_channel(1);
    let is_open = Mutex::new(is_open);
    let server = Server::tcp(move |wire, number| {
        echo_messages(wire, 1, 64)?;
        let message = message(wire, 64)?;
        let _ = asked.send(());
        let _ = is_open.lock().unwrap().recv_timeout(PATIENCE);
        wire.write_all(&message)?;
        let _ = asked.send(());
        echo(wire, number)
    });
    let args = ["--connections", "1", "--requests", "100", "--timeout", "2s", "--json"];
    let client = Running::start(&[&[server.target.as_str()], &args[..]].concat());
    question.recv_timeout(PATIENCE).expect("a message");
    kill_process(client.pid(), Signal::STOP).expect("a process");
    let stat = format!("/proc/{}/stat", client.pid());
    eventually("it stands still", || fs::read_to_string(&stat).unwrap().contains(") T "));
    gate.send(()).unwrap();
    question.recv_timeout(PATIENCE).expect("the answer is sent");
    // It has to be late by its own clock.
    std::thread::sleep(Duration::from_millis(2100));
    kill_process(client.pid(), Signal::CONT).expect("a process");
    let (output, json) = measured(client.output());
    assert_eq!((output.status, &*output.stderr), (0, ""), "{json}");
    assert_eq!(json["requests"], 100);
}

#[test]
fn one_connection_that_is_not_closed_takes_no_other_with_it() {
    let server = Server::tcp(|wire, number| {
        echo(wire, number)?;
        if number == 0 {
            std::thread::park_timeout(crate::program::PATIENCE);
        }
        Ok(())
    });
    let args = ["--connections", "8", "--threads", "2", "--requests", "100", "--timeout", "2s"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["1 errors", "it was not closed within 2s"]);
    assert_eq!(json["errors"], json!({ "no-answer": 1 }));
}

#[test]
fn a_server_that_never_closes_a_churned_connection() {
    let server = Server::tcp(|wire, _| {
        echo(wire, 0)?;
        // The end has come; ours is to follow, and does with the process of the client.
        std::thread::park_timeout(crate::program::PATIENCE);
        Ok(())
    });
    let args = ["--churn", "--connections", "2", "--requests", "100", "--timeout", "2s"];
    let (output, json) = measure(&server.target, &[&args[..], &["--abort-on-error"]].concat());
    output.complains(1, &["within 2s"]);
    assert_eq!(json["errors"], json!({ "no-answer": 2 }));
}

#[test]
fn a_server_that_closes_after_the_last_answer() {
    let server = Server::tcp(|wire, _| {
        let message = message(wire, 64)?;
        wire.finish_with(&message)?;
        discard(wire)
    });
    let (output, json) = measure(&server.target, &["--connections", "1", "--requests", "1"]);
    output.complains(1, &["1 errors", "the server closed it"]);
    assert_eq!(json["requests"], 1);
    assert_eq!(json["errors"], json!({ "closed": 1 }));
}

#[test]
fn a_server_that_resets_after_the_end() {
    let server = Server::tcp(|wire, number| {
        echo(wire, number)?;
        wire.reset_at_close();
        Ok(())
    });
    let args = ["--connections", "2", "--idle", "3", "--requests", "10"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["5 errors"]);
    assert_eq!(json["errors"], json!({ "reset": 5 }));
}

#[test]
fn a_server_that_never_closes() {
    let server = Server::tcp(|wire, number| {
        echo(wire, number)?;
        std::thread::park_timeout(crate::program::PATIENCE);
        Ok(())
    });
    let args = ["--connections", "2", "--idle", "3", "--requests", "10", "--timeout", "5s"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["5 errors", "it was not closed within 5s"]);
    assert_eq!(json["requests"], 10);
    assert_eq!(json["errors"], json!({ "no-answer": 5 }));
}

#[test]
fn an_idle_connection_that_is_closed_is_lost() {
    let is_closed = Barrier::new(2);
    let server = Server::tcp(move |wire, number| {
        if number == 0 {
            wire.finish()?;
        }
        // No answer comes sooner, so the run cannot be over by then.
        is_closed.wait();
        echo(wire, number)
    });
    let args = ["--idle", "1", "--connections", "1", "--requests", "100"];
    let (output, json) = measure(&server.target, &args);
    output.complains(1, &["an idle connection: the server closed it"]);
    assert_eq!(json["errors"], json!({ "closed": 1 }));
}

#[test]
fn nobody_listens() {
    // Nobody else gets the port as long as it is bound; and nobody listens on it.
    let socket = epoll_sys::socket::stream(epoll_sys::socket::Family::Inet).unwrap();
    epoll_sys::socket::bind(&socket, "127.0.0.1:0".parse::<epoll_sys::socket::Address>().unwrap())
        .unwrap();
    let address = epoll_sys::socket::local_address(&socket).unwrap().to_string();
    for how in [&[][..], &["--churn"], &["--rate", "100"], &["--idle", "5"]] {
        let output = load(&[&[address.as_str()], how].concat());
        output.complains(1, &[&address, "Connection refused"]);
        assert_eq!(output.stdout, "");
        // A script that reads the object finds one, and the same line.
        let (output, json) = measure(&address, how);
        output.complains(1, &[&address, "Connection refused"]);
        assert_eq!((&json["requests"], &json["target"]), (&json!(0), &json!(address)));
        assert_eq!((&json["errors"], &json["valid"]), (&json!({ "refused": 1 }), &json!(true)));
        assert!(json["first_error"].as_str().unwrap().contains("Connection refused"), "{json}");
    }
}

#[test]
fn nobody_listens_at_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let target = format!("unix:{}", folder.path().join("none").display());
    load(&[&target]).complains(1, &[&target, "No such file"]);
    load(&[&target, "--churn"]).complains(1, &[&target]);
}

#[test]
fn the_host_is_unknown() {
    // A name that no host will ever have.
    load(&["no-such-host.invalid", "80"]).complains(1, &["no-such-host.invalid"]);
    // It is one line even then.
    load(&["no such\nhost", "80"]).complains(1, &["'no such?host'"]);
}

#[test]
fn nobody_accepts() {
    // A queue for one or two: the others stay on their way, and their limit ends the wait.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    epoll_sys::socket::listen(&listener, 1).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let args = [&address, "--connections", "8", "--timeout", "300ms"];
    load(&args).complains(1, &[&address, "no answer within 300ms"]);
}

//! Servers of other protocols than echo: right answers are counted, and wrong ones are found.

use crate::program::{measure, measure_well};
use crate::server::{Server, Wire};
use epoll_kit_testing::{Guard, eventually, leave_out};
use serde_json::json;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// A line without its end.
fn line(wire: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match wire.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// Serves SET and GET; `spoil` may change each reply, which it is given with its number on the connection.
fn resp(wire: &mut dyn Wire, spoil: impl Fn(&mut Vec<u8>, usize)) -> io::Result<()> {
    let mut keys: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut wire = BufReader::new(wire);
    for number in 0.. {
        let count: usize = line(&mut wire)?[1..].parse().expect("a count");
        let mut words = Vec::new();
        for _ in 0..count {
            let len: usize = line(&mut wire)?[1..].parse().expect("a length");
            let mut word = vec![0; len + 2];
            wire.read_exact(&mut word)?;
            word.truncate(len);
            words.push(word);
        }
        let mut reply = match &words[..] {
            [set, key, value] if set == b"SET" => {
                keys.insert(key.clone(), value.clone());
                b"+OK\r\n".to_vec()
            }
            [get, key] if get == b"GET" => {
                let value = &keys[key];
                [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
            }
            other => panic!("{other:?}"),
        };
        spoil(&mut reply, number);
        wire.get_mut().write_all(&reply)?;
    }
    Ok(())
}

/// Serves each request with this answer.
fn http(wire: &mut dyn Wire, answer: impl Fn(usize) -> Vec<u8>) -> io::Result<()> {
    let mut wire = BufReader::new(wire);
    for number in 0.. {
        let request = line(&mut wire)?;
        assert_eq!(request, "GET /a HTTP/1.1");
        while !line(&mut wire)?.is_empty() {}
        wire.get_mut().write_all(&answer(number))?;
    }
    Ok(())
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn keys_are_set_and_got() {
    let server = Server::tcp(|wire, _| resp(wire, |_, _| {}));
    for how in [
        &["--requests", "1000"][..],
        &["--requests", "1000", "--pipeline", "16", "--size", "16KiB"],
        &["--requests", "200", "--churn", "--rate", "2000"],
    ] {
        let args = ["--protocol", "resp", "--connections", "3"];
        let json = measure_well(&server.target, &[&args[..], how].concat());
        assert_eq!(
            (&json["protocol"], &json["requests"].to_string()),
            (&json!("resp"), &how[1].to_owned())
        );
    }
}

#[test]
fn a_wrong_reply_is_found() {
    let server = Server::tcp(|wire, _| {
        resp(wire, |reply, number| {
            if number == 7 {
                let last = reply.len() - 3;
                reply[last] ^= 1;
            }
        })
    });
    let args = ["--protocol", "resp", "--connections", "1", "--requests", "100"];
    let (output, json) = measure(&server.target, &[&args[..], &["--abort-on-error"]].concat());
    output.complains(1, &["connection 0: the reply to command 7 is wrong"]);
    assert_eq!((&json["requests"], &json["errors"]), (&json!(7), &json!({ "wrong-bytes": 1 })));
}

#[test]
fn redis_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock");
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&path);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(_redis) = Guard::spawn(command.current_dir(&folder)) else {
        return leave_out("protocols::redis_answers", "redis-server");
    };
    eventually("redis listens", || path.exists());
    let target = format!("unix:{}", path.display());
    let args = ["--protocol", "resp", "--requests", "5000", "--pipeline", "8", "--size", "1KiB"];
    assert_eq!(measure_well(&target, &args)["requests"], 5000);
}

#[test]
fn a_path_is_got() {
    let server = Server::tcp(|wire, _| http(wire, |_| ANSWER.to_vec()));
    for how in [&["--requests", "1000"][..], &["--requests", "1000", "--pipeline", "4"]] {
        let args = ["--protocol", "http", "--path", "/a", "--connections", "3"];
        let json = measure_well(&server.target, &[&args[..], how].concat());
        assert_eq!((&json["requests"], &json["size"]), (&json!(1000), &json!(5)));
        assert_eq!(json["bytes"], 5000);
    }
}

#[test]
fn another_body_is_found() {
    let first = Mutex::new(0);
    let server = Server::tcp(move |wire, _| {
        http(wire, |_| {
            let mut count = first.lock().unwrap();
            *count += 1;
            let mut answer = ANSWER.to_vec();
            if *count == 9 {
                answer[ANSWER.len() - 1] ^= 1;
            }
            answer
        })
    });
    let args = ["--protocol", "http", "--path", "/a", "--connections", "2", "--requests", "50"];
    let (output, json) = measure(&server.target, &args);
    output
        .complains(1, &["1 errors; ", "the answer is wrong: its body differs from the first one"]);
    assert_eq!((&json["requests"], &json["errors"]), (&json!(49), &json!({ "wrong-bytes": 1 })));
}

#[test]
fn a_run_whose_last_answer_has_a_byte_too_much_ends() {
    let server = Server::tcp(|wire, _| http(wire, |_| [ANSWER, b"!"].concat()));
    let args = ["--protocol", "http", "--path", "/a", "--connections", "1", "--requests", "1"];
    for how in [&["--pipeline", "1"][..], &["--rate", "1000"]] {
        let (output, json) = measure(&server.target, &[&args[..], how].concat());
        output.complains(1, &["1 errors; ", "1 bytes came that nobody asked for"]);
        assert_eq!(json["requests"], 1);
    }
}

//! HTTP/1.1: each request gets the same path on a connection that is kept. The body of the first answer of all
//! connections is the one that every other body is compared with.

use super::answers::Pending;
use super::{Exchange, Verdict};
use crate::failure::{End, Failure};
use epoll_sys::Timestamp;
use std::fmt::Display;
use std::sync::OnceLock;

/// The longest head of an answer, and its largest number of header fields.
const HEAD_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 64;

/// The longest body of an answer, which is kept to be compared with.
const BODY_MAX: usize = 1 << 24;

/// The request that all connections send, and the body that they expect.
#[derive(Debug)]
pub(crate) struct Reference {
    request: Vec<u8>,
    body: OnceLock<Vec<u8>>,
}

impl Reference {
    /// Returns the request for `path` of `host`, without a body so far.
    pub(crate) fn new(path: &str, host: &str) -> Self {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: epoll-load\r\n\r\n");
        Self { request: request.into_bytes(), body: OnceLock::new() }
    }

    /// Returns the size of a body in bytes; 0 if no answer has come.
    pub(crate) fn body_len(&self) -> u64 {
        self.body.get().map_or(0, |body| body.len() as u64)
    }
}

/// A connection to a server that speaks HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Http<'a> {
    reference: &'a Reference,
    pending: Pending,
    /// The beginning of a head that is not complete.
    head: Vec<u8>,
    body: Option<Body>,
}

/// A body of which a part has come.
#[derive(Debug)]
struct Body {
    len: usize,
    received: usize,
    /// The part that has come, if there was nothing to compare it with when it began.
    kept: Option<Vec<u8>>,
}

impl<'a> Http<'a> {
    pub(crate) fn new(reference: &'a Reference, in_flight_max: usize) -> Self {
        let pending = Pending::new(in_flight_max);
        Self { reference, pending, head: Vec::new(), body: None }
    }

    /// Takes bytes of a head from `bytes`. Returns the length of the body that follows when the head is
    /// complete.
    fn receive_head(&mut self, bytes: &mut &[u8]) -> Result<Option<usize>, End> {
        let before = self.head.len();
        let parsed = if before == 0 {
            // Usually a head comes in one piece.
            parse(bytes)?
        } else {
            self.head.extend_from_slice(bytes);
            parse(&self.head)?
        };
        match parsed {
            Some((len, body)) => {
                *bytes = &bytes[len - before..];
                self.head.clear();
                Ok(Some(body))
            }
            None => {
                if before == 0 {
                    self.head.extend_from_slice(bytes);
                }
                *bytes = &[];
                if self.head.len() > HEAD_MAX {
                    return Err(wrong(format_args!("its head is longer than {HEAD_MAX} bytes")));
                }
                Ok(None)
            }
        }
    }

    fn begin_body(&self, len: usize) -> Result<Body, End> {
        let expected = self.reference.body.get();
        if let Some(expected) = expected.filter(|expected| expected.len() != len) {
            let first = expected.len();
            return Err(wrong(format_args!("its body has {len} bytes, the first one had {first}")));
        }
        let kept = expected.is_none().then(Vec::new);
        Ok(Body { len, received: 0, kept })
    }

    /// Takes bytes of the body from `bytes`. Returns whether it is complete.
    fn receive_body(&mut self, bytes: &mut &[u8]) -> Result<bool, End> {
        let Some(body) = &mut self.body else { return Ok(false) };
        let part = &bytes[..bytes.len().min(body.len - body.received)];
        *bytes = &bytes[part.len()..];
        match (&mut body.kept, self.reference.body.get()) {
            (Some(kept), _) => kept.extend_from_slice(part),
            (None, Some(expected)) => compare(part, &expected[body.received..])?,
            // It is kept where there is nothing to compare it with.
            (None, None) => {}
        }
        body.received += part.len();
        if body.received < body.len {
            return Ok(false);
        }
        if let Some(kept) = body.kept.take() {
            let expected = self.reference.body.get_or_init(|| kept.clone());
            if kept.len() != expected.len() {
                return Err(wrong("its body is not as long as the first one"));
            }
            compare(&kept, expected)?;
        }
        self.body = None;
        Ok(true)
    }
}

/// Returns the length of a head and that of the body which follows; `None` if the head is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(usize, usize)>, End> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    let parsed =
        answer.parse(bytes).map_err(|error| wrong(format_args!("it is not HTTP: {error}")))?;
    let httparse::Status::Complete(len) = parsed else { return Ok(None) };
    if answer.code != Some(200) {
        return Err(wrong(format_args!("its status is {}", answer.code.unwrap_or(0))));
    }
    let mut length = None;
    for field in answer.headers.iter() {
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(wrong("it has a Transfer-Encoding, which is not supported"));
        }
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(field.value).unwrap_or("");
            let value: Option<usize> = text.parse().ok().filter(|length| *length <= BODY_MAX);
            if value.is_none() || length.is_some() {
                return Err(wrong(format_args!("it has a wrong Content-Length: {text:?}")));
            }
            length = value;
        }
    }
    match length {
        Some(length) => Ok(Some((len, length))),
        None => Err(wrong("it has no Content-Length")),
    }
}

fn compare(bytes: &[u8], expected: &[u8]) -> Result<(), End> {
    if expected.starts_with(bytes) {
        return Ok(());
    }
    Err(wrong("its body differs from the first one"))
}

fn wrong(what: impl Display) -> End {
    End { failure: Failure::WrongBytes, what: format!("the answer is wrong: {what}") }
}

impl Exchange for Http<'_> {
    fn restart(&mut self, _: u64) {
        self.pending.clear();
        self.head.clear();
        self.body = None;
    }

    fn has_room(&self) -> bool {
        self.pending.has_room()
    }

    fn in_flight(&self) -> usize {
        self.pending.in_flight()
    }

    fn in_flight_since(&self, from: Timestamp) -> usize {
        self.pending.in_flight_since(from)
    }

    fn begin(&mut self, due: Timestamp, _now: Timestamp) {
        let request = &self.reference.request;
        self.pending.begin(due, |bytes, _| bytes.extend_from_slice(request));
    }

    fn unsent(&self) -> &[u8] {
        self.pending.unsent()
    }

    fn sent(&mut self, len: usize) {
        self.pending.sent(len);
    }

    fn receive(&mut self, mut bytes: &[u8], judged: &mut dyn FnMut(Verdict)) -> Result<(), End> {
        while !bytes.is_empty() {
            if self.pending.in_flight() == 0 {
                let what = format!("{} bytes came that nobody asked for", bytes.len());
                return Err(End { failure: Failure::ExtraBytes, what });
            }
            if self.body.is_none() {
                let Some(len) = self.receive_head(&mut bytes)? else { return Ok(()) };
                self.body = Some(self.begin_body(len)?);
            }
            // A body may be empty.
            if self.receive_body(&mut bytes)? {
                if let Some(due) = self.pending.answered() {
                    judged(Verdict::Answered(due));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(reference: &Reference) -> Http<'_> {
        let mut http = Http::new(reference, 4);
        for due in 0..3 {
            http.begin(Timestamp::from_nanos(due), Timestamp::EPOCH);
        }
        http
    }

    fn answer(http: &mut Http<'_>, bytes: &[u8]) -> Result<Vec<u64>, (Failure, String)> {
        let mut answers = Vec::new();
        let mut judged = |verdict| match verdict {
            Verdict::Answered(due) => answers.push(due.as_nanos()),
            other => panic!("{other:?}"),
        };
        http.receive(bytes, &mut judged).map(|()| answers).map_err(|end| (end.failure, end.what))
    }

    const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn one_path_is_got_again_and_again() {
        let reference = Reference::new("/a", "host:80");
        let mut http = connection(&reference);
        let request = b"GET /a HTTP/1.1\r\nHost: host:80\r\nUser-Agent: epoll-load\r\n\r\n";
        assert_eq!(http.unsent(), request.repeat(3));
        // The date may differ, the body may not.
        let later = String::from_utf8(HELLO.to_vec()).unwrap().replace("now", "later");
        let both = [HELLO, later.as_bytes()].concat();
        assert_eq!(answer(&mut http, &both), Ok(vec![0, 1]));
        assert_eq!(answer(&mut http, HELLO), Ok(vec![2]));
        assert_eq!(answer(&mut http, HELLO).unwrap_err().0, Failure::ExtraBytes);
        assert_eq!(reference.body_len(), 5);
    }

    #[test]
    fn an_answer_may_come_byte_by_byte() {
        let reference = Reference::new("/", "host");
        let mut http = connection(&reference);
        let both = HELLO.repeat(2);
        let answers = both.iter().flat_map(|byte| answer(&mut http, &[*byte]).unwrap());
        assert_eq!(answers.collect::<Vec<_>>(), [0, 1]);
        let empty = Reference::new("/", "host");
        let answers = answer(&mut connection(&empty), b"HTTP/1.1 200 \r\ncontent-length:0\r\n\r\n");
        assert_eq!(answers, Ok(vec![0]));
    }

    #[test]
    fn bodies_are_compared_across_connections() {
        let reference = Reference::new("/", "host");
        // Both have begun before either is complete.
        let (mut one, mut two) = (connection(&reference), connection(&reference));
        let (first, rest) = HELLO.split_at(HELLO.len() - 2);
        assert_eq!(answer(&mut one, first), Ok(vec![]));
        assert_eq!(answer(&mut two, first), Ok(vec![]));
        assert_eq!(answer(&mut one, rest), Ok(vec![0]));
        let (failure, what) = answer(&mut two, b"LO").unwrap_err();
        assert_eq!((failure, what.contains("differs")), (Failure::WrongBytes, true));
        let wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellO";
        assert!(answer(&mut one, wrong).unwrap_err().1.contains("differs"));
    }

    #[test]
    fn other_answers_are_wrong() {
        let long = [&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'a'; HEAD_MAX]].concat();
        for (bytes, part) in [
            (&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..], "status is 404"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "no Content-Length"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "wrong Content-Length"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "wrong Content-Length"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding"),
            (b"SSH-2.0", "not HTTP"),
            (&long, "longer than"),
        ] {
            let reference = Reference::new("/", "host");
            let (failure, what) = answer(&mut connection(&reference), bytes).unwrap_err();
            assert_eq!(failure, Failure::WrongBytes);
            assert!(what.contains(part), "{what}");
        }
    }
}

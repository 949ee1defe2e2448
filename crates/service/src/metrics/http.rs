//! HTTP/1.1 as a protocol that answers requests without a body: for the metrics, and for balancers that ask how
//! the server is. Invariant: what could be understood in two ways is refused and ends the connection.

use super::page::Sources;
use epoll_connection::{Consumed, Context, Flow, Protocol};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The length of the longest head.
const HEAD_MAX: usize = 8 * 1024;
/// The number of header fields in it.
const HEADERS_MAX: usize = 64;
/// The time that a head may take, from its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The length of a buffer that any head fits, and a little more, so that a head that is too long is seen.
pub(super) const BUFFER_LEN: usize = 2 * HEAD_MAX;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The state of the thread: what the page is made of, and room for it.
pub(crate) struct Shared {
    sources: Arc<Sources>,
    page: String,
}

impl Shared {
    pub(super) fn new(sources: Arc<Sources>) -> Self {
        Self { sources, page: String::new() }
    }
}

type Surroundings<'a> = Context<'a, Shared, ()>;

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Http {
    /// The deadline of a head is set.
    is_timed: bool,
}

impl Protocol for Http {
    type Local = Shared;
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], context: &mut Surroundings<'_>) -> Consumed {
        match parse(input) {
            Ok(Some((request, len))) => {
                if std::mem::take(&mut self.is_timed) {
                    context.set_deadline(None);
                }
                answer(request, context);
                let flow = if request.closes { Flow::Finish } else { Flow::Keep };
                Consumed::bytes(len).then(flow)
            }
            Ok(None) => {
                if !std::mem::replace(&mut self.is_timed, true) {
                    context.set_deadline(Some(HEAD_TIMEOUT));
                }
                Consumed::nothing()
            }
            Err(status) => Consumed::nothing().then(refuse(status, context)),
        }
    }

    fn on_deadline(&mut self, context: &mut Surroundings<'_>) -> Flow {
        refuse("408 Request Timeout", context)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Metrics,
    Health,
    Readiness,
}

/// A request that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Request {
    /// `None` if there is no such path.
    resource: Option<Resource>,
    /// `GET` or `HEAD`.
    reads: bool,
    is_head: bool,
    closes: bool,
    /// A client of HTTP/1.0 has to be told that the connection goes on.
    is_1_0: bool,
}

/// Returns the request that `input` begins with and its length; `None` if more has to come.
///
/// # Errors
///
/// The status of the answer.
fn parse(input: &[u8]) -> Result<Option<(Request, usize)>, &'static str> {
    const BAD: &str = "400 Bad Request";
    const TOO_LARGE: &str = "431 Request Header Fields Too Large";
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let len = match head.parse(input) {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_MAX => len,
        Ok(httparse::Status::Partial) if input.len() <= HEAD_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(TOO_LARGE),
        Err(httparse::Error::Version) => return Err("505 HTTP Version Not Supported"),
        Err(_) => return Err(BAD),
    };
    let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
        return Err(BAD);
    };
    let (mut hosts, mut closes, mut keeps) = (0, false, false);
    for header in &*head.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
        } else if is("connection") {
            for option in header.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                closes |= option.eq_ignore_ascii_case(b"close");
                keeps |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("transfer-encoding") || (is("content-length") && header.value != b"0") {
            // Nothing here takes a body, and what follows could be taken for a request.
            return Err(BAD);
        }
    }
    let is_1_0 = minor == 0;
    if hosts > 1 || (hosts == 0 && !is_1_0) {
        return Err(BAD);
    }
    let resource = match path(target).ok_or(BAD)? {
        "/metrics" => Some(Resource::Metrics),
        "/healthz" => Some(Resource::Health),
        "/readyz" => Some(Resource::Readiness),
        _ => None,
    };
    let is_head = method == "HEAD";
    let (reads, closes) = (is_head || method == "GET", closes || (is_1_0 && !keeps));
    Ok(Some((Request { resource, reads, is_head, closes, is_1_0 }, len)))
}

/// Returns the path of a target, in its origin or absolute form.
fn path(target: &str) -> Option<&str> {
    let is_absolute = target.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let target = if is_absolute {
        let rest = &target[7..];
        rest.find('/').map_or("/", |at| &rest[at..])
    } else {
        target
    };
    target.starts_with('/').then(|| target.split(['?', '#']).next()).flatten()
}

fn answer(request: Request, context: &mut Surroundings<'_>) {
    let Shared { sources, page } = context.local();
    let sources = Arc::clone(sources);
    let mut page = std::mem::take(page);
    page.clear();
    let (status, kind) = match request.resource {
        None => ("404 Not Found", TEXT),
        Some(_) if !request.reads => ("405 Method Not Allowed", TEXT),
        Some(Resource::Metrics) => {
            sources.write(&mut page);
            ("200 OK", METRICS)
        }
        Some(Resource::Readiness) if !sources.is_ready() => ("503 Service Unavailable", TEXT),
        Some(_) => {
            page.push_str("ok\n");
            ("200 OK", TEXT)
        }
    };
    if page.is_empty() {
        page.push_str(status);
        page.push('\n');
    }
    let mut head = head(status, kind, page.len(), context);
    head.push_str(match (request.closes, request.is_1_0) {
        (true, _) => "Connection: close\r\n",
        (false, true) => "Connection: keep-alive\r\n",
        (false, false) => "",
    });
    if request.resource.is_some() && !request.reads {
        head.push_str("Allow: GET, HEAD\r\n");
    }
    head.push_str("\r\n");
    context.write(head.as_bytes());
    if !request.is_head {
        context.write(page.as_bytes());
    }
    context.local().page = page;
}

/// Answers that the request is not understood; nothing more is read.
fn refuse(status: &str, context: &mut Surroundings<'_>) -> Flow {
    let head = head(status, TEXT, status.len() + 1, context);
    let answer = format!("{head}Connection: close\r\n\r\n{status}\n");
    context.write(answer.as_bytes());
    Flow::Finish
}

/// Returns the lines of a head that every answer has.
fn head(status: &str, kind: &str, len: usize, context: &mut Surroundings<'_>) -> String {
    let date = SystemTime::UNIX_EPOCH + context.wall_clock().since_epoch();
    let date = httpdate::fmt_http_date(date);
    let mut head = String::new();
    // A string takes everything. Nobody in between may keep an answer that is true now.
    let _ = write!(
        head,
        "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\
         Cache-Control: no-store\r\n"
    );
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Option<(Request, usize)>, &'static str> {
        parse(text.as_bytes())
    }

    #[track_caller]
    fn understood(text: &str) -> Request {
        let (request, len) = request(text).expect("a request").expect("a whole one");
        assert_eq!(len, text.len());
        request
    }

    #[test]
    fn a_request_is_understood_with_its_path_and_what_it_wants_of_the_connection() {
        let base = Request {
            resource: Some(Resource::Metrics),
            reads: true,
            is_head: false,
            closes: false,
            is_1_0: false,
        };
        assert_eq!(understood("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"), base);
        assert_eq!(understood("GET http://a/metrics HTTP/1.1\r\nhost: a\r\n\r\n"), base);
        let head = understood("HEAD /readyz HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n");
        let ready = Some(Resource::Readiness);
        assert_eq!(head, Request { resource: ready, is_head: true, closes: true, ..base });
        let old = Request { resource: Some(Resource::Health), is_1_0: true, ..base };
        assert_eq!(understood("GET /healthz HTTP/1.0\r\n\r\n"), Request { closes: true, ..old });
        assert_eq!(understood("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), old);
        let other = understood("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(other, Request { resource: None, reads: false, ..base });
    }

    #[test]
    fn what_is_not_complete_waits_and_what_cannot_be_a_request_is_refused() {
        let whole = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        for len in 0..whole.len() {
            assert_eq!(request(&whole[..len]), Ok(None), "{len}");
        }
        for (text, status) in [
            ("GET /metrics HTTP/1.1\r\n\r\n", "400"),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "400"),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
            ("GET metrics HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
            ("\u{16}\u{3}\u{1}", "400"),
            ("GET / HTTP/2.0\r\n\r\n", "505"),
        ] {
            let refused = request(text).expect_err(text);
            assert!(refused.starts_with(status), "{text}: {refused}");
        }
    }

    #[test]
    fn a_head_is_bounded() {
        let with = |len: usize| {
            let head = "GET /metrics HTTP/1.1\r\nHost: a\r\nX: ";
            format!("{head}{}\r\n\r\n", "x".repeat(len - head.len() - 4))
        };
        assert!(request(&with(HEAD_MAX)).is_ok_and(|request| request.is_some()));
        let longer = with(HEAD_MAX + 1);
        assert_eq!(request(&longer[..HEAD_MAX]), Ok(None));
        assert!(request(&longer).is_err_and(|status| status.starts_with("431")));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(HEADERS_MAX + 1));
        assert!(request(&many).is_err_and(|status| status.starts_with("431")));
    }
}

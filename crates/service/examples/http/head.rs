//! The head of a request, and what is refused of it.

use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

/// The length of the longest head, and of the longest target in it.
const HEAD_MAX: usize = 16 * 1024;
const TARGET_MAX: usize = 4 * 1024;
const HEADERS_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    ContentTooLarge,
    UriTooLong,
    ExpectationFailed,
    HeadersTooLarge,
    NotImplemented,
    VersionNotSupported,
}

impl Status {
    /// Returns the number and the phrase.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::UriTooLong => "414 URI Too Long",
            Self::ExpectationFailed => "417 Expectation Failed",
            Self::HeadersTooLarge => "431 Request Header Fields Too Large",
            Self::NotImplemented => "501 Not Implemented",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
}

/// The length of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Bytes(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) method: Method,
    /// The path without the query.
    pub(crate) path: &'a str,
    pub(crate) length: Length,
    pub(crate) closes: bool,
    /// A client of HTTP/1.0 has to be told that the connection goes on.
    pub(crate) is_1_0: bool,
    pub(crate) expects_continue: bool,
}

/// Returns the head that `input` begins with and its length; `None` if more has to come.
pub(crate) fn parse(input: &[u8]) -> Result<Option<(Head<'_>, usize)>, Status> {
    // Filling the place of a hundred headers would take as long as parsing a few of them.
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(input, &mut headers) {
        Ok(httparse::Status::Complete(len)) if len <= HEAD_MAX => len,
        Ok(httparse::Status::Complete(_)) => return Err(Status::HeadersTooLarge),
        Ok(httparse::Status::Partial) => {
            let first_line = input.iter().position(|&byte| byte == b'\n');
            return match first_line {
                None if input.len() > TARGET_MAX => Err(Status::UriTooLong),
                _ if input.len() > HEAD_MAX => Err(Status::HeadersTooLarge),
                _ => Ok(None),
            };
        }
        Err(httparse::Error::TooManyHeaders) => return Err(Status::HeadersTooLarge),
        Err(httparse::Error::Version) => return Err(Status::VersionNotSupported),
        Err(_) => return Err(Status::BadRequest),
    };
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Status::BadRequest);
    };
    if has_bare_line_feed(&input[..len]) {
        return Err(Status::BadRequest);
    }
    if target.len() > TARGET_MAX {
        return Err(Status::UriTooLong);
    }
    let fields = fields(request.headers, version == 1)?;
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        _ => return Err(Status::NotImplemented),
    };
    let path = path(target).ok_or(Status::BadRequest)?;
    let Fields { length, closes, keeps_alive, expects_continue, .. } = fields;
    let closes = closes || (version == 0 && !keeps_alive);
    let length = length.unwrap_or(Length::Bytes(0));
    let is_1_0 = version == 0;
    Ok(Some((Head { method, path, length, closes, is_1_0, expects_continue }, len)))
}

#[derive(Default)]
struct Fields {
    length: Option<Length>,
    hosts: usize,
    closes: bool,
    keeps_alive: bool,
    expects_continue: bool,
}

fn fields(headers: &[httparse::Header<'_>], is_1_1: bool) -> Result<Fields, Status> {
    let mut fields = Fields::default();
    for header in headers {
        let value = header.value;
        match header.name {
            name if name.eq_ignore_ascii_case("content-length") => {
                let length = decimal(value).ok_or(Status::BadRequest)?;
                // Two of them are refused even if they agree, and so are both kinds together.
                if fields.length.replace(Length::Bytes(length)).is_some() {
                    return Err(Status::BadRequest);
                }
            }
            name if name.eq_ignore_ascii_case("transfer-encoding") => {
                if fields.length.replace(Length::Chunked).is_some() || !is_1_1 {
                    return Err(Status::BadRequest);
                }
                is_chunked(value)?;
            }
            name if name.eq_ignore_ascii_case("host") => {
                fields.hosts += 1;
                if !value.iter().all(|byte| is_of_host(*byte)) {
                    return Err(Status::BadRequest);
                }
            }
            name if name.eq_ignore_ascii_case("connection") => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    fields.closes |= option.eq_ignore_ascii_case(b"close");
                    fields.keeps_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            name if name.eq_ignore_ascii_case("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Status::ExpectationFailed);
                }
                fields.expects_continue = is_1_1;
            }
            _ => {}
        }
    }
    let has_host = fields.hosts == 1 || (fields.hosts == 0 && !is_1_1);
    if has_host { Ok(fields) } else { Err(Status::BadRequest) }
}

/// Refuses every coding but `chunked` alone.
fn is_chunked(value: &[u8]) -> Result<(), Status> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let last_is_chunked =
        codings.clone().next_back().is_some_and(|c| c.eq_ignore_ascii_case(b"chunked"));
    let chunked = codings.filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count();
    // Where it is not the last one, or stands twice, nobody knows where the body ends.
    if chunked == usize::from(last_is_chunked) {
        Err(Status::NotImplemented)
    } else {
        Err(Status::BadRequest)
    }
}

fn is_of_host(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' | b':' | b'[' | b']')
        || matches!(
            byte,
            b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
        )
}

fn decimal(digits: &[u8]) -> Option<u64> {
    // A sign would be taken otherwise.
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns the length that a chunk's line says, whose extensions are ignored.
pub(crate) fn chunk_len(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?;
    let is_short = (1..=15).contains(&digits.len());
    if !is_short || !digits.iter().all(u8::is_ascii_hexdigit) || line.contains(&b'\r') {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
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

/// Returns the file of `folder` that a path names; `None` if it names what may be elsewhere.
pub(crate) fn file(folder: &Path, path: &str) -> Option<PathBuf> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let names = path.strip_prefix('/')?;
    let is_within = names.split('/').all(|name| !name.is_empty() && !name.starts_with('.'));
    (is_within && names.bytes().all(is_plain)).then(|| folder.join(names))
}

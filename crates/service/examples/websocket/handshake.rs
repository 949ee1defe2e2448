//! The request that comes before the frames, and its answer.

use httparse::{EMPTY_HEADER, Error, Header, Request, Status};
use tungstenite::handshake::derive_accept_key;

const PAGE: &str = include_str!("page.html");
const HEAD_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

/// The answer to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is not complete.
    Wait,
    /// The connection is a WebSocket after `head_len` bytes of input.
    Upgrade { head_len: usize, response: String },
    /// The connection ends after this.
    End(String),
}

pub(crate) fn answer(input: &[u8]) -> Answer {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(&input[..input.len().min(HEAD_MAX)]) {
        Ok(Status::Complete(head_len)) => match accept(&request) {
            Ok(response) => Answer::Upgrade { head_len, response },
            Err(response) => Answer::End(response),
        },
        Ok(Status::Partial) if input.len() < HEAD_MAX => Answer::Wait,
        Ok(Status::Partial) | Err(Error::TooManyHeaders) => {
            Answer::End(refusal("431 Request Header Fields Too Large", ""))
        }
        Err(_) => Answer::End(refusal("400 Bad Request", "")),
    }
}

/// Returns the answer that makes the connection a WebSocket, or the last one. The origin is not looked
/// at: nobody is known by a cookie here, so a foreign page gains nothing.
fn accept(request: &Request<'_, '_>) -> Result<String, String> {
    let path = request.path.unwrap_or_default().split('?').next();
    match (request.method, path) {
        (Some("GET"), Some("/" | "/chat")) => {}
        (_, Some("/" | "/chat")) => {
            return Err(refusal("405 Method Not Allowed", "Allow: GET\r\n"));
        }
        _ => return Err(refusal("404 Not Found", "")),
    }
    if path == Some("/") {
        return Err(response("200 OK", "Content-Type: text/html; charset=utf-8\r\n", PAGE));
    }
    let headers = &*request.headers;
    let is_upgrade =
        has_token(headers, "Upgrade", "websocket") && has_token(headers, "Connection", "upgrade");
    if !is_upgrade || value(headers, "Sec-WebSocket-Version") != Some(b"13") {
        let wanted = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        return Err(refusal("426 Upgrade Required", wanted));
    }
    let key = value(headers, "Sec-WebSocket-Key").filter(|key| is_key(key));
    let is_valid = request.version == Some(1) && value(headers, "Host").is_some();
    let Some(key) = key.filter(|_| is_valid) else { return Err(refusal("400 Bad Request", "")) };
    Ok(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key)
    ))
}

/// Returns the value of a header that is there once.
fn value<'h>(headers: &[Header<'h>], name: &str) -> Option<&'h [u8]> {
    let mut found = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    found.next().filter(|_| found.next().is_none()).map(|header| header.value.trim_ascii())
}

/// Returns whether a list, which may come in several headers, has this element.
fn has_token(headers: &[Header<'_>], name: &str, token: &str) -> bool {
    let lists = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
    let mut elements = lists.flat_map(|header| header.value.split(|byte| *byte == b','));
    elements.any(|element| element.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Returns whether it is the Base64 of 16 bytes.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(is_digit)
}

pub(crate) fn refusal(status: &str, headers: &str) -> String {
    response(status, &format!("{headers}Content-Type: text/plain\r\n"), &format!("{status}\n"))
}

fn response(status: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n{body}"
    )
}

//! Requests: arrays of bulk strings, and inline commands. Nothing is copied out of the input, except the
//! arguments of a long array that has not arrived completely.
//!
//! Whether a request is malformed depends on its bytes alone, never on the pieces that it comes in.

use super::reply::parse_number;
use std::ops::{Index, Range};

/// The longest argument, as in redis (`proto-max-bulk-len`).
pub(super) const BULK_MAX: usize = 512 * 1024 * 1024;
/// The largest number of arguments, as in redis before 7.
const ARGUMENTS_MAX: usize = 1024 * 1024;
/// The length of all arguments together, as in redis (`client-query-buffer-limit`).
const REQUEST_MAX: usize = 2 * BULK_MAX;
/// The longest inline command, as in redis.
const INLINE_MAX: usize = 64 * 1024;
/// A line with a length is no longer than the longest number, with room to spare.
const HEADER_MAX: usize = 32;
/// The length from which on complete arguments of an incomplete array are copied and not parsed again.
const GATHER_MIN: usize = 4096;
/// The room that a peer gets for announcing it. A longer argument gets twice what has arrived of it.
const NEED_AT_ONCE: usize = 1024 * 1024;

/// The longest input that is asked for at once: an argument with its length, behind those of less than
/// `GATHER_MIN` bytes.
pub(crate) const INPUT_MAX: usize = BULK_MAX + 2 * GATHER_MIN;

pub(super) type Span = Range<usize>;

/// The arguments of a request, the command's name first.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Arguments<'a> {
    pub(super) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    pub(super) fn len(self) -> usize {
        self.spans.len()
    }

    pub(super) fn get(self, at: usize) -> Option<&'a [u8]> {
        self.spans.get(at).map(|span| &self.bytes[span.clone()])
    }

    /// Returns the arguments from number `at` on.
    pub(super) fn from(self, at: usize) -> impl Iterator<Item = &'a [u8]> {
        let Self { bytes, spans } = self;
        spans.iter().skip(at).map(|span| &bytes[span.clone()])
    }
}

impl Index<usize> for Arguments<'_> {
    type Output = [u8];

    /// Returns an argument, or nothing in place of one that is missing.
    fn index(&self, at: usize) -> &[u8] {
        self.get(at).unwrap_or_default()
    }
}

/// A reason to end the connection: the error that it ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    Text(&'static str),
    /// Something else in the place of an argument.
    ExpectedBulk(u8),
}

/// The outcome of parsing.
pub(super) enum Parsed {
    /// A request of `len` bytes, without arguments if there is nothing to do.
    Request { len: usize },
    /// The input has to have at least `need` bytes; any more if that is zero.
    Incomplete { need: usize },
    /// The beginning of a long array. Its arguments up to `at` are complete, and `left` are not.
    Part { at: usize, left: usize, need: usize },
}

/// The arguments of a long array that have arrived.
#[derive(Debug)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    left: usize,
}

impl Gathered {
    /// Begins with the arguments that `spans` are in `input`.
    pub(super) fn new(input: &[u8], spans: &[Span], left: usize) -> Self {
        let mut gathered = Self { bytes: Vec::new(), spans: Vec::new(), left };
        gathered.append(input, spans);
        gathered
    }

    fn append(&mut self, input: &[u8], spans: &[Span]) {
        for span in spans {
            let at = self.bytes.len();
            self.bytes.extend_from_slice(&input[span.clone()]);
            self.spans.push(at..self.bytes.len());
        }
    }

    /// Takes further arguments from the beginning of `input`. Returns how many bytes they have, and how many
    /// the input needs for the next one.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        spans: &mut Vec<Span>,
    ) -> Result<(usize, usize), Malformed> {
        spans.clear();
        let mut left = self.left;
        let (at, need) = arguments(input, 0, &mut left, spans)?;
        self.left = left;
        self.append(input, spans);
        if self.bytes.len() > REQUEST_MAX {
            return Err(Malformed::Text("too big request"));
        }
        Ok((at, need.saturating_sub(at)))
    }

    pub(super) fn is_complete(&self) -> bool {
        self.left == 0
    }

    pub(super) fn arguments(&self) -> Arguments<'_> {
        Arguments::new(&self.bytes, &self.spans)
    }
}

/// Parses the request that `input` begins with, and leaves in `spans` where its arguments are. An inline
/// command is unescaped in place.
pub(super) fn parse(input: &mut [u8], spans: &mut Vec<Span>) -> Result<Parsed, Malformed> {
    spans.clear();
    if input.first() != Some(&b'*') {
        return parse_inline(input, spans);
    }
    let invalid = Malformed::Text("invalid multibulk length");
    let Some((count, at)) = header(input, 0, invalid)? else {
        return Ok(Parsed::Incomplete { need: 0 });
    };
    let mut left = match usize::try_from(count) {
        Ok(count) if count > ARGUMENTS_MAX => return Err(invalid),
        Ok(count) => count,
        // Redis takes a negative number for nothing too.
        Err(_) => 0,
    };
    let (at, need) = arguments(input, at, &mut left, spans)?;
    Ok(match left {
        0 => Parsed::Request { len: at },
        _ if at >= GATHER_MIN => Parsed::Part { at, left, need: need.saturating_sub(at) },
        _ => Parsed::Incomplete { need },
    })
}

/// Parses up to `left` arguments from `at` on. Returns where the complete ones end and the length that the
/// input needs for the next one, if that is known.
fn arguments(
    input: &[u8],
    mut at: usize,
    left: &mut usize,
    spans: &mut Vec<Span>,
) -> Result<(usize, usize), Malformed> {
    let invalid = Malformed::Text("invalid bulk length");
    while *left > 0 {
        match input.get(at) {
            None => return Ok((at, 0)),
            Some(b'$') => {}
            Some(other) => return Err(Malformed::ExpectedBulk(*other)),
        }
        let Some((len, begin)) = header(input, at, invalid)? else { return Ok((at, 0)) };
        let len = usize::try_from(len).ok().filter(|len| *len <= BULK_MAX).ok_or(invalid)?;
        let end = begin + len;
        let Some(line_end) = input.get(end..end + 2) else {
            // Not all at once: what is announced need not come.
            return Ok((at, (end + 2).min((2 * input.len()).max(NEED_AT_ONCE))));
        };
        if line_end != b"\r\n" {
            return Err(invalid);
        }
        spans.push(begin..end);
        at = end + 2;
        *left -= 1;
    }
    Ok((at, 0))
}

/// Parses the line at `at`, a number behind one byte. Returns it with the place behind the line; `None` if
/// the line is not complete.
fn header(input: &[u8], at: usize, invalid: Malformed) -> Result<Option<(i64, usize)>, Malformed> {
    // Most numbers have one digit or two.
    match input[at + 1..] {
        [one @ b'0'..=b'9', b'\r', b'\n', ..] => return Ok(Some((i64::from(one - b'0'), at + 4))),
        [ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n', ..] => {
            return Ok(Some((i64::from(ten - b'0') * 10 + i64::from(one - b'0'), at + 5)));
        }
        _ => {}
    }
    let line = &input[at + 1..input.len().min(at + HEADER_MAX)];
    let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
        return if line.len() < HEADER_MAX - 1 { Ok(None) } else { Err(invalid) };
    };
    let number = line[..end].strip_suffix(b"\r").and_then(parse_number).ok_or(invalid)?;
    Ok(Some((number, at + 1 + end + 1)))
}

fn parse_inline(input: &mut [u8], spans: &mut Vec<Span>) -> Result<Parsed, Malformed> {
    let shown = input.len().min(INLINE_MAX);
    let Some(end) = input[..shown].iter().position(|&byte| byte == b'\n') else {
        let is_too_long = shown == INLINE_MAX;
        let need = Parsed::Incomplete { need: 0 };
        return if is_too_long { Err(Malformed::Text("too big inline request")) } else { Ok(need) };
    };
    split(&mut input[..end], spans).ok_or(Malformed::Text("unbalanced quotes in request"))?;
    Ok(Parsed::Request { len: end + 1 })
}

/// Splits a line at blanks, like redis. Quoted words are unescaped in place, which makes them shorter.
fn split(line: &mut [u8], spans: &mut Vec<Span>) -> Option<()> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0B);
    let mut at = 0;
    loop {
        at += line[at..].iter().take_while(|byte| is_blank(byte)).count();
        if at == line.len() {
            return Some(());
        }
        let begin = at;
        let mut end = at;
        while let Some(&byte) = line.get(at).filter(|byte| !is_blank(byte)) {
            at += 1;
            if matches!(byte, b'"' | b'\'') {
                (at, end) = unquote(line, at, end, byte)?;
                if line.get(at).is_some_and(|byte| !is_blank(byte)) {
                    return None;
                }
            } else {
                line[end] = byte;
                end += 1;
            }
        }
        spans.push(begin..end);
    }
}

/// Moves a quoted text from `at` to `end`, up to the `quote` that ends it.
fn unquote(line: &mut [u8], mut at: usize, mut end: usize, quote: u8) -> Option<(usize, usize)> {
    loop {
        let byte = match (&line[at..], quote) {
            ([], _) => return None,
            ([b'\\', b'x', high, low, ..], b'"')
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0);
                let value = digit(high) * 16 + digit(low);
                at += 4;
                u8::try_from(value).ok()?
            }
            ([b'\\', escaped, ..], b'"') => {
                at += 2;
                match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                }
            }
            ([b'\\', b'\'', ..], b'\'') => {
                at += 2;
                b'\''
            }
            ([byte, ..], _) => {
                at += 1;
                if *byte == quote {
                    return Some((at, end));
                }
                *byte
            }
        };
        line[end] = byte;
        end += 1;
    }
}

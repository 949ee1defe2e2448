//! An HTTP/1.1 server (RFC 9110, RFC 9112): `cargo run -p epoll-service --example http 127.0.0.1:0 FOLDER`.
//!
//! `/` answers two bytes, `/1k` a kibibyte, `/echo` what is posted to it, and other paths are files of the folder, if
//! one is given, and of where links in it lead. What could be understood in two ways, so that a proxy and a server
//! disagree on where a request ends, is refused and ends the connection.

mod head;

use epoll_connection::{Consumed, Context, Flow, Protocol};
use epoll_service::{Config, Peer, Server, Service, Signal, Signals};
use head::{Head, Length, Method, Status};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The time that the head of a request may take, from its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The length of the longest body that is taken.
const BODY_MAX: u32 = 1024 * 1024;
/// The length of the longest line that begins a chunk.
const CHUNK_LINE_MAX: usize = 1024;
/// The length of all trailers together.
const TRAILER_MAX: u32 = 1024;
/// The part of a file that is in memory at once.
const PIECE: u64 = 64 * 1024;

/// The state of a thread: the date as it stands in answers, and the folder.
#[derive(Default)]
pub(crate) struct Shared {
    second: u64,
    date: String,
    folder: Option<Arc<Path>>,
}

impl Shared {
    /// Returns the state that a thread begins with.
    pub(crate) fn of(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Arc::from), ..Self::default() }
    }
}

/// The part of a request that is expected next.
#[derive(Debug, Default)]
enum Next {
    #[default]
    Head,
    /// This many bytes of a body.
    Body(u32),
    /// The line with the length of a chunk; this many bytes of the body have come.
    ChunkLine(u32),
    /// The rest of a chunk: `left` bytes.
    Chunk { left: u32, total: u32 },
    /// The empty line after a chunk.
    ChunkEnd(u32),
    /// Lines after the last chunk, which have this many bytes so far.
    Trailer(u32),
    /// Ours: the rest of a file.
    File(Box<Rest>),
}

#[derive(Debug)]
struct Rest {
    file: File,
    left: u64,
}

/// The answer that is given when the body has come.
#[derive(Debug, Default, PartialEq, Eq)]
enum Answer {
    #[default]
    Small,
    Kilobyte,
    /// The body as it comes; the head of the answer is sent already.
    Echo,
    File(Box<PathBuf>),
    Refusal(Status),
}

/// One connection of HTTP/1.1.
#[derive(Debug, Default)]
pub(crate) struct Http {
    next: Next,
    answer: Answer,
    is_head_only: bool,
    /// The connection ends after this answer.
    closes: bool,
    is_1_0: bool,
    /// The deadline of a head is set.
    is_timed: bool,
    is_draining: bool,
}

type Surroundings<'a> = Context<'a, Shared, ()>;

impl Protocol for Http {
    type Local = Shared;
    type Message = ();

    fn on_input(&mut self, input: &mut [u8], context: &mut Surroundings<'_>) -> Consumed {
        match self.next {
            Next::Head => self.on_head(input, context),
            Next::Body(left) => {
                let (len, left) = part(input, left);
                self.next = Next::Body(left);
                let consumed = match self.answer {
                    Answer::Echo => Consumed::pass(len),
                    _ => Consumed::bytes(len),
                };
                consumed.then(if left == 0 { self.answer(context) } else { Flow::Keep })
            }
            Next::Chunk { left, total } => {
                let (len, left) = part(input, left);
                self.next =
                    if left == 0 { Next::ChunkEnd(total) } else { Next::Chunk { left, total } };
                if self.answer == Answer::Echo {
                    write_chunk(&input[..len], context);
                }
                Consumed::bytes(len)
            }
            Next::ChunkLine(_) | Next::ChunkEnd(_) | Next::Trailer(_) => {
                self.on_line(input, context)
            }
            // No input is shown while a file is sent.
            Next::File(..) => Consumed::nothing().then(Flow::Abort),
        }
    }

    fn on_written(&mut self, context: &mut Surroundings<'_>) -> Flow {
        let Next::File(rest) = &mut self.next else { return Flow::Keep };
        let Rest { file, left } = &mut **rest;
        let piece = PIECE.min(*left);
        match file.by_ref().take(piece).read_to_end(context.output()) {
            Ok(len) if len as u64 == piece => *left -= piece,
            // The length has been promised, and an end would look like a complete answer.
            _ => return Flow::Abort,
        }
        if *left > 0 { Flow::Produce } else { self.end_answer() }
    }

    fn on_deadline(&mut self, context: &mut Surroundings<'_>) -> Flow {
        self.refuse(Status::RequestTimeout, context)
    }

    fn on_drain(&mut self, _: &mut Surroundings<'_>) -> Flow {
        self.is_draining = true;
        // Where the head of the answer has not been written, it says so.
        self.closes |= self.is_busy();
        Flow::Keep
    }

    fn is_busy(&self) -> bool {
        !matches!(self.next, Next::Head)
    }
}

impl Http {
    fn on_head(&mut self, input: &[u8], context: &mut Surroundings<'_>) -> Consumed {
        let (head, len) = match head::parse(input) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                if !std::mem::replace(&mut self.is_timed, true) {
                    context.set_deadline(Some(HEAD_TIMEOUT));
                }
                return Consumed::nothing();
            }
            Err(status) => return Consumed::nothing().then(self.refuse(status, context)),
        };
        if std::mem::take(&mut self.is_timed) {
            context.set_deadline(None);
        }
        if matches!(head.length, Length::Bytes(length) if length > BODY_MAX.into()) {
            return Consumed::nothing().then(self.refuse(Status::ContentTooLarge, context));
        }
        self.closes = head.closes || self.is_draining;
        self.is_1_0 = head.is_1_0;
        self.is_head_only = head.method == Method::Head;
        self.answer = route(&head, context.local());
        if head.expects_continue && head.length != Length::Bytes(0) {
            context.write(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if self.answer == Answer::Echo {
            match head.length {
                Length::Bytes(length) => self.write_head(Status::Ok, Some(length), context),
                Length::Chunked => self.write_head(Status::Ok, None, context),
            }
        }
        let flow = match head.length {
            Length::Bytes(0) => self.answer(context),
            Length::Bytes(length) => {
                self.next = Next::Body(u32::try_from(length).unwrap_or(BODY_MAX));
                Flow::Keep
            }
            Length::Chunked => {
                self.next = Next::ChunkLine(0);
                Flow::Keep
            }
        };
        Consumed::bytes(len).then(flow)
    }

    /// A line of the chunked coding.
    fn on_line(&mut self, input: &[u8], context: &mut Surroundings<'_>) -> Consumed {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            if input.len() <= CHUNK_LINE_MAX {
                return Consumed::nothing();
            }
            return Consumed::nothing().then(self.refuse_body(Status::BadRequest, context));
        };
        let taken = Consumed::bytes(end + 1);
        // A line ends with both; a lone line feed is where two parsers disagree.
        let line = input[..end].strip_suffix(b"\r").filter(|line| line.len() <= CHUNK_LINE_MAX);
        let next = match (&self.next, line) {
            (Next::ChunkLine(total), Some(line)) => match head::chunk_len(line) {
                Some(0) => Ok(Next::Trailer(0)),
                Some(len) => match u32::try_from(len) {
                    Ok(left) if left <= BODY_MAX - total => {
                        Ok(Next::Chunk { left, total: total + left })
                    }
                    _ => Err(Status::ContentTooLarge),
                },
                None => Err(Status::BadRequest),
            },
            (Next::ChunkEnd(total), Some(b"")) => Ok(Next::ChunkLine(*total)),
            (Next::Trailer(_), Some(b"")) => {
                if self.answer == Answer::Echo {
                    context.write(b"0\r\n\r\n");
                }
                return taken.then(self.answer(context));
            }
            (Next::Trailer(len), Some(line)) => match u32::try_from(line.len()) {
                Ok(more) if len + more <= TRAILER_MAX => Ok(Next::Trailer(len + more)),
                _ => Err(Status::BadRequest),
            },
            _ => Err(Status::BadRequest),
        };
        match next {
            Ok(next) => {
                self.next = next;
                taken
            }
            Err(status) => taken.then(self.refuse_body(status, context)),
        }
    }

    /// Answers a request whose body has come.
    fn answer(&mut self, context: &mut Surroundings<'_>) -> Flow {
        const KILOBYTE: [u8; 1024] = [b'x'; 1024];
        match std::mem::take(&mut self.answer) {
            Answer::Echo => {}
            Answer::Small => self.write_answer(Status::Ok, b"ok", context),
            Answer::Kilobyte => self.write_answer(Status::Ok, &KILOBYTE, context),
            Answer::Refusal(status) => self.write_answer(status, status.text().as_bytes(), context),
            Answer::File(path) => return self.send_file(&path, context),
        }
        self.end_answer()
    }

    fn send_file(&mut self, path: &Path, context: &mut Surroundings<'_>) -> Flow {
        let Ok(Some((file, len))) = open(path) else {
            self.write_answer(Status::NotFound, Status::NotFound.text().as_bytes(), context);
            return self.end_answer();
        };
        self.write_head(Status::Ok, Some(len), context);
        if self.is_head_only || len == 0 {
            return self.end_answer();
        }
        self.next = Next::File(Box::new(Rest { file, left: len }));
        Flow::Produce
    }

    fn end_answer(&mut self) -> Flow {
        self.next = Next::Head;
        if self.closes { Flow::Finish } else { Flow::Keep }
    }

    /// Answers that the request is not understood, or not served; nothing more is read.
    fn refuse(&mut self, status: Status, context: &mut Surroundings<'_>) -> Flow {
        self.closes = true;
        self.is_head_only = false;
        self.write_answer(status, status.text().as_bytes(), context);
        Flow::Finish
    }

    /// The same in the middle of a body.
    fn refuse_body(&mut self, status: Status, context: &mut Surroundings<'_>) -> Flow {
        // Where the answer has begun, only a reset says that it is not complete.
        if self.answer == Answer::Echo { Flow::Abort } else { self.refuse(status, context) }
    }

    fn write_answer(&self, status: Status, body: &[u8], context: &mut Surroundings<'_>) {
        self.write_head(status, Some(body.len() as u64), context);
        if !self.is_head_only {
            context.write(body);
        }
    }

    /// Writes the head of an answer with a body of this length, or with a chunked one.
    fn write_head(&self, status: Status, length: Option<u64>, context: &mut Surroundings<'_>) {
        use std::io::Write;
        let second = context.wall_clock().since_epoch().as_secs();
        let (shared, output) = context.parts();
        if shared.date.is_empty() || shared.second != second {
            let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            (shared.second, shared.date) = (second, httpdate::fmt_http_date(time));
        }
        let mut line = |part: &[u8]| output.extend_from_slice(part);
        line(b"HTTP/1.1 ");
        line(status.text().as_bytes());
        line(b"\r\nDate: ");
        line(shared.date.as_bytes());
        line(match (self.closes, self.is_1_0) {
            (true, _) => b"\r\nConnection: close",
            (false, true) => b"\r\nConnection: keep-alive",
            (false, false) => b"",
        });
        line(if status == Status::MethodNotAllowed { b"\r\nAllow: GET, HEAD" } else { b"" });
        match length {
            // A vector takes everything.
            Some(length) => drop(write!(output, "\r\nContent-Length: {length}\r\n\r\n")),
            None => line(b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        }
    }
}

/// Returns the answer to a method and a path.
fn route(head: &Head<'_>, shared: &Shared) -> Answer {
    let reads = matches!(head.method, Method::Get | Method::Head);
    match head.path {
        "/echo" if !reads => Answer::Echo,
        "/" | "/1k" if !reads => Answer::Refusal(Status::MethodNotAllowed),
        "/" => Answer::Small,
        "/1k" => Answer::Kilobyte,
        "/echo" => Answer::Refusal(Status::MethodNotAllowed),
        path => match shared.folder.as_deref().and_then(|folder| head::file(folder, path)) {
            Some(_) if !reads => Answer::Refusal(Status::MethodNotAllowed),
            Some(path) => Answer::File(Box::new(path)),
            None => Answer::Refusal(Status::NotFound),
        },
    }
}

/// Opens a file, and returns it with its length; `None` if it is something else.
fn open(path: &Path) -> std::io::Result<Option<(File, u64)>> {
    // A FIFO without a writer would stop the thread.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let about = file.metadata()?;
    Ok(about.is_file().then_some((file, about.len())))
}

/// Returns the length of the part of `input` that belongs to the next `left` bytes, and what is left of them.
fn part(input: &[u8], left: u32) -> (usize, u32) {
    let len = u32::try_from(input.len()).map_or(left, |len| len.min(left));
    (len as usize, left - len)
}

fn write_chunk(bytes: &[u8], context: &mut Surroundings<'_>) {
    use std::io::Write;
    let _ = write!(context.output(), "{:x}\r\n", bytes.len());
    context.write(bytes);
    context.write(b"\r\n");
}

struct Site {
    folder: Option<Arc<Path>>,
}

impl Service for Site {
    type Protocol = Http;

    fn local(&self, _: usize) -> Shared {
        Shared::of(self.folder.as_deref())
    }

    fn accept(&self, _: usize, _: &Peer, _: &mut Shared) -> Option<Http> {
        Some(Http::default())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let address = arguments.next().ok_or("usage: http ADDRESS [FOLDER]")?;
    let address = address.to_str().ok_or("the address is not UTF-8")?.parse()?;
    let folder = arguments.next().map(|folder| PathBuf::from(folder).into());
    // First of all, while there is one thread.
    let signals = Signals::block([Signal::TERM, Signal::INT])?;
    let server = Server::bind(Site { folder }, &Config::at([address]))?;
    let address = server.addresses()[0];
    server.run(&signals, || println!("listening on {address}"))?;
    Ok(())
}

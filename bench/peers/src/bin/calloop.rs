//! calloop, level-triggered: every connection is an event source of its own.

use anyhow::Context;
use calloop::generic::Generic;
use calloop::{
    EventLoop, EventSource, Interest, Mode, Poll, PostAction, Readiness, Token, TokenFactory,
};
use epoll_kit_bench_peers::{BUFFER_LEN, Options, Threading, Unsent, accept, run};
use std::cell::RefCell;
use std::io::{self, Read};
use std::net::TcpStream;
use std::process::ExitCode;
use std::rc::Rc;

fn main() -> ExitCode {
    run(Threading::Fixed, serve)
}

type Buffer = Rc<RefCell<Box<[u8]>>>;

struct Connection {
    socket: Generic<TcpStream>,
    unsent: Unsent,
    /// The one of the loop.
    buffer: Buffer,
}

enum Step {
    Go,
    Watch(Interest),
    Close,
}

fn serve(options: &Options) -> anyhow::Result<()> {
    let mut event_loop: EventLoop<'_, ()> = EventLoop::try_new()?;
    let handle = event_loop.handle();
    let buffer: Buffer = Rc::new(RefCell::new(vec![0; BUFFER_LEN].into()));
    let listener = Generic::new(options.listen()?, Interest::READ, Mode::Level);
    let accept_all = move |_, listener: &mut _, (): &mut _| {
        while let Some(stream) = accept(&*listener)? {
            let connection = Connection::new(stream, Rc::clone(&buffer));
            let inserted = handle.insert_source(connection, |(), (), ()| ());
            inserted.map_err(|error| io::Error::other(error.error))?;
        }
        Ok(PostAction::Continue)
    };
    event_loop.handle().insert_source(listener, accept_all).map_err(|error| error.error)?;
    event_loop.run(None, &mut (), |()| ()).context("failed to wait or to accept")
}

impl Connection {
    fn new(stream: TcpStream, buffer: Buffer) -> Self {
        let socket = Generic::new(stream, Interest::READ, Mode::Level);
        Self { socket, unsent: Unsent::default(), buffer }
    }
}

impl EventSource for Connection {
    type Event = ();
    type Metadata = ();
    type Ret = ();
    type Error = io::Error;

    /// Takes a step of the connection. A failure only closes this connection, because an error returned
    /// from here would end the loop.
    fn process_events<F>(
        &mut self,
        readiness: Readiness,
        token: Token,
        _: F,
    ) -> io::Result<PostAction>
    where
        F: FnMut((), &mut ()),
    {
        let mut done = Step::Go;
        self.socket.process_events(readiness, token, |_, stream| {
            done = step(stream, &mut self.unsent, &mut self.buffer.borrow_mut());
            Ok(PostAction::Continue)
        })?;
        Ok(match done {
            Step::Go => PostAction::Continue,
            Step::Watch(interest) => {
                self.socket.interest = interest;
                PostAction::Reregister
            }
            Step::Close => PostAction::Remove,
        })
    }

    fn register(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.socket.register(poll, factory)
    }

    fn reregister(&mut self, poll: &mut Poll, factory: &mut TokenFactory) -> calloop::Result<()> {
        self.socket.reregister(poll, factory)
    }

    fn unregister(&mut self, poll: &mut Poll) -> calloop::Result<()> {
        self.socket.unregister(poll)
    }
}

fn step(mut stream: &TcpStream, unsent: &mut Unsent, buffer: &mut [u8]) -> Step {
    if !unsent.is_empty() {
        return match unsent.flush(stream) {
            Ok(true) => Step::Watch(Interest::READ),
            Ok(false) => Step::Go,
            Err(_) => Step::Close,
        };
    }
    let len = match stream.read(buffer) {
        Ok(len) if len > 0 => len,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Go,
        Ok(_) | Err(_) => return Step::Close,
    };
    match unsent.send(stream, &buffer[..len]) {
        Ok(true) => Step::Go,
        Ok(false) => Step::Watch(Interest::WRITE),
        Err(_) => Step::Close,
    }
}

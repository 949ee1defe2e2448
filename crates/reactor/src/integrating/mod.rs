//! A chapter with examples: a reactor inside loops of other crates, beside threads, and across `fork`.
//!
//! - [In mio](#in-mio), [in tokio](#in-tokio), [in calloop](#in-calloop), [in poll](#in-poll2-and-glib),
//!   [in another reactor](#in-another-reactor)
//! - [Beside threads](#beside-threads), [a pool of threads](#a-pool-of-threads-behind-a-shared-reactor)
//! - [Signals and timers](#signals-and-timers)
//! - [Fork, exec and threads](#fork-exec-and-threads)
//!
//! # The rule
//!
//! A reactor has one descriptor ([`AsFd`], [`AsRawFd`]), which is
//! readable while the reactor has something to report. The outer loop watches it for reading, and makes a
//! turn when it is readable: a wait with a timeout of zero, then every report of the batch.
//!
//! - With a **level trigger** one turn for each report of the outer loop is enough.
//! - With an **edge trigger** the program makes turns until one reports nothing. Other work of the outer
//!   loop may come between them.
//!
//! The descriptor is readable again after a turn that left something: a [revisit], the
//! rest of a batch, or sources that one batch did not take. Once the descriptor was asked for, a turn
//! that reports something costs two system calls more.
//!
//! The outer loop neither reads nor closes the descriptor. After [`Reactor::rebuild`] it has to watch the
//! reactor again.
//!
//! The examples serve the same echo clients. A client keeps what a write did not take, handles the end
//! of its peer, and reads once for each report, so that none keeps the others waiting:
//!
//! ```
#![doc = include_str!("clients.rs")]
//! #
//! # fn main() -> io::Result<()> {
//! #     let (ours, theirs) = Stream::pair()?;
//! #     let mut reactor: Reactor<Client> = Reactor::new()?;
//! #     let client = Client { stream: ours, rest: Vec::new() };
//! #     reactor.insert(client, Watch::level(Interest::IN))?;
//! #     assert!(!turn(&mut reactor)?);
//! #     drop(theirs);
//! #     assert!(turn(&mut reactor)?);
//! #     assert!(reactor.is_empty());
//! #     Ok(())
//! # }
//! ```
//!
//! # In mio
//!
//! mio is edge-triggered. Turns follow one another, with a look at the other sources of the loop in
//! between, until one reports nothing.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/clients.rs"));
//! use mio::unix::SourceFd;
//! use std::os::fd::AsRawFd;
//!
//! const CLIENTS: mio::Token = mio::Token(0);
//!
//! fn serve(mut reactor: Reactor<Client>) -> io::Result<()> {
//!     let mut poll = mio::Poll::new()?;
//!     let mut events = mio::Events::with_capacity(64);
//!     let readable = mio::Interest::READABLE;
//!     poll.registry().register(&mut SourceFd(&reactor.as_raw_fd()), CLIENTS, readable)?;
//!
//!     // Until a turn has reported nothing there may be more, which no event would tell.
//!     let mut is_due = false;
//!     while !reactor.is_empty() {
//!         match poll.poll(&mut events, is_due.then_some(Duration::ZERO)) {
//!             Err(error) if error.kind() == ErrorKind::Interrupted => continue,
//!             polled => polled?,
//!         }
//!         is_due |= events.iter().any(|event| event.token() == CLIENTS);
//!         // …other sources of this loop…
//!         if is_due {
//!             is_due = turn(&mut reactor)?;
//!         }
//!     }
//!     Ok(())
//! }
//! #
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/check.rs"));
//! # fn main() -> io::Result<()> {
//! #     check(serve)
//! # }
//! ```
//!
//! # In tokio
//!
//! `AsyncFd` owns the reactor. Its readiness is cleared by a turn that reported nothing, and by no other:
//! until then `readable_mut` returns at once, and lets other tasks run when the task's budget is spent.
//! The safe constructor is deprecated in favour of `unsafe` ones, whose condition holds for a reactor that
//! is not [rebuilt][`Reactor::rebuild`]: it keeps its descriptor for as long as it lives.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/clients.rs"));
//! use tokio::io::unix::AsyncFd;
//!
//! async fn serve_in_tokio(reactor: Reactor<Client>) -> io::Result<()> {
//!     #[allow(deprecated)]
//!     let mut reactor = AsyncFd::with_interest(reactor, tokio::io::Interest::READABLE)?;
//!     while !reactor.get_ref().is_empty() {
//!         let mut ready = reactor.readable_mut().await?;
//!         if !turn(ready.get_inner_mut())? {
//!             ready.clear_ready();
//!         }
//!     }
//!     Ok(())
//! }
//! #
//! # fn serve(reactor: Reactor<Client>) -> io::Result<()> {
//! #     let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! #     runtime.block_on(serve_in_tokio(reactor))
//! # }
//! #
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/check.rs"));
//! # fn main() -> io::Result<()> {
//! #     check(serve)
//! # }
//! ```
//!
//! # In calloop
//!
//! calloop lends nothing that it owns to be changed, so it is given a clone of the descriptor, and the
//! reactor is part of the loop's data. One turn for each report is enough in the mode `Level`. Remove the
//! source from the loop before the reactor is dropped: a clone keeps an epoll instance open.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/clients.rs"));
//! use calloop::generic::Generic;
//! use calloop::{EventLoop, Mode, PostAction};
//!
//! fn serve_in_calloop(mut reactor: Reactor<Client>) -> calloop::Result<()> {
//!     let mut event_loop = EventLoop::try_new()?;
//!     let descriptor = reactor.as_fd().try_clone_to_owned()?;
//!     let source = Generic::new(descriptor, calloop::Interest::READ, Mode::Level);
//!     let watched = event_loop.handle().insert_source(source, |_, _, reactor| {
//!         turn(reactor)?;
//!         Ok(PostAction::Continue)
//!     });
//!     let watched = watched.map_err(|error| error.error)?;
//!     while !reactor.is_empty() {
//!         event_loop.dispatch(None, &mut reactor)?;
//!     }
//!     event_loop.handle().remove(watched);
//!     Ok(())
//! }
//! #
//! # fn serve(reactor: Reactor<Client>) -> io::Result<()> {
//! #     serve_in_calloop(reactor).map_err(io::Error::other)
//! # }
//! #
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/check.rs"));
//! # fn main() -> io::Result<()> {
//! #     check(serve)
//! # }
//! ```
//!
//! # In `poll(2)` and GLib
//!
//! `poll` is level-triggered: watch the number of the descriptor for `POLLIN` and make a turn when it is
//! set. For GLib that is a source of the main context, by `g_unix_fd_add` with `G_IO_IN`.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/clients.rs"));
//! use rustix::event::{PollFd, PollFlags, poll};
//!
//! fn serve(mut reactor: Reactor<Client>) -> io::Result<()> {
//!     while !reactor.is_empty() {
//!         let mut fds = [PollFd::new(&reactor, PollFlags::IN)];
//!         match poll(&mut fds, None) {
//!             Err(rustix::io::Errno::INTR) => continue,
//!             polled => drop(polled?),
//!         }
//!         if fds[0].revents().contains(PollFlags::IN) {
//!             turn(&mut reactor)?;
//!         }
//!     }
//!     Ok(())
//! }
//! #
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/check.rs"));
//! # fn main() -> io::Result<()> {
//! #     check(serve)
//! # }
//! ```
//!
//! # In another reactor
//!
//! A reactor is a [`Source`](crate::Source), so another one can own it or watch it. A library can keep its
//! connections to itself and hand its user one descriptor. The kernel allows a chain of five epoll
//! instances; a [`Listener`](crate::net::Listener) that makes its own pauses has one.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/clients.rs"));
//! use epoll_reactor::NoSource;
//!
//! #[derive(Clone, Copy)]
//! enum Part {
//!     Clients,
//! }
//!
//! fn serve(mut clients: Reactor<Client>) -> io::Result<()> {
//!     let mut outer: Reactor<NoSource, Part> = Reactor::watch_only()?;
//!     outer.watch(&clients, Part::Clients, Watch::level(Interest::IN))?;
//!     while !clients.is_empty() {
//!         outer.wait(None)?;
//!         while let Some(ready) = outer.next_ready() {
//!             let Ready::Watched { tag: Part::Clients, .. } = ready else { continue };
//!             turn(&mut clients)?;
//!         }
//!     }
//!     Ok(())
//! }
//! #
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/check.rs"));
//! # fn main() -> io::Result<()> {
//! #     check(serve)
//! # }
//! ```
//!
//! # Beside threads
//!
//! A reactor belongs to one thread. Other threads put what they have into a channel and then use a
//! [`Waker`](crate::Waker); the reactor's thread empties the channel when it is told of the wake. A client
//! that waits for another thread is [parked]: whatever its peer does, no wait ends for it.
//! The job carries the token of the client, which names nobody if the client is gone by then.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/clients.rs"));
//! use epoll_reactor::{Readiness, Token};
//! use std::sync::mpsc;
//! use std::thread;
//!
//! struct Job {
//!     client: Token,
//!     request: Vec<u8>,
//! }
//!
//! /// Reads a request and hands it to the thread, or writes what is left of an answer.
//! fn on_ready(mut client: impl Registration<Source = Client>, jobs: &mpsc::Sender<Job>) {
//!     if !client.rest.is_empty() {
//!         return answer(client, Vec::new());
//!     }
//!     match client.fill() {
//!         Ok(true) if client.rest.is_empty() => {}
//!         Ok(true) => {
//!             let request = std::mem::take(&mut client.rest);
//!             let job = Job { client: client.token(), request };
//!             if client.park().is_err() || jobs.send(job).is_err() {
//!                 client.close();
//!             }
//!         }
//!         Ok(false) | Err(_) => client.close(),
//!     }
//! }
//!
//! /// Writes an answer. The new interest ends the silence of the client.
//! fn answer(mut client: impl Registration<Source = Client>, answer: Vec<u8>) {
//!     client.rest.extend(answer);
//!     let interest = client.flush();
//!     if interest.and_then(|interest| client.set_interest(interest)).is_err() {
//!         client.close();
//!     }
//! }
//!
//! fn serve(mut reactor: Reactor<Client>) -> io::Result<()> {
//!     let (jobs, queue) = mpsc::channel::<Job>();
//!     let (done, answers) = mpsc::channel();
//!     let waker = reactor.waker();
//!     let working = thread::spawn(move || {
//!         for job in queue {
//!             // …what takes long: a file, a name, a sum…
//!             if done.send((job.client, job.request)).is_err() || waker.wake().is_err() {
//!                 break;
//!             }
//!         }
//!     });
//!     while !reactor.is_empty() {
//!         reactor.wait(None)?;
//!         while let Some(ready) = reactor.next_ready() {
//!             match ready {
//!                 Ready::Owned { token, .. } => {
//!                     if let Some(client) = reactor.entry(token) {
//!                         on_ready(client, &jobs);
//!                     }
//!                 }
//!                 Ready::Woken => {
//!                     for (token, bytes) in answers.try_iter() {
//!                         if let Some(client) = reactor.entry(token) {
//!                             answer(client, bytes);
//!                         }
//!                     }
//!                 }
//!                 Ready::Watched { .. } => {}
//!             }
//!         }
//!     }
//!     drop(jobs);
//!     working.join().expect("it does not panic");
//!     Ok(())
//! }
//! #
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/check.rs"));
//! # fn main() -> io::Result<()> {
//! #     check(serve)
//! # }
//! ```
//!
//! # A pool of threads behind a shared reactor
//!
//! With a [`SharedReactor`](crate::shared::SharedReactor) several threads read and write, and others
//! compute. The handler parks its client and hands on a job; when the job is done,
//! [`notify`](crate::shared::SharedReactor::notify) brings the client to the next thread that waits. It
//! may come before the handler has let go of the client: then the client is handed out again when the
//! lease ends. [`unpark`](crate::shared::SharedReactor::unpark) instead of it ends the silence without
//! a word to the handler, for a job that has no result.
//!
//! ```
//! use epoll_reactor::net::Stream;
//! use epoll_reactor::shared::{Lease, LeaseReady, SharedReactor};
//! use epoll_reactor::{Interest, Registration, Source, Token, Watch};
//! use std::io::{self, ErrorKind, Read, Write};
//! use std::os::fd::{AsFd, BorrowedFd};
//! use std::sync::{Mutex, mpsc};
//! use std::thread;
//!
//! struct Client {
//!     stream: Stream,
//!     rest: Vec<u8>,
//!     /// Brings the answer to the job that the client waits for.
//!     answer: Option<mpsc::Receiver<Vec<u8>>>,
//! }
//! # impl AsFd for Client {
//! #     fn as_fd(&self) -> BorrowedFd<'_> { self.stream.as_fd() }
//! # }
//! # impl Source for Client {
//! #     fn is_nonblocking(&self) -> bool { self.stream.is_nonblocking() }
//! # }
//! # impl Client {
//! #     fn flush(&mut self) -> io::Result<Interest> {
//! #         while !self.rest.is_empty() {
//! #             match self.stream.write(&self.rest) {
//! #                 Ok(len) => drop(self.rest.drain(..len)),
//! #                 Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Interest::OUT),
//! #                 Err(error) => return Err(error),
//! #             }
//! #         }
//! #         Ok(Interest::IN)
//! #     }
//! # }
//!
//! struct Job {
//!     client: Token,
//!     request: Vec<u8>,
//!     answer: mpsc::Sender<Vec<u8>>,
//! }
//!
//! /// Reads, begins a job, or writes. Returns `false` at the end of the connection.
//! fn serve(client: &mut Lease<'_, Client>, jobs: &mpsc::Sender<Job>) -> io::Result<bool> {
//!     match client.answer.as_ref().map(mpsc::Receiver::try_recv) {
//!         Some(Ok(answer)) => {
//!             client.answer = None;
//!             client.rest = answer;
//!         }
//!         // The thread that had the job has panicked.
//!         Some(Err(mpsc::TryRecvError::Disconnected)) => return Ok(false),
//!         Some(Err(mpsc::TryRecvError::Empty)) | None => {}
//!     }
//!     if client.answer.is_none() && client.rest.is_empty() {
//!         let mut buffer = [0; 4096];
//!         match client.stream.read(&mut buffer) {
//!             Ok(0) => return Ok(false),
//!             Ok(len) => {
//!                 let (sender, answer) = mpsc::channel();
//!                 let request = buffer[..len].to_vec();
//!                 client.answer = Some(answer);
//!                 jobs.send(Job { client: client.token(), request, answer: sender })
//!                     .map_err(io::Error::other)?;
//!             }
//!             Err(error) if error.kind() == ErrorKind::WouldBlock => {}
//!             Err(error) => return Err(error),
//!         }
//!     }
//!     if client.answer.is_some() {
//!         client.park()?;
//!     } else {
//!         let interest = client.flush()?;
//!         client.set_interest(interest)?;
//!     }
//!     Ok(true)
//! }
//!
//! fn work(reactor: &SharedReactor<Client>, jobs: &mpsc::Sender<Job>) -> io::Result<()> {
//!     let mut worker = reactor.worker();
//!     while worker.wait(None)? {
//!         while let Some(ready) = worker.next_ready() {
//!             let LeaseReady::Owned(mut client) = ready else { continue };
//!             if client.close_requested() || !serve(&mut client, jobs).unwrap_or(false) {
//!                 client.close();
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//!
//! fn compute(reactor: &SharedReactor<Client>, queue: &Mutex<mpsc::Receiver<Job>>) {
//!     loop {
//!         let job = queue.lock().unwrap().recv();
//!         let Ok(Job { client, request, answer }) = job else { break };
//!         let sum = request.iter().map(|&byte| u64::from(byte)).sum::<u64>();
//!         // It fails if the client is gone, and then nobody is to be notified either.
//!         if answer.send(format!("{sum}\n").into_bytes()).is_ok() {
//!             let _ = reactor.notify(client);
//!         }
//!     }
//! }
//!
//! let reactor: SharedReactor<Client> = SharedReactor::new()?;
//! let (ours, theirs) = Stream::pair()?;
//! let client = Client { stream: ours, rest: Vec::new(), answer: None };
//! reactor.insert(client, Watch::oneshot(Interest::IN))?;
//! let (jobs, queue) = mpsc::channel();
//! let queue = Mutex::new(queue);
//! thread::scope(|threads| -> io::Result<()> {
//!     let workers = [jobs.clone(), jobs].map(|jobs| {
//!         let reactor = &reactor;
//!         threads.spawn(move || work(reactor, &jobs))
//!     });
//!     for _ in 0..2 {
//!         threads.spawn(|| compute(&reactor, &queue));
//!     }
//! #   let mut theirs = std::os::unix::net::UnixStream::from(std::os::fd::OwnedFd::from(theirs));
//! #   theirs.set_nonblocking(false)?;
//! #   for (request, sum) in [("a", "97\n"), ("ab", "195\n"), ("a", "97\n")] {
//! #       theirs.write_all(request.as_bytes())?;
//! #       let mut answer = vec![0; sum.len()];
//! #       theirs.read_exact(&mut answer)?;
//! #       assert_eq!(answer, sum.as_bytes());
//! #   }
//!     // …peers come and go here…
//!     reactor.stop()?;
//!     workers.into_iter().try_for_each(|worker| worker.join().unwrap())
//! })?;
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # Signals and timers
//!
//! `Signals` of the crate `epoll-shutdown` and `Timers` of `epoll-timers` have a descriptor each, which the
//! reactor watches under a tag. Neither crate knows the reactor. Here each client has a timeout, which
//! names it by its token, and a signal ends the loop.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/integrating/clients.rs"));
//! use epoll_reactor::Token;
//! use epoll_shutdown::{Signal, Signals};
//! use epoll_timers::Timers;
//! use std::error::Error;
//!
//! #[derive(Clone, Copy)]
//! enum Tag {
//!     Signal,
//!     Timeout,
//! }
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     // Before any other thread is started, which would get the signals.
//!     let signals = Signals::block([Signal::TERM, Signal::INT])?;
//!     let mut timers: Timers<Token> = Timers::new()?;
//!     let mut reactor: Reactor<Client, Tag> = Reactor::new()?;
//!     reactor.watch(&signals, Tag::Signal, Watch::level(Interest::IN))?;
//!     reactor.watch(&timers, Tag::Timeout, Watch::edge(Interest::IN))?;
//!
//!     // A connection that was accepted, say.
//!     let (stream, _peer) = Stream::pair()?;
//!     let client = Client { stream, rest: Vec::new() };
//!     let client = reactor.insert(client, Watch::level(Interest::IN))?;
//!     timers.insert(timers.now() + Duration::from_millis(5), client)?;
//!
//!     let mut is_stopping = false;
//!     while !is_stopping {
//!         reactor.wait(None)?;
//!         while let Some(ready) = reactor.next_ready() {
//!             match ready {
//!                 Ready::Watched { tag: Tag::Signal, .. } => {
//!                     is_stopping |= signals.read()?.is_some();
//!                 }
//!                 Ready::Watched { tag: Tag::Timeout, .. } => {
//!                     let now = timers.now();
//!                     while let Some(fired) = timers.next_due(now)? {
//!                         // The token of a client that is gone names nobody.
//!                         reactor.close(fired.value);
//! #                       Signal::TERM.queue(std::process::id(), 0)?;
//!                     }
//!                 }
//!                 Ready::Owned { token, .. } => {
//!                     if let Some(client) = reactor.entry(token) {
//!                         echo(client);
//!                     }
//!                 }
//!                 Ready::Woken => {}
//!             }
//!         }
//!     }
//! #   assert!(reactor.get(client).is_none());
//!     Ok(())
//! }
//! ```
//!
//! # Fork, exec and threads
//!
//! `exec` closes every descriptor of these crates, and keeps the thread's signal mask. Rust's `Command`
//! makes both calls: it needs nothing of what stands under `fork`, but a program that blocks signals has to
//! restore the mask in the child.
//!
//! A child of `fork` has the calling thread alone, and shares every open file with its parent: an epoll
//! instance, its entries and its events too.
//!
//! | type | threads | a child of `fork` |
//! |---|---|---|
//! | [`Reactor`](crate::Reactor) | Can be sent, not shared. | Calls [`rebuild`][`Reactor::rebuild`] first. |
//! | [`Entry`](crate::Entry) | Borrows the reactor. | As its reactor. |
//! | [`SharedReactor`](crate::shared::SharedReactor) | Shared by reference. | Calls `rebuild` first. |
//! | [`Worker`](crate::shared::Worker) | One for each thread; can be sent. | Creates another one. |
//! | [`Lease`](crate::shared::Lease) | Stays on its thread. | Keeps that of the calling thread. |
//! | [`Waker`](crate::Waker) | Cloned and used anywhere. | Wakes the parent until its reactor is rebuilt. |
//! | [`Token`](crate::Token) | A name, anywhere. | Names the child's copy of the source. |
//! | [`Stream`](crate::net::Stream) | Can be sent; read and written by reference. | Shares the connection. |
//! | [`Listener`](crate::net::Listener) | Can be sent. | Shares the queue: one process drops its copy. |
//! | [`Datagram`](crate::net::Datagram) | As a stream. | Shares the socket. |
//! | [`Epoll`](crate::epoll_sys::Epoll) | Shared by reference. | Shares the entries: a delete is for both. |
//! | [`EventFd`](crate::epoll_sys::EventFd) | Shared by reference. | Shares the counter. |
//! | [`TimerFd`](crate::epoll_sys::TimerFd) | Shared by reference. | Shares the timer: one setting for both. |
//! | [`SignalFd`](crate::epoll_sys::SignalFd) | Shared by reference. | Reads its own signals. |
//! | `Timers` of `epoll-timers` | Can be sent. | Shares the timer: creates others. |
//! | `Signals` of `epoll-shutdown` | Can be sent. | As a `SignalFd`. |
//!
//! - **Reactors.** Without a rebuild, parent and child take each other's events, and the parent gets no more
//!   events of a source that the child closes. A child that does not need the reactor forgets it
//!   ([`std::mem::forget`]). Every method of a `SharedReactor` may be called from any thread; its
//!   [`rebuild`](crate::shared::SharedReactor::rebuild) cannot end the leases of the parent's other threads, so
//!   those sources stay leased in the child for ever.
//! - **Sockets.** Bytes and datagrams go to the process that reads first, and a peer sees the end of a stream when
//!   both processes have closed it. A listener has an epoll instance of its own, which is shared as well: only one
//!   of the two processes may go on accepting.
//! - **Signals.** A signal mask belongs to a thread, and that of `Signals` to the thread that made them. A child
//!   reads its own signals from a `SignalFd`, but an epoll instance goes on reporting the parent's: call
//!   [`rebuild`][`Reactor::rebuild`], or watch it anew. For `exec`, `restore_mask_in` gives a `Command` the
//!   original mask.
//!
//! A child that goes on with a reactor:
//!
//! ```
//! use epoll_reactor::net::Stream;
//! use epoll_reactor::{Interest, Reactor, Token, Watch};
//! use std::io;
//!
//! /// To be called in the child before anything else is done with the reactor.
//! fn after_fork(reactor: &mut Reactor<Stream, &'static str>) -> io::Result<()> {
//!     for closed in reactor.rebuild()? {
//!         eprintln!("{closed:?} was closed and never unwatched");
//!     }
//!     // The child is to serve none of the parent's connections. To close them here does not end them.
//!     let tokens: Vec<Token> = reactor.iter().map(|(token, _)| token).collect();
//!     for token in tokens {
//!         reactor.close(token);
//!     }
//!     Ok(())
//! }
//!
//! # fn is_sent<T: Send>() {}
//! # fn is_shared<T: Send + Sync>() {}
//! # use epoll_reactor::shared::{SharedReactor, Worker};
//! # use epoll_reactor::net::Listener;
//! # use epoll_reactor::{Waker, epoll_sys::{Epoll, EventFd, SignalFd, TimerFd}};
//! # (is_sent::<Reactor<Stream>>(), is_sent::<Worker<'_, Stream>>(), is_sent::<Listener>());
//! # (is_shared::<SharedReactor<Stream>>(), is_shared::<Waker>(), is_shared::<Token>());
//! # (is_shared::<Epoll>(), is_shared::<EventFd>(), is_shared::<TimerFd>(), is_shared::<SignalFd>());
//! # let (ours, _theirs) = Stream::pair()?;
//! # let mut reactor = Reactor::new()?;
//! # reactor.insert(ours, Watch::level(Interest::IN))?;
//! # after_fork(&mut reactor)?;
//! # assert!(reactor.is_empty());
//! # Ok::<(), io::Error>(())
//! ```
//!
//! [`AsFd`]: std::os::fd::AsFd
//! [`AsRawFd`]: std::os::fd::AsRawFd
//! [`Reactor::rebuild`]: crate::Reactor::rebuild
//! [parked]: crate::Reactor::park
//! [revisit]: crate::Reactor::revisit

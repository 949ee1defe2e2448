//! Mailboxes: messages on their way to connections.

use crate::control::Control;
use crate::panics::drop_each;
use crate::pass::Pass;
use crate::service::Message;
use crate::stats::ThreadStats;
use crate::store::Connections;
use crate::{Config, Service};
use epoll_connection::{ConnectionId, Protocol};
use epoll_reactor::{Token, Waker};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The largest number of messages that wait for a thread.
const MAILBOX_MAX: usize = 1 << 16;

/// A message and its receivers.
pub(crate) enum Delivery<M> {
    One(Token, Arc<M>),
    All(Arc<M>),
}

/// Deliveries on their way to their receivers, a slice of which gets all its messages in one go.
///
/// Mail that comes meanwhile waits until it is over. So each connection gets the messages of one sender in the
/// order in which they were sent, those for all among those for itself.
pub(crate) struct DeliveryPass<M> {
    deliveries: Vec<Delivery<M>>,
    /// The places of those for one connection, by their receivers, then in order.
    one: Vec<(Token, usize)>,
    /// The places of those for all.
    all: Vec<usize>,
    /// The receivers, each once, unless there is something for all.
    receivers: Vec<Token>,
    /// Over the slots of all connections, or over `receivers`.
    pass: Pass,
}

impl<M> DeliveryPass<M> {
    pub(crate) fn new<P: Protocol>(
        deliveries: Vec<Delivery<M>>,
        connections: &impl Connections<P>,
    ) -> Self {
        let (mut one, mut all) = (Vec::new(), Vec::new());
        for (at, delivery) in deliveries.iter().enumerate() {
            match delivery {
                Delivery::One(token, _) => one.push((*token, at)),
                Delivery::All(_) => all.push(at),
            }
        }
        one.sort_unstable();
        let mut receivers = Vec::new();
        let places = if all.is_empty() {
            receivers.extend(one.iter().map(|(token, _)| *token));
            receivers.dedup();
            receivers.len()
        } else {
            connections.slots()
        };
        Self { deliveries, one, all, receivers, pass: Pass::over(places) }
    }

    /// Returns the connections to be given their messages now, each once.
    pub(crate) fn next_receivers<P: Protocol>(
        &mut self,
        connections: &impl Connections<P>,
    ) -> Vec<Token> {
        let slice = self.pass.next_slice();
        if self.all.is_empty() {
            return self.receivers[slice].to_vec();
        }
        slice.filter_map(|slot| connections.token_at(slot)).collect()
    }

    /// Returns whether every receiver had its turn.
    pub(crate) fn is_over(&self) -> bool {
        self.pass.is_over()
    }

    /// Drops the messages, each even if the drop of another one panics.
    pub(crate) fn drop_messages(self) {
        drop_each(self.deliveries);
    }

    /// Returns the messages for the connection with this token, in order.
    pub(crate) fn for_token(&self, token: Token) -> impl Iterator<Item = &Arc<M>> {
        let begin = self.one.partition_point(|(to, _)| *to < token);
        let len = self.one[begin..].partition_point(|(to, _)| *to == token);
        let mut one = self.one[begin..begin + len].iter().map(|(_, at)| *at).peekable();
        let mut all = self.all.iter().copied().peekable();
        let deliveries = &self.deliveries;
        std::iter::from_fn(move || {
            let at = match (one.peek(), all.peek()) {
                (Some(first), Some(second)) if first < second => one.next(),
                (_, Some(_)) => all.next(),
                (_, None) => one.next(),
            }?;
            let (Delivery::One(_, message) | Delivery::All(message)) = &deliveries[at];
            Some(message)
        })
    }
}

/// The work that remains after a slice of the receivers of mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remaining {
    Nothing,
    /// More receivers.
    Receivers,
    /// Mail that has come meanwhile, if there is some: nobody was woken for it.
    LaterMail,
}

/// The mailboxes of all threads that have a reactor of their own, and what is held for connections that
/// threads share.
pub(crate) struct Post<M> {
    mailboxes: Vec<Mailbox<M>>,
    holding: Mutex<Holding<M>>,
    /// The number of connections that something is held for, so that most need not be asked.
    held_len: AtomicUsize,
}

/// Messages and notices that are held for connections that threads share.
struct Holding<M> {
    held: HashMap<Token, Vec<Held<M>>>,
    /// Mail that is not yet held for all its receivers. Any thread goes on with it.
    round: Option<DeliveryPass<M>>,
}

/// Something for a shared connection, which the next thread that has the connection gives it.
pub(crate) enum Held<M> {
    Message(Arc<M>),
    /// The service drains.
    Drain,
}

struct Mailbox<M> {
    mail: Mutex<Mail<M>>,
    waker: Waker,
}

struct Mail<M> {
    deliveries: Vec<Delivery<M>>,
    /// The thread was woken, and has not taken its mail since.
    is_woken: bool,
    /// The server has ended: there is nobody to deliver to.
    is_closed: bool,
}

/// Guard of a server that may still take mail. Dropping it closes every mailbox.
pub(crate) struct PostGuard<M>(pub(crate) Arc<Post<M>>);

impl<M> Drop for PostGuard<M> {
    fn drop(&mut self) {
        for mailbox in &self.0.mailboxes {
            let mut mail = lock(&mailbox.mail);
            mail.is_closed = true;
            let deliveries = std::mem::take(&mut mail.deliveries);
            // Messages may hold anything, a handle for example.
            drop(mail);
            drop_each(deliveries);
        }
        let mut holding = lock(&self.0.holding);
        let (held, round) = (std::mem::take(&mut holding.held), holding.round.take());
        drop(holding);
        drop_each(held.into_values().flatten());
        round.into_iter().for_each(DeliveryPass::drop_messages);
    }
}

impl<M> Post<M> {
    pub(crate) fn new(wakers: impl IntoIterator<Item = Waker>) -> Self {
        let mailboxes = wakers.into_iter().map(|waker| Mailbox {
            mail: Mutex::new(Mail { deliveries: Vec::new(), is_woken: false, is_closed: false }),
            waker,
        });
        Self {
            mailboxes: mailboxes.collect(),
            holding: Mutex::new(Holding { held: HashMap::new(), round: None }),
            held_len: AtomicUsize::new(0),
        }
    }

    /// Puts a delivery into the mailbox of a thread. Returns `false` if the mailbox is full.
    pub(crate) fn put(&self, thread: usize, delivery: Delivery<M>) -> bool {
        // A thread that does not exist has no connection either, so the message is dropped.
        let Some(mailbox) = self.mailboxes.get(thread) else { return true };
        let was_woken = {
            let mut mail = lock(&mailbox.mail);
            if mail.is_closed {
                return true;
            }
            if mail.deliveries.len() >= MAILBOX_MAX {
                return false;
            }
            mail.deliveries.push(delivery);
            std::mem::replace(&mut mail.is_woken, true)
        };
        if !was_woken {
            mailbox.wake();
        }
        true
    }

    /// Puts a delivery into the mailbox of the calling thread, which takes it before it waits, or after the mail
    /// that is being delivered. No limit is needed: a thread whose mailbox [is full](Self::is_full) delivers that
    /// mail before anything else, so there are no more of these than one turn makes beyond it.
    pub(crate) fn put_own(&self, thread: usize, delivery: Delivery<M>) {
        if let Some(mailbox) = self.mailboxes.get(thread) {
            lock(&mailbox.mail).deliveries.push(delivery);
        }
    }

    /// Puts a message for all connections into every mailbox but that of the thread `except`. Returns `false`
    /// if one of them is full.
    pub(crate) fn put_all(&self, message: &Arc<M>, except: Option<usize>) -> bool {
        let threads = (0..self.mailboxes.len()).filter(|&thread| Some(thread) != except);
        let mut is_put = true;
        for thread in threads {
            is_put &= self.put(thread, Delivery::All(Arc::clone(message)));
        }
        is_put
    }

    /// Takes the mail of a thread.
    pub(crate) fn take(&self, thread: usize) -> Vec<Delivery<M>> {
        let Some(mailbox) = self.mailboxes.get(thread) else { return Vec::new() };
        let mut mail = lock(&mailbox.mail);
        mail.is_woken = false;
        std::mem::take(&mut mail.deliveries)
    }

    /// Returns whether as many messages wait for a thread as may.
    pub(crate) fn is_full(&self, thread: usize) -> bool {
        let mailbox = self.mailboxes.get(thread);
        mailbox.is_some_and(|mailbox| lock(&mailbox.mail).deliveries.len() >= MAILBOX_MAX)
    }

    /// Takes the mail of threads that share connections, unless earlier mail is on its way, and holds it for
    /// the next of its receivers, which are returned.
    pub(crate) fn hold_mail<P: Protocol>(
        &self,
        thread: usize,
        connections: &impl Connections<P>,
    ) -> (Vec<Token>, Remaining) {
        // Locked first: of two threads, the one that takes the earlier mail also holds it earlier.
        let mut holding = lock(&self.holding);
        let before = holding.round.take();
        let is_first = before.is_none();
        let mut round = before.unwrap_or_else(|| DeliveryPass::new(self.take(thread), connections));
        let tokens = round.next_receivers(connections);
        for &token in &tokens {
            let messages = round.for_token(token);
            let messages = messages.map(|message| Held::Message(Arc::clone(message)));
            holding.held.entry(token).or_default().extend(messages);
        }
        self.held_len.store(holding.held.len(), Ordering::SeqCst);
        if !round.is_over() {
            holding.round = Some(round);
            return (tokens, Remaining::Receivers);
        }
        drop(holding);
        round.drop_messages();
        (tokens, if is_first { Remaining::Nothing } else { Remaining::LaterMail })
    }

    /// Holds something for a connection.
    pub(crate) fn hold(&self, token: Token, what: Held<M>) {
        let held = &mut lock(&self.holding).held;
        held.entry(token).or_default().push(what);
        self.held_len.store(held.len(), Ordering::SeqCst);
    }

    /// Takes what is held for a connection.
    pub(crate) fn take_held(&self, token: Token) -> Vec<Held<M>> {
        if self.held_len.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let held = &mut lock(&self.holding).held;
        let taken = held.remove(&token).unwrap_or_default();
        self.held_len.store(held.len(), Ordering::SeqCst);
        taken
    }
}

impl<M> Mailbox<M> {
    fn wake(&self) {
        // Does not fail on Linux today.
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a thread cannot be woken for its mail");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaches a server and its connections from any thread: it sends them messages, for example the result that a
/// paused connection waits for, or news for all; changes limits and timeouts; and asks for statistics.
///
/// # Examples
///
/// See the example `jobs` of this crate for messages. A limit and a timeout that change while the server runs:
///
/// ```
/// # use epoll_connection::{Consumed, Context, Protocol};
/// # use epoll_service::{Config, Each, Server, Signal, Signals, Timeouts};
/// # use std::io::Read;
/// # use std::net::TcpStream;
/// # use std::time::Duration;
/// #
/// # struct Discard;
/// #
/// # impl Protocol for Discard {
/// #     type Local = ();
/// #     type Message = ();
/// #
/// #     fn on_input(&mut self, input: &mut [u8], _: &mut Context<'_, (), ()>) -> Consumed {
/// #         Consumed::bytes(input.len())
/// #     }
/// # }
/// #
/// let signals = Signals::block([Signal::TERM, Signal::INT])?;
/// let config = Config { adjustable: true, ..Config::at(["127.0.0.1:0".parse()?]) };
/// let server = Server::bind(Each(|| Discard), &config)?;
/// let address = server.addresses()[0].inet().expect("an internet address");
///
/// let handle = server.handle();
/// let changing = std::thread::spawn(move || -> std::io::Result<u64> {
///     let mut stream = TcpStream::connect(address)?;
///     let idle = Some(Duration::from_millis(10));
///     handle.adjust(&Config { timeouts: Timeouts { idle, ..config.timeouts }, ..config })?;
///     assert_eq!(stream.read(&mut [0])?, 0, "it was idle for too long");
///     let stats = handle.stats().expect("it runs");
///     // What otherwise comes from outside.
///     std::process::Command::new("sh").args(["-c", "kill $PPID"]).status()?;
///     Ok(stats.iter().map(|thread| thread.stats.closed_by_reason.get("idle").unwrap_or(&0)).sum())
/// });
/// server.run(&signals, || {})?;
/// assert_eq!(changing.join().unwrap()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Handle<S: Service> {
    post: Arc<Post<Message<S>>>,
    control: Arc<Control>,
}

impl<S: Service> Handle<S> {
    pub(crate) fn new(post: Arc<Post<Message<S>>>, control: Arc<Control>) -> Self {
        Self { post, control }
    }

    /// Sends `message` to a connection. If the connection is gone, or the server has ended, the message is
    /// dropped, and that is no error.
    ///
    /// # Errors
    ///
    /// [`QuotaExceeded`](std::io::ErrorKind::QuotaExceeded): 65 536 messages wait already for the connection's
    /// thread.
    pub fn send(&self, to: ConnectionId, message: Message<S>) -> io::Result<()> {
        let delivery = Delivery::One(to.token(), Arc::new(message));
        full(self.post.put(to.thread() as usize, delivery))
    }

    /// Sends `message` to every connection that is open when its thread takes the message. If these are many,
    /// it serves others meanwhile, and messages that are sent later wait until all have this one. One that is
    /// opened meanwhile may get it too.
    ///
    /// # Errors
    ///
    /// [`QuotaExceeded`](std::io::ErrorKind::QuotaExceeded): 65 536 messages wait already for one of the
    /// threads. The connections of that thread do not get this one, those of the others do.
    pub fn broadcast(&self, message: Message<S>) -> io::Result<()> {
        full(self.post.put_all(&Arc::new(message), None))
    }

    /// Takes the limits on connections ([`connections_max`](Config::connections_max),
    /// [`connections_per_peer_max`](Config::connections_per_peer_max),
    /// [`connections_per_s_max`](Config::connections_per_s_max), [`buffered_bytes_max`](Config::buffered_bytes_max),
    /// and [`bytes_per_s_max`](epoll_connection::Limits::bytes_per_s_max)), the [`timeouts`](Config::timeouts), the
    /// [`drain_delay`](Config::drain_delay), and the times of [`proxy_protocol`](Config::proxy_protocol) and
    /// [`restart`](Config::restart) over from `config`, which is otherwise ignored.
    ///
    /// They hold for connections that are open as well, except that none is closed because a limit has become lower.
    /// The pause of a connection that has received more than its bytes a second is computed anew by the new limit, and
    /// ends at once if there is no limit any more. The time for the drain changes unless it
    /// has begun, and the delay unless a signal to end has come. The time to become ready holds from the next restart
    /// on. A time stays as it was if `config` has no `proxy_protocol`, or no `restart`; a server that was bound without
    /// one gets none.
    ///
    /// It returns before all threads have seen the change.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported): the server was not [`adjustable`](Config::adjustable).
    pub fn adjust(&self, config: &Config) -> io::Result<()> {
        let error = || io::Error::new(io::ErrorKind::Unsupported, "the server is not adjustable");
        self.control.adjust(config).then_some(()).ok_or_else(error)
    }

    /// Makes every thread log its counters, as a signal that asks for them does.
    pub fn log_counters(&self) {
        self.control.request_stats();
    }

    /// Makes every thread log its counters, waits until they are counted, and returns them by thread, or `None` if
    /// the server has ended. Before the server [runs](crate::Server::run) it waits for that, so neither the thread
    /// that is to run the server nor a protocol may call it.
    ///
    /// Open connections are looked at while the server serves, each with what it has received and sent by then.
    /// Where threads share connections, one entry has the counts of all.
    #[must_use]
    pub fn stats(&self) -> Option<Vec<ThreadStats>> {
        self.control.ask_for_stats().recv().ok()
    }
}

fn full(is_put: bool) -> io::Result<()> {
    if is_put { Ok(()) } else { Err(io::ErrorKind::QuotaExceeded.into()) }
}

impl<S: Service> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self { post: Arc::clone(&self.post), control: Arc::clone(&self.control) }
    }
}

impl<S: Service> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("threads", &self.post.mailboxes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::Silent;
    use crate::store::LocalStore;
    use epoll_reactor::Reactor;

    fn no_connections() -> LocalStore<Silent> {
        LocalStore { reactor: Reactor::new().unwrap() }
    }

    #[test]
    fn each_receiver_gets_its_messages_and_those_for_all_in_order() {
        let [first, second, third] = [1, 2, 3].map(Token::detached);
        let one = |to, message| Delivery::One(to, Arc::new(message));
        let deliveries = [
            one(second, 1),
            Delivery::All(Arc::new(2)),
            one(first, 3),
            one(second, 4),
            Delivery::All(Arc::new(5)),
            one(second, 6),
        ];
        let rest: Vec<_> = [one(first, 3), one(second, 4)].into();
        let round = DeliveryPass::new(deliveries.into(), &no_connections());
        let messages = |token| round.for_token(token).map(|message| **message).collect::<Vec<_>>();
        assert_eq!(messages(first), [2, 3, 5]);
        assert_eq!(messages(second), [1, 2, 4, 5, 6]);
        assert_eq!(messages(third), [2, 5]);
        let round = DeliveryPass::new(rest, &no_connections());
        assert_eq!(round.for_token(third).count(), 0);
        assert_eq!(round.for_token(first).map(|message| **message).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn each_of_many_receivers_has_its_turn_once() {
        const RECEIVERS: u32 = 5000;
        let tokens = || (0..RECEIVERS).map(Token::detached);
        let deliveries = tokens().chain(tokens()).map(|to| Delivery::One(to, Arc::new(1)));
        let connections = no_connections();
        let mut round = DeliveryPass::new(deliveries.collect(), &connections);
        let mut came = Vec::new();
        while !round.is_over() {
            let receivers = round.next_receivers(&connections);
            assert!(receivers.len() < RECEIVERS as usize, "not in one go");
            came.extend(receivers);
        }
        assert!(came.into_iter().eq(tokens()));
    }
}

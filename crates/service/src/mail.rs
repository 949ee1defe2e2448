//! Messages on their way to connections.

use crate::Service;
use crate::service::Message;
use crate::store::Connections;
use epoll_connection::{ConnectionId, Protocol};
use epoll_reactor::{Token, Waker};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The largest number of messages that wait for a thread.
const MAILBOX_MAX: usize = 1 << 16;

/// A message and where it goes.
pub(crate) enum Delivery<M> {
    One(Token, Arc<M>),
    All(Arc<M>),
}

impl<M> Delivery<M> {
    /// Returns the message if it is for the connection with this token.
    pub(crate) fn for_token(&self, token: Token) -> Option<&Arc<M>> {
        match self {
            Self::One(to, message) => (*to == token).then_some(message),
            Self::All(message) => Some(message),
        }
    }
}

/// Returns the connections that the deliveries are for, each once.
pub(crate) fn receivers<M, P: Protocol>(
    deliveries: &[Delivery<M>],
    connections: &impl Connections<P>,
) -> Vec<Token> {
    let one = |delivery: &Delivery<M>| match delivery {
        Delivery::One(token, _) => Some(*token),
        Delivery::All(_) => None,
    };
    let tokens: Option<Vec<_>> = deliveries.iter().map(one).collect();
    match tokens {
        Some(mut tokens) => {
            tokens.sort_unstable();
            tokens.dedup();
            tokens
        }
        None => connections.tokens(),
    }
}

/// The mailboxes of all threads that have a reactor of their own, and what is held for connections that
/// threads share.
pub(crate) struct Post<M> {
    mailboxes: Vec<Mailbox<M>>,
    held: Mutex<HashMap<Token, Vec<Held<M>>>>,
    /// The number of connections in `held`, so that most need not be asked.
    held_len: AtomicUsize,
}

/// Something for a connection, which is for whichever thread has it next.
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
            drop(deliveries);
        }
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
            held: Mutex::default(),
            held_len: AtomicUsize::new(0),
        }
    }

    /// Puts a delivery into the mailbox of a thread. `false`: it is full.
    pub(crate) fn put(&self, thread: usize, delivery: Delivery<M>) -> bool {
        // There is no such thread: nor is there such a connection.
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

    /// Puts a delivery into the mailbox of the calling thread, which takes its mail before it waits. There
    /// are as many as one turn makes.
    pub(crate) fn put_own(&self, thread: usize, delivery: Delivery<M>) {
        if let Some(mailbox) = self.mailboxes.get(thread) {
            lock(&mailbox.mail).deliveries.push(delivery);
        }
    }

    /// Puts a message for all connections into every mailbox but that of the thread `except`. `false`: one
    /// of them is full.
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

    /// Takes the mail of threads that share connections, and holds it for these. Returns which they are.
    pub(crate) fn hold_mail<P: Protocol>(
        &self,
        thread: usize,
        connections: &impl Connections<P>,
    ) -> Vec<Token> {
        // Locked first: of two threads, the one that takes the earlier mail also holds it earlier.
        let mut held = lock(&self.held);
        let deliveries = self.take(thread);
        let tokens = receivers(&deliveries, connections);
        for &token in &tokens {
            let messages = deliveries.iter().filter_map(|delivery| delivery.for_token(token));
            let messages = messages.map(|message| Held::Message(Arc::clone(message)));
            held.entry(token).or_default().extend(messages);
        }
        self.held_len.store(held.len(), Ordering::SeqCst);
        tokens
    }

    /// Holds something for a connection.
    pub(crate) fn hold(&self, token: Token, what: Held<M>) {
        let mut held = lock(&self.held);
        held.entry(token).or_default().push(what);
        self.held_len.store(held.len(), Ordering::SeqCst);
    }

    /// Takes what is held for a connection.
    pub(crate) fn take_held(&self, token: Token) -> Vec<Held<M>> {
        if self.held_len.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let mut held = lock(&self.held);
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

/// Sends messages to the connections of a service, from any thread: the answer of a pool of threads to a
/// connection that is paused, or news for all.
///
/// # Examples
///
/// See the example `jobs` of this crate.
pub struct Handle<S: Service> {
    post: Arc<Post<Message<S>>>,
}

impl<S: Service> Handle<S> {
    pub(crate) fn new(post: Arc<Post<Message<S>>>) -> Self {
        Self { post }
    }

    /// Sends `message` to a connection. One that is gone gets nothing, and neither does any connection of a
    /// server that has ended.
    ///
    /// # Errors
    ///
    /// [`QuotaExceeded`](std::io::ErrorKind::QuotaExceeded): 65 536 messages wait for the connection's
    /// thread.
    pub fn send(&self, to: ConnectionId, message: Message<S>) -> io::Result<()> {
        let delivery = Delivery::One(to.token(), Arc::new(message));
        full(self.post.put(to.thread() as usize, delivery))
    }

    /// Sends `message` to every connection.
    ///
    /// # Errors
    ///
    /// [`QuotaExceeded`](std::io::ErrorKind::QuotaExceeded): 65 536 messages wait for one of the threads,
    /// whose connections do not get this one.
    pub fn broadcast(&self, message: Message<S>) -> io::Result<()> {
        full(self.post.put_all(&Arc::new(message), None))
    }
}

fn full(is_put: bool) -> io::Result<()> {
    if is_put { Ok(()) } else { Err(io::ErrorKind::QuotaExceeded.into()) }
}

impl<S: Service> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self { post: Arc::clone(&self.post) }
    }
}

impl<S: Service> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("threads", &self.post.mailboxes.len()).finish()
    }
}

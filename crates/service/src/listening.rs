//! The listeners of a server: bound, or made of the sockets that the process was started with, and dealt to the
//! event loops. Invariant: every socket that is taken over has a loop that accepts from it, since its queue may
//! hold connections that no other socket has.

use crate::Config;
use crate::config::Accept;
use crate::error::{Context, Error, Setting};
use crate::handover::Origin;
use crate::inherited::{Inherited, Taken};
use crate::successor::Offer;
use epoll_reactor::epoll_sys::socket;
use epoll_reactor::net::{Address, ListenOptions, Listener, PathRemoval, PausedBy};
use std::io;

/// The threads that watch a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    Alone,
    Exclusive,
}

/// A listener of an event loop.
pub(crate) struct Listening {
    /// The index of its address in [`Config::listen`]. There may be several at one address.
    pub(crate) entry: usize,
    pub(crate) listener: Listener,
    pub(crate) sharing: Sharing,
}

/// The listeners of a server.
pub(crate) struct Listeners {
    pub(crate) of_loops: Vec<Vec<Listening>>,
    /// The addresses in the order of the configuration, with the ports that the kernel chose.
    pub(crate) addresses: Vec<Address>,
    /// The sockets of each address for a successor; empty if the service does not restart.
    pub(crate) offers: Vec<Offer>,
    /// The paths that are this process's to remove once the process before lets go of them.
    pub(crate) removals: Vec<PathRemoval>,
}

impl Listeners {
    /// Listens at every address, for each of `loops` event loops.
    pub(crate) fn open(
        config: &Config,
        loops: usize,
        inherited: &mut Inherited,
    ) -> Result<Self, Error> {
        let mut listeners = Self {
            of_loops: (0..loops).map(|_| Vec::new()).collect(),
            addresses: config.listen.clone(),
            offers: Vec::new(),
            removals: Vec::new(),
        };
        if config.restart.is_some() {
            listeners.offers.resize_with(config.listen.len(), Offer::default);
        }
        let mut incomplete = Vec::new();
        for (entry, address) in config.listen.iter().enumerate() {
            let opened = match inherited.take(address) {
                None => listeners.bind(config, entry),
                // Last: a client may be in a queue as soon as it exists, and would be reset if the server
                // did not start because of another address.
                Some(taken) if lacks_queues(config, &taken, loops) => {
                    incomplete.push((entry, taken));
                    Ok(())
                }
                Some(taken) => listeners.adopt(config, entry, taken),
            };
            name_address(opened, address)?;
        }
        for (entry, taken) in incomplete {
            name_address(listeners.complete(config, entry, taken), &config.listen[entry])?;
        }
        Ok(listeners)
    }

    /// Listens for a service of one event loop beside this one, whose sockets are handed over with these.
    #[cfg(feature = "metrics")]
    pub(crate) fn open_beside(
        &mut self,
        config: &Config,
        inherited: &mut Inherited,
    ) -> Result<Self, Error> {
        let mut own = Self::open(config, 1, inherited)?;
        self.offers.append(&mut own.offers);
        self.removals.append(&mut own.removals);
        Ok(own)
    }

    /// Returns the largest number of listeners of a loop.
    pub(crate) fn of_a_loop_max(&self) -> usize {
        self.of_loops.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Returns the number of descriptors that are kept for a successor.
    pub(crate) fn offered(&self) -> usize {
        self.offers.iter().map(|offer| offer.sockets.len()).sum()
    }

    /// Binds a listener at the address of `entry` for each loop.
    fn bind(&mut self, config: &Config, entry: usize) -> io::Result<()> {
        let (address, loops) = (&config.listen[entry], self.of_loops.len());
        let is_queue_shared = shares_queue(config, address);
        let sharing =
            if is_queue_shared && loops > 1 { Sharing::Exclusive } else { Sharing::Alone };
        let options = bind_options(config, address, sharing);
        let bound = if is_queue_shared { 1 } else { loops };
        let bound = Listener::bind_several(address, &options, bound)?;
        self.addresses[entry] = *bound[0].address();
        if let Some(offer) = self.offers.get_mut(entry) {
            offer.origin.configured = Some(*address);
            offer.removal = bound[0].path_removal();
        }
        self.deal(entry, bound, sharing)
    }

    /// Makes listeners of the sockets that were passed.
    fn adopt(&mut self, config: &Config, entry: usize, taken: Taken) -> io::Result<()> {
        let loops = self.of_loops.len();
        let has_enough = !shares_queue(config, &taken.address) && taken.sockets.len() >= loops;
        let sharing = if loops == 1 || has_enough { Sharing::Alone } else { Sharing::Exclusive };
        self.adopt_as(config, entry, taken, sharing)
    }

    /// Makes listeners of the sockets that were passed, and binds one with a queue of its own for each loop that is
    /// left over. Where that is not allowed, all loops share the sockets that there are.
    fn complete(&mut self, config: &Config, entry: usize, taken: Taken) -> io::Result<()> {
        let missing = self.of_loops.len() - taken.sockets.len();
        let bound = join(config, &taken, missing);
        let first = taken.sockets.len();
        let address = taken.address;
        match bound {
            Ok(bound) => {
                self.adopt_as(config, entry, taken, Sharing::Alone)?;
                self.deal_from(first, entry, bound, Sharing::Alone)
            }
            Err(error) => {
                tracing::warn!(%address, %error, "threads share the queues that were handed over");
                self.adopt_as(config, entry, taken, Sharing::Exclusive)
            }
        }
    }

    fn adopt_as(
        &mut self,
        config: &Config,
        entry: usize,
        taken: Taken,
        sharing: Sharing,
    ) -> io::Result<()> {
        let options = listen_options(config, sharing);
        let adopted = taken.sockets.into_iter().map(|socket| Listener::adopt(socket, &options));
        let adopted = adopted.collect::<Result<Vec<_>, _>>()?;
        self.addresses[entry] = taken.address;
        let removal = adopted.first().and_then(Listener::path_removal);
        self.removals.extend(removal.clone().filter(|_| taken.origin.removes_path));
        if let Some(offer) = self.offers.get_mut(entry) {
            let configured = Some(config.listen[entry]);
            offer.origin = Origin { configured, labels: taken.origin.labels, removes_path: false };
            offer.removal = removal;
        }
        self.deal(entry, adopted, sharing)
    }

    fn deal(&mut self, entry: usize, listeners: Vec<Listener>, sharing: Sharing) -> io::Result<()> {
        self.deal_from(0, entry, listeners, sharing)
    }

    /// Gives each listener to one loop, in turn from the loop with the index `first` on, or a clone of each to all
    /// loops.
    fn deal_from(
        &mut self,
        first: usize,
        entry: usize,
        listeners: Vec<Listener>,
        sharing: Sharing,
    ) -> io::Result<()> {
        let loops = self.of_loops.len();
        for (at, listener) in (first..).zip(listeners) {
            if let Some(offer) = self.offers.get_mut(entry) {
                offer.sockets.push(listener.socket().try_clone_to_owned()?);
            }
            match sharing {
                Sharing::Alone => {
                    self.of_loops[at % loops].push(Listening { entry, listener, sharing });
                }
                Sharing::Exclusive => {
                    let clones = clones_of(listener, loops)?;
                    for (of_loop, listener) in self.of_loops.iter_mut().zip(clones) {
                        of_loop.push(Listening { entry, listener, sharing });
                    }
                }
            }
        }
        Ok(())
    }
}

/// Says which address it is that cannot be listened at.
fn name_address(opened: io::Result<()>, address: &Address) -> Result<(), Error> {
    opened
        .context(format!("failed to listen at {address}"))
        .map_err(|error| error.about(Setting::Listen(*address)))
}

/// Returns whether the loops share one queue at an address that is bound.
fn shares_queue(config: &Config, address: &Address) -> bool {
    config.accept == Accept::Exclusive || address.inet().is_none()
}

/// Returns whether each loop is to have a queue of its own, but there are fewer sockets. Only those of an earlier
/// process of this program may be joined: to a service manager, its sockets are all that there are.
fn lacks_queues(config: &Config, taken: &Taken, loops: usize) -> bool {
    taken.is_handed_over && !shares_queue(config, &taken.address) && taken.sockets.len() < loops
}

/// Binds more listeners at the address of sockets that were handed over.
fn join(config: &Config, taken: &Taken, count: usize) -> io::Result<Vec<Listener>> {
    // A socket that was alone at its address lets no other one join it.
    taken.sockets.iter().try_for_each(|one| socket::set_reuse_port(one, true))?;
    let options = bind_options(config, &taken.address, Sharing::Alone);
    let options = ListenOptions { reuse_port: true, ..options };
    (0..count).map(|_| Listener::bind(&taken.address, &options)).collect()
}

/// Returns the options of listeners that are bound, which refuse what their address cannot have.
fn bind_options(config: &Config, address: &Address, sharing: Sharing) -> ListenOptions {
    let is_ipv6 = address.inet().is_some_and(|address| address.is_ipv6());
    let is_path = address.as_path().is_some();
    ListenOptions {
        ipv6_only: config.ipv6_only.filter(|_| is_ipv6),
        path_mode: config.path_mode.filter(|_| is_path),
        path_owner: config.path_owner.filter(|_| is_path),
        ..listen_options(config, sharing)
    }
}

/// Returns the options that sockets have which the process was started with.
fn listen_options(config: &Config, sharing: Sharing) -> ListenOptions {
    ListenOptions {
        stream: config.stream.clone(),
        backlog: config.backlog.get(),
        // Only a socket can be watched exclusively.
        paused_by: match sharing {
            Sharing::Alone => PausedBy::Listener,
            Sharing::Exclusive => PausedBy::Owner,
        },
        ..ListenOptions::default()
    }
}

fn clones_of(first: Listener, count: usize) -> io::Result<Vec<Listener>> {
    let mut listeners = vec![first];
    while listeners.len() < count {
        let next = listeners[0].try_clone()?;
        listeners.push(next);
    }
    Ok(listeners)
}

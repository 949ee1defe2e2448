//! The timers of a wheel as a collection: their number, their values, and the memory that they take.

use super::Wheel;
use crate::Key;
use crate::nodes::Node;
use epoll_sys::{Clock, ClockTime};

impl<V, C: Clock> Wheel<V, C> {
    /// Returns the number of timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether there is no timer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of timers that fit without an allocation.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.nodes.capacity()
    }

    /// Makes room for `additional` timers, so that inserting them allocates nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::Wheel;
    /// use std::time::Duration;
    ///
    /// let mut wheel: Wheel<()> = Wheel::new(Duration::from_millis(1))?;
    /// wheel.reserve(1000);
    /// assert!(wheel.capacity() >= 1000);
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    pub fn reserve(&mut self, additional: usize) {
        // One more, for the node that a timer leaves reserved while it is fired.
        self.nodes.reserve(additional.saturating_add(1));
        self.levels.reserve(self.nodes.room());
    }

    /// Releases the memory of places that no timer needs.
    ///
    /// Keys hold the place of their timer, so timers do not move: the one at the last place decides how
    /// much memory stays. The lists are written anew, which takes a step for each timer and, meanwhile, the memory
    /// of a second copy of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let deadline = Timestamp::after_epoch(Duration::from_secs(1));
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// let keys: Vec<_> = (0..1000).map(|value| wheel.insert(deadline, value)).collect();
    /// for key in &keys[10..] {
    ///     wheel.cancel(*key);
    /// }
    /// wheel.shrink_to_fit();
    /// assert!(wheel.capacity() < 1000);
    /// assert_eq!(wheel.get(keys[9]), Some(&9));
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    pub fn shrink_to_fit(&mut self) {
        self.nodes.shrink_to_fit(self.reserved);
        let room = self.nodes.room();
        self.levels.shrink_to(&mut self.nodes, room);
    }

    /// Returns the value of a timer. `None`: there is no such timer, or it has fired.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&V> {
        self.node(key).map(|(_, value)| value)
    }

    /// Returns the value of a timer, to change it. `None`: there is no such timer, or it has fired.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// let key = wheel.insert(Timestamp::after_epoch(Duration::from_secs(1)), vec!["a"]);
    /// wheel.get_mut(key).unwrap().push("b");
    /// assert_eq!(wheel.cancel(key), Some(vec!["a", "b"]));
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut V> {
        self.node_mut(key)?.value_mut()
    }

    /// Returns the deadline of a timer, as it was given. `None`: there is no such timer, or it has
    /// fired.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let deadline = Timestamp::after_epoch(Duration::from_nanos(1_234_567));
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// let key = wheel.insert(deadline, ());
    /// assert_eq!(wheel.deadline(key), Some(deadline));
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    #[must_use]
    pub fn deadline(&self, key: Key) -> Option<ClockTime<C>> {
        self.node(key).map(|(node, _)| ClockTime::from_nanos(node.deadline))
    }

    /// Iterates over all timers, in no particular order: key, deadline and value. Takes a step for each
    /// place that a timer had, used or not.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let at = |ms| Timestamp::after_epoch(Duration::from_millis(ms));
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// wheel.insert(at(20), "b");
    /// wheel.insert(at(10), "a");
    /// let first = wheel.iter().min_by_key(|(_, deadline, _)| *deadline);
    /// assert_eq!(first.map(|(_, deadline, value)| (deadline, *value)), Some((at(10), "a")));
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (Key, ClockTime<C>, &V)> {
        let wheel = self.id;
        self.nodes.iter().map(move |(index, generation, deadline, value)| {
            (Key { index, generation, wheel }, ClockTime::from_nanos(deadline), value)
        })
    }

    /// Iterates over all timers like [`iter`](Self::iter), to change their values.
    ///
    /// # Examples
    ///
    /// ```
    /// use epoll_timers::{Timestamp, Wheel};
    /// use std::time::Duration;
    ///
    /// let mut wheel = Wheel::new(Duration::from_millis(1))?;
    /// let key = wheel.insert(Timestamp::after_epoch(Duration::from_secs(1)), 1);
    /// for (_, _, value) in wheel.iter_mut() {
    ///     *value += 1;
    /// }
    /// assert_eq!(wheel.get(key), Some(&2));
    /// # Ok::<(), epoll_timers::TickError>(())
    /// ```
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, ClockTime<C>, &mut V)> {
        let wheel = self.id;
        self.nodes.iter_mut().map(move |(index, generation, deadline, value)| {
            (Key { index, generation, wheel }, ClockTime::from_nanos(deadline), value)
        })
    }

    #[inline]
    fn node(&self, key: Key) -> Option<(&Node<V>, &V)> {
        if key.wheel == self.id { self.nodes.get(key.index, key.generation) } else { None }
    }
}

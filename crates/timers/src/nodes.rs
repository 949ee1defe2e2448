//! The timers themselves, in a slab, linked into circular lists by index. A list is named by its first
//! node, whose `previous` is the last.
//!
//! A node holds a timer, which is in exactly one list; or it is reserved for a timer that has just
//! fired; or it is vacant. The last two are in no list.

/// One timer, or the place of one.
pub(crate) struct Node<V> {
    /// The deadline, in nanoseconds since the clock's epoch. After the timer was re-scheduled it may be
    /// later than its list.
    pub(crate) deadline: u64,
    next: u32,
    previous: u32,
    generation: u32,
    /// The list that the timer is in.
    pub(crate) list: u16,
    /// The wheel's epoch in which a deferred timer was inserted, and in which it does not fire.
    deferred_in: u16,
    value: Option<V>,
}

/// A node costs 32 bytes at most besides its value.
const _: () = assert!(size_of::<Node<[u64; 4]>>() <= 32 + 32);

/// No node: an empty list.
pub(crate) const NONE: u32 = u32::MAX;
/// The generation that no timer ever has.
const GENERATION_END: u32 = u32::MAX;

pub(crate) struct Nodes<V> {
    nodes: Vec<Node<V>>,
    /// The vacant nodes. A stack beside the nodes rather than a list through them, so that an insertion
    /// need not wait for the memory of the one before.
    vacant: Vec<u32>,
    /// The generation of a new node, later than the generations of nodes that were given back.
    first_generation: u32,
    len: usize,
}

impl<V> Nodes<V> {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), vacant: Vec::new(), first_generation: 0, len: 0 }
    }

    /// Returns how many timers there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns how many timers fit without an allocation.
    pub(crate) fn capacity(&self) -> usize {
        self.len + self.vacant.len() + self.nodes.capacity() - self.nodes.len()
    }

    pub(crate) fn reserve(&mut self, additional: usize) {
        self.nodes.reserve(additional.saturating_sub(self.vacant.len()));
        self.reserve_vacancies();
    }

    /// Reserves room so that `release` never allocates. Untouched pages of the reservation cost no
    /// memory.
    fn reserve_vacancies(&mut self) {
        self.vacant.reserve_exact(self.nodes.capacity() - self.vacant.len());
    }

    /// Gives back the memory of the vacant nodes at the end.
    ///
    /// A node in the middle cannot be given back, because keys hold its index.
    pub(crate) fn shrink_to_fit(&mut self, reserved: Option<u32>) {
        while let Some(node) = self.nodes.last() {
            let index = self.nodes.len() - 1;
            let is_vacant =
                node.value.is_none() && reserved.is_none_or(|reserved| index != reserved as usize);
            // One that is worn out stays: its index must not come back with an earlier generation.
            if !is_vacant || node.generation == GENERATION_END {
                break;
            }
            // Old keys of the index may be around. A later node there must not answer to them.
            self.first_generation = self.first_generation.max(node.generation);
            self.nodes.pop();
        }
        let len = self.nodes.len();
        self.vacant.retain(|&index| (index as usize) < len);
        self.nodes.shrink_to_fit();
        self.vacant.shrink_to(self.nodes.capacity());
    }

    /// Puts a timer that is in no list yet into a node, and returns its index and generation.
    ///
    /// # Panics
    ///
    /// If 2^32 - 1 timers exist.
    #[inline]
    pub(crate) fn insert(&mut self, deadline: u64, value: V) -> (u32, u32) {
        self.len += 1;
        if let Some(index) = self.vacant.pop() {
            let node = self.node(index);
            node.value = Some(value);
            node.deadline = deadline;
            return (index, node.generation);
        }
        self.grow(deadline, value)
    }

    #[cold]
    fn grow(&mut self, deadline: u64, value: V) -> (u32, u32) {
        let index = u32::try_from(self.nodes.len()).ok().filter(|&index| index != NONE);
        let index = index.expect("no more than 2^32 - 1 timers fit");
        let generation = self.first_generation;
        let value = Some(value);
        let (next, previous, list, deferred_in) = (NONE, NONE, 0, 0);
        self.nodes.push(Node { deadline, next, previous, generation, list, deferred_in, value });
        self.reserve_vacancies();
        (index, generation)
    }

    /// Returns the timer with this name.
    #[inline]
    pub(crate) fn get(&self, index: u32, generation: u32) -> Option<(&Node<V>, &V)> {
        let node = self.nodes.get(index as usize)?;
        let value = node.value.as_ref()?;
        (node.generation == generation).then_some((node, value))
    }

    /// Returns the timer with this name.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32, generation: u32) -> Option<&mut Node<V>> {
        let node = self.nodes.get_mut(index as usize)?;
        (node.value.is_some() && node.generation == generation).then_some(node)
    }

    /// Takes the value of a timer that is in no list, and reserves its node: its generation and its
    /// value. `None`: the node holds no timer.
    #[inline]
    pub(crate) fn take(&mut self, index: u32) -> Option<(u32, V)> {
        let node = self.node(index);
        let (generation, value) = (node.generation, node.value.take()?);
        self.len -= 1;
        Some((generation, value))
    }

    /// Puts a value back into a reserved node of this generation. `Err`: that is another one.
    pub(crate) fn put_back(&mut self, index: u32, generation: u32, value: V) -> Result<(), V> {
        match self.nodes.get_mut(index as usize) {
            Some(node) if node.generation == generation && node.value.is_none() => {
                node.value = Some(value);
                self.len += 1;
                Ok(())
            }
            _ => Err(value),
        }
    }

    /// Makes a reserved node vacant. Its keys name nothing from now on.
    #[inline]
    pub(crate) fn release(&mut self, index: u32) {
        let node = self.node(index);
        node.generation += 1;
        // A node that is worn out is never used again, or its first key would name a timer once more.
        if node.generation != GENERATION_END {
            self.vacant.push(index);
        }
    }

    #[inline]
    pub(crate) fn node(&mut self, index: u32) -> &mut Node<V> {
        &mut self.nodes[index as usize]
    }

    #[inline]
    pub(crate) fn deferred_in(&self, index: u32) -> u16 {
        self.nodes[index as usize].deferred_in
    }

    pub(crate) fn set_deferred_in(&mut self, index: u32, epoch: u16) {
        self.node(index).deferred_in = epoch;
    }

    /// Iterates over the timers: index, generation, deadline and value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, u64, &V)> {
        (0..).zip(&self.nodes).filter_map(|(index, node)| {
            Some((index, node.generation, node.deadline, node.value.as_ref()?))
        })
    }

    /// Iterates over the timers: index, generation, deadline and value.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, u32, u64, &mut V)> {
        (0..).zip(&mut self.nodes).filter_map(|(index, node)| {
            Some((index, node.generation, node.deadline, node.value.as_mut()?))
        })
    }

    /// Appends a node that is in no list to the list that begins with `first`, and returns the list's
    /// first node.
    #[inline]
    pub(crate) fn append(&mut self, first: u32, index: u32, list: u16) -> u32 {
        let (first, last) = match first {
            NONE => (index, index),
            first => (first, self.node(first).previous),
        };
        self.node(last).next = index;
        self.node(first).previous = index;
        let node = self.node(index);
        (node.next, node.previous, node.list) = (first, last, list);
        first
    }

    /// Takes a node out of the list that begins with `first`, and returns the list's first node, or
    /// [`NONE`].
    #[inline]
    pub(crate) fn unlink(&mut self, first: u32, index: u32) -> u32 {
        let node = self.node(index);
        let (next, previous) = (node.next, node.previous);
        if next == index {
            return NONE;
        }
        self.node(previous).next = next;
        self.node(next).previous = previous;
        if first == index { next } else { first }
    }
}

impl<V> Node<V> {
    /// Returns the value of a node that holds a timer.
    pub(crate) fn value_mut(&mut self) -> Option<&mut V> {
        self.value.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remove(nodes: &mut Nodes<&'static str>, index: u32) {
        nodes.take(index).unwrap();
        nodes.release(index);
    }

    #[test]
    fn a_node_that_is_worn_out_is_never_used_again() {
        let mut nodes = Nodes::new();
        let (worn, generation) = nodes.insert(1, "first");
        assert_eq!(generation, 0);
        nodes.node(worn).generation = GENERATION_END - 1;
        remove(&mut nodes, worn);
        assert_eq!((nodes.vacant.len(), nodes.len()), (0, 0));

        let (other, _) = nodes.insert(2, "second");
        assert_ne!(other, worn);
        assert!(nodes.get(worn, 0).is_none() && nodes.get(worn, GENERATION_END).is_none());
        // Nor is its index, by giving the node back.
        remove(&mut nodes, other);
        nodes.shrink_to_fit(None);
        assert_eq!((nodes.nodes.len(), nodes.first_generation), (1, 1));
    }

    #[test]
    fn there_is_always_room_for_all_vacancies() {
        let mut nodes = Nodes::new();
        for round in 1..6 {
            nodes.reserve(round * 7);
            assert!(nodes.vacant.capacity() >= nodes.nodes.capacity());
            let names: Vec<_> = (0..1000 * round as u64).map(|n| nodes.insert(n, "")).collect();
            assert!(nodes.vacant.capacity() >= nodes.nodes.capacity());
            for (index, _) in &names[1..] {
                remove(&mut nodes, *index);
            }
            nodes.shrink_to_fit(None);
            assert!(nodes.vacant.capacity() >= nodes.nodes.capacity());
        }
    }

    #[test]
    fn a_node_that_was_released_is_used_next_under_another_name() {
        let mut nodes = Nodes::new();
        let (index, generation) = nodes.insert(1, "first");
        remove(&mut nodes, index);
        assert_eq!(nodes.insert(1, "second"), (index, generation + 1));
        assert!(nodes.get(index, generation).is_none());
    }

    #[test]
    fn a_node_that_was_given_back_comes_again_under_another_name() {
        let mut nodes = Nodes::new();
        let names: Vec<_> = (0..10).map(|n| nodes.insert(n, "old")).collect();
        for (index, _) in &names[1..] {
            remove(&mut nodes, *index);
        }
        nodes.shrink_to_fit(None);
        assert_eq!((nodes.nodes.len(), nodes.vacant.len(), nodes.capacity()), (1, 0, 1));
        for _ in 1..10 {
            nodes.insert(0, "new");
        }
        for (index, generation) in &names[1..] {
            assert!(nodes.get(*index, *generation).is_none());
        }
        assert_eq!(nodes.get(names[0].0, names[0].1).unwrap().1, &"old");
    }

    #[test]
    fn a_reserved_node_is_not_given_back() {
        let mut nodes = Nodes::new();
        let (index, generation) = nodes.insert(1, "fired");
        assert_eq!(nodes.take(index), Some((generation, "fired")));
        nodes.shrink_to_fit(Some(index));
        assert_eq!(nodes.put_back(index, generation, "again"), Ok(()));
        assert_eq!(nodes.put_back(index, generation, "twice"), Err("twice"));
        assert_eq!(nodes.get(index, generation).unwrap().1, &"again");
    }
}

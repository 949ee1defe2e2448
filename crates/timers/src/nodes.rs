//! The timers themselves, in a slab.
//!
//! A node holds a timer, which is in exactly one list; or it is reserved for a timer that has just
//! fired; or it is vacant. The last two are in no list and have no value.
//!
//! A node tells by its place alone whether it holds a timer: its value may be in another line of the cache, for
//! which re-scheduling would wait.

use crate::place::{Place, TIMERS_MAX};

/// One timer, or the place of one.
pub(crate) struct Node<V> {
    /// The deadline, in nanoseconds since the clock's epoch. After the timer was re-scheduled it may be
    /// later than its list.
    pub(crate) deadline: u64,
    /// The generation and, in the lowest bits, where the timer is.
    tag: u64,
    value: Option<V>,
}

/// A node costs 16 bytes besides its value.
const _: () = assert!(size_of::<Node<std::num::NonZeroU64>>() == 16 + 8);

/// The bits of a place.
const PLACE: u64 = (1 << Place::BITS) - 1;
/// The generation that no timer ever has.
const GENERATION_END: u32 = u32::MAX >> (Place::BITS - u32::BITS);

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

    /// Returns the number of timers.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of timers that fit without an allocation.
    pub(crate) fn capacity(&self) -> usize {
        self.len + self.vacant.len() + self.nodes.capacity() - self.nodes.len()
    }

    /// Returns for how many nodes there is room.
    pub(crate) fn room(&self) -> usize {
        self.nodes.capacity()
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
            let is_vacant = node.place().is_nowhere()
                && reserved.is_none_or(|reserved| index != reserved as usize);
            // One that is worn out, or soon will be, stays: its index must not come back with an earlier
            // generation, and new nodes begin with the latest one.
            if !is_vacant || node.generation() > GENERATION_END / 2 {
                break;
            }
            // Old keys of the index may be around. A later node there must not answer to them.
            self.first_generation = self.first_generation.max(node.generation());
            self.nodes.pop();
        }
        let len = self.nodes.len();
        self.vacant.retain(|&index| (index as usize) < len);
        self.nodes.shrink_to_fit();
        self.vacant.shrink_to(self.nodes.capacity());
    }

    /// Reserves a node for a timer. Calls `grown` if there is room for more nodes than before, and says for how
    /// many.
    ///
    /// # Panics
    ///
    /// If there are 32 million timers and worn-out places in all. A place is worn out after 2^24 uses.
    #[inline]
    pub(crate) fn reserve_one(&mut self, grown: impl FnOnce(usize)) -> u32 {
        self.vacant.pop().unwrap_or_else(|| self.grow(grown))
    }

    #[cold]
    fn grow(&mut self, grown: impl FnOnce(usize)) -> u32 {
        let (index, room) = (self.nodes.len(), self.room());
        assert!(index < TIMERS_MAX, "no more than 32 million timers fit");
        let tag = tag(self.first_generation, Place::NOWHERE);
        self.nodes.push(Node { deadline: 0, tag, value: None });
        if self.room() != room {
            self.reserve_vacancies();
            grown(self.room());
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is less than 32 million")]
        (index as u32)
    }

    /// Puts a timer into a reserved node, and returns its generation.
    #[inline]
    pub(crate) fn put(&mut self, index: u32, deadline: u64, place: Place, value: V) -> u32 {
        self.len += 1;
        let node = self.node(index);
        node.deadline = deadline;
        node.set_place(place);
        node.value = Some(value);
        node.generation()
    }

    /// Returns the timer with this name.
    #[inline]
    pub(crate) fn get(&self, index: u32, generation: u32) -> Option<(&Node<V>, &V)> {
        let node = self.nodes.get(index as usize)?;
        let value = node.value.as_ref()?;
        (node.generation() == generation).then_some((node, value))
    }

    /// Returns the timer with this name.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32, generation: u32) -> Option<&mut Node<V>> {
        let node = self.nodes.get_mut(index as usize)?;
        (node.generation() == generation && !node.place().is_nowhere()).then_some(node)
    }

    /// Takes the value of a timer, and reserves its node: its generation and its value. `None`: the node holds no
    /// timer. The caller takes it out of its list.
    #[inline]
    pub(crate) fn take(&mut self, index: u32) -> Option<(u32, V)> {
        let node = self.node(index);
        let (generation, value) = (node.generation(), node.value.take()?);
        node.set_place(Place::NOWHERE);
        self.len -= 1;
        Some((generation, value))
    }

    /// Returns whether a node of this generation is reserved.
    pub(crate) fn is_reserved(&self, index: u32, generation: u32) -> bool {
        let node = self.nodes.get(index as usize);
        node.is_some_and(|node| node.generation() == generation && node.place().is_nowhere())
    }

    /// Makes a reserved node vacant. Its keys name nothing from now on.
    #[inline]
    pub(crate) fn release(&mut self, index: u32) {
        let node = self.node(index);
        node.tag += 1 << Place::BITS;
        // A node that is worn out is never used again, or its first key would name a timer once more.
        if node.generation() != GENERATION_END {
            self.vacant.push(index);
        }
    }

    #[inline]
    pub(crate) fn node(&mut self, index: u32) -> &mut Node<V> {
        &mut self.nodes[index as usize]
    }

    /// Reads some nodes, so that they are in the cache.
    #[inline]
    pub(crate) fn touch(&self, indices: &[u32]) {
        let mut sum = 0;
        for index in indices {
            // The fields that a pass reads, which may be in two lines of the cache.
            sum ^= self.nodes.get(*index as usize).map_or(0, |node| {
                let has_value = Self::ARE_WIDE && node.value.is_some();
                node.deadline ^ node.tag ^ u64::from(has_value)
            });
        }
        std::hint::black_box(sum);
    }

    /// `true` if nodes are so long that the value is often in another cache line than the rest. In smaller nodes
    /// reading it ahead takes longer than it saves.
    const ARE_WIDE: bool = size_of::<Node<V>>() > 24;

    /// Iterates over the timers: index, generation, deadline and value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, u64, &V)> {
        (0..).zip(&self.nodes).filter_map(|(index, node)| {
            Some((index, node.generation(), node.deadline, node.value.as_ref()?))
        })
    }

    /// Iterates over the timers: index, generation, deadline and value.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, u32, u64, &mut V)> {
        (0..).zip(&mut self.nodes).filter_map(|(index, node)| {
            Some((index, node.generation(), node.deadline, node.value.as_mut()?))
        })
    }
}

fn tag(generation: u32, place: Place) -> u64 {
    u64::from(generation) << Place::BITS | place.to_bits()
}

impl<V> Node<V> {
    #[inline]
    fn generation(&self) -> u32 {
        (self.tag >> Place::BITS) as u32
    }

    /// Returns the place of the timer.
    #[inline]
    pub(crate) fn place(&self) -> Place {
        Place::from_bits(self.tag & PLACE)
    }

    #[inline]
    pub(crate) fn set_place(&mut self, place: Place) {
        self.tag = self.tag & !PLACE | place.to_bits();
    }

    /// Returns the value of a node that holds a timer.
    pub(crate) fn value_mut(&mut self) -> Option<&mut V> {
        self.value.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(nodes: &mut Nodes<&'static str>, deadline: u64, value: &'static str) -> (u32, u32) {
        let index = nodes.reserve_one(|_| {});
        (index, nodes.put(index, deadline, Place::from_bits(0), value))
    }

    fn remove(nodes: &mut Nodes<&'static str>, index: u32) {
        nodes.take(index).unwrap();
        nodes.release(index);
    }

    #[test]
    fn a_node_that_is_worn_out_is_never_used_again() {
        let mut nodes = Nodes::new();
        let (worn, generation) = insert(&mut nodes, 1, "first");
        assert_eq!(generation, 0);
        nodes.node(worn).tag = tag(GENERATION_END - 1, Place::from_bits(0));
        remove(&mut nodes, worn);
        assert_eq!((nodes.vacant.len(), nodes.len()), (0, 0));

        let (other, _) = insert(&mut nodes, 2, "second");
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
            let names: Vec<_> =
                (0..1000 * round as u64).map(|n| insert(&mut nodes, n, "")).collect();
            assert!(nodes.vacant.capacity() >= nodes.nodes.capacity());
            for (index, _) in &names[1..] {
                remove(&mut nodes, *index);
            }
            nodes.shrink_to_fit(None);
            assert!(nodes.vacant.capacity() >= nodes.nodes.capacity());
        }
    }

    #[test]
    fn a_node_that_was_used_often_is_not_given_back() {
        let mut nodes = Nodes::new();
        let (often, _) = insert(&mut nodes, 1, "");
        nodes.node(often).tag = tag(GENERATION_END / 2, Place::from_bits(0));
        remove(&mut nodes, often);
        nodes.shrink_to_fit(None);
        // New nodes do not begin with a generation from which few are left.
        assert_eq!((nodes.nodes.len(), nodes.first_generation), (1, 0));
    }

    #[test]
    fn a_node_that_was_released_is_used_next_under_another_name() {
        let mut nodes = Nodes::new();
        let (index, generation) = insert(&mut nodes, 1, "first");
        remove(&mut nodes, index);
        assert_eq!(insert(&mut nodes, 1, "second"), (index, generation + 1));
        assert!(nodes.get(index, generation).is_none());
    }

    #[test]
    fn a_node_that_was_given_back_comes_again_under_another_name() {
        let mut nodes = Nodes::new();
        let names: Vec<_> = (0..10).map(|n| insert(&mut nodes, n, "old")).collect();
        for (index, _) in &names[1..] {
            remove(&mut nodes, *index);
        }
        nodes.shrink_to_fit(None);
        assert_eq!((nodes.nodes.len(), nodes.vacant.len(), nodes.capacity()), (1, 0, 1));
        for _ in 1..10 {
            insert(&mut nodes, 0, "new");
        }
        for (index, generation) in &names[1..] {
            assert!(nodes.get(*index, *generation).is_none());
        }
        assert_eq!(nodes.get(names[0].0, names[0].1).unwrap().1, &"old");
    }

    #[test]
    fn a_reserved_node_is_not_given_back() {
        let mut nodes = Nodes::new();
        let (index, generation) = insert(&mut nodes, 1, "fired");
        assert_eq!(nodes.take(index), Some((generation, "fired")));
        nodes.shrink_to_fit(Some(index));
        assert!(nodes.is_reserved(index, generation));
        nodes.put(index, 1, Place::from_bits(0), "again");
        assert!(!nodes.is_reserved(index, generation));
        assert_eq!(nodes.get(index, generation).unwrap().1, &"again");
    }
}

//! Lists of timers: chains of chunks that hold the indices of nodes, from one pool.
//!
//! Reading a chunk tells many nodes, so that their memory is waited for at once; in a list through the nodes
//! each address would come out of the one before. A node knows its place. Taking a timer out clears its bit among
//! those of the chunk and touches no other node. A chunk without a timer leaves its list at once, except for the
//! only one of a list, which the next timer would take again. So there are never more chunks in use than
//! timers and lists, nothing is compacted, and the order stays.

#[cfg(test)]
mod tests;

use crate::nodes::Nodes;
use crate::place::{LIST_BITS, NONE, Place, SLOT_BITS, SLOT_MASK};

/// Timers in a chunk. One slot is left for the end of a list whose last chunk is full.
const SLOTS: u32 = SLOT_MASK;

/// The smallest number of chunks that there is room for. With so many, the GNU C library gives even their bits a
/// mapping of their own from the beginning (its threshold is 128 KiB at first). A mapping grows without a copy,
/// and its untouched pages cost no memory.
const ROOM_MIN: usize = 33_000;
const _: () = assert!(ROOM_MIN * size_of::<u32>() > 128 << 10);

/// Fewer timers than this are not worth reading ahead.
const AHEAD_MIN: u32 = 4;

/// The neighbours of a chunk, which is a part of a list, or vacant.
#[derive(Clone, Copy)]
struct Links {
    /// The chunk after this one in its list, or among the vacant ones.
    next: u32,
    previous: u32,
}

/// The ends of a list.
#[derive(Clone, Copy)]
struct Ends {
    /// The first chunk.
    first: u32,
    /// The last chunk and, in the lowest bits, the slot of the next timer: [`SLOTS`] if that takes another
    /// chunk.
    end: u32,
}

const EMPTY: Ends = Ends { first: NONE, end: NONE << SLOT_BITS | SLOTS };

/// Timers of one chunk, in their order.
#[derive(Clone, Copy)]
pub(crate) struct ChunkTimers {
    live: u32,
    /// The first slot.
    at: u32,
}

/// `COUNT` lists.
pub(crate) struct Lists<const COUNT: usize> {
    lists: Box<[Ends; COUNT]>,
    /// For each chunk a bit for each slot that holds a timer. They stand by themselves, where they take little
    /// of the cache: taking a timer out at random reads nothing else of its list.
    live: Vec<u32>,
    links: Vec<Links>,
    /// The slots of all chunks.
    slots: Vec<u32>,
    /// The first vacant chunk: the one that was used last, which is in the cache.
    vacant: u32,
    /// The chunk at the [mark](Self::mark), or [`NONE`].
    marked: u32,
}

impl<const COUNT: usize> Lists<COUNT> {
    pub(crate) fn new() -> Self {
        const { assert!(COUNT <= 1 << LIST_BITS) };
        let lists = Box::new([EMPTY; COUNT]);
        let (live, links, slots) = (Vec::new(), Vec::new(), Vec::new());
        Self { lists, live, links, slots, vacant: NONE, marked: NONE }
    }

    /// Makes room for so many timers in all, however they are spread. Untouched pages of it cost no memory.
    pub(crate) fn reserve(&mut self, timers: usize) {
        let chunks_max = (timers + COUNT).max(ROOM_MIN);
        // In place, for a copy would leave its pages behind in the heap.
        self.live.reserve_exact(chunks_max.saturating_sub(self.live.len()));
        self.links.reserve_exact(chunks_max.saturating_sub(self.links.len()));
        let slots_max = chunks_max << SLOT_BITS;
        self.slots.reserve_exact(slots_max.saturating_sub(self.slots.len()));
    }

    /// Gives back the memory that is not needed for so many timers.
    pub(crate) fn shrink_to<V>(&mut self, nodes: &mut Nodes<V>, timers: usize) {
        // Any chunk may be in use, so the timers move into new ones.
        let mut lists = Self::new();
        lists.reserve(timers);
        for list in (0..).take(COUNT) {
            while !self.is_empty(list) {
                let is_marked = self.marked == self.ends(list).first;
                let mut first = self.first(list);
                while let Some(index) = self.take_one(&mut first) {
                    let pushed = lists.push(list, index);
                    let place = pushed.unwrap_or_else(|| lists.push_apart(list, index));
                    nodes.node(index).set_place(place);
                }
                self.leave(nodes, list, first);
                if is_marked {
                    lists.mark(list);
                }
            }
        }
        *self = lists;
    }

    #[inline]
    fn ends(&self, list: u16) -> Ends {
        self.lists[usize::from(list)]
    }

    #[inline]
    pub(crate) fn is_empty(&self, list: u16) -> bool {
        self.live.get(self.ends(list).first as usize).is_none_or(|live| *live == 0)
    }

    /// Appends a timer to a list, and returns its place. `None`: it takes [another chunk](Self::push_apart).
    #[inline]
    pub(crate) fn push(&mut self, list: u16, index: u32) -> Option<Place> {
        let end = &mut self.lists[usize::from(list)].end;
        let at = *end;
        if at & SLOT_MASK == SLOTS {
            return None;
        }
        self.slots[at as usize] = index;
        self.live[(at >> SLOT_BITS) as usize] |= 1 << (at & SLOT_MASK);
        *end = at + 1;
        Some(Place::new(list, at))
    }

    /// Appends a timer in a chunk of its own, and returns its place.
    #[inline(never)]
    pub(crate) fn push_apart(&mut self, list: u16, index: u32) -> Place {
        let at = match self.links.get(self.vacant as usize) {
            Some(vacant) => std::mem::replace(&mut self.vacant, vacant.next),
            None => self.add_chunk(),
        };
        let ends = &mut self.lists[usize::from(list)];
        let previous = std::mem::replace(&mut ends.end, (at << SLOT_BITS) + 1) >> SLOT_BITS;
        self.links[at as usize] = Links { next: NONE, previous };
        self.live[at as usize] = 1;
        self.slots[(at << SLOT_BITS) as usize] = index;
        match self.links.get_mut(previous as usize) {
            Some(previous) => previous.next = at,
            None => ends.first = at,
        }
        Place::new(list, at << SLOT_BITS)
    }

    #[cold]
    fn add_chunk(&mut self) -> u32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "there are no more than timers and lists"
        )]
        let at = self.live.len() as u32;
        self.live.push(0);
        self.links.push(Links { next: NONE, previous: NONE });
        self.slots.resize(self.live.len() << SLOT_BITS, 0);
        at
    }

    /// Takes the first timer out of a list that has one, and returns whether the list is empty now.
    #[inline]
    pub(crate) fn pop<V>(&mut self, nodes: &Nodes<V>, list: u16) -> (u32, bool) {
        let at = self.ends(list).first;
        let live = &mut self.live[at as usize];
        let index = self.slots[(at << SLOT_BITS | live.trailing_zeros()) as usize];
        *live &= live.wrapping_sub(1);
        let is_empty = *live == 0 && self.drop_first(nodes, list);
        (index, is_empty)
    }

    /// Returns the first timers of a list that has some.
    #[inline]
    pub(crate) fn first(&self, list: u16) -> ChunkTimers {
        let at = self.ends(list).first;
        ChunkTimers { live: self.live[at as usize], at: at << SLOT_BITS }
    }

    /// Returns the first of some timers, and leaves the others.
    #[inline]
    pub(crate) fn take_one(&self, timers: &mut ChunkTimers) -> Option<u32> {
        if timers.live == 0 {
            return None;
        }
        let at = timers.at | timers.live.trailing_zeros();
        timers.live &= timers.live.wrapping_sub(1);
        Some(self.slots[at as usize])
    }

    /// Returns whether there are no other timers than the [first](Self::first).
    #[inline]
    pub(crate) fn is_short(&self, list: u16) -> bool {
        let Ends { first, end } = self.ends(list);
        first == end >> SLOT_BITS
    }

    /// Leaves these of the [first](Self::first) timers of a list there, takes the others out, and returns
    /// whether the list is empty now.
    #[inline]
    pub(crate) fn leave<V>(&mut self, nodes: &Nodes<V>, list: u16, left: ChunkTimers) -> bool {
        let at = self.ends(list).first;
        self.live[at as usize] = left.live;
        left.live == 0 && self.drop_first(nodes, list)
    }

    /// Takes the first chunk, which has no timer left, out of its list, and returns whether the list is empty
    /// now.
    #[inline]
    fn drop_first<V>(&mut self, nodes: &Nodes<V>, list: u16) -> bool {
        let ends = &mut self.lists[usize::from(list)];
        let at = ends.first;
        let links = &mut self.links[at as usize];
        if self.marked == at {
            self.marked = NONE;
        }
        let next = links.next;
        if next == NONE {
            ends.end = at << SLOT_BITS;
            return true;
        }
        links.next = std::mem::replace(&mut self.vacant, at);
        ends.first = next;
        self.links[next as usize].previous = NONE;
        self.read_ahead(nodes, list);
        false
    }

    /// Takes a timer out of its list, and returns whether the list is empty now.
    #[inline]
    pub(crate) fn remove(&mut self, place: Place) -> bool {
        let live = &mut self.live[place.chunk() as usize];
        *live &= !(1 << place.slot());
        *live == 0 && self.drop_chunk(place)
    }

    /// Takes a chunk without timers out of its list, and returns whether the list is empty now.
    #[inline(never)]
    fn drop_chunk(&mut self, place: Place) -> bool {
        let (ends, at) = (&mut self.lists[usize::from(place.list())], place.chunk());
        let links = &mut self.links[at as usize];
        let Links { next, previous } = *links;
        if self.marked == at {
            self.marked = previous;
        }
        if next == NONE && previous == NONE {
            ends.end = at << SLOT_BITS;
            return true;
        }
        links.next = std::mem::replace(&mut self.vacant, at);
        match self.links.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => ends.first = next,
        }
        match self.links.get_mut(next as usize) {
            Some(next) => next.previous = previous,
            // It is full, or was closed by a mark, or nothing would have come after it.
            None => ends.end = previous << SLOT_BITS | SLOTS,
        }
        false
    }

    /// Reads the first timers of a list that has some, so that their memory is waited for at once.
    #[inline]
    pub(crate) fn read_ahead<V>(&self, nodes: &Nodes<V>, list: u16) {
        let first = self.first(list);
        if first.live >> AHEAD_MIN != 0 {
            let (at, len) = (first.at as usize, u32::BITS - first.live.leading_zeros());
            nodes.touch(&self.slots[at..at + len as usize]);
        }
    }

    /// Marks the end of a list. Timers that are appended after this are behind the mark. One list has the mark.
    pub(crate) fn mark(&mut self, list: u16) {
        if !self.is_empty(list) {
            let ends = &mut self.lists[usize::from(list)];
            self.marked = ends.end >> SLOT_BITS;
            ends.end |= SLOTS;
        }
    }

    /// Returns whether there are timers before the mark.
    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        self.marked != NONE
    }

    /// Appends all timers of a list that has some to another one, from which only [`leave`](Self::leave) takes
    /// them, for they do not know it. There is no mark after this.
    pub(crate) fn gather(&mut self, to: u16, from: u16) {
        self.marked = NONE;
        if self.is_empty(to) {
            self.lists.swap(usize::from(to), usize::from(from));
            return;
        }
        let ends = std::mem::replace(&mut self.lists[usize::from(from)], EMPTY);
        let last = std::mem::replace(&mut self.lists[usize::from(to)].end, ends.end) >> SLOT_BITS;
        self.links[last as usize].next = ends.first;
    }
}

impl ChunkTimers {
    /// Returns whether there is one timer, or none.
    #[inline]
    pub(crate) fn is_one(self) -> bool {
        self.live & self.live.wrapping_sub(1) == 0
    }
}

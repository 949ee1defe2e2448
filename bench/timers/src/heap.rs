//! A binary heap that forgets lazily: a timer that is cancelled or re-scheduled leaves its entry
//! behind, which is dropped when it comes up, or when the heap is half full of such.

use crate::Keeper;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Fewer entries than this are not worth tidying.
const TIDY_MIN: usize = 64;

/// [`BinaryHeap`].
pub struct Heap {
    heap: BinaryHeap<Entry>,
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    entries: u64,
}

/// The deadline, the number of the entry, and the timer's place.
type Entry = Reverse<(u64, u64, u32)>;

struct Slot {
    /// The number of the entry that counts; none has zero.
    entry: u64,
    generation: u32,
    value: u64,
}

/// The place of a timer, and how often it had been taken before.
#[derive(Clone, Copy)]
pub struct HeapKey {
    index: u32,
    generation: u32,
}

impl Heap {
    #[inline]
    fn push(&mut self, deadline: u64, index: u32) {
        if self.heap.len() > 2 * self.slots.len().max(TIDY_MIN) {
            let slots = &self.slots;
            self.heap.retain(|Reverse((_, entry, index))| is_live(slots, *entry, *index));
        }
        self.entries += 1;
        self.slots[index as usize].entry = self.entries;
        self.heap.push(Reverse((deadline, self.entries, index)));
    }

    #[inline]
    fn slot(&mut self, key: HeapKey) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation).then_some(slot)
    }

    #[inline]
    fn vacate(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.entry = 0;
        slot.generation += 1;
        self.vacant.push(index);
    }
}

#[inline]
fn is_live(slots: &[Slot], entry: u64, index: u32) -> bool {
    slots[index as usize].entry == entry
}

impl Keeper for Heap {
    const NAME: &'static str = "BinaryHeap";

    type Key = HeapKey;

    fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), vacant: Vec::new(), entries: 0 }
    }

    fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }

    #[inline]
    fn insert(&mut self, deadline: u64, value: u64) -> HeapKey {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot { entry: 0, generation: 0, value });
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 timers")
        });
        self.slots[index as usize].value = value;
        self.push(deadline, index);
        HeapKey { index, generation: self.slots[index as usize].generation }
    }

    #[inline]
    fn cancel(&mut self, key: HeapKey) -> bool {
        let is_known = self.slot(key).is_some();
        if is_known {
            self.vacate(key.index);
        }
        is_known
    }

    #[inline]
    fn reschedule(&mut self, key: &mut HeapKey, deadline: u64, _value: u64) -> bool {
        let is_known = self.slot(*key).is_some();
        if is_known {
            self.push(deadline, key.index);
        }
        is_known
    }

    #[inline]
    fn expire(&mut self, now: u64, mut fire: impl FnMut(u64)) {
        while let Some(&Reverse((deadline, entry, index))) = self.heap.peek() {
            if deadline > now {
                return;
            }
            self.heap.pop();
            if is_live(&self.slots, entry, index) {
                fire(self.slots[index as usize].value);
                self.vacate(index);
            }
        }
    }
}

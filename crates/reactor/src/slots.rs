//! The table of registrations: slots with generations. A slot's generation moves on when its value
//! is taken out, so no two registrations ever share a token; a slot that runs out of generations
//! is not used again.

use std::num::NonZeroU32;

/// A table of values that are named by slot and generation.
pub(crate) struct Slots<V> {
    slots: Vec<Slot<V>>,
    /// The slot that was vacated last, the head of a list through the vacant slots.
    vacant: Option<u32>,
    len: usize,
}

struct Slot<V> {
    generation: Generation,
    content: Content<V>,
}

impl<V> Slot<V> {
    #[inline]
    fn value_mut(&mut self, generation: u32) -> Option<&mut V> {
        match &mut self.content {
            Content::Occupied(value) if self.generation.get() == generation => Some(value),
            _ => None,
        }
    }
}

enum Content<V> {
    Occupied(V),
    Vacant { next: Option<u32> },
}

/// Never zero, so that an `Option` of a name takes no more room than the name.
pub(crate) type Generation = NonZeroU32;

/// The generation of a slot that is not used again. No registration ever has it.
const GENERATION_END: Generation = Generation::MAX;

impl<V> Slots<V> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), vacant: None, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the slot and generation that the next [`insert`](Self::insert) will use; `None` when
    /// there are no more.
    pub(crate) fn next(&self) -> Option<(u32, Generation)> {
        let [name] = self.next_ones()?;
        Some(name)
    }

    /// Returns the slots and generations that the next insertions will use, in their order; `None` when
    /// there are not so many.
    pub(crate) fn next_ones<const N: usize>(&self) -> Option<[(u32, Generation); N]> {
        // Follows the list of vacant slots, then counts on from the end, as the insertions will.
        let mut vacant = self.vacant;
        let mut fresh = self.slots.len();
        let mut names = [(0, Generation::MIN); N];
        for name in &mut names {
            *name = match vacant {
                Some(index) => {
                    let slot = &self.slots[index as usize];
                    if let Content::Vacant { next } = slot.content {
                        vacant = next;
                    }
                    (index, slot.generation)
                }
                None => {
                    let index = u32::try_from(fresh).ok()?;
                    fresh += 1;
                    (index, Generation::MIN)
                }
            };
        }
        Some(names)
    }

    /// Puts `value` where [`next`](Self::next) said.
    pub(crate) fn insert(&mut self, value: V) {
        let content = Content::Occupied(value);
        // A vacant slot first, so that the table is as long as there ever were registrations at once.
        match self.vacant {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                let Content::Vacant { next } = slot.content else {
                    unreachable!("the list of vacant slots holds vacant slots only");
                };
                (slot.content, self.vacant) = (content, next);
            }
            None => self.slots.push(Slot { generation: Generation::MIN, content }),
        }
        self.len += 1;
    }

    #[inline]
    pub(crate) fn get(&self, index: u32, generation: u32) -> Option<&V> {
        match self.slots.get(index as usize) {
            Some(Slot { generation: present, content: Content::Occupied(value) })
                if present.get() == generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32, generation: u32) -> Option<&mut V> {
        self.slots.get_mut(index as usize)?.value_mut(generation)
    }

    /// Like [`get_mut`](Self::get_mut), and returns the generation as a [`Generation`] too.
    #[inline]
    pub(crate) fn entry(&mut self, index: u32, generation: u32) -> Option<(Generation, &mut V)> {
        let slot = self.slots.get_mut(index as usize)?;
        Some((slot.generation, slot.value_mut(generation)?))
    }

    /// Returns two values at once; `None` when one is missing or both names are the same.
    pub(crate) fn get_disjoint_mut(
        &mut self,
        one: (u32, u32),
        other: (u32, u32),
    ) -> Option<(&mut V, &mut V)> {
        if one.0 > other.0 {
            let (other, one) = self.get_disjoint_mut(other, one)?;
            return Some((one, other));
        }
        // The first slot of the upper part is the other one; equal names leave the lower part short.
        let (lower, upper) = self.slots.split_at_mut_checked(other.0 as usize)?;
        Some((
            lower.get_mut(one.0 as usize)?.value_mut(one.1)?,
            upper.first_mut()?.value_mut(other.1)?,
        ))
    }

    pub(crate) fn remove(&mut self, index: u32, generation: u32) -> Option<V> {
        self.get(index, generation)?;
        let slot = self.slots.get_mut(index as usize)?;
        // At the removal, so that events and tokens of the registration are stale from here on, also while
        // the slot is vacant.
        slot.generation = slot.generation.saturating_add(1);
        let is_worn_out = slot.generation == GENERATION_END;
        // Left out of the list for good: after an overflow old tokens would name new registrations.
        let next = if is_worn_out { None } else { self.vacant };
        let content = std::mem::replace(&mut slot.content, Content::Vacant { next });
        if !is_worn_out {
            self.vacant = Some(index);
        }
        self.len -= 1;
        match content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        }
    }

    /// Returns how many slots were ever used.
    pub(crate) fn used(&self) -> usize {
        self.slots.len()
    }

    /// Returns the generation and the value of the slot at `index`, if it is occupied.
    pub(crate) fn occupant(&self, index: u32) -> Option<(Generation, &V)> {
        let slot = self.slots.get(index as usize)?;
        match &slot.content {
            Content::Occupied(value) => Some((slot.generation, value)),
            Content::Vacant { .. } => None,
        }
    }

    /// Iterates over the occupied slots: index, generation and value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Generation, &V)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| match &slot.content {
            Content::Occupied(value) => Some((index, slot.generation, value)),
            Content::Vacant { .. } => None,
        })
    }

    /// Iterates over the occupied slots: index, generation and value.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, Generation, &mut V)> {
        (0..).zip(&mut self.slots).filter_map(|(index, slot)| match &mut slot.content {
            Content::Occupied(value) => Some((index, slot.generation, value)),
            Content::Vacant { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn put(slots: &mut Slots<u32>, value: u32) -> (u32, u32) {
        let (index, generation) = slots.next().unwrap();
        slots.insert(value);
        (index, generation.get())
    }

    proptest! {
        /// Against a map that never forgets a name: what was removed stays gone, whoever has its
        /// slot now.
        #[test]
        fn behave_like_a_map_whose_names_are_never_given_twice(
            choices in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            let (mut slots, mut model, mut names) = (Slots::new(), HashMap::new(), Vec::new());
            for (value, (inserts, choice)) in (0..).zip(choices) {
                if inserts || names.is_empty() {
                    let name = put(&mut slots, value);
                    prop_assert!(!names.contains(&name));
                    names.push(name);
                    model.insert(name, value);
                } else {
                    let name = *choice.get(&names);
                    prop_assert_eq!(slots.remove(name.0, name.1), model.remove(&name));
                }
                for name in &names {
                    prop_assert_eq!(slots.get(name.0, name.1), model.get(name));
                }
                prop_assert_eq!(slots.len(), model.len());
                prop_assert_eq!(slots.iter_mut().count(), model.len());
                let by_index = (0..).take(slots.used()).filter_map(|index| {
                    let (generation, value) = slots.occupant(index)?;
                    Some(((index, generation.get()), *value))
                });
                prop_assert_eq!(by_index.collect::<HashMap<_, _>>(), model.clone());
            }
        }
    }

    #[test]
    fn the_names_of_the_next_ones_are_known() {
        let mut slots = Slots::new();
        let put_all: Vec<_> = (0..4).map(|value| put(&mut slots, value)).collect();
        for vacated in [vec![], vec![2], vec![1, 3, 0]] {
            for index in vacated {
                let (index, generation) = put_all[index];
                slots.remove(index, generation).unwrap();
            }
            let expected: [_; 5] = slots.next_ones().unwrap();
            let taken: Vec<_> = (0..5).map(|value| put(&mut slots, value)).collect();
            assert_eq!(expected.map(|(index, generation)| (index, generation.get())), *taken);
        }
    }

    #[test]
    fn two_values_are_lent_at_once_in_either_order() {
        let mut slots = Slots::new();
        let (one, other) = (put(&mut slots, 1), put(&mut slots, 2));
        assert_eq!(slots.get_disjoint_mut(one, other), Some((&mut 1, &mut 2)));
        assert_eq!(slots.get_disjoint_mut(other, one), Some((&mut 2, &mut 1)));
        assert_eq!(slots.get_disjoint_mut(one, one), None);
        assert_eq!(slots.get_disjoint_mut(one, (7, 0)), None);
        slots.remove(other.0, other.1);
        assert_eq!(slots.get_disjoint_mut(one, other), None);
    }

    #[test]
    fn a_slot_without_generations_left_is_not_used_again() {
        let mut slots = Slots::new();
        let (index, _) = put(&mut slots, 1);
        let last = Generation::new(GENERATION_END.get() - 1).unwrap();
        slots.slots[index as usize].generation = last;
        assert_eq!(slots.remove(index, last.get()), Some(1));
        assert_eq!(slots.get(index, GENERATION_END.get()), None);
        let (other, _) = put(&mut slots, 2);
        assert_ne!(other, index);
    }
}

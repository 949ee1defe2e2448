//! Lists beside queues that say what has to be in them.

use super::*;
use std::collections::VecDeque;

const COUNT: usize = 5;
const PER_CHUNK: usize = SLOTS as usize;

struct Run {
    lists: Lists<COUNT>,
    nodes: Nodes<()>,
    model: [VecDeque<u32>; COUNT],
    random: u64,
}

impl Run {
    fn new() -> Self {
        let model = std::array::from_fn(|_| VecDeque::new());
        Self { lists: Lists::new(), nodes: Nodes::new(), model, random: 9 }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) as usize % end
    }

    fn push(&mut self, list: usize, count: usize) {
        for _ in 0..count {
            let index = self.nodes.reserve_one(|room| self.lists.reserve(room));
            let pushed = self.lists.push(number(list), index);
            let place = pushed.unwrap_or_else(|| self.lists.push_apart(number(list), index));
            self.nodes.put(index, 0, place, ());
            self.model[list].push_back(index);
        }
    }

    fn pop(&mut self, list: usize) {
        let expected = self.model[list].pop_front();
        let (index, is_empty) = self.lists.pop(&self.nodes, number(list));
        assert_eq!((Some(index), is_empty), (expected, self.model[list].is_empty()));
        self.end(index);
    }

    fn remove(&mut self, list: usize, nth: usize) {
        let index = self.model[list].remove(nth).unwrap();
        let place = self.nodes.node(index).place();
        assert_eq!(self.lists.remove(place), self.model[list].is_empty());
        self.end(index);
    }

    /// Takes some of the first chunk.
    fn take(&mut self, list: usize, max: usize) {
        let mut first = self.lists.first(number(list));
        for _ in 0..max {
            let Some(index) = self.lists.take_one(&mut first) else { break };
            assert_eq!(self.model[list].pop_front(), Some(index));
            self.end(index);
        }
        let is_empty = self.lists.leave(&self.nodes, number(list), first);
        assert_eq!(is_empty, self.model[list].is_empty());
    }

    fn end(&mut self, index: u32) {
        self.nodes.take(index).unwrap();
        self.nodes.release(index);
    }

    /// The chunks of a list, the one that stays with an empty list included.
    fn chunks(&self, list: usize) -> usize {
        let next = |at: &u32| Some(self.lists.links.get(*at as usize)?.next);
        let first = self.lists.lists[list].first;
        std::iter::successors(Some(first), next).take_while(|at| *at != NONE).count()
    }

    /// Every timer is where its node says, in its order, and no chunk is lost or empty.
    fn check(&mut self) {
        let mut vacant = 0;
        let mut at = self.lists.vacant;
        while at != NONE {
            vacant += 1;
            at = self.lists.links[at as usize].next;
        }
        let in_lists: usize = (0..COUNT).map(|list| self.chunks(list)).sum();
        assert_eq!(in_lists + vacant, self.lists.live.len());
        assert_eq!(in_lists + vacant, self.lists.links.len());
        let timers: usize = self.model.iter().map(VecDeque::len).sum();
        assert!(in_lists <= timers + COUNT, "{in_lists} chunks for {timers}");
        for (list, model) in self.model.iter().enumerate() {
            assert!(model.is_empty() || self.chunks(list) <= model.len());
            assert_eq!(self.lists.is_empty(number(list)), model.is_empty());
            for index in model {
                let place = self.nodes.node(*index).place();
                let slot = place.chunk() << SLOT_BITS | place.slot();
                assert_eq!(self.lists.slots[slot as usize], *index);
                assert_eq!(place.list(), number(list));
            }
        }
        let room = match self.nodes.room() {
            0 => 0,
            timers => timers + COUNT,
        };
        assert!(self.lists.live.capacity() >= room);
        assert!(self.lists.links.capacity() >= room);
        assert!(self.lists.slots.capacity() >= room << SLOT_BITS);
    }

    fn drain(&mut self) {
        for list in 0..COUNT {
            while !self.model[list].is_empty() {
                self.pop(list);
            }
        }
        self.check();
    }
}

fn number(list: usize) -> u16 {
    u16::try_from(list).unwrap()
}

#[test]
fn lists_keep_their_order_whatever_is_done_to_them() {
    let mut run = Run::new();
    for step in 0..60_000 {
        // At times more is put in, at times more is taken out.
        let grows = step / 3000 % 2 == 0;
        let list = run.below(COUNT);
        let len = run.model[list].len();
        match run.below(20) {
            0..8 if grows => run.push(list, 2),
            0..2 => run.push(list, 1),
            2..5 if len > 0 => run.pop(list),
            5..17 if len > 0 => {
                let nth = run.below(len);
                run.remove(list, nth);
            }
            17 if len > 0 => {
                let max = run.below(PER_CHUNK + 2);
                run.take(list, max);
            }
            18 if run.below(50) == 0 => {
                let room = run.nodes.room();
                run.lists.shrink_to(&mut run.nodes, room);
            }
            _ => {}
        }
        if step % 16 == 0 {
            run.check();
        }
    }
    run.drain();
}

#[test]
fn there_is_a_chunk_for_every_timer_and_no_more() {
    let mut run = Run::new();
    // One timer is left in each chunk, again and again.
    for round in 0..40 {
        run.push(round % COUNT, PER_CHUNK);
        for _ in 1..PER_CHUNK {
            let last = run.model[round % COUNT].len() - 1;
            run.remove(round % COUNT, last);
        }
        run.lists.mark(number(round % COUNT));
        run.lists.marked = NONE;
        run.check();
    }
    assert_eq!((0..COUNT).map(|list| run.chunks(list)).sum::<usize>(), 40);
    run.drain();
    // Each list keeps one.
    assert_eq!((0..COUNT).map(|list| run.chunks(list)).sum::<usize>(), COUNT);
}

#[test]
fn no_room_is_made_where_there_was_enough() {
    let mut run = Run::new();
    run.nodes.reserve(30_000);
    run.lists.reserve(run.nodes.room());
    run.check();
    let room = |run: &Run| {
        let Lists { live, links, slots, .. } = &run.lists;
        (live.as_ptr(), links.as_ptr(), slots.as_ptr())
    };
    let before = room(&run);
    for round in 0..200 {
        run.push(round % COUNT, 500);
        let left = if round % 7 == 0 { 0 } else { 20 };
        while run.model[round % COUNT].len() > left {
            let nth = run.below(run.model[round % COUNT].len());
            run.remove(round % COUNT, nth);
        }
    }
    assert_eq!(room(&run), before);
}

#[test]
fn what_comes_behind_the_mark_is_in_another_chunk() {
    let mut run = Run::new();
    run.lists.mark(2);
    assert!(!run.lists.is_marked(), "the end of an empty list");
    run.push(2, 3);
    run.lists.mark(2);
    run.push(2, 2);
    assert_eq!(run.chunks(2), 2);
    // The mark stays where it is, whoever moves.
    let room = run.nodes.room();
    run.lists.shrink_to(&mut run.nodes, room);
    assert_eq!(run.chunks(2), 2);
    run.remove(2, 0);
    run.pop(2);
    assert!(run.lists.is_marked());
    run.pop(2);
    assert!(!run.lists.is_marked());
    run.check();

    // A chunk before the marked one is the marked one after it.
    let mut run = Run::new();
    run.push(2, PER_CHUNK + 1);
    run.lists.mark(2);
    run.push(2, 1);
    run.remove(2, PER_CHUNK);
    assert!(run.lists.is_marked());
    for _ in 0..PER_CHUNK {
        run.remove(2, 0);
    }
    assert!(!run.lists.is_marked());
    run.check();
    run.drain();
}

#[test]
fn gathered_lists_are_one_list_in_their_order() {
    let mut run = Run::new();
    for count in [0, 1, PER_CHUNK, 2 * PER_CHUNK + 5, 3] {
        let mut expected = Vec::new();
        for list in 0..COUNT - 1 {
            run.push(list, count + list);
            if !run.model[list].is_empty() {
                expected.extend(std::mem::take(&mut run.model[list]));
                run.lists.gather(number(COUNT - 1), number(list));
            }
        }
        run.model[COUNT - 1] = expected.into();
        while !run.model[COUNT - 1].is_empty() {
            run.take(COUNT - 1, PER_CHUNK);
        }
        run.check();
    }
}

#[test]
fn a_place_is_a_list_a_chunk_and_a_slot() {
    let place = Place::new(1023, (NONE - 1) << SLOT_BITS | 30);
    assert_eq!((place.list(), place.chunk(), place.slot()), (1023, NONE - 1, 30));
    assert!(place.to_bits() < 1 << Place::BITS);
    assert_eq!(Place::from_bits(place.to_bits()).to_bits(), place.to_bits());
}

//! The timers themselves, in a slab, linked into circular lists by index. Every node is in one list
//! or vacant; a list is named by its first node, whose `previous` is the last.

/// One timer, or a vacancy.
pub(crate) struct Node<V> {
    /// The tick at which it is due. It may be later than its list says: then it was re-scheduled.
    pub(crate) due: u64,
    next: u32,
    previous: u32,
    pub(crate) generation: u32,
    /// The list that it is in.
    pub(crate) list: u16,
    content: Content<V>,
}

enum Content<V> {
    Timer(V),
    Vacant,
}

/// A node costs 32 bytes at most besides its value.
const _: () = assert!(size_of::<Node<[u64; 4]>>() <= 32 + 32);

/// No node: an empty list.
pub(crate) const NONE: u32 = u32::MAX;
/// The list of a node that is in none.
pub(crate) const NO_LIST: u16 = u16::MAX;
/// The generation that no timer ever has.
const WORN_OUT: u32 = u32::MAX;

pub(crate) struct Nodes<V> {
    nodes: Vec<Node<V>>,
    /// A stack beside the nodes rather than a list through them: the next insertion need not wait
    /// for the node of this one to come from memory.
    vacant: Vec<u32>,
    len: usize,
}

impl<V> Nodes<V> {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), vacant: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn reserve(&mut self, additional: usize) {
        self.nodes.reserve(additional);
        self.make_room_for_vacancies();
    }

    /// So that removing never allocates. What is not used of it is not in memory.
    fn make_room_for_vacancies(&mut self) {
        self.vacant.reserve_exact(self.nodes.capacity() - self.vacant.len());
    }

    /// A node that is in no list yet; its index and generation.
    ///
    /// # Panics
    ///
    /// When 2^32 - 1 timers exist.
    #[inline]
    pub(crate) fn insert(&mut self, due: u64, value: V) -> (u32, u32) {
        self.len += 1;
        if let Some(index) = self.vacant.pop() {
            let node = self.node(index);
            node.content = Content::Timer(value);
            node.due = due;
            return (index, node.generation);
        }
        self.grow(due, value)
    }

    #[cold]
    fn grow(&mut self, due: u64, value: V) -> (u32, u32) {
        let index = u32::try_from(self.nodes.len()).ok().filter(|&index| index != NONE);
        let index = index.expect("no more than 2^32 - 1 timers fit");
        self.nodes.push(Node {
            due,
            next: NONE,
            previous: NONE,
            generation: 0,
            list: NO_LIST,
            content: Content::Timer(value),
        });
        self.make_room_for_vacancies();
        (index, 0)
    }

    /// The timer with this name.
    #[inline]
    pub(crate) fn get(&mut self, index: u32, generation: u32) -> Option<&mut Node<V>> {
        let node = self.nodes.get_mut(index as usize)?;
        let is_timer = matches!(node.content, Content::Timer(_));
        (is_timer && node.generation == generation).then_some(node)
    }

    /// The value of the timer with this name.
    pub(crate) fn value(&self, index: u32, generation: u32) -> Option<&V> {
        match self.nodes.get(index as usize)? {
            Node { generation: present, content: Content::Timer(value), .. }
                if *present == generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// Makes a node that is in no list vacant and gives its value.
    #[inline]
    pub(crate) fn remove(&mut self, index: u32) -> Option<V> {
        let node = self.nodes.get_mut(index as usize)?;
        node.generation += 1;
        let is_worn_out = node.generation == WORN_OUT;
        let content = std::mem::replace(&mut node.content, Content::Vacant);
        if !is_worn_out {
            self.vacant.push(index);
        }
        self.len -= 1;
        match content {
            Content::Timer(value) => Some(value),
            Content::Vacant => None,
        }
    }

    #[inline]
    pub(crate) fn node(&mut self, index: u32) -> &mut Node<V> {
        &mut self.nodes[index as usize]
    }

    /// Appends a node that is in no list to the list that begins with `first`, and gives the list's
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

    /// Takes a node out of the list that begins with `first`, and gives the list's first node, or
    /// [`NONE`].
    #[inline]
    pub(crate) fn unlink(&mut self, first: u32, index: u32) -> u32 {
        let node = self.node(index);
        let (next, previous) = (node.next, node.previous);
        node.list = NO_LIST;
        if next == index {
            return NONE;
        }
        self.node(previous).next = next;
        self.node(next).previous = previous;
        if first == index { next } else { first }
    }
}

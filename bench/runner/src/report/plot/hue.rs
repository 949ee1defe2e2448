//! The colours of contestants.

use crate::results::{Contestant, Role};

/// A colour of the palette in `style.css`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hue(u8);

/// Colours of contestants that appear in several plots, by name. All others have one by their place.
const KNOWN: [(&str, Hue); 20] = [
    ("level", Hue::OURS),
    ("epoll-kit", Hue::OURS),
    ("epoll-timers", Hue::OURS),
    ("epoll", Hue::OURS),
    ("edge", Hue::OURS_EDGE),
    ("epoll, edge", Hue::OURS_EDGE),
    ("epoll-kit, edge", Hue::OURS_EDGE),
    ("one-shot", Hue(3)),
    ("edge-shared", Hue(10)),
    ("mio", Hue(4)),
    ("polling", Hue(5)),
    ("poll", Hue(5)),
    ("calloop", Hue(6)),
    ("select", Hue(6)),
    ("BinaryHeap", Hue(6)),
    ("tokio", Hue(7)),
    ("DelayQueue", Hue(7)),
    ("async-io", Hue(8)),
    ("std threads", Hue(9)),
    ("go", Hue(11)),
];

impl Hue {
    /// The number of colours.
    pub(crate) const COUNT: u8 = 16;

    const FLOOR: Self = Self(0);
    pub(crate) const OURS: Self = Self(1);
    pub(crate) const OURS_EDGE: Self = Self(2);

    /// Returns the colour of the contestant at this place among the others of its plot.
    pub(crate) fn of(contestant: &Contestant, place: usize) -> Self {
        if matches!(contestant.role, Role::Floor | Role::FloorAgain) {
            return Self::FLOOR;
        }
        let known = KNOWN.iter().find(|(name, _)| *name == contestant.name);
        let by_place = || Self(u8::try_from(place % usize::from(Self::COUNT - 1)).unwrap_or(0) + 1);
        known.map_or_else(by_place, |(_, hue)| *hue)
    }

    /// Returns the place in the palette.
    pub(crate) fn place(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_repetitions_have_the_colour_of_their_kind() {
        let tokio = Contestant::new("tokio", Role::Peer);
        let threads = Contestant { threads: 2, ..tokio.clone() };
        assert_eq!(Hue::of(&threads, 0), Hue::of(&tokio, 5));
        let again = Contestant::new("nginx", Role::FloorAgain);
        assert_eq!(Hue::of(&again, 3), Hue::FLOOR);
        assert_ne!(Hue::of(&Contestant::new("something new", Role::Peer), 0), Hue::FLOOR);
    }

    #[test]
    fn every_colour_is_in_the_palette() {
        let style = include_str!("../style.css");
        for place in 0..Hue::COUNT {
            assert_eq!(style.matches(&format!("--c{place}: #")).count(), 2, "{place}");
        }
        assert!(KNOWN.iter().all(|(_, hue)| hue.0 < Hue::COUNT));
    }
}

//! Closing a descriptor is not always the end of its registration.
//!
//!     cargo run -p epoll-sys --example duplicate
//!
//! epoll watches the open file description, under the number of the descriptor that it was added
//! with. `dup`, `fork` and a child that was started make further descriptors of one description, and
//! the registration lasts until the last of them is closed. Once the one it was added with is closed,
//! events come for a number that cannot be deleted any more, or belongs to somebody else by then. So
//! delete what may have been duplicated before it is closed.
//!
//! Prints what is watched and reported before and after the close, and after the delete.

#![forbid(unsafe_code)]

use epoll_sys::{Epoll, Events, Interest, Watch, socket};
use std::io;
use std::time::Duration;

/// An operation on a watched socket before it is closed.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    Duplicate,
    DuplicateAndDelete,
}

/// Entries in the kernel's list, and events of a wait that only looks.
type Seen = (usize, usize);

fn main() -> io::Result<()> {
    println!("before the close          watched after it  reported after it");
    let alone = close("nothing", Before::Nothing)?;
    let duplicated = close("a duplicate is made", Before::Duplicate)?;
    let deleted = close("a duplicate, and a delete", Before::DuplicateAndDelete)?;
    assert_eq!(alone, (0, 0));
    assert_eq!(duplicated, (1, 1));
    assert_eq!(deleted, (0, 0));
    Ok(())
}

fn close(name: &str, before: Before) -> io::Result<Seen> {
    let epoll = Epoll::new()?;
    let (ours, theirs) = socket::pair()?;
    epoll.add(&ours, 0, Watch::level(Interest::IN))?;
    socket::send(&theirs, b"to whom?")?;
    let duplicate = match before {
        Before::Nothing => None,
        Before::Duplicate | Before::DuplicateAndDelete => Some(ours.try_clone()?),
    };
    if matches!(before, Before::DuplicateAndDelete) {
        epoll.delete(&ours)?;
    }
    drop(ours);

    let watched = epoll.interest_list()?.len();
    let reported = epoll.wait(&mut Events::with_capacity(16), Some(Duration::ZERO))?;
    println!("{name:<25} {watched:>17}  {reported:>17}");
    if let (Some(duplicate), 1..) = (&duplicate, watched) {
        // The entry goes by the number, which the duplicate has not: nobody can delete it now.
        let error = epoll.delete(duplicate).expect_err("an entry under another number");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
    Ok((watched, reported))
}

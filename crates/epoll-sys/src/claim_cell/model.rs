//! A model of the cell: the real one, between threads that loom runs in every order. Two that use the value at
//! once, or one that does not see what the last holder did, fail at loom's own cell.

use super::{ClaimCell, ClaimGuard, Updated};
use loom::sync::Arc;
use loom::thread;

const CLAIMED: u64 = ClaimCell::<()>::CLAIMED;
const NOTE: u64 = 1;

/// Releases the value unless there is a note, which is taken.
fn settle(word: u64) -> u64 {
    if word & NOTE == 0 { word & !CLAIMED } else { word & !NOTE }
}

/// Serves until no note is left.
fn serve(mut guard: ClaimGuard<'_, u32>) {
    loop {
        *guard += 1;
        match guard.release_with(settle) {
            Ok(_) => return,
            Err((kept, _)) => guard = kept,
        }
    }
}

/// Claims the value, or leaves a note for whoever has it.
fn ask(cell: &ClaimCell<u32>) {
    let ask = |word| Some(if word & CLAIMED == 0 { word | CLAIMED } else { word | NOTE });
    if let Ok(Updated::Claimed(guard, _)) = cell.update(ask) {
        serve(guard);
    }
}

/// Does the same by way of the two calls that insist on a word.
fn ask_quickly(cell: &ClaimCell<u32>) {
    match cell.claim_at(0) {
        Some(mut guard) => {
            *guard += 1;
            if let Err(guard) = guard.release_at(0) {
                let kept = guard.release_with(settle).expect_err("there is a note");
                serve(kept.0);
            }
        }
        None => ask(cell),
    }
}

/// Every order with at most this many preemptions; more finds no others and takes long.
const PREEMPTIONS: usize = 3;

fn explore(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.check(run);
}

fn everybody_is_served(first: fn(&ClaimCell<u32>), second: fn(&ClaimCell<u32>)) {
    explore(move || {
        let cell = Arc::new(ClaimCell::new(0, 0));
        let spawn = |ask: fn(&ClaimCell<u32>)| {
            let cell = Arc::clone(&cell);
            thread::spawn(move || ask(&cell))
        };
        let threads = [spawn(first), spawn(second)];
        ask(&cell);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let guard = cell.claim_at(0).expect("nobody has it, and no note is left");
        // Two notes may be one.
        assert!((2..=3).contains(&*guard), "{} were served", *guard);
    });
}

#[test]
fn whoever_asks_is_served_by_itself_or_by_the_holder() {
    everybody_is_served(ask, ask);
}

#[test]
fn whoever_asks_quickly_is_served_too() {
    everybody_is_served(ask_quickly, ask);
    everybody_is_served(ask_quickly, ask_quickly);
}

/// The value goes to a vacancy's next user, who sees what the last one has left.
#[test]
fn a_claim_of_an_earlier_version_comes_to_nothing() {
    explore(|| {
        let cell = Arc::new(ClaimCell::new(2, 1));
        let late = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                let guard = cell.claim_at(2)?;
                let seen = *guard;
                guard.release_at(2).ok()?;
                Some(seen)
            })
        };
        if let Some(mut guard) = cell.claim_at(2) {
            *guard = 2;
            guard.release_with(|_| 4).expect("it is released");
        }
        // Either before the change, or not at all.
        assert!(matches!(late.join().unwrap(), None | Some(1)));
    });
}

//! Catches panics of protocols, of services, and of what they own.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `part`, and returns `None` if it panics; the panic hook has logged it. The panic ends here even if its
/// payload panics when it is dropped.
pub(crate) fn catch<T>(part: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(part)) {
        Ok(done) => Some(done),
        Err(payload) => {
            if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                // To drop this payload could panic again, without end: it is leaked.
                std::mem::forget(another);
            }
            None
        }
    }
}

/// Drops values one by one, each even if the drop of another one panics.
pub(crate) fn drop_each<T>(values: impl IntoIterator<Item = T>) {
    for value in values {
        catch(|| drop(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::panic_any;

    /// Panics when it is dropped, with another one of one less.
    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Bomb(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_panic_ends_even_if_what_it_carries_panics() {
        assert_eq!(catch(|| 7), Some(7));
        for bomb in 0..4 {
            assert_eq!(catch(|| -> u32 { panic_any(Bomb(bomb)) }), None);
        }
    }

    #[test]
    fn values_are_dropped_whichever_of_them_panic() {
        let last = std::sync::Arc::new(());
        let bombs = vec![(Bomb(1), None), (Bomb(1), None), (Bomb(0), Some(last.clone()))];
        drop_each(bombs);
        assert_eq!(std::sync::Arc::strong_count(&last), 1);
    }
}

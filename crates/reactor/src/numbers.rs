//! The numbers of descriptors that are watched and live elsewhere.

use crate::Token;
use std::collections::BTreeMap;
use std::os::fd::RawFd;

/// The descriptors that are watched and not owned, by their number.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    tokens: BTreeMap<RawFd, Token>,
    /// The highest number so far. What is watched is mostly opened before connections are, whose
    /// numbers then need no search.
    highest: RawFd,
}

impl Numbers {
    pub(crate) fn get(&self, number: RawFd) -> Option<Token> {
        self.tokens.get(&number).copied()
    }

    pub(crate) fn insert(&mut self, number: RawFd, token: Token) {
        self.highest = self.highest.max(number);
        self.tokens.insert(number, token);
    }

    #[inline]
    pub(crate) fn remove(&mut self, number: RawFd) -> Option<Token> {
        if number <= self.highest { self.tokens.remove(&number) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_until_it_is_removed_whatever_is_above_it() {
        let mut numbers = Numbers::default();
        let token = |number: RawFd| Token::detached(number.unsigned_abs());
        assert_eq!(numbers.remove(0), None);
        for number in [7, RawFd::MAX, 3] {
            numbers.insert(number, token(number));
        }
        for number in [3, RawFd::MAX, 7] {
            assert_eq!(numbers.get(number), Some(token(number)));
            assert!(numbers.remove(number).is_some());
            assert_eq!(numbers.remove(number), None);
        }
        assert_eq!(numbers.remove(8), None);
    }
}

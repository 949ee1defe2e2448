//! The word that ends a conversation when a line equals it, however the line is split into reads.

use memchr::memchr;
use std::fmt;
use std::str::FromStr;

/// The longest quit word, in bytes: [`Match`] counts in one byte.
const LEN_MAX: usize = 128;

/// A word that ends the conversation when a line equals it; `\n` or `\r\n` ends the line.
///
/// ```
/// use epoll_echo::QuitWord;
///
/// let word: QuitWord = "quit".parse()?;
/// assert_eq!(word.to_string(), "quit");
/// assert!("two\nlines".parse::<QuitWord>().is_err());
/// # Ok::<(), epoll_echo::QuitWordError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuitWord(Box<str>);

/// A text cannot be a [`QuitWord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuitWordError {
    /// It is empty: every empty line would end the conversation.
    Empty,
    /// It has a line break in it, so no line can equal it.
    LineBreak,
    /// It is longer than 128 bytes.
    TooLong,
}

/// The number of bytes of the present line that agree with the word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Match(u8);

impl Match {
    /// The line differs from the word.
    const MISS: Self = Self(u8::MAX);
}

impl QuitWord {
    /// Searches `bytes`, which follow those before. Returns the number of bytes to the end of the line that
    /// equals the word, if it ends in them.
    pub(crate) fn find_end(&self, line: &mut Match, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            *line = match (byte, usize::from(line.0)) {
                (b'\n', matched) if self.is_whole(matched) => return Some(at),
                (b'\n', _) => Match(0),
                _ if *line == Match::MISS => {
                    // Nothing but the end of the line matters any more.
                    at = memchr(b'\n', &bytes[at..])? + at;
                    continue;
                }
                (byte, matched) if self.expects(matched) == Some(byte) => Match(line.0 + 1),
                _ => Match::MISS,
            };
        }
        None
    }

    /// Returns the byte that would carry a match of `matched` bytes on.
    fn expects(&self, matched: usize) -> Option<u8> {
        let at_end = (matched == self.0.len()).then_some(b'\r');
        self.0.as_bytes().get(matched).copied().or(at_end)
    }

    /// Returns whether `matched` bytes are the word, or the word and a carriage return.
    fn is_whole(&self, matched: usize) -> bool {
        matched == self.0.len() || matched == self.0.len() + 1
    }
}

impl FromStr for QuitWord {
    type Err = QuitWordError;

    fn from_str(word: &str) -> Result<Self, QuitWordError> {
        match word {
            "" => Err(QuitWordError::Empty),
            _ if word.contains(['\n', '\r']) => Err(QuitWordError::LineBreak),
            _ if word.len() > LEN_MAX => Err(QuitWordError::TooLong),
            _ => Ok(Self(word.into())),
        }
    }
}

impl fmt::Display for QuitWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for QuitWordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the word is empty"),
            Self::LineBreak => f.write_str("the word has a line break in it"),
            Self::TooLong => write!(f, "the word is longer than {LEN_MAX} bytes"),
        }
    }
}

impl std::error::Error for QuitWordError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Finds the end in the obvious way, in the whole text.
    fn end_of_quit_line(word: &str, text: &[u8]) -> Option<usize> {
        let mut end = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            end += line.len();
            let line = line.strip_suffix(b"\n")?;
            if line.strip_suffix(b"\r").unwrap_or(line) == word.as_bytes() {
                return Some(end);
            }
        }
        None
    }

    proptest! {
        #[test]
        fn is_found_at_the_same_byte_however_the_text_is_split(
            text in "[qui\r\n]{0,60}|[ab\r\n]{0,20}(quit\r?\n)?[qt\n]{0,9}",
            cuts in prop::collection::vec(1_usize..9, 0..40),
        ) {
            for word in ["quit", "q", "qq"] {
                let quit: QuitWord = word.parse().unwrap();
                let (mut line, mut rest, mut read) = (Match::default(), text.as_bytes(), 0);
                let mut found = None;
                for cut in cuts.iter().copied().chain([usize::MAX]) {
                    let (piece, tail) = rest.split_at(cut.min(rest.len()));
                    if let Some(end) = quit.find_end(&mut line, piece) {
                        found = Some(read + end);
                        break;
                    }
                    (rest, read) = (tail, read + piece.len());
                }
                prop_assert_eq!(found, end_of_quit_line(word, text.as_bytes()));
            }
        }
    }

    #[test]
    fn the_longest_word_is_found() {
        let word = "q".repeat(LEN_MAX);
        let quit: QuitWord = word.parse().unwrap();
        let line = format!("{word}\r\n");
        assert_eq!(quit.find_end(&mut Match::default(), line.as_bytes()), Some(line.len()));
    }

    #[test]
    fn words_that_no_line_can_equal_are_refused() {
        assert_eq!("".parse::<QuitWord>(), Err(QuitWordError::Empty));
        assert_eq!("a\rb".parse::<QuitWord>(), Err(QuitWordError::LineBreak));
        assert_eq!("q".repeat(LEN_MAX + 1).parse::<QuitWord>(), Err(QuitWordError::TooLong));
    }
}

//! Texts from outside on their way to a terminal.

use std::borrow::Cow;

/// Returns `text` with its control characters escaped as in Rust: a line stays one line, and a terminal obeys
/// nothing in it.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        assert_eq!(escaped("a\u{1b}[31m\n\r\t\u{9b}\u{7f}"), r"a\u{1b}[31m\n\r\t\u{9b}\u{7f}");
        for plain in ["", "a b", r"C:\n", "‘é’ 🦀"] {
            assert!(matches!(escaped(plain), Cow::Borrowed(text) if text == plain));
        }
    }
}

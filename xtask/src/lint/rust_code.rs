//! Rust source with comments, literals and raw identifiers blanked out. Line breaks stay, so that a
//! line has the same number before and after.

pub(crate) fn code(source: &str) -> String {
    let mut scanner = Scanner { chars: source.chars().collect(), at: 0, code: String::new() };
    scanner.scan();
    scanner.code
}

/// What may stand in an identifier, a keyword or a number.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    code: String,
}

impl Scanner {
    fn scan(&mut self) {
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.quoted('"'),
                ('\'', _) => self.apostrophe(),
                _ if is_word(c) => self.word(),
                _ => self.keep(1),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn keep(&mut self, count: usize) {
        self.code.extend(self.chars.iter().skip(self.at).take(count));
        self.at += count;
    }

    fn blank(&mut self, count: usize) {
        let gone = self.chars.iter().skip(self.at).take(count);
        self.code.extend(gone.map(|c| if *c == '\n' { '\n' } else { ' ' }));
        self.at += count;
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.blank(1);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.blank(1);
                    continue;
                }
            }
            self.blank(2);
            if depth == 0 {
                return;
            }
        }
    }

    /// A string or a character, from its first quote through its last.
    fn quoted(&mut self, quote: char) {
        self.blank(1);
        while let Some(c) = self.peek(0) {
            self.blank(if c == '\\' { 2 } else { 1 });
            if c == quote {
                return;
            }
        }
    }

    /// A character such as `'"'`, or else the mark of a lifetime.
    fn apostrophe(&mut self) {
        if self.peek(1) == Some('\\') || self.peek(2) == Some('\'') {
            self.quoted('\'');
        } else {
            self.keep(1);
        }
    }

    fn word(&mut self) {
        let length = self.word_length(0);
        let word: String = self.chars[self.at..self.at + length].iter().collect();
        if !matches!(word.as_str(), "r" | "br" | "cr") {
            return self.keep(length);
        }
        let hashes = self.chars[self.at + length..].iter().take_while(|c| **c == '#').count();
        match self.peek(length + hashes) {
            Some('"') => self.raw_string(length, hashes),
            Some(c) if hashes == 1 && is_word(c) => {
                self.blank(length + 1 + self.word_length(length + 1));
            }
            _ => self.keep(length),
        }
    }

    fn word_length(&self, ahead: usize) -> usize {
        self.chars[self.at + ahead..].iter().take_while(|c| is_word(**c)).count()
    }

    fn raw_string(&mut self, prefix: usize, hashes: usize) {
        self.blank(prefix + hashes + 1);
        while let Some(c) = self.peek(0) {
            self.blank(1);
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                return self.blank(hashes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `hidden` goes, `shown` stays and is not swallowed by what stands before it.
    #[track_caller]
    fn hides(source: &str) {
        let code = code(source);
        assert!(!code.contains("hidden"), "{source} -> {code}");
        assert!(code.contains("shown"), "{source} -> {code}");
        assert_eq!(code.lines().count(), source.lines().count(), "{source}");
    }

    #[test]
    fn comments_are_blanked() {
        hides("a(); // hidden\nshown");
        hides("/// hidden \" '\nshown");
        hides("//! hidden /*\nshown");
        hides("/* hidden \" */ shown");
        hides("/* /* hidden */ hidden\n hidden */ shown");
        hides("/**/ shown /* hidden */");
    }

    #[test]
    fn strings_are_blanked() {
        hides(r#"f("hidden", shown)"#);
        hides(r#"f("\"hidden", shown)"#);
        hides(r#"f("\\", shown, "hidden")"#);
        hides("f(\"a \\\n hidden // hidden\n\", shown)");
        hides(r#"f(b"hidden", c"hidden", shown)"#);
    }

    #[test]
    fn raw_strings_end_with_as_many_hashes_as_they_began_with() {
        hides(r##"f(r"hidden\", shown)"##);
        hides(r###"f(r##"hidden"# hidden"##, shown)"###);
        hides(r##"f(br#"hidden" "#, cr#"hidden"#, shown)"##);
    }

    #[test]
    fn quotes_as_characters_open_no_string() {
        hides(r#"f('"', shown, "hidden")"#);
        hides(r#"f('\'', '"', shown, "hidden")"#);
        hides(r#"f(b'"', b'\\', '\u{22}', shown, "hidden")"#);
        hides(r#"f('ä', '"', shown, "hidden")"#);
    }

    #[test]
    fn lifetimes_open_no_character() {
        hides(r#"fn f<'a, 'b: 'a>(x: &'a str) { shown("hidden") }"#);
        hides(r#"'outer: loop { break 'outer; } shown /* hidden */"#);
    }

    #[test]
    fn raw_identifiers_are_blanked_and_look_alikes_are_not() {
        hides("r#hidden(shown)");
        hides(r##"macro!(for#shown, r #shown, "hidden")"##);
        hides(r#"shown!(for"hidden")"#);
    }

    #[test]
    fn what_is_never_closed_ends_with_the_file() {
        for source in ["\"a", "/* a", "r#\"a\"", "'\\", "\"\\", "b'", "r#", "r"] {
            assert!(!code(source).contains('a'), "{source}");
        }
    }
}

//! The file of `--config`: TOML whose keys are the names of flags. What a value means is the flag's matter.

use crate::escape::escaped;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// The longest file that is read, in bytes.
const LEN_MAX: u64 = 1 << 20;

/// A configuration file.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: PathBuf,
    /// The entries in the order of the file.
    pub(crate) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The number of the key's line.
    pub(crate) line: usize,
    pub(crate) is_list: bool,
    /// The value, or those in its list.
    pub(crate) values: Vec<Value>,
}

/// A single value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    /// The value as a flag takes it.
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Integer,
    Boolean,
    Other(&'static str),
}

/// Names the type, with its article.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Boolean => "true or false",
            Self::Other(name) => name,
        })
    }
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// A description that names the file and, if it is no TOML, the line.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = read_text(path).map_err(|error| {
            format!("failed to read the file of --config {}: {error}", shown(path))
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let line_at =
            |place: usize| 1 + text.bytes().take(place).filter(|byte| *byte == b'\n').count();
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(span.start));
            format!("{}: {}", Place { path, line }, error.message())
        })?;
        let mut entries: Vec<_> = table
            .get_ref()
            .iter()
            .map(|(key, value)| {
                let single = |value: &DeValue<'_>, place| Value::new(value, line_at(place));
                let list = value.get_ref().as_array();
                let values = match list {
                    Some(list) => list
                        .iter()
                        .map(|value| single(value.get_ref(), value.span().start))
                        .collect(),
                    None => vec![single(value.get_ref(), value.span().start)],
                };
                let line = line_at(key.span().start);
                Entry { key: key.get_ref().to_string(), line, is_list: list.is_some(), values }
            })
            .collect();
        entries.sort_by_key(|entry| entry.line);
        Ok(Self { path: path.into(), entries })
    }

    /// Returns the place of this line.
    pub(crate) fn place(&self, line: usize) -> Place<'_> {
        Place { path: &self.path, line }
    }

    /// Returns the entry with this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// A line of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    path: &'a Path,
    line: usize,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", shown(self.path), self.line)
    }
}

fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}

fn read_text(path: &Path) -> io::Result<String> {
    let invalid = |why: &'static str| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut bytes = Vec::new();
    File::open(path)?.take(LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LEN_MAX {
        return Err(invalid("it is longer than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))
}

impl Value {
    fn new(value: &DeValue<'_>, line: usize) -> Self {
        let (kind, text) = match value {
            DeValue::String(text) => (Kind::String, text.to_string()),
            DeValue::Integer(number) => (Kind::Integer, number.to_string()),
            DeValue::Boolean(is_on) => (Kind::Boolean, is_on.to_string()),
            DeValue::Float(_) => (Kind::Other("a float"), String::new()),
            DeValue::Datetime(_) => (Kind::Other("a date or time"), String::new()),
            DeValue::Array(_) => (Kind::Other("a list"), String::new()),
            DeValue::Table(_) => (Kind::Other("a table"), String::new()),
        };
        Self { kind, text, line }
    }
}

impl Value {
    /// Returns the value as it is written on the command line for a flag of this kind. One whose values are words has
    /// a radix of its own, as `0o660` shows: only an integer is one whatever its radix.
    pub(crate) fn word(&self, expected: Kind) -> String {
        let is_decimal = !RADIXES.iter().any(|(prefix, _)| self.text.starts_with(prefix));
        if self.kind == Kind::Integer && (expected == Kind::Integer || is_decimal) {
            decimal(&self.text)
        } else {
            self.text.clone()
        }
    }
}

const RADIXES: [(&str, u32); 3] = [("0x", 16), ("0o", 8), ("0b", 2)];

/// Returns an integer of any radix in decimal digits. One that no number here can hold stays as it is.
fn decimal(text: &str) -> String {
    let digits =
        RADIXES.iter().find_map(|(prefix, radix)| Some((text.strip_prefix(prefix)?, *radix)));
    let (digits, radix) = digits.unwrap_or((text, 10));
    let number = i64::from_str_radix(&digits.replace('_', ""), radix);
    number.map_or_else(|_| text.to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(Path::new("a.toml"), text)
    }

    #[test]
    fn entries_come_in_the_order_of_the_file_with_their_lines() {
        let text = "pin = true\n# why\nmode = 'edge'\nlisten = [\n  'a:1', # one\n  \"b:2\",\n]\nbacklog = 0x1_0\n";
        let file = parse(text).unwrap();
        let value = |kind, text: &str, line| Value { kind, text: text.to_owned(), line };
        let entry =
            |key: &str, line, is_list, values| Entry { key: key.to_owned(), line, is_list, values };
        assert_eq!(
            file.entries,
            [
                entry("pin", 1, false, vec![value(Kind::Boolean, "true", 1)]),
                entry("mode", 3, false, vec![value(Kind::String, "edge", 3)]),
                entry(
                    "listen",
                    4,
                    true,
                    vec![value(Kind::String, "a:1", 5), value(Kind::String, "b:2", 6)]
                ),
                entry("backlog", 8, false, vec![value(Kind::Integer, "0x10", 8)]),
            ]
        );
        assert_eq!(file.place(file.entry("mode").unwrap().line).to_string(), "a.toml:3");
    }

    #[test]
    fn a_radix_is_taken_out_of_integers_alone() {
        let word = |text: &str, expected| {
            let file = parse(&format!("a = {text}")).unwrap();
            file.entries[0].values[0].word(expected)
        };
        assert_eq!(word("0o660", Kind::Integer), "432");
        assert_eq!(word("0o660", Kind::String), "0o660");
        assert_eq!(word("65_536", Kind::String), "65536");
        assert_eq!(word("'0x10'", Kind::String), "0x10");
    }

    #[test]
    fn what_is_no_toml_is_said_with_its_line() {
        for (text, line) in [
            ("pin = true\nmode", 2),
            ("a = 1\n\na = 2\n", 3),
            ("a = 'b\n", 1),
            ("=", 1),
            ("\n\na = [1,", 3),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("a.toml:{line}: ")), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let refuses = |why: &str| {
            let error = ConfigFile::read(&path).unwrap_err();
            assert!(error.contains(path.to_str().unwrap()) && error.contains(why), "{error}");
        };
        refuses("No such file");
        std::fs::write(&path, b"a = '\xff'").unwrap();
        refuses("not UTF-8");
        std::fs::write(&path, vec![b'\n'; (1 << 20) + 1]).unwrap();
        refuses("longer than 1 MiB");
    }
}

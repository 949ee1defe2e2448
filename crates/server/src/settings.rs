//! The settings and their sources: flags, the environment, and the file of `--config`, in this order of
//! precedence. Invariant: a value means the same and is refused for the same reason, whichever source it has;
//! what is said of it names the source.

use crate::config_file::{ConfigFile, Entry, Kind, Place};
use crate::escape::escaped;
use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::any::TypeId;
use std::borrow::Cow;
use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

/// The beginning of the names of all variables.
const PREFIX: &str = "EPOLL_SERVER_";

/// The flags that no file can have: they are about the file.
const FLAGS_ONLY: [&str; 2] = ["config", "check"];

/// The similarity from which on a name is suggested; that of clap.
const SIMILARITY_MIN: f64 = 0.7;

/// The settings of all sources.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) matches: ArgMatches,
    command: Command,
    pub(crate) file: Option<ConfigFile>,
}

/// The reason for which there are no settings.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something is to be printed instead: help, or the version.
    Print(clap::Error),
    /// Something is wrong, as a line that names it and its source.
    Wrong(String),
}

/// The source of a setting.
#[derive(Debug)]
enum Origin<'a> {
    Flag(&'a str),
    Variable(Cow<'a, str>),
    File(Place<'a>),
    Default,
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::File(place) => place.fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Settings {
    /// Reads the settings of `command` from its arguments `words`, of which the first is the program's name, from
    /// the environment, and from the file that one of these names.
    pub(crate) fn load(command: Command, words: &[OsString]) -> Result<Self, Failure> {
        let command = adapted(command);
        let plain = command.clone().mut_args(|arg| arg.env(None::<&'static str>));
        if let Err(error) = plain.clone().try_get_matches_from(words) {
            if error.exit_code() != 0 {
                return Err(Failure::Wrong(describe(&error)));
            }
            // The help of the command that has variables names them.
            let help = command.try_get_matches_from(words).err();
            return Err(Failure::Print(help.unwrap_or(error)));
        }
        check_environment(&command, &plain)?;
        let matches = parse(&command, words)?;
        let Some(path) = matches.get_one::<PathBuf>("config") else {
            return Ok(Self { matches, command, file: None });
        };
        let file =
            ConfigFile::read(path).map_err(|error| Failure::Wrong(format!("error: {error}")))?;
        let mut with_file = command.clone();
        for entry in &file.entries {
            let (id, words) = check_entry(&command, &plain, &file, entry)?;
            with_file = with_file.mut_arg(id, |arg| arg.default_values(words));
        }
        let matches = parse(&with_file, words)?;
        Ok(Self { matches, command, file: Some(file) })
    }

    /// Returns `message` with the sources of all flags that it names, but of those on the command line.
    pub(crate) fn with_origins(&self, message: &str) -> String {
        let origins = self.command.get_arguments().filter_map(|arg| {
            let name = arg.get_long().filter(|name| names_flag(message, name))?;
            let origin = self.origin(arg)?;
            let is_elsewhere = matches!(origin, Origin::Variable(_) | Origin::File(_));
            is_elsewhere.then(|| format!("--{name} is from {origin}"))
        });
        let origins: Vec<_> = origins.collect();
        if origins.is_empty() {
            return message.to_owned();
        }
        format!("{message} ({})", origins.join(", "))
    }

    /// Returns the settings as TOML, with the source of each as a comment.
    pub(crate) fn to_toml(&self) -> String {
        let args = self.command.get_arguments();
        let lines = args.filter_map(|arg| {
            let name = arg.get_long().filter(|name| !FLAGS_ONLY.contains(name))?;
            Some(match (self.origin(arg), self.value_as_toml(arg)) {
                (Some(origin), Some(value)) => format!("{name} = {value} # {origin}\n"),
                (Some(origin), None) => format!("# {name}: not UTF-8, from {origin}\n"),
                (None, _) => format!("# {name} is not set\n"),
            })
        });
        lines.collect()
    }

    /// Returns the names of the settings in which these and `other` differ.
    pub(crate) fn changed_from(&self, other: &Self) -> Vec<&str> {
        let names = self.command.get_arguments().filter_map(|arg| {
            let name = arg.get_long().filter(|name| !FLAGS_ONLY.contains(name))?;
            let value = |of: &Self| of.raw_values(arg);
            (value(self) != value(other)).then_some(name)
        });
        names.collect()
    }

    fn raw_values(&self, arg: &Arg) -> Vec<OsString> {
        let values = self.matches.get_raw(arg.get_id().as_str());
        values.into_iter().flatten().map(OsStr::to_owned).collect()
    }

    /// Returns the source of a setting; `None`: it is not set.
    fn origin<'a>(&'a self, arg: &'a Arg) -> Option<Origin<'a>> {
        let name = arg.get_long()?;
        Some(match self.matches.value_source(arg.get_id().as_str())? {
            ValueSource::CommandLine => Origin::Flag(name),
            ValueSource::EnvVariable => Origin::Variable(arg.get_env()?.to_string_lossy()),
            _ => match self.file.as_ref().and_then(|file| Some((file, file.entry(name)?))) {
                Some((file, entry)) => Origin::File(file.place(entry.line)),
                None => Origin::Default,
            },
        })
    }

    /// Returns the value of a setting as TOML; `None` if it is not UTF-8.
    fn value_as_toml(&self, arg: &Arg) -> Option<String> {
        let kind = kind(arg);
        let mut values = Vec::new();
        for value in self.raw_values(arg) {
            let text = value.to_str()?;
            let number = text.parse().ok().filter(|_| kind == Kind::Integer);
            values.push(match (number, kind) {
                (Some(number), _) => i64::to_string(&number),
                (None, Kind::Boolean) => {
                    self.matches.get_one::<bool>(arg.get_id().as_str())?.to_string()
                }
                (None, _) => quoted(text),
            });
        }
        Some(if is_list(arg) { format!("[{}]", values.join(", ")) } else { values.concat() })
    }
}

/// Returns the command as it is on the command line: its switches can be turned off, and its help shows no value of
/// a variable, which may be a secret or command a terminal.
pub(crate) fn adapted(command: Command) -> Command {
    command.mut_args(with_value).mut_args(|arg| arg.hide_env_values(true))
}

/// Lets a switch have a value, so that one can also be turned off.
fn with_value(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    let arg = arg.action(ArgAction::Set).value_parser(BoolishValueParser::new()).value_name("BOOL");
    let arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
    arg.default_value("false").hide_default_value(true)
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

fn kind(arg: &Arg) -> Kind {
    let value = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<NonZeroU32>(),
        TypeId::of::<NonZeroU64>(),
        TypeId::of::<NonZeroUsize>(),
    ];
    if value == TypeId::of::<bool>() {
        Kind::Boolean
    } else if numbers.iter().any(|number| value == *number) {
        Kind::Integer
    } else {
        Kind::String
    }
}

/// Parses flags and the environment. Both have been checked: what is left are contradictions.
fn parse(command: &Command, words: &[OsString]) -> Result<ArgMatches, Failure> {
    let parsed = command.clone().try_get_matches_from(words);
    parsed.map_err(|error| Failure::Wrong(describe(&error)))
}

/// Checks all variables that belong to this program: each has to be known, and its value too. `plain` is the
/// command without variables.
fn check_environment(command: &Command, plain: &Command) -> Result<(), Failure> {
    let wrong = |message| Err(Failure::Wrong(message));
    let mut variables: Vec<_> = env::vars_os().collect();
    variables.sort();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let of_name = |arg: &&Arg| arg.get_env().is_some_and(|known| *known == *name);
        match command.get_arguments().find(of_name) {
            Some(arg) => {
                if let Err(message) = check_value(plain, arg, &value) {
                    return wrong(format!("{message} (from {name})"));
                }
            }
            None if is_service_link(rest) => {}
            None => {
                let known = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str());
                let meant =
                    suggestion(rest, known.filter_map(|known| known.strip_prefix(PREFIX)), PREFIX);
                return wrong(format!(
                    "error: unknown variable '{name}' in the environment{meant}"
                ));
            }
        }
    }
    Ok(())
}

/// Returns whether Kubernetes sets this variable, given without its prefix: it does for each service of the
/// namespace, and `epoll-server` or `epoll-server-metrics` are likely names for some.
fn is_service_link(name: &str) -> bool {
    // `_PORT_7_TCP_ADDR`, for example.
    let has_port = |rest: &str| rest.is_empty() || rest.starts_with('_');
    let name = format!("_{name}");
    let is_link = name.ends_with("_SERVICE_HOST")
        || ["_SERVICE_PORT", "_PORT"]
            .iter()
            .any(|part| name.rsplit_once(part).is_some_and(|(_, rest)| has_port(rest)));
    is_link && env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// Checks a key of the file and its values, and returns the flag's id and the values as on the command line.
fn check_entry(
    command: &Command,
    plain: &Command,
    file: &ConfigFile,
    entry: &Entry,
) -> Result<(String, Vec<String>), Failure> {
    let wrong = |line, message: String| {
        let place = file.place(line);
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        Err(Failure::Wrong(format!("error: {place}: {message}")))
    };
    let named = |arg: &&Arg| arg.get_long().is_some_and(|name| !FLAGS_ONLY.contains(&name));
    let mut args = command.get_arguments().filter(named);
    let Some(arg) = args.find(|arg| arg.get_long() == Some(entry.key.as_str())) else {
        let known = command.get_arguments().filter(named).filter_map(Arg::get_long);
        let meant = suggestion(&entry.key, known, "");
        return wrong(entry.line, format!("unknown key '{}'{meant}", escaped(&entry.key)));
    };
    if entry.is_list && !is_list(arg) {
        return wrong(entry.line, format!("'{}' is not a list", entry.key));
    }
    if entry.values.is_empty() {
        return wrong(entry.line, format!("'{}' has no value", entry.key));
    }
    let (expected, mut words) = (kind(arg), Vec::new());
    for value in &entry.values {
        // Flags whose values are words take a number where that is one of them: 0 for no time, for example.
        let fits =
            value.kind == expected || (expected, value.kind) == (Kind::String, Kind::Integer);
        if !fits {
            let message = format!("'{}' is {expected}, not {}", entry.key, value.kind);
            return wrong(value.line, message);
        }
        let word = value.word(expected);
        if let Err(message) = check_value(plain, arg, word.as_ref()) {
            return wrong(value.line, message);
        }
        words.push(word);
    }
    Ok((arg.get_id().to_string(), words))
}

/// Checks a value of a flag by itself.
fn check_value(plain: &Command, arg: &Arg, value: &OsStr) -> Result<(), String> {
    let mut word = OsString::from(format!("--{}=", arg.get_long().unwrap_or_default()));
    word.push(value);
    let words = [OsString::from(plain.get_name()), word];
    match plain.clone().try_get_matches_from(words) {
        // About what else there has to be.
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict
            ) =>
        {
            Err(describe(&error))
        }
        _ => Ok(()),
    }
}

/// Suggests the known name that is most like this one. The names are given without their `prefix`, which would
/// make all of them alike.
fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a str>, prefix: &str) -> String {
    let similar = known.map(|known| (strsim::jaro(name, known), known));
    let similar = similar.filter(|(similarity, _)| *similarity > SIMILARITY_MIN);
    let nearest = similar.max_by(|one, other| one.0.total_cmp(&other.0));
    nearest.map_or_else(String::new, |(_, known)| format!("; did you mean '{prefix}{known}'?"))
}

/// Returns whether `message` names the flag `--name`, and not a longer one.
fn names_flag(message: &str, name: &str) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    message.match_indices("--").any(|(at, dashes)| {
        let rest = message[at + dashes.len()..].strip_prefix(name);
        rest.is_some_and(|rest| !rest.as_bytes().first().is_some_and(is_name))
    })
}

/// Returns the message of the command-line parser as one line, without its usage hints.
pub(crate) fn describe(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(escaped(text)),
        _ => None,
    };
    let why = match (error.kind(), error.source(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::ValueValidation, Some(source), _) => {
            format!(": {}", escaped(&source.to_string()))
        }
        (ErrorKind::InvalidValue, _, Some(ContextValue::Strings(values))) if !values.is_empty() => {
            format!(" [possible values: {}]", values.join(", "))
        }
        _ => String::new(),
    };
    // A value may have line breaks in it, at which its message would be cut.
    match (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue)) {
        (Some(arg), Some(value)) if !why.is_empty() => {
            format!("error: invalid value '{value}' for '{arg}'{why}")
        }
        _ => {
            let message = error.to_string();
            let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
            lines.collect::<Vec<_>>().join(" ")
        }
    }
}

/// Returns `text` as a string of TOML, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            // None of them needs more than four digits.
            control if control.is_control() => quoted += &format!("\\u{:04X}", u32::from(control)),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::value_parser;

    fn command() -> Command {
        let number = value_parser!(u32).range(1..=9);
        Command::new("a").args([
            Arg::new("config").long("config").value_parser(value_parser!(PathBuf)),
            Arg::new("check").long("check").action(ArgAction::SetTrue),
            Arg::new("number").long("number").value_parser(number),
            Arg::new("number_of_more").long("number-of-more").value_parser(value_parser!(u32)),
            Arg::new("switch").long("switch").action(ArgAction::SetTrue),
            Arg::new("word").long("word").default_value("plain"),
            Arg::new("list").long("list").action(ArgAction::Append),
        ])
    }

    fn load(words: &[&str]) -> Result<Settings, Failure> {
        let words: Vec<_> = ["a"].iter().chain(words).map(OsString::from).collect();
        Settings::load(command(), &words)
    }

    /// Loads with this file and these flags.
    fn with_file(text: &str, words: &[&str]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        match load(&[&["--config", path][..], words].concat()) {
            Ok(settings) => Ok(settings),
            Err(Failure::Wrong(message)) => Err(message.replace(path, "FILE")),
            Err(Failure::Print(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let text = "number = 3\nword = 'of the file'\nswitch = true\nlist = ['a', 'b']\n";
        let settings = with_file(text, &["--number", "4", "--switch=false"]).unwrap();
        let matches = &settings.matches;
        assert_eq!(matches.get_one::<u32>("number"), Some(&4));
        assert_eq!(matches.get_one::<bool>("switch"), Some(&false));
        assert_eq!(matches.get_one::<String>("word").unwrap(), "of the file");
        assert_eq!(matches.get_many::<String>("list").unwrap().collect::<Vec<_>>(), ["a", "b"]);
        let flags = with_file(text, &["--list", "c", "--switch"]).unwrap();
        assert_eq!(flags.matches.get_many::<String>("list").unwrap().collect::<Vec<_>>(), ["c"]);
        assert_eq!(flags.changed_from(&settings), ["number", "switch", "list"]);
    }

    #[test]
    fn what_is_wrong_in_the_file_is_said_with_its_line() {
        for (text, expected) in [
            ("\nnumbr = 1", "FILE:2: unknown key 'numbr'; did you mean 'number'?"),
            ("config = 'other'", "FILE:1: unknown key 'config'"),
            ("number = '1'", "FILE:1: 'number' is an integer, not a string"),
            ("number = 1.5", "FILE:1: 'number' is an integer, not a float"),
            ("switch = 'true'", "FILE:1: 'switch' is true or false, not a string"),
            ("word = true", "FILE:1: 'word' is a string, not true or false"),
            ("word = ['a']", "FILE:1: 'word' is not a list"),
            ("list = []", "FILE:1: 'list' has no value"),
            ("list = [\n'a',\n2.0]", "FILE:3: 'list' is a string, not a float"),
            ("\n[table]\nnumber = 1", "FILE:2: unknown key 'table'"),
            (
                "number = 10",
                "FILE:1: invalid value '10' for '--number <number>': 10 is not in 1..=9",
            ),
            ("\"a\\nb\" = 1", r"FILE:1: unknown key 'a\nb'"),
        ] {
            let message = with_file(text, &[]).unwrap_err();
            assert_eq!(message, format!("error: {expected}"), "{text:?}");
        }
        // A flag that has another value is no excuse.
        assert!(with_file("number = 10", &["--number", "1"]).is_err());
    }

    #[test]
    fn the_settings_are_toml_that_brings_them_again() {
        let text = "number = 3\nword = \"a \\\"b\\\" \\\\ \\u001B\\n\"\n";
        let settings = with_file(text, &["--list", "a,b", "--switch"]).unwrap();
        let toml = settings.to_toml();
        assert!(!toml.contains('\u{1b}'), "{toml}");
        let lines: Vec<_> = toml.lines().map(|line| line.split(" # ").next().unwrap()).collect();
        let expected = [
            "number = 3",
            "# number-of-more is not set",
            "switch = true",
            r#"word = "a \"b\" \\ \u001B\u000A""#,
            r#"list = ["a,b"]"#,
        ];
        assert_eq!(lines, expected);
        for (line, origin) in [("number", "file:1"), ("switch", "--switch"), ("word", "file:2")] {
            let line = toml.lines().find(|it| it.starts_with(line)).unwrap();
            assert!(line.ends_with(origin), "{line}");
        }
        let again = with_file(&toml, &[]).unwrap();
        assert!(again.changed_from(&settings).is_empty(), "{toml}");
    }

    #[test]
    fn a_message_gets_the_sources_of_the_flags_that_it_names() {
        let settings = with_file("number = 3\n", &["--word", "b"]).unwrap();
        let message = |text| settings.with_origins(text);
        assert!(
            message("--number is wrong").ends_with("file:1)"),
            "{}",
            message("--number is wrong")
        );
        for plain in ["--word is wrong", "--number-of-more", "--numbers", "number", "--list", "--"]
        {
            assert_eq!(message(plain), plain);
        }
    }

    #[test]
    fn a_value_with_line_breaks_and_escapes_is_one_line() {
        for (flag, value) in [("--number", "1\n\n\u{1b}[31m"), ("--switch", "x\ny")] {
            let Err(Failure::Wrong(message)) = load(&[format!("{flag}={value}").as_str()]) else {
                panic!("accepted")
            };
            assert!(message.contains(flag) && !message.contains(char::is_control), "{message:?}");
            assert!(message.contains(&escaped(value)[..]), "{message}");
        }
    }
}

//! Commands: their table, and what they have in common.

mod connection;
mod keys;
mod publishing;
mod server;
mod strings;

use super::request::Arguments;
use super::store::{Store, Time};
use super::{Context, Resp, reply};
use epoll_connection::Flow;
use std::borrow::Cow;

/// The largest number of bytes of a command and of its arguments that an error shows, as in redis.
const SHOWN_MAX: usize = 128;

/// A command as clients see it, and what it does.
struct Command {
    name: &'static str,
    /// The number of arguments with the name; at least so many if it is negative.
    arity: i32,
    flags: &'static [&'static str],
    /// The first and the last key among the arguments, and the step between two.
    keys: [i32; 3],
    run: fn(&mut Call<'_, '_, '_>) -> Answer,
}

/// The flow of the connection after a command, or the error that is answered.
type Answer = Result<Flow, Refusal>;

/// The error of a command.
struct Refusal(Cow<'static, str>);

impl From<&'static str> for Refusal {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

const SYNTAX: &str = "ERR syntax error";
const NOT_A_NUMBER: &str = "ERR value is not an integer or out of range";

/// The data that a command works with.
struct Call<'a, 'c, 't> {
    command: &'static Command,
    arguments: Arguments<'a>,
    client: &'c mut Resp,
    context: &'c mut Context<'t>,
}

impl<'a> Call<'a, '_, '_> {
    fn key(&self) -> &'a [u8] {
        self.arguments.get(1).unwrap_or_default()
    }

    fn number(&self, at: usize) -> Result<i64, Refusal> {
        reply::parse_number(&self.arguments[at]).ok_or(NOT_A_NUMBER.into())
    }

    /// Returns whether the argument is this word, whatever the case of its letters.
    fn is(&self, at: usize, word: &str) -> bool {
        self.arguments[at].eq_ignore_ascii_case(word.as_bytes())
    }

    fn output(&mut self) -> &mut Vec<u8> {
        self.context.output()
    }

    fn store(&mut self) -> (&Store, &mut Vec<u8>) {
        let (local, output) = self.context.parts();
        (&local.shared.store, output)
    }

    /// Returns the time, if there is a key that expires. The clock need not be read where there is none.
    fn now(&mut self) -> Time {
        if self.store().0.has_expiring() { self.time() } else { 0 }
    }

    fn time(&mut self) -> Time {
        super::time(self.context)
    }

    fn ok(&mut self) -> Answer {
        reply::ok(self.output());
        Ok(Flow::Keep)
    }

    fn wrong_number(&self) -> Refusal {
        wrong_number(self.command.name)
    }

    fn unknown_subcommand(&self) -> Refusal {
        let word = shown(&self.arguments[1]);
        let help = self.command.name.to_ascii_uppercase();
        format!("ERR unknown subcommand '{word}'. Try {help} HELP.").into()
    }
}

fn wrong_number(name: &str) -> Refusal {
    format!("ERR wrong number of arguments for '{name}' command").into()
}

/// Returns what an error shows of an argument.
fn shown(argument: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&argument[..argument.len().min(SHOWN_MAX)])
}

/// Answers a request.
pub(super) fn run(arguments: Arguments<'_>, client: &mut Resp, context: &mut Context<'_>) -> Flow {
    let Some(name) = arguments.get(0) else { return Flow::Keep };
    let answer = match COMMANDS.iter().find(|one| name.eq_ignore_ascii_case(one.name.as_bytes())) {
        None => Err(unknown(arguments)),
        Some(command) => {
            let mut call = Call { command, arguments, client, context: &mut *context };
            call.run()
        }
    };
    answer.unwrap_or_else(|Refusal(text)| {
        reply::error(context.output(), text.as_bytes());
        Flow::Keep
    })
}

impl Call<'_, '_, '_> {
    fn run(&mut self) -> Answer {
        let Command { name, arity, flags, run, .. } = *self.command;
        let len = i32::try_from(self.arguments.len()).unwrap_or(i32::MAX);
        let is_right = if arity < 0 { len >= -arity } else { len == arity };
        if !is_right {
            return Err(wrong_number(name));
        }
        if self.client.is_subscribed() && !flags.contains(&"pubsub_context") {
            return Err(format!(
                "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
                 RESET are allowed in this context"
            )
            .into());
        }
        run(self)
    }
}

fn unknown(arguments: Arguments<'_>) -> Refusal {
    let mut text =
        format!("ERR unknown command '{}', with args beginning with: ", shown(&arguments[0]));
    let mut len = 0;
    for argument in arguments.from(1) {
        if len >= SHOWN_MAX {
            break;
        }
        let argument = shown(&argument[..argument.len().min(SHOWN_MAX - len)]);
        text += &format!("'{argument}' ");
        len += argument.len() + 3;
    }
    text.into()
}

const NO_KEYS: [i32; 3] = [0, 0, 0];
const ONE_KEY: [i32; 3] = [1, 1, 1];
const READ: &[&str] = &["readonly", "fast"];
const WRITE: &[&str] = &["write", "denyoom", "fast"];
const OTHER: &[&str] = &["fast"];
/// Commands of a client that listens to channels.
const LISTENING: &[&str] = &["pubsub", "pubsub_context"];

/// A row of the table.
macro_rules! table {
    ($($name:literal $arity:literal $flags:ident $keys:expr => $run:path,)*) => {
        const COMMANDS: &[Command] = &[$(
            Command { name: $name, arity: $arity, flags: $flags, keys: $keys, run: $run },
        )*];
    };
}

// It is searched from the beginning: what is frequent comes first.
table! {
    "get" 2 READ ONE_KEY => strings::get,
    "set" -3 WRITE ONE_KEY => strings::set,
    "ping" -1 LISTENING NO_KEYS => connection::ping,
    "incr" 2 WRITE ONE_KEY => strings::incr,
    "del" -2 WRITE [1, -1, 1] => keys::del,
    "exists" -2 READ [1, -1, 1] => keys::exists,
    "expire" -3 WRITE ONE_KEY => keys::expire,
    "ttl" 2 READ ONE_KEY => keys::ttl,
    "mget" -2 READ [1, -1, 1] => strings::mget,
    "mset" -3 WRITE [1, -1, 2] => strings::mset,
    "publish" 3 OTHER NO_KEYS => publishing::publish,
    "echo" 2 OTHER NO_KEYS => connection::echo,
    "decr" 2 WRITE ONE_KEY => strings::decr,
    "incrby" 3 WRITE ONE_KEY => strings::incrby,
    "decrby" 3 WRITE ONE_KEY => strings::decrby,
    "pexpire" -3 WRITE ONE_KEY => keys::pexpire,
    "pttl" 2 READ ONE_KEY => keys::pttl,
    "persist" 2 WRITE ONE_KEY => keys::persist,
    "subscribe" -2 LISTENING NO_KEYS => publishing::subscribe,
    "unsubscribe" -1 LISTENING NO_KEYS => publishing::unsubscribe,
    "dbsize" 1 READ NO_KEYS => keys::dbsize,
    "flushall" -1 WRITE NO_KEYS => keys::flushall,
    "select" 2 OTHER NO_KEYS => connection::select,
    "hello" -1 OTHER NO_KEYS => connection::hello,
    "client" -2 OTHER NO_KEYS => connection::client,
    "config" -2 OTHER NO_KEYS => server::config,
    "command" -1 OTHER NO_KEYS => server::command,
    "info" -1 OTHER NO_KEYS => server::info,
    "quit" -1 LISTENING NO_KEYS => connection::quit,
    "post" -1 LISTENING NO_KEYS => connection::no_client,
    "host:" -1 LISTENING NO_KEYS => connection::no_client,
}

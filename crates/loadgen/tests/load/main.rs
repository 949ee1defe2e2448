//! The built program against servers that do right, and against servers that do not; and the pattern
//! with the exchange, as properties.

mod command_line;
mod datagrams;
mod echoing;
mod figures;
mod interrupt;
mod lost;
mod namespaces;
mod open_loop;
mod pattern;
mod progress;
mod protocols;
mod reconnecting;
mod system_calls;
mod thresholds;
mod time;
mod tls;
mod wrong;

mod program;
mod server;

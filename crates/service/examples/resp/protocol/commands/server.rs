//! Commands about the server.

use super::{Answer, COMMANDS, Call, Command, reply, wrong_number};
use epoll_connection::Flow;
use std::sync::atomic::Ordering;

/// The version of redis whose texts these are.
pub(super) const VERSION: &str = "7.0.15";

/// Settings that clients ask for, `redis-benchmark` for example.
const SETTINGS: &[(&str, &str)] =
    &[("save", ""), ("appendonly", "no"), ("maxmemory", "0"), ("databases", "1"), ("timeout", "0")];

pub(super) fn config(call: &mut Call<'_, '_, '_>) -> Answer {
    if !call.is(1, "get") {
        return Err(call.unknown_subcommand());
    }
    if call.arguments.len() < 3 {
        return Err(wrong_number("config|get"));
    }
    let is_asked = |name: &str| {
        let mut patterns = call.arguments.from(2);
        patterns.any(|one| one == b"*" || one.eq_ignore_ascii_case(name.as_bytes()))
    };
    let found: Vec<_> = SETTINGS.iter().filter(|(name, _)| is_asked(name)).collect();
    let output = call.output();
    reply::array(output, 2 * found.len());
    for (name, value) in found {
        reply::bulk(output, name.as_bytes());
        reply::bulk(output, value.as_bytes());
    }
    Ok(Flow::Keep)
}

pub(super) fn command(call: &mut Call<'_, '_, '_>) -> Answer {
    if call.arguments.len() == 1 {
        reply::array(call.output(), COMMANDS.len());
        COMMANDS.iter().for_each(|command| describe(command, call.output()));
    } else if call.is(1, "count") {
        if call.arguments.len() > 2 {
            return Err(wrong_number("command|count"));
        }
        reply::count(call.output(), COMMANDS.len());
    } else if call.is(1, "docs") {
        // Clients do without.
        reply::array(call.output(), 0);
    } else {
        return Err(call.unknown_subcommand());
    }
    Ok(Flow::Keep)
}

fn describe(command: &Command, output: &mut Vec<u8>) {
    reply::array(output, 6);
    reply::bulk(output, command.name.as_bytes());
    reply::integer(output, command.arity.into());
    reply::array(output, command.flags.len());
    for flag in command.flags {
        output.push(b'+');
        output.extend_from_slice(flag.as_bytes());
        output.extend_from_slice(b"\r\n");
    }
    command.keys.iter().for_each(|&at| reply::integer(output, at.into()));
}

pub(super) fn info(call: &mut Call<'_, '_, '_>) -> Answer {
    let shared = &call.context.local().shared;
    let clients = shared.clients.load(Ordering::Relaxed);
    let maps = shared.store.lock();
    let keys: usize = maps.shards.iter().map(|shard| shard.len()).sum();
    let expires: usize = maps.shards.iter().map(|shard| shard.expiring_len()).sum();
    drop(maps);
    let keyspace = match keys {
        0 => String::new(),
        _ => format!("db0:keys={keys},expires={expires},avg_ttl=0\r\n"),
    };
    let sections = [
        ("server", format!("redis_version:{VERSION}\r\nredis_mode:standalone\r\n")),
        ("clients", format!("connected_clients:{clients}\r\n")),
        ("keyspace", keyspace),
    ];
    let is_asked = |section: &str| {
        let mut asked = call.arguments.from(1);
        let words = ["all", "default", "everything", section];
        call.arguments.len() == 1
            || asked.any(|one| words.iter().any(|word| one.eq_ignore_ascii_case(word.as_bytes())))
    };
    let mut text = String::new();
    for (name, lines) in sections.iter().filter(|(name, _)| is_asked(name)) {
        let blank = if text.is_empty() { "" } else { "\r\n" };
        text += &format!("{blank}# {}{}\r\n{lines}", name[..1].to_uppercase(), &name[1..]);
    }
    reply::bulk(call.output(), text.as_bytes());
    Ok(Flow::Keep)
}

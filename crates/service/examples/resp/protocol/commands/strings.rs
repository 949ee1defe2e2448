//! Commands about values: `GET`, `SET`, and numbers.

use super::super::session::{LONG_MIN, LongReply};
use super::super::store::{Bytes, Time};
use super::{Answer, Call, NOT_A_NUMBER, Refusal, SYNTAX, reply};
use epoll_connection::Flow;
use std::sync::Arc;

/// Writes a value, now if it is short.
fn write_value(call: &mut Call<'_, '_, '_>, value: Option<Bytes>) -> Answer {
    match value {
        Some(value) if value.len() >= LONG_MIN => return write_later(call, [Some(value)]),
        Some(value) => reply::bulk(call.output(), &value),
        None => reply::null(call.output()),
    }
    Ok(Flow::Keep)
}

/// Writes values as the client takes them.
fn write_later(
    call: &mut Call<'_, '_, '_>,
    values: impl IntoIterator<Item = Option<Bytes>>,
) -> Answer {
    call.client.session_mut().long_reply = LongReply::new(values);
    Ok(Flow::Produce)
}

pub(super) fn get(call: &mut Call<'_, '_, '_>) -> Answer {
    let (key, now) = (call.key(), call.now());
    let (store, output) = call.store();
    let mut shard = store.shard(key);
    let long = match shard.get(key, now) {
        Some(entry) if entry.value.len() >= LONG_MIN => Arc::clone(&entry.value),
        Some(entry) => {
            reply::bulk(output, &entry.value);
            return Ok(Flow::Keep);
        }
        None => {
            reply::null(output);
            return Ok(Flow::Keep);
        }
    };
    drop(shard);
    write_later(call, [Some(long)])
}

/// The options of `SET`.
#[derive(Default)]
struct Options {
    if_missing: bool,
    if_present: bool,
    returns_old: bool,
    keeps_expiry: bool,
    /// The argument with the time to live, and how many milliseconds its unit has.
    expiry: Option<(usize, i64)>,
}

impl Options {
    /// Returns whether the value before does not matter.
    fn are_plain(&self) -> bool {
        !(self.if_missing || self.if_present || self.returns_old || self.keeps_expiry)
    }
}

fn options(call: &Call<'_, '_, '_>) -> Result<Options, Refusal> {
    let mut options = Options::default();
    let mut at = 3;
    while at < call.arguments.len() {
        let may_expire = options.expiry.is_none() && !options.keeps_expiry;
        let is_unit = call.is(at, "ex") || call.is(at, "px");
        if is_unit && may_expire && at + 1 < call.arguments.len() {
            let unit = if call.is(at, "ex") { 1000 } else { 1 };
            at += 1;
            options.expiry = Some((at, unit));
        } else if call.is(at, "nx") && !options.if_present {
            options.if_missing = true;
        } else if call.is(at, "xx") && !options.if_missing {
            options.if_present = true;
        } else if call.is(at, "get") {
            options.returns_old = true;
        } else if call.is(at, "keepttl") && options.expiry.is_none() {
            options.keeps_expiry = true;
        } else {
            return Err(SYNTAX.into());
        }
        at += 1;
    }
    Ok(options)
}

/// Returns the time at which a key expires that is given a time to live.
fn expiry(call: &mut Call<'_, '_, '_>, at: usize, unit: i64) -> Result<Time, Refusal> {
    let number = call.number(at)?;
    let time = (number > 0).then(|| number.checked_mul(unit)).flatten();
    let time = time.and_then(|time| time.checked_add(call.time()));
    time.ok_or_else(|| format!("ERR invalid expire time in '{}' command", call.command.name).into())
}

pub(super) fn set(call: &mut Call<'_, '_, '_>) -> Answer {
    let options = options(call)?;
    let expires = options.expiry.map(|(at, unit)| expiry(call, at, unit)).transpose()?;
    let (key, now) = (call.key(), call.now());
    let value: Bytes = call.arguments[2].into();
    let (store, output) = call.store();
    let mut shard = store.shard(key);
    if options.are_plain() {
        shard.set(key, value, expires);
        drop(shard);
        reply::ok(output);
        return Ok(Flow::Keep);
    }
    let old = shard.get(key, now);
    let is_set = if old.is_some() { !options.if_missing } else { !options.if_present };
    let kept = old.and_then(|entry| entry.expires).filter(|_| options.keeps_expiry);
    let old = old.filter(|_| options.returns_old).map(|entry| Arc::clone(&entry.value));
    if is_set {
        shard.set(key, value, expires.or(kept));
    }
    drop(shard);
    if options.returns_old {
        return write_value(call, old);
    }
    if is_set {
        reply::ok(output);
    } else {
        reply::null(output);
    }
    Ok(Flow::Keep)
}

pub(super) fn mget(call: &mut Call<'_, '_, '_>) -> Answer {
    let (keys, now) = (call.arguments.from(1), call.now());
    let mut values = Vec::with_capacity(call.arguments.len() - 1);
    let (store, output) = call.store();
    let mut maps = store.lock();
    for key in keys {
        values.push(maps.shard(key).get(key, now).map(|entry| Arc::clone(&entry.value)));
    }
    drop(maps);
    reply::array(output, values.len());
    write_later(call, values)
}

pub(super) fn mset(call: &mut Call<'_, '_, '_>) -> Answer {
    if call.arguments.len() % 2 == 0 {
        return Err(call.wrong_number());
    }
    let (keys, values) = (call.arguments.from(1).step_by(2), call.arguments.from(2).step_by(2));
    let mut maps = call.store().0.lock();
    for (key, value) in keys.zip(values) {
        maps.shard(key).set(key, value.into(), None);
    }
    drop(maps);
    call.ok()
}

pub(super) fn incr(call: &mut Call<'_, '_, '_>) -> Answer {
    add(call, 1)
}

pub(super) fn decr(call: &mut Call<'_, '_, '_>) -> Answer {
    add(call, -1)
}

pub(super) fn incrby(call: &mut Call<'_, '_, '_>) -> Answer {
    let by = call.number(2)?;
    add(call, by)
}

pub(super) fn decrby(call: &mut Call<'_, '_, '_>) -> Answer {
    let by = call.number(2)?.checked_neg().ok_or("ERR decrement would overflow")?;
    add(call, by)
}

/// Adds to a number. A key that expires goes on to.
fn add(call: &mut Call<'_, '_, '_>, by: i64) -> Answer {
    let (key, now) = (call.key(), call.now());
    let (store, output) = call.store();
    let mut shard = store.shard(key);
    let (before, expires) = match shard.get(key, now) {
        Some(entry) => (reply::parse_number(&entry.value).ok_or(NOT_A_NUMBER)?, entry.expires),
        None => (0, None),
    };
    let sum = before.checked_add(by).ok_or("ERR increment or decrement would overflow")?;
    let mut text = Vec::with_capacity(20);
    reply::append_number(&mut text, sum);
    shard.set(key, text.into(), expires);
    drop(shard);
    reply::integer(output, sum);
    Ok(Flow::Keep)
}

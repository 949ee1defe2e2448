//! Commands about keys, whatever their values are.

use super::super::store::Time;
use super::{Answer, Call, Refusal, SYNTAX, reply, shown};
use epoll_connection::Flow;

pub(super) fn del(call: &mut Call<'_, '_, '_>) -> Answer {
    let (keys, now) = (call.arguments.from(1), call.now());
    let (store, output) = call.store();
    let mut maps = store.lock();
    let mut removed = Vec::new();
    for key in keys {
        let shard = maps.shard(key);
        if shard.get(key, now).is_some() {
            removed.extend(shard.remove(key));
        }
    }
    // Values are dropped when others may go on.
    drop(maps);
    reply::count(output, removed.len());
    Ok(Flow::Keep)
}

pub(super) fn exists(call: &mut Call<'_, '_, '_>) -> Answer {
    let (keys, now) = (call.arguments.from(1), call.now());
    let (store, output) = call.store();
    let mut maps = store.lock();
    let count = keys.filter(|key| maps.shard(key).get(key, now).is_some()).count();
    drop(maps);
    reply::count(output, count);
    Ok(Flow::Keep)
}

pub(super) fn expire(call: &mut Call<'_, '_, '_>) -> Answer {
    expire_after(call, 1000)
}

pub(super) fn pexpire(call: &mut Call<'_, '_, '_>) -> Answer {
    expire_after(call, 1)
}

/// The conditions of `EXPIRE`.
#[derive(Default)]
struct Conditions {
    if_none: bool,
    if_any: bool,
    if_later: bool,
    if_earlier: bool,
}

impl Conditions {
    fn of(call: &Call<'_, '_, '_>) -> Result<Self, Refusal> {
        let mut conditions = Self::default();
        for at in 3..call.arguments.len() {
            let condition = [
                ("nx", &mut conditions.if_none),
                ("xx", &mut conditions.if_any),
                ("gt", &mut conditions.if_later),
                ("lt", &mut conditions.if_earlier),
            ];
            let Some((_, is_set)) = condition.into_iter().find(|(word, _)| call.is(at, word))
            else {
                let option = shown(&call.arguments[at]);
                return Err(format!("ERR Unsupported option {option}").into());
            };
            *is_set = true;
        }
        let Self { if_none, if_any, if_later, if_earlier } = conditions;
        if if_none && (if_any || if_later || if_earlier) {
            return Err(
                "ERR NX and XX, GT or LT options at the same time are not compatible".into()
            );
        }
        if if_later && if_earlier {
            return Err("ERR GT and LT options at the same time are not compatible".into());
        }
        Ok(conditions)
    }

    /// Returns whether a key that expires at `before` may be made to expire at `after`.
    fn allow(&self, before: Option<Time>, after: Time) -> bool {
        // A key that does not expire counts as one that expires after any other.
        let is_refused = (self.if_none && before.is_some())
            || (self.if_any && before.is_none())
            || (self.if_later && before.is_none_or(|before| after <= before))
            || (self.if_earlier && before.is_some_and(|before| after >= before));
        !is_refused
    }
}

fn expire_after(call: &mut Call<'_, '_, '_>, unit: i64) -> Answer {
    let conditions = Conditions::of(call)?;
    let (number, now, key) = (call.number(2)?, call.time(), call.key());
    let after =
        number.checked_mul(unit).and_then(|time| time.checked_add(now)).ok_or_else(|| {
            Refusal::from(format!("ERR invalid expire time in '{}' command", call.command.name))
        })?;
    let (store, output) = call.store();
    let mut shard = store.shard(key);
    let before = shard.get(key, now).map(|entry| entry.expires);
    let is_allowed = before.is_some_and(|before| conditions.allow(before, after));
    let removed = match is_allowed {
        true if after <= now => shard.remove(key),
        true => {
            shard.set_expiry(key, Some(after));
            None
        }
        false => None,
    };
    drop(shard);
    drop(removed);
    reply::integer(output, i64::from(is_allowed));
    Ok(Flow::Keep)
}

pub(super) fn ttl(call: &mut Call<'_, '_, '_>) -> Answer {
    // Rounded, as in redis.
    write_left(call, |left| left.saturating_add(500) / 1000)
}

pub(super) fn pttl(call: &mut Call<'_, '_, '_>) -> Answer {
    write_left(call, |left| left)
}

/// Answers the time for which a key is left, in the unit of `convert`.
fn write_left(call: &mut Call<'_, '_, '_>, convert: fn(Time) -> Time) -> Answer {
    let (key, now) = (call.key(), call.now());
    let (store, output) = call.store();
    let expires = store.shard(key).get(key, now).map(|entry| entry.expires);
    reply::integer(
        output,
        match expires {
            None => -2,
            Some(None) => -1,
            Some(Some(expires)) => convert(expires - now),
        },
    );
    Ok(Flow::Keep)
}

pub(super) fn persist(call: &mut Call<'_, '_, '_>) -> Answer {
    let (key, now) = (call.key(), call.now());
    let (store, output) = call.store();
    let mut shard = store.shard(key);
    let expires = shard.get(key, now).is_some_and(|entry| entry.expires.is_some());
    if expires {
        shard.set_expiry(key, None);
    }
    reply::integer(output, i64::from(expires));
    Ok(Flow::Keep)
}

/// Counts keys. Those that have expired and are not removed yet count, as in redis.
pub(super) fn dbsize(call: &mut Call<'_, '_, '_>) -> Answer {
    let (store, output) = call.store();
    let len = store.lock().shards.iter().map(|shard| shard.len()).sum();
    reply::count(output, len);
    Ok(Flow::Keep)
}

pub(super) fn flushall(call: &mut Call<'_, '_, '_>) -> Answer {
    match call.arguments.len() {
        1 => {}
        2 if call.is(1, "async") || call.is(1, "sync") => {}
        _ => return Err(SYNTAX.into()),
    }
    let mut maps = call.store().0.lock();
    let removed: Vec<_> = maps.shards.iter_mut().map(|shard| shard.clear()).collect();
    drop(maps);
    drop(removed);
    call.ok()
}

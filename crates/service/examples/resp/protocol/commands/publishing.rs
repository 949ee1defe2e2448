//! Commands about channels.

use super::super::store::Bytes;
use super::super::{FAN_OUT_MAX, Message};
use super::{Answer, Call, reply};
use epoll_connection::{ConnectionId, Flow};
use std::sync::Arc;

pub(super) fn publish(call: &mut Call<'_, '_, '_>) -> Answer {
    let (channel, payload) = (call.key(), call.arguments.get(2).unwrap_or_default());
    let shared = Arc::clone(&call.context.local().shared);
    let context = &mut *call.context;
    let send = |listener: ConnectionId, publication| {
        context.send(listener, Message::Published(publication));
    };
    let count = shared.channels.publish(channel, payload, send);
    reply::count(context.output(), count);
    context.local().fan_out += count;
    if context.local().fan_out < FAN_OUT_MAX {
        return Ok(Flow::Keep);
    }
    // Each message waits in memory until the end of the turn, so the turn ends here.
    context.send(context.id(), Message::Delivered);
    Ok(Flow::Pause)
}

pub(super) fn subscribe(call: &mut Call<'_, '_, '_>) -> Answer {
    let id = call.context.id();
    for channel in call.arguments.from(1) {
        let channel: Bytes = channel.into();
        let channels = &mut call.client.session_mut().channels;
        channels.insert(Arc::clone(&channel));
        let len = channels.len();
        call.context.local().shared.channels.add(&channel, id);
        write_change(call, b"subscribe", Some(&channel), len);
    }
    Ok(Flow::Keep)
}

pub(super) fn unsubscribe(call: &mut Call<'_, '_, '_>) -> Answer {
    let id = call.context.id();
    let channels = call.client.session.as_ref().map(|session| &session.channels);
    let left: Vec<Bytes> = match call.arguments.len() {
        1 => channels.into_iter().flatten().map(Arc::clone).collect(),
        _ => call.arguments.from(1).map(Bytes::from).collect(),
    };
    if left.is_empty() {
        write_change(call, b"unsubscribe", None, 0);
    }
    for channel in left {
        let len = call.client.session.as_mut().map_or(0, |session| {
            session.channels.remove(&channel);
            session.channels.len()
        });
        call.context.local().shared.channels.remove(&channel, id);
        write_change(call, b"unsubscribe", Some(&channel), len);
    }
    call.client.drop_session_if_empty();
    Ok(Flow::Keep)
}

fn write_change(call: &mut Call<'_, '_, '_>, what: &[u8], channel: Option<&[u8]>, len: usize) {
    let output = call.output();
    reply::array(output, 3);
    reply::bulk(output, what);
    match channel {
        Some(channel) => reply::bulk(output, channel),
        None => reply::null(output),
    }
    reply::count(output, len);
}

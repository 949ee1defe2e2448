//! Commands about the connection itself.

use super::server::VERSION;
use super::{Answer, Call, Refusal, SYNTAX, reply, shown, wrong_number};
use epoll_connection::Flow;

pub(super) fn ping(call: &mut Call<'_, '_, '_>) -> Answer {
    let text = call.arguments.get(1);
    match (text, call.client.is_subscribed()) {
        _ if call.arguments.len() > 2 => return Err(call.wrong_number()),
        (text, true) => {
            let output = call.output();
            reply::array(output, 2);
            reply::bulk(output, b"pong");
            reply::bulk(output, text.unwrap_or_default());
        }
        (None, false) => call.output().extend_from_slice(b"+PONG\r\n"),
        (Some(text), false) => reply::bulk(call.output(), text),
    }
    Ok(Flow::Keep)
}

pub(super) fn echo(call: &mut Call<'_, '_, '_>) -> Answer {
    let text = call.key();
    reply::bulk(call.output(), text);
    Ok(Flow::Keep)
}

pub(super) fn quit(call: &mut Call<'_, '_, '_>) -> Answer {
    reply::ok(call.output());
    Ok(Flow::Finish)
}

/// A browser that somebody has made talk to us. It gets no answer.
pub(super) fn no_client(_: &mut Call<'_, '_, '_>) -> Answer {
    Ok(Flow::Finish)
}

pub(super) fn select(call: &mut Call<'_, '_, '_>) -> Answer {
    match call.number(1)? {
        0 => call.ok(),
        _ => Err("ERR DB index is out of range".into()),
    }
}

/// `HELLO [2 [SETNAME name]]`: this server speaks version 2 only.
pub(super) fn hello(call: &mut Call<'_, '_, '_>) -> Answer {
    if call.arguments.len() > 1 {
        let text = "ERR Protocol version is not an integer or out of range";
        let version = call.number(1).map_err(|_| Refusal::from(text))?;
        if version != 2 {
            return Err("NOPROTO unsupported protocol version".into());
        }
    }
    let name = match call.arguments.len() {
        0..=2 => None,
        4 if call.is(2, "setname") => call.arguments.get(3),
        _ => {
            let option = shown(&call.arguments[2]);
            return Err(format!("ERR Syntax error in HELLO option '{option}'").into());
        }
    };
    name.map(|name| set_name(call, name)).transpose()?;
    let id = i64::try_from(call.client.id).unwrap_or(i64::MAX);
    let output = call.output();
    reply::array(output, 14);
    reply::bulk(output, b"server");
    reply::bulk(output, b"redis");
    reply::bulk(output, b"version");
    reply::bulk(output, VERSION.as_bytes());
    reply::bulk(output, b"proto");
    reply::integer(output, 2);
    reply::bulk(output, b"id");
    reply::integer(output, id);
    reply::bulk(output, b"mode");
    reply::bulk(output, b"standalone");
    reply::bulk(output, b"role");
    reply::bulk(output, b"master");
    reply::bulk(output, b"modules");
    reply::array(output, 0);
    Ok(Flow::Keep)
}

fn set_name(call: &mut Call<'_, '_, '_>, name: &[u8]) -> Result<(), Refusal> {
    if !name.iter().all(u8::is_ascii_graphic) {
        let text = "ERR Client names cannot contain spaces, newlines or special characters.";
        return Err(text.into());
    }
    if !name.is_empty() || call.client.session.is_some() {
        call.client.session_mut().name = name.into();
        call.client.drop_session_if_empty();
    }
    Ok(())
}

pub(super) fn client(call: &mut Call<'_, '_, '_>) -> Answer {
    let len = call.arguments.len();
    let subcommands = [("setname", 3), ("getname", 2), ("id", 2), ("setinfo", 4), ("no-evict", 3)];
    let Some((name, arity)) = subcommands.into_iter().find(|(name, _)| call.is(1, name)) else {
        return Err(call.unknown_subcommand());
    };
    match name {
        _ if len != arity => return Err(wrong_number(&format!("client|{name}"))),
        "setname" => {
            let name = call.arguments.get(2).unwrap_or_default();
            set_name(call, name)?;
        }
        "getname" => {
            let session = call.client.session.as_ref();
            let name = session.map(|session| &session.name).filter(|name| !name.is_empty());
            match name {
                Some(name) => reply::bulk(call.context.output(), name),
                None => reply::null(call.context.output()),
            }
            return Ok(Flow::Keep);
        }
        "id" => {
            let id = i64::try_from(call.client.id).unwrap_or(i64::MAX);
            reply::integer(call.output(), id);
            return Ok(Flow::Keep);
        }
        "setinfo" if !(call.is(2, "lib-name") || call.is(2, "lib-ver")) => {
            return Err(format!("ERR Unrecognized option '{}'", shown(&call.arguments[2])).into());
        }
        "no-evict" if !(call.is(2, "on") || call.is(2, "off")) => return Err(SYNTAX.into()),
        // Nothing is evicted here, and nobody asks for libraries.
        _ => {}
    }
    call.ok()
}

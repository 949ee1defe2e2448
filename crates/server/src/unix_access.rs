//! The permissions and the owner of the path of a UNIX socket, as people write them.

use epoll_reactor::net::PathOwner;
use nix::unistd::{Group, User};
use std::str::FromStr;

/// The permissions of a path in octal digits, such as `0660`, or `0o660` as in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnixMode(pub(crate) u32);

impl FromStr for UnixMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix("0o").unwrap_or(text);
        let is_octal = !text.is_empty() && text.bytes().all(|byte| (b'0'..b'8').contains(&byte));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
        mode.map(Self).ok_or("expected permissions in octal digits, such as 0660, up to 0777")
    }
}

/// The owner of a path: `USER`, `USER:GROUP` or `:GROUP`, each by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnixOwner(pub(crate) PathOwner);

impl FromStr for UnixOwner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let id = |name: &str, find: &dyn Fn(&str) -> nix::Result<Option<u32>>, what| {
            if name.is_empty() {
                return Ok(None);
            }
            // The last number stands for no change.
            if let Some(id) = name.parse().ok().filter(|id| *id < u32::MAX) {
                return Ok(Some(id));
            }
            match find(name) {
                Ok(Some(id)) => Ok(Some(id)),
                Ok(None) => Err(format!("there is no {what} '{name}'")),
                Err(error) => Err(format!("the {what} '{name}' cannot be looked up: {error}")),
            }
        };
        let find_user = |name: &str| Ok(User::from_name(name)?.map(|user| user.uid.as_raw()));
        let find_group = |name: &str| Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()));
        let owner = PathOwner {
            user: id(user, &find_user, "user")?,
            group: id(group, &find_group, "group")?,
        };
        if owner == PathOwner::default() {
            return Err("expected USER, USER:GROUP or :GROUP".to_owned());
        }
        Ok(Self(owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_octal() {
        for (text, mode) in
            [("0660", 0o660), ("600", 0o600), ("0777", 0o777), ("0", 0), ("0o660", 0o660)]
        {
            assert_eq!(text.parse(), Ok(UnixMode(mode)));
        }
        for text in ["", "0680", "1777", "+600", "-1", "rw-rw----", "0o", "0x1b0", "0o0o660"] {
            assert!(text.parse::<UnixMode>().is_err(), "{text}");
        }
    }

    #[test]
    fn owners_have_names_or_numbers() {
        let owner = |user, group| Ok(UnixOwner(PathOwner { user, group }));
        for (text, expected) in [
            ("root", owner(Some(0), None)),
            ("root:root", owner(Some(0), Some(0))),
            ("1000:2000", owner(Some(1000), Some(2000))),
            (":2000", owner(None, Some(2000))),
        ] {
            assert_eq!(text.parse(), expected);
        }
        for text in ["", ":", "no-such-user", "root:no-such-group", "4294967295", "-1"] {
            assert!(text.parse::<UnixOwner>().is_err(), "{text}");
        }
    }
}

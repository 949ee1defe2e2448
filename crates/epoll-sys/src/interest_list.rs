//! The kernel's own view of what an epoll instance watches. For tests and debugging only.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// One entry of [`Epoll::interest_list`](crate::Epoll::interest_list).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterestEntry {
    /// The number under which the source was added. Its owner may have closed it since.
    pub fd: RawFd,
    /// The bits in force, as the kernel holds them: a one-shot source that has been reported shows
    /// no interest, and `EPOLLERR | EPOLLHUP` are always among them otherwise.
    pub events: u32,
    /// The 64 bits that its events carry.
    pub data: u64,
}

pub(crate) fn read(epoll: BorrowedFd<'_>) -> io::Result<Vec<InterestEntry>> {
    let path = format!("/proc/self/fdinfo/{}", epoll.as_raw_fd());
    let text = fs::read_to_string(&path).map_err(|error| named(error, &path))?;
    text.lines().filter(|line| line.starts_with("tfd:")).map(parse).collect()
}

/// Names the file that a system without `/proc` lacks; the error of the system names none.
fn named(error: io::Error, path: &str) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), format!("{path}: {error}")),
        _ => error,
    }
}

/// `tfd:        5 events:       19 data:                2a  pos:0 ino:1 sdev:9`
fn parse(line: &str) -> io::Result<InterestEntry> {
    entry(line).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("unreadable fdinfo line {line:?}"))
    })
}

fn entry(line: &str) -> Option<InterestEntry> {
    let mut words = line.split_whitespace();
    let mut after = |name: &str| if words.next()? == name { words.next() } else { None };
    Some(InterestEntry {
        fd: after("tfd:")?.parse().ok()?,
        events: u32::from_str_radix(after("events:")?, 16).ok()?,
        data: u64::from_str_radix(after("data:")?, 16).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let line = "tfd:       11 events: 80002019 data: ffffffff0000002a  pos:0 ino:1 sdev:9";
        let expected = InterestEntry { fd: 11, events: 0x8000_2019, data: 0xffff_ffff_0000_002a };
        assert_eq!(parse(line).unwrap(), expected);
    }

    #[test]
    fn a_line_of_another_form_is_named() {
        let error = parse("tfd: eleven").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("tfd: eleven"), "{error}");
    }
}

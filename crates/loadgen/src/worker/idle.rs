//! Connections that are opened and only held. Nothing is to come on them.

use crate::failure::Failure;
use crate::tally::Tally;
use epoll_sys::{Epoll, Interest, Watch, socket};
use std::io;
use std::os::fd::OwnedFd;

#[derive(Debug)]
pub(super) struct Idle {
    sockets: Vec<Option<OwnedFd>>,
}

impl Idle {
    /// Has `epoll` watch the sockets; the data of their events counts from `data` on.
    pub(super) fn new(sockets: Vec<OwnedFd>, epoll: &Epoll, data: u64) -> io::Result<Self> {
        for (socket, data) in sockets.iter().zip(data..) {
            epoll.add(socket, data, Watch::level(Interest::IN))?;
        }
        Ok(Self { sockets: sockets.into_iter().map(Some).collect() })
    }

    /// Looks what has come on the connection at `index`: it has failed.
    #[cold]
    pub(super) fn look(&mut self, index: u64, buffer: &mut [u8], tally: &mut Tally) {
        let Some(place) = usize::try_from(index).ok().and_then(|at| self.sockets.get_mut(at))
        else {
            return;
        };
        let Some(socket) = place else { return };
        let (failure, what) = match socket::recv(socket, buffer) {
            Ok(0) => (Failure::Closed, "the server closed it".to_owned()),
            Ok(len) => (Failure::ExtraBytes, format!("{len} bytes came that nobody asked for")),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return,
                _ => (Failure::from(&error), error.to_string()),
            },
        };
        *place = None;
        tally.failed(failure, 1, || format!("an idle connection: {what}"));
    }
}

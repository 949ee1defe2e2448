//! State that most clients do not need: a name, channels, a request that has arrived in part, a long reply.

use super::reply;
use super::request::Gathered;
use super::store::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// Replies of this length and more are written piece by piece, as the client takes them.
pub(super) const LONG_MIN: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) name: Vec<u8>,
    pub(super) channels: BTreeSet<Bytes>,
    pub(super) gathered: Option<Gathered>,
    pub(super) long_reply: LongReply,
}

impl Session {
    pub(super) fn is_empty(&self) -> bool {
        self.name.is_empty()
            && self.channels.is_empty()
            && self.gathered.is_none()
            && self.long_reply.values.is_empty()
    }
}

/// Values that are yet to be written, as they were when they were asked for.
#[derive(Debug, Default)]
pub(super) struct LongReply {
    values: VecDeque<Option<Bytes>>,
    /// The number of bytes of the first value that are written. Its header is written with its first byte.
    written: usize,
}

impl LongReply {
    pub(super) fn new(values: impl IntoIterator<Item = Option<Bytes>>) -> Self {
        Self { values: values.into_iter().collect(), written: 0 }
    }

    /// Writes the next piece. Returns whether there is more.
    pub(super) fn write(&mut self, output: &mut Vec<u8>) -> bool {
        let full = output.len() + LONG_MIN;
        while output.len() < full {
            let value = match self.values.front() {
                None => return false,
                Some(Some(value)) => value,
                Some(None) => {
                    reply::null(output);
                    self.values.pop_front();
                    continue;
                }
            };
            if self.written == 0 {
                reply::bulk_begin(output, value.len());
            }
            let end = value.len().min(self.written + full.saturating_sub(output.len()));
            output.extend_from_slice(&value[self.written..end]);
            self.written = end;
            if end == value.len() {
                output.extend_from_slice(b"\r\n");
                self.values.pop_front();
                self.written = 0;
            }
        }
        let is_over = self.values.is_empty();
        if is_over {
            self.values = VecDeque::new();
        }
        !is_over
    }
}

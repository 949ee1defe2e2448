//! Datagrams, many a call: `recvmmsg` and `sendmmsg` with buffers that are made once.
//!
//! Kernel facts: (a) `recvmmsg` overwrites the lengths of names and of control messages, so they are set
//! before every call; (b) an error after the first datagram is kept for the next call, so a call that
//! took or sent anything succeeds; (c) with `UDP_GRO` one buffer can hold many datagrams, with
//! `UDP_SEGMENT` one buffer becomes many.
//!
//! No reference is kept from one call to the next: the kernel's structures are filled with pointers into
//! the buffers before each call, and read through them only by the kernel.

use super::Address;
use super::address::SOCKADDR_LEN;
use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// `UIO_MAXIOV`: the kernel takes no more messages a call.
const MESSAGES_MAX: usize = 1024;

/// Room for one control message of an `int`, which is what `UDP_GRO` and `UDP_SEGMENT` need, with its
/// header, aligned as the kernel's header is.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_LEN]);

/// `CMSG_SPACE(sizeof(int))` on 64-bit machines; on others it is less.
const CONTROL_LEN: usize = 24;
/// `CMSG_LEN(0)`: a length, which is as long as a pointer, and two `int`s.
const CONTROL_HEADER_LEN: usize = mem::size_of::<libc::cmsghdr>();

const _: () = assert!(CONTROL_HEADER_LEN + mem::size_of::<libc::c_int>() <= CONTROL_LEN);
const _: () = assert!(mem::align_of::<Control>() >= mem::align_of::<libc::cmsghdr>());

/// The header and the buffer of each message, as the kernel takes them.
struct Headers {
    messages: Vec<libc::mmsghdr>,
    slices: Vec<libc::iovec>,
    names: Vec<[u8; SOCKADDR_LEN]>,
    controls: Vec<Control>,
}

// SAFETY: the pointers in `messages` and `slices` are overwritten before each use and never followed in
// between, so they may be left behind by another thread.
unsafe impl Send for Headers {}
// SAFETY: as above; and nothing reads them through a shared reference.
unsafe impl Sync for Headers {}

impl Headers {
    fn new(count: usize) -> Self {
        let slice = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self {
            messages: vec![empty_message(); count],
            slices: vec![slice; count],
            names: vec![[0; SOCKADDR_LEN]; count],
            controls: vec![Control([0; CONTROL_LEN]); count],
        }
    }

    /// Points the messages from `from` to `to` at their parts. A message has a name and control messages
    /// of the lengths that `lens` gives for it, and the bytes that `slices` has.
    fn link(&mut self, from: usize, to: usize, lens: impl Fn(usize) -> (usize, usize)) {
        for index in from..to {
            let (name_len, control_len) = lens(index);
            let header = &mut self.messages[index].msg_hdr;
            header.msg_iov = &raw mut self.slices[index];
            header.msg_iovlen = 1;
            header.msg_name = self.names[index].as_mut_ptr().cast();
            header.msg_namelen = u32::try_from(name_len).unwrap_or(0);
            if name_len == 0 {
                header.msg_name = std::ptr::null_mut();
            }
            header.msg_control = self.controls[index].0.as_mut_ptr().cast();
            #[allow(clippy::useless_conversion, reason = "the type differs between C libraries")]
            {
                header.msg_controllen = control_len.try_into().unwrap_or(0);
            }
            header.msg_flags = 0;
        }
    }
}

fn empty_message() -> libc::mmsghdr {
    // SAFETY: every field is an integer or a raw pointer, for which zero is a value.
    unsafe { mem::zeroed() }
}

/// Buffers for [`recv`](Self::recv), and the datagrams that the last call took.
///
/// They are allocated once. A batch belongs to no socket and may be used for many, one after another.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket::{self, RecvBatch};
///
/// let (ours, theirs) = socket::datagram_pair()?;
/// for word in ["one", "two", "three"] {
///     socket::send_datagram(&theirs, word.as_bytes())?;
/// }
/// let mut batch = RecvBatch::new(16, 4);
/// assert_eq!(batch.recv(&ours)?, 3);
/// let words: Vec<_> = batch.iter().map(|datagram| (datagram.bytes, datagram.is_truncated)).collect();
/// assert_eq!(words, [(&b"one"[..], false), (b"two", false), (b"thre", true)]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RecvBatch {
    headers: Headers,
    bytes: Vec<u8>,
    len_max: usize,
    /// The number of datagrams that the last call took.
    count: usize,
}

/// A datagram of a [`RecvBatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedDatagram<'a> {
    /// The contents; with [`set_gro`](super::set_gro), those of several datagrams of one peer.
    pub bytes: &'a [u8],
    /// The address of the sender.
    pub from: Address,
    /// `MSG_TRUNC`: the datagram was longer than its buffer, and the rest of it is lost.
    pub is_truncated: bool,
    /// `UDP_GRO`: the length of each datagram in `bytes`, of which the last may be shorter; `None` if
    /// there is one.
    pub segment_len: Option<usize>,
}

impl<'a> ReceivedDatagram<'a> {
    /// Returns the datagrams in `bytes` one by one, as they were sent.
    pub fn segments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        let len = self.segment_len.unwrap_or(bytes.len()).max(1);
        // An empty datagram is one, and would be no chunk.
        let empty = bytes.is_empty().then_some(bytes);
        empty.into_iter().chain(bytes.chunks(len))
    }
}

impl RecvBatch {
    /// Makes buffers for `count` datagrams, at least one and at most 1024, of `len_max` bytes each.
    ///
    /// 65 535 bytes hold every UDP datagram, and everything that [`set_gro`](super::set_gro) joins.
    ///
    /// # Panics
    ///
    /// If there is no memory that large, as for any `Vec`: more than `isize::MAX` bytes in all.
    #[must_use]
    pub fn new(count: usize, len_max: usize) -> Self {
        let count = count.clamp(1, MESSAGES_MAX);
        let bytes = vec![0; count.saturating_mul(len_max)];
        Self { headers: Headers::new(count), bytes, len_max, count: 0 }
    }

    /// `recvmmsg`: takes the datagrams that have arrived, as many as there are buffers, in place of those
    /// of the last call, and returns their number,
    /// [recvmmsg(2)](https://man7.org/linux/man-pages/man2/recvmmsg.2.html).
    ///
    /// It does not wait, also where the socket would. Fewer datagrams than buffers mean that there were no
    /// more, unless an error came between, which the next call reports.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](super::recv_from); the batch is empty then.
    #[doc(alias = "recvmmsg")]
    pub fn recv(&mut self, socket: impl AsFd) -> io::Result<usize> {
        self.count = 0;
        let count = self.headers.messages.len();
        for (index, slice) in self.headers.slices.iter_mut().enumerate() {
            let bytes = &mut self.bytes[index * self.len_max..][..self.len_max];
            *slice = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        }
        self.headers.link(0, count, |_| (SOCKADDR_LEN, CONTROL_LEN));
        self.count = recvmmsg(socket.as_fd(), &mut self.headers.messages)?;
        Ok(self.count)
    }

    /// Returns the number of datagrams that the last call took.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns whether the last call took none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the datagram with this index, in the order of their arrival.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<ReceivedDatagram<'_>> {
        if index >= self.count {
            return None;
        }
        let message = &self.headers.messages[index];
        let len = (message.msg_len as usize).min(self.len_max);
        let name_len = (message.msg_hdr.msg_namelen as usize).min(SOCKADDR_LEN);
        #[allow(clippy::unnecessary_cast, reason = "the type differs between C libraries")]
        let control_len = message.msg_hdr.msg_controllen as usize;
        Some(ReceivedDatagram {
            bytes: &self.bytes[index * self.len_max..][..len],
            from: Address::decode(&self.headers.names[index][..name_len]),
            is_truncated: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            segment_len: segment_len(&self.headers.controls[index], control_len),
        })
    }

    /// Returns the datagrams that the last call took, in the order of their arrival.
    pub fn iter(&self) -> impl Iterator<Item = ReceivedDatagram<'_>> {
        (0..self.count).filter_map(|index| self.get(index))
    }
}

fn recvmmsg(socket: BorrowedFd<'_>, messages: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let count = libc::c_uint::try_from(messages.len()).unwrap_or(0);
    let fd = socket.as_raw_fd();
    let (start, flags) = (messages.as_mut_ptr(), libc::MSG_DONTWAIT as _);
    // SAFETY: `fd` is open. `start` points to `count` messages, each of which has just been linked to one
    // slice, a name and a control buffer with their true lengths, all of which are owned by the batch that
    // is borrowed mutably, and are plain bytes. No time limit is given.
    let taken = unsafe { libc::recvmmsg(fd, start, count, flags, std::ptr::null_mut()) };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}

/// Reads the only control message that was asked for: `UDP_GRO` with an `int`.
fn segment_len(control: &Control, len: usize) -> Option<usize> {
    let (header, rest) = control.0[..len.min(CONTROL_LEN)].split_at_checked(CONTROL_HEADER_LEN)?;
    let kind = &header[CONTROL_HEADER_LEN - 8..];
    let (level, kind) = kind.split_first_chunk::<4>()?;
    let (kind, _) = kind.split_first_chunk::<4>()?;
    let (value, _) = rest.split_first_chunk::<4>()?;
    let is_gro =
        i32::from_ne_bytes(*level) == libc::SOL_UDP && i32::from_ne_bytes(*kind) == libc::UDP_GRO;
    is_gro.then(|| usize::try_from(i32::from_ne_bytes(*value)).ok())?
}

/// Datagrams that wait to be sent, and buffers for them.
///
/// They are allocated once. A batch belongs to no socket and may be used for many, one after another.
///
/// # Examples
///
/// ```
/// use epoll_sys::socket::{self, SendBatch};
///
/// let (ours, theirs) = socket::datagram_pair()?;
/// let mut batch = SendBatch::new(16, 512);
/// for word in ["one", "two"] {
///     assert!(batch.push(word.as_bytes(), None));
/// }
/// assert_eq!(batch.send(&ours)?, 2);
/// assert!(batch.is_empty());
///
/// let mut buffer = [0; 8];
/// assert_eq!(socket::recv_datagram(&theirs, &mut buffer)?.len, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SendBatch {
    headers: Headers,
    bytes: Vec<u8>,
    len_max: usize,
    /// The lengths of the name, the control messages and the contents of each datagram.
    lens: Vec<[usize; 3]>,
    /// The datagrams from `first` to `end` wait.
    first: usize,
    end: usize,
}

impl SendBatch {
    /// Makes buffers for `count` datagrams, at least one and at most 1024, of `len_max` bytes each.
    ///
    /// # Panics
    ///
    /// If there is no memory that large, as for any `Vec`: more than `isize::MAX` bytes in all.
    #[must_use]
    pub fn new(count: usize, len_max: usize) -> Self {
        let count = count.clamp(1, MESSAGES_MAX);
        let bytes = vec![0; count.saturating_mul(len_max)];
        let headers = Headers::new(count);
        Self { headers, bytes, len_max, lens: vec![[0; 3]; count], first: 0, end: 0 }
    }

    /// Copies a datagram into the batch, for `to` or for the socket's peer. Returns `false`, and changes
    /// nothing, if the datagram is longer than the buffers, or if no buffer is free: those of datagrams
    /// that were sent come free when the last one is.
    #[must_use = "a datagram that does not fit is not sent"]
    pub fn push(&mut self, bytes: &[u8], to: Option<&Address>) -> bool {
        self.push_message(bytes, to, None)
    }

    /// Like [`push`](Self::push), for bytes that the kernel cuts into UDP datagrams of `segment_len`, the
    /// last of which may be shorter: `UDP_SEGMENT`,
    /// [udp(7)](https://man7.org/linux/man-pages/man7/udp.7.html). One send takes at most 64 of them,
    /// 128 on newer kernels, and 65 507 bytes.
    ///
    /// [`send`](Self::send) fails with the kernel's error where it cannot do that: `EINVAL` for too many
    /// segments or one that does not fit a packet, `EIO` for a device without checksums, `EMSGSIZE` for
    /// too many bytes. Before Linux 4.18 the kernel ignores the length and sends one datagram.
    #[doc(alias = "UDP_SEGMENT")]
    #[must_use = "a datagram that does not fit is not sent"]
    pub fn push_segments(&mut self, bytes: &[u8], segment_len: u16, to: Option<&Address>) -> bool {
        self.push_message(bytes, to, Some(segment_len))
    }

    fn push_message(
        &mut self,
        bytes: &[u8],
        to: Option<&Address>,
        segment_len: Option<u16>,
    ) -> bool {
        if bytes.len() > self.len_max || self.end == self.lens.len() {
            return false;
        }
        let index = self.end;
        self.bytes[index * self.len_max..][..bytes.len()].copy_from_slice(bytes);
        let name_len = to.map_or(0, |to| to.encode(&mut self.headers.names[index]));
        let control = &mut self.headers.controls[index];
        let control_len = segment_len.map_or(0, |len| put_segment_len(control, len));
        self.lens[index] = [name_len, control_len, bytes.len()];
        self.end += 1;
        true
    }

    /// `sendmmsg(MSG_NOSIGNAL)`: sends the datagrams in their order, as many as the socket takes, removes
    /// these and returns their number; the rest waits for the next call,
    /// [sendmmsg(2)](https://man7.org/linux/man-pages/man2/sendmmsg.2.html).
    ///
    /// It does not wait, also where the socket would. An empty batch sends nothing.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](super::send_to), about the first datagram that waits, which stays. If it is
    /// the datagram's own fault, [`discard_first`](Self::discard_first) gets it out of the way.
    #[doc(alias = "sendmmsg")]
    pub fn send(&mut self, socket: impl AsFd) -> io::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        for index in self.first..self.end {
            let bytes = &mut self.bytes[index * self.len_max..][..self.lens[index][2]];
            let (iov_base, iov_len) = (bytes.as_mut_ptr().cast(), bytes.len());
            self.headers.slices[index] = libc::iovec { iov_base, iov_len };
        }
        let lens = &self.lens;
        self.headers.link(self.first, self.end, |index| (lens[index][0], lens[index][1]));
        let waiting = &mut self.headers.messages[self.first..self.end];
        let sent = sendmmsg(socket.as_fd(), waiting)?;
        self.remove(sent);
        Ok(sent)
    }

    fn remove(&mut self, count: usize) {
        self.first += count;
        // Buffers come free together, so that nothing has to be moved.
        if self.first >= self.end {
            self.clear();
        }
    }

    /// Removes the first datagram that waits.
    pub fn discard_first(&mut self) {
        self.remove(1);
    }

    /// Removes all datagrams.
    pub fn clear(&mut self) {
        (self.first, self.end) = (0, 0);
    }

    /// Returns the number of datagrams that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.first
    }

    /// Returns whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn sendmmsg(socket: BorrowedFd<'_>, messages: &mut [libc::mmsghdr]) -> io::Result<usize> {
    let count = libc::c_uint::try_from(messages.len()).unwrap_or(0);
    let fd = socket.as_raw_fd();
    let (start, flags) = (messages.as_mut_ptr(), (libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) as _);
    // SAFETY: `fd` is open. `start` points to `count` messages, each of which has just been linked to one
    // slice, a name and control messages with their true lengths, all of which are owned by the batch that
    // is borrowed mutably. The kernel writes only the lengths into the messages themselves.
    let sent = unsafe { libc::sendmmsg(fd, start, count, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Writes the control message `UDP_SEGMENT` and returns its length.
fn put_segment_len(control: &mut Control, segment_len: u16) -> usize {
    let len = CONTROL_HEADER_LEN + mem::size_of::<u16>();
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        control.0[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    // `struct cmsghdr`: the length, which has the size of a pointer, the level and the kind.
    put(&len.to_ne_bytes());
    put(&libc::SOL_UDP.to_ne_bytes());
    put(&libc::UDP_SEGMENT.to_ne_bytes());
    put(&segment_len.to_ne_bytes());
    len
}

// The length is a `size_t` to the kernel and to glibc; musl splits it into 32 bits and padding, which are
// the same bytes.
const _: () = assert!(CONTROL_HEADER_LEN == mem::size_of::<usize>() + 8);

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBatch").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_segment_len(level: i32, kind: i32, expected: Option<usize>) {
        let mut control = Control([0; CONTROL_LEN]);
        let at = CONTROL_HEADER_LEN - 8;
        for (part, value) in [level, kind, 1400].into_iter().enumerate() {
            control.0[at + 4 * part..][..4].copy_from_slice(&value.to_ne_bytes());
        }
        let len = CONTROL_HEADER_LEN + 4;
        assert_eq!(segment_len(&control, len), expected);
        assert_eq!(segment_len(&control, 0), None);
    }

    #[track_caller]
    fn assert_segments(bytes: &[u8], segment_len: Option<usize>, expected: &[&[u8]]) {
        let from = Address::Unix(super::super::UnixAddress::UNNAMED);
        let datagram = ReceivedDatagram { bytes, from, is_truncated: false, segment_len };
        assert_eq!(datagram.segments().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn joined_datagrams_come_apart_as_they_were_sent() {
        assert_segments(b"abcdefghij", Some(4), &[b"abcd", b"efgh", b"ij"]);
        assert_segments(b"abcd", Some(2), &[b"ab", b"cd"]);
        assert_segments(b"abcd", None, &[b"abcd"]);
        assert_segments(b"", None, &[b""]);
        assert_segments(b"ab", Some(0), &[b"a", b"b"]);
    }

    #[test]
    fn only_the_control_message_of_gro_tells_a_segment_length() {
        assert_segment_len(libc::SOL_UDP, libc::UDP_GRO, Some(1400));
        assert_segment_len(libc::SOL_UDP, libc::UDP_SEGMENT, None);
        assert_segment_len(libc::SOL_SOCKET, libc::UDP_GRO, None);
    }
}

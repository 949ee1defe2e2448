//! The line that tells how far a run has come: on a terminal it is written over itself and gone at the
//! end, and elsewhere it is not written at all.

use crate::program::{PATIENCE, Running, measure_well, measured};
use crate::server::{Server, echo, echo_messages};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::thread;

/// The bytes after each writing of the line: they erase the rest, and move the cursor back to its beginning.
const BACK: &str = "\x1b[K\r";

/// The other side of a terminal, which collects the bytes written to it.
struct Screen {
    pieces: Receiver<Vec<u8>>,
    text: String,
}

impl Screen {
    /// A terminal for a program, and what it shows.
    fn open() -> (OwnedFd, Self) {
        // It is not to become the terminal of the tests, should they have none.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).expect("a pseudo terminal");
        grantpt(&ours).expect("the right to its other side");
        unlockpt(&ours).expect("its other side");
        let theirs = ioctl_tiocgptpeer(&ours, flags).expect("its other side");
        let (sender, pieces) = channel();
        thread::spawn(move || {
            let (mut ours, mut buffer) = (File::from(ours), [0; 4096]);
            // When nobody has the other side any more, a read fails.
            while let Ok(len @ 1..) = ours.read(&mut buffer) {
                let _ = sender.send(buffer[..len].to_vec());
            }
        });
        (theirs, Self { pieces, text: String::new() })
    }

    /// Reads on until `condition` holds for all that was written.
    #[track_caller]
    fn shows(&mut self, condition: impl Fn(&str) -> bool) {
        while !condition(&self.text) {
            match self.pieces.recv_timeout(PATIENCE) {
                Ok(piece) => self.text += std::str::from_utf8(&piece).expect("text"),
                Err(error) => panic!("{error}: {:?}", self.text),
            }
        }
    }

    /// All that was written up to the end of the program.
    #[track_caller]
    fn rest(mut self) -> String {
        while let Ok(piece) = self.pieces.recv_timeout(PATIENCE) {
            self.text += std::str::from_utf8(&piece).expect("text");
        }
        self.text
    }
}

#[test]
fn a_terminal_shows_one_line_that_is_gone_at_the_end() {
    let (gate, is_seen) = sync_channel(1);
    let is_seen = Mutex::new(is_seen);
    let server = Server::tcp(move |wire, number| {
        echo_messages(wire, 2, 64)?;
        let _ = is_seen.lock().unwrap().recv_timeout(PATIENCE);
        echo(wire, number)
    });
    let (terminal, mut screen) = Screen::open();
    let args = [&server.target, "--connections", "1", "--requests", "100", "--json"];
    let program = Running::start_complaining_to(&args, terminal);
    let line = "2 of 100 requests, 0 errors";
    // Written over once it was seen, and more often. The first interval has its figures by then.
    let figures = "2 a second, p99 ";
    screen.shows(|text| text.matches(line).count() > 0 && text.contains(figures));
    gate.send(()).unwrap();
    let (output, json) = measured(program.output());
    assert_eq!((output.status, &json["requests"]), (0, &100.into()));

    let text = screen.rest();
    let lines: Vec<_> = text.split_terminator(BACK).collect();
    let (gone, shown) = lines.split_last().expect("a line");
    assert_eq!(*gone, "", "{text:?}");
    assert!(shown.iter().all(|line| line.ends_with(" of 100 requests, 0 errors")), "{text:?}");
    assert!(text.ends_with(BACK) && !text.contains('\n'), "{text:?}");
    // It is another one each time: the seconds go on.
    assert!(shown[0] != shown[1] && shown[1] != shown[2], "{text:?}");
}

#[test]
fn elsewhere_nothing_is_written() {
    let server = Server::tcp(echo);
    // Long enough to be told of twice. `measure_well` expects nothing on standard error.
    let json = measure_well(&server.target, &["--rate", "100", "--duration", "700ms"]);
    assert_eq!(json["requests"], 70);
}

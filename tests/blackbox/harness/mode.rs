//! The modes of the server, and a test for each of them.

use std::fmt;

/// The trigger of connections, and the way in which threads divide them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One thread, level-triggered.
    Level,
    /// One thread, edge-triggered.
    Edge,
    /// Threads with connections of their own and a queue each.
    Reuseport,
    /// Threads with connections of their own and one queue.
    Exclusive,
    /// Threads that share connections, one-shot.
    Oneshot,
    /// Threads that share connections, edge-triggered.
    EdgeShared,
}

impl Mode {
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Level => &["--mode", "level", "--threads", "1"],
            Self::Edge => &["--mode", "edge", "--threads", "1"],
            Self::Reuseport => &["--mode", "level", "--threads", "3", "--accept", "reuseport"],
            Self::Exclusive => &["--mode", "edge", "--threads", "3", "--accept", "exclusive"],
            Self::Oneshot => &["--mode", "oneshot", "--threads", "3"],
            Self::EdgeShared => &["--mode", "edge-shared", "--threads", "3"],
        }
    }

    /// The same with another number of threads.
    pub(crate) fn flags_with(self, threads: u32) -> Vec<String> {
        let mut flags: Vec<String> = self.flags().iter().map(ToString::to_string).collect();
        let at = flags.iter().position(|flag| flag == "--threads").expect("a number of threads");
        flags[at + 1] = threads.to_string();
        flags
    }

    /// Returns the number of threads that serve.
    pub(crate) fn threads(self) -> u32 {
        match self {
            Self::Level | Self::Edge => 1,
            Self::Reuseport | Self::Exclusive | Self::Oneshot | Self::EdgeShared => 3,
        }
    }

    /// Returns whether threads share connections. One more thread then handles timers and signals.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Oneshot | Self::EdgeShared)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.flags().join(" "))
    }
}

/// Makes a test of each function that takes a mode, for some modes: `name::mode`.
macro_rules! in_modes {
    ($name:ident: $($mode:ident $variant:ident),+) => {
        mod $name {
            $(
                #[test]
                fn $mode() {
                    super::$name($crate::harness::Mode::$variant);
                }
            )+
        }
    };
}

/// Makes a test of each function that takes a mode, for every mode.
macro_rules! in_all_modes {
    ($($name:ident),+ $(,)?) => {$(
        in_modes!($name: level Level, edge Edge, reuseport Reuseport, exclusive Exclusive,
            oneshot Oneshot, edge_shared EdgeShared);
    )+};
}

/// Makes a test of each function that takes a mode, for the modes with several threads.
macro_rules! in_threaded_modes {
    ($($name:ident),+ $(,)?) => {$(
        in_modes!($name: reuseport Reuseport, exclusive Exclusive, oneshot Oneshot,
            edge_shared EdgeShared);
    )+};
}

/// Makes a test of each function that takes a mode, for the modes in which threads share connections.
macro_rules! in_shared_modes {
    ($($name:ident),+ $(,)?) => {$(
        in_modes!($name: oneshot Oneshot, edge_shared EdgeShared);
    )+};
}

/// Makes a test of each function that takes a mode, for the modes with one thread.
macro_rules! in_both_modes {
    ($($name:ident),+ $(,)?) => {$(
        in_modes!($name: level Level, edge Edge);
    )+};
}

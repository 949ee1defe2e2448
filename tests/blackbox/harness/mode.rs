//! The modes of the server, and a test for each of them.

use std::fmt;

/// A value of `--mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Level,
    Edge,
}

impl Mode {
    pub(crate) const ALL: [Self; 2] = [Self::Level, Self::Edge];

    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Edge => "edge",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.flag())
    }
}

/// Makes two tests of each function that takes a mode: `name::level` and `name::edge`.
macro_rules! in_both_modes {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn level() {
                super::$name($crate::harness::Mode::Level);
            }

            #[test]
            fn edge() {
                super::$name($crate::harness::Mode::Edge);
            }
        }
    )+};
}

//! The conditions of a run, which its report describes.

use crate::machine::{Cores, Facts};
use std::time::Duration;

/// The facts about a whole run that a report states, and needs for the commands that it names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Conditions {
    pub(crate) facts: Facts,
    /// The crates that took part.
    pub(crate) versions: Facts,
    pub(crate) is_quick: bool,
    pub(crate) cores: Cores,
    /// The congestion control that the client asked for on its sockets.
    pub(crate) congestion: Option<String>,
    pub(crate) took: Duration,
    /// The reason why something that was asked for is missing.
    pub(crate) incomplete: Option<String>,
}

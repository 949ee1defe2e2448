//! The metadata that Cargo has about the packages of this workspace and of the one of the benchmarks.

use cargo_metadata::camino::Utf8Path;
use cargo_metadata::{Metadata, MetadataCommand};

/// The manifest of the benchmarks, which are a workspace of their own.
pub(crate) const BENCH: &str = "bench/Cargo.toml";

/// Asks about the workspace around the current folder.
pub(crate) fn metadata() -> cargo_metadata::Result<Metadata> {
    MetadataCommand::new().no_deps().exec()
}

/// Asks about the workspace of a Cargo.toml.
pub(crate) fn metadata_of(manifest: &Utf8Path) -> cargo_metadata::Result<Metadata> {
    MetadataCommand::new().manifest_path(manifest).no_deps().exec()
}

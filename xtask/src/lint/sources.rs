//! The text files that are in git, or would be with the next `git add`: what is new is checked
//! before it is committed.

use anyhow::{Context, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

pub(crate) fn read(root: &Path) -> anyhow::Result<Vec<SourceFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("failed to start `git ls-files`")?;
    if !output.status.success() {
        bail!("`git ls-files` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let paths = String::from_utf8(output.stdout).context("a file name in git is not UTF-8")?;
    let mut sources = Vec::new();
    for path in paths.split_terminator('\0') {
        // A directory is a submodule or a link to one, and a file that is gone was just deleted.
        let full = root.join(path);
        if full.is_file() {
            let bytes = fs::read(&full).with_context(|| format!("failed to read {path}"))?;
            sources.extend(as_text(path, bytes));
        }
    }
    Ok(sources)
}

fn as_text(path: &str, bytes: Vec<u8>) -> Option<SourceFile> {
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
    Some(SourceFile { path: path.to_owned(), text })
}

#[cfg(test)]
pub(crate) fn source(path: &str, text: &str) -> SourceFile {
    as_text(path, text.as_bytes().to_vec()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_text_is_left_out() {
        assert!(as_text("a.png", b"\x89PNG\0".to_vec()).is_none());
        assert!(as_text("a.bin", b"a\0b".to_vec()).is_none());
        assert!(as_text("a.rs", "ä\n".into()).is_some());
    }
}

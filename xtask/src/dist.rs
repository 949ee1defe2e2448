//! `cargo xtask dist`: the man pages and the completions of the programs, in `target/dist`. Another package makes
//! them, because this one links no program.

use crate::say::say;
use crate::step::Step;
use crate::workspace::Workspace;

/// The program that makes them, and its package.
const PROGRAM: [&str; 4] = ["-p", "epoll-kit-tests", "--bin", "epoll-kit-dist"];

pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let folder = workspace.target_folder.join("dist");
    let shown = folder.display().to_string();
    let arguments = [&["run"][..], &PROGRAM[..], &["--", &shown][..]].concat();
    Step::cargo(&arguments).run(&workspace.root)?;
    say(format_args!("wrote {shown}/man and {shown}/completions"));
    Ok(())
}

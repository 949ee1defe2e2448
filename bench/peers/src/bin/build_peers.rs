//! Builds the peers in C and Go into the folder of this program, beside those in Rust. What cannot be built
//! for want of a compiler or a library is named, and is no failure.

use anyhow::Context;
use epoll_kit_bench_peers::foreign;
use std::env;
use std::io::{self, Write};

fn main() -> anyhow::Result<()> {
    let program = env::current_exe().context("failed to find this program's folder")?;
    let folder = program.parent().context("this program is in no folder")?;
    let mut stdout = io::stdout().lock();
    for peer in &foreign::ALL {
        let built = peer
            .build_or_say_why(folder)
            .with_context(|| format!("failed to write to {}", folder.display()))?;
        match built {
            Ok(()) => writeln!(stdout, "built {}", peer.program)?,
            Err(why) => writeln!(stdout, "left out {}: {why}", peer.program)?,
        }
    }
    Ok(())
}

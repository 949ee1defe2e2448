//! Writes the man pages and the completions of the programs into the folder that is named: `cargo xtask dist`. It is
//! here, because neither the programs nor `xtask` are to carry what makes them.

use clap_complete::{Shell, generate_to};
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1);
    let folder = folder.ok_or_else(|| io::Error::other("a folder has to be named"))?;
    let folder = Path::new(&folder);
    let [man, completions] = ["man", "completions"].map(|name| folder.join(name));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    for mut command in [epoll_server::cli::command(), epoll_load::cli::command()] {
        clap_mangen::generate_to(command.clone(), &man)?;
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut command, &name, &completions)?;
        }
    }
    Ok(())
}

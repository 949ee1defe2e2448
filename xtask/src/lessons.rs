//! `cargo xtask lessons`: the lessons, as LESSONS.md has them: lists them, and runs one or all.

use crate::print_line;
use crate::workspace::metadata;
use anyhow::ensure;
use xshell::{Shell, cmd};

/// A paragraph that begins with its number and its title.
struct Lesson<'a> {
    number: &'a str,
    title: &'a str,
    /// The arguments of `cargo` in the lines of code.
    commands: Vec<&'a str>,
}

/// Runs the lesson with this number, or all that end by themselves. `None`: lists all.
pub(crate) fn run(which: Option<&str>) -> anyhow::Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(metadata()?.workspace_root);
    let page = sh.read_file("LESSONS.md")?;
    let lessons = lessons(&page);
    let all_end = |lesson: &Lesson<'_>| lesson.commands.iter().all(|command| ends(command));
    let is_chosen = |lesson: &&Lesson<'_>| match which {
        Some("all") => all_end(lesson),
        Some(number) => lesson.number == number,
        None => true,
    };
    let chosen: Vec<_> = lessons.iter().filter(is_chosen).collect();
    ensure!(!chosen.is_empty(), "no such lesson: there are 1 to {}, and `all`", lessons.len());
    for Lesson { number, title, commands } in chosen {
        print_line(&format!("{number:>3}  {title}"));
        for command in commands.iter().filter(|_| which.is_some()) {
            let words = command.split_whitespace();
            if ends(command) {
                cmd!(sh, "cargo {words...}").run()?;
            } else {
                print_line(&format!("it is talked to, so start it yourself: cargo {command}"));
            }
        }
    }
    Ok(())
}

/// Returns whether a command ends by itself: one that is given an address serves there.
fn ends(command: &str) -> bool {
    !command.contains("127.0.0.1")
}

fn lessons(page: &str) -> Vec<Lesson<'_>> {
    let mut lessons: Vec<Lesson<'_>> = Vec::new();
    for line in page.lines() {
        // `7. **Waking.** An eventfd …`
        let heading = line.split_once(". **").filter(|(number, _)| number.parse::<u32>().is_ok());
        if let Some((number, rest)) = heading {
            let title = rest.split(".**").next().unwrap_or(rest);
            lessons.push(Lesson { number, title, commands: Vec::new() });
        } else if let Some(lesson) = lessons.last_mut() {
            // Code is indented further than text.
            lesson.commands.extend(line.split_once("       cargo ").map(|(_, command)| command));
        }
    }
    lessons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lessons_of_the_repository_are_numbered_and_each_has_a_program() {
        let lessons = lessons(include_str!("../../LESSONS.md"));
        for (at, lesson) in (1..).zip(&lessons) {
            assert_eq!(lesson.number, at.to_string(), "{}", lesson.title);
            assert!(!lesson.commands.is_empty(), "lesson {at} has no program");
        }
        assert_eq!(lessons[0].commands, ["run -p epoll-sys --example echo"]);
        assert!(ends(lessons[0].commands[0]) && !ends("run --example chat -- 127.0.0.1:7777"));
    }
}

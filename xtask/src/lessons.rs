//! `cargo xtask lessons`: the lessons, as LESSONS.md has them: lists them, and runs one or all.
//!
//! A lesson is a paragraph that begins with its number and its title; its commands are the lines of code in it,
//! which are indented further than its text.

use crate::say::say;
use crate::step::Step;
use crate::usage::UsageError;
use crate::workspace::Workspace;
use anyhow::Context;
use std::fs;

/// The indentation of code in a numbered paragraph.
const CODE: &str = "       ";

/// The choice of lessons.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    List,
    /// Those that end by themselves.
    All,
    One(usize),
}

#[derive(Debug, PartialEq, Eq)]
struct Lesson<'a> {
    number: usize,
    title: &'a str,
    /// What follows `cargo`.
    commands: Vec<&'a str>,
}

/// Reads what follows the command.
pub(crate) fn parse(names: &[String]) -> Result<Choice, UsageError> {
    match names {
        [] => Ok(Choice::List),
        [all] if all == "all" => Ok(Choice::All),
        [number] => number.parse().map(Choice::One).map_err(|_| {
            UsageError(format!("`lessons` takes the number of a lesson, or `all`, not {number:?}"))
        }),
        _ => Err(UsageError("`lessons` takes one number, or `all`".to_owned())),
    }
}

pub(crate) fn run(workspace: &Workspace, choice: &Choice) -> anyhow::Result<()> {
    let path = workspace.root.join("LESSONS.md");
    let text =
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let lessons = lessons(&text);
    match choice {
        Choice::List => lessons.iter().for_each(|Lesson { number, title, .. }| {
            say(format_args!("{number:>3}  {title}"));
        }),
        Choice::All => {
            let alone = |lesson: &&Lesson<'_>| lesson.commands.iter().all(|line| ends(line));
            for lesson in lessons.iter().filter(alone) {
                lesson.run(workspace)?;
            }
        }
        Choice::One(number) => {
            let lesson = lessons.iter().find(|lesson| lesson.number == *number);
            let last = lessons.last().map_or(0, |lesson| lesson.number);
            lesson
                .ok_or_else(|| {
                    UsageError(format!("there is no lesson {number}; the last is {last}"))
                })?
                .run(workspace)?;
        }
    }
    Ok(())
}

impl Lesson<'_> {
    /// Runs what ends by itself, and prints the commands of the rest.
    fn run(&self, workspace: &Workspace) -> anyhow::Result<()> {
        say(format_args!("\nLesson {}. {}", self.number, self.title));
        for command in &self.commands {
            if ends(command) {
                let words: Vec<_> = command.split_whitespace().collect();
                Step::cargo(&words).run(&workspace.root)?;
            } else {
                say(format_args!("it is talked to, so start it yourself: cargo {command}"));
            }
        }
        Ok(())
    }
}

/// Returns whether a command ends by itself: one that is given an address serves there.
fn ends(command: &str) -> bool {
    !command.contains("127.0.0.1")
}

fn lessons(text: &str) -> Vec<Lesson<'_>> {
    let mut lessons: Vec<Lesson<'_>> = Vec::new();
    for line in text.lines() {
        if let Some((number, title)) = heading(line) {
            lessons.push(Lesson { number, title, commands: Vec::new() });
        } else if let (Some(lesson), Some(command)) = (lessons.last_mut(), command(line)) {
            lesson.commands.push(command);
        }
    }
    lessons
}

/// Returns what follows `cargo` in a line of code.
fn command(line: &str) -> Option<&str> {
    line.strip_prefix(CODE)?.trim_start().strip_prefix("cargo ")
}

/// Reads `7. **Waking.** An eventfd …`.
fn heading(line: &str) -> Option<(usize, &str)> {
    let (number, rest) = line.split_once(". **")?;
    Some((number.parse().ok()?, rest.split_once(".**")?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lessons_of_the_repository_are_numbered_and_each_has_a_program() {
        let lessons = lessons(include_str!("../../LESSONS.md"));
        assert!(lessons.len() >= 20);
        for (at, lesson) in (1..).zip(&lessons) {
            assert_eq!(lesson.number, at, "{}", lesson.title);
            assert!(!lesson.commands.is_empty(), "lesson {at} has no program");
        }
    }

    #[test]
    fn a_program_that_serves_at_an_address_is_left_to_the_reader() {
        let text = "1. **A b.** Text\n   cargo here.\n\n       cargo run --example c\n\
            2. **D.** Text\n\n       cargo run --example e -- 127.0.0.1:7\n";
        let [first, second] = &lessons(text)[..] else { panic!("two lessons") };
        assert_eq!((first.title, &first.commands[..]), ("A b", &["run --example c"][..]));
        assert_eq!((second.number, ends(second.commands[0])), (2, false));
    }

    #[test]
    fn a_lesson_is_chosen_by_number() {
        let words =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(parse(&words(&[])), Ok(Choice::List));
        assert_eq!(parse(&words(&["all"])), Ok(Choice::All));
        assert_eq!(parse(&words(&["7"])), Ok(Choice::One(7)));
        assert!(parse(&words(&["seven"])).unwrap_err().0.contains("\"seven\""));
        assert!(parse(&words(&["7", "8"])).is_err());
    }
}

//! What the guides show is so: whole playbooks, which open with `//!`, are checked, and the guide for the first playbook is walked from an empty folder,
//! with every file saved, every command of its `console` blocks run, and what it prints compared.

use crate::harness::Project;
use crate::tree::{File, files_ending_in};

/// A code block: its language, its text, and the line of prose above it.
struct Block<'t> {
    language: &'t str,
    text: String,
    above: &'t str,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut above = "";
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block { language, text: inside.join("\n"), above });
        } else if !line.is_empty() {
            above = line;
        }
    }
    blocks
}

/// What stands between backticks in a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Without what differs from run to run: seconds.
fn comparable(text: &str) -> String {
    let is_seconds = |word: &str| word.contains('.') && word.parse::<f64>().is_ok();
    let line = |line: &str| {
        let words = line.split(' ').map(|word| if is_seconds(word) { "0.0" } else { word });
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    text.trim_end().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_playbook_in_the_guides_passes_the_check() {
    let mut checked = 0;
    // The examples of the reference are run by its own test.
    let guides = files_ending_in(&[".md"]).into_iter().filter(|file| !file.path.contains("docs/reference/"));
    for File { path, text } in guides {
        for block in
            blocks(&text).iter().filter(|block| block.language == "rhai" && block.text.starts_with("//!"))
        {
            let project = Project::empty();
            project.write("playbooks/shown.rhai", &block.text);
            let ran = project.ops(&["check"]);
            assert_eq!(ran.code, 0, "{path}:\n{}\n{}{}", block.text, ran.stdout, ran.stderr);
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} playbooks were found");
}

#[test]
fn the_first_playbook_can_be_walked_from_an_empty_folder() {
    let project = Project::empty();
    let guide = files_ending_in(&["docs/first-playbook.md"]).pop().expect("the guide is there").text;
    let mut written = String::new();
    let mut commands = 0;
    for Block { language, text, above } in blocks(&guide) {
        let names = quoted(above);
        match language {
            "rhai" => {
                written = (*names.last().expect("a block is saved under the name above it")).to_owned();
                project.write(&written, &text);
            }
            "console" => {
                // "Write `this` for `that`:" is done for one block.
                let change = (above.starts_with("Write ") && names.len() == 2).then(|| (names[0], names[1]));
                let before = project.read(&written);
                if let Some((new, old)) = change {
                    assert!(before.contains(old), "{written} has no {old}");
                    project.write(&written, &before.replacen(old, new, 1));
                }
                for shown in text.split("$ ops ").filter(|shown| !shown.is_empty()) {
                    let (command, expected) = shown.split_once('\n').unwrap_or((shown, ""));
                    let arguments: Vec<&str> = command.split_whitespace().collect();
                    let ran = project.ops(&arguments);
                    let printed = format!("{}{}", ran.stderr, ran.stdout);
                    assert_eq!(comparable(&printed), comparable(expected), "ops {command}");
                    commands += 1;
                }
                project.write(&written, &before);
            }
            _ => {}
        }
    }
    assert!(commands >= 5, "only {commands} commands were found");
}

//! What the guides show is so. CONTRIBUTING.md ("How tests are written") says what becomes of a block: playbooks are checked and run, consoles are
//! typed to a shell and compared, and every command of ours is parsed by its own command line.

use std::collections::BTreeSet;

use crate::harness::{Project, Ran};
use crate::tree::{File, files_ending_in};

/// A code block: what stands behind the three signs, its text, and the line of prose above it.
struct Block<'t> {
    language: &'t str,
    text: String,
    above: &'t str,
}

/// The blocks of a page, and its lines of prose.
fn blocks(text: &str) -> (Vec<Block<'_>>, Vec<&str>) {
    let (mut blocks, mut prose) = (Vec::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let above = prose.last().copied().unwrap_or_default();
            blocks.push(Block { language, text: inside.join("\n"), above });
        } else if !line.is_empty() {
            prose.push(line);
        }
    }
    (blocks, prose)
}

/// The pages that people read; the reference has a test of its own, and in the changelog stands what once was.
fn pages() -> Vec<File> {
    let pages = files_ending_in(&[".md"]);
    let read = |file: &File| !file.path.contains("docs/reference/") && file.path != "CHANGELOG.md";
    pages.into_iter().filter(read).collect()
}

fn page(path: &str) -> String {
    pages().into_iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path} is gone")).text
}

/// What stands between backticks in a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The playbook that the line above a block says to save it as.
fn saved_as<'t>(block: &Block<'t>) -> Option<&'t str> {
    let names = if block.language.starts_with("rhai") { quoted(block.above) } else { Vec::new() };
    names.into_iter().rev().find(|name| name.starts_with("playbooks/") && name.ends_with(".rhai"))
}

/// What a command prints, without what differs from run to run: seconds, addresses of the local cloud, and the waiting, which a
/// terminal wipes away.
fn comparable(text: &str) -> String {
    let word = |word: &str, next: Option<&&str>| {
        let is_time = next.is_some_and(|unit| unit.trim_end_matches([',', ')']) == "s");
        match word.trim_start_matches('(').parse::<f64>() {
            Ok(_) if is_time => word.replace(|letter: char| letter.is_ascii_digit() || letter == '.', ""),
            _ => word
                .split(':')
                .map(|part| if part.starts_with("127.") { "127.." } else { part })
                .collect::<Vec<_>>()
                .join(":"),
        }
    };
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let words = words.iter().enumerate().map(|(at, it)| word(it, words.get(at + 1)));
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    text.trim_end().lines().filter(|line| !line.starts_with("  . ")).map(line).collect::<Vec<_>>().join("\n")
}

/// A command as it is typed by somebody who has the programs; a guide for a checkout goes by way of cargo.
fn typed(command: &str) -> String {
    command.replace("cargo run -p app-client --", "app-client").replace("cargo run --", "ops")
}

/// Types the commands of a `console` block and compares what is shown below them. Without that, a command has to succeed, or to be refused
/// where its comment says so.
fn walk(project: &Project, text: &str) -> usize {
    let mut commands = 0;
    for shown in text.split("$ ").filter(|shown| !shown.is_empty()) {
        let (command, expected) = shown.split_once('\n').unwrap_or((shown, ""));
        let Ran { code, stdout, stderr } = project.shell(&typed(command));
        if expected.is_empty() {
            let refused = command.contains("# refused");
            assert_eq!(code, if refused { 4 } else { 0 }, "{command}:\n{stderr}{stdout}");
        } else {
            assert_eq!(
                comparable(&typed(&format!("{stderr}{stdout}"))),
                comparable(&typed(expected)),
                "{command}"
            );
        }
        commands += 1;
    }
    commands
}

#[test]
fn every_block_says_what_becomes_of_it() {
    // What is run, checked or parsed, and what is none of our languages.
    let known = ["console", "sh", "rust", "sql", "toml", "text", "json", ""];
    for File { path, text } in pages() {
        for block in blocks(&text).0 {
            let ours = block.language.split(' ').next() == Some("rhai");
            assert!(ours || known.contains(&block.language), "{path}: ```{}", block.language);
        }
    }
}

#[test]
fn every_playbook_in_the_guides_is_checked_and_run() {
    let mut counted = [0; 3];
    for File { path, text } in pages() {
        for block in blocks(&text).0 {
            let Some(rest) = block.language.strip_prefix("rhai") else { continue };
            let arguments: Vec<&str> = rest.split_whitespace().collect();
            match arguments.as_slice() {
                ["test"] => {
                    let project = Project::copied();
                    project.write("playbooks/tests/shown.rhai", &block.text);
                    let ran = project.ops(&["test", "playbooks/tests/shown.rhai"]);
                    assert_eq!(ran.code, 0, "{path}:\n{}\n{}{}", block.text, ran.stdout, ran.stderr);
                    counted[0] += 1;
                }
                ["fragment"] => {
                    let project = Project::empty();
                    project.write("playbooks/shown.rhai", &block.text);
                    let ran = project.ops(&["check"]);
                    assert_eq!(ran.code, 0, "{path}:\n{}\n{}{}", block.text, ran.stdout, ran.stderr);
                    counted[1] += 1;
                }
                arguments => {
                    assert!(
                        block.text.starts_with("//!"),
                        "{path}: a whole playbook says what it is:\n{}",
                        block.text
                    );
                    let project = Project::empty();
                    project.write("playbooks/shown.rhai", &block.text);
                    project.ops(&["check"]).ended_with(0);
                    project.run_local("shown", &[&["--yes"], arguments].concat()).ended_with(0);
                    counted[2] += 1;
                }
            }
        }
    }
    let [tests, fragments, playbooks] = counted;
    assert!(tests >= 1 && fragments >= 2 && playbooks >= 3, "found {counted:?}");
}

#[test]
fn the_readme_can_be_typed_from_top_to_bottom() {
    let project = Project::copied();
    let mut commands = 0;
    for block in blocks(&page("README.md")).0 {
        if let Some(name) = saved_as(&block) {
            project.write(name, &block.text);
        }
        if block.language == "console" {
            commands += walk(&project, &block.text);
        }
    }
    assert!(commands >= 6, "only {commands} commands were found");
}

#[test]
fn the_first_playbook_can_be_walked_from_an_empty_folder() {
    let project = Project::empty();
    let mut written = "";
    let mut commands = 0;
    let guide = page("docs/first-playbook.md");
    for block in blocks(&guide).0 {
        if let Some(name) = saved_as(&block) {
            project.write(name, &block.text);
            written = name;
        }
        if block.language == "console" {
            // "Write `this` for `that`:" or "Add `this` below `that`" is done for one block, "and keep it" for good.
            let before = project.read(written);
            if let [new, old] = quoted(block.above)[..] {
                let new = match block.above.split(' ').next() {
                    Some("Write") => new.to_owned(),
                    Some("Add") => format!("{old}\n    {new}"),
                    _ => old.to_owned(),
                };
                assert!(before.contains(old) || new == old, "{written} has no {old}");
                project.write(written, &before.replacen(old, &new, 1));
            }
            commands += walk(&project, &block.text);
            if !block.above.ends_with("and keep it:") {
                project.write(written, &before);
            }
        }
    }
    assert!(commands >= 8, "only {commands} commands were found");
}

/// The commands of ours in a page: in `sh` blocks, and between backticks in its prose.
fn commands(text: &str) -> BTreeSet<String> {
    let (blocks, prose) = blocks(text);
    let shells = blocks.iter().filter(|block| block.language == "sh").flat_map(|block| block.text.lines());
    // `eval "$(ops local env)"` has one inside.
    let shells = shells
        .map(|line| line.split_once("$(").map_or(line, |(_, inner)| inner.trim_end_matches([')', '"'])));
    let quoted = prose.iter().flat_map(|line| quoted(line));
    let ours =
        |line: &&str| ["ops ", "app-client ", "app-server "].iter().any(|program| line.starts_with(program));
    let plain = |line: &str| {
        let command = typed(line);
        let end = command.find(" #").into_iter().chain(command.find(" | ")).min();
        command[..end.unwrap_or(command.len())].trim().to_owned()
    };
    let commands = shells.chain(quoted).filter(ours).map(plain);
    // Three dots or two, and alternatives, stand for what the reader knows.
    commands.filter(|command| !command.contains(" ..") && !command.contains('|')).collect()
}

#[test]
fn every_command_in_the_guides_is_one() {
    let mut parsed = 0;
    for File { path, text } in pages() {
        let commands = commands(&text);
        if commands.is_empty() {
            continue;
        }
        let project = Project::copied();
        for block in blocks(&text).0 {
            if let Some(name) = saved_as(&block) {
                project.write(name, &block.text);
            }
        }
        for command in commands {
            // Every flag before it is parsed, and nothing is done.
            let ran = project.shell(&format!("{command} --help"));
            assert_eq!(ran.code, 0, "{path}: {command}\n{}", ran.stderr);
            parsed += 1;
        }
    }
    assert!(parsed >= 60, "only {parsed} commands were found");
}

//! What keeps the source in order: imports point one way, no drawer files, nothing left half done, every file says what it is for.

use std::collections::BTreeMap;

use crate::tree::{File, files, files_ending_in};

/// Names that say nothing: whatever has no home would be put there.
const DRAWERS: [&str; 8] = ["utils", "util", "helpers", "common", "misc", "types", "manager", "prelude"];

#[test]
fn imports_point_one_way() {
    let ranks = ranks();
    let mut wrong = Vec::new();
    for File { path, text } in files_ending_in(&[".rs"]) {
        let Some(inside) = path.strip_prefix("src/") else { continue };
        let Some(room) = inside.split(['/', '.']).next().filter(|room| *room != "lib") else { continue };
        let rank =
            ranks.get(room).unwrap_or_else(|| panic!("`{room}` is not on the map at the top of src/lib.rs"));
        for (line, imported) in imports(&text) {
            if ranks.get(imported.as_str()).is_some_and(|other| other < rank) {
                wrong.push(format!("{path}:{line} imports `{imported}`, which stands left of `{room}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "the map is at the top of src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_is_on_the_map() {
    let ranks = ranks();
    let text = source_of_lib();
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing: Vec<_> = modules.filter(|module| !ranks.contains_key(*module)).collect();
    assert!(missing.is_empty(), "not on the map at the top of src/lib.rs: {}", missing.join(", "));
}

/// The map at the top of `src/lib.rs`: each room with its place in `a -> b, c -> d`, counted from the left, line after line.
fn ranks() -> BTreeMap<String, usize> {
    let text = source_of_lib();
    let map = text.split("```").nth(1).expect("src/lib.rs opens with a map between ``` lines");
    let map = map.strip_prefix("text").unwrap_or(map).replace("//!", " ");
    let groups = map.split("->").enumerate();
    let rooms = groups.flat_map(|(rank, group)| {
        group
            .split([',', '\n'])
            .map(str::trim)
            .filter(|room| !room.is_empty())
            .map(move |room| (room.to_owned(), rank))
    });
    rooms.collect()
}

fn source_of_lib() -> String {
    files_ending_in(&["src/lib.rs"])
        .into_iter()
        .find(|file| file.path == "src/lib.rs")
        .expect("it is there")
        .text
}

/// What stands behind `crate::`, with the number of the line; comments do not import.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for rest in code.split("crate::").skip(1) {
            let names = match rest.strip_prefix('{') {
                Some(group) => {
                    group.split('}').next().unwrap_or_default().split(',').map(str::trim).collect()
                }
                None => vec![rest],
            };
            for name in names {
                let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(name.len());
                found.push((number + 1, name[..end].to_owned()));
            }
        }
    }
    found
}

#[test]
fn a_service_is_named_only_where_it_is_spoken_to() {
    let rules: [(&str, &[&str]); 3] = [
        (
            "aws_sdk_",
            &["src/clients/", "src/primitives/aws/", "src/primitives/local/secrets.rs", "src/lock/lease.rs"],
        ),
        ("local_cloud::", &["src/commands/local.rs"]),
        ("app_server::", &["src/cli.rs"]),
    ];
    let mut wrong = Vec::new();
    for File { path, text } in files_ending_in(&[".rs"]).iter().filter(|file| file.path.starts_with("src/")) {
        for (name, allowed) in rules {
            if text.contains(name) && !allowed.iter().any(|start| path.starts_with(start)) {
                wrong.push(format!("{path} names `{name}`, which belongs to {}", allowed.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_members_know_nothing_of_the_host_or_of_each_other() {
    for member in ["app-server", "app-client", "local-cloud"] {
        let manifest = format!("{member}/Cargo.toml");
        let file = files_ending_in(&[&manifest]).pop().expect("a member has a manifest");
        assert!(!file.text.contains("path = \".."), "{manifest} depends on another member");
    }
}

#[test]
fn no_file_is_a_drawer() {
    let is_drawer = |file: &File| {
        let mut parts = file.path.split('/').map(|part| part.split('.').next().unwrap_or_default());
        parts.any(|part| DRAWERS.contains(&part))
    };
    let drawers: Vec<_> = files_ending_in(&[".rs", ".rhai", ".sql", ".py"])
        .into_iter()
        .filter(is_drawer)
        .map(|file| file.path)
        .collect();
    assert!(drawers.is_empty(), "name them by their subject: {}", drawers.join(", "));
}

#[test]
fn nothing_is_left_half_done() {
    // In two halves, so that this file is none of what it looks for.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["dbg", "!"], ["#[ig", "nore"]]
        .map(|halves| halves.concat());
    let mut found = Vec::new();
    for File { path, text } in files().iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in text.lines().enumerate() {
            found.extend(
                marks
                    .iter()
                    .filter(|mark| has_word(line, mark))
                    .map(|mark| format!("{path}:{}: {mark}", number + 1)),
            );
        }
    }
    assert!(found.is_empty(), "finish it, or open an issue:\n{}", found.join("\n"));
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, found)| {
        let (before, after) = (&line[..start], &line[start + found.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent: Vec<_> = files_ending_in(&[".rs", ".rhai"])
        .into_iter()
        // A room's unit tests, in a file beside it: the room's own file speaks for both.
        .filter(|file| !file.path.ends_with("/tests.rs"))
        .filter(|file| !file.text.starts_with("//! ") && !file.text.starts_with("#!"))
        .map(|file| file.path)
        .collect();
    assert!(silent.is_empty(), "no `//!` at the top: {}", silent.join(", "));
}

//! What the guides say is there: every link leads somewhere, and every host function is in the guide for authors.

use std::collections::BTreeSet;

use crate::tree::{File, files_ending_in, root};

#[test]
fn every_link_leads_to_a_file() {
    let mut dead = Vec::new();
    for File { path, text } in files_ending_in(&[".md"]) {
        let folder = root().join(&path).parent().expect("a file has a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let elsewhere = file.is_empty() || file.contains("://") || file.starts_with("mailto:");
            if !elsewhere && !folder.join(file).exists() {
                dead.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn the_tests_of_the_query_server_that_its_page_names_are_there() {
    let page = files_ending_in(&["docs/query-server.md"]).pop().expect("the page is there").text;
    let sources: String = files_ending_in(&[".rs"])
        .into_iter()
        .filter(|file| file.path.starts_with("app-server/"))
        .map(|file| file.text)
        .collect();
    // A test's name is a sentence.
    let is_test = |code: &&str| {
        code.matches('_').count() > 2
            && code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<_> =
        named.into_iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_guide_for_authors_names_every_host_function() {
    let guide = files_ending_in(&["docs/writing-playbooks.md"]).pop().expect("the guide is there").text;
    let in_code: BTreeSet<&str> = guide.split('`').skip(1).step_by(2).collect();
    let is_named = |name: &str| in_code.iter().any(|code| words(code).any(|word| word == name));
    let missing: Vec<_> = host_functions().into_iter().filter(|name| !is_named(name)).collect();
    assert!(missing.is_empty(), "not in docs/writing-playbooks.md: {}", missing.join(", "));
}

#[test]
fn the_guides_name_no_function_that_is_not_there() {
    let there = host_functions();
    let mut invented = Vec::new();
    for File { path, text } in files_ending_in(&[".md"]) {
        for namespace in [
            "ec2", "rds", "sns", "sqs", "postgres", "secrets", "ssh", "state", "time", "text", "config",
            "file", "template", "env", "git", "github", "http", "process", "cloud",
        ] {
            for rest in text.split(&format!("{namespace}::")).skip(1) {
                let name = words(rest).next().unwrap_or_default();
                if rest.starts_with(name) && !name.is_empty() && !there.contains(name) {
                    invented.push(format!("{path}: {namespace}::{name}"));
                }
            }
        }
    }
    assert!(invented.is_empty(), "{}", invented.join("\n"));
}

/// The names in the `Function` declarations of the primitives.
fn host_functions() -> BTreeSet<String> {
    let sources =
        files_ending_in(&[".rs"]).into_iter().filter(|file| file.path.starts_with("src/primitives/"));
    let mut names = BTreeSet::new();
    for File { text, .. } in sources {
        let declared =
            text.split(": Function = Function {").skip(1).filter_map(|rest| rest.split('"').nth(1));
        names.extend(declared.map(str::to_owned));
    }
    assert!(names.len() > 20, "only {} host functions were found: {names:?}", names.len());
    names
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

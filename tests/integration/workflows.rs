//! The workflows of CI: what they run, and that nobody can change it under them.

use std::path::Path;

use crate::tree::files_ending_in;

fn workflow(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows").join(name);
    std::fs::read_to_string(path).expect("a workflow")
}

#[test]
fn every_action_of_the_workflows_is_pinned_to_a_full_version_or_a_commit() {
    let workflows = files_ending_in(&[".yml"]);
    let lines = workflows
        .iter()
        .filter(|file| file.path.starts_with(".github/workflows/"))
        .flat_map(|file| file.text.lines().map(move |line| (&file.path, line)));
    let mut actions = 0;
    for (path, line) in lines {
        let Some(action) = line.trim_start().trim_start_matches("- ").strip_prefix("uses: ") else {
            continue;
        };
        // A workflow of the same commit.
        if action.starts_with("./") {
            continue;
        }
        actions += 1;
        let pin =
            action.split_whitespace().next().and_then(|word| word.split_once('@')).map_or("", |(_, pin)| pin);
        let commit = pin.len() == 40 && pin.chars().all(|c| c.is_ascii_hexdigit());
        let version = pin.strip_prefix('v').is_some_and(|version| {
            version.split('.').filter(|part| part.parse::<u32>().is_ok()).count() == 3
        });
        assert!(commit || version, "{path}: {action} may become another one overnight");
    }
    assert!(actions > 0, "no workflow uses an action");
}

#[test]
fn a_release_is_rolled_out_by_the_workflow_that_makes_it() {
    let (release, deploy) = (workflow("release.yml"), workflow("deploy.yml"));
    // GitHub starts no workflow for what `github.token` has done, so an event of the release is no trigger.
    assert!(release.contains("gh release create") && release.contains("github.token"), "{release}");
    assert!(release.contains("uses: ./.github/workflows/deploy.yml"), "{release}");
    assert!(deploy.contains("\n  workflow_call:\n") && !deploy.contains("\n  release:\n"), "{deploy}");
    // What the called workflow may do is at most what the caller gives it.
    assert!(release.split("uses: ./").next().is_some_and(|before| before.contains("id-token: write")));
}

#[test]
fn ci_runs_the_tests_as_root_without_whom_some_are_skipped() {
    let ci = workflow("ci.yml");
    let line = ci.lines().find(|line| line.contains(".ci/run")).expect("CI runs .ci/run");
    assert!(line.contains("sudo "), "{line}");
}

//! The main job, from nothing to nothing: deploy, ask, clean up with the data kept, deploy again, clean up for good.

use serde_json::Value;

use crate::harness::Project;

const FIRST_FIVE: &str = "select title, duration_s from content order by title limit 5";

#[test]
fn a_deployment_answers_queries_keeps_its_rows_and_goes_only_with_consent() {
    let project = Project::new();
    project.watch_the_local_cloud();

    // The first run makes everything.
    let ran = project.run_local("playbooks/deploy.rhai", &["--yes"]).ended_with(0).says("Try next");
    assert!(ran.stdout.contains("address"), "{}", ran.stdout);
    let rows = project.query("free@example.com", FIRST_FIVE).ended_with(0).stdout;
    assert_eq!(rows.lines().count(), 5, "{rows}");

    // The second run makes nothing, as the cloud itself counts.
    let before = project.changes_on_the_wire();
    project.run_local("deploy", &["--yes"]).ended_with(0).says("0 changes");
    assert_eq!(project.changes_on_the_wire(), before);

    // Tiers hold.
    let insert = "insert into content (title, duration_s, content_type) values ('Night Train', 180, 'song')";
    project.query("free@example.com", insert).ended_with(1).says("42501");
    project.query("premium@example.com", insert).ended_with(0);

    // Secrets are nowhere but in the password file and the cloud.
    the_state_is_complete_and_holds_no_secret(&project);

    // Without consent nothing goes, and it is said what would.
    let before = project.changes_on_the_wire();
    let refused = project.run_local("cleanup.rhai", &[]).ended_with(4);
    for thing in ["music-app-server", "music-app-db", "music-app-log", "music-app-alerts", "music-app-key"] {
        assert!(refused.stderr.contains(thing), "{thing}:\n{}", refused.stderr);
    }
    project
        .run_local("cleanup", &["--yes"])
        .ended_with(4)
        .says("--keep-db")
        .says("--delete-protected music-app");
    project
        .run_local("cleanup", &["--yes", "--delete-protected", "other"])
        .ended_with(4)
        .says("does not name this stack");
    assert_eq!(project.changes_on_the_wire(), before);

    // With the database kept, its rows are there after the next deployment.
    project.run_local("cleanup", &["--keep-db", "--yes"]).ended_with(0);
    let instances = project.local("/_local/status")["instances"].clone();
    assert!(
        instances.as_array().expect("a list").iter().all(|instance| instance["state"] == "terminated"),
        "{instances}"
    );
    project.run_local("deploy", &["--yes"]).ended_with(0);
    let found = "select count(*) from content where title = 'Night Train'";
    assert_eq!(project.query("free@example.com", found).ended_with(0).stdout, "1\n");

    // For good: everything goes but the final snapshot.
    project
        .run_local("cleanup", &["--delete-protected", "music-app", "--yes"])
        .ended_with(0)
        .says("snapshot music-app-db-final-");
    project.write(
        "playbooks-of-test/left.rhai",
        "//! Lists what is left.\nstack(\"music-app\");\nprint(owned().keys);\n",
    );
    assert_eq!(project.run_local("playbooks-of-test/left.rhai", &[]).ended_with(0).stdout, "[]\n");
    assert!(!project.path("deploy_config.local.json").exists());
    assert!(!project.path(".ops/local/pgpass-music-app").exists());
    let status = project.local("/_local/status");
    assert_eq!(status["databases"].as_array().map(Vec::len), Some(0), "{status}");
    // They are looked for when the project goes: passwords of the database and of its users, keys of the server and of the session.
    assert!(project.watch().count() > 8, "only {} secrets came up", project.watch().count());
}

fn the_state_is_complete_and_holds_no_secret(project: &Project) {
    use std::os::unix::fs::PermissionsExt;
    let state = project.state();
    for key in [
        "stack",
        "account",
        "region",
        "server_public_ip",
        "server_private_ip",
        "server_port",
        "server_name",
        "server_ca",
        "passfile",
        "rds_endpoint",
        "db_username",
        "db_name",
        "key_pair_name",
    ] {
        assert!(!state[key].is_null(), "{key} is missing: {state}");
    }
    assert_eq!(state["nlb_enabled"], Value::Bool(false));
    let mode = |name: &str| {
        std::fs::metadata(project.path(name)).expect("the file is there").permissions().mode() & 0o777
    };
    let passfile = state["passfile"].as_str().expect("a path");
    assert_eq!((mode("deploy_config.local.json"), mode(passfile)), (0o600, 0o600));

    // Every secret that the cloud holds, looked for in what the run left on the disk.
    let secrets: Value = serde_json::from_str(&project.read(".ops/local/state.json")).expect("JSON");
    let values = secret_values(&secrets);
    assert!(values.len() > 8, "the cloud's secrets were not found in its state: {}", values.len());
    let mut texts = vec![project.read("deploy_config.local.json")];
    for entry in std::fs::read_dir(project.path(".ops/journal")).expect("the journal's folder") {
        texts.push(std::fs::read_to_string(entry.expect("an entry").path()).expect("text"));
    }
    for entry in std::fs::read_dir(project.path(".ops/local/instances")).expect("the instances' folder") {
        texts.push(
            std::fs::read_to_string(entry.expect("an entry").path().join("console.log")).expect("text"),
        );
    }
    texts.push(project.read(".ops/local/supervisor.log"));
    for value in values {
        // The authority's certificate is public, and `music-demo` is no secret.
        if value.contains("BEGIN CERTIFICATE") || value == "music-demo" || value.starts_with("postgres://") {
            continue;
        }
        assert!(
            !texts.iter().any(|text| text.contains(&value)),
            "a secret of {} characters was found in the clear",
            value.len()
        );
    }
}

/// The values of the parameters of type SecureString, wherever they lie in the cloud's state.
fn secret_values(state: &Value) -> Vec<String> {
    match state {
        Value::Object(map) => {
            let secure = map.values().any(|value| value == "SecureString");
            let own = map.get("value").and_then(Value::as_str).filter(|_| secure).map(str::to_owned);
            own.into_iter().chain(map.values().flat_map(secret_values)).collect()
        }
        Value::Array(list) => list.iter().flat_map(secret_values).collect(),
        _ => Vec::new(),
    }
}

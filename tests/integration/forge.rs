//! Git and GitHub: what is committed and what never is, and secrets that only GitHub can open.

mod github;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Project, Ran, finish};
use github::{Answer, StandIn};

const TOKEN: &str = "token-of-a-test-0123456789";

/// A project that is a clone of a bare repository beside it.
struct Clone {
    project: Project,
    remote: tempfile::TempDir,
}

impl Clone {
    fn new() -> Self {
        let clone =
            Clone { project: Project::new(), remote: tempfile::tempdir().expect("a temporary folder") };
        let remote = clone.remote.path().display().to_string();
        clone.git(&["init", "--quiet", "--bare", "--initial-branch=main", &remote]);
        clone.git(&["init", "--quiet", "--initial-branch=main"]);
        clone.git(&["remote", "add", "origin", &remote]);
        clone.git(&["config", "user.name", "A Test"]);
        clone.git(&["config", "user.email", "test@example.com"]);
        clone.git(&["config", "push.autoSetupRemote", "true"]);
        clone.project.write("README.md", "a project\n");
        clone.git(&["add", "README.md"]);
        clone.git(&["commit", "--quiet", "-m", "first"]);
        clone.git(&["push", "--quiet"]);
        clone
    }

    fn git(&self, arguments: &[&str]) -> String {
        let folder = self.project.path("");
        let output = Command::new("git")
            .args(arguments)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git is installed: apt-get install git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The subjects and files of the remote's last commit.
    fn last_pushed(&self) -> String {
        let remote = self.remote.path().display().to_string();
        self.git(&["--git-dir", &remote, "log", "-1", "--format=%s", "--name-only", "main"])
    }

    fn run(&self, script: &str) -> Ran {
        self.project.write("it.rhai", script);
        self.project.ops(&["run", "it.rhai"])
    }
}

#[test]
fn only_the_named_files_are_committed_and_pushed() {
    let clone = Clone::new();
    clone.project.write("a.toml", "a = 1\n");
    clone.project.write("folder/b c.toml", "b = 1\n");
    clone.project.write("dirty.txt", "mine\n");
    clone.project.write("staged.txt", "mine too\n");
    clone.git(&["add", "staged.txt"]);
    let script = r#"
        print(git::commit(["a.toml", "folder/b c.toml"], "Two files"));
        print(git::commit(["a.toml", "folder/b c.toml"], "Again"));
        git::push();
        let left = git::status().map(|it| `${it.state} ${it.path}`);
        left.sort();
        print(left.filter(|it| it.contains(".txt")));"#;
    let ran = clone.run(script).ended_with(0);
    assert_eq!(ran.stdout, "true\nfalse\n[\"?? dirty.txt\", \"A  staged.txt\"]\n");
    assert_eq!(clone.last_pushed(), "Two files\n\na.toml\nfolder/b c.toml\n");
}

#[test]
fn a_push_that_is_rejected_says_what_to_do() {
    let clone = Clone::new();
    let other = tempfile::tempdir().expect("a temporary folder");
    let (remote, place) = (clone.remote.path().display().to_string(), other.path().display().to_string());
    clone.git(&["clone", "--quiet", &remote, &place]);
    let theirs = ["-C", &place, "-c", "user.name=B", "-c", "user.email=b@example.com"];
    clone.git(&[&theirs[..], &["commit", "--quiet", "--allow-empty", "-m", "theirs"]].concat());
    clone.git(&["-C", &place, "push", "--quiet"]);
    clone.project.write("a.toml", "a = 1\n");
    clone.run("git::commit([\"a.toml\"], \"Mine\"); git::push();").ended_with(1).says("git pull --rebase");
}

#[test]
fn what_is_or_holds_a_secret_is_refused_with_its_line_and_nothing_is_staged() {
    let clone = Clone::new();
    clone.project.write(".env", "A=1\n");
    clone.project.write("server.pem", "x\n");
    clone.project.write("deploy_config.json", "{}\n");
    clone.project.write("fine.toml", "a = 1\n");
    clone.project.write("notes.toml", &format!("a = 1\nkey = \"AKIA{}\"\n", "Q".repeat(16)));
    let refused = [
        (".env", ".env is not committed"),
        ("server.pem", "server.pem is not committed"),
        ("deploy_config.json", "is the state of a deployment"),
        ("notes.toml", "notes.toml:2 is not committed: the line looks like an AWS access key"),
    ];
    for (file, expected) in refused {
        clone.run(&format!("git::commit([\"fine.toml\", \"{file}\"], \"x\");")).ended_with(4).says(expected);
    }
    assert_eq!(clone.git(&["diff", "--cached", "--name-only"]), "");
    clone.run("git::commit([\"none.toml\"], \"x\");").ended_with(0);
}

#[test]
fn the_configuration_is_committed_and_pushed_alone() {
    let clone = Clone::new();
    clone.project.write(
        "deploy_config.local.json",
        r#"{ "schema_version": 1, "stack": "music-app", "account": "000000000000", "region": "us-east-1",
             "server_public_ip": "203.0.113.7", "server_port": 8080, "server_name": "music-app.ops.internal",
             "server_ca": "pem", "rds_endpoint": "db.example.com", "rds_port": 5432, "db_name": "music", "nlb_enabled": false }"#,
    );
    clone.project.write("dirty.txt", "mine\n");
    let untouched = clone.git(&["rev-parse", "HEAD"]);
    let plan = clone.project.run_local("update_config", &["--push", "--dry-run"]).ended_with(0);
    let (commit, push) = (plan.stderr.find("> commit"), plan.stderr.find("> push"));
    assert!(commit.is_some() && commit < push, "{}", plan.stderr);
    assert_eq!(clone.git(&["rev-parse", "HEAD"]), untouched);
    clone.project.run_local("update_config", &["--push"]).ended_with(0);
    let pushed = "Point the configuration at 203.0.113.7\n\napp-client.toml\napp-server.env\nmusic-app-authority.crt\n";
    assert_eq!(clone.last_pushed(), pushed);
    clone.project.run_local("update_config", &["--push"]).ended_with(0);
    assert_eq!(clone.last_pushed(), pushed);

    // What a run has committed and not pushed is pushed by the next one.
    clone.git(&["commit", "--quiet", "--allow-empty", "--message", "left behind"]);
    clone.project.run_local("update_config", &["--push"]).ended_with(0);
    assert_eq!(clone.last_pushed(), "left behind\n");
}

/// A clone with the state of a deployment, a key, and a token for the stand-in.
fn deployed() -> (Clone, String) {
    let clone = Clone::new();
    clone.project.write(
        "deploy_config.local.json",
        r#"{ "schema_version": 1, "stack": "music-app", "account": "000000000000", "region": "us-east-1",
             "server_public_ip": "203.0.113.7", "key_pair_name": "music-app-key", "server_id": "i-1" }"#,
    );
    let key = format!("-----BEGIN KEY-----\n{}\n-----END KEY-----\n", "k3y".repeat(20));
    clone.project.write(".ops/keys/000000000000-us-east-1-music-app-key", &key);
    chmod(&clone.project.path(".ops/keys/000000000000-us-east-1-music-app-key"));
    clone.project.write(".ops/host_keys/i-1", "ssh-ed25519 AAAA host\n");
    clone.project.write(".env", &format!("GITHUB_TOKEN={TOKEN}\nSECRET_NAME=old\n"));
    clone.git(&["remote", "set-url", "origin", "git@github.com:octo/music-app.git"]);
    (clone, key)
}

fn chmod(path: &PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its own mode");
}

fn sync(clone: &Clone, github: &StandIn, arguments: &[&str]) -> Ran {
    let mut command = clone.project.command(&[&["run", "sync_secrets", "--local"], arguments].concat());
    command
        .env("GITHUB_API_URL", github.url())
        .env_remove("GITHUB_TOKEN")
        .env_remove("REPO")
        .env_remove("PEM_PATH");
    finish(command)
}

#[test]
fn secrets_arrive_sealed_and_only_what_differs_is_set_again() {
    let (clone, key) = deployed();
    let github = StandIn::start("octo/music-app", TOKEN);

    // What would be done is said, and nothing is.
    let planned = sync(&clone, &github, &["--dry-run"]).ended_with(0);
    for name in ["EC2_HOST", "EC2_SSH_KEY", "EC2_HOST_KEY"] {
        let line = format!("set the secret {name} of octo/music-app: it would be created");
        assert!(planned.stderr.contains(&line), "{line}:\n{}", planned.stderr);
    }
    assert!(github.secrets().is_empty());

    let first = sync(&clone, &github, &[]).ended_with(0).says("SECRET_NAME is set, and not used.");
    let expected =
        [("EC2_HOST", "203.0.113.7"), ("EC2_HOST_KEY", "ssh-ed25519 AAAA host\n"), ("EC2_SSH_KEY", &*key)];
    let held: Vec<_> = github.secrets();
    let held: Vec<_> = held.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(held, expected);
    assert_eq!(first.stderr.matches("  created").count(), 3, "{}", first.stderr);

    let second = sync(&clone, &github, &[]).ended_with(0);
    assert_eq!(second.stderr.matches("  unchanged").count(), 3, "{}", second.stderr);
    assert_eq!(github.puts(), 3);

    // Another value, and one that somebody else has set on GitHub.
    clone.project.write(".ops/host_keys/i-1", "ssh-ed25519 BBBB host\n");
    github.touch("EC2_HOST");
    let third = sync(&clone, &github, &[]).ended_with(0);
    assert_eq!(third.stderr.matches("  updated").count(), 2, "{}", third.stderr);
    assert_eq!(github.puts(), 5);

    // Neither the token nor the key is anywhere but where it belongs.
    let canaries = [TOKEN.to_owned(), "k3y".repeat(20)];
    for canary in &canaries {
        for ran in [&planned, &first, &second, &third] {
            assert!(!ran.stdout.contains(canary) && !ran.stderr.contains(canary));
        }
        for file in files_below(&clone.project.path(".ops")) {
            let belongs = file.to_string_lossy().contains("/keys/");
            let text = std::fs::read(&file).unwrap_or_default();
            assert!(belongs || !String::from_utf8_lossy(&text).contains(canary), "{}", file.display());
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![folder.to_owned()] };
    entries.flat_map(|entry| files_below(&entry.expect("an entry").path())).collect()
}

#[test]
fn one_secret_that_fails_is_named_and_the_others_are_set() {
    let (clone, _) = deployed();
    let github = StandIn::start("octo/music-app", TOKEN);
    github.answer_put("EC2_HOST_KEY", Answer::new(403, "Resource not accessible by personal access token"));
    let ran = sync(&clone, &github, &[]).ended_with(1);
    assert!(ran.stderr.contains("EC2_HOST_KEY  failed: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("[\"EC2_HOST_KEY\"] of octo/music-app could not be set"), "{}", ran.stderr);
    let set: Vec<String> = github.secrets().into_iter().map(|(name, _)| name).collect();
    assert_eq!(set, ["EC2_HOST", "EC2_SSH_KEY"]);
}

#[test]
fn what_github_refuses_is_explained() {
    let (clone, _) = deployed();
    let script = r#"
        let repository = github::repository("octo/music-app", #{ token: env::load(".env").secret("GITHUB_TOKEN") });
        try { repository.ensure_secret("A", "b"); } catch (e) { print(`${e.kind} ${e.code}`); throw e; }"#;
    clone.project.write("it.rhai", script);
    let sso = "required; url=https://github.com/orgs/octo/sso?authorization_request=A";
    let cases = [
        (
            Answer::new(401, "Bad credentials"),
            "denied 401",
            "make a new one with the permission `Secrets: read and write`",
        ),
        (
            Answer::new(403, "SSO").header("x-github-sso", sso),
            "denied 403",
            "allow the token for the organisation at https://github.com/orgs/octo/sso",
        ),
        (
            Answer::new(403, "API rate limit exceeded")
                .header("x-ratelimit-remaining", "0")
                .header("x-ratelimit-reset", "1900000000"),
            "throttled 403",
            "at 2030-03-17T17:46:40Z",
        ),
        (Answer::new(429, "secondary rate limit").header("retry-after", "7"), "throttled 429", "in 7 s"),
        (Answer::new(404, "Not Found"), "not_found 404", "or the token may not see it"),
        (Answer::new(301, "Moved Permanently"), "not_found 301", "was renamed or has moved"),
        (Answer::new(502, "Bad Gateway"), "unavailable 502", "Bad Gateway"),
    ];
    for (answer, kind, help) in cases {
        let github = StandIn::start("octo/music-app", TOKEN);
        github.answer_all(answer);
        let mut command = clone.project.command(&["run", "it.rhai"]);
        command.env("GITHUB_API_URL", github.url()).env_remove("GITHUB_TOKEN");
        let ran = finish(command).ended_with(1);
        assert_eq!(ran.stdout.trim(), kind);
        assert!(ran.stderr.contains(help), "{help}:\n{}", ran.stderr);
        assert!(!ran.stderr.contains(TOKEN), "{}", ran.stderr);
    }
}

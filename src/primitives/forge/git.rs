//! `git::` the project's repository, through the git that its user has: with their settings, keys and hooks.
//!
//! Only named files are committed, and none that is, or holds, a secret.

mod exposure;
mod origin;

use std::sync::Arc;

pub use origin::Origin;
use rhai::{Array, Dynamic, Map};

use crate::clients::process::{self, Command};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::{Function, describe};
use crate::primitives::local::file::{full_path, read_text};
use crate::primitives::namespace::{Call, Namespace};

const ORIGIN: Function = Function {
    name: "origin",
    doc: "Where the repository was cloned from: `#{ host, owner, repository }`, from the https and the ssh form of its URL. Throws `not_found` \
          where there is no remote of that name.",
    parameters: &[],
    returns: "map",
    permissions: &[],
    example: r#"let from = attempt(|| git::origin());"#,
    keys: &[],
};

const STATUS: Function = Function {
    name: "status",
    doc: "The files that differ from the last commit, each as `#{ path, state }`; the state is git's: ` M`, `??` .. (git-status(1), \
          \"Short Format\").",
    parameters: &[],
    returns: "list",
    permissions: &[],
    example: r#"let dirty = attempt(|| git::status());"#,
    keys: &[],
};

const COMMIT: Function = Function {
    name: "commit",
    doc: "Commits the named files as they are, and no other, also where others are staged. `false` where they are as in the last commit. \
          Throws `refused`, before anything is staged, for a file that is a secret or has one in it, and says in which line.",
    parameters: &["paths: list", "message: string"],
    returns: "bool",
    permissions: &[],
    example: r#"let done = attempt(|| git::commit(["app.toml"], "Point the client at the new server"));"#,
    keys: &[],
};

const PUSH: Function = Function {
    name: "push",
    doc: "Sends the current branch to where it is pushed to as a rule. Never forces anything.",
    parameters: &[],
    returns: "()",
    permissions: &[],
    example: r#"let done = attempt(|| git::push());"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("git", host);
    namespace
        .function0(&ORIGIN, |call| origin(call).map(Origin::map))
        .function0(&STATUS, status)
        .function2(&COMMIT, commit)
        .function0(&PUSH, push);
    namespace
}

/// Runs git in the project's root; it never asks anybody for a password.
fn git(host: &Host, arguments: &[&str]) -> Result<String, Error> {
    let command = Command::new("git")
        .arguments(["--literal-pathspecs", "-c", "core.quotePath=false"])
        .arguments(arguments)
        .folder(&host.project.root)
        .variable("GIT_TERMINAL_PROMPT", "0")
        .variable("LC_ALL", "C.UTF-8");
    let ran = host.block_without_account(process::run(&command))?;
    if ran.code == Some(0) {
        return Ok(ran.stdout);
    }
    let operation = arguments.first().copied().unwrap_or_default();
    let said = if ran.stderr.trim().is_empty() { &ran.stdout } else { &ran.stderr };
    let failed = Error::new(Kind::Conflict, origin::without_password(said.trim())).of("git", operation);
    Err(match operation {
        "push" if ran.stderr.contains("rejected") => {
            failed.help("somebody else has pushed: `git pull --rebase`, then run the same command again")
        }
        "push" => failed.help("see whether `git push` works by hand: the playbook pushes in the same way"),
        _ => failed,
    })
}

pub fn origin(host: &Host) -> Result<Origin, Error> {
    let found = git(host, &["remote", "get-url", "origin"]).map_err(|error| {
        Error::new(Kind::NotFound, format!("the repository has no remote `origin`: {}", error.message))
            .help("add it: `git remote add origin git@github.com:OWNER/REPOSITORY.git`")
    })?;
    Origin::parse(found.trim())
}

fn status(call: &Call) -> Result<Array, Error> {
    let listed = git(call, &["status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames"])?;
    let entry = |entry: &str| {
        let (state, path) = entry.split_at_checked(3)?;
        let mut map = Map::new();
        map.insert("state".into(), state[..2].into());
        map.insert("path".into(), path.into());
        Some(Dynamic::from(map))
    };
    Ok(listed.split('\0').filter_map(entry).collect())
}

fn commit(call: &Call, paths: Array, message: String) -> Result<bool, Error> {
    let mut named = Vec::new();
    for path in paths {
        let found = describe(&path);
        named.push(path.into_string().map_err(|_| {
            Error::invalid(format!("git::commit takes a list of paths, and got {found} in it"))
        })?);
    }
    if named.is_empty() || message.trim().is_empty() {
        return Err(Error::invalid("a commit needs the names of its files and a message")
            .help("name them: git::commit([\"app-client.toml\"], \"Point the client at the new server\")"));
    }
    for path in &named {
        exposure::by_name(path)?;
        match read_text(&full_path(call, path)) {
            Ok(text) => exposure::by_content(path, &text)?,
            // A file that was deleted, and one that is no text.
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::Invalid) => {}
            Err(error) => return Err(error),
        }
    }
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let of_them = |arguments: &[&str]| git(call, &[arguments, &["--"], &named].concat());
    let is_same = of_them(&["status", "--porcelain=v1", "--untracked-files=all"])?.is_empty();
    if is_same && !named.iter().any(|path| call.is_planned(&format!("write {path}"))) {
        return Ok(false);
    }
    let committed = call.effect(&format!("commit {}", named.join(", ")));
    if call.dry_run {
        // Known without doing it.
        return Ok(true);
    }
    committed?;
    of_them(&["add", "--intent-to-add"])?;
    of_them(&["commit", "--quiet", "--only", "--message", &message])?;
    Ok(true)
}

fn push(call: &Call) -> Result<(), Error> {
    call.effect("push the current branch")?;
    git(call, &["push", "--quiet"]).map(drop)
}

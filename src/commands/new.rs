//! `ops new`: a playbook that runs at once, or a folder to keep playbooks in.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::commands::project;
use crate::error::{Error, say};

#[derive(Debug, Args)]
pub struct NewArgs {
    /// Name of the playbook: a verb, such as `resize`
    #[arg(required_unless_present = "project")]
    name: Option<String>,
    /// Begin a project in this folder
    #[arg(long, value_name = "FOLDER")]
    project: Option<PathBuf>,
}

pub fn new(arguments: &NewArgs) -> Result<(), Error> {
    let root = match &arguments.project {
        Some(folder) => {
            begin(folder)?;
            folder.clone()
        }
        None => project::find()?.0,
    };
    if let Some(name) = arguments.name.as_deref().or(arguments.project.is_some().then_some("hello")) {
        playbook(&root, name)?;
    }
    Ok(())
}

fn begin(folder: &Path) -> Result<(), Error> {
    create(
        &folder.join("ops.toml"),
        "# Defaults of this project; what a command line says comes first.\n\n[aws]\n# region = \"us-east-1\"\n\n[params]\n# stack = \"my-app\"\n",
    )?;
    create(
        &folder.join(".gitignore"),
        "# What runs leave behind: state, journal, keys, the local cloud.\n/.ops/\n/deploy_config*.json\n.env\n",
    )
}

fn playbook(root: &Path, name: &str) -> Result<(), Error> {
    let usable = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    if !usable {
        return Err(Error::usage(format!("`{name}` cannot be the name of a playbook"))
            .help("use a verb of lower-case letters, digits, `-` and `_`: `resize`"));
    }
    let folder = root.join("playbooks");
    create(&folder.join(format!("{name}.rhai")), &text(name))?;
    create(&folder.join("tests").join(format!("{name}.rhai")), &test(name))?;
    say(&format!("try it: ops run {name} --local --yes"));
    say("test it: ops test");
    Ok(())
}

fn test(name: &str) -> String {
    format!(
        r#"//! Tests of {name}.rhai. `ops test` runs each against a local cloud of its own.

fn test_a_second_run_changes_nothing() {{
    let first = cloud::run("{name}");
    assert(first.changes > 0, "the first run makes something");
    assert_eq(cloud::run("{name}").changes, 0);
}}
"#
    )
}

fn text(name: &str) -> String {
    format!(
        r#"//! What `{name}` does, in one sentence.
//!
//! What it leaves behind, and what a second run of it changes: nothing.

let stack_name = option("stack", "{stack}", "Name of this deployment");

stack(stack_name);

let alerts = step("Alerts", || {{
    let topic = sns::ensure_topic("alerts");
    sqs::ensure_queue("log", #{{ retention_s: 14 * 24 * 3600, subscribe_to: topic }});
    topic
}});

output(#{{ topic: alerts.arn }});
"#,
        stack = "my-app"
    )
}

/// Writes a file that is not there yet.
fn create(path: &Path, text: &str) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::io(format_args!("make the folder {}", folder.display()), &source))?;
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => Error::refused(format!("{} is there already", path.display()))
            .help("choose another name: nothing is overwritten"),
        _ => Error::io(format_args!("write {}", path.display()), &source),
    })?;
    file.write_all(text.as_bytes())
        .map_err(|source| Error::io(format_args!("write {}", path.display()), &source))?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

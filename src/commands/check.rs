//! `ops check`: all problems of all playbooks at once, drawn or as JSON. Needs no account and no network.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::check::{self, Finding};
use crate::commands::{project, run};
use crate::error::{Error, say};
use crate::playbook::Playbook;
use crate::progress::{LogStyle, Progress, result};
use crate::reference::Reference;
use crate::report::Reporter;
use crate::sources::Sources;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Playbooks by name or path, or folders [default: all of the project]
    #[arg(value_name = "PLAYBOOK")]
    paths: Vec<String>,
    /// Print the findings as JSON, one on a line
    #[arg(long)]
    json: bool,
}

/// The exit code is 2 where there is a finding.
pub fn check(arguments: &CheckArgs) -> Result<ExitCode, Error> {
    let playbooks = playbooks(&arguments.paths)?;
    let reference = Reference::gather()?;
    let sources = Sources::default();
    let flags = run::host_flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let reporter = Reporter {
        sources: &sources,
        functions: &reference.signatures,
        types: &reference.types,
        describe: &|_| None,
        colour: Progress::new(LogStyle::Plain).colour(),
    };
    let mut count = 0_usize;
    for playbook in &playbooks {
        for finding in check::check(playbook, &reference, &flags, &sources) {
            count += 1;
            let Finding { rule, position, problem } = &finding;
            if arguments.json {
                result(&line(playbook.source(), &finding).to_string());
            } else {
                say(&format!("{}\n", reporter.finding(rule, playbook.source(), *position, problem)));
            }
        }
    }
    if !arguments.json {
        say(&format!("{}, {}", counted(playbooks.len(), "file"), counted(count, "problem")));
    }
    Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::from(run::USAGE) })
}

fn playbooks(paths: &[String]) -> Result<Vec<Playbook>, Error> {
    let (root, current) = project::find()?;
    let wrong = |error: crate::playbook::Error| Error::usage(error.to_string());
    let folder = root.join("playbooks");
    if paths.is_empty() {
        return if folder.is_dir() {
            Playbook::all(&folder, &root, &current).map_err(wrong)
        } else {
            Err(Error::usage(format!("there is no folder {}", folder.display()))
                .help("name the playbooks to check, or begin with `ops new NAME`"))
        };
    }
    let mut playbooks = Vec::new();
    for path in paths {
        let folder: PathBuf = current.join(path);
        if folder.is_dir() {
            playbooks.extend(Playbook::all(&folder, &root, &current).map_err(wrong)?);
        } else {
            playbooks.push(Playbook::find(&root, &current, path).map_err(wrong)?);
        }
    }
    Ok(playbooks)
}

fn line(file: &str, finding: &Finding) -> serde_json::Value {
    json!({
        "file": file,
        "line": finding.position.line(),
        "column": finding.position.position(),
        "rule": finding.rule,
        "message": finding.problem.title,
        "notes": finding.problem.notes,
        "help": finding.problem.help,
    })
}

fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

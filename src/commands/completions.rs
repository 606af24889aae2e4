//! `ops completions`: what the shell offers at the Tab key. The script that it prints asks `ops` itself at each key, so that new
//! playbooks, their parameters and the stacks of the project are known at once.

use std::collections::BTreeSet;
use std::path::Path;

use clap::builder::StyledStr;
use clap::{Arg, Args, Command, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use crate::commands::project;
use crate::commands::run::{HostFlags, host_flags};
use crate::error::Error;
use crate::parameters::Declarations;
use crate::playbook::Playbook;

/// The variable in which the shell's script says that it is asking.
const ASKED: &str = "OPS_COMPLETE";

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Print what this shell has to load
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    /// In ~/.bashrc: source <(ops completions bash)
    Bash,
    /// In ~/.zshrc, after compinit: source <(ops completions zsh)
    Zsh,
    /// In ~/.config/fish/config.fish: ops completions fish | source
    Fish,
}

/// Prints the script of the shell. Kind `internal` if it cannot be written.
pub fn completions(arguments: &CompletionsArgs) -> Result<(), Error> {
    let shell: &dyn EnvCompleter = match arguments.shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell
        .write_registration(ASKED, "ops", "ops", "ops", &mut script)
        .map_err(|error| Error::internal(error.to_string()))?;
    crate::progress::result(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}

/// Answers and ends the process if it is the shell that asks; else does nothing. `command` is the command line.
pub fn answer(command: fn() -> Command) {
    CompleteEnv::with_factory(|| with_playbooks(command())).var(ASKED).bin("ops").completer("ops").complete();
}

/// The command line with each playbook of the project as a subcommand of its own. Outside a project there are none.
fn with_playbooks(command: Command) -> Command {
    let Ok((root, current)) = project::find() else { return command };
    let mut names = Playbook::names(&root).unwrap_or_default();
    names.extend(paths(&current));
    let flags = host_flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let stacks = stacks(&root);
    let playbooks: Vec<Command> = names
        .iter()
        .map(|name| {
            let playbook = Playbook::find(&root, &current, name).ok();
            let about = playbook.as_ref().map(Playbook::about).unwrap_or_default();
            let about: StyledStr = about.lines().next().unwrap_or_default().to_owned().into();
            // One that does not compile is offered all the same, with the flags of `ops run` alone.
            let own = playbook.and_then(|playbook| Declarations::read(&playbook, &flags).ok());
            let own = own
                .map_or_else(|| Command::new(name.clone()), |declared| declared.command().name(name.clone()));
            let own = HostFlags::augment_args(own.no_binary_name(false)).about(about).long_about(None);
            own.mut_args(|argument| offering(argument, &stacks))
        })
        .collect();
    ["run", "plan"].into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |command| {
            command.mut_args(|argument| offering(argument, &stacks)).subcommands(playbooks.clone())
        })
    })
}

/// The scripts and folders that the words on the line may be the paths of, up to the next `/`.
fn paths(current: &Path) -> BTreeSet<String> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    words
        .filter_map(|word| word.into_string().ok())
        .filter(|word| !word.is_empty() && !word.starts_with('-'))
        .flat_map(|word| beginning_with(current, &word))
        .collect()
}

fn beginning_with(current: &Path, word: &str) -> Vec<String> {
    let (folder, begun) =
        word.rsplit_once('/').map_or(("", word), |(folder, begun)| (&word[..=folder.len()], begun));
    let entries = current.join(folder).read_dir().into_iter().flatten().flatten();
    let path = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let hidden = name.starts_with('.');
        if hidden || !name.starts_with(begun) {
            return None;
        }
        if entry.path().is_dir() {
            return Some(format!("{folder}{name}/"));
        }
        name.ends_with(".rhai").then(|| format!("{folder}{name}"))
    };
    entries.filter_map(path).collect()
}

/// A parameter that names a stack offers those of the project.
fn offering(argument: Arg, stacks: &BTreeSet<String>) -> Arg {
    let stacks = stacks.clone();
    match argument.get_long() {
        Some("stack" | "delete-protected" | "destroy-data") => {
            argument.add(ArgValueCandidates::new(move || {
                stacks.iter().map(|stack| CompletionCandidate::new(stack.as_str())).collect()
            }))
        }
        _ => argument,
    }
}

/// The stacks that have a state file in the project.
pub fn stacks(root: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(root).into_iter().flatten().flatten();
    let stack = |file: std::fs::DirEntry| {
        let name = file.file_name().into_string().ok()?;
        if !(name.starts_with("deploy_config") && name.ends_with(".json")) {
            return None;
        }
        let state: serde_json::Value = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
        state["stack"].as_str().map(str::to_owned)
    };
    files.filter_map(stack).collect()
}

//! The command line: the commands. The flags of each are with it, in `commands`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands;
use crate::commands::check::CheckArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::doc::DocArgs;
use crate::commands::list::ListArgs;
use crate::commands::local::LocalCommand;
use crate::commands::new::NewArgs;
use crate::commands::repl::ReplArgs;
use crate::commands::run::HostFlags;
use crate::commands::test::TestArgs;
use crate::error::Error;

/// Runs playbooks against AWS, or against a cloud on your own machine.
#[derive(Debug, Parser)]
#[command(name = "ops", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a playbook
    Run(RunArgs),
    /// Say what a playbook would change, and change nothing: the same as run --dry-run
    Plan(RunArgs),
    /// Find what is wrong with playbooks, without running them: no account, no network
    Check(CheckArgs),
    /// List the playbooks of the project, with their parameters
    List(ListArgs),
    /// Write a playbook that runs, or begin a project
    New(NewArgs),
    /// What a playbook can call: all of it, a namespace, a function, or what is about a word
    Doc(DocArgs),
    /// Type statements of a playbook one by one, and see what they give
    Repl(ReplArgs),
    /// Run the tests of playbooks, each against a local cloud of its own
    Test(TestArgs),
    /// One of them, in the folder that was made for it
    #[command(hide = true)]
    TestOne { file: String, name: String },
    /// The cloud on this machine: up, down, status, reset, env
    Local(LocalArgs),
    /// What the shell offers at the Tab key: playbooks, their parameters and values
    Completions(CompletionsArgs),
    /// Be the query server, with the configuration of the environment
    #[command(name = "app-server", hide = true)]
    AppServer,
}

#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "PLAYBOOK [PARAMETERS]",
    subcommand_help_heading = "Playbook",
    disable_help_subcommand = true
)]
struct RunArgs {
    #[command(flatten)]
    flags: HostFlags,
    #[command(subcommand)]
    playbook: Named,
}

/// The playbook's name, and all that follows it.
#[derive(Debug, Subcommand)]
enum Named {
    #[command(external_subcommand)]
    Playbook(Vec<OsString>),
}

#[derive(Debug, Args)]
struct LocalArgs {
    #[command(subcommand)]
    command: LocalCommand,
}

/// Runs the playbook that `words` begin with. What stands before its name on the command line is parsed again, together with
/// what follows it; `more` are flags that the command stands for.
fn run(words: &[OsString], more: &[OsString]) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    let before = arguments.len().saturating_sub(words.len());
    let (flags, words) = arguments.split_at(before);
    let (name, parameters) =
        words.split_first().map_or((OsString::new(), &[][..]), |(name, rest)| (name.clone(), rest));
    commands::run::run(&name.to_string_lossy(), &[more, flags, parameters].concat())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    commands::completions::answer(Cli::command);
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(RunArgs { playbook: Named::Playbook(words), .. }) => return run(&words, &[]),
        Command::Plan(RunArgs { playbook: Named::Playbook(words), .. }) => {
            return run(&words, &["--dry-run".into()]);
        }
        Command::Check(arguments) => return ended(commands::check::check(&arguments)),
        Command::Test(arguments) => return ended(commands::test::test(&arguments)),
        Command::TestOne { file, name } => return ended(commands::test::one::one(&file, &name)),
        Command::Repl(arguments) => return ended(commands::repl::repl(&arguments)),
        Command::List(arguments) => commands::list::list(&arguments),
        Command::New(arguments) => commands::new::new(&arguments),
        Command::Doc(arguments) => commands::doc::doc(&arguments),
        Command::Completions(arguments) => commands::completions::completions(&arguments),
        Command::Local(LocalArgs { command }) => commands::local::local(command),
        Command::AppServer => return app_server::main_from_environment(),
    };
    ended(done.map(|()| ExitCode::SUCCESS))
}

/// The exit code of a command; its error is printed.
fn ended(done: Result<ExitCode, Error>) -> ExitCode {
    done.unwrap_or_else(|error| {
        error.print();
        error.exit_code()
    })
}

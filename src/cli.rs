//! The command line: the commands, and the flags of `ops run` that are not the playbook's own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands;
use crate::error::Error;
use crate::progress::LogStyle;

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
    /// List the playbooks of the project
    List,
    /// The cloud on this machine: up, down, status, reset, env
    Local(LocalArgs),
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

/// The flags of `ops run`; a playbook cannot declare parameters of these names.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of ops run")]
pub struct HostFlags {
    /// Run against the local cloud: no account, nothing leaves this machine
    #[arg(long)]
    pub local: bool,
    /// Agree to changes, and to deleting what is not protected
    #[arg(long, short)]
    pub yes: bool,
    /// Agree to deleting what is protected, such as a database; a final snapshot stays
    #[arg(long, value_name = "STACK")]
    pub delete_protected: Option<String>,
    /// Delete databases without a final snapshot: their data is gone
    #[arg(long, value_name = "STACK", requires = "delete_protected")]
    pub destroy_data: Option<String>,
    /// AWS region
    #[arg(long)]
    pub region: Option<String>,
    /// Profile of ~/.aws/config
    #[arg(long, conflicts_with = "local")]
    pub profile: Option<String>,
    /// State file [default: deploy_config.json, with --local deploy_config.local.json]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// With --local: install what is missing on this machine, with its package manager
    #[arg(long, requires = "local")]
    pub install_missing: bool,
    /// Print the playbook's result as JSON
    #[arg(long)]
    pub json: bool,
    /// How the lines of a run begin: `tagged` is for grep
    #[arg(long, value_enum, default_value_t, value_name = "STYLE", hide_possible_values = true)]
    pub log_style: LogStyle,
}

/// The long names of [`HostFlags`].
pub fn host_flags() -> Vec<String> {
    let command = HostFlags::augment_args(clap::Command::new("run"));
    let names = command.get_arguments().filter_map(|argument| argument.get_long().map(str::to_owned));
    names.chain(["help".to_owned()]).collect()
}

#[derive(Debug, Args)]
struct LocalArgs {
    #[command(subcommand)]
    command: LocalCommand,
}

/// What can be done with the local cloud.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Start it, if it does not run
    Up {
        /// Install what is missing on this machine, with its package manager
        #[arg(long)]
        install_missing: bool,
    },
    /// Stop it; what is in it stays
    Down,
    /// Show what is in it
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete everything in it, databases too
    Reset {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Print the variables with which any AWS client reaches it: eval "$(ops local env)"
    Env,
    /// Be the local cloud
    #[command(hide = true)]
    Supervise { folder: PathBuf },
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(RunArgs { playbook: Named::Playbook(words), .. }) => {
            // What stands before the playbook's name is parsed again, together with what follows it.
            let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
            let before = arguments.len().saturating_sub(words.len());
            let (flags, words) = arguments.split_at(before);
            let (name, parameters) =
                words.split_first().map_or((OsString::new(), &[][..]), |(name, rest)| (name.clone(), rest));
            return commands::run::run(&name.to_string_lossy(), &[flags, parameters].concat());
        }
        Command::List => commands::list::list(),
        Command::Local(LocalArgs { command }) => commands::local::local(command),
        Command::AppServer => return app_server::main_from_environment(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            error.exit_code()
        }
    }
}

/// Prints an error that belongs to no place in a playbook.
pub fn print_error(error: &Error) {
    eprintln!("error: {}", crate::secret::mask(&error.title()));
    for sentence in &error.help {
        eprintln!("  help: {}", crate::secret::mask(sentence));
    }
}

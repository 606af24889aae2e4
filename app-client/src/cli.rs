//! The command line: its flags, and which room does what they ask.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::check::{self, Accounts};
use crate::doctor;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::one_shot;
use crate::output::{Format, Style};
use crate::target::Place;

/// Query the application's server, or any PostgreSQL server
///
/// Without a host, connects to the deployment that the state file (`deploy_config.json`) describes.
/// Exit codes: 0 done, 1 a statement failed, 2 usage, 3 no connection or login, 130 interrupted,
/// 128 + the signal if one ended it.
#[derive(Debug, Parser)]
#[command(version, disable_help_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    place: Place,
    /// Print help
    #[arg(long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Test what each tier may do: two accounts, four statements, all rolled back
    #[command(disable_help_flag = true)]
    Check(Accounts),
    /// Test each leg of the way to the server, and say what to do about the one that fails
    #[command(disable_help_flag = true)]
    Doctor,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What to run")]
pub(crate) struct Run {
    /// Run this statement (or several, in one transaction) and leave; may be repeated
    #[arg(short, long = "command", value_name = "SQL", action = ArgAction::Append)]
    pub(crate) commands: Vec<String>,
    /// Run the statements of this file (`-` is stdin) and leave; may be repeated
    #[arg(short, long = "file", value_name = "FILE", action = ArgAction::Append)]
    pub(crate) files: Vec<PathBuf>,
    /// Set a variable, used in files and stdin as :name, :'name' (a string) or :"name" (an identifier)
    #[arg(short = 'v', long = "variable", value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) variables: Vec<(String, String)>,
    /// What to do after a statement that failed
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    pub(crate) on_error: OnError,
    /// Run everything in one transaction: all of it or nothing
    #[arg(short = '1', long, conflicts_with = "on_error")]
    pub(crate) single_transaction: bool,
}

impl Run {
    fn is_given(&self) -> bool {
        let Self { commands, files, variables, single_transaction, on_error: _ } = self;
        !commands.is_empty() || !files.is_empty() || !variables.is_empty() || *single_transaction
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    Stop,
    Continue,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How results are shown")]
struct OutputFlags {
    /// Comma-separated values with a header line
    #[arg(long, global = true, group = "format")]
    csv: bool,
    /// An array of objects
    #[arg(long, global = true, group = "format")]
    json: bool,
    /// An object a line
    #[arg(long, global = true, group = "format")]
    ndjson: bool,
    /// A Markdown table
    #[arg(long, global = true, group = "format")]
    markdown: bool,
    /// A line for each column
    #[arg(short = 'x', long, global = true, group = "format")]
    expanded: bool,
    /// Rows only: no header, no footer, no command tags
    #[arg(short, long, global = true)]
    tuples_only: bool,
}

impl OutputFlags {
    fn style(&self) -> Style {
        let formats = [
            (self.csv, Format::Csv),
            (self.json, Format::Json),
            (self.ndjson, Format::Ndjson),
            (self.markdown, Format::Markdown),
            (self.expanded, Format::Expanded),
        ];
        let chosen = formats.into_iter().find(|(chosen, _)| *chosen);
        Style { format: chosen.map_or(Format::Aligned, |(_, format)| format), tuples_only: self.tuples_only }
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let proper = !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    match proper {
        true => Ok((name.to_owned(), value.to_owned())),
        false => Err(format!("`{name}` is not a name: expected letters, digits and _")),
    }
}

/// A statement without `-c` is the first thing that a newcomer types.
fn refuse(error: &clap::Error) -> ! {
    if error.kind() == ErrorKind::InvalidSubcommand {
        // Without a stderr there is nobody to tell.
        let _ = error.print();
        remark!("hint: a statement follows `-c`: app-client -c 'select 1'; a URL follows `--url`");
        std::process::exit(error.exit_code());
    }
    error.exit()
}

pub(crate) fn main() -> Result<ExitCode, Error> {
    let matches = Cli::command().try_get_matches().unwrap_or_else(|error| refuse(&error));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if cli.command.is_some() && cli.run.is_given() {
        let message = "`-c`, `-f`, `-v` and `-1` run statements; `check` and `doctor` have their own";
        Cli::command().error(ErrorKind::ArgumentConflict, message).exit();
    }
    let style = cli.output.style();
    let interrupt = Interrupt::install().map_err(|source| Error::Interrupt { source })?;
    match cli.command {
        Some(Command::Check(accounts)) => check::run(&accounts, &cli.place, style, interrupt),
        Some(Command::Doctor) => doctor::run(&cli.place),
        None => {
            // clap keeps the values of each flag; their order among each other is in the indices.
            let indices = |name| matches.indices_of(name).into_iter().flatten().collect();
            let order = (indices("commands"), indices("files"));
            one_shot::run(cli.run, order, &cli.place, style, interrupt)
        }
    }
}

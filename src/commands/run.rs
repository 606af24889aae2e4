//! `ops run`: reads a playbook's parameters and its own flags, and runs it (`script`); what its report tells is gathered by `told`.

mod script;
mod told;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, FromArgMatches};

pub use script::{on_script_thread, print_output, run_deferred};

use crate::commands::attention::Attention;
use crate::commands::project;
use crate::commands::session::{Mode, SessionFlags};
use crate::engine;
use crate::error::{Error, say};
use crate::page;
use crate::parameters::{self, Declarations};
use crate::playbook::Playbook;
use crate::primitives::Parameters;
use crate::progress::{LogStyle, Progress};
use crate::report::Reporter;
use crate::sources::Sources;
use script::execute;

/// The flags of `ops run`; a playbook cannot declare parameters of these names.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of ops run")]
pub struct HostFlags {
    #[command(flatten)]
    pub session: SessionFlags,
    /// Say what would be changed, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: exit code 3 if there is something to change
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,
    /// This run belongs to a test: waits set the local cloud's clock forward, and take no time
    #[arg(long, requires = "local", hide = true)]
    pub under_test: bool,
    /// Print the playbook's result as JSON
    #[arg(long)]
    pub json: bool,
    /// Write a page about the run: its steps, changes and errors, and a picture of what exists then
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
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

/// The exit code of a command line, a parameter or a playbook that is wrong before anything ran.
pub const USAGE: u8 = 2;

/// Runs the playbook called `name`; `arguments` are the host's flags and the playbook's parameters, in any order.
pub fn run(name: &str, arguments: &[OsString]) -> ExitCode {
    match prepare_and_run(name, arguments) {
        Ok(code) => code,
        Err(Failure::Usage(text)) => {
            say(&format!("error: {text}"));
            ExitCode::from(USAGE)
        }
        Err(Failure::Drawn(text)) => {
            say(&text);
            ExitCode::from(USAGE)
        }
        Err(Failure::Clap(error)) => {
            // Help goes to stdout and is no failure; the rest goes to stderr.
            if let Err(source) = error.print()
                && source.kind() != std::io::ErrorKind::BrokenPipe
            {
                say(&format!("error: cannot print: {source}"));
            }
            if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
        }
        Err(Failure::Host(error)) => {
            error.print();
            error.exit_code()
        }
    }
}

/// Why nothing was run.
enum Failure {
    Usage(String),
    /// A report with a caret.
    Drawn(String),
    Clap(clap::Error),
    Host(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Host(error)
    }
}

fn prepare_and_run(name: &str, arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let (root, current) = project::find()?;
    let settings = project::settings(&root)?;
    let playbook =
        Playbook::find(&root, &current, name).map_err(|error| Failure::Usage(error.to_string()))?;
    let sources = Sources::default();
    sources.insert(playbook.source(), playbook.text().clone());

    let names = host_flags();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let declarations = Declarations::read(&playbook, &names).map_err(|error| undeclared(error, &sources))?;
    let command = declarations.command();
    let about = command.get_about().cloned().unwrap_or_default();
    // The playbook's own words, which deriving from a struct with a comment replaces.
    let command = HostFlags::augment_args(command).about(about).long_about(None);
    let matches = command.try_get_matches_from(arguments).map_err(Failure::Clap)?;
    let flags = HostFlags::from_arg_matches(&matches).map_err(Failure::Clap)?;
    let environment = |variable: &str| std::env::var(variable).ok();
    let parameters = declarations
        .resolve(&matches, environment, &settings.params)
        .map_err(|error| undeclared(error, &sources))?;
    let parameters: Parameters =
        parameters.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();

    let report = flags.report.as_ref().map(|path| current.join(path));
    if let Some(path) = &report {
        page::check(path)?;
    }

    let runtime = tokio::runtime::Runtime::new().map_err(|source| Error::io("start the runtime", &source))?;
    let progress = Progress::new(flags.log_style).json(flags.json).recorded(report.is_some());
    let mode = Mode { dry_run: flags.dry_run, under_test: flags.under_test, ..Mode::default() };
    let host = flags.session.host(root, &current, &settings, mode, progress, runtime.handle());
    let host = Arc::new(host);
    let prepared = engine::prepare(&host, parameters, &playbook, &sources);
    Attention::to_script(&runtime, &host)?;

    let code = on_script_thread(|| {
        let outcome = execute(&host, &playbook, &prepared, &sources, &flags);
        match &report {
            Some(path) => told::write(path, &host, &playbook, outcome),
            None => outcome.code,
        }
    });
    // What is still under way in the background has no say in how long the command takes.
    runtime.shutdown_background();
    Ok(code)
}

/// Errors of declarations and parameters, drawn where they have a place.
fn undeclared(error: parameters::Error, sources: &Sources) -> Failure {
    let reporter = Reporter { sources, functions: &[], types: &[], describe: &|_| None, colour: false };
    match error {
        parameters::Error::Syntax { name, error } => Failure::Drawn(reporter.syntax(&name, &error)),
        parameters::Error::Declaration(wrong) => {
            Failure::Drawn(reporter.problem(&wrong.name, wrong.position, &wrong.problem))
        }
        parameters::Error::Usage(error) => Failure::Clap(error),
        other => Failure::Usage(other.to_string()),
    }
}

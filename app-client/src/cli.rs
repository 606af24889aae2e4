//! The command line: what to run, in which format, where; and the order of doing it.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::connection::Connection;
use crate::error::Error;
use crate::interrupt::{self, Interrupt};
use crate::output::{Format, Output};
use crate::password::Passwords;
use crate::run::{Outcome, Runner};
use crate::script::{Script, Statement, Variables};
use crate::target::Place;

/// Query the application's server, or any PostgreSQL server
///
/// Without a host, connects to the deployment that the state file (`deploy_config.json`) describes.
/// Exit codes: 0 done, 1 a statement failed, 2 usage, 3 no connection or login, 130 interrupted.
#[derive(Debug, Parser)]
#[command(version, disable_help_flag = true)]
pub(crate) struct Cli {
    /// Run this statement (or several, in one transaction) and leave; may be repeated
    #[arg(short, long = "command", value_name = "SQL", action = ArgAction::Append)]
    commands: Vec<String>,
    /// Run the statements of this file (`-` is stdin) and leave; may be repeated
    #[arg(short, long = "file", value_name = "FILE", action = ArgAction::Append)]
    files: Vec<PathBuf>,
    /// Comma-separated values with a header line
    #[arg(long)]
    csv: bool,
    /// Set a variable, used as :name, :'name' (a string) or :"name" (an identifier)
    #[arg(short = 'v', long = "variable", value_name = "NAME=VALUE", value_parser = assignment)]
    variables: Vec<(String, String)>,
    /// What to do after a statement that failed
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    on_error: OnError,
    #[command(flatten)]
    place: Place,
    /// Print help
    #[arg(long, global = true, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnError {
    Stop,
    Continue,
}

/// Something to run, in the order of the command line.
enum Source {
    Command(String),
    File(PathBuf),
    Stdin,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let proper = !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    match proper {
        true => Ok((name.to_owned(), value.to_owned())),
        false => Err(format!("`{name}` is not a name: expected letters, digits and _")),
    }
}

pub(crate) fn main() -> Result<ExitCode, Error> {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let sources = sources(&cli, &matches)?;
    let target = cli.place.resolve()?;
    let connection = Connection::open(&target, &mut Passwords::default())?;
    let format = if cli.csv { Format::Csv } else { Format::Aligned };
    let mut runner = Runner {
        connection,
        output: Output::stdout(format).map_err(|source| Error::Output { source })?,
        interrupt: Interrupt::install().map_err(|source| Error::Interrupt { source })?,
    };
    let variables: Variables = cli.variables.into_iter().collect();
    let mut worst = Outcome::Done;
    for source in sources {
        match run_source(&mut runner, source, &variables, cli.on_error)? {
            Outcome::Done => {}
            Outcome::Failed if cli.on_error == OnError::Continue => worst = Outcome::Failed,
            outcome => {
                worst = outcome;
                break;
            }
        }
    }
    runner.connection.close();
    Ok(match worst {
        Outcome::Done => ExitCode::SUCCESS,
        Outcome::Failed => ExitCode::from(1),
        Outcome::Interrupted => ExitCode::from(interrupt::EXIT_CODE),
    })
}

fn sources(cli: &Cli, matches: &ArgMatches) -> Result<Vec<Source>, Error> {
    let indices = |name| matches.indices_of(name).into_iter().flatten();
    let commands = cli.commands.iter().map(|text| Source::Command(text.clone()));
    let files = cli.files.iter().map(|path| match path.as_os_str() == "-" {
        true => Source::Stdin,
        false => Source::File(path.clone()),
    });
    let mut sources: Vec<(usize, Source)> =
        indices("commands").zip(commands).chain(indices("files").zip(files)).collect();
    sources.sort_by_key(|(index, _)| *index);
    if sources.is_empty() {
        if io::stdin().is_terminal() {
            return Err(Error::NothingToRun);
        }
        return Ok(vec![Source::Stdin]);
    }
    Ok(sources.into_iter().map(|(_, source)| source).collect())
}

fn run_source(
    runner: &mut Runner,
    source: Source,
    variables: &Variables,
    on_error: OnError,
) -> Result<Outcome, Error> {
    match source {
        Source::Command(text) => runner.run(&Statement { text, line: 1 }, None, &mut stdin_piece),
        Source::File(path) => {
            let file = File::open(&path).map_err(|source| Error::File { path: path.clone(), source })?;
            run_script(runner, BufReader::new(file), &path, variables, on_error)
        }
        Source::Stdin => run_script(runner, io::stdin().lock(), Path::new("stdin"), variables, on_error),
    }
}

fn run_script(
    runner: &mut Runner,
    input: impl io::BufRead,
    path: &Path,
    variables: &Variables,
    on_error: OnError,
) -> Result<Outcome, Error> {
    let mut script = Script::new(input, path.display().to_string(), variables.clone());
    let mut worst = Outcome::Done;
    while let Some(statement) = script.next()? {
        let name = script.name().to_owned();
        let outcome = runner.run(&statement, Some(&name), &mut |line| Ok(script.copy_line(line)?))?;
        match outcome {
            Outcome::Done => {}
            Outcome::Failed if on_error == OnError::Continue => worst = Outcome::Failed,
            outcome => return Ok(outcome),
        }
    }
    Ok(worst)
}

/// COPY FROM STDIN of a `-c` takes the program's own stdin, as it is.
fn stdin_piece(piece: &mut Vec<u8>) -> Result<bool, Error> {
    piece.resize(64 * 1024, 0);
    let read = io::stdin().read(piece).map_err(|source| Error::CopyInput { source })?;
    piece.truncate(read);
    Ok(read > 0)
}
